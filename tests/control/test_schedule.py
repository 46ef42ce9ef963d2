"""Timetables: nodes by time of day, over midnight and over days."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import replace

import pytest
import simpy
from hypothesis import given, settings
from hypothesis import strategies as st

from planner.control import Fleet, follow_schedule
from planner.control.fleet import held_over
from planner.control.schedule import DAY_S
from planner.kernel.enums import Fate
from tests.control.clusters import POOL, Process, look, plan, simulate

HOUR_S = 3600.0


def following(timetable: list[tuple[float, int]], start_s: float) -> Process:
    """Return a process that keeps the only pool to a timetable."""

    def process(env: simpy.Environment, fleet: Fleet) -> Generator[simpy.Event]:
        return follow_schedule(env, next(iter(fleet)), timetable, start_s)

    return process


def test_a_day_over_midnight_and_the_next() -> None:
    """The simulation starts at 22:00; the night shift begins at 23:00, the day's at 07:00."""
    seen: list[object] = []
    hours = [0.01, 0.99, 1.01, 8.99, 9.01, 24.99, 25.01, 33.01, 49.01, 57.01]
    outcome = simulate(
        plan(pool=replace(POOL, nodes=3), duration_s=60 * HOUR_S, window_s=HOUR_S),
        following([(7 * HOUR_S, 4), (23 * HOUR_S, 1)], 22 * HOUR_S),
        look([hour * HOUR_S for hour in hours], lambda p: p.nodes, seen),
    )
    assert seen == [3, 3, 1, 1, 4, 4, 1, 4, 1, 4]
    held = held_over(outcome.pool.held_nodes(60 * HOUR_S), 60 * HOUR_S)
    hours_held = sum(hours * nodes for hours, nodes in held)
    assert hours_held == pytest.approx(3 * 1 + 1 * 8 + 4 * 16 + 1 * 8 + 4 * 16 + 1 * 8 + 4 * 3)


def test_an_entry_at_the_start_holds_from_the_start() -> None:
    outcome = simulate(plan(), following([(36_000.0, 3)], 36_000.0))
    assert outcome.spans() == [(0.0, 100.0, 1)] * 3


def test_nodes_are_ordered_at_their_time_and_serve_after_the_cold_start() -> None:
    outcome = simulate(
        plan((31.0, 1, 2), (41.0, 1, 2), pool=replace(POOL, nodes=0)),
        following([(60.0, 1)], 30.0),
        cold_start_s=10.0,
    )
    assert outcome.spans() == [(30.0, 100.0, 1)]
    assert outcome.fates() == [Fate.REFUSED, Fate.SERVED]


def test_what_a_schedule_takes_away_drains() -> None:
    pool = replace(POOL, nodes=2, maximum_sequences=1)
    outcome = simulate(
        plan((0.0, 1, 9), (0.0, 1, 9), (1.0, 1, 9), (1.0, 1, 9), pool=pool),
        following([(5.0, 1)], 0.0),
    )
    assert outcome.fates() == [Fate.SERVED] * 4
    assert outcome.spans() == [(0.0, 100.0, 1), (0.0, 18.0, 1)]


MINUTES = st.integers(0, 24 * 60 - 1)


@settings(max_examples=50)
@given(
    entries=st.dictionaries(MINUTES, st.integers(0, 4), min_size=1, max_size=4),
    start=MINUTES,
    looks=st.lists(st.integers(0, 3 * 24 * 60), min_size=1, max_size=8, unique=True).map(sorted),
)
def test_the_last_entry_holds_whenever_one_looks(
    entries: dict[int, int], start: int, looks: list[int]
) -> None:
    seen: list[object] = []
    simulate(
        plan(pool=replace(POOL, nodes=5), duration_s=3 * DAY_S + 60.0, window_s=DAY_S),
        following([(60.0 * minute, nodes) for minute, nodes in entries.items()], 60.0 * start),
        look([60.0 * minute + 30.0 for minute in looks], lambda p: p.nodes, seen),
    )
    expected = []
    for minute in looks:
        past = [start + minute - back for back in range(minute + 1)]
        in_force = [entries[m % 1440] for m in past if m % 1440 in entries]
        expected.append(in_force[0] if in_force else 5)
    assert seen == expected
