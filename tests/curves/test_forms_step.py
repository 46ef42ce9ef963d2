"""Forms of whole steps: by hand, known parameters found again, and files of such curves."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from planner.curves.curve import Curve, CurveKey
from planner.curves.fit import fit_curve
from planner.curves.forms.base import Form, Peaks
from planner.curves.forms.registry import form_for
from planner.curves.forms.step import StepDecode, StepPrefill
from planner.curves.library import CurveSet, borrowed
from planner.curves.store import curves_text, describe, load_curves, save_curves
from planner.curves.timings import CurveError, Timings

PREFILL = CurveKey("step_prefill", "h100-sxm", "vllm", "bf16", "", "llama-2-70b", 8)
DECODE = replace(PREFILL, operator="step_decode")
TRUE_PREFILL = np.array([0.015, 6e-5, 0.035, 2e-9, 0.6, 3200.0])
TRUE_DECODE = np.array([0.03, 2.5e-4, 3e-8])
ORIGIN = {"source": "made up", "version": "1", "date": "2026-01-01", "licence": "CC0-1.0"}
NONE = Peaks()


def grid(**columns: tuple[float, ...]) -> dict[str, np.ndarray]:
    crossed = np.meshgrid(*(np.array(values, dtype=np.float64) for values in columns.values()))
    return {name: values.ravel() for name, values in zip(columns, crossed, strict=True)}


PROMPTS = grid(
    sequences=(1, 4, 16),
    new_tokens=(16, 64, 256, 512, 1024, 2048, 4096, 8192),
    context_tokens=(0, 1000, 16000),
)
BATCHES = grid(sequences=(1, 4, 16, 64, 256), context_tokens=(0, 500, 2000, 8000))


def timings(key: CurveKey, true: np.ndarray, shape: dict[str, np.ndarray], noise: float) -> Timings:
    seconds = form_for(key).seconds(true, shape, NONE)
    rng = np.random.default_rng(7)
    return Timings.of(
        **{"operator": key.operator, "chip": key.chip, "engine": key.engine, "dtype": key.dtype},
        model=key.model,
        seconds=seconds * np.exp(rng.normal(0.0, noise, len(seconds))),
        shape={"tensor_parallel": key.tensor_parallel, **shape},
    )


def fitted(key: CurveKey, true: np.ndarray, shape: dict[str, np.ndarray], noise: float) -> Curve:
    table = timings(key, true, shape, noise)
    return fit_curve(form_for(key), key, table, NONE, **ORIGIN)


CASES = [(PREFILL, TRUE_PREFILL, PROMPTS), (DECODE, TRUE_DECODE, BATCHES)]


@pytest.mark.parametrize(("key", "true", "shape"), CASES, ids=["prefill", "decode"])
def test_known_parameters_come_back(
    key: CurveKey, true: np.ndarray, shape: dict[str, np.ndarray]
) -> None:
    exact = fitted(key, true, shape, 0.0)
    assert exact.values == pytest.approx(true, rel=1e-3)
    assert exact.mape_out < 1e-4
    noisy = fitted(key, true, shape, 0.02)
    errors = np.sqrt(np.diag(noisy.covariance))
    assert np.all(np.abs(noisy.values - true) < 3.5 * errors)
    assert np.all(errors < 0.25 * true)
    assert noisy.mape_in < 0.02
    assert noisy.mape_out < 0.03
    assert not noisy.warnings


def test_decode_by_hand() -> None:
    """30 ms, 64 sequences of 0.25 ms, and 64 · 1000 tokens of 30 ns: 47.92 ms."""
    shape = {"sequences": np.array([64.0]), "context_tokens": np.array([1000.0])}
    assert StepDecode().seconds(TRUE_DECODE, shape, NONE) == pytest.approx([0.04792], rel=1e-12)


def test_prefill_by_hand() -> None:
    """One token reads the weights; many cost arithmetic; half the crowding at the knee."""

    def seconds(sequences: float, new: float, prior: float) -> float:
        columns = {"sequences": sequences, "new_tokens": new, "context_tokens": prior}
        shape = {name: np.array([value]) for name, value in columns.items()}
        return float(StepPrefill().seconds(TRUE_PREFILL, shape, NONE)[0])

    assert seconds(1, 1, 0) == pytest.approx(0.015 + 0.035, rel=1e-6)
    million = 0.015 + 6e-5 * 2**20 * 1.6 + 2e-9 * 2**20 * (8192 + 512)
    assert seconds(1024, 1024, 8192) == pytest.approx(million, rel=1e-6)
    knee = (0.035**4 + (6e-5 * 3200 * 1.3) ** 4) ** 0.25
    assert seconds(1, 3200, 0) == pytest.approx(0.015 + knee + 2e-9 * 3200 * 1600, rel=1e-12)
    # pairs are those of each sequence: splitting a prompt into two spares attention
    assert seconds(2, 4096, 0) < seconds(1, 8192, 0)


SIZES = st.floats(1.0, 1e7)


@given(st.lists(SIZES, min_size=3, max_size=3), st.integers(0, 2), st.booleans())
def test_more_work_never_takes_less(sizes: list[float], grown: int, lower: bool) -> None:
    for form in (StepPrefill(), StepDecode()):
        values = np.array([p.lower if lower else p.upper for p in form.parameters])
        names = ("sequences", "new_tokens", "context_tokens")
        shape = {name: np.array([size, size]) for name, size in zip(names, sizes, strict=True)}
        shape[names[grown]] = shape[names[grown]] * np.array([1.0, 2.0])
        less, more = form.seconds(values, shape, NONE)
        assert np.isfinite(more)
        assert 0.0 < less <= more


@pytest.mark.parametrize("form", [StepPrefill(), StepDecode()], ids=lambda form: form.name)
def test_peaks_do_not_matter(form: Form) -> None:
    shape = {name: np.array([3.0]) for name in form.shape}
    fast = form.seconds(form.starts(), shape, Peaks(1e15, 1e13, 1e12))
    assert np.array_equal(fast, form.seconds(form.starts(), shape, NONE))


def test_a_table_without_crowding_does_not_invent_it() -> None:
    true = TRUE_PREFILL.copy()
    true[4] = StepPrefill.parameters[4].lower
    exact = fitted(PREFILL, true, PROMPTS, 0.0)
    assert exact.warnings == ("crowded is at its lower bound 0.01",)
    noisy = fitted(PREFILL, true, PROMPTS, 0.01)
    assert noisy.values[4] < true[4] + 3.0 * np.sqrt(noisy.covariance[4, 4])
    assert noisy.mape_out < 0.015


def test_too_few_steps_are_refused_by_name() -> None:
    few = {name: column[:6] for name, column in PROMPTS.items()}
    with pytest.raises(CurveError, match=r"vllm, bf16, llama-2-70b TP 8: 6 timings are too few"):
        fitted(PREFILL, TRUE_PREFILL, few, 0.0)


def test_a_step_needs_its_columns() -> None:
    table = timings(DECODE, TRUE_DECODE, BATCHES, 0.0)
    without = replace(table, shape={"sequences": table.shape["sequences"]})
    with pytest.raises(CurveError, match="the form step_decode needs the column context_tokens"):
        fit_curve(StepDecode(), DECODE, without, NONE, **ORIGIN)


# --- files, and who may use such a curve ----------------------------------------------------------


@pytest.fixture(scope="module")
def curve() -> Curve:
    return fitted(DECODE, TRUE_DECODE, BATCHES, 0.02)


def test_curves_of_several_models_are_stored_side_by_side(curve: Curve, tmp_path: Path) -> None:
    keys = [DECODE, replace(DECODE, tensor_parallel=2), replace(DECODE, model="bloom-176b")]
    path = tmp_path / "c.json"
    save_curves(path, [replace(curve, key=key) for key in keys])
    back = load_curves(path)
    assert [each.key for each in back] == [keys[2], keys[1], keys[0]]
    assert back[0].values == pytest.approx(curve.values, rel=1e-5)
    assert np.isnan(back[0].peaks.flops)
    save_curves(path, back)
    assert curves_text(load_curves(path)) == path.read_text(encoding="utf-8")
    assert describe(back[2].key) == "step_decode of h100-sxm, vllm, bf16, llama-2-70b TP 8"
    with pytest.raises(CurveError, match=r"two curves for .*llama-2-70b TP 8; keep one"):
        curves_text([curve, curve])


def no_model(document: dict[str, Any]) -> None:
    del document["model"]


def on_a_kernel(document: dict[str, Any]) -> None:
    document["operator"] = document["form"] = "stream"


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (no_model, r"curves\[0\].model: must name the model, was ''"),
        (lambda each: each.update(model=7), r"\.model: must name the model, was 7"),
        (lambda each: each.update(model=""), r"\.model: must name the model, was ''"),
        (lambda each: each.update(tensor_parallel=0), r"a whole number in 1 … 4096, was 0"),
        (lambda each: each.update(tensor_parallel=True), r"in 1 … 4096, was true"),
        (lambda each: each.update(tensor_parallel=2.0), r"in 1 … 4096, was 2.0"),
        (lambda each: each.update(tensor_parallel=10**30), r"in 1 … 4096"),
        (on_a_kernel, r"model: only whole steps have it, not 'stream'"),
        (on_a_kernel, r"tensor_parallel: only whole steps have it, not 'stream'"),
    ],
)
def test_a_file_with_a_wrong_model_is_refused(
    curve: Curve, tmp_path: Path, spoil: Callable[[dict[str, Any]], None], said: str
) -> None:
    document = json.loads(curves_text([curve]))
    spoil(document["curves"][0])
    (tmp_path / "c.json").write_text(json.dumps(document), encoding="utf-8")
    with pytest.raises(CurveError, match=said):
        load_curves(tmp_path / "c.json")


def test_single_operators_have_no_model_in_their_file(curve: Curve) -> None:
    kernel = replace(curve, key=CurveKey("stream", "h100-sxm", "vllm", "bf16"))
    (stored,) = json.loads(curves_text([kernel]))["curves"]
    assert not {"model", "tensor_parallel"} & stored.keys()


def test_no_other_chip_borrows_whole_steps(curve: Curve, tmp_path: Path) -> None:
    save_curves(tmp_path / "c.json", [curve])
    curves = CurveSet("h100-sxm", layers=[tmp_path / "c.json"])
    assert curves.keys("step_decode") == (DECODE,)
    assert curves.find("step_decode", "bf16", engine="vllm") is None
    with pytest.raises(CurveError, match=r"llama-2-70b TP 8: whole steps .* of h200-sxm"):
        borrowed(curve, "h200-sxm", Peaks(1e15, 4.8e12))
