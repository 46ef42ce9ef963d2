"""Statistics against plain computations and textbook values."""

from __future__ import annotations

import json
import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from planner.trace import (
    Arrivals,
    ClassWorkload,
    HashIds,
    LengthDistribution,
    RequestBlock,
    synthesize,
)
from planner.trace.stats import QUANTILES, TraceStats, trace_stats
from planner.trace.table import Rows, new_rows


def rows_at(arrival_s: list[float], **fields: object) -> Rows:
    rows = new_rows(len(arrival_s))
    rows["arrival_s"] = arrival_s
    for name, values in fields.items():
        rows[name] = values
    return rows


def stats_of(rows: Rows, size: int = 1 << 20) -> TraceStats:
    cuts = [*range(0, len(rows), size), len(rows)]
    return trace_stats(RequestBlock(rows[a:b]) for a, b in pairwise(cuts) if b > a)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.floats(0, 500), min_size=2, max_size=200),
    st.lists(st.integers(0, 3000), min_size=200, max_size=200),
    st.integers(1, 50),
)
def test_everything_agrees_with_numpy_whatever_the_blocks(
    arrivals: list[float], tokens: list[int], size: int
) -> None:
    arrival_s = np.sort(arrivals)
    count = len(arrival_s)
    found = stats_of(rows_at(arrival_s.tolist(), input_tokens=tokens[:count]), size)
    assert found.requests == count
    gaps = np.diff(arrival_s)
    if gaps.mean() > 1e-3:
        assert found.gap_cv == pytest.approx(gaps.std() / gaps.mean(), rel=1e-6, abs=1e-6)
        assert found.rate_rps == pytest.approx(count / (arrival_s[-1] - arrival_s[0]))
    assert found.distinct_arrivals_rate == len(np.unique(arrival_s)) / count
    values = np.sort(tokens[:count])
    assert found.input_tokens.mean == pytest.approx(values.mean())
    assert found.input_tokens.maximum == values.max()
    expected = np.quantile(values, QUANTILES, method="inverted_cdf")
    assert list(found.input_tokens.quantiles.values()) == expected.tolist()
    for window in found.windows:
        full = int(arrival_s[-1] // window.window_s)
        counts = np.bincount((arrival_s // window.window_s).astype(int))[:full]
        assert window.windows == full
        assert window.peak_to_mean == pytest.approx(counts.max() / counts.mean())
        assert window.dispersion == pytest.approx(counts.var() / counts.mean(), abs=1e-9)


def test_poisson_arrivals_have_cv_and_dispersion_one() -> None:
    length = LengthDistribution.fixed(1)
    workload = ClassWorkload(0, length, length, Arrivals(20.0))
    blocks = synthesize([workload], 20_000.0, np.random.SeedSequence(1))
    found = trace_stats(RequestBlock(rows) for rows in blocks)
    assert found.rate_rps == pytest.approx(20.0, rel=0.01)
    assert found.gap_cv == pytest.approx(1.0, rel=0.01)
    assert [w.window_s for w in found.windows] == [1.0, 10.0, 60.0, 600.0, 3600.0]
    assert found.windows[0].dispersion == pytest.approx(1.0, abs=0.05)
    assert found.windows[1].dispersion == pytest.approx(1.0, abs=0.15)


def test_gamma_arrivals_have_dispersion_cv_squared_in_wide_windows() -> None:
    length = LengthDistribution.fixed(1)
    workload = ClassWorkload(0, length, length, Arrivals(50.0, None, 0.0, "gamma", 3.0))
    blocks = synthesize([workload], 50_000.0, np.random.SeedSequence(2))
    found = trace_stats(RequestBlock(rows) for rows in blocks)
    assert found.gap_cv == pytest.approx(3.0, rel=0.02)
    assert found.windows[2].dispersion == pytest.approx(9.0, rel=0.15)


def test_coarse_times_are_seen() -> None:
    found = stats_of(rows_at([0.0] * 5 + [3.0] * 5))
    assert found.distinct_arrivals_rate == 0.2


def test_sessions_and_what_they_repeat() -> None:
    rows = rows_at([0.0, math.nan, math.nan, 9.0])
    rows["think_s"][1:3] = 5.0
    rows["session_id"][:3] = 4
    rows["input_tokens"] = [100, 150, 210, 1000]
    rows["output_tokens"] = [40, 30, 10, 1]
    rows["reasoning_tokens"] = [20, 0, 0, 0]
    found = stats_of(rows)
    assert found.later_turns == 2
    assert found.sessions == 1
    assert found.turns_per_session == 3.0
    # The reasoning is dropped, so what was said after it stands elsewhere in the next prompt.
    assert found.session_reuse_rate == pytest.approx((100 + 180) / (100 + 150 + 210))


def blocks_with_ids(lists: list[list[int]], inputs: list[int], size: int) -> list[RequestBlock]:
    blocks = []
    for first in range(0, len(lists), size):
        part = lists[first : first + size]
        rows = rows_at([float(first + i) for i in range(len(part))])
        rows["input_tokens"] = inputs[first : first + size]
        offsets = np.concatenate(([0], np.cumsum([len(ids) for ids in part]))).astype(np.int64)
        values = np.array([i for ids in part for i in ids], dtype=np.int64)
        blocks.append(RequestBlock(rows, HashIds(offsets, values)))
    return blocks


@pytest.mark.parametrize("size", [1, 2, 10])
def test_prefix_reuse_counts_leading_blocks_seen_before(size: int) -> None:
    lists = [[1, 2, 3], [1, 2, 9], [7], [1, 2, 3], [], [8, 1]]
    inputs = [1500, 1500, 100, 1300, 5, 1024]
    prefix = trace_stats(blocks_with_ids(lists, inputs, size)).prefix
    assert prefix is not None
    # row 1 reuses two blocks, row 3 its whole prompt; row 5 starts with a new block, so nothing
    assert prefix.hit_rate == pytest.approx((1024 + 1300) / sum(inputs))
    assert prefix.requests_with_hit_rate == pytest.approx(2 / 6)
    assert prefix.unique_blocks == 6


def test_prefix_ids_may_be_huge_or_negative() -> None:
    lists = [[-5, 1 << 60], [-5, 1 << 60], [-5, 3]]
    prefix = trace_stats(blocks_with_ids(lists, [1024] * 3, 2)).prefix
    assert prefix is not None
    assert prefix.hit_rate == pytest.approx((1024 + 512) / 3072)
    assert prefix.unique_blocks == 3


def test_classes_are_told_apart() -> None:
    rows = rows_at([0.0, 1.0, 2.0, 3.0], input_tokens=[1, 2, 3, 4])
    rows["class"] = [1, 0, 1, -1]
    found = trace_stats([RequestBlock(rows)], ["chat", "agent"])
    assert {name: one.requests for name, one in found.classes.items()} == {
        "other": 1,
        "chat": 1,
        "agent": 2,
    }
    assert found.classes["agent"].input_tokens.maximum == 3


def test_a_single_request_has_no_rate_and_still_prints() -> None:
    found = stats_of(rows_at([5.0]))
    plain = json.loads(json.dumps(found.to_dict(), allow_nan=False))
    assert plain["gap_cv"] is None
    assert plain["rate_rps"] is None
    assert plain["windows"] == []
    assert trace_stats([]).to_dict()["requests"] == 0
