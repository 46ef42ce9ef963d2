"""When answers begin: the first token after the reasoning, at its exact instant.

While a request decodes, the step that emits this token is a point on the step counter of its
replica, as its end is. The points lie in a heap beside that of the ends, but they cut no run: when
steps are put into the books, the closed form of the run tells when each of them ended. A request
that does not reason has no such point.

In a pool that drafts, the step is drawn like that of the end, which is exact in distribution; the
joint law with the end is not, so an answer that has not begun by the end begins there.
"""

from __future__ import annotations

import math

import numpy as np

from planner.kernel.heap import push_slot, remove_slot
from planner.kernel.jit import kernel, outlined
from planner.kernel.speculate import steps_to_end
from planner.kernel.steptime import boundary_s
from planner.kernel.world import World


@kernel
def awaits_answer(request: np.void) -> bool:
    """Tell whether a request reasons and has not come to its answer yet."""
    return bool(request["reasoning_tokens"] > 0 and math.isnan(request["answer_s"]))


@kernel
def answer_token(request: np.void) -> int:
    """Return the number of the first answer token; the last one if all is reasoning."""
    return int(min(request["reasoning_tokens"] + 1, request["output_tokens"]))


@kernel
def note_answer(request: np.void, now_s: float) -> None:
    """Let the answer begin now if its first token has been emitted."""
    if awaits_answer(request) and request["emitted_tokens"] >= answer_token(request):
        request["answer_s"] = now_s


@outlined
def push_answer(world: World, replica_index: int, index: int, count: int) -> None:
    """Add the step in which the answer of a decoding request begins to a heap of `count`."""
    replica = world.replicas[replica_index]
    request = world.requests[index]
    left = answer_token(request) - request["emitted_tokens"] - request["plan_tokens"]
    step = replica["step"] + steps_to_end(world, replica, request, max(left, 1))
    push_slot(world.slots, replica["answers_first"], count, step, request["key"], index)


@kernel
def plan_answer(world: World, replica_index: int, index: int) -> None:
    """Plan the answer of a request that begins to decode, if it has yet to come."""
    replica = world.replicas[replica_index]
    if awaits_answer(world.requests[index]):
        push_answer(world, replica_index, index, replica["answers"])
        replica["answers"] += 1


@outlined
def plan_answers(world: World, replica_index: int) -> None:
    """Plan every answer on a replica anew: its mode has changed."""
    replica = world.replicas[replica_index]
    first = replica["answers_first"]
    for position in range(replica["answers"]):  # the slots before it are a heap already
        index = int(world.slots[first + position]["request"])
        push_answer(world, replica_index, index, position)


@kernel
def drop_answer(world: World, replica_index: int, index: int) -> None:
    """Forget the plan of a request that stops decoding before its answer."""
    if not awaits_answer(world.requests[index]):
        return
    replica = world.replicas[replica_index]
    first = replica["answers_first"]
    position = 0
    while world.slots[first + position]["request"] != index:
        position += 1
    remove_slot(world.slots, first, replica["answers"], position)
    replica["answers"] -= 1


@outlined
def begin_answers(world: World, replica_index: int) -> None:
    """Give every answer that begins in the steps just put into the books its instant."""
    replica = world.replicas[replica_index]
    slots = world.slots
    first = replica["answers_first"]
    while replica["answers"] > 0 and slots[first]["finish_step"] <= replica["step"]:
        steps = replica["settled_steps"] - (replica["step"] - slots[first]["finish_step"])
        world.requests[slots[first]["request"]]["answer_s"] = boundary_s(replica, steps)
        remove_slot(slots, first, replica["answers"], 0)
        replica["answers"] -= 1
