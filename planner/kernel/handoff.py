"""Requests between two pools: one keeps their KV, the other has reserved memory for it.

A request that has been prefilled for another pool is *kept* by its replica, *offered* to a replica
of the other pool, in whose queue it waits for memory, then *sent* over the link of the first
replica, one after the other, and has *landed* when its KV is there (README.md, "Prefill and decode
in two pools").
"""

from __future__ import annotations

import math

import numpy as np

from planner.kernel.account import add_waiting, window_end_s, window_of
from planner.kernel.calendar import next_event_s, schedule
from planner.kernel.dtypes import NONE
from planner.kernel.enums import Handover, ReplicaStatus
from planner.kernel.jit import kernel, outlined
from planner.kernel.kvcache import blocks_held
from planner.kernel.prefix import let_go
from planner.kernel.queues import queue_of, take_from_queue
from planner.kernel.steptime import has_passed, look_again
from planner.kernel.world import World

IN_ONE_POOL = int(Handover.NONE)
OFFERED = int(Handover.OFFERED)
SENDING = int(Handover.SENDING)
LANDED = int(Handover.LANDED)
DRAINING = int(ReplicaStatus.DRAINING)


@outlined
def add_handover(
    world: World, pool_index: int, now_s: float, landing: int, blocks: int, links: int
) -> None:
    """Bring a pool's integrals of what is between pools up to `now_s`, then change the numbers.

    Args:
        world: the arrays.
        pool_index: the pool.
        now_s: the instant.
        landing: more requests that come to it.
        blocks: more KV blocks that it keeps or reserves.
        links: more of its links in use.
    """
    state = world.state[0]
    pool = world.pools[pool_index]
    since_s = pool["handover_since_s"]
    if pool["parked_blocks"] + pool["landing"] + pool["sending"] > 0:
        window = window_of(state, since_s)
        while since_s < now_s:
            until_s = min(now_s, window_end_s(state, window))
            row = world.pool_windows[window * len(world.pools) + pool_index]
            row["landing_s"] += pool["landing"] * (until_s - since_s)
            row["parked_block_s"] += pool["parked_blocks"] * (until_s - since_s)
            row["link_s"] += pool["sending"] * (until_s - since_s)
            since_s = until_s
            window += 1
    pool["handover_since_s"] = now_s
    pool["landing"] += landing
    pool["parked_blocks"] += blocks
    pool["sending"] += links


@outlined
def wake(world: World, replica_index: int, now_s: float) -> None:
    """Let a replica look at what comes to it."""
    replica = world.replicas[replica_index]
    pool = world.pools[replica["pool"]]
    look_again(replica, pool, now_s, has_passed(world, replica_index))
    schedule(world.calendar, replica_index, next_event_s(replica))


@outlined
def keep(world: World, replica_index: int, index: int, now_s: float) -> None:
    """Keep the KV of a request whose prompt is complete, and let it leave for another pool.

    Segments of the prefix cache that hold a part of it stay in use.
    """
    replica = world.replicas[replica_index]
    request = world.requests[index]
    blocks = blocks_held(world, replica, request, request["prompt_tokens"])
    blocks -= request["shared_blocks"]
    request["emitted_tokens"] += 1
    request["handover"] = OFFERED
    request["prefill_replica"] = replica_index
    request["kept_blocks"] = blocks
    replica["kv_used_blocks"] -= blocks
    replica["parked_blocks"] += blocks
    replica["kept"] += 1
    add_handover(world, replica["pool"], now_s, 0, blocks, 0)
    let_leave(world, replica_index, index)


@kernel
def let_leave(world: World, replica_index: int, index: int) -> None:
    """Let a request leave for another pool, after the boundary."""
    replica = world.replicas[replica_index]
    world.requests[index]["next"] = NONE
    if replica["leaving_head"] == NONE:
        replica["leaving_head"] = index
    else:
        world.requests[replica["leaving_tail"]]["next"] = index
    replica["leaving_tail"] = index


@outlined
def release(world: World, index: int, now_s: float) -> None:
    """Free the blocks that the replica which prefilled a request keeps for it.

    Its prompt stays in the prefix cache there.
    """
    request = world.requests[index]
    source = world.replicas[request["prefill_replica"]]
    source["parked_blocks"] -= request["kept_blocks"]
    source["kv_used_blocks"] += request["kept_blocks"]
    source["kept"] -= 1
    add_handover(world, source["pool"], now_s, 0, -int(request["kept_blocks"]), 0)
    prompt = int(request["prompt_tokens"])
    let_go(world, int(request["prefill_replica"]), request, prompt, prompt)


@outlined
def receive(world: World, replica_index: int, index: int, blocks: int, now_s: float) -> None:
    """Reserve memory for a request from another pool, and let its KV be sent."""
    replica = world.replicas[replica_index]
    replica["landing"] += 1
    replica["parked_blocks"] += blocks
    add_handover(world, replica["pool"], now_s, 1, blocks, 0)
    request = world.requests[index]
    request["handover"] = SENDING
    request["next"] = NONE
    source_index = request["prefill_replica"]
    source = world.replicas[source_index]
    if source["link_head"] != NONE:
        world.requests[source["link_tail"]]["next"] = index
        source["link_tail"] = index
        return
    source["link_head"] = index
    source["link_tail"] = index
    start_transfer(world, source_index, now_s)


@outlined
def start_transfer(world: World, source_index: int, now_s: float) -> None:
    """Send the KV that is first in line on a link."""
    source = world.replicas[source_index]
    pool = world.pools[source["pool"]]
    tokens = world.requests[source["link_head"]]["prompt_tokens"]
    add_handover(world, source["pool"], now_s, 0, 0, 1)
    source["link_end_s"] = now_s + (pool["link_token_s"] * tokens + pool["link_latency_s"])
    schedule(world.calendar, source_index, next_event_s(source))


@outlined
def stop_transfer(world: World, source_index: int, now_s: float) -> None:
    """Take the first in line off a link, sent or not, and go on with the next."""
    source = world.replicas[source_index]
    source["link_head"] = world.requests[source["link_head"]]["next"]
    source["link_end_s"] = math.inf
    add_handover(world, source["pool"], now_s, 0, 0, -1)
    if source["link_head"] == NONE:
        source["link_tail"] = NONE
    else:
        start_transfer(world, source_index, now_s)


@outlined
def end_transfer(world: World, source_index: int, now_s: float) -> None:
    """Let the KV that is being sent have come; the replica that sent it forgets the request."""
    source = world.replicas[source_index]
    index = int(source["link_head"])
    request = world.requests[index]
    stop_transfer(world, source_index, now_s)
    release(world, index, now_s)
    request["handover"] = LANDED
    request["next"] = NONE
    replica = world.replicas[request["replica"]]
    if replica["landed_head"] == NONE:
        replica["landed_head"] = index
    else:
        world.requests[replica["landed_tail"]]["next"] = index
    replica["landed_tail"] = index
    wake(world, request["replica"], now_s)
    if source["waiting"] > 0 or source["status"] == DRAINING:
        wake(world, source_index, now_s)


@outlined
def take_landed(world: World, replica_index: int, blocks: int, now_s: float) -> int:
    """Take the first request whose KV has come out of the books of what is between pools."""
    replica = world.replicas[replica_index]
    index = int(replica["landed_head"])
    request = world.requests[index]
    replica["landed_head"] = request["next"]
    request["handover"] = IN_ONE_POOL
    leave(world, replica, blocks, now_s)
    return index


@outlined
def leave(world: World, replica: np.void, blocks: int, now_s: float) -> None:
    """Count one request less that comes to a replica, and the blocks reserved for it."""
    replica["landing"] -= 1
    replica["parked_blocks"] -= blocks
    add_handover(world, replica["pool"], now_s, -1, -blocks, 0)


@outlined
def forget(world: World, index: int, lost_index: int, now_s: float) -> None:
    """Take a request between two pools off what it holds in the one that is not lost.

    Its place in a queue of the lost replica is left to the caller.
    """
    request = world.requests[index]
    handover = request["handover"]
    if handover == IN_ONE_POOL:
        return
    replica_index = int(request["replica"])
    replica = world.replicas[replica_index]
    source_index = int(request["prefill_replica"])
    if handover == OFFERED:
        if replica_index != lost_index:
            unlink_waiting(world, replica_index, index, now_s)
    else:
        leave(world, replica, blocks_held(world, replica, request, request["prompt_tokens"]), now_s)
    if handover == SENDING:
        unlink_sending(world, source_index, index, now_s)
    if handover == LANDED:
        replica["landed_head"] = NONE
    else:
        release(world, index, now_s)
        other_index = source_index if replica_index == lost_index else replica_index
        wake(world, other_index, now_s)
    request["handover"] = IN_ONE_POOL


@outlined
def unlink_waiting(world: World, replica_index: int, index: int, now_s: float) -> None:
    """Take a request out of the midst of a queue."""
    request = world.requests[index]
    before = NONE
    other = world.queues[queue_of(world, replica_index, request)]["head"]
    while other != index:
        before = other
        other = world.requests[other]["next"]
    take_from_queue(world, replica_index, before, index)
    add_waiting(world, world.replicas[replica_index]["pool"], now_s, -1)


@outlined
def unlink_sending(world: World, source_index: int, index: int, now_s: float) -> None:
    """Take a request out of the line of a link."""
    source = world.replicas[source_index]
    if source["link_head"] == index:
        stop_transfer(world, source_index, now_s)
        return
    before = source["link_head"]
    while world.requests[before]["next"] != index:
        before = world.requests[before]["next"]
    world.requests[before]["next"] = world.requests[index]["next"]
    if source["link_tail"] == index:
        source["link_tail"] = before
