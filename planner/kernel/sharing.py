"""Sharing by weight: what classes were served, counted per replica (README.md, "Weighted sharing").

A class's count is the tokens served to it divided by its weight (the virtual token counter of Sheng
et al., "Fairness in Serving Large Language Models", OSDI 2024). Whoever has the least is admitted
next. A class that has had nothing waiting does not save up: it starts again from the count at which
the last class was admitted (as in start-time fair queueing; Goyal, Vin and Cheng, SIGCOMM 1996).

In the books, counts are those of the settled steps; during a run they grow in proportion to the
steps, so that the step at which one class overtakes another follows in closed form.
"""

from __future__ import annotations

import numpy as np

from planner.kernel.dtypes import NONE, OUTPUT_COST
from planner.kernel.enums import Handover
from planner.kernel.jit import kernel, outlined
from planner.kernel.queues import queue_of
from planner.kernel.speculate import position_after, width_of
from planner.kernel.world import World

IN_ONE_POOL = int(Handover.NONE)


@kernel
def charge(world: World, replica_index: int, klass: int, cost_tokens: float) -> None:
    """Count tokens, at their cost, as served to a class."""
    queue = world.queues[replica_index * len(world.classes) + klass]
    queue["served_tokens"] += cost_tokens / world.classes[klass]["weight"]


@kernel
def decoded_between(world: World, replica_index: int, klass: int, first: int, last: int) -> int:
    """Return the tokens that the sequences of a class decode in steps of the run."""
    replica = world.replicas[replica_index]
    if replica["advancing"] == 0:
        return 0
    decoding = world.queues[replica_index * len(world.classes) + klass]["decoding"]
    if world.pools[replica["pool"]]["draft_tokens"] == 0:
        return int(decoding * (last - first))
    ahead = position_after(world, replica_index, klass, last)
    return int(decoding * (ahead - position_after(world, replica_index, klass, first)))


@outlined
def charge_steps(world: World, replica_index: int, first: int, last: int) -> None:
    """Count what the steps `first` to `last` − 1 of the run have decoded."""
    for klass in range(len(world.classes)):
        tokens = decoded_between(world, replica_index, klass, first, last)
        charge(world, replica_index, klass, OUTPUT_COST * tokens)


@outlined
def charge_admission(world: World, replica_index: int, request: np.void) -> None:
    """Let the turn of a request's class be now; count its prompt when it is first prefilled here.

    What another pool has prefilled is not, nor what is computed again after a preemption.
    """
    replica = world.replicas[replica_index]
    served = world.queues[queue_of(world, replica_index, request)]["served_tokens"]
    replica["virtual_tokens"] = max(replica["virtual_tokens"], served)
    if request["charged"] == 0:
        request["charged"] = 1
        if request["handover"] == IN_ONE_POOL:
            charge(world, replica_index, request["class"], float(request["prompt_tokens"]))


@outlined
def lift(world: World, replica_index: int, klass: int, ended: int) -> None:
    """Let a class of which nothing has waited begin no earlier than where the others are.

    Args:
        world: the arrays.
        replica_index: the replica.
        klass: the class.
        ended: steps of the run under way that have ended.
    """
    replica = world.replicas[replica_index]
    queue = world.queues[replica_index * len(world.classes) + klass]
    first = replica["settled_steps"]
    decoded = decoded_between(world, replica_index, klass, first, ended)
    served = queue["served_tokens"] + OUTPUT_COST * decoded / world.classes[klass]["weight"]
    queue["served_tokens"] += max(0.0, replica["virtual_tokens"] - served)


@outlined
def steps_in_order(world: World, replica_index: int, first: int, limit: int) -> int:
    """Return after how many steps, at most `limit`, another class might be first.

    Rates are bounds where sequences draft. A boundary too many changes nothing.

    Args:
        world: the arrays.
        replica_index: the replica, with its next batch.
        first: the request that waits first.
        limit: steps at most.
    """
    replica = world.replicas[replica_index]
    classes = world.classes
    leader = world.requests[first]["class"]
    row = replica_index * len(classes)
    front = world.queues[row + leader]
    width = width_of(replica, world.pools[replica["pool"]])
    pace = width * front["decoding"] / classes[leader]["weight"]
    for klass in range(len(classes)):
        queue = world.queues[row + klass]
        rival = classes[klass]["batch"] == classes[leader]["batch"]
        if klass == leader or queue["head"] == NONE or not rival:
            continue
        closing = OUTPUT_COST * (pace - queue["decoding"] / classes[klass]["weight"])
        ahead = queue["served_tokens"] - front["served_tokens"]
        if ahead < closing * limit:
            limit = max(1, int(ahead / closing))
    return limit
