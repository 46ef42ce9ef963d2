"""The waiting lists of a replica, on requests put in by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from planner.kernel import build
from planner.kernel.dtypes import ARRIVAL, NONE
from planner.kernel.enums import Scheduler
from planner.kernel.plan import ClassPlan, Plan
from planner.kernel.queues import (
    append_to_queue,
    comes_before,
    first_unstarted,
    first_waiting,
    free_request,
    insert_in_queue,
    take_from_queue,
    take_request,
)
from planner.kernel.world import World
from tests.kernel.test_build import SMALL

URGENT, PATIENT = 0, 1


def world_with(*classes: int) -> World:
    """Return a replica and one request per entry, its slot and key being its position."""
    kinds = (ClassPlan("urgent", (0,), priority=1), ClassPlan("patient", (0,), priority=2))
    world = build.add_replicas(build.build_world(Plan((SMALL,), kinds, iter([])), 1), [0])
    for position, klass in enumerate(classes):
        arrival = np.zeros(1, ARRIVAL)
        arrival["class"] = klass
        assert take_request(world, arrival[0]) == position
    return world


def queue(world: World, klass: int) -> list[int]:
    """Return the requests of a class in their order, and check both ends."""
    found = []
    index = int(world.queues["head"][klass])
    while index != NONE:
        found.append(index)
        index = int(world.requests["next"][index])
    assert int(world.queues["tail"][klass]) == (found[-1] if found else NONE)
    return found


@pytest.mark.parametrize(
    ("scheduler", "order"),
    [
        (Scheduler.FCFS, [0, 1, 2, 3]),
        (Scheduler.PRIORITY, [1, 3, 0, 2]),  # the urgent first
        (Scheduler.AGEING, [0, 1, 3, 2]),  # each step of priority is worth 5 s
        (Scheduler.DEADLINE, [1, 0, 3, 2]),  # due at 9, 8, 25 and 13
        (Scheduler.SHORTEST_PROMPT, [3, 0, 1, 2]),
    ],
)
def test_rank(scheduler: Scheduler, order: list[int]) -> None:
    world = world_with(PATIENT, URGENT, PATIENT, URGENT)
    world.pools["priority_step_s"] = 5.0
    world.classes["ttft_limit_s"] = [2.0, 9.0]
    world.requests["pool"] = 0
    world.requests["arrival_s"][:4] = [0.0, 6.0, 16.0, 11.0]
    world.requests["input_tokens"][:4] = [30, 40, 50, 0]
    for place, a in enumerate(order):
        for b in order[place + 1 :]:
            assert comes_before(world, a, b, int(scheduler))
            assert not comes_before(world, b, a, int(scheduler))


def test_the_shortest_prompt_stands_first() -> None:
    world = world_with(URGENT, URGENT, URGENT, URGENT)
    world.pools["scheduler"] = int(Scheduler.SHORTEST_PROMPT)
    world.requests["pool"] = 0
    world.requests["input_tokens"][:4] = [30, 10, 20, 10]
    for index in range(4):
        append_to_queue(world, 0, index)
    assert queue(world, URGENT) == [1, 3, 2, 0]
    assert first_unstarted(world, int(world.queues["head"][URGENT])) == (0, 2)
    take_from_queue(world, 0, NONE, 1)
    insert_in_queue(world, 0, 1)
    assert queue(world, URGENT) == [1, 3, 2, 0]
    take_from_queue(world, 0, 2, 0)
    assert queue(world, URGENT) == [1, 3, 2]


def test_a_queue_per_class() -> None:
    world = world_with(PATIENT, URGENT, URGENT, PATIENT)
    world.requests["pool"] = 0
    assert first_waiting(world, 0, int(Scheduler.PRIORITY)) == NONE
    for index in range(4):
        append_to_queue(world, 0, index)
    assert (queue(world, URGENT), queue(world, PATIENT)) == ([1, 2], [0, 3])
    assert first_waiting(world, 0, int(Scheduler.FCFS)) == 0
    assert first_waiting(world, 0, int(Scheduler.PRIORITY)) == 1
    take_from_queue(world, 0, 0, 3)  # behind request 0
    take_from_queue(world, 0, NONE, 1)
    assert (queue(world, URGENT), queue(world, PATIENT)) == ([2], [0])
    take_from_queue(world, 0, NONE, 2)
    assert queue(world, URGENT) == []
    insert_in_queue(world, 0, 2)
    insert_in_queue(world, 0, 1)
    assert queue(world, URGENT) == [1, 2]
    assert world.replicas["waiting"][0] == 3


def test_preempted_requests_have_no_time_out() -> None:
    world = world_with(URGENT, URGENT, URGENT)
    world.requests["pool"] = 0
    for index in range(3):
        append_to_queue(world, 0, index)
    head = int(world.queues["head"][URGENT])
    assert first_unstarted(world, head) == (0, NONE)
    world.requests["started_s"][:2] = 5.0
    assert first_unstarted(world, head) == (2, 1)
    world.requests["started_s"][2] = 5.0
    assert first_unstarted(world, head) == (NONE, NONE)
    assert first_unstarted(world, NONE) == (NONE, NONE)


def test_slots_are_used_again() -> None:
    world = world_with(URGENT, PATIENT)
    world.requests["first_token_s"][1] = 3.0
    free_request(world, 1)
    assert world.state["in_flight"][0] == 1
    arrival = np.zeros(1, ARRIVAL)
    arrival["input_tokens"] = 0
    assert take_request(world, arrival[0]) == 1
    request = world.requests[1]
    assert (request["key"], request["class"], request["prompt_tokens"]) == (2, URGENT, 1)
    assert math.isnan(request["first_token_s"])
    assert world.state["in_flight"][0] == 2
