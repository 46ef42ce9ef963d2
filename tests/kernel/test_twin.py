"""The kernel against its naive twin: equal on every request, to the last bit where sums are exact.

The bridge also checks the invariants (`planner/invariants`) after every run.
"""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings

from planner.kernel import build
from planner.kernel.dtypes import HISTOGRAM_GROWTH
from planner.kernel.enums import Fate, Metric, Router, Scheduler
from tests.kernel.bridge import Record, simulate
from tests.kernel.strategies import (
    UNIT_STEPS,
    Scenario,
    decimal_scenarios,
    dyadic_scenarios,
    examples,
    general_scenarios,
)
from tests.naive import NOWHERE, Outcome, RequestClass, Row

TIMES = ("arrival_s", "started_s", "first_token_s", "answer_s", "finish_s")
IDENTITY = (
    "number", "class_index", "pool", "replica", "preemptions", "cached_tokens", "fate",
    "prefill_replica", "leg",
)  # fmt: skip


def twin_records(outcome: Outcome) -> list[Record]:
    return [
        Record(
            request.number,
            request.class_index,
            request.pool,
            request.replica,
            request.arrival_s,
            request.started_s,
            request.first_token_s,
            request.answer_s,
            request.finish_s,
            request.preemptions,
            request.cached_tokens,
            int(request.fate),
            request.prefill_replica,
            int(request.leg),
        )
        for request in outcome.requests
    ]


def by_number(records: list[Record]) -> list[Record]:
    return sorted(records, key=lambda record: record.number)


def same_time(a: float, b: float) -> bool:
    return a == b or (math.isnan(a) and math.isnan(b))


@settings(max_examples=examples(1000))
@given(scenario=dyadic_scenarios())
def test_equals_the_twin_to_the_last_bit(scenario: Scenario) -> None:
    outcome = scenario.simulate_naively()
    engine, records = simulate(scenario)
    expected = by_number(twin_records(outcome))
    found = by_number(records)
    assert [r.number for r in found] == [r.number for r in expected]
    for ours, theirs in zip(found, expected, strict=True):
        for name in IDENTITY:
            assert getattr(ours, name) == getattr(theirs, name), (name, ours, theirs)
        for name in TIMES:
            assert same_time(getattr(ours, name), getattr(theirs, name)), (name, ours, theirs)
    state = engine.world.state[0]
    assert state["abandoned_turns"] == outcome.abandoned_turns
    assert state["unsent"] == outcome.unsent


@settings(max_examples=examples(300))
@given(scenario=general_scenarios())
def test_equals_the_twin_to_rounding(scenario: Scenario) -> None:
    outcome = scenario.simulate_naively()
    _, records = simulate(scenario)
    expected = by_number(twin_records(outcome))
    found = by_number(records)
    assert [r.number for r in found] == [r.number for r in expected]
    for ours, theirs in zip(found, expected, strict=True):
        for name in IDENTITY:
            assert getattr(ours, name) == getattr(theirs, name), (name, ours, theirs)
        for name in TIMES:
            assert getattr(ours, name) == pytest.approx(
                getattr(theirs, name), rel=1e-9, abs=1e-12, nan_ok=True
            ), (name, ours, theirs)


@settings(max_examples=examples(300))
@given(scenario=dyadic_scenarios())
def test_arrays_that_grow_change_nothing(scenario: Scenario) -> None:
    """With room for one, the kernel stops for more of everything all the time."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("FIRST_REQUESTS", "FIRST_RETURNS", "FINISHED_ROWS"):
            patch.setattr(build, name, 1)
        patch.setattr("planner.engine.FIRST_ENTRIES", 1)
        _, grown = simulate(scenario)
    _, roomy = simulate(scenario)
    assert repr(by_number(grown)) == repr(by_number(roomy))  # NaN has one spelling


@settings(max_examples=examples(300))
@given(scenario=dyadic_scenarios())
def test_counts_what_the_twin_counts(scenario: Scenario) -> None:
    outcome = scenario.simulate_naively()
    engine, _ = simulate(scenario)
    classes = len(scenario.classes)
    totals = engine.world.class_windows[:classes]
    assert len(engine.world.class_windows) == classes, "one window"
    for index in range(classes):
        mine = [r for r in outcome.requests if r.class_index == index]
        assert totals["arrived"][index] == len(mine)
        assert totals["measured"][index] == sum(r.measured for r in mine)
        assert totals["good"][index] == sum(r.good for r in mine)
        assert totals["measured_good"][index] == sum(r.good and r.measured for r in mine)
        for fate in Fate:
            assert totals["ended"][index][fate] == sum(r.fate == fate for r in mine)
        served = [r for r in mine if r.fate == Fate.SERVED]
        assert totals["output_tokens"][index] == sum(r.row.output_tokens for r in served)
        assert totals["reasoning_tokens"][index] == sum(r.row.reasoning_tokens for r in served)
        gaps = engine.world.histograms[index, Metric.ITL]
        if math.isinf(scenario.stop_s) and not scenario.losses:
            assert gaps.sum() == len(outcome.token_gaps[index])
            assert_same_histogram(gaps, outcome.token_gaps[index])
        front_s = [pool.request_s for pool in scenario.pools]
        ttft = [r.first_token_s - r.arrival_s + front_s[r.pool] for r in served if r.measured]
        assert_same_histogram(engine.world.histograms[index, Metric.TTFT], ttft)
        e2e = [r.finish_s - r.arrival_s + front_s[r.pool] for r in served if r.measured]
        assert_same_histogram(engine.world.histograms[index, Metric.E2E], e2e)
        ttfat = [r.answer_s - r.arrival_s + front_s[r.pool] for r in served if r.measured]
        assert_same_histogram(engine.world.histograms[index, Metric.TTFAT], ttfat)


@settings(max_examples=examples(300))
@given(scenario=dyadic_scenarios())
def test_counts_the_tasks_of_the_twin(scenario: Scenario) -> None:
    outcome = scenario.simulate_naively()
    engine, _ = simulate(scenario)
    for index in range(len(scenario.classes)):
        totals = engine.world.class_windows[index]
        begun = [r for r in outcome.requests if r.class_index == index and len(r.calls) == 1]
        sessions = [r for r in begun if r.row.session != NOWHERE]
        assert totals["measured_tasks"] == sum(r.measured for r in sessions)
        mine = [task for task in outcome.tasks if task.class_index == index]
        assert totals["tasks_finished"] == sum(task.finished for task in mine)
        measured = [task for task in mine if task.calls[0].measured]
        finished = [task for task in measured if task.finished]
        assert totals["measured_tasks_finished"] == len(finished)
        assert totals["measured_tasks_abandoned"] == len(measured) - len(finished)
        calls = [call.row for task in finished for call in task.calls]
        assert totals["task_calls"] == len(calls)
        tokens = sum(row.input_tokens + row.output_tokens for row in calls)
        assert totals["task_tokens"] == tokens
        latencies = [task.latency_s for task in finished]
        assert_same_histogram(engine.world.histograms[index, Metric.TASK_LATENCY], latencies)


@given(scenario=decimal_scenarios())
def test_nothing_happens_before_its_cause_however_times_round(scenario: Scenario) -> None:
    for record in simulate(scenario)[1]:
        times = [getattr(record, name) for name in TIMES]
        known = [time_s for time_s in times if not math.isnan(time_s)]
        assert known == sorted(known), record


def assert_same_histogram(counts: np.ndarray, values: list[float]) -> None:
    """Every value lies in the bin where it was counted, give or take the rounding of an edge."""
    assert counts.sum() == len(values)
    upper = 1e-6 * HISTOGRAM_GROWTH ** np.arange(len(counts))
    in_order = np.repeat(upper, counts.astype(np.int64))
    for edge, value in zip(in_order, sorted(values), strict=True):
        assert value <= edge * (1 + 1e-9)
        assert value > edge / HISTOGRAM_GROWTH * (1 - 1e-9) or edge == upper[0]


@settings(max_examples=examples(300))
@given(scenario=dyadic_scenarios(control=False))
def test_pool_books_equal_the_twins(scenario: Scenario) -> None:
    scenario.stop_s = math.inf  # the twin counts the part of a step that the stop cuts off
    outcome = scenario.simulate_naively()
    engine, _ = simulate(scenario)
    for index, totals in enumerate(outcome.pools):
        row = engine.world.pool_windows[index]
        for name in (
            "steps", "prefill_tokens", "decode_tokens", "preemptions", "routed", "overflowed",
            "swaps", "cached_tokens",
        ):  # fmt: skip
            assert row[name] == getattr(totals, name), name
        assert row["loaded_tokens"].tolist() == totals.loaded_tokens
        assert row["received"] == totals.received
        assert row["escalated"] == totals.escalated
        for name in (
            "busy_s", "running_s", "waiting_s", "batch_waiting_s", "landing_s", "parked_block_s",
            "link_s",
        ):  # fmt: skip
            assert row[name] == pytest.approx(getattr(totals, name), rel=1e-9, abs=1e-12), name
        mine = np.repeat(engine.world.replicas["pool"] == index, len(scenario.classes))
        shared_s = engine.world.queues["busy_s"][mine].sum()
        assert shared_s == pytest.approx(row["busy_s"], rel=1e-9, abs=1e-12)


# --- Events that coincide ---

ONE_SECOND_STEPS = replace(UNIT_STEPS, router=Router.ROUND_ROBIN)


def starts(scenario: Scenario) -> list[float]:
    """Return when the requests start, by number, once the twin and the kernel agree on it."""
    for number, row in enumerate(scenario.all_rows):
        row.number = number
    _, records = simulate(scenario)
    expected = by_number(twin_records(scenario.simulate_naively()))
    assert repr(by_number(records)) == repr(expected)  # NaN has one spelling
    return [record.started_s for record in expected]


@pytest.mark.parametrize(("shorter", "start_s"), [(1, 4.0), (0, 3.0)])
def test_a_turn_that_arrives_at_a_boundary(shorter: int, start_s: float) -> None:
    """Two replicas end a step at 3; a turn ends on one of them, its next goes to the other.

    Replica 0 comes first. If it is the other, its boundary at 3 has passed when the turn arrives;
    if the other is replica 1, its boundary is still to come.
    """
    rows = [Row(0.0, 0, 1, 10), Row(0.0, 0, 1, 10)]
    rows[shorter].output_tokens = 3
    rows[shorter].later_turns = [Row(None, 0, 1, 1)]
    pool = replace(ONE_SECOND_STEPS, replicas=2)
    if shorter == 0:
        rows.append(Row(0.0, 0, 1, 10))  # goes to replica 0, so that the turn goes to replica 1
    scenario = Scenario([pool], [RequestClass(pools=[0])], rows)
    assert starts(scenario)[-1] == start_s


def test_a_time_out_at_a_boundary() -> None:
    """The first in the queue leaves at 4, after the boundary; the next starts at the one after."""
    pool = replace(ONE_SECOND_STEPS, kv_blocks=14)
    classes = [RequestClass(pools=[0]), RequestClass(pools=[0], timeout_s=3.0)]
    rows = [Row(0.0, 0, 4, 8), Row(1.0, 1, 10, 1), Row(1.0, 0, 2, 1)]
    started_s = starts(Scenario([pool], classes, rows))
    assert math.isnan(started_s[1])
    assert started_s[::2] == [0.0, 5.0]


def test_who_would_fit_waits_behind_who_does_not() -> None:
    """The last has room from 1.75 on, but the one before it only at 8, when the first has ended."""
    pool = replace(ONE_SECOND_STEPS, kv_blocks=14)
    rows = [Row(0.0, 0, 4, 8), Row(1.5, 0, 11, 1), Row(1.75, 0, 2, 1)]
    assert starts(Scenario([pool], [RequestClass(pools=[0])], rows)) == [0.0, 8.0, 8.0]


# --- Batch classes ---


def test_sequences_that_gave_way_keep_their_order() -> None:
    """At 1 the first job gives way to the chat, as the second is half prefilled; at 7 that one is
    preempted for lack of blocks, and waits behind the first."""
    pool = replace(
        ONE_SECOND_STEPS, maximum_sequences=3, kv_blocks=40, batch_sequences=3, batch_blocks=40
    )
    classes = [RequestClass(pools=[0]), RequestClass(pools=[0], batch=True)]
    rows = [Row(0.0, 1, 4, 8), Row(0.0, 1, 4, 8), Row(0.0, 1, 15, 8), Row(1.0, 0, 4, 8)]
    scenario = Scenario([pool], classes, rows)
    assert starts(scenario) == [0.0, 0.0, 0.0, 1.0]
    records = by_number(simulate(scenario)[1])
    assert [record.preemptions for record in records] == [0, 1, 1, 0]
    assert [record.finish_s for record in records] == [8.0, 15.0, 11.0, 9.0]


def test_a_job_waits_for_room_and_chat_does_not() -> None:
    """While fewer than two sequences run, jobs may join; chat takes what it needs, also of them.

    The job that waits, and the one that gave way, start again when the chats have ended.
    """
    pool = replace(ONE_SECOND_STEPS, maximum_sequences=4, batch_sequences=2, batch_blocks=100)
    classes = [RequestClass(pools=[0]), RequestClass(pools=[0], batch=True)]
    jobs = [Row(0.0, 1, 1, 6) for _ in range(3)]
    chats = [Row(2.0, 0, 1, 20) for _ in range(3)]
    assert starts(Scenario([pool], classes, jobs + chats)) == [0.0, 0.0, 22.0, 2.0, 2.0, 2.0]


def test_a_job_that_is_larger_than_its_room_runs_alone() -> None:
    pool = replace(ONE_SECOND_STEPS, batch_sequences=1, batch_blocks=2)
    classes = [RequestClass(pools=[0]), RequestClass(pools=[0], batch=True)]
    rows = [Row(0.0, 0, 1, 3), Row(1.0, 1, 10, 2)]
    assert starts(Scenario([pool], classes, rows)) == [0.0, 3.0]


# --- Sharing by weight ---


def test_an_idle_class_saves_nothing_up() -> None:
    """Class 0 has been served 16 when class 1 first asks; from then on they take turns."""
    pool = replace(
        ONE_SECOND_STEPS, maximum_sequences=1, scheduler=Scheduler.WEIGHTED, token_budget=16
    )
    classes = [RequestClass(pools=[0]), RequestClass(pools=[0])]
    rows = [Row(0.0, 0, 2, 1) for _ in range(6)] + [Row(3.5, 1, 2, 1) for _ in range(3)]
    assert starts(Scenario([pool], classes, rows)) == [0.0, 1.0, 2.0, 3.0, 5.0, 7.0, 4.0, 6.0, 8.0]


def test_the_heavier_class_is_served_more() -> None:
    pool = replace(ONE_SECOND_STEPS, maximum_sequences=1, scheduler=Scheduler.WEIGHTED)
    classes = [RequestClass(pools=[0], weight=2.0), RequestClass(pools=[0])]
    rows = [Row(0.0, klass, 2, 1) for klass in (0, 1) for _ in range(4)]
    started_s = starts(Scenario([pool], classes, rows))
    assert started_s == [0.0, 2.0, 3.0, 5.0, 1.0, 4.0, 6.0, 7.0]


# --- Admission control ---


def fates(scenario: Scenario) -> list[Fate]:
    starts(scenario)
    return [Fate(record.fate) for record in by_number(simulate(scenario)[1])]


def test_a_queue_of_tokens_is_full() -> None:
    pool = replace(ONE_SECOND_STEPS, maximum_sequences=1, shed_tokens=5)
    rows = [Row(0.0, 0, 4, 2) for _ in range(4)]
    found = fates(Scenario([pool], [RequestClass(pools=[0])], rows))
    assert found == [Fate.SERVED, Fate.SERVED, Fate.SHED, Fate.SHED]


def test_what_is_shed_tries_the_next_pool() -> None:
    pools = [replace(ONE_SECOND_STEPS, shed_tokens=1), ONE_SECOND_STEPS]
    rows = [Row(0.0, 0, 4, 2) for _ in range(3)]
    scenario = Scenario(pools, [RequestClass(pools=[0, 1])], rows)
    assert fates(scenario) == [Fate.SERVED] * 3
    assert [record.pool for record in by_number(simulate(scenario)[1])] == [0, 1, 1]


def test_blocks_count_as_soon_as_a_step_takes_them() -> None:
    """In the midst of the third step 3 tokens of 4 more are written: 7 blocks are in use."""
    pool = replace(ONE_SECOND_STEPS, shed_blocks=7)
    classes = [RequestClass(pools=[0]), RequestClass(pools=[0], sheddable=True)]
    rows = [Row(0.0, 0, 4, 20), Row(2.5, 1, 1, 1), Row(3.5, 1, 1, 1), Row(3.5, 0, 1, 1)]
    expected = [Fate.SERVED, Fate.SERVED, Fate.SHED, Fate.SERVED]
    assert fates(Scenario([pool], classes, rows)) == expected


def test_who_would_be_late_is_shed() -> None:
    """A queue of 16 tokens takes a step of 1 s; at 2.5 nothing was admitted since 0.5."""
    pool = replace(ONE_SECOND_STEPS, maximum_sequences=1, shed_ttft=1.0)
    classes = [RequestClass(pools=[0], ttft_limit_s=limit_s) for limit_s in (3.0, 1.0)]
    rows = [Row(0.0, 0, 1, 9), Row(0.5, 0, 16, 1), Row(0.5, 1, 16, 1), Row(2.5, 0, 1, 1)]
    found = fates(Scenario([pool], classes, rows))
    assert found == [Fate.SERVED, Fate.SERVED, Fate.SHED, Fate.SHED]


def test_what_the_cache_has_of_a_prompt_needs_no_time() -> None:
    """Of the 34 tokens of a second turn 18 have to be prefilled, of those of a first turn all."""
    pool = replace(ONE_SECOND_STEPS, prefix_cache=True, shed_ttft=1.0)
    later = Row(None, 0, 34, 1, session=1, think_s=1.0)
    rows = [Row(0.0, 0, 16, 1, session=1, later_turns=[later]), Row(5.0, 0, 34, 1)]
    found = fates(Scenario([pool], [RequestClass(pools=[0], ttft_limit_s=2.0)], rows))
    assert found == [Fate.SERVED, Fate.SHED, Fate.SERVED]  # the later turn is numbered last


def test_the_way_to_the_pool_that_decodes_takes_time() -> None:
    """A prompt of 8 tokens is prefilled in less than a step, and sent in 4 s."""
    pool = replace(ONE_SECOND_STEPS, decode_pool=1, link_token_s=0.5, shed_ttft=1.0)
    classes = [RequestClass(pools=[0], ttft_limit_s=limit_s) for limit_s in (5.0, 4.0)]
    rows = [Row(0.0, 0, 8, 2), Row(20.0, 1, 8, 2), Row(40.0, 1, 8, 1)]
    found = fates(Scenario([pool, ONE_SECOND_STEPS], classes, rows))
    assert found == [Fate.SERVED, Fate.SHED, Fate.SERVED]
