"""Chips and nodes: traps that a catalogue falls into, and figures that must fit each other."""

from __future__ import annotations

import pytest

from planner.catalog import Catalog, Chip, Node, load_catalog
from planner.errors import CatalogError

CATALOG: Catalog = load_catalog()
WITHOUT_NODE = {"trainium3", "gh200", "gh200-144gb", "max-1550"}  # no power of them was found


def peak(chip: str, dtype: str) -> float:
    return float(CATALOG.chip(chip).peak(dtype))


@pytest.mark.parametrize(("ultra", "plain"), [("b300-sxm", "b200-sxm"), ("gb300", "gb200")])
def test_blackwell_ultra_has_next_to_no_int8(ultra: str, plain: str) -> None:
    assert peak(ultra, "int8") < 0.04 * peak(plain, "int8")
    assert peak(ultra, "int8") < 0.1 * peak(ultra, "bf16")
    assert peak(ultra, "fp4") > peak(plain, "fp4")


@pytest.mark.parametrize("chip", ["tpu-v5p", "tpu-v6e", "gaudi-3"])
def test_fp8_without_gain(chip: str) -> None:
    assert peak(chip, "fp8") == peak(chip, "bf16")


def test_trainium_fp4_without_gain() -> None:
    assert peak("trainium3", "fp4") == peak("trainium3", "fp8")
    assert "fp4" not in CATALOG.chip("trainium2").peak_flops
    assert peak("trainium2", "bf16") == 667e12
    assert peak("trainium2", "fp8") == 1299e12


def test_sparse_peaks_are_not_taken_for_dense() -> None:
    assert peak("wse-3", "fp16") < 20e15  # published as 125 PFLOPS
    assert peak("h100-sxm", "fp8") < 2e15  # 3958 TFLOPS with sparsity
    assert "sparsity" in CATALOG.chip("wse-3").peak("fp16").note


def test_a_missing_type_is_an_error_that_lists_what_there_is() -> None:
    with pytest.raises(
        CatalogError, match="a100-sxm has no fp8 arithmetic; it has bf16, fp16, int8"
    ):
        CATALOG.chip("a100-sxm").peak("fp8")


def test_usable_memory_is_not_the_memory_of_the_package() -> None:
    gib = {name: float(chip.memory_bytes) / 2**30 for name, chip in CATALOG.chips.items()}
    assert gib["b200-sxm"] == pytest.approx(179.06, abs=0.01)
    assert gib["b300-sxm"] == pytest.approx(268.6, abs=0.1)
    assert gib["h200-sxm"] == pytest.approx(140.4, abs=0.1)
    assert gib["h100-sxm"] == gib["h800-sxm"] == pytest.approx(79.65, abs=0.01)


def test_h800_is_an_h100_with_a_slow_fabric() -> None:
    h800, h100 = CATALOG.chip("h800-sxm"), CATALOG.chip("h100-sxm")
    assert h800.memory_bandwidth.value == h100.memory_bandwidth.value
    assert h800.scale_up_bandwidth is not None
    assert h100.scale_up_bandwidth is not None
    assert h800.scale_up_bandwidth.value < 0.5 * h100.scale_up_bandwidth.value


def test_every_chip_can_be_put_into_a_fleet() -> None:
    assert set(CATALOG.chips) - {node.chip for node in CATALOG.nodes.values()} == WITHOUT_NODE


@pytest.mark.parametrize("node", CATALOG.nodes.values(), ids=lambda node: node.name)
def test_a_node_draws_more_than_its_chips(node: Node) -> None:
    chip = CATALOG.chip(node.chip)
    if chip.tdp_w is not None:
        assert float(node.power_w) >= node.devices * float(chip.tdp_w)
    if chip.system_w is not None:  # all-in power holds cooling too
        assert float(node.power_w) <= node.devices * float(chip.system_w)


def test_racks_are_sold_whole() -> None:
    racks = {node.name for node in CATALOG.nodes.values() if node.sold_by == "rack"}
    assert racks == {"gb200-nvl72", "gb300-nvl72", "groqrack-64"}
    assert CATALOG.node("gb200-nvl72").devices == CATALOG.chip("gb200").scale_up_domain == 72


@pytest.mark.parametrize("chip", CATALOG.chips.values(), ids=lambda chip: chip.name)
def test_every_chip_has_a_16_bit_peak(chip: Chip) -> None:
    assert {"bf16", "fp16"} & set(chip.peak_flops)
    assert chip.status == "shipping"
