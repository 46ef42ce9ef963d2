"""Forms of attention, their lines for a step, and the jobs that fit them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from planner.curves.curve import Curve, CurveKey
from planner.curves.data.jobs_attention import JOBS, cache_bytes, usual_heads
from planner.curves.forms.attention import (
    Cached,
    DecodeAttention,
    PrefillAttention,
    attended_pairs,
    visible_tokens,
)
from planner.curves.forms.base import Array, Form, Peaks
from planner.curves.forms.linear_attention import LinearDecode, LinearPrefill
from planner.curves.forms.mla import MlaDecodeAttention, MlaPrefillAttention
from planner.curves.forms.registry import form_for
from planner.curves.straight import (
    linear_decode,
    linear_mla_decode,
    linear_mla_prefill,
    linear_prefill,
    linear_state_decode,
    linear_state_prefill,
    step_seconds,
)
from planner.curves.timings import OPERATORS, Timings

PEAKS = Peaks(flops=1e15, bandwidth=4e12)
FORMS: tuple[Form, ...] = (
    PrefillAttention(),
    DecodeAttention(),
    MlaPrefillAttention(),
    MlaDecodeAttention(),
    LinearPrefill(),
    LinearDecode(),
)
GROWING = ("sequences", "new_tokens", "context_tokens", "query_heads", "kv_heads", "value_heads")


def columns(**values: float) -> dict[str, Array]:
    shape = {
        "sequences": 8.0,
        "new_tokens": 512.0,
        "context_tokens": 2048.0,
        "query_heads": 32.0,
        "kv_heads": 8.0,
        "key_heads": 16.0,
        "value_heads": 16.0,
        "head_dim": 128.0,
        "window_tokens": 0.0,
        **values,
    }
    return {name: np.array([value]) for name, value in shape.items()}


def curve_of(form: Form, operator: str, *, values: Array | None = None) -> Curve:
    count = len(form.parameters)
    return Curve(
        key=CurveKey(operator, "h100-sxm", "vllm", "bf16", "bf16"),
        form=form,
        values=form.starts() if values is None else values,
        covariance=np.zeros((count, count)),
        peaks=PEAKS,
        valid={},
        correction=None,
        points=1,
        mape_in=0.0,
        mape_out=0.0,
        source="test",
        version="",
        date="",
        licence="",
    )


def pairs_by_loop(new: int, prior: int, window: int) -> float:
    """Count what each query sees, half of its own key, by walking over them."""
    total = 0.0
    for i in range(new):
        seen = prior + i + 0.5
        total += min(seen, window) if window else seen
    return total


@given(st.integers(1, 60), st.integers(0, 60), st.integers(0, 80))
def test_pairs_are_those_of_a_causal_mask(new: int, prior: int, window: int) -> None:
    found = attended_pairs(np.array([float(new)]), np.array([float(prior)]), np.array([window]))
    # the triangle at the window's edge is counted in halves as well
    assert float(found[0]) == pytest.approx(pairs_by_loop(new, prior, window), abs=0.2)


def test_a_window_hides_what_lies_before_it() -> None:
    seen = visible_tokens(np.array([10.0, 10.0, 10.0]), np.array([0.0, 4.0, 100.0]))
    assert seen.tolist() == [10.0, 4.0, 10.0]


@pytest.mark.parametrize("form", FORMS, ids=lambda form: form.name)
@given(data=st.data())
def test_time_is_positive_and_never_falls_as_work_grows(form: Form, data: st.DataObject) -> None:
    unit = st.floats(0.0, 1.0)
    values = np.array(
        [
            p.lower + data.draw(unit) ** 3 * (p.upper - p.lower) if p.name != "cache" else 1e6
            for p in form.parameters
        ]
    )
    shape = {name: float(data.draw(st.sampled_from([1, 4, 64, 512]))) for name in form.shape}
    shape["head_dim"] = 128.0
    shape["window_tokens"] = float(data.draw(st.sampled_from([0, 128])))
    shape["query_heads"] = shape.get("query_heads", 1.0) * shape.get("kv_heads", 1.0)
    before = form.seconds(values, columns(**shape), PEAKS)
    assert np.isfinite(before).all()
    assert (before > 0.0).all()
    for name in set(GROWING) & set(form.shape) - {"kv_heads"}:
        after = form.seconds(values, columns(**{**shape, name: 2.0 * shape[name]}), PEAKS)
        assert after[0] >= before[0] * (1.0 - 1e-9), name


@pytest.mark.parametrize("form", FORMS, ids=lambda form: form.name)
def test_forms_read_columns_that_timings_have(form: Form) -> None:
    for operator in form.operators:
        known = OPERATORS[operator]
        assert set(form.shape) <= {*known.required, *known.optional}
    for parameter in form.parameters:
        assert 0.0 < parameter.lower <= parameter.start <= parameter.upper, parameter.name


def test_long_prompts_run_at_the_share_of_the_peak() -> None:
    form = PrefillAttention()
    names = [parameter.name for parameter in form.parameters]
    values = form.starts()
    values[names.index("softmax")] = 0.0
    shape = columns(sequences=16.0, new_tokens=65536.0, context_tokens=0.0)
    flops = 16 * 4 * 32 * 128 * 65536**2 / 2
    ideal = flops / (PEAKS.flops * values[names.index("compute")])
    assert form.seconds(values, shape, PEAKS)[0] == pytest.approx(ideal, rel=0.01)


def test_long_walks_run_at_the_share_of_the_bandwidth() -> None:
    form = DecodeAttention(kv_dtype="fp8")
    names = [parameter.name for parameter in form.parameters]
    shape = columns(sequences=64.0, context_tokens=131072.0)
    read = 64 * 8 * 131072 * 2 * 128 * 1.0
    ideal = read / (PEAKS.bandwidth * form.starts()[names.index("traffic")])
    assert form.seconds(form.starts(), shape, PEAKS)[0] == pytest.approx(ideal, rel=0.03)


def test_fp8_halves_what_a_walk_reads() -> None:
    long = columns(sequences=64.0, context_tokens=131072.0)
    wide, narrow = (
        DecodeAttention(kv_dtype=kv).seconds(DecodeAttention().starts(), long, PEAKS)[0]
        for kv in ("bf16", "fp8")
    )
    assert narrow / wide == pytest.approx(0.5, abs=0.02)


def test_a_small_working_set_is_quicker_only_where_it_is_cached() -> None:
    form = DecodeAttention()
    # 31 MB of keys and values, of 50 MB that are cached; and 8.6 GB
    small = columns(sequences=30.0, context_tokens=256.0)
    large = columns(sequences=64.0, context_tokens=65536.0)
    values = form.starts()
    assert isinstance(form, Cached)
    cold = form.cold(values)
    assert form.seconds(cold, small, PEAKS)[0] > 1.02 * form.seconds(values, small, PEAKS)[0]
    assert form.seconds(cold, large, PEAKS)[0] == pytest.approx(
        form.seconds(values, large, PEAKS)[0]
    )
    curve = curve_of(form, "decode_attention")
    assert step_seconds(curve, small)[0] == form.seconds(cold, small, PEAKS)[0]


def test_a_line_is_found_where_the_curve_is_one() -> None:
    form = DecodeAttention()
    names = [parameter.name for parameter in form.parameters]
    values = form.starts()
    for name in ("split", "lone", "unit", "query"):
        values[names.index(name)] = 0.0
    line = linear_decode(curve_of(form, "decode_attention", values=values), 32, 8, 128)
    per_token = 8 * 2 * 128 * 2.0 / (PEAKS.bandwidth * values[names.index("traffic")])
    assert line.per_context_token_s == pytest.approx(per_token, rel=1e-3)
    assert line.floor_s == pytest.approx(values[names.index("launch")], rel=1e-3)
    assert line.per_sequence_s < 1e-12
    assert line.max_relative_error < 1e-3


def test_beyond_a_window_time_depends_on_sequences_only() -> None:
    curve = curve_of(DecodeAttention(), "decode_attention")
    line = linear_decode(curve, 64, 8, 64, window_tokens=128.0, typical_context=4096.0)
    assert line.per_context_token_s == 0.0
    assert line.per_sequence_s > 0.0
    within = linear_decode(curve, 64, 8, 64, window_tokens=8192.0, typical_context=1024.0)
    assert within.per_context_token_s > 0.0


@pytest.mark.parametrize("context", [512.0, 4096.0, 16384.0])
@pytest.mark.parametrize("sequences", [4.0, 64.0, 256.0])
def test_the_line_is_near_the_curve_around_the_typical_point(
    context: float, sequences: float
) -> None:
    curve = curve_of(DecodeAttention(), "decode_attention")
    line = linear_decode(curve, 8, 1, 128, 0.0, context, sequences)
    shape = columns(sequences=sequences, context_tokens=context, query_heads=8.0, kv_heads=1.0)
    found = line.floor_s + line.per_sequence_s * sequences
    found += line.per_context_token_s * sequences * context
    measured = step_seconds(curve, shape)[0]
    assert abs(found / measured - 1.0) <= line.max_relative_error + 1e-12
    assert line.max_relative_error < 0.35
    assert line.mean_relative_error < 0.2


def test_prefill_lines_follow_pairs_or_tokens() -> None:
    curve = curve_of(PrefillAttention(), "prefill_attention")
    line = linear_prefill(curve, 32, 8, 128)
    assert min(line[:3]) >= 0.0
    assert line.per_pair_s > 0.0
    assert line.mean_relative_error < 0.15
    windowed = linear_prefill(curve, 64, 8, 64, window_tokens=128.0)
    assert windowed.per_pair_s == 0.0
    assert windowed.per_token_s > 0.0


def test_other_kinds_of_attention_have_lines_too() -> None:
    decode = linear_mla_decode(curve_of(MlaDecodeAttention(), "mla_decode_attention"), 16.0)
    assert decode.per_context_token_s > 0.0
    prefill = linear_mla_prefill(curve_of(MlaPrefillAttention(), "mla_prefill_attention"), 16.0)
    assert prefill.per_pair_s > 0.0
    state = linear_state_decode(curve_of(LinearDecode(), "linear_decode"), 16, 32, 128)
    assert state.per_sequence_s > 0.0
    assert state.per_context_token_s == 0.0
    chunk = linear_state_prefill(curve_of(LinearPrefill(), "linear_prefill"), 16, 32, 128)
    assert chunk.per_token_s > 0.0


def test_jobs_know_their_operators_and_chips() -> None:
    assert len({job.operator for job in JOBS}) == len(JOBS)
    for job in JOBS:
        key = CurveKey(job.operator, "l40s", "vllm", "bf16", "bf16")
        form = job.form(key)
        assert job.operator in form.operators
        assert set(job.groups) <= set(form.shape)
        assert type(form) is type(form_for(key))
    assert cache_bytes(CurveKey("x", "l40s", "", "")) > cache_bytes(
        CurveKey("x", "a100-sxm", "", "")
    )


def test_layouts_that_no_model_has_are_left_out() -> None:
    heads = {"query_heads": [8.0, 96.0, 8.0, 8.0], "kv_heads": [1.0, 1.0, 1.0, 1.0]}
    timings = Timings.of(
        operator="decode_attention",
        seconds=[1e-5] * 4,
        shape={
            **heads,
            "head_dim": [128.0, 128.0, 512.0, 128.0],
            "context_tokens": [64.0, 64.0, 64.0, 2.0],
            "window_tokens": 0.0,
            "sequences": 1.0,
        },
    )
    assert len(usual_heads(timings)) == 1
