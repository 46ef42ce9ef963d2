"""Admission control: what is shed on arrival, so that overload ends in refusals instead of a queue.

See README.md, "Admission control". Sums over waiting prompts are kept per queue, so a decision
costs a look at every class.
"""

from __future__ import annotations

import math

import numpy as np

from planner.kernel.dtypes import NONE
from planner.kernel.enums import Scheduler
from planner.kernel.jit import kernel, outlined
from planner.kernel.kvcache import blocks_for_steps, free_blocks
from planner.kernel.prefix import found_tokens
from planner.kernel.queues import interactive_waiting
from planner.kernel.steptime import has_passed, steps_ended
from planner.kernel.world import World

PRIORITY = int(Scheduler.PRIORITY)


@kernel
def waiting_prompts(world: World, replica_index: int, klass: int, ahead: bool) -> int:
    """Return the tokens that wait on a replica to be prefilled, without those of batch classes.

    Args:
        world: the arrays.
        replica_index: the replica.
        klass: of a request that might join it.
        ahead: leave out classes over which a strict priority puts that request.
    """
    classes = world.classes
    strict = world.pools[world.replicas[replica_index]["pool"]]["scheduler"] == PRIORITY
    tokens = 0
    for other in range(len(classes)):
        behind = ahead and strict and classes[other]["priority"] > classes[klass]["priority"]
        if classes[other]["batch"] == 0 and not behind:
            tokens += world.queues[replica_index * len(classes) + other]["waiting_tokens"]
    return int(tokens)


@kernel
def blocks_in_use(world: World, replica_index: int, now_s: float) -> int:
    """Return the KV blocks of a replica in use at `now_s`, those of the step under way included."""
    replica = world.replicas[replica_index]
    pool = world.pools[replica["pool"]]
    blocks = int(pool["kv_blocks"] - free_blocks(pool, replica))
    if replica["run_steps"] > 0 and replica["advancing"] > 0:
        begun = 1 + steps_ended(replica, now_s, has_passed(world, replica_index))
        blocks += blocks_for_steps(world, replica_index, replica["settled_steps"], begun)
    return blocks


@kernel
def predicted_ttft_s(world: World, replica_index: int, request: np.void, now_s: float) -> float:
    """Return how long a request would wait for its first token, by what waits before it [s].

    The rate at which prompts are admitted is that since the queue was last empty, as if a step of
    nothing but prefill had gone before. What the cache has of a prompt needs none. Where another
    pool decodes, the KV goes there before the client gets the token; that it might have to wait for
    memory there is not foreseen.
    """
    replica = world.replicas[replica_index]
    pool = world.pools[replica["pool"]]
    budget = pool["token_budget"]
    tokens = float(budget)
    seconds = pool["fixed_s"] + world.steps[pool["step_table"] + budget]["linear_s"]
    if interactive_waiting(replica) > 0:
        tokens += replica["backlog_tokens"]
        seconds += now_s - replica["backlog_since_s"]
    ahead = waiting_prompts(world, replica_index, request["class"], True)
    own = request["prompt_tokens"] - found_tokens(world, replica, request)
    sent_s = pool["request_s"]
    if pool["decode_pool"] != NONE and request["output_tokens"] > 1:
        sent_s += pool["link_token_s"] * request["prompt_tokens"] + pool["link_latency_s"]
    return float((ahead + own) * seconds / tokens + sent_s)


@outlined
def is_shed(world: World, replica_index: int, request: np.void, now_s: float) -> bool:
    """Tell whether admission control turns away a request that was sent to a replica."""
    pool = world.pools[world.replicas[replica_index]["pool"]]
    klass = world.classes[request["class"]]
    if waiting_prompts(world, replica_index, request["class"], False) >= pool["shed_tokens"]:
        return True
    crowded = pool["shed_blocks"] <= blocks_in_use(world, replica_index, now_s)
    if crowded and klass["sheddable"] == 1:
        return True
    if pool["shed_ttft"] == math.inf:
        return False
    due_s = pool["shed_ttft"] * klass["ttft_limit_s"]
    return bool(predicted_ttft_s(world, replica_index, request, now_s) > due_s)
