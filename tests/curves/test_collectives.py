import numpy as np
import pytest

from planner.curves import DEFAULT
from planner.curves.collectives import Fabric
from planner.curves.expert_load import ExpertLoad
from planner.curves.layout import Exchange
from planner.curves.operators import Collective, ExpertExchange
from planner.errors import CatalogError
from tests.curves.shapes import B200, BOX, H100, PAIR, chip

FABRIC = Fabric(H100, BOX, DEFAULT)


def reduce(devices: int, bytes_per_token: float, count: int = 1) -> Collective:
    return Collective("tensor.all_reduce", "all_reduce", "group", devices, count, bytes_per_token)


def test_large_reduction_matches_a_measured_ring() -> None:
    """64 MiB over the 8 devices of an HGX H100 take 0.32 ms (Vidur profiles)."""
    (seconds,) = FABRIC.time(reduce(8, 2.0**26), np.array([1.0]))
    assert seconds == pytest.approx(0.32e-3, rel=0.1)


def test_small_reduction_is_latency() -> None:
    (seconds,) = FABRIC.time(reduce(8, 8192.0, count=10), np.array([1.0]))
    assert 10 * 8e-6 < seconds < 10 * 9e-6


def test_cheaper_algorithm_is_taken_and_time_never_falls() -> None:
    seconds = FABRIC.time(reduce(8, 16384.0), np.arange(1.0, 4096.0))
    assert (np.diff(seconds) > 0).all()
    bandwidth = 0.8 * 450e9
    assert seconds[-1] == pytest.approx(16e-6 + 2 * 7 / 8 * 4095 * 16384 / bandwidth)


def test_domain_ends_with_the_machine_or_the_fabric() -> None:
    inside = FABRIC.time(reduce(8, 1e6), np.array([1.0]))
    outside = Fabric(H100, PAIR, DEFAULT).time(reduce(8, 1e6), np.array([1.0]))
    assert outside > 4 * inside
    assert FABRIC.holds(reduce(8, 1e6))
    assert not FABRIC.holds(reduce(16, 1e6))
    assert not Fabric(H100, PAIR, DEFAULT).holds(reduce(8, 1e6))
    rack = chip("rack", {"bf16": 2500}, 186e9, 8e12, 900e9, domain=72)
    assert Fabric(rack, PAIR, DEFAULT).time(reduce(64, 1e6), np.array([1.0])) < 1e-3
    assert Fabric(rack, PAIR, DEFAULT).domain == 72
    assert Fabric(B200, BOX, DEFAULT).domain == 8


def test_exchange_and_send_move_their_bytes_once() -> None:
    for kind in ("gather", "send"):
        collective = Collective("x", kind, "stage", 8, 3, 1e6)
        (seconds,) = FABRIC.time(collective, np.array([100.0]))
        assert seconds == pytest.approx(3 * (8e-6 + 1e8 / (0.8 * 450e9)))


def test_missing_bandwidth_names_chip_and_figure() -> None:
    lonely = chip("lonely", {"bf16": 100}, 1e9, 1e12, 1e9, None)
    with pytest.raises(
        CatalogError,
        match=r"lonely has no scale_out_bandwidth .* which tensor.all_reduce over 16 devices",
    ):
        Fabric(lonely, BOX, DEFAULT).time(reduce(16, 1.0), np.array([1.0]))


def exchange(mode: Exchange, devices: int, load: ExpertLoad | None = None) -> ExpertExchange:
    """Return a dispatch of 8 copies of a vector of 1 kB."""
    leaving = min(8, devices - 1) / devices * 1e3
    return ExpertExchange(
        "experts.dispatch",
        "exchange",
        "stage",
        devices,
        1,
        leaving,
        mode=mode,
        choices=8,
        load=load,
    )


def test_tokens_cross_the_network_once_per_expert_or_once_per_node() -> None:
    """32 devices on 4 nodes, 100 tokens on each; of 8 choices 6 are elsewhere, on 2.7 nodes."""
    tokens, network = np.array([3200.0]), 0.8 * 50e9
    direct, spread, either = (
        float(FABRIC.time(exchange(mode, 32), tokens)[0])
        for mode in ("low_latency", "high_throughput", "auto")
    )
    assert direct == pytest.approx(25e-6 + 6 * 1e5 / network)
    assert spread == pytest.approx(75e-6 + 2.7 * 1e5 / network, rel=1e-3)
    assert either == min(direct, spread)
    gathered = Collective("experts.gather", "gather", "stage", 32, 1, 31 / 32 * 1e3)
    (seconds,) = FABRIC.time(gathered, tokens)
    # three nodes' tokens over the network take less than those of 31 devices over its own links
    assert seconds == pytest.approx(25e-6 + 31 * 1e5 / (0.8 * 450e9))


def test_an_exchange_inside_a_node_uses_its_links() -> None:
    (seconds,) = FABRIC.time(exchange("low_latency", 8), np.array([800.0]))
    assert seconds == pytest.approx(8e-6 + 7 * 1e5 / (0.8 * 450e9))


def test_the_busiest_device_ends_the_exchange() -> None:
    load = ExpertLoad(256, 8, 32)
    tokens = np.array([32e4])
    even, skewed = (
        float(FABRIC.time(exchange("low_latency", 32, each), tokens)[0]) - 25e-6
        for each in (None, load)
    )
    assert skewed == pytest.approx(even * load.factor(tokens)[0])
