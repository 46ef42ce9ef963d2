from __future__ import annotations

import itertools
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from planner.catalog import Catalog, load_catalog
from planner.curves.quantization import ENGINES, FORMATS, SpeedupTable, kv_bytes, speedup
from planner.curves.tables import read_table
from planner.errors import CatalogError

CATALOG = load_catalog()
TABLE = SpeedupTable.load()
TOKENS = [2**n for n in range(14)]


@pytest.fixture(scope="module")
def catalog() -> Catalog:
    return CATALOG


def values(chip: str, engine: str, dtype: str, tokens: list[int] = TOKENS) -> list[float]:
    return [TABLE.speedup(CATALOG.chip(chip), engine, dtype, n).value for n in tokens]


# --- known answers -------------------------------------------------------------------------------


@pytest.mark.parametrize("engine", ["vllm", "sglang"])
def test_fp8_on_h100_is_far_from_twice_as_fast(engine: str) -> None:
    found = values("h100-sxm", engine, "fp8")
    assert min(found) >= 1.2
    assert max(found) <= 1.55


def test_nvfp4_on_b200_ranges_from_a_loss_to_almost_three() -> None:
    found = [
        v for engine in ENGINES[:3] for v in values("b200-sxm", engine, "fp4", [*TOKENS, 32768])
    ]
    assert min(found) == pytest.approx(0.9, abs=0.05)
    assert max(found) == pytest.approx(2.9, abs=0.05)


def test_weight_only_int4_on_h100_pays_for_few_tokens_only() -> None:
    few, many = values("h100-sxm", "tensorrt-llm", "int4_wo", [16, 256])
    assert few == pytest.approx(1.31, abs=0.01)
    assert many == pytest.approx(0.80, abs=0.01)


@pytest.mark.parametrize("chip", ["b300-sxm", "gb300"])
def test_int8_on_blackwell_ultra_is_a_slow_down(catalog: Catalog, chip: str) -> None:
    found = speedup(catalog.chip(chip), "vllm", "int8", 4096)
    assert (found.matched, found.tier) == ("peaks", "estimated")
    assert found.high < 0.1, "153 to 165 TOPS against 2250 TFLOPS and more"
    assert values(chip, "vllm", "int8", [1])[0] > 1.5, "reading the weights is still halved"


def test_series_that_stand_for_no_measurement_are_not_shipped() -> None:
    rows = read_table("quantization_gemm.csv")
    shipped = {(row["chip"], row["engine"], row["dtype"]): row["version"] for row in rows}
    assert ("h100-sxm", "sglang", "int4_wo") not in shipped
    assert ("h100-sxm", "sglang", "int8_wo") not in shipped
    assert shipped["h100-sxm", "sglang", "fp8"] == "0.5.14"


# --- rules ---------------------------------------------------------------------------------------


def test_between_token_counts_the_logarithm_is_linear() -> None:
    left, middle, right = values("h100-sxm", "vllm", "fp8", [1024, 1448, 2048])
    assert middle == pytest.approx(math.sqrt(left * right), rel=1e-3)


def test_beyond_the_measured_tokens_the_nearest_value_is_held() -> None:
    chip = CATALOG.chip("h100-sxm")
    last, beyond = (TABLE.speedup(chip, "vllm", "fp8", n) for n in (32768, 10**6))
    assert beyond.value == last.value
    assert beyond.is_extrapolated(10**6)
    assert not last.is_extrapolated(32768)


def test_an_engine_without_measurements_takes_the_mean_of_the_others() -> None:
    chip = CATALOG.chip("h100-sxm")
    generic = TABLE.speedup(chip, "generic", "fp8", 64)
    own = [TABLE.speedup(chip, engine, "fp8", 64).value for engine in ENGINES[:3]]
    assert generic.value == pytest.approx(math.prod(own) ** (1 / 3))
    assert generic.low <= min(own)
    assert generic.high >= max(own)
    assert (generic.matched, generic.tier) == ("chip", "estimated")


def test_a_format_that_the_chip_cannot_multiply_is_unpacked() -> None:
    found = speedup(CATALOG.chip("a100-sxm"), "vllm", "fp8", 4096)
    assert found.value < 1.0
    assert "unpacked to bf16" in found.note


def test_sixteen_bits_are_the_reference() -> None:
    found = speedup(CATALOG.chip("tpu-v6e"), "vllm", "bf16", 7)
    assert (found.value, found.low, found.high) == (1.0, 1.0, 1.0)
    assert not found.is_extrapolated(7)


def test_bytes_of_the_cache() -> None:
    assert [kv_bytes(d) for d in ("bf16", "fp16", "fp8", "int8")] == [2.0, 2.0, 1.0, 1.0]
    assert 0.5 < kv_bytes("fp4") < 0.6
    with pytest.raises(CatalogError, match="did you mean fp8"):
        kv_bytes("fp-8")


# --- hostile input -------------------------------------------------------------------------------


def test_every_chip_engine_and_format_has_an_answer() -> None:
    for chip, engine, dtype in itertools.product(CATALOG.chips.values(), ENGINES, FORMATS):
        found = TABLE.speedup(chip, engine, dtype, 100)
        assert 0.0 < found.low <= found.value <= found.high < 20.0
        assert found.tier in ("measured", "estimated")


@given(
    st.sampled_from(sorted(CATALOG.chips)),
    st.sampled_from(ENGINES),
    st.sampled_from(sorted(FORMATS)),
    st.floats(min_value=1e-300, max_value=1e300),
)
def test_any_number_of_tokens_has_an_answer(chip, engine, dtype, tokens) -> None:
    found = TABLE.speedup(CATALOG.chip(chip), engine, dtype, tokens)
    assert 0.0 < found.low <= found.value <= found.high < 20.0


@pytest.mark.parametrize("tokens", [0, -1, math.nan, math.inf])
def test_impossible_tokens_are_refused(tokens: float) -> None:
    with pytest.raises(ValueError, match="tokens must be a positive number"):
        TABLE.speedup(CATALOG.chip("h100-sxm"), "vllm", "fp8", tokens)


@given(st.text(max_size=100))
def test_unknown_names_are_refused(name: str) -> None:
    chip = CATALOG.chip("h100-sxm")
    if name not in ENGINES:
        with pytest.raises(CatalogError, match="unknown engine"):
            TABLE.speedup(chip, name, "fp8", 1)
    if name not in (*FORMATS, "bf16", "fp16"):
        with pytest.raises(CatalogError, match="unknown format"):
            TABLE.speedup(chip, "vllm", name, 1)
