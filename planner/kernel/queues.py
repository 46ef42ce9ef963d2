"""Where requests wait: per replica and class one list in order of arrival, over recycled slots."""

from __future__ import annotations

import math

import numpy as np

from planner.kernel.account import add_waiting
from planner.kernel.dtypes import NONE
from planner.kernel.enums import Handover, Leg, Scheduler
from planner.kernel.jit import kernel, outlined
from planner.kernel.prefix import found_tokens
from planner.kernel.world import World

PRIORITY = int(Scheduler.PRIORITY)
AGEING = int(Scheduler.AGEING)
DEADLINE = int(Scheduler.DEADLINE)
SHORTEST_PROMPT = int(Scheduler.SHORTEST_PROMPT)
WEIGHTED = int(Scheduler.WEIGHTED)
IN_ONE_POOL = int(Handover.NONE)
MAIN = int(Leg.MAIN)


@kernel
def take_request(world: World, arrival: np.void) -> int:
    """Fill a free slot, of which the caller has made sure, from an arrival; return its index."""
    state = world.state[0]
    index = int(state["free_request"])
    request = world.requests[index]
    state["free_request"] = request["next"]
    request["arrival_s"] = arrival["arrival_s"]
    request["started_s"] = math.nan
    request["think_s"] = arrival["think_s"]
    request["key"] = state["next_key"]
    request["session"] = arrival["session"]
    request["visitor"] = arrival["visitor"]
    request["next_turn"] = arrival["next_turn"]
    request["row"] = arrival["row"]
    request["input_tokens"] = arrival["input_tokens"]
    request["output_tokens"] = arrival["output_tokens"]
    request["reasoning_tokens"] = arrival["reasoning_tokens"]
    request["first_hash"] = arrival["first_hash"]
    request["hashes"] = arrival["hashes"]
    request["shared_blocks"] = 0
    request["swapped_blocks"] = 0
    request["cached_tokens"] = 0
    request["task_start_s"] = arrival["arrival_s"]
    if arrival["call"] > 0:
        request["task_start_s"] = arrival["task_start_s"]
    request["task_tokens"] = arrival["task_tokens"]
    request["chunk_tokens"] = 0
    request["handover"] = IN_ONE_POOL
    request["leg"] = MAIN
    request["decode_start_tokens"] = NONE
    request["next"] = NONE
    request["replica"] = NONE
    request["pool"] = NONE
    request["class"] = arrival["class"]
    request["turn"] = arrival["turn"]
    request["call"] = arrival["call"]
    request["stream"] = arrival["stream"]
    request["preemptions"] = 0
    request["fate"] = NONE
    begin_anew(request)
    state["next_key"] += 1
    state["in_flight"] += 1
    return index


@kernel
def begin_anew(request: np.void) -> None:
    """Let nothing of a request be computed, emitted or charged."""
    request["prompt_tokens"] = max(1, request["input_tokens"])
    request["prefilled_tokens"] = 0
    request["emitted_tokens"] = 0
    request["first_token_s"] = math.nan
    request["answer_s"] = math.nan
    request["last_token_s"] = math.nan
    request["prefill_replica"] = NONE
    request["charged"] = 0


@kernel
def free_request(world: World, index: int) -> None:
    """Give the slot of an ended request back."""
    state = world.state[0]
    world.requests[index]["next"] = state["free_request"]
    state["free_request"] = index
    state["in_flight"] -= 1


@kernel
def queue_of(world: World, replica_index: int, request: np.void) -> int:
    """Return the row of `queues` for a request on a replica."""
    return int(replica_index * len(world.classes) + request["class"])


@kernel
def scheduler_of(world: World, request: np.void) -> int:
    """Return the scheduler of the pool that a request is in."""
    return int(world.pools[request["pool"]]["scheduler"])


@kernel
def interactive_waiting(record: np.void) -> int:
    """Return the requests of interactive classes that wait on a replica, or in a pool."""
    return int(record["waiting"] - record["batch_waiting"])


@kernel
def yields(world: World, replica_index: int) -> bool:
    """Tell whether a sequence of a batch class decodes on a replica."""
    if world.pools[world.replicas[replica_index]["pool"]]["batch_sequences"] == 0:
        return False
    classes = world.classes
    for klass in range(len(classes)):
        decoding = world.queues[replica_index * len(classes) + klass]["decoding"]
        if classes[klass]["batch"] == 1 and decoding > 0:
            return True
    return False


@kernel
def count_waiting(world: World, replica_index: int, request: np.void, change: int) -> None:
    """Count a request that begins (+1) or ceases (−1) to wait on a replica."""
    replica = world.replicas[replica_index]
    replica["waiting"] += change
    if change > 0:
        request["pending_tokens"] = request["prompt_tokens"]
        if world.pools[replica["pool"]]["sheds"] == 1:
            request["pending_tokens"] -= found_tokens(world, replica, request)
    queue = world.queues[queue_of(world, replica_index, request)]
    queue["waiting_tokens"] += change * request["pending_tokens"]
    now_s = world.state[0]["now_s"]
    if world.classes[request["class"]]["batch"] == 1:
        add_waiting(world, request["pool"], now_s, 0)
        replica["batch_waiting"] += change
        world.pools[request["pool"]]["batch_waiting"] += change
    elif change > 0 and interactive_waiting(replica) == 1:
        replica["backlog_since_s"] = now_s
        replica["backlog_tokens"] = 0


@kernel
def comes_in_order(world: World, request: np.void) -> bool:
    """Tell whether requests come to the pool of a request in the order in which they rank."""
    pool = world.pools[request["pool"]]
    return bool(pool["scheduler"] != SHORTEST_PROMPT and pool["fed"] == 0)


@outlined
def insert_in_queue(world: World, replica_index: int, index: int) -> None:
    """Let a request wait at its rank among those of its class, found from the head on.

    A preempted one stands near it: it comes before all that have never been started.
    """
    requests = world.requests
    request = requests[index]
    queue = world.queues[queue_of(world, replica_index, request)]
    scheduler = scheduler_of(world, request)
    before = NONE
    after = queue["head"]
    last = queue["tail"]
    if last != NONE and comes_before(world, last, index, scheduler):
        before = last
        after = NONE
    while after != NONE and comes_before(world, after, index, scheduler):
        before = after
        after = requests[after]["next"]
    request["next"] = after
    if before == NONE:
        queue["head"] = index
    else:
        requests[before]["next"] = index
    if after == NONE:
        queue["tail"] = index
    count_waiting(world, replica_index, request, 1)


@kernel
def append_to_queue(world: World, replica_index: int, index: int) -> None:
    """Let a request wait behind the others of its class, or where its rank has its place."""
    requests = world.requests
    request = requests[index]
    if not comes_in_order(world, request):
        insert_in_queue(world, replica_index, index)
        return
    queue = world.queues[queue_of(world, replica_index, request)]
    request["next"] = NONE
    if queue["head"] == NONE:
        queue["head"] = index
    else:
        requests[queue["tail"]]["next"] = index
    queue["tail"] = index
    count_waiting(world, replica_index, request, 1)


@kernel
def take_from_queue(world: World, replica_index: int, before: int, index: int) -> None:
    """Unlink a waiting request whose predecessor is `before` (NONE: it is the head)."""
    request = world.requests[index]
    queue = world.queues[queue_of(world, replica_index, request)]
    if before == NONE:
        queue["head"] = request["next"]
    else:
        world.requests[before]["next"] = request["next"]
    if queue["tail"] == index:
        queue["tail"] = before
    count_waiting(world, replica_index, request, -1)


@kernel
def rank_of(world: World, request: np.void, scheduler: int) -> float:
    """Return by what a scheduler orders requests: the least comes first."""
    klass = world.classes[request["class"]]
    if scheduler == PRIORITY:
        return float(klass["priority"])
    if scheduler == AGEING:
        step_s = world.pools[request["pool"]]["priority_step_s"]
        return float(request["arrival_s"] + klass["priority"] * step_s)
    if scheduler == DEADLINE:
        return float(request["arrival_s"] + klass["ttft_limit_s"])
    if scheduler == SHORTEST_PROMPT:
        return float(max(1, request["input_tokens"]))
    if scheduler == WEIGHTED:
        return float(world.queues[queue_of(world, request["replica"], request)]["served_tokens"])
    return 0.0


@outlined
def comes_before(world: World, a: int, b: int, scheduler: int) -> bool:
    """Tell whether request `a` ranks before `b`; of equal ranks, the first to arrive does.

    What is batch comes after everything else.
    """
    left = world.requests[a]
    right = world.requests[b]
    left_batch = world.classes[left["class"]]["batch"]
    right_batch = world.classes[right["class"]]["batch"]
    if left_batch != right_batch:
        return bool(left_batch < right_batch)
    left_rank = rank_of(world, left, scheduler)
    right_rank = rank_of(world, right, scheduler)
    if left_rank != right_rank:
        return left_rank < right_rank
    return bool(left["key"] < right["key"])


@kernel
def first_waiting(world: World, replica_index: int, scheduler: int) -> int:
    """Return the waiting request that is admitted next, or NONE.

    It heads the queue of its class, which is in order of rank.
    """
    queues = world.queues
    classes = len(world.classes)
    best = NONE
    for klass in range(classes):
        head = queues[replica_index * classes + klass]["head"]
        if head != NONE and (best == NONE or comes_before(world, head, best, scheduler)):
            best = head
    return int(best)


@kernel
def first_unstarted(world: World, head: int) -> tuple[int, int]:
    """Return a queue's oldest request that has never been started, or NONE, and its predecessor.

    Preempted requests have no time-out any more. Where the queue is in order of arrival, they stand
    before the others, of which the first is the oldest.
    """
    requests = world.requests
    oldest = NONE
    before_oldest = NONE
    before = NONE
    index = head
    while index != NONE:
        request = requests[index]
        if math.isnan(request["started_s"]):
            if oldest == NONE or request["key"] < requests[oldest]["key"]:
                oldest = index
                before_oldest = before
            if scheduler_of(world, request) != SHORTEST_PROMPT:
                break
        before = index
        index = request["next"]
    return oldest, before_oldest
