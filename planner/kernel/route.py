"""The arrival of a request: rate limit, choice of pool, choice of replica (see README.md)."""

from __future__ import annotations

import math

import numpy as np

from planner.kernel.account import add_waiting, pool_row, window_of
from planner.kernel.admission import is_shed
from planner.kernel.calendar import next_event_s, schedule
from planner.kernel.cascade import goes_to_light
from planner.kernel.dtypes import NONE
from planner.kernel.ends import end_request
from planner.kernel.enums import Fate, Leg, Router, Scheduler
from planner.kernel.jit import kernel, outlined
from planner.kernel.kvcache import blocks_held, blocks_of, free_blocks
from planner.kernel.prefix import found_tokens, whole_blocks
from planner.kernel.queues import (
    append_to_queue,
    first_waiting,
    interactive_waiting,
    queue_of,
    take_request,
    yields,
)
from planner.kernel.sharing import lift
from planner.kernel.steptime import cut_run, has_passed, steps_ended
from planner.kernel.world import World

RATE_LIMITED = int(Fate.RATE_LIMITED)
REFUSED = int(Fate.REFUSED)
TOO_LONG = int(Fate.TOO_LONG)
SHED = int(Fate.SHED)
ROUND_ROBIN = int(Router.ROUND_ROBIN)
LEAST_LOADED = int(Router.LEAST_LOADED)
SESSION_AFFINITY = int(Router.SESSION_AFFINITY)
CACHE_AWARE = int(Router.CACHE_AWARE)
FCFS = int(Scheduler.FCFS)
WEIGHTED = int(Scheduler.WEIGHTED)
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
    """Return the requests on a replica: waiting, running, or with memory there to run."""
    running = replica["decoding"] + replica["prefilling"]
    return int(replica["waiting"] + running + replica["fetching"] + replica["landing"])


@kernel
def load_for(replica: np.void, batch: int) -> int:
    """Return the load that a request meets on a replica: an interactive one no waiting batch."""
    return load_of(replica) - (0 if batch == 1 else int(replica["batch_waiting"]))


@outlined
def least_loaded(world: World, pool: np.void, batch: int) -> int:
    """Return the active replica with the least load; the lowest number wins ties."""
    active = world.active
    replicas = world.replicas
    best = active[pool["active_first"]]
    for position in range(1, pool["active_count"]):
        other = active[pool["active_first"] + position]
        if load_for(replicas[other], batch) < load_for(replicas[best], batch):
            best = other
    return int(best)


@kernel
def two_choices(world: World, pool: np.void, batch: int, rng: np.random.Generator) -> int:
    """Return the less loaded of two active replicas drawn at random; the first wins ties.

    Mitzenmacher, "The power of two choices in randomized load balancing", IEEE TPDS 12(10), 2001.
    """
    first = world.active[pool["active_first"] + int(rng.random() * pool["active_count"])]
    second = world.active[pool["active_first"] + int(rng.random() * pool["active_count"])]
    if load_for(world.replicas[second], batch) < load_for(world.replicas[first], batch):
        return int(second)
    return int(first)


@outlined
def holder(world: World, pool: np.void, request: np.void) -> int:
    """Return the replica that holds most of a prompt, if that is much and it is not too busy."""
    batch = world.classes[request["class"]]["batch"]
    best = least = int(world.active[pool["active_first"]])
    best_load = least_load = 0
    best_found = -1
    for position in range(pool["active_count"]):
        index = int(world.active[pool["active_first"] + position])
        replica = world.replicas[index]
        found = found_tokens(world, replica, request)
        load = load_for(replica, batch)
        if found > best_found or (found == best_found and load < best_load):
            best, best_found, best_load = index, found, load
        if position == 0 or load < least_load:
            least, least_load = index, load
    limit = max(least_load + pool["affinity_slack"], pool["affinity_ratio"] * least_load)
    much = best_found > 0 and best_found >= pool["affinity_share"] * request["prompt_tokens"]
    return best if much and best_load <= limit else least


@kernel
def pick_replica(world: World, pool: np.void, request: np.void, rng: np.random.Generator) -> int:
    """Return the replica that the pool's router names."""
    count = pool["active_count"]
    router = pool["router"]
    batch = world.classes[request["class"]]["batch"]
    if router == ROUND_ROBIN:
        position = pool["cursor"] % count
        pool["cursor"] += 1
        return int(world.active[pool["active_first"] + position])
    if router == LEAST_LOADED:
        return least_loaded(world, pool, batch)
    if router == CACHE_AWARE:
        return holder(world, pool, request)
    if router == SESSION_AFFINITY and request["session"] != NONE:
        return int(world.active[pool["active_first"] + request["session"] % count])
    return two_choices(world, pool, batch, rng)


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
        stays = klass["batch"] == 1 or preference + 1 == klass["pools"]
        if not stays and interactive_waiting(pool) > pool["overflow_waiting"] * active:
            continue
        replica = pick_replica(world, pool, request, rng)
        if klass["batch"] == 1:
            return replica, NONE
        if interactive_waiting(world.replicas[replica]) >= pool["queue_limit"]:
            continue
        if pool["sheds"] == 0 or not is_shed(world, replica, request, world.state[0]["now_s"]):
            return replica, NONE
        fate = SHED
    return NONE, fate


@kernel
def may_fit(world: World, replica_index: int, request: np.void) -> bool:
    """Tell whether there could be room for a request at the next boundary that admits.

    Until then blocks only become fewer, but for those of batch sequences that give way.
    """
    replica = world.replicas[replica_index]
    pool = world.pools[replica["pool"]]
    if world.classes[request["class"]]["batch"] == 0 and yields(world, replica_index):
        return True
    here = replica["decoding"] + replica["fetching"] + replica["landing"]
    if here >= pool["maximum_sequences"]:
        return False
    blocks = blocks_held(world, replica, request, request["prompt_tokens"])
    if pool["prefix_cache"] == 1:
        blocks -= whole_blocks(world, request, pool["kv_block_tokens"])  # it may share them
    return bool(blocks <= free_blocks(pool, replica))


@kernel
def may_join(world: World, replica_index: int, index: int) -> bool:
    """Tell whether a request that has just begun to wait could be admitted at the next boundary."""
    replica = world.replicas[replica_index]
    pool = world.pools[replica["pool"]]
    request = world.requests[index]
    if replica["cut"] == 1 or not may_fit(world, replica_index, request):
        return False
    if replica["waiting"] == 1:
        return True
    scheduler = pool["scheduler"]
    if scheduler == FCFS and pool["batch_sequences"] == 0 and pool["fed"] == 0:
        return False
    if scheduler == WEIGHTED:  # who is first by then is not yet in the books
        return bool(world.queues[queue_of(world, replica_index, request)]["head"] == index)
    return bool(first_waiting(world, replica_index, scheduler) == index)


@kernel
def wait_at(world: World, replica_index: int, index: int, now_s: float) -> None:
    """Put a request into a replica's queue; wake the replica if that can change its batch."""
    replica = world.replicas[replica_index]
    request = world.requests[index]
    request["replica"] = replica_index
    request["pool"] = replica["pool"]
    passed = has_passed(world, replica_index)
    pool = world.pools[replica["pool"]]
    alone = world.queues[queue_of(world, replica_index, request)]["head"] == NONE
    if alone and pool["scheduler"] == WEIGHTED:
        lift(world, replica_index, request["class"], steps_ended(replica, now_s, passed))
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
        cut_run(replica, pool, now_s, passed)
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
    target = pool_row(world, pool_index, now_s)
    target["routed"] += 1
    first = world.classes[request["class"]]["first_pool"]
    wanted = first - 1 if request["leg"] == LIGHT else first
    if pool_index != world.routes[wanted]:
        target["overflowed"] += 1
        if request["leg"] == LIGHT:
            request["leg"] = MAIN
    wait_at(world, replica_index, index, now_s)
