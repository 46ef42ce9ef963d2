"""The event loop: arrivals and replica events in their total order, up to a given instant."""

from __future__ import annotations

import math

import numpy as np

from planner.kernel.account import add_waiting
from planner.kernel.batch import boundary
from planner.kernel.calendar import next_event_s, next_replica, schedule
from planner.kernel.departures import send_off
from planner.kernel.dtypes import NONE
from planner.kernel.ends import end_request
from planner.kernel.enums import Fate, Stop
from planner.kernel.handoff import end_transfer
from planner.kernel.heap import pop_return
from planner.kernel.jit import kernel, outlined
from planner.kernel.queues import first_unstarted, take_from_queue
from planner.kernel.route import arrive, load_of
from planner.kernel.steptime import look_again
from planner.kernel.tiers import notice_fetched
from planner.kernel.world import World

REACHED = int(Stop.REACHED)
NEED_ROWS = int(Stop.NEED_ROWS)
NEED_REQUESTS = int(Stop.NEED_REQUESTS)
NEED_RETURNS = int(Stop.NEED_RETURNS)
FLUSH_FINISHED = int(Stop.FLUSH_FINISHED)
NEED_ENTRIES = int(Stop.NEED_ENTRIES)
TIMED_OUT = int(Fate.TIMED_OUT)


@kernel
def next_timeout(world: World, replica_index: int) -> tuple[float, int, int]:
    """Return the earliest time-out on a replica [s], its request and that one's predecessor.

    At one instant the oldest request comes first. (infinity, NONE, NONE) if nothing can time out.
    """
    requests = world.requests
    classes = len(world.classes)
    first_s = math.inf
    first = NONE
    first_before = NONE
    for klass in range(classes):
        index, before = first_unstarted(
            world, world.queues[replica_index * classes + klass]["head"]
        )
        if index == NONE:
            continue
        due_s = requests[index]["arrival_s"] + world.classes[klass]["timeout_s"]
        if due_s < first_s or (
            due_s == first_s
            and due_s < math.inf
            and requests[index]["key"] < requests[first]["key"]
        ):
            first_s = due_s
            first = index
            first_before = before
    return first_s, first, first_before


@outlined
def expire(world: World, replica_index: int, now_s: float) -> None:
    """Drop the waiting requests whose time is up, in order of arrival."""
    replica = world.replicas[replica_index]
    dropped = 0
    due_s, index, before = next_timeout(world, replica_index)
    while due_s <= now_s:
        take_from_queue(world, replica_index, before, index)
        end_request(world, index, TIMED_OUT, now_s)
        dropped += 1
        due_s, index, before = next_timeout(world, replica_index)
    replica["timeout_s"] = due_s
    if dropped > 0:
        add_waiting(world, replica["pool"], now_s, -dropped)
        if replica["waiting"] == 0:
            return
        # Another request is first now, and might be admitted.
        look_again(replica, world.pools[replica["pool"]], now_s, True)


@kernel
def replica_event(world: World, replica_index: int, now_s: float, rng: np.random.Generator) -> None:
    """Let what is due on a replica happen: KV sent or fetched, a step boundary, time-outs."""
    replica = world.replicas[replica_index]
    if replica["link_end_s"] <= now_s:
        end_transfer(world, replica_index, now_s)
    if replica["fetch_s"] <= now_s:
        notice_fetched(world, replica, now_s)
    if replica["run_end_s"] <= now_s:
        boundary(world, replica_index, now_s)
        if replica["leaving_head"] != NONE:
            send_off(world, replica_index, now_s, rng)
    if replica["timeout_s"] <= now_s:
        expire(world, replica_index, now_s)
    schedule(world.calendar, replica_index, next_event_s(replica))


@kernel
def lack_for(world: World, ends: int) -> int:
    """Return what is missing for an event with at most `ends` ends, or `REACHED`."""
    state = world.state[0]
    if state["keep_finished"] == 1 and state["finished_count"] + ends > len(world.finished):
        return FLUSH_FINISHED
    if state["returns_count"] + ends > len(world.returns):
        return NEED_RETURNS
    for index in range(1, len(world.streams)):
        stream = world.streams[index]
        if stream["ended"] == 0 and stream["cursor"] + ends > stream["last_row"]:
            state["starved_stream"] = index
            return NEED_ROWS
    return REACHED


@outlined
def lack_of_entries(world: World, replica: np.void) -> int:
    """Return `NEED_ENTRIES` if an event of a replica may leave more in caches than fits.

    Each end leaves one entry per segment and another one, on the replica and in each tier, each
    admission one per segment; and as many end or are admitted as run, once more after preemptions.
    """
    state = world.state[0]
    pool = world.pools[replica["pool"]]
    moves = 3 * min(load_of(replica), pool["maximum_sequences"])
    most = moves * (state["longest_chain"] + 1) * (pool["tiers"] + 1)
    if state["entries_in_use"] + most > len(world.entries):
        return NEED_ENTRIES
    return REACHED


@kernel
def arrive_next(world: World, from_trace: bool, rng: np.random.Generator) -> int:
    """Let the next arrival happen; return what has to be made first, or `REACHED`."""
    state = world.state[0]
    if state["free_request"] == NONE:
        return NEED_REQUESTS
    lack = lack_for(world, 1)
    if lack != REACHED:
        return lack
    if from_trace:
        row = world.arrivals[world.streams[0]["cursor"]]
        world.streams[0]["cursor"] += 1
        state["now_s"] = row["arrival_s"]
        arrive(world, row, rng)
        return REACHED
    # Its row is free, but nothing is sent before `arrive` has copied it into a request.
    arrival = world.sent[pop_return(world.returns, state["returns_count"])]
    state["returns_count"] -= 1
    state["now_s"] = arrival["arrival_s"]
    arrive(world, arrival, rng)
    return REACHED


@kernel
def advance(world: World, until_s: float, rng: np.random.Generator) -> int:
    """Let everything up to and including `until_s` happen.

    Returns:
        A `Stop`: `REACHED`, or what the engine has to do before it calls again.
    """
    state = world.state[0]
    calendar = world.calendar
    returns = world.returns
    arrivals = world.arrivals
    trace = world.streams[0]
    while True:
        if trace["cursor"] == trace["last_row"] and trace["ended"] == 0:
            state["starved_stream"] = 0
            return NEED_ROWS
        row_s = math.inf
        if trace["cursor"] < trace["last_row"]:
            row_s = arrivals[trace["cursor"]]["arrival_s"]
        return_s = returns[0]["arrival_s"] if state["returns_count"] > 0 else math.inf
        replica_index = next_replica(calendar)
        event_s = calendar[replica_index]["event_s"]
        time_s = min(row_s, return_s, event_s)
        if time_s > until_s or time_s == math.inf:
            break
        state["events"] += 1
        if row_s <= event_s or return_s <= event_s:
            lack = arrive_next(world, row_s <= return_s, rng)
            if lack != REACHED:
                return lack
            continue
        replica = world.replicas[replica_index]
        lack = lack_for(world, load_of(replica))
        if lack == REACHED and world.pools[replica["pool"]]["prefix_cache"] == 1:
            lack = lack_of_entries(world, replica)
        if lack != REACHED:
            return lack
        state["now_s"] = event_s
        if event_s > state["event_s"]:
            state["event_s"] = event_s
            state["event_replica"] = replica_index
        state["event_replica"] = max(state["event_replica"], replica_index)
        replica_event(world, replica_index, event_s, rng)
    if until_s < math.inf:
        state["now_s"] = until_s
    return REACHED
