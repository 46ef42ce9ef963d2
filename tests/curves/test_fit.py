"""Fits: known answers, errors of parameters, unseen groups, and failures that advise."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
import pytest

from planner.curves.curve import CurveKey
from planner.curves.fit import FOLDS, fit_curve, group_labels, solve
from planner.curves.forms.base import Array, Form, Parameter, Peaks, Shape
from planner.curves.forms.gemm import Gemm
from planner.curves.forms.stream import Stream
from planner.curves.grid import GridSpec
from planner.curves.timings import CurveError, Timings

PEAKS = Peaks(flops=1e15, bandwidth=3e12, link=4.5e11)
GEMM = CurveKey("gemm", "h100-sxm", "vllm", "bf16")
STREAM = CurveKey("stream", "h100-sxm", "vllm", "bf16")
TRUTH = np.array([3e-6, 0.75, 0.85, 40.0, 300.0, 2e-10, 3.0])
ORIGIN = {"source": "made up", "version": "1", "date": "2026-01-01", "licence": "CC0-1.0"}


@dataclass(frozen=True)
class Line(Form):
    """seconds = exp(a + b log bytes): its log is a straight line, whose errors are textbook."""

    dtype: str = "bf16"

    name: ClassVar[str] = "line"
    operators: ClassVar[tuple[str, ...]] = ("stream",)
    shape: ClassVar[tuple[str, ...]] = ("bytes",)
    parameters: ClassVar[tuple[Parameter, ...]] = (
        Parameter("a", "", -10.0, -40.0, 5.0, "logarithm of the seconds of one byte"),
        Parameter("b", "", 1.0, -3.0, 3.0, "power"),
    )

    def seconds(self, values: Array, shape: Shape, peaks: Peaks) -> Array:
        time: Array = np.exp(values[0] + values[1] * np.log(shape["bytes"]))
        return time


@dataclass(frozen=True)
class Twice(Line):
    """Two parameters that do the same."""

    name: ClassVar[str] = "twice"

    def seconds(self, values: Array, shape: Shape, peaks: Peaks) -> Array:
        time: Array = np.exp(values[0] + values[1] + 0.0 * shape["bytes"])
        return time


@dataclass(frozen=True)
class Broken(Line):
    """Gives no number at its start."""

    name: ClassVar[str] = "broken"

    def seconds(self, values: Array, shape: Shape, peaks: Peaks) -> Array:
        return np.full(shape["bytes"].shape, np.nan)


def products(noise: float = 0.0, seed: int = 0) -> Timings:
    m, n, k = np.meshgrid(
        np.exp2(np.arange(0.0, 14.0)),
        np.array([256.0, 1024.0, 4096.0, 8192.0, 28672.0]),
        np.array([512.0, 2048.0, 8192.0, 28672.0]),
    )
    shape = {"m": m.ravel(), "n": n.ravel(), "k": k.ravel()}
    seconds = Gemm().seconds(TRUTH, shape, PEAKS)
    rng = np.random.default_rng(seed)
    return Timings.of(
        operator="gemm",
        chip="h100-sxm",
        engine="vllm",
        dtype="bf16",
        seconds=seconds * np.exp(rng.normal(0.0, noise, len(seconds))),
        shape=shape,
    )


def streams(seconds: Array, size: Array) -> Timings:
    return Timings.of(operator="stream", chip="h100-sxm", seconds=seconds, shape={"bytes": size})


def test_true_parameters_come_back_from_exact_timings() -> None:
    curve = fit_curve(Gemm(), GEMM, products(), PEAKS, groups=("n", "k"), **ORIGIN)
    assert curve.values == pytest.approx(TRUTH, rel=1e-3)
    assert curve.mape_in < 1e-4
    assert curve.mape_out < 1e-4
    assert curve.tier == "fitted"
    assert curve.points == 280
    assert curve.valid["m"] == (1.0, 8192.0)


def test_errors_match_the_textbook_on_a_straight_line() -> None:
    """Weighted least squares in closed form; the noise is far below where soft_l1 bends."""
    rng = np.random.default_rng(3)
    size = np.exp2(np.linspace(10, 24, 60))
    noise = 0.003
    logs = -20.0 + 0.9 * np.log(size) + rng.normal(0.0, noise, 60)
    curve = fit_curve(Line(), STREAM, streams(np.exp(logs), size), PEAKS, **ORIGIN)
    design = np.stack([np.ones(60), np.log(size)], axis=1)
    best, rest, _, _ = np.linalg.lstsq(design, logs, rcond=None)
    variance = float(rest[0]) / 58 * np.linalg.inv(design.T @ design)
    assert curve.values == pytest.approx(best, rel=1e-4)
    assert curve.covariance == pytest.approx(variance, rel=2e-2)


def test_stated_errors_cover_the_truth() -> None:
    """Twenty tables of one truth: its parameters lie within two standard errors as they should."""
    inside = []
    for seed in range(20):
        curve = fit_curve(Gemm(), GEMM, products(0.05, seed), PEAKS, groups=("n", "k"), **ORIGIN)
        error = np.sqrt(np.diag(curve.covariance))
        inside.extend(np.abs(curve.values - TRUTH)[:3] < 2.0 * error[:3])
    assert 0.80 < np.mean(inside) <= 1.0


def test_outliers_hardly_move_a_fit() -> None:
    table = products(0.01)
    seconds = table.seconds.copy()
    seconds[::20] *= 5.0
    spoiled = replace(table, seconds=seconds)
    curve = fit_curve(Gemm(), GEMM, spoiled, PEAKS, **ORIGIN)
    assert curve.values[:3] == pytest.approx(TRUTH[:3], rel=0.03)


def test_a_group_left_out_is_not_seen() -> None:
    """One matrix is three times slower: in sample the grid learns it, out of sample nothing can."""
    table = products()
    odd = (table.shape["n"] == 4096.0) & (table.shape["k"] == 2048.0)
    seconds = np.where(odd, 3.0 * table.seconds, table.seconds)
    spoiled = replace(table, seconds=seconds)
    spec = GridSpec(("m", "n", "k"), (6, 5, 4), stiffness=1e-3)
    curve = fit_curve(Gemm(), GEMM, spoiled, PEAKS, groups=("n", "k"), correction=spec, **ORIGIN)
    assert curve.tier == "measured"
    assert curve.mape_in < 0.02
    # 1 of 20 matrices cannot be foreseen, and that alone costs two thirds of its own time
    assert curve.mape_out > 2.0 / 3.0 / 20.0


def test_the_same_timings_give_the_same_curve() -> None:
    spec = GridSpec(("m", "n", "k"), (6, 4, 3))
    one, other = (
        fit_curve(Gemm(), GEMM, products(0.1), PEAKS, correction=spec, **ORIGIN) for _ in range(2)
    )
    assert np.array_equal(one.values, other.values)
    assert one.mape_out == other.mape_out


def test_a_parameter_at_its_bound_is_reported_without_an_error() -> None:
    size = np.exp2(np.arange(10.0, 30.0))
    seconds = 1e-9 + size / (3e12 * 0.8)
    curve = fit_curve(Stream(), STREAM, streams(seconds, size), PEAKS, **ORIGIN)
    assert any("launch is at its lower bound 1e-07 s" in each for each in curve.warnings)
    assert np.isnan(curve.covariance[0, 0])
    assert np.isfinite(curve.covariance[1, 1])


def test_parameters_that_cannot_be_told_apart_are_reported() -> None:
    size = np.exp2(np.arange(10.0, 30.0))
    curve = fit_curve(Twice(), STREAM, streams(np.full(20, 1e-5), size), PEAKS, **ORIGIN)
    assert "singular covariance: the timings cannot tell a, b apart" in curve.warnings[0]
    assert np.isnan(curve.covariance).all()


def test_too_few_timings_are_refused() -> None:
    few = products().rows(np.arange(5))
    with pytest.raises(CurveError, match=r"5 timings are too few.*at least 14 shapes"):
        fit_curve(Gemm(), GEMM, few, PEAKS, **ORIGIN)


def test_unchecked_rows_are_refused_by_line() -> None:
    table = products()
    seconds = table.seconds.copy()
    seconds[4] = -1.0
    bad = replace(table, seconds=seconds, lines=np.arange(2, 282))
    with pytest.raises(CurveError, match=r"1 rows .*lines 6\); pass them through check_timings"):
        fit_curve(Gemm(), GEMM, bad, PEAKS, **ORIGIN)


def test_a_form_that_gives_no_number_advises() -> None:
    size = np.exp2(np.arange(10.0, 30.0))
    with pytest.raises(CurveError, match=r"(?s)does not fit.*1\. Is the unit.*4\. Are the peaks"):
        fit_curve(Broken(), STREAM, streams(np.full(20, 1e-5), size), PEAKS, **ORIGIN)


def test_groups_are_columns_products_of_them_or_labels() -> None:
    shape = {"m": np.array([1.0, 2.0, 1.0]), "n": np.array([4.0, 2.0, 4.0])}
    assert group_labels(None, shape, 3).tolist() == [0, 1, 0]
    assert group_labels(("m*n",), shape, 3).tolist() == [0, 0, 0]
    assert group_labels(np.array([7, 5, 7]), shape, 3).tolist() == [1, 0, 1]
    with pytest.raises(CurveError, match="cannot group by 'k'; the form reads m, n"):
        group_labels(("k",), shape, 3)
    with pytest.raises(CurveError, match="3 timings but 2 group labels"):
        group_labels(np.array([7, 5]), shape, 3)


def test_progress_is_told_after_every_fit() -> None:
    calls: list[int] = []
    fit_curve(Gemm(), GEMM, products(), PEAKS, on_fit=lambda: calls.append(1), **ORIGIN)
    assert len(calls) == FOLDS + 1


def test_a_fit_starts_where_it_is_told() -> None:
    table = products()
    found = solve(Gemm(), table.shape, table.seconds, PEAKS, None, start=TRUTH)
    assert found.values == pytest.approx(TRUTH, rel=1e-6)
