"""Synthetic requests: rates, gaps, shapes, sessions, and independence of how they are drawn."""

from __future__ import annotations

import math
import tracemalloc
from dataclasses import replace
from itertools import islice, pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from planner.errors import TraceError
from planner.trace import (
    TRACE_ROW,
    Arrivals,
    ClassWorkload,
    LengthDistribution,
    closed_rows,
    synthesize,
)
from planner.trace.synthetic import gap_sampler, renewal_times, weibull_shape
from planner.trace.table import Rows

SHORT = LengthDistribution.uniform(10, 100)


def open_class(index: int = 0, rate_rps: float = 50.0, **fields: object) -> ClassWorkload:
    arrivals = {
        key: fields.pop(key)
        for key in ("shape", "start_s_of_week", "burstiness", "cv")
        if key in fields
    }
    return ClassWorkload(index, SHORT, SHORT, Arrivals(rate_rps, **arrivals), **fields)  # type: ignore[arg-type]


def draw(
    *workloads: ClassWorkload, duration_s: float = 100.0, seed: int = 1, block_rows: int = 1 << 16
) -> Rows:
    root = np.random.SeedSequence(seed)
    blocks = list(synthesize(workloads, duration_s, root, block_rows))
    return np.concatenate(blocks) if blocks else np.zeros(0, TRACE_ROW)


# --- arrivals ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("burstiness", "cv"),
    [("poisson", 1.0), ("gamma", 0.4), ("gamma", 3.0), ("weibull", 0.5), ("weibull", 4.0)],
)
def test_the_mean_rate_is_unbiased_from_the_first_second_on(burstiness: str, cv: float) -> None:
    expected = 40.0
    counts = np.array(
        [
            sum(map(len, renewal_times(np.random.default_rng(seed), burstiness, cv, expected)))  # type: ignore[arg-type]
            for seed in range(4000)
        ]
    )
    error = counts.std(ddof=1) / math.sqrt(len(counts))
    assert abs(counts.mean() - expected) < 4 * error


@pytest.mark.parametrize(
    ("burstiness", "cv"), [("poisson", 1.0), ("gamma", 2.5), ("weibull", 0.5), ("weibull", 2.0)]
)
def test_gaps_have_mean_one_and_the_asked_cv(burstiness: str, cv: float) -> None:
    _, gaps = gap_sampler(burstiness, cv)  # type: ignore[arg-type]
    drawn = gaps(np.random.default_rng(5), 2_000_000)
    assert drawn.mean() == pytest.approx(1.0, rel=0.01)
    assert drawn.std() / drawn.mean() == pytest.approx(cv, rel=0.02)


@pytest.mark.parametrize("cv", [1e-3, 0.1, 0.5, 1.0, 2.0, 10.0, 100.0])
def test_weibull_shape_gives_the_cv(cv: float) -> None:
    k = weibull_shape(cv)
    squared = math.expm1(math.lgamma(1 + 2 / k) - 2 * math.lgamma(1 + 1 / k))
    assert math.sqrt(squared) == pytest.approx(cv, rel=1e-4)


def test_almost_regular_arrivals_are_regular() -> None:
    arrival_s = draw(open_class(burstiness="gamma", cv=1e-6, rate_rps=2.0))["arrival_s"]
    assert np.diff(arrival_s) == pytest.approx(0.5, abs=1e-3)


def test_very_bursty_arrivals_stay_sorted_and_inside() -> None:
    arrival_s = draw(open_class(burstiness="gamma", cv=100.0), duration_s=5000.0)["arrival_s"]
    assert np.all(np.diff(arrival_s) >= 0)
    assert arrival_s[0] >= 0
    assert arrival_s[-1] < 5000.0


def test_the_rate_follows_the_shape() -> None:
    shape = tuple(1.0 + (hour % 6) for hour in range(24))
    rows = draw(open_class(rate_rps=5.0, shape=shape), duration_s=86400.0)
    counts = np.bincount((rows["arrival_s"] // 3600).astype(int), minlength=24)
    expected = 5.0 * 3600 * np.array(shape) / np.mean(shape)
    assert np.all(np.abs(counts - expected) < 5 * np.sqrt(expected))


def test_a_shape_starts_at_the_given_time_of_the_week() -> None:
    shape = tuple(1.0 if hour == 30 else 0.0 for hour in range(168))
    start_s = 29.5 * 3600
    rows = draw(open_class(rate_rps=1.0, shape=shape, start_s_of_week=start_s), duration_s=7200.0)
    assert len(rows) == pytest.approx(168 * 3600, rel=0.02)
    assert rows["arrival_s"].min() >= 1800.0
    assert rows["arrival_s"].max() <= 5400.0


def test_a_daily_shape_repeats_every_day() -> None:
    shape = tuple(float(hour == 3) for hour in range(24))
    rows = draw(open_class(rate_rps=0.5, shape=shape), duration_s=3 * 86400.0)
    assert set((rows["arrival_s"] // 3600 % 24).tolist()) == {3.0}
    assert set((rows["arrival_s"] // 86400).tolist()) == {0.0, 1.0, 2.0}


def test_hours_of_rate_zero_are_empty_even_as_the_whole_trace() -> None:
    shape = tuple(float(hour >= 12) for hour in range(24))
    assert len(draw(open_class(shape=shape), duration_s=3600.0)) == 0


def test_a_burst_process_keeps_its_cv_under_a_shape() -> None:
    shape = tuple(0.5 + (hour % 2) for hour in range(24))
    workload = open_class(rate_rps=20.0, shape=shape, burstiness="gamma", cv=2.0)
    arrival_s = draw(workload, duration_s=86400.0)["arrival_s"]
    first_hour = np.diff(arrival_s[arrival_s < 3600])
    assert first_hour.std() / first_hour.mean() == pytest.approx(2.0, rel=0.05)


# --- merging and independence --------------------------------------------------------------------


def test_classes_are_merged_by_arrival() -> None:
    rows = draw(*(open_class(i, rate) for i, rate in enumerate((300.0, 30.0, 0.5))))
    assert np.all(np.diff(rows["arrival_s"]) >= 0)
    counts = np.bincount(rows["class"])
    assert counts == pytest.approx([30_000, 3000, 50], rel=0.4)


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 5000), st.booleans())
def test_the_block_size_changes_nothing(block_rows: int, sessions: bool) -> None:
    turns = LengthDistribution.uniform(1, 5) if sessions else None
    workloads = [
        open_class(0, 40.0, turns=turns, think_median_s=5.0, visitors=9),
        open_class(1, 90.0, burstiness="weibull", cv=2.0),
    ]
    whole = draw(*workloads, duration_s=60.0)
    assert draw(*workloads, duration_s=60.0, block_rows=block_rows).tobytes() == whole.tobytes()


def test_blocks_have_the_asked_size() -> None:
    root = np.random.SeedSequence(3)
    sizes = [len(rows) for rows in synthesize([open_class()], 100.0, root, 1000)]
    assert set(sizes[:-1]) == {1000}
    assert 0 < sizes[-1] <= 1000


def test_one_class_does_not_change_another() -> None:
    alone = draw(open_class(1, 80.0))
    together = draw(open_class(0, 200.0, burstiness="gamma", cv=3.0), open_class(1, 80.0))
    assert together[together["class"] == 1].tobytes() == alone.tobytes()


def test_one_distribution_does_not_change_another() -> None:
    before = draw(open_class(reasoning=None))
    after = draw(replace(open_class(), input=LengthDistribution.fixed(7)))
    assert np.array_equal(before["arrival_s"], after["arrival_s"])
    assert np.array_equal(before["output_tokens"], after["output_tokens"])


def test_a_longer_trace_starts_with_the_shorter_one() -> None:
    short, long = draw(open_class(), duration_s=50.0), draw(open_class(), duration_s=100.0)
    assert long[: len(short)].tobytes() == short.tobytes()


def test_seeds_differ_and_repeat() -> None:
    assert draw(open_class(), seed=1).tobytes() == draw(open_class(), seed=1).tobytes()
    assert draw(open_class(), seed=1).tobytes() != draw(open_class(), seed=2).tobytes()


def test_the_seed_sequence_is_not_advanced() -> None:
    root = np.random.SeedSequence(9)
    first = np.concatenate(list(synthesize([open_class()], 10.0, root)))
    again = np.concatenate(list(synthesize([open_class()], 10.0, root)))
    assert first.tobytes() == again.tobytes()
    assert root.n_children_spawned == 0


def test_memory_does_not_grow_with_the_trace() -> None:
    workloads = [open_class(i, 2000.0) for i in range(3)]
    deque_of_none = synthesize(workloads, 300.0, np.random.SeedSequence(1))
    next(deque_of_none)
    tracemalloc.start()
    rows = sum(len(block) for block in deque_of_none)
    _, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert rows > 1_600_000  # 100 MB, were it kept
    assert peak_bytes < 40e6


def test_many_slow_classes_are_merged_too() -> None:
    rows = draw(*(open_class(i, 0.05 * (1 + i % 3)) for i in range(200)), duration_s=600.0)
    assert np.all(np.diff(rows["arrival_s"]) >= 0)
    assert len(set(rows["class"].tolist())) == 200


# --- rows ----------------------------------------------------------------------------------------


def test_plain_rows_stand_alone() -> None:
    rows = draw(open_class(4, visitors=10))
    assert np.isnan(rows["think_s"]).all()
    assert set(rows["session_id"].tolist()) == {-1}
    assert set(rows["turn"].tolist()) == {0}
    assert set(rows["class"].tolist()) == {4}
    assert set(rows["visitor_id"].tolist()) == set(range(10))
    assert set(draw(open_class())["visitor_id"].tolist()) == {-1}


def test_reasoning_is_added_to_the_output() -> None:
    plain = draw(open_class())
    thinking = draw(open_class(reasoning=LengthDistribution.uniform(1000, 2000)))
    assert np.array_equal(
        thinking["output_tokens"] - thinking["reasoning_tokens"], plain["output_tokens"]
    )
    assert thinking["reasoning_tokens"].min() >= 1000


def session_class(**fields: object) -> ClassWorkload:
    fields = {
        "turns": LengthDistribution.uniform(1, 6),
        "think_median_s": 20.0,
        "think_sigma": 0.5,
        "reasoning": LengthDistribution.fixed(33),
        "visitors": 50,
        **fields,
    }
    return open_class(2, 20.0, **fields)


def test_a_turn_carries_what_was_said_before() -> None:
    rows = draw(session_class())
    for previous, row in pairwise(rows):
        if row["turn"] == 0:
            assert np.isnan(row["think_s"])
            assert 10 <= row["input_tokens"] <= 100
            continue
        assert row["session_id"] == previous["session_id"]
        assert row["visitor_id"] == previous["visitor_id"]
        assert row["turn"] == previous["turn"] + 1
        assert np.isnan(row["arrival_s"])
        assert row["think_s"] > 0
        said = previous["input_tokens"] + previous["output_tokens"] - previous["reasoning_tokens"]
        assert 10 <= row["input_tokens"] - said <= 100


def test_a_system_prompt_comes_before_the_first_turn_and_stays() -> None:
    plain, prompted = draw(session_class()), draw(session_class(system_tokens=700))
    assert (prompted["input_tokens"] - plain["input_tokens"] == 700).all()
    alone = draw(open_class(2, 20.0, system_tokens=700))
    assert alone["input_tokens"].max() <= 100, "of single requests it is part of the input"


def test_reasoning_that_is_kept_is_said_again() -> None:
    rows = draw(session_class(keeps_reasoning=True))
    later = np.flatnonzero(rows["turn"] > 0)
    before = rows[later - 1]
    added = rows["input_tokens"][later] - before["input_tokens"] - before["output_tokens"]
    assert (added.min(), added.max()) == (10, 100)


def test_sessions_have_their_number_of_turns_and_unique_ids() -> None:
    rows = draw(session_class(), duration_s=500.0)
    starts = rows["turn"] == 0
    assert len(set(rows["session_id"][starts].tolist())) == starts.sum()
    turns = np.bincount(np.cumsum(starts) - 1)
    assert np.unique(turns).tolist() == [1, 2, 3, 4, 5, 6]
    assert turns.mean() == pytest.approx(3.5, rel=0.03)
    assert np.all(np.diff(rows["arrival_s"][starts]) >= 0)


def test_think_times_have_their_median_and_spread() -> None:
    think_s = draw(session_class(), duration_s=2000.0)["think_s"]
    logarithm = np.log(think_s[~np.isnan(think_s)])
    assert np.exp(np.median(logarithm)) == pytest.approx(20.0, rel=0.03)
    assert logarithm.std() == pytest.approx(0.5, rel=0.03)


def test_a_session_ends_before_it_outgrows_the_context() -> None:
    limit = 300
    rows = draw(session_class(maximum_context_tokens=limit), duration_s=500.0)
    later = rows["turn"] > 0
    assert (rows["input_tokens"] + rows["output_tokens"])[later].max() <= limit
    free = draw(session_class(), duration_s=500.0)
    assert 0.2 * len(free) < len(rows) < len(free)
    starts = np.flatnonzero(rows["turn"] == 0)
    expected = np.arange(len(rows)) - np.repeat(starts, np.diff(np.append(starts, len(rows))))
    assert np.array_equal(rows["turn"], expected)  # no turn is missing inside a session


def test_blocks_never_split_a_session() -> None:
    root = np.random.SeedSequence(1)
    blocks = list(synthesize([session_class()], 200.0, root, block_rows=7))
    assert len(blocks) > 100
    assert all(np.isnan(block["think_s"][0]) for block in blocks)
    assert all(7 <= len(block) <= 7 + 5 for block in blocks[:-1])


def test_long_sessions_are_drawn_in_bounded_pieces() -> None:
    workload = session_class(turns=LengthDistribution.fixed(9000), reasoning=None)
    rows = draw(workload, duration_s=2.0)
    assert set(np.bincount(rows["session_id"] - rows["session_id"].min()).tolist()) == {9000}


# --- agents --------------------------------------------------------------------------------------


def agent_class(**options: Any) -> ClassWorkload:
    """Return tasks of ten calls: first 100 tokens, then 50 of a tool; 20 of reasoning, 30 said."""
    fields: dict[str, Any] = {
        "turns": LengthDistribution.fixed(10),
        "reasoning": LengthDistribution.fixed(20),
        "follow_up": LengthDistribution.fixed(50),
        "think_median_s": 2.0,
    }
    fixed = LengthDistribution.fixed
    return ClassWorkload(0, fixed(100), fixed(30), Arrivals(5.0), **(fields | options))


@pytest.mark.parametrize(("keeps_reasoning", "growth"), [(False, 80), (True, 100)])
def test_a_call_reads_what_was_said_and_what_the_tool_returned(
    keeps_reasoning: bool, growth: int
) -> None:
    rows = draw(agent_class(keeps_reasoning=keeps_reasoning), duration_s=20.0)
    assert np.array_equal(rows["input_tokens"], 100 + growth * rows["turn"])
    assert set(rows["output_tokens"].tolist()) == {50}


def test_a_full_context_is_compacted() -> None:
    workload = agent_class(maximum_context_tokens=450, compact_to=40)
    rows = draw(workload, duration_s=20.0)
    # 100 … 340 and 420, which does not fit with its output of 50: the first prompt and a summary.
    expected = [100, 180, 260, 340, 140, 220, 300, 380, 140, 220]
    assert np.array_equal(rows["input_tokens"].reshape(-1, 10), [expected] * (len(rows) // 10))


def test_a_task_that_cannot_be_compacted_ends() -> None:
    rows = draw(agent_class(maximum_context_tokens=250, compact_to=120), duration_s=20.0)
    assert np.unique(rows["input_tokens"]).tolist() == [100, 180]


# --- closed loop ---------------------------------------------------------------------------------


def test_closed_rows_carry_the_pause_and_no_arrival() -> None:
    workload = ClassWorkload(3, SHORT, LengthDistribution.fixed(5), pause_s=1.5)
    blocks = list(closed_rows(workload, 2500, np.random.SeedSequence(1), 1000))
    assert [len(block) for block in blocks] == [1000, 1000, 500]
    rows = np.concatenate(blocks)
    assert np.isnan(rows["arrival_s"]).all()
    assert set(rows["think_s"].tolist()) == {1.5}
    assert set(rows["class"].tolist()) == {3}
    assert rows["input_tokens"].std() > 0


def test_closed_rows_without_a_count_go_on() -> None:
    workload = ClassWorkload(0, SHORT, SHORT)
    endless = closed_rows(workload, None, np.random.SeedSequence(1), 5000)
    assert [len(block) for block in islice(endless, 20)] == [5000] * 20
    assert list(closed_rows(workload, 0, np.random.SeedSequence(1))) == []


def test_closed_loop_lengths_are_those_of_the_open_loop() -> None:
    closed = next(closed_rows(ClassWorkload(0, SHORT, SHORT), 100, np.random.SeedSequence(1)))
    opened = draw(open_class())
    assert np.array_equal(closed["input_tokens"], opened["input_tokens"][:100])


# --- faults --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"rate_rps": 0.0}, "rate must be above zero"),
        ({"rate_rps": math.inf}, "rate must be above zero"),
        ({"rate_rps": 1.0, "cv": 2.0}, "poisson gaps cannot have CV 2"),
        ({"rate_rps": 1.0, "cv": 0.0, "burstiness": "gamma"}, "cannot have CV 0"),
        ({"rate_rps": 1.0, "shape": (1.0, 2.0)}, "24 or 168"),
        ({"rate_rps": 1.0, "shape": (0.0,) * 24}, "not all zero"),
    ],
)
def test_senseless_arrivals_are_refused(fields: dict[str, object], message: str) -> None:
    with pytest.raises(TraceError, match=message):
        Arrivals(**fields)  # type: ignore[arg-type]
