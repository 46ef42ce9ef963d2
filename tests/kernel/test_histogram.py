"""Bins and their counts against counting value by value."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from planner.kernel.dtypes import (
    HISTOGRAM_BINS,
    HISTOGRAM_GROWTH,
    HISTOGRAM_MIN_S,
    histogram_upper_edges,
)
from planner.kernel.histogram import add_progression, add_value, bin_of

EDGES_S = histogram_upper_edges()


def test_edges_grow_by_a_constant_ratio() -> None:
    assert EDGES_S.shape == (HISTOGRAM_BINS,)
    assert EDGES_S[0] == HISTOGRAM_MIN_S
    assert EDGES_S[1:] / EDGES_S[:-1] == pytest.approx(HISTOGRAM_GROWTH)
    assert EDGES_S[-1] > 1e8


@given(st.floats(0.0, 1e8))
def test_a_value_lies_between_the_edges_of_its_bin(value_s: float) -> None:
    index = bin_of(value_s)
    assert value_s <= EDGES_S[index] * (1 + 1e-12)
    assert index == 0 or value_s >= EDGES_S[index - 1] * (1 - 1e-12)


@given(st.floats(2e-6, 1e8))
def test_the_harmonic_middle_of_a_bin_is_within_half_a_percent(value_s: float) -> None:
    index = bin_of(value_s)
    middle_s = 2.0 / (1.0 / EDGES_S[index] + 1.0 / EDGES_S[index - 1])
    assert middle_s == pytest.approx(value_s, rel=0.005 + 1e-9)


@pytest.mark.parametrize(
    ("value_s", "index"),
    [(0.0, 0), (1e-6, 0), (1.001e-6, 1), (1.02e-6, 2), (1e30, HISTOGRAM_BINS - 1)],
)
def test_bins_of_worked_examples(value_s: float, index: int) -> None:
    assert bin_of(value_s) == index


@given(
    first_s=st.floats(0.0, 2.0),
    growth_s=st.sampled_from([0.0, 1e-9, 1e-6, 1e-3, 0.3]),
    count=st.integers(1, 200),
    weight=st.integers(1, 5),
)
def test_a_progression_counts_like_its_values(
    first_s: float, growth_s: float, count: int, weight: int
) -> None:
    histogram = np.zeros(HISTOGRAM_BINS, np.int64)
    add_progression(histogram, first_s, growth_s, count, weight)
    singly = np.zeros(HISTOGRAM_BINS, np.int64)
    for step in range(count):
        for _ in range(weight):
            add_value(singly, first_s + growth_s * step)
    assert histogram.sum() == count * weight
    assert (histogram >= 0).all()
    # A value on an edge may go to either side; otherwise the counts are the same.
    difference = np.cumsum(histogram - singly)
    for index in np.flatnonzero(difference):
        near = (
            np.abs(first_s + growth_s * np.arange(count) - EDGES_S[index]) < 1e-9 * EDGES_S[index]
        )
        assert abs(difference[index]) <= weight * near.sum()
