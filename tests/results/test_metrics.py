"""Quantiles, attainment and busiest resources against exact answers."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from planner.kernel.dtypes import HISTOGRAM_BINS, histogram_upper_edges
from planner.results.metrics import (
    busiest_resource,
    divide,
    histogram_mean,
    histogram_quantiles,
    histogram_values_s,
    peak_windows,
    slo_attainment,
)
from tests.results.synthetic import to_histogram

LATENCIES = st.lists(st.floats(1e-5, 1e7), min_size=1, max_size=300)
PERCENTILES = st.lists(st.floats(0.0, 100.0), min_size=1, max_size=8)


@given(LATENCIES, PERCENTILES)
def test_quantiles_are_within_half_a_percent_of_the_exact_ones(
    values: list[float], percentiles: list[float]
) -> None:
    found = histogram_quantiles(to_histogram(np.array(values)), percentiles)
    ranked = np.sort(values)
    for percentile, quantile in zip(percentiles, found, strict=True):
        below = np.searchsorted(ranked, quantile / 1.00500001)
        at_or_below = np.searchsorted(ranked, quantile / 0.99499999, side="right")
        rank = percentile / 100 * len(values)
        assert below <= rank + 1e-6, "the exact quantile is more than 0.5% lower"
        assert at_or_below >= rank - 1e-6, "the exact quantile is more than 0.5% higher"


@given(LATENCIES, st.sampled_from([1.0, 25.0, 50.0, 90.0, 99.0, 99.9]))
def test_quantiles_follow_the_inverse_of_the_empirical_distribution(
    values: list[float], percentile: float
) -> None:
    exact = np.sort(values)[max(0, math.ceil(round(percentile * len(values) / 100, 9)) - 1)]
    found = histogram_quantiles(to_histogram(np.array(values)), [percentile])[0]
    assert found == pytest.approx(exact, rel=0.0050001)


def test_the_rank_is_exact_where_floating_point_is_not() -> None:
    values = np.full(1000, 1.0)
    values[-1] = 9.0  # p99.9 of 1000 values is the 999th; 99.9 / 100 * 1000 exceeds 999
    assert histogram_quantiles(to_histogram(values), [99.9])[0] == pytest.approx(1.0, rel=0.005)


@given(LATENCIES)
def test_the_mean_is_within_half_a_percent(values: list[float]) -> None:
    exact = float(np.mean(values))
    assert histogram_mean(to_histogram(np.array(values))) == pytest.approx(exact, rel=0.0050001)


def test_every_value_stands_for_its_whole_bin() -> None:
    values, upper = histogram_values_s()[1:], histogram_upper_edges()
    assert np.all(np.abs(values / upper[:-1] - 1) <= 0.005 + 1e-12)
    assert np.all(np.abs(values / upper[1:] - 1) <= 0.005 + 1e-12)


def test_nothing_measured_is_nan_and_no_wait_is_zero() -> None:
    empty = np.zeros(HISTOGRAM_BINS, dtype=np.int64)
    assert np.isnan(histogram_quantiles(empty, [50, 99])).all()
    assert math.isnan(histogram_mean(empty))
    assert histogram_quantiles(to_histogram(np.zeros(4)), [50])[0] == 0.0


def test_attainment_leaves_rate_limited_requests_out() -> None:
    assert slo_attainment(good=90, measured=120, rate_limited=20) == 0.9
    assert math.isnan(slo_attainment(good=0, measured=20, rate_limited=20))
    assert math.isnan(divide(1.0, 0.0))


BUSY: dict[str, Any] = {
    "busy_s": 90.0, "compute_s": 40.0, "memory_s": 30.0, "active_s": 100.0, "running_s": 1000.0,
    "waiting_s": 0.0, "kv_block_s": 50_000.0, "routed": 1000, "preemptions": 0,
    "kv_blocks": 1000, "maximum_sequences": 64,
}  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, "compute"),
        ({"memory_s": 41.0}, "memory_bandwidth"),
        ({"kv_block_s": 90_000.0}, "kv_capacity"),
        ({"preemptions": 11}, "kv_capacity"),
        ({"preemptions": 10}, "compute"),
        ({"running_s": 6000.0, "waiting_s": 60.0}, "queueing"),
        ({"running_s": 6000.0}, "compute"),
        ({"running_s": 6000.0, "waiting_s": 60.0, "kv_block_s": 95_000.0}, "kv_capacity"),
        ({"waiting_s": 5000.0}, "compute"),
        ({"active_s": 0.0, "busy_s": 0.0, "waiting_s": 1.0}, "queueing"),
        ({"busy_s": 0.0}, "none"),
        ({"link_rate": 0.89}, "compute"),
        ({"link_rate": 0.9}, "kv_link"),
        ({"link_rate": 0.9, "preemptions": 1_000_000}, "kv_link"),
    ],
)
def test_busiest_resource(changes: dict[str, Any], expected: str) -> None:
    assert busiest_resource(**BUSY | changes) == expected


def test_peak_windows_are_the_busiest_tenth_in_order() -> None:
    load = np.zeros(20)
    load[[17, 3]] = [5.0, 9.0]
    assert peak_windows(load).tolist() == [3, 17]
    assert peak_windows(np.array([1.0, 1.0, 1.0])).tolist() == [0]
