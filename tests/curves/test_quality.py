from __future__ import annotations

import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from planner.curves.quality import (
    NOTHING_LOST,
    SIXTEEN_BITS,
    WEIGHT_DTYPES,
    QualityTable,
    quality_retention,
)
from planner.curves.tables import read_table
from planner.errors import CatalogError

TABLE = QualityTable.load()


def test_an_average_over_published_scores() -> None:
    # Qwen3-8B in int8: C-Eval, MMLU, GSM8K, HumanEval beside bf16, AngelSlim benchmarks
    ratios = [78.01 / 79.27, 74.84 / 74.78, 86.96 / 87.79, 67.07 / 63.41]
    rows = [row for row in TABLE.rows if (row["model"], row["precision"]) == ("qwen3-8b", "int8")]
    assert [float(row["retention"]) for row in rows] == pytest.approx(ratios, abs=1e-4)
    found = quality_retention("qwen3-8b", "int8")
    assert found.score == 1.0, "an average above 1 is noise"
    assert found.evaluations == 4
    assert found.lowest == pytest.approx(78.01 / 79.27, abs=1e-4)
    assert (found.matched, found.tier) == ("model", "measured")


@pytest.mark.parametrize(
    ("dtype", "score"), [("fp8", 0.985), ("int4", 0.9434), ("bf16", 1.0), ("fp32", 1.0)]
)
def test_llama_8b_loses_what_was_published(dtype: str, score: float) -> None:
    assert quality_retention("Llama-3.1-8B-Instruct", dtype).score == pytest.approx(score)


def test_each_score_is_held_against_the_baseline_of_its_own_table() -> None:
    # Qwen3-32B has two: GSM8K 74.53, and 67.06 beside NVFP4 with another template
    rows = {(r["variant"], r["benchmark"]): r for r in TABLE.rows if r["model"] == "qwen3-32b"}
    assert rows["FP8-Static", "gsm8k"]["baseline_score"] == "74.53"
    assert rows["NVFP4", "gsm8k"]["baseline_score"] == "67.06"


def test_no_evaluation_counts_twice() -> None:
    keys = [(r["model"], r["variant"], r["benchmark"], r["score"] or r["retention"], r["source"])
            for r in TABLE.rows]  # fmt: skip
    assert len(keys) == len(set(keys))


def test_formats_rank_as_everyone_finds() -> None:
    fp8, int4 = (TABLE.weights("mixtral-8x7b", dtype) for dtype in ("fp8", "int4"))
    assert fp8 is not None
    assert int4 is not None
    assert 0.99 < fp8.score < 1.0
    assert 0.97 < int4.score < 0.99
    assert fp8.evaluations > 100
    assert int4.evaluations > 100
    assert (fp8.matched, fp8.tier) == ("format", "estimated")


def test_a_family_stands_in_for_a_model() -> None:
    found = quality_retention("qwen3-coder-480b-a35b", "fp8")
    assert (found.matched, found.tier) == ("family", "estimated")


@pytest.mark.parametrize("dtype", ["fp8", "int8", "bf16", "fp32"])
def test_nothing_is_lost_in_the_published_format_or_a_wider_one(dtype: str) -> None:
    native = "fp4" if dtype == "int8" else "fp8"
    assert quality_retention("gpt-oss-20b", dtype, native_dtype=native) == NOTHING_LOST


def test_int4_weights_with_fp8_arithmetic_have_evaluations_of_their_own() -> None:
    mixed = quality_retention(
        "deepseek-r1-0528", "int4", activation_dtype="fp8", native_dtype="fp8"
    )
    assert (mixed.evaluations, mixed.matched) == (4, "model")
    assert mixed.score == pytest.approx(0.9941, abs=1e-3)


def test_weights_and_cache_multiply() -> None:
    both, weights, cache = (
        quality_retention("llama-3.3-70b", *formats)
        for formats in (("int4", "fp8"), ("int4",), ("bf16", "fp8"))
    )
    assert both.score == pytest.approx(weights.score * cache.score)
    assert both.evaluations == weights.evaluations + cache.evaluations
    assert set(both.sources) == {*weights.sources, *cache.sources}
    assert both.tier == "estimated"


def test_what_is_not_published_is_said() -> None:
    assert TABLE.cache("qwen3-8b", "fp4") is None
    with pytest.raises(CatalogError, match="no evaluation is published"):
        quality_retention("qwen3-8b", "bf16", "fp4")


def test_the_figure_reads_as_a_sentence() -> None:
    assert quality_retention("qwen3-8b", "fp8").describe() == (
        "99.2% ± 0.7% over 8 evaluations of the model itself from 1 source"
    )
    assert NOTHING_LOST.describe() == "100% (as published)"


@given(
    st.text(max_size=60), st.sampled_from(WEIGHT_DTYPES), st.sampled_from(WEIGHT_DTYPES),
    st.sampled_from(WEIGHT_DTYPES), st.none() | st.sampled_from(WEIGHT_DTYPES),
)  # fmt: skip
def test_any_name_and_format_has_a_share_or_none(model, weight, cache, native, activation) -> None:
    found = TABLE.retention(model, weight, cache, native_dtype=native, activation_dtype=activation)
    if found is None:
        assert cache == "fp4", "everything else is published"
        return
    assert 0.0 < found.score <= 1.0
    assert found.spread >= found.standard_error >= 0.0
    assert (found.evaluations == 0) == (not found.sources)
    lossless = weight in SIXTEEN_BITS and cache in SIXTEEN_BITS
    assert found.score == 1.0 or not lossless


@given(st.text(max_size=100).filter(lambda name: name not in WEIGHT_DTYPES))
def test_unknown_formats_are_refused(name: str) -> None:
    for arguments in ({"weight_dtype": name}, {"kv_dtype": name}, {"native_dtype": name}):
        with pytest.raises(CatalogError, match="unknown"):
            quality_retention("qwen3-8b", **arguments)


def test_shares_are_shares() -> None:
    for row in read_table("quality.csv"):
        assert 0.8 < float(row["retention"]) < 1.2, row
        if row["score"]:
            ratio = float(row["score"]) / float(row["baseline_score"])
            assert float(row["retention"]) == pytest.approx(ratio, abs=1e-4)


def test_nothing_heavy_is_loaded() -> None:
    command = (
        "import sys; import planner.curves.quality; "
        "print({'numpy', 'pandas', 'scipy', 'numba', 'yaml', 'pydantic'} & set(sys.modules))"
    )
    run = [sys.executable, "-c", command]
    loaded = subprocess.run(run, capture_output=True, text=True, check=True).stdout
    assert loaded.strip() == "set()"
