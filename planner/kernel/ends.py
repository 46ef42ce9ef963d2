"""What follows the end of a request: books, its session's next turn, its client's next request."""

from __future__ import annotations

import numpy as np

from planner.kernel.account import add_end, add_turn, keep_finished, tokens_so_far
from planner.kernel.dtypes import NONE, RETRY_PAUSE_S
from planner.kernel.enums import Fate
from planner.kernel.heap import copy_arrival, push_return
from planner.kernel.jit import kernel, outlined
from planner.kernel.queues import free_request
from planner.kernel.world import World

SERVED = int(Fate.SERVED)
RATE_LIMITED = int(Fate.RATE_LIMITED)
REFUSED = int(Fate.REFUSED)
TOO_LONG = int(Fate.TOO_LONG)
SHED = int(Fate.SHED)


@kernel
def free_turn(world: World, index: int) -> None:
    """Give the slot of a later turn back; it needs no ids of prefix blocks any more."""
    state = world.state[0]
    turn = world.turns[index]
    turn["arrival"]["hashes"] = 0
    turn["next"] = state["free_turn"]
    state["free_turn"] = index
    state["turns_in_use"] -= 1


@outlined
def drop_turns(world: World, first: int) -> int:
    """Free the chain of later turns that starts at `first` and return how many there were."""
    turns = world.turns
    dropped = 0
    while first != NONE:
        turn = turns[first]
        following = turn["arrival"]["next_turn"]
        free_turn(world, first)
        dropped += 1
        first = following
    return dropped


@kernel
def send(world: World, arrival: np.void, arrival_s: float) -> None:
    """Generate an arrival; the caller has made sure that there is room."""
    state = world.state[0]
    count, key = state["returns_count"], state["next_return_key"]
    sent = world.sent[push_return(world.returns, count, arrival_s, key)]
    copy_arrival(arrival, sent)
    sent["arrival_s"] = arrival_s
    state["returns_count"] += 1
    state["next_return_key"] += 1


@outlined
def send_next_turn(world: World, request: np.void, now_s: float) -> None:
    """Send the next turn of the session if this one was served, else abandon the session."""
    state = world.state[0]
    index = request["next_turn"]
    if request["fate"] != SERVED:
        state["abandoned_turns"] += drop_turns(world, index)
        return
    turn = world.turns[index]
    arrival_s = now_s + world.pools[request["pool"]]["request_s"] + turn["arrival"]["think_s"]
    if arrival_s > state["end_s"]:
        state["unsent"] += drop_turns(world, index)
        return
    turn["arrival"]["call"] = request["call"] + 1
    turn["arrival"]["task_start_s"] = request["task_start_s"]
    turn["arrival"]["task_tokens"] = tokens_so_far(request)
    send(world, turn["arrival"], arrival_s)
    free_turn(world, index)


@outlined
def send_next_row(world: World, request: np.void, now_s: float) -> None:
    """Send the next row of a closed-loop stream, if any: its client has just become free."""
    stream = world.streams[request["stream"]]
    if stream["cursor"] == stream["last_row"]:
        return
    row = world.arrivals[stream["cursor"]]
    stream["cursor"] += 1
    fate = request["fate"]
    pause_s = request["think_s"]
    if fate in (RATE_LIMITED, REFUSED, TOO_LONG, SHED):
        pause_s = max(pause_s, RETRY_PAUSE_S)
    elif fate == SERVED:
        pause_s += world.pools[request["pool"]]["request_s"]
    arrival_s = now_s + pause_s
    if arrival_s > world.state[0]["end_s"]:
        world.state[0]["unsent"] += 1
    else:
        send(world, row, arrival_s)


@outlined
def end_request(world: World, index: int, fate: int, now_s: float) -> None:
    """End a request that is in no queue and no batch any more."""
    request = world.requests[index]
    request["fate"] = fate
    add_end(world, request, now_s)
    if request["session"] != NONE:
        add_turn(world, request, now_s)
    if world.state[0]["keep_finished"] == 1:
        keep_finished(world, request, now_s)
    if request["next_turn"] != NONE:
        send_next_turn(world, request, now_s)
    if world.streams[request["stream"]]["closed"] == 1:
        send_next_row(world, request, now_s)
    free_request(world, index)
