"""The arrival of a request: rate limit, choice of pool, choice of replica (see README.md)."""

from __future__ import annotations

import math

import numpy as np

from planner.kernel.account import add_waiting, window_of
from planner.kernel.calendar import next_event_s, schedule
from planner.kernel.cascade import goes_to_light
from planner.kernel.dtypes import NONE, Fate, Leg, Router, Scheduler, World
from planner.kernel.ends import end_request
from planner.kernel.jit import kernel
from planner.kernel.kvcache import blocks_of, free_blocks
from planner.kernel.queues import append_to_queue, first_waiting, take_request
from planner.kernel.speculate import room_of
from planner.kernel.steptime import cut_run, has_passed

RATE_LIMITED = int(Fate.RATE_LIMITED)
REFUSED = int(Fate.REFUSED)
TOO_LONG = int(Fate.TOO_LONG)
ROUND_ROBIN = int(Router.ROUND_ROBIN)
LEAST_LOADED = int(Router.LEAST_LOADED)
SESSION_AFFINITY = int(Router.SESSION_AFFINITY)
FCFS = int(Scheduler.FCFS)
MAIN = int(Leg.MAIN)
LIGHT = int(Leg.LIGHT)


@kernel
def conforms(visitors: np.ndarray, klass: np.void, visitor: int, now_s: float) -> bool:
    """Take a token from a visitor's bucket; tell whether there was one.

    The bucket is kept as the theoretical arrival time of the visitor's next request [s] (GCRA in
    virtual scheduling form, ITU-T I.371, Annex A), one number per visitor.
    """
    due_s = visitors[visitor]
    if now_s < due_s - klass["bucket_burst_s"]:
        return False
    visitors[visitor] = max(now_s, due_s) + klass["bucket_interval_s"]
    return True


@kernel
def fits(world: World, pool: np.void, request: np.void) -> bool:
    """Tell whether the pool, and the one that decodes for it, could ever serve the request."""
    output_tokens = request["output_tokens"]
    if pool["decode_pool"] == NONE:
        return fits_in(pool, request, output_tokens)
    decode_pool = world.pools[pool["decode_pool"]]
    return bool(
        fits_in(pool, request, min(output_tokens, 1))
        and fits_in(decode_pool, request, output_tokens)
    )


@kernel
def fits_in(pool: np.void, request: np.void, output_tokens: int) -> bool:
    """Tell whether a replica could ever hold the request until it has emitted so many tokens."""
    tokens = request["prompt_tokens"] + output_tokens
    written = request["prompt_tokens"] + max(output_tokens, 1) - 1
    written += pool["draft_tokens"]
    return bool(
        tokens <= pool["context_tokens"]
        and blocks_of(written, pool["kv_block_tokens"]) <= pool["kv_blocks"]
    )


@kernel
def load_of(replica: np.void) -> int:
    """Return the requests on a replica, waiting, running, or on their way to it."""
    running = replica["decoding"] + replica["prefilling"]
    return int(replica["waiting"] + running + replica["landing"])


@kernel
def least_loaded(world: World, pool: np.void) -> int:
    """Return the active replica with the least load; the lowest number wins ties."""
    active = world.active
    replicas = world.replicas
    best = active[pool["active_first"]]
    for position in range(1, pool["active_count"]):
        other = active[pool["active_first"] + position]
        if load_of(replicas[other]) < load_of(replicas[best]):
            best = other
    return int(best)


@kernel
def two_choices(world: World, pool: np.void, rng: np.random.Generator) -> int:
    """Return the less loaded of two active replicas drawn at random; the first wins ties.

    Mitzenmacher, "The power of two choices in randomized load balancing", IEEE TPDS 12(10), 2001.
    """
    first = world.active[pool["active_first"] + int(rng.random() * pool["active_count"])]
    second = world.active[pool["active_first"] + int(rng.random() * pool["active_count"])]
    if load_of(world.replicas[second]) < load_of(world.replicas[first]):
        return int(second)
    return int(first)


@kernel
def pick_replica(world: World, pool: np.void, request: np.void, rng: np.random.Generator) -> int:
    """Return the replica that the pool's router names."""
    count = pool["active_count"]
    router = pool["router"]
    if router == ROUND_ROBIN:
        position = pool["cursor"] % count
        pool["cursor"] += 1
        return int(world.active[pool["active_first"] + position])
    if router == LEAST_LOADED:
        return least_loaded(world, pool)
    if router == SESSION_AFFINITY and request["session"] != NONE:
        return int(world.active[pool["active_first"] + request["session"] % count])
    return two_choices(world, pool, rng)


@kernel
def find_replica(world: World, request: np.void, rng: np.random.Generator) -> tuple[int, int]:
    """Return the replica that takes the request and NONE, or NONE and the fate that it meets."""
    klass = world.classes[request["class"]]
    fate = TOO_LONG
    first = -1 if request["leg"] == LIGHT else 0  # the pool of the lighter model stands before
    for preference in range(first, klass["pools"]):
        pool = world.pools[world.routes[klass["first_pool"] + preference]]
        if not fits(world, pool, request):
            continue
        fate = REFUSED
        active = pool["active_count"]
        if active == 0:
            continue
        last = preference + 1 == klass["pools"]
        if not last and pool["waiting"] > pool["overflow_waiting"] * active:
            continue
        replica = pick_replica(world, pool, request, rng)
        if world.replicas[replica]["waiting"] < pool["queue_limit"]:
            return replica, NONE
    return NONE, fate


@kernel
def may_join(world: World, replica_index: int, index: int) -> bool:
    """Tell whether a request that has just begun to wait could be admitted at the next boundary."""
    replica = world.replicas[replica_index]
    pool = world.pools[replica["pool"]]
    if replica["cut"] == 1 or replica["decoding"] >= pool["maximum_sequences"]:
        return False
    request = world.requests[index]
    tokens = request["prompt_tokens"] + room_of(world, replica["pool"], request["class"])
    if blocks_of(tokens, pool["kv_block_tokens"]) > free_blocks(pool, replica):
        return False  # blocks only become fewer before the next boundary that admits
    if replica["waiting"] == 1:
        return True
    scheduler = pool["scheduler"]
    if scheduler == FCFS and pool["fed"] == 0:
        return False
    return first_waiting(world, replica_index, scheduler) == index


@kernel
def wait_at(world: World, replica_index: int, index: int, now_s: float) -> None:
    """Put a request into a replica's queue; wake the replica if that can change its batch."""
    replica = world.replicas[replica_index]
    request = world.requests[index]
    request["replica"] = replica_index
    request["pool"] = replica["pool"]
    append_to_queue(world, replica_index, index)
    add_waiting(world, replica["pool"], now_s, 1)
    event_s = next_event_s(replica)
    if math.isnan(request["started_s"]):
        replica["timeout_s"] = min(
            replica["timeout_s"], now_s + world.classes[request["class"]]["timeout_s"]
        )
    if replica["run_steps"] == 0:
        replica["run_end_s"] = now_s
    elif may_join(world, replica_index, index):
        cut_run(replica, world.pools[replica["pool"]], now_s, has_passed(world, replica_index))
    changed_s = next_event_s(replica)
    if changed_s != event_s:
        schedule(world.calendar, replica_index, changed_s)


@kernel
def arrive(world: World, arrival: np.void, rng: np.random.Generator) -> None:
    """Let a request arrive at `state.now_s`."""
    state = world.state[0]
    now_s = state["now_s"]
    index = take_request(world, arrival)
    request = world.requests[index]
    klass = world.classes[request["class"]]
    row = world.class_windows[window_of(state, now_s) * len(world.classes) + request["class"]]
    row["arrived"] += 1
    if now_s >= state["warmup_s"]:
        row["measured"] += 1
    if (
        klass["bucket_interval_s"] > 0.0
        and request["visitor"] != NONE
        and not conforms(world.visitors, klass, request["visitor"], now_s)
    ):
        end_request(world, index, RATE_LIMITED, now_s)
        return
    if klass["light_input_tokens"] >= 0 and goes_to_light(world, request):
        request["leg"] = LIGHT
    replica_index, fate = find_replica(world, request, rng)
    if replica_index == NONE:
        end_request(world, index, fate, now_s)
        return
    join(world, replica_index, index, now_s)


@kernel
def join(world: World, replica_index: int, index: int, now_s: float) -> None:
    """Let a request join the queue of the replica that was found for it."""
    request = world.requests[index]
    pool_index = world.replicas[replica_index]["pool"]
    window = window_of(world.state[0], now_s)
    target = world.pool_windows[window * len(world.pools) + pool_index]
    target["routed"] += 1
    first = world.classes[request["class"]]["first_pool"]
    wanted = first - 1 if request["leg"] == LIGHT else first
    if pool_index != world.routes[wanted]:
        target["overflowed"] += 1
        if request["leg"] == LIGHT:
            request["leg"] = MAIN
    wait_at(world, replica_index, index, now_s)
