"""Where requests go that leave a replica for another pool."""

from __future__ import annotations

import numpy as np

from planner.kernel.account import pool_row
from planner.kernel.dtypes import NONE
from planner.kernel.ends import end_request
from planner.kernel.enums import Fate, Handover, Leg
from planner.kernel.handoff import release, wake
from planner.kernel.jit import outlined
from planner.kernel.queues import begin_anew
from planner.kernel.route import find_replica, join, pick_replica, wait_at
from planner.kernel.world import World

FAILED = int(Fate.FAILED)
ESCALATED = int(Leg.ESCALATED)
IN_ONE_POOL = int(Handover.NONE)
OFFERED = int(Handover.OFFERED)


@outlined
def send_off(world: World, source_index: int, now_s: float, rng: np.random.Generator) -> None:
    """Let what leaves a replica join another, in the order in which it left the batch."""
    source = world.replicas[source_index]
    while source["leaving_head"] != NONE:
        index = int(source["leaving_head"])
        source["leaving_head"] = world.requests[index]["next"]
        if world.requests[index]["handover"] == OFFERED:
            offer(world, source_index, index, now_s, rng)
        else:
            escalate(world, index, now_s, rng)


@outlined
def offer(
    world: World, source_index: int, index: int, now_s: float, rng: np.random.Generator
) -> None:
    """Offer what a replica has prefilled to the pool that decodes; with nobody there it fails."""
    request = world.requests[index]
    pool_index = world.pools[world.replicas[source_index]["pool"]]["decode_pool"]
    pool = world.pools[pool_index]
    if pool["active_count"] == 0:
        release(world, index, now_s)
        request["handover"] = IN_ONE_POOL
        end_request(world, index, FAILED, now_s)
        wake(world, source_index, now_s)
        return
    row = pool_row(world, pool_index, now_s)
    row["routed"] += 1
    row["received"] += 1
    wait_at(world, pick_replica(world, pool, request, rng), index, now_s)


@outlined
def escalate(world: World, index: int, now_s: float, rng: np.random.Generator) -> None:
    """Let the pools of its class serve a request again; the first answer is thrown away."""
    request = world.requests[index]
    request["leg"] = ESCALATED
    begin_anew(request)
    replica_index, _ = find_replica(world, request, rng)
    if replica_index == NONE:
        end_request(world, index, FAILED, now_s)
        return
    pool_row(world, world.replicas[replica_index]["pool"], now_s)["escalated"] += 1
    join(world, replica_index, index, now_s)
