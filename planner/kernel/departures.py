"""Where requests go that leave a replica for another pool."""

from __future__ import annotations

import numpy as np

from planner.kernel.account import window_of
from planner.kernel.dtypes import NONE, Fate, Handover, World
from planner.kernel.ends import end_request
from planner.kernel.handoff import release, wake
from planner.kernel.jit import kernel
from planner.kernel.route import pick_replica, wait_at

FAILED = int(Fate.FAILED)
IN_ONE_POOL = int(Handover.NONE)


@kernel
def send_off(world: World, source_index: int, now_s: float, rng: np.random.Generator) -> None:
    """Offer what a replica has prefilled to the pool that decodes, in order of admission.

    Without an active replica there, requests fail.
    """
    source = world.replicas[source_index]
    pool_index = world.pools[source["pool"]]["decode_pool"]
    pool = world.pools[pool_index]
    while source["leaving_head"] != NONE:
        index = int(source["leaving_head"])
        request = world.requests[index]
        source["leaving_head"] = request["next"]
        if pool["active_count"] == 0:
            release(world, index, now_s)
            request["handover"] = IN_ONE_POOL
            end_request(world, index, FAILED, now_s)
            wake(world, source_index, now_s)
            continue
        window = window_of(world.state[0], now_s)
        row = world.pool_windows[window * len(world.pools) + pool_index]
        row["routed"] += 1
        row["received"] += 1
        wait_at(world, pick_replica(world, pool, request, rng), index, now_s)
