"""Whether a replica drafts: by how many sequences decode, decided between two steps."""

from __future__ import annotations

import numpy as np

from planner.kernel.answers import plan_answers
from planner.kernel.heap import push_slot
from planner.kernel.jit import kernel, outlined
from planner.kernel.speculate import emitted_since, steps_to_end
from planner.kernel.world import World


@kernel
def has_mode(replica: np.void, pool: np.void) -> bool:
    """Tell whether a replica drafts, or does not, as its decoding sequences ask for."""
    if pool["draft_tokens"] == 0:
        return True
    drafting = 1 if replica["decoding"] <= pool["draft_sequences"] else 0
    return bool(replica["drafting"] == drafting)


@outlined
def change_mode(world: World, replica_index: int) -> None:
    """Begin or cease to draft, and plan every end anew."""
    replica = world.replicas[replica_index]
    slots = world.slots
    first = replica["slots_first"]
    for position in range(first, first + replica["decoding"]):
        request = world.requests[slots[position]["request"]]
        emitted = emitted_since(world, replica, request, slots[position]["finish_step"])
        request["plan_tokens"] = emitted
        request["plan_step"] = replica["step"]
    replica["drafting"] = 1 - replica["drafting"]
    for position in range(replica["decoding"]):  # the slots before it are a heap already
        index = int(slots[first + position]["request"])
        request = world.requests[index]
        left = request["output_tokens"] - request["emitted_tokens"] - request["plan_tokens"]
        end = replica["step"] + steps_to_end(world, replica, request, left)
        push_slot(slots, first, position, end, request["key"], index)
    plan_answers(world, replica_index)
