"""The discipline of timing, on kernels whose time is known."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from planner.microbench.timing import Discipline, UnsupportedCaseError, measure, spread
from tests.microbench.fake import FakeKernel

DISCIPLINE = Discipline()


def kernel(true_s: float, noise: float = 0.0) -> FakeKernel:
    return FakeKernel(true_s, noise, random.Random(0))


@given(st.floats(1e-7, 100.0), st.floats(0.0, 0.3))
def test_the_median_is_within_the_noise_and_time_is_bounded(true_s: float, noise: float) -> None:
    found = kernel(true_s, noise)
    sample = measure(found, DISCIPLINE)
    assert abs(sample.median_s / true_s - 1.0) <= noise * (1 + 1e-9)
    timed = found.calls[-sample.repeats :]
    assert timed == [sample.calls] * sample.repeats
    assert sample.repeats >= DISCIPLINE.least_repeats
    assert sample.calls <= DISCIPLINE.calls_at_most
    spent_s = sum(timed) * true_s
    least_s = DISCIPLINE.least_repeats * true_s * sample.calls
    assert spent_s <= max(DISCIPLINE.budget_s, least_s) * 1.5


def test_the_first_call_is_never_counted() -> None:
    found = kernel(1e-3)
    assert measure(found, DISCIPLINE).median_s == pytest.approx(1e-3)
    assert found.calls[0] == 1


def test_short_kernels_are_strung_together_and_long_ones_are_not() -> None:
    assert measure(kernel(1e-6), DISCIPLINE).calls == DISCIPLINE.calls_at_most
    assert measure(kernel(1e-4), DISCIPLINE).calls == 30
    slow = measure(kernel(1.0), DISCIPLINE)
    assert (slow.calls, slow.repeats) == (1, DISCIPLINE.least_repeats)


def test_repeats_that_spread_are_doubled_once() -> None:
    steady, noisy = measure(kernel(1e-4), DISCIPLINE), measure(kernel(1e-4, 0.3), DISCIPLINE)
    assert steady.repeats == DISCIPLINE.repeats
    assert noisy.repeats == 2 * DISCIPLINE.repeats
    assert steady.spread == 0.0
    assert 0.05 < noisy.spread < 0.6


@pytest.mark.parametrize("time_s", [0.0, -1.0, float("nan")])
def test_a_clock_that_does_not_move_gives_no_timing(time_s: float) -> None:
    with pytest.raises(UnsupportedCaseError, match="clock"):
        measure(kernel(time_s), DISCIPLINE)


def test_spread_ignores_single_outliers() -> None:
    assert spread([1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 50.0]) == 0.0
    assert spread([1.0, 2.0, 3.0]) == 1.0
