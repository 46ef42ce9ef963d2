"""Loading rows: where later turns go, and what a closed loop sends at first."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from planner.kernel import build
from planner.kernel.dtypes import ARRIVAL, NONE
from planner.kernel.feed import load_rows, send_clients
from planner.kernel.plan import ClassPlan, ClosedStream, Plan
from planner.kernel.world import World
from tests.kernel.test_build import SMALL


def world_with_room(rows: int, turns: int) -> World:
    plan = Plan((SMALL,), (ClassPlan("chat", (0,)),), iter([]), (ClosedStream(2, iter([])),))
    world = build.grow_turns(build.build_world(plan, 1), turns)
    return replace(world, arrivals=np.zeros(rows, ARRIVAL))


def block_of(*arrival_s: float) -> NDArray[np.void]:
    block = np.zeros(len(arrival_s), ARRIVAL)
    block["arrival_s"] = arrival_s
    block["row"] = np.arange(len(arrival_s))
    block["next_turn"] = 77  # not read
    return block


def session(world: World, first: int) -> list[int]:
    """Return the row numbers of a session from its first row in the arrival buffer."""
    numbers = [int(world.arrivals["row"][first])]
    turn = int(world.arrivals["next_turn"][first])
    while turn != NONE:
        numbers.append(int(world.turns[turn]["arrival"]["row"]))
        turn = int(world.turns[turn]["arrival"]["next_turn"])
    return numbers


def test_later_turns_follow_their_session() -> None:
    world = world_with_room(rows=3, turns=4)
    load_rows(world, block_of(1.0, math.nan, math.nan, 2.0, 3.0, math.nan), 0)
    assert world.arrivals["arrival_s"].tolist() == [1.0, 2.0, 3.0]
    assert [session(world, first) for first in range(3)] == [[0, 1, 2], [3], [4, 5]]
    assert world.streams["last_row"].tolist() == [3, 0]
    assert world.state["turns_in_use"][0] == 3


def test_blocks_are_appended() -> None:
    world = world_with_room(rows=3, turns=1)
    load_rows(world, block_of(1.0), 0)
    load_rows(world, block_of(2.0, 3.0), 0)
    assert world.arrivals["arrival_s"].tolist() == [1.0, 2.0, 3.0]
    assert (world.arrivals["next_turn"] == NONE).all()


def test_rows_of_a_closed_stream_need_no_time() -> None:
    world = world_with_room(rows=3, turns=1)
    load_rows(world, block_of(math.nan, math.nan, math.nan), 1)
    assert world.arrivals["stream"].tolist() == [1, 1, 1]
    assert world.streams["last_row"].tolist() == [0, 3]
    send_clients(world, 1, 2)
    assert world.state["returns_count"][0] == 2
    assert world.sent["row"][:2].tolist() == [0, 1]
    assert world.returns["arrival_s"][:2].tolist() == [0.0, 0.0]
    send_clients(world, 1, 5)  # one row is left
    assert world.state["returns_count"][0] == 3
    assert world.streams["cursor"].tolist() == [0, 3]
