"""What the control plane does to replicas between two advances."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from planner.kernel.account import add_waiting
from planner.kernel.batch import settle, stop_decode
from planner.kernel.calendar import schedule
from planner.kernel.dtypes import NONE
from planner.kernel.ends import end_request
from planner.kernel.enums import Fate, ReplicaStatus
from planner.kernel.handoff import add_handover, forget
from planner.kernel.jit import kernel
from planner.kernel.prefix import forget_prefixes
from planner.kernel.queues import take_from_queue
from planner.kernel.world import World

FAILED = int(Fate.FAILED)
UNFINISHED = int(Fate.UNFINISHED)
LOST = int(ReplicaStatus.LOST)


@kernel
def settle_all(world: World, now_s: float) -> None:
    """Bring the books of every replica and pool up to `now_s`."""
    for replica_index in range(len(world.replicas)):
        settle(world, replica_index, now_s)
    for pool_index in range(len(world.pools)):
        add_waiting(world, pool_index, now_s, 0)
        add_handover(world, pool_index, now_s, 0, 0, 0)


@kernel
def lose_replica(
    world: World, replica_index: int, victims: NDArray[np.int64], now_s: float
) -> None:
    """Lose a replica with all its requests; the step under way comes to nothing.

    Args:
        world: the arrays.
        replica_index: the replica.
        victims: its requests, waiting and running, and those whose KV it keeps for another pool,
            in order of arrival.
        now_s: the instant.
    """
    settle(world, replica_index, now_s)
    replica = world.replicas[replica_index]
    for index in victims:
        forget(world, index, replica_index, now_s)
    add_waiting(world, replica["pool"], now_s, -int(replica["waiting"]))
    while replica["decoding"] > 0:
        stop_decode(world, replica_index, replica["decoding"] - 1, False)
    classes = len(world.classes)
    for klass in range(classes):
        queue = world.queues[replica_index * classes + klass]
        while queue["head"] != NONE:
            take_from_queue(world, replica_index, NONE, queue["head"])
    for index in victims:
        end_request(world, index, FAILED, now_s)
    forget_prefixes(world, replica)
    replica["status"] = LOST
    replica["fetch_head"] = NONE
    replica["fetching"] = 0
    replica["fetch_s"] = math.inf
    replica["prefill_head"] = NONE
    replica["prefill_tail"] = NONE
    replica["prefilling"] = 0
    replica["prefill_tokens"] = 0
    replica["prefill_work"] = 0
    replica["kv_used_blocks"] = 0
    replica["run_steps"] = 0
    replica["settled_steps"] = 0
    replica["unpolled_steps"] = 0
    replica["advancing"] = 0
    replica["paused_s"] = math.nan
    replica["run_end_s"] = math.inf
    replica["timeout_s"] = math.inf
    schedule(world.calendar, replica_index, math.inf)


@kernel
def end_unfinished(world: World, now_s: float) -> None:
    """Give every request that is still in flight its fate, in order of the slots."""
    for stream in range(len(world.streams)):
        world.streams[stream]["closed"] = 0
    for index in range(len(world.requests)):
        if world.requests[index]["fate"] == NONE:
            end_request(world, index, UNFINISHED, now_s)
