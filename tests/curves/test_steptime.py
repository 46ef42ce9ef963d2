"""Step times from the data sheet alone, by hand; and on the curves that ship, as published."""

import math
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from planner.catalog import Chip, Model, load_catalog
from planner.curves import DEFAULT, Dtypes, Efficiency, Parallelism, StepTime, step_time
from planner.curves.device import curves_for
from planner.curves.engines import ENGINES, EngineOverhead, shipped_engines
from planner.curves.library import CurveSet
from planner.errors import CatalogError
from tests.curves.shapes import (
    A100,
    B200,
    BOX,
    DEEPSEEK_V3,
    GPT_OSS_120B,
    H100,
    HYBRID,
    LLAMA_8B,
    LLAMA_70B,
    MODELS,
    QWEN_235B,
    chip,
)

ALONE = Parallelism()
WIDE = Dtypes()
HOST = EngineOverhead("vllm", step_s=1e-3, sequence_s=5e-6)
"""Attains all of the kernels' speed."""
NO_CURVES = Path(__file__).parent / "no-such-folder"
IDEAL = Efficiency(
    bandwidth_rate=1,
    attention_bandwidth_rate=1,
    compute_16bit_rate=1,
    compute_8bit_rate=1,
    compute_4bit_rate=1,
    attention_compute_rate=1,
    tile_tokens=0,
    unpack_bytes=0,
    unpack_compute_rate=1,
    kernel_s=0,
    collective_bandwidth_rate=1,
    collective_s=0,
    network_s=0,
    sharpness=64,
)


def estimate(
    model: Model,
    on: Chip = H100,
    parallelism: Parallelism = ALONE,
    dtypes: Dtypes = WIDE,
    *,
    token_budget: int = 2048,
    engine: str = "vllm",
    efficiency: Efficiency = DEFAULT,
    typical_context_tokens: float = 2048,
    overhead: EngineOverhead | None = HOST,
) -> StepTime:
    """Return the step time without any curve, from the roofline."""
    return step_time(
        model,
        on,
        BOX,
        parallelism,
        dtypes,
        token_budget=token_budget,
        engine=engine,
        efficiency=efficiency,
        typical_context_tokens=typical_context_tokens,
        curves=[CurveSet(on.name, shipped=NO_CURVES)],
        overhead=overhead,
    )


parallelisms = st.builds(
    lambda tensor, pipeline, data, spread: Parallelism(
        tensor, pipeline, tensor * data if spread else 1, data
    ),
    st.sampled_from([1, 2, 4, 8]),
    st.sampled_from([1, 2, 3]),
    st.sampled_from([1, 2, 8]),
    st.booleans(),
)


@given(
    model=st.sampled_from(MODELS),
    on=st.sampled_from([A100, H100, B200]),
    parallelism=parallelisms,
    weight=st.sampled_from(["bf16", "fp8", "int8", "fp4", "int4"]),
    token_budget=st.integers(1, 3000),
)
def test_tables_rise_and_are_never_faster_than_the_peaks(
    model: Model, on: Chip, parallelism: Parallelism, weight: str, token_budget: int
) -> None:
    time = estimate(model, on, parallelism, Dtypes(weight), token_budget=token_budget)
    for table in (time.linear_s, time.compute_s, time.memory_s):
        assert table.shape == (token_budget + 1,)
        assert table[0] == 0.0
        assert np.isfinite(table).all()
        assert (np.diff(table) >= 0).all()
    assert (time.compute_s <= time.linear_s).all()
    assert (time.memory_s <= time.linear_s).all()
    assert min(time.fixed_s, time.decode_s, time.decode_seq_s, time.prefill_s) > 0


def test_decode_of_one_sequence_reads_the_weights_once() -> None:
    """Ideal H100, Llama-3.1-8B: 2 · (8.03e9 − embedding) bytes at 3.35 TB/s is 4.48 ms."""
    time = estimate(LLAMA_8B, efficiency=IDEAL)
    weights_s = 2 * (LLAMA_8B.parameters() - 128256 * 4096) / 3.35e12
    assert weights_s == pytest.approx(4.48e-3, rel=1e-3)
    assert time.linear_s[1] == pytest.approx(weights_s, rel=2e-3)
    assert time.memory_s[1] == pytest.approx(weights_s, rel=2e-3)
    assert time.compute_s[1] == pytest.approx(2 * 7.505e9 / 989e12, rel=1e-3)


def test_prefill_runs_at_the_arithmetic_peak() -> None:
    time = estimate(LLAMA_70B, efficiency=IDEAL, token_budget=16384)
    layers = LLAMA_70B.parameters() - 2 * 128256 * 8192
    arithmetic_s = 2 * (layers * 16384 + 128256 * 8192 * 256) / 989e12
    assert time.compute_s[16384] == pytest.approx(arithmetic_s, rel=1e-9)
    assert time.linear_s[16384] == pytest.approx(arithmetic_s, rel=0.06)


def test_attention_terms_by_hand() -> None:
    time = estimate(LLAMA_8B, efficiency=IDEAL)
    assert time.decode_s == pytest.approx(131072 / 3.35e12)
    assert time.prefill_s == pytest.approx(4 * 32 * 32 * 128 / 989e12)
    assert time.decode_seq_s == HOST.sequence_s
    eight = estimate(LLAMA_8B, dtypes=Dtypes(kv="fp8"), efficiency=IDEAL)
    assert eight.decode_s == pytest.approx(time.decode_s / 2)
    assert eight.prefill_s == time.prefill_s


def test_mla_decoding_weighs_arithmetic_against_the_latent_cache() -> None:
    time = estimate(DEEPSEEK_V3, parallelism=Parallelism(tensor=8), efficiency=IDEAL)
    assert time.decode_s == pytest.approx(61 * 576 * 2 / 3.35e12)
    data = estimate(DEEPSEEK_V3, parallelism=Parallelism(data=8, expert=8), efficiency=IDEAL)
    flops_s = 61 * 2 * 128 * 1088 / 989e12
    bytes_s = 61 * 576 * 2 / 3.35e12
    assert data.decode_s == pytest.approx(max(flops_s, bytes_s) / 8, rel=0.01)


@pytest.mark.parametrize("engine", ENGINES)
def test_engine_adds_its_host_time(engine: str) -> None:
    host = shipped_engines().find(engine, "h100-sxm")
    time = estimate(LLAMA_8B, engine=engine, efficiency=IDEAL, overhead=None)
    assert host.engine == engine
    assert time.fixed_s == host.step_s
    assert time.decode_seq_s == pytest.approx(host.sequence_s)


def test_each_data_group_has_host_code_of_its_own() -> None:
    four = estimate(LLAMA_8B, parallelism=Parallelism(data=4), efficiency=IDEAL)
    assert four.decode_seq_s == pytest.approx(HOST.sequence_s / 4)
    staged = estimate(LLAMA_8B, parallelism=Parallelism(pipeline=4), efficiency=IDEAL)
    assert staged.decode_seq_s == pytest.approx(HOST.sequence_s)


def test_unknown_engine_is_refused() -> None:
    with pytest.raises(CatalogError, match="unknown engine 'vlm'; known are vllm, sglang"):
        estimate(LLAMA_8B, engine="vlm", overhead=None)


def test_kernel_launches_set_a_floor() -> None:
    time = estimate(LLAMA_8B)
    without = estimate(LLAMA_8B, efficiency=replace(DEFAULT, kernel_s=0.0))
    # Per layer 5 around attention, 2 products there, 2 in the FFN and its gate; the ends have 6.
    launches_s = time.linear_s[1:] - without.linear_s[1:]
    assert launches_s == pytest.approx(np.full(2048, 2.5e-6 * (32 * 10 + 6)))


def test_attained_rates_slow_down_what_they_stand_for() -> None:
    """A prompt of the 8B is all arithmetic, its decode all traffic; links have their own rate."""
    base = estimate(LLAMA_8B, efficiency=IDEAL)
    half = estimate(LLAMA_8B, efficiency=IDEAL, overhead=replace(HOST, compute_rate=0.5))
    slow = estimate(LLAMA_8B, efficiency=IDEAL, overhead=replace(HOST, bandwidth_rate=0.5))
    assert half.linear_s[2048] > 1.7 * base.linear_s[2048]
    assert slow.linear_s[1] > 1.98 * base.linear_s[1]
    # An operator slows down with what it is bound by, near the ridge with both: together by all,
    # but for tables that are made to rise.
    added = (half.linear_s - base.linear_s) + (slow.linear_s - base.linear_s)
    assert added == pytest.approx(base.linear_s, rel=0.1)
    assert np.median(added[1:] / base.linear_s[1:]) == pytest.approx(1.0, rel=1e-6)
    assert (half.prefill_s, half.decode_s) == pytest.approx((2 * base.prefill_s, base.decode_s))
    assert slow.prefill_s == base.prefill_s
    assert slow.decode_s == pytest.approx(2 * base.decode_s)
    split = Parallelism(tensor=8)
    whole = estimate(LLAMA_8B, parallelism=split)
    apart = estimate(LLAMA_8B, parallelism=split, overhead=replace(HOST, link_rate=0.5))
    (links,) = [part for part in whole.device.parts if part.kind == "communication"]
    added = (apart.linear_s - whole.linear_s)[whole.device.tokens.astype(int)]
    assert added == pytest.approx(links.seconds)
    assert estimate(LLAMA_8B, overhead=replace(HOST, link_rate=0.5)).linear_s == pytest.approx(
        estimate(LLAMA_8B).linear_s
    )


def test_step_is_the_sum_of_its_terms() -> None:
    time = estimate(LLAMA_8B)
    expected = time.fixed_s + time.linear_s[300] + 1000 * time.decode_s + 3 * time.decode_seq_s
    assert time.step_s(300, 3, 1000.0, 5e4) == pytest.approx(expected + 5e4 * time.prefill_s)


def test_tensor_parallelism_divides_the_work_and_adds_communication() -> None:
    alone = estimate(LLAMA_70B)
    split = estimate(LLAMA_70B, parallelism=Parallelism(tensor=8))
    ratio = alone.linear_s[1:] / split.linear_s[1:]
    assert (ratio > 4).all()
    assert (ratio < 8).all()
    assert split.decode_s == pytest.approx(alone.decode_s / 8)
    assert split.prefill_s == pytest.approx(alone.prefill_s / 8)


def test_data_groups_share_tokens_and_context() -> None:
    alone, groups = estimate(LLAMA_8B), Parallelism(data=4)
    even = estimate(LLAMA_8B, parallelism=groups, engine="tensorrt-llm")
    assert even.linear_s[400] == pytest.approx(alone.linear_s[100], rel=0.01)
    assert even.linear_s[1] == pytest.approx(alone.linear_s[1])
    assert even.decode_s == pytest.approx(alone.decode_s / 4)
    # elsewhere the group with the longest contexts, or with the prompt, is waited for
    four = estimate(LLAMA_8B, parallelism=groups)
    contexts_s = alone.decode_s * 2048 * 0.57 * 1.05 * np.sqrt(256 / 4)
    assert four.linear_s[256] - even.linear_s[256] == pytest.approx(contexts_s, rel=0.02)
    prompt_s = four.linear_s[400] - contexts_s
    assert prompt_s == pytest.approx(alone.linear_s[256 // 4 + 144], rel=0.02)
    assert four.decode_s == even.decode_s


def test_pipeline_cuts_the_batch_into_micro_batches() -> None:
    alone = estimate(LLAMA_70B, token_budget=8192)
    staged = estimate(LLAMA_70B, parallelism=Parallelism(pipeline=4), token_budget=8192)
    assert staged.linear_s[1] == pytest.approx(alone.linear_s[1], rel=1e-2)
    assert staged.linear_s[8192] == pytest.approx(alone.linear_s[2048], rel=1e-2)
    assert staged.prefill_s == pytest.approx(alone.prefill_s / 4)


def test_mixture_reads_few_experts_for_few_tokens() -> None:
    time = estimate(QWEN_235B, parallelism=Parallelism(tensor=8), efficiency=IDEAL)
    experts = 2 * 94 * 128 * 3 * 4096 * 1536 / 8
    saved_s = experts * (120 / 128) / 3.35e12
    assert time.memory_s[100] - time.memory_s[1] == pytest.approx(saved_s, rel=0.05)


def test_short_windows_cost_the_same_at_any_context() -> None:
    time = estimate(GPT_OSS_120B, efficiency=IDEAL)
    per_token_s = 18 * 2 * 8 * 64 * 2 / 3.35e12
    assert time.decode_s == pytest.approx(per_token_s)
    windows_s = time.decode_seq_s - HOST.sequence_s
    # what the table charges each token as if it was a prompt's is not charged twice
    as_prefill_s = 18 * 4 * 64 * 64 * 128 / 989e12
    assert windows_s == pytest.approx(128 * per_token_s - as_prefill_s)
    assert time.prefill_s == pytest.approx(18 * 4 * 64 * 64 / 989e12)


def test_window_beyond_the_typical_context_is_full_attention() -> None:
    time = estimate(GPT_OSS_120B, efficiency=IDEAL, typical_context_tokens=100)
    assert time.decode_s == pytest.approx(36 * 2 * 8 * 64 * 2 / 3.35e12)
    assert time.decode_seq_s == HOST.sequence_s


def test_linear_attention_pays_per_sequence() -> None:
    time = estimate(HYBRID, efficiency=IDEAL)
    state_s = 2 * 9 * 32 * 128 * 128 * 4 / 3.35e12
    assert time.decode_seq_s == pytest.approx(HOST.sequence_s + state_s)


def test_narrow_formats_gain_what_the_chip_gives() -> None:
    """Launches aside, which no format makes shorter."""
    wide, eight, four = (
        estimate(LLAMA_70B, B200, dtypes=Dtypes(w), efficiency=replace(DEFAULT, kernel_s=0.0))
        for w in ("bf16", "fp8", "fp4")
    )
    assert 1.8 < wide.linear_s[1] / eight.linear_s[1] < 2.0
    assert 3.0 < wide.linear_s[1] / four.linear_s[1] < 3.8
    assert 1.3 < wide.linear_s[2048] / eight.linear_s[2048] < 1.7
    assert 2.0 < wide.linear_s[2048] / four.linear_s[2048] < 2.9


def test_weight_only_formats_gain_memory_but_no_arithmetic() -> None:
    wide = estimate(LLAMA_70B)
    packed = estimate(LLAMA_70B, dtypes=Dtypes("int4"))
    assert 1.9 < wide.linear_s[1] / packed.linear_s[1] < 2.4
    assert 0.9 < wide.linear_s[2048] / packed.linear_s[2048] < 1.0


def test_lacking_arithmetic_is_refused_by_name() -> None:
    with pytest.raises(CatalogError, match="a100-sxm has no fp8 arithmetic; it has bf16"):
        estimate(LLAMA_8B, A100, dtypes=Dtypes("fp8", "fp8"))


def test_notes_name_every_figure() -> None:
    time = estimate(LLAMA_8B, efficiency=replace(DEFAULT, bandwidth_rate=0.9))
    notes = {note.name: note for note in time.notes}
    assert time.tier == "estimated"
    assert notes["chip.h100-sxm.memory_bandwidth"].value == 3.35e12
    assert notes["chip.h100-sxm.peak_flops.bf16"].tier == "official"
    assert notes["efficiency.bandwidth_rate"].source == "set by the caller"
    assert notes["efficiency.kernel_s"].source.startswith("smallest element-wise kernels")
    assert notes["engine.vllm.step_s"].value == HOST.step_s
    assert all(note.unit and note.source and note.tier for note in time.notes)


def test_tables_are_read_only() -> None:
    with pytest.raises(ValueError, match="read-only"):
        estimate(LLAMA_8B).linear_s[1] = 0.0


@pytest.mark.parametrize(
    ("field", "value"),
    [("bandwidth_rate", 0.0), ("compute_8bit_rate", 1.2), ("kernel_s", -1.0), ("sharpness", 0.5),
     ("tile_tokens", math.nan)],
)  # fmt: skip
def test_impossible_efficiencies_are_refused(field: str, value: float) -> None:
    with pytest.raises(ValueError, match=field):
        replace(DEFAULT, **{field: value})


def test_fast_memory_without_any_fabric() -> None:
    sram = chip("sram", {"fp16": 188}, 230e6, 80e12, None, None)
    assert estimate(LLAMA_8B, sram).linear_s[1] > 0
    with pytest.raises(CatalogError, match="sram has no scale_up_bandwidth in the catalogue"):
        estimate(LLAMA_8B, sram, Parallelism(tensor=8))


# --- with the curves that ship -------------------------------------------------------------------

CHIPS = ("a100-sxm", "h100-sxm", "h200-sxm", "b200-sxm", "l40s", "mi300x", "tpu-v6e", "rtx-4090")


@cache
def shipped(chip_name: str) -> tuple[CurveSet, ...]:
    """Return the curves of a chip, whose files are then read once."""
    return curves_for(load_catalog().chip(chip_name))


def measured(
    model: Model,
    chip_name: str = "h100-sxm",
    dtypes: Dtypes = WIDE,
    parallelism: Parallelism = ALONE,
    *,
    token_budget: int = 8192,
    engine: str = "vllm",
) -> StepTime:
    """Return the step time on the curves that ship, at all of the kernels' speed."""
    return step_time(
        model,
        load_catalog().chip(chip_name),
        BOX,
        parallelism,
        dtypes,
        token_budget=token_budget,
        engine=engine,
        curves=shipped(chip_name),
        overhead=HOST,
    )


def products_s(time: StepTime, tokens: int) -> float:
    """Return the time of the matrix products of a step, as measured."""
    return sum(
        float(np.interp(tokens, time.device.tokens, part.seconds))
        for part in time.device.parts
        if part.kind == "matrix products"
    )


@settings(max_examples=60)
@given(
    model=st.sampled_from(MODELS),
    on=st.sampled_from(CHIPS),
    parallelism=parallelisms,
    weight=st.sampled_from(["bf16", "fp8", "int8", "fp4", "int4"]),
    token_budget=st.integers(1, 3000),
    engine=st.sampled_from(ENGINES),
)
def test_curves_give_tables_that_rise_and_keep_to_the_peaks(
    model: Model, on: str, parallelism: Parallelism, weight: str, token_budget: int, engine: str
) -> None:
    chip = load_catalog().chip(on)
    if chip.scale_up_bandwidth is None or chip.scale_out_bandwidth is None:
        parallelism = ALONE
    time = measured(
        model, on, Dtypes(weight), parallelism, token_budget=token_budget, engine=engine
    )
    for table in (time.linear_s, time.compute_s, time.memory_s):
        assert table.shape == (token_budget + 1,)
        assert table[0] == 0.0
        assert np.isfinite(table).all()
        assert (np.diff(table) >= -1e-15).all()
    assert (time.compute_s <= time.linear_s).all()
    assert (time.memory_s <= time.linear_s).all()
    assert 0 <= time.decode_memory_s <= time.decode_s < math.inf
    assert 0 <= time.prefill_compute_s <= time.prefill_s < math.inf
    assert time.decode_seq_s > 0
    for part in time.device.parts:
        assert np.isfinite(part.seconds).all()
        assert (part.seconds >= 0).all()
        assert part.basis


@pytest.mark.parametrize("engine", ["vllm", "sglang", "tensorrt-llm"])
def test_eight_bit_products_gain_less_than_the_peaks_promise(engine: str) -> None:
    """Published FP8 speed-ups on H100 are 1.2 to 1.8, where the peaks differ by a factor of two."""
    wide, eight = (measured(LLAMA_70B, dtypes=Dtypes(w), engine=engine) for w in ("bf16", "fp8"))
    for tokens in (1024, 2048, 4096, 8192):
        assert 1.1 < products_s(wide, tokens) / products_s(eight, tokens) < 1.9


def test_four_bit_weights_help_small_batches_and_hurt_middling_ones() -> None:
    """Weight-only int4 on H100: unpacking costs more than it saves from some 200 tokens on."""
    wide, packed = (
        measured(LLAMA_70B, dtypes=Dtypes(w), engine="tensorrt-llm") for w in ("bf16", "int4")
    )
    gains = [products_s(wide, tokens) / products_s(packed, tokens) for tokens in (16, 64, 256)]
    assert gains[0] > 1.2
    assert gains[0] > gains[1] > gains[2]
    assert gains[2] < 1.0


def test_the_tier_says_whose_kernels_were_measured() -> None:
    assert measured(LLAMA_70B).tier in ("measured", "fitted")
    assert measured(LLAMA_70B, "mi300x").tier == "estimated"
    assert estimate(LLAMA_70B).tier == "estimated"
    products = [part for part in measured(LLAMA_8B).device.parts if part.kind == "matrix products"]
    assert all("vllm" in part.basis for part in products)


def test_a_relative_scales_with_its_own_peaks() -> None:
    """The MI300X borrows from the H200: 1.32 times its arithmetic, 1.10 times its bandwidth."""
    borrowed, lender = (measured(LLAMA_70B, name) for name in ("mi300x", "h200-sxm"))
    assert products_s(lender, 8192) / products_s(borrowed, 8192) == pytest.approx(1.32, rel=0.03)
    assert products_s(lender, 1) / products_s(borrowed, 1) == pytest.approx(5.3 / 4.8, rel=0.05)


def test_curves_are_named_with_error_source_and_date() -> None:
    notes = {note.name: note for note in measured(LLAMA_70B, dtypes=Dtypes("fp8")).notes}
    curve = notes["curve.h100-sxm.gemm fp8"]
    assert "error on shapes left out of the fit" in str(curve.value)
    assert "vllm" in curve.source
    assert curve.date
    assert curve.tier in ("measured", "fitted")


def test_leaving_a_measured_range_is_noted() -> None:
    """No output as wide as a vocabulary was measured; the inner ones of the 8B all were."""
    notes = {note.name: note for note in measured(LLAMA_8B).notes}
    left = notes["curve.h100-sxm.extrapolated"]
    assert "gemm bf16: n" in str(left.value)
    assert "gemm bf16: k" not in str(left.value)
    assert left.tier == "estimated"
    narrow = {note.name for note in measured(LLAMA_70B, parallelism=Parallelism(tensor=8)).notes}
    assert "curve.h100-sxm.gemm bf16" in narrow
    assert "curve.h100-sxm.extrapolated" not in narrow
