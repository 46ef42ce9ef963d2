"""The kernel against its naive twin: equal on every request, to the last bit where sums are exact.

The bridge also checks the invariants (`planner/invariants.py`) after every run.
"""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings

from planner.kernel import build
from planner.kernel.dtypes import HISTOGRAM_GROWTH, Fate, Metric, Router
from tests.kernel.bridge import Record, simulate
from tests.kernel.strategies import (
    UNIT_STEPS,
    Scenario,
    decimal_scenarios,
    dyadic_scenarios,
    general_scenarios,
)
from tests.naive import Outcome, RequestClass, Row

TIMES = ("arrival_s", "started_s", "first_token_s", "finish_s")
IDENTITY = (
    "number",
    "class_index",
    "pool",
    "replica",
    "preemptions",
    "fate",
    "prefill_replica",
    "leg",
)


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
            request.finish_s,
            request.preemptions,
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


@settings(max_examples=1000)
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


@settings(max_examples=300)
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


@settings(max_examples=300)
@given(scenario=dyadic_scenarios())
def test_arrays_that_grow_change_nothing(scenario: Scenario) -> None:
    """With room for one, the kernel stops for more of everything all the time."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("FIRST_REQUESTS", "FIRST_RETURNS", "FINISHED_ROWS"):
            patch.setattr(build, name, 1)
        _, grown = simulate(scenario)
    _, roomy = simulate(scenario)
    assert repr(by_number(grown)) == repr(by_number(roomy))  # NaN has one spelling


@settings(max_examples=300)
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


@given(scenario=decimal_scenarios())
def test_nothing_happens_before_its_cause_however_times_round(scenario: Scenario) -> None:
    for record in simulate(scenario)[1]:
        times = [record.arrival_s, record.started_s, record.first_token_s, record.finish_s]
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


@settings(max_examples=300)
@given(scenario=dyadic_scenarios(control=False))
def test_pool_books_equal_the_twins(scenario: Scenario) -> None:
    scenario.stop_s = math.inf  # the twin counts the part of a step that the stop cuts off
    outcome = scenario.simulate_naively()
    engine, _ = simulate(scenario)
    for index, totals in enumerate(outcome.pools):
        row = engine.world.pool_windows[index]
        for name in ("steps", "prefill_tokens", "decode_tokens", "preemptions", "routed"):
            assert row[name] == getattr(totals, name), name
        assert row["overflowed"] == totals.overflowed
        assert row["received"] == totals.received
        assert row["escalated"] == totals.escalated
        for name in (
            "busy_s", "running_s", "waiting_s", "landing_s", "parked_block_s", "link_s",
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
