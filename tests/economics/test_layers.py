"""Mixes of prices: commitments at the bottom, peaks on top."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from planner.economics import (
    MachineRate,
    PoolTime,
    PowerTerms,
    PriceLayer,
    Terms,
    pool_energy,
)


def rate(terms: Terms, price_usd: float = 1.0, **changes: float) -> MachineRate:
    return MachineRate(terms, "h100", terms, price_usd, "2026-11", "list", **changes)  # type: ignore[arg-type]


def time(*held: tuple[float, float], busy: float = 0.0) -> PoolTime:
    hours = sum(each for each, _ in held)
    return PoolTime("chat", "hgx", "h100", 8, hours, held, busy, 10_000.0)


def test_a_day_of_base_and_peaks() -> None:
    """Two nodes for 8 h, ten for 16 h. Four are committed: 96 h, of which 80 are used.

    On demand are 6 for 16 h. Of the pool's 176 node-hours 80 are in the base, and so is its work.
    """
    day = time((8.0, 2), (16.0, 10), busy=704.0)
    layers = [PriceLayer(rate("committed_1y"), 4), PriceLayer(rate("on_demand"))]
    base, peak = day.priced(layers)
    assert (base.node_hours, base.billed_device_hours, base.busy_device_hours) == (80, 768, 320)
    assert (peak.node_hours, peak.billed_device_hours, peak.busy_device_hours) == (96, 768, 384)
    assert (base.peak_nodes, peak.peak_nodes) == (4, 6)


def test_a_commitment_beyond_the_peak_is_paid() -> None:
    base, rest = time((10.0, 3)).priced(
        [PriceLayer(rate("committed_3y"), 5), PriceLayer(rate("spot"))]
    )
    assert (base.node_hours, base.billed_device_hours) == (30, 400)
    assert (rest.node_hours, rest.peak_nodes, rest.billed_device_hours) == (0, 0, 0)


def test_take_or_pay_may_be_for_a_part() -> None:
    (base,) = time((12.0, 1), (12.0, 4)).priced(
        [PriceLayer(rate("committed_1y", take_or_pay_rate=0.8))]
    )
    assert base.billed_device_hours == pytest.approx(0.8 * 4 * 24 * 8)
    (used,) = time((24.0, 4)).priced([PriceLayer(rate("committed_1y", take_or_pay_rate=0.8))])
    assert used.billed_device_hours == 4 * 24 * 8


def test_a_capacity_block_is_paid_as_booked() -> None:
    (block,) = time((12.0, 1), (12.0, 4)).priced([PriceLayer(rate("capacity_block"))])
    assert block.billed_device_hours == 4 * 24 * 8


@given(
    held=st.lists(st.tuples(st.floats(0.1, 100), st.integers(0, 500)), min_size=1, max_size=8),
    nodes=st.lists(st.integers(1, 200), max_size=4),
    busy=st.floats(0, 1),
)
def test_layers_add_up_to_the_pool(
    held: list[tuple[float, int]], nodes: list[int], busy: float
) -> None:
    whole = time(*held)
    whole = time(*held, busy=busy * whole.node_hours * 8)
    layers = [*(PriceLayer(rate("spot"), each) for each in nodes), PriceLayer(rate("on_demand"))]
    priced = whole.priced(layers)
    assert sum(u.node_hours for u in priced) == pytest.approx(whole.node_hours)
    assert sum(u.busy_device_hours for u in priced) == pytest.approx(whole.busy_device_hours)
    assert sum(u.billed_device_hours for u in priced) == pytest.approx(8 * whole.node_hours)


def test_layers_do_the_same_arithmetic_and_draw_the_power_of_the_pool() -> None:
    """Busy half of the time at a tenth of peak arithmetic, whatever a node is paid by."""
    day = replace(time((8.0, 2), (16.0, 10), busy=704.0), peak_arithmetic_device_hours=70.4)
    terms = PowerTerms(memory_bound_rate=0.5, saturation_rate=0.2)
    (whole,) = day.priced([PriceLayer(rate("spot"))])
    layers = day.priced([PriceLayer(rate("committed_1y"), 4), PriceLayer(rate("spot"))])
    assert [each.arithmetic_rate for each in layers] == pytest.approx([0.1, 0.1])
    energy = sum(pool_energy(each, terms).total_kwh for each in layers)
    assert energy == pytest.approx(pool_energy(whole, terms).total_kwh)
    assert (
        replace(day, peak_arithmetic_device_hours=None)
        .priced([PriceLayer(rate("spot"))])[0]
        .arithmetic_rate
        == 1.0
    )


def test_the_last_layer_takes_the_rest() -> None:
    day = time((24.0, 4))
    for layers in ([], [PriceLayer(rate("spot"), 2)], [PriceLayer(rate("spot"))] * 2):
        with pytest.raises(ValueError, match="only the last layer, and that one"):
            day.priced(layers)


def test_the_hours_held_are_those_of_the_period() -> None:
    with pytest.raises(ValueError, match=r"adds up to 4.0 h, and the period is 24.0 h"):
        PoolTime("chat", "hgx", "h100", 8, 24.0, ((4.0, 1.0),), 0.0, 1.0)
