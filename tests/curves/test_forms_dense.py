"""Forms of matrix products, streams and collectives: limits, slopes and the registry."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from planner.catalog import load_catalog
from planner.curves.curve import CurveKey
from planner.curves.forms.base import Array, Form, Peaks
from planner.curves.forms.collective import AllGather, AllReduce, AllToAll, ReduceScatter, Send
from planner.curves.forms.gemm import Gemm, QuantisedGemm, UnpackedGemm, gemm_form
from planner.curves.forms.registry import form_for, form_named, form_names
from planner.curves.forms.stream import Stream
from planner.curves.peaks import FORMATS, format_of, peaks_of
from planner.curves.timings import DTYPES, OPERATORS, CurveError

PEAKS = Peaks(flops=1e15, bandwidth=3e12, link=4.5e11)
FORMS: tuple[Form, ...] = (
    Gemm(),
    QuantisedGemm("fp8"),
    UnpackedGemm("int4_wo"),
    Stream(),
    AllReduce(),
    AllGather(),
    ReduceScatter(),
    AllToAll(),
    Send(),
)


def shape_of(form: Form, scale: float = 1.0) -> dict[str, Array]:
    sizes = {"m": 64.0, "n": 4096.0, "k": 8192.0, "devices": 4.0, "bytes": 1e6}
    return {name: np.array([sizes[name] * scale]) for name in form.shape}


@pytest.mark.parametrize("form", FORMS, ids=lambda form: form.name)
def test_slopes_agree_with_the_complex_step(form: Form) -> None:
    """d log(seconds) / d parameter by 3-point differences, as the fit takes it, and exactly."""
    shape, values = shape_of(form), form.starts()
    for i in range(len(values)):
        step = 1e-6 * values[i]
        up, down = values.copy(), values.copy()
        up[i] += step
        down[i] -= step
        difference = (
            np.log(form.seconds(up, shape, PEAKS)) - np.log(form.seconds(down, shape, PEAKS))
        ) / (2.0 * step)
        inside = values.astype(np.complex128)
        inside[i] += 1e-30j * values[i]
        exact = np.log(form.seconds(inside, shape, PEAKS)).imag / (1e-30 * values[i])
        assert difference == pytest.approx(exact, rel=1e-5, abs=1e-9 * abs(exact).max() + 1e-12)


@pytest.mark.parametrize("form", FORMS, ids=lambda form: form.name)
def test_more_work_never_takes_less_time(form: Form) -> None:
    sizes = 2.0 ** np.arange(0, 24)
    for name in form.shape:
        if name == "devices":
            continue
        shape = {
            each: np.broadcast_to(column, sizes.shape) for each, column in shape_of(form).items()
        }
        seconds = form.seconds(form.starts(), {**shape, name: sizes}, PEAKS)
        assert np.all(np.diff(seconds) >= 0), name
        assert np.all(seconds > 0)


@pytest.mark.parametrize("form", FORMS, ids=lambda form: form.name)
def test_parameters_start_within_their_bounds(form: Form) -> None:
    for parameter in form.parameters:
        assert 0 < parameter.lower < parameter.start < parameter.upper, parameter.name
        assert parameter.meaning


def test_a_large_product_attains_its_share_of_the_peak() -> None:
    size = np.array([65536.0])
    seconds = Gemm().seconds(Gemm().starts(), {"m": size, "n": size, "k": size}, PEAKS)
    attained = 2.0 * 65536.0**3 / seconds / PEAKS.flops
    assert attained == pytest.approx(0.7, rel=0.02)


def test_one_token_streams_the_weights() -> None:
    shape = {"m": np.array([1.0]), "n": np.array([65536.0]), "k": np.array([16384.0])}
    starts = Gemm().starts()
    seconds = Gemm().seconds(starts, shape, PEAKS)
    weights = 2.0 * 65536.0 * 16384.0 / (0.8 * PEAKS.bandwidth)
    assert seconds == pytest.approx(weights, rel=0.02)


def test_narrow_weights_stream_faster_and_pay_for_unpacking() -> None:
    shape = {"m": np.array([1.0]), "n": np.array([65536.0]), "k": np.array([16384.0])}
    wide = Gemm().seconds(Gemm().starts(), shape, PEAKS)
    form = UnpackedGemm("int4_wo")
    free, dear = form.starts(), form.starts()
    free[-1], dear[-1] = 20.0, 0.1
    assert form.seconds(free, shape, PEAKS) < 0.5 * wide
    assert form.seconds(dear, shape, PEAKS) > wide


def test_input_conversion_costs_more_with_more_rows() -> None:
    form = QuantisedGemm("fp8")
    cheap, dear = form.starts(), form.starts()
    dear[-2] = 1e-8
    shape = {"m": np.array([1.0, 10_000.0]), "n": np.array([256.0] * 2), "k": np.array([256.0] * 2)}
    added = form.seconds(dear, shape, PEAKS) - form.seconds(cheap, shape, PEAKS)
    assert added == pytest.approx((1e-8 - 2e-10) * np.array([1.0, 10_000.0]))


def test_all_reduce_takes_the_sooner_way() -> None:
    form = AllReduce()
    values = form.starts()
    size = np.array([1e3, 1e9])
    shape = {"devices": np.full(2, 8.0), "bytes": size}
    short, long = form.seconds(values, shape, PEAKS)
    assert short == pytest.approx(3e-6 + 6 * 2e-7, rel=0.05)
    assert long == pytest.approx(2 * 7 / 8 * 1e9 / (PEAKS.link * 0.7), rel=0.01)


def test_a_gather_moves_what_the_others_hold() -> None:
    shape = {"devices": np.array([2.0, 8.0]), "bytes": np.full(2, 1e10)}
    seconds = AllGather().seconds(AllGather().starts(), shape, PEAKS)
    assert seconds * PEAKS.link * 0.7 / 1e10 == pytest.approx([0.5, 0.875], rel=1e-2)


def test_every_dtype_has_a_format_and_a_product() -> None:
    assert set(FORMATS) == set(DTYPES)
    for dtype in DTYPES:
        assert gemm_form(dtype).dtype == dtype
    assert gemm_form("fp4_fp8").name == "gemm_unpacked"
    assert gemm_form("fp8").name == "gemm_quantised"
    with pytest.raises(ValueError, match=r"unknown dtype 'fp9'"):
        format_of("fp9")


def test_peaks_are_those_of_the_arithmetic() -> None:
    chip = load_catalog().chip("a100-sxm")
    assert peaks_of(chip, "int8").flops == 624e12
    assert peaks_of(chip, "int4_wo").flops == 312e12
    assert peaks_of(chip, "fp8").flops == 312e12  # unpacked to 16 bits, which it has
    assert peaks_of(chip, "bf16").link == 300e9
    no_integers = load_catalog().chip("tpu-v5p")
    assert peaks_of(no_integers, "int8").flops == no_integers.peak("bf16").value


def test_the_registry_knows_the_form_of_every_operator() -> None:
    for operator in OPERATORS:
        form = form_for(CurveKey(operator, "h100-sxm", "vllm", "bf16", "bf16"))
        assert operator in form.operators
        assert form.name in form_names()
        known = OPERATORS[operator]
        assert set(form.shape) <= set(known.required + known.optional), operator


def test_an_unknown_form_or_operator_is_named() -> None:
    key = CurveKey("gem", "h100-sxm", "vllm", "bf16")
    with pytest.raises(CurveError, match=r"unknown form 'gemn'; did you mean gemm\?"):
        form_named("gemn", key)
    with pytest.raises(CurveError, match="no form describes the operator 'step_decod'"):
        form_for(CurveKey("step_decod", "h100-sxm", "vllm", "bf16"))
    with pytest.raises(CurveError, match="unknown dtype"):
        form_named("stream", CurveKey("stream", "h100-sxm", "vllm", "fp9"))


@given(st.floats(1, 1e7), st.floats(1, 1e7), st.floats(1, 1e7), st.sampled_from(sorted(FORMATS)))
def test_products_of_any_size_take_a_positive_finite_time(
    m: float, n: float, k: float, dtype: str
) -> None:
    form = gemm_form(dtype)
    shape = {"m": np.array([m]), "n": np.array([n]), "k": np.array([k])}
    seconds = form.seconds(form.starts(), shape, PEAKS)
    assert np.isfinite(seconds).all()
    assert (seconds > 0).all()
