"""The tournament of next events against a plain minimum."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from planner.kernel.build import build_calendar
from planner.kernel.calendar import next_event_s, next_replica, schedule
from planner.kernel.dtypes import REPLICA

TIMES = st.sampled_from([0.0, 1.0, 2.0, 3.0, math.inf])


@given(
    start=st.lists(TIMES, min_size=1, max_size=9),
    changes=st.lists(st.tuples(st.integers(0, 100), TIMES), max_size=30),
)
def test_the_root_is_the_first_of_the_earliest(
    start: list[float], changes: list[tuple[int, float]]
) -> None:
    replicas = np.zeros(len(start), REPLICA)
    replicas["run_end_s"] = start
    for name in ("timeout_s", "link_end_s", "fetch_s"):
        replicas[name] = math.inf
    calendar = build_calendar(replicas)
    times = list(start)
    assert next_replica(calendar) == times.index(min(times))
    for number, event_s in changes:
        replica = number % len(times)
        times[replica] = event_s
        schedule(calendar, replica, event_s)
        assert next_replica(calendar) == times.index(min(times))


def test_the_earliest_of_step_end_time_out_and_transfers_counts() -> None:
    replicas = np.zeros(4, REPLICA)
    replicas["run_end_s"] = [5.0, 4.0, math.inf, 8.0]
    replicas["timeout_s"] = [math.inf, 9.0, 3.0, 9.0]
    replicas["link_end_s"] = [math.inf, math.inf, 6.0, 7.0]
    replicas["fetch_s"] = [math.inf, 3.5, math.inf, math.inf]
    calendar = build_calendar(replicas)
    assert calendar["event_s"][4:].tolist() == [5.0, 3.5, 3.0, 7.0]
    assert [next_event_s(replica) for replica in replicas] == [5.0, 3.5, 3.0, 7.0]
    assert next_replica(calendar) == 2


@pytest.mark.parametrize(("replicas", "leaves"), [(0, 2), (1, 2), (2, 2), (3, 4), (5, 8)])
def test_leaves_are_a_power_of_two(replicas: int, leaves: int) -> None:
    calendar = build_calendar(np.zeros(replicas, REPLICA))
    assert len(calendar) == 2 * leaves


def test_winners_of_a_worked_example() -> None:
    replicas = np.zeros(4, REPLICA)
    replicas["run_end_s"] = [7.0, 6.0, 5.0, 5.0]
    for name in ("timeout_s", "link_end_s", "fetch_s"):
        replicas[name] = math.inf
    calendar = build_calendar(replicas)
    # The tree: node 1 over nodes 2 (replicas 0 and 1) and 3 (replicas 2 and 3).
    assert calendar["winner"][1:].tolist() == [2, 1, 2, 0, 1, 2, 3]
    assert calendar["event_s"][1:].tolist() == [5.0, 6.0, 5.0, 7.0, 6.0, 5.0, 5.0]
