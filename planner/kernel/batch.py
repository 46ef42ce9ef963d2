"""A step boundary of one replica, stage by stage (README.md, "Step boundary, in order")."""

from __future__ import annotations

import math

import numpy as np

from planner.kernel.account import (
    add_decoding,
    add_resumed_gap,
    add_run,
    add_waiting,
    last_emission_s,
    pool_row,
)
from planner.kernel.answers import (
    begin_answers,
    drop_answer,
    note_answer,
    plan_answer,
)
from planner.kernel.cascade import finish
from planner.kernel.dtypes import NONE, OUTPUT_COST
from planner.kernel.enums import Handover, ReplicaStatus, Scheduler
from planner.kernel.handoff import keep, receive, take_landed
from planner.kernel.heap import push_slot, remove_slot
from planner.kernel.jit import kernel, outlined
from planner.kernel.kvcache import (
    blocks_for_steps,
    blocks_held,
    free_blocks,
    growth_residue,
    steps_within,
)
from planner.kernel.mode import change_mode, has_mode
from planner.kernel.pointer import prefetch
from planner.kernel.prefix import claim_of, context_of, forget_prefixes, hold, let_go, store_of
from planner.kernel.queues import (
    comes_before,
    first_waiting,
    insert_in_queue,
    queue_of,
    take_from_queue,
    yields,
)
from planner.kernel.sharing import charge, charge_admission, charge_steps, steps_in_order
from planner.kernel.speculate import (
    close_run,
    emitted_since,
    group_of,
    growth_of,
    position_after,
    room_of,
    steps_to_end,
    tokens_between,
    width_of,
)
from planner.kernel.steptime import first_boundary, start_run
from planner.kernel.store import shrink
from planner.kernel.tiers import fetch, swap_out, take_fetched
from planner.kernel.world import World

DRAINING = int(ReplicaStatus.DRAINING)
STOPPED = int(ReplicaStatus.STOPPED)
WEIGHTED = int(Scheduler.WEIGHTED)
OFFERED = int(Handover.OFFERED)


@kernel
def take_steps(world: World, replica_index: int, last: int) -> None:
    """Let the run's steps before `last` have happened: books, contexts, blocks, step counter."""
    replica = world.replicas[replica_index]
    first = replica["settled_steps"]
    blocks = 0
    if replica["advancing"] > 0:
        blocks = blocks_for_steps(world, replica_index, first, last)
        add_decoding(world, replica_index, first, last)
    add_run(world, replica_index, first, last, blocks)
    if world.pools[replica["pool"]]["scheduler"] == WEIGHTED:
        charge_steps(world, replica_index, first, last)
    replica["settled_steps"] = last
    if replica["advancing"] == replica["decoding"]:
        replica["step"] += last - first
    if replica["answers"] > 0:
        begin_answers(world, replica_index)
    replica["context_tokens"] += tokens_between(world, replica_index, first, last)
    replica["kv_used_blocks"] += blocks


@kernel
def position_of(world: World, replica_index: int, request: np.void) -> int:
    """Return where the group of a request on a replica stands [tokens]."""
    replica = world.replicas[replica_index]
    pool = world.pools[replica["pool"]]
    if pool["draft_tokens"] == 0:
        return int(replica["step"])
    group = group_of(pool, request["class"])
    return position_after(world, replica_index, group, replica["settled_steps"])


@kernel
def growth_row(world: World, replica_index: int, request: np.void, tokens: int) -> int:
    """Return the row of `kv_growth` in which a decoding sequence of `tokens` is counted."""
    replica = world.replicas[replica_index]
    pool = world.pools[replica["pool"]]
    block_tokens = pool["kv_block_tokens"]
    if pool["draft_tokens"] == 0:
        residue = growth_residue(replica["step"], tokens, block_tokens)
        return int(replica["growth_first"] + residue)
    room = room_of(world, replica["pool"], request["class"])
    residue = growth_residue(
        position_of(world, replica_index, request), tokens + room, block_tokens
    )
    group = group_of(pool, request["class"])
    return int(replica["growth_first"] + group * block_tokens + residue)


@kernel
def begin_decode(world: World, replica_index: int, index: int, now_s: float) -> None:
    """Let a request whose prompt is in the KV cache decode from the next step on."""
    replica = world.replicas[replica_index]
    request = world.requests[index]
    left = request["output_tokens"] - request["emitted_tokens"]
    request["decode_start_tokens"] = position_of(world, replica_index, request)
    request["plan_step"] = replica["step"]
    request["plan_tokens"] = 0
    push_slot(
        world.slots,
        replica["slots_first"],
        replica["decoding"],
        replica["step"] + steps_to_end(world, replica, request, left),
        request["key"],
        index,
    )
    plan_answer(world, replica_index, index)
    request["last_token_s"] = now_s
    world.kv_growth[growth_row(world, replica_index, request, request["prompt_tokens"])] += 1
    world.queues[queue_of(world, replica_index, request)]["decoding"] += 1
    replica["decoding"] += 1
    replica["context_tokens"] += request["prompt_tokens"]


@outlined
def correct_pace(world: World, replica_index: int, klass: int, tokens: int) -> None:
    """Count by how many tokens a sequence was ahead of the mean pace, at which it was counted."""
    row = pool_row(world, world.replicas[replica_index]["pool"], world.state[0]["now_s"])
    row["decode_tokens"] += tokens
    charge(world, replica_index, klass, OUTPUT_COST * tokens)


@kernel
def stop_decode(world: World, replica_index: int, position: int, served: bool) -> int:
    """Take the sequence at `position` of the finish heap out of the batch and return it."""
    replica = world.replicas[replica_index]
    first = replica["slots_first"]
    slot = world.slots[first + position]
    index = int(slot["request"])
    request = world.requests[index]
    advanced = position_of(world, replica_index, request) - request["decode_start_tokens"]
    tokens = request["prompt_tokens"] + advanced
    emitted = emitted_since(world, replica, request, slot["finish_step"])
    if emitted != advanced:
        correct_pace(world, replica_index, request["class"], emitted - advanced)
    world.kv_growth[growth_row(world, replica_index, request, tokens)] -= 1
    world.queues[queue_of(world, replica_index, request)]["decoding"] -= 1
    remove_slot(world.slots, first, replica["decoding"], position)
    replica["decoding"] -= 1
    replica["context_tokens"] -= tokens
    let_go(world, replica_index, request, tokens, context_of(request) if served else NONE)
    request["emitted_tokens"] += emitted
    drop_answer(world, replica_index, index)
    return index


@kernel
def end_decodes(world: World, replica_index: int, now_s: float) -> None:
    """End the decoding sequences that have emitted their last token, in order of arrival."""
    replica = world.replicas[replica_index]
    slots = world.slots
    first = replica["slots_first"]
    while replica["decoding"] > 0 and slots[first]["finish_step"] == replica["step"]:
        index = stop_decode(world, replica_index, 0, True)
        finish(world, replica_index, index, now_s)


@kernel
def complete_prompt(world: World, replica_index: int, index: int, now_s: float) -> None:
    """Let a request whose prompt has been prefilled emit a token, then decode, leave or end."""
    replica = world.replicas[replica_index]
    request = world.requests[index]
    if request["output_tokens"] > 1 and world.pools[replica["pool"]]["decode_pool"] != NONE:
        if world.pools[replica["pool"]]["scheduler"] == WEIGHTED:
            charge(world, replica_index, request["class"], OUTPUT_COST)
        keep(world, replica_index, index, now_s)
        return
    if math.isnan(request["first_token_s"]):
        request["first_token_s"] = now_s
    else:
        add_resumed_gap(world, replica, request, now_s)
    request["emitted_tokens"] += 1
    if world.pools[replica["pool"]]["scheduler"] == WEIGHTED:
        charge(world, replica_index, request["class"], OUTPUT_COST)
    note_answer(request, now_s)
    if request["emitted_tokens"] < request["output_tokens"]:
        begin_decode(world, replica_index, index, now_s)
        return
    let_go(world, replica_index, request, request["prompt_tokens"], context_of(request))
    finish(world, replica_index, index, now_s)


@kernel
def land(world: World, replica_index: int, now_s: float) -> None:
    """Let the requests whose KV has come from another pool decode."""
    if world.replicas[replica_index]["landed_head"] != NONE:
        land_each(world, replica_index, now_s)


@outlined
def land_each(world: World, replica_index: int, now_s: float) -> None:
    """Let them decode in the order in which their KV came.

    Their clients get the first token now, which the other pool has computed.
    """
    replica = world.replicas[replica_index]
    while replica["landed_head"] != NONE:
        request = world.requests[replica["landed_head"]]
        blocks = blocks_held(world, replica, request, request["prompt_tokens"])
        index = take_landed(world, replica_index, blocks, now_s)
        replica["kv_used_blocks"] += blocks
        request["first_token_s"] = now_s
        note_answer(request, now_s)
        begin_decode(world, replica_index, index, now_s)


@kernel
def end_chunks(world: World, replica_index: int, now_s: float) -> None:
    """Count the chunks of the step that ends as prefilled; complete prompts as admitted."""
    replica = world.replicas[replica_index]
    requests = world.requests
    token_s = replica["step_s"] / replica["run_tokens"]
    index = replica["prefill_head"]
    replica["prefill_head"] = NONE
    replica["prefill_tail"] = NONE
    replica["prefilling"] = 0
    replica["prefill_tokens"] = 0
    replica["prefill_work"] = 0
    while index != NONE:
        request = requests[index]
        following = request["next"]
        queue = world.queues[queue_of(world, replica_index, request)]
        queue["busy_s"] += token_s * request["chunk_tokens"]
        request["prefilled_tokens"] += request["chunk_tokens"]
        request["chunk_tokens"] = 0
        if request["prefilled_tokens"] == request["prompt_tokens"]:
            complete_prompt(world, replica_index, index, now_s)
        else:  # only the last one can be half done; it goes on before anybody is admitted
            replica["prefill_head"] = index
            replica["prefill_tail"] = index
            replica["prefilling"] = 1
        index = following


@outlined
def preempt(world: World, replica_index: int, position: int, now_s: float) -> None:
    """Send a running request back to the queue, to be computed again or swapped in.

    Args:
        world: the arrays.
        replica_index: its replica.
        position: in the finish heap; NONE for the half-prefilled request.
        now_s: the boundary.
    """
    replica = world.replicas[replica_index]
    if position == NONE:
        index = int(replica["prefill_head"])
        request = world.requests[index]
        let_go(world, replica_index, request, request["prompt_tokens"], NONE)
        replica["prefill_head"] = NONE
        replica["prefill_tail"] = NONE
        replica["prefilling"] = 0
    else:
        index = stop_decode(world, replica_index, position, False)
        request = world.requests[index]
        request["last_token_s"] = last_emission_s(replica, request, now_s)
        request["prompt_tokens"] = max(1, request["input_tokens"]) + request["emitted_tokens"]
        swap_out(world, replica, request, now_s)
    request["prefilled_tokens"] = 0
    request["preemptions"] += 1
    pool_row(world, replica["pool"], now_s)["preemptions"] += 1
    insert_in_queue(world, replica_index, index)


@outlined
def last_in_rank(world: World, replica_index: int, rival: int, scheduler: int) -> int:
    """Return the position in the finish heap of the decoding request that is preempted first.

    NONE if `rival`, a request that does not decode, is preempted before all of them.
    """
    replica = world.replicas[replica_index]
    slots = world.slots
    first = replica["slots_first"]
    worst = NONE
    worst_index = rival
    for position in range(replica["decoding"]):
        index = slots[first + position]["request"]
        if worst_index == NONE or comes_before(world, worst_index, index, scheduler):
            worst = position
            worst_index = index
    return worst


@kernel
def make_room(world: World, replica_index: int, now_s: float) -> int:
    """Preempt until the next step's new blocks fit, and return how many were preempted."""
    replica = world.replicas[replica_index]
    pool = world.pools[replica["pool"]]
    preempted = 0
    while replica["decoding"] * pool["step_blocks"] > free_blocks(pool, replica):
        if blocks_for_steps(world, replica_index, 0, 1) <= free_blocks(pool, replica):
            break
        half_done = replica["prefill_head"]
        worst = last_in_rank(world, replica_index, half_done, pool["scheduler"])
        preempt(world, replica_index, worst, now_s)
        preempted += 1
    return preempted


@kernel
def take_chunk(replica: np.void, request: np.void, budget: int) -> int:
    """Give a prompt its share of the step's token budget and return what is left of the budget."""
    chunk = min(request["prompt_tokens"] - request["prefilled_tokens"], budget)
    request["chunk_tokens"] = chunk
    replica["prefill_tokens"] += chunk
    replica["prefill_work"] += chunk * (2 * request["prefilled_tokens"] + chunk)
    return int(budget - chunk)


@kernel
def load_within(replica: np.void) -> int:
    """Return the requests that hold memory of a replica to run on it."""
    running = replica["decoding"] + replica["prefilling"]
    return int(running + replica["fetching"] + replica["landing"])


@kernel
def budget_beside(replica: np.void, pool: np.void) -> int:
    """Return the tokens that decoding sequences, and those about to be, leave for prefills."""
    decoding = replica["decoding"] + replica["landing"]
    return int(max(pool["token_budget"] - decoding * width_of(replica, pool), 0))


@kernel
def blocks_to_spare(world: World, replica_index: int) -> int:
    """Return the blocks that are free, less those that decoding sequences need for a step."""
    replica = world.replicas[replica_index]
    free = free_blocks(world.pools[replica["pool"]], replica)
    if replica["decoding"] > 0:
        free -= blocks_for_steps(world, replica_index, 0, 1)
    return int(free)


@outlined
def give_way(world: World, replica_index: int, index: int, free: int, now_s: float) -> bool:
    """Preempt the last batch sequence for an interactive request; tell whether there was one."""
    if not yields(world, replica_index):
        return False
    if world.classes[world.requests[index]["class"]]["batch"] == 1:
        return False
    replica = world.replicas[replica_index]
    scheduler = world.pools[replica["pool"]]["scheduler"]
    shrink(world, store_of(world, replica), free)
    preempt(world, replica_index, last_in_rank(world, replica_index, NONE, scheduler), now_s)
    return True


@kernel
def takes_turn(world: World, replica: np.void, request: np.void, blocks: int) -> bool:
    """Tell whether a request that fits is admitted: a batch request only into a trough.

    If nothing runs it is: else one that is larger than a trough would wait for ever.

    Args:
        world: the arrays.
        replica: that might admit it.
        request: that fits; if it is interactive, its prompt counts as admitted.
        blocks: in use or set aside with it.
    """
    if world.classes[request["class"]]["batch"] == 0:
        replica["backlog_tokens"] += request["pending_tokens"]
        return True
    pool = world.pools[replica["pool"]]
    running = load_within(replica)
    little = running < pool["batch_sequences"] and blocks <= pool["batch_blocks"]
    return bool(little or running == 0)


@kernel
def admit(world: World, replica_index: int, budget: int, now_s: float) -> None:
    """Admit what was fetched, then waiting requests while budget, sequences and blocks allow."""
    replica = world.replicas[replica_index]
    pool = world.pools[replica["pool"]]
    requests = world.requests
    free = blocks_to_spare(world, replica_index)
    while budget > 0:
        index = take_fetched(world, replica, now_s)
        if index == NONE:
            full = load_within(replica) >= pool["maximum_sequences"]
            if replica["waiting"] == 0 or (full and not yields(world, replica_index)):
                break
            index = first_waiting(world, replica_index, pool["scheduler"])
            request = requests[index]
            blocks, shared = claim_of(world, replica, request)
            if full or blocks > free:
                if not give_way(world, replica_index, index, free, now_s):
                    break
                free = blocks_to_spare(world, replica_index)
                continue
            if not takes_turn(world, replica, request, pool["kv_blocks"] - free + blocks):
                break
            take_from_queue(world, replica_index, NONE, index)
            if pool["scheduler"] == WEIGHTED:
                charge_admission(world, replica_index, request)
            if request["handover"] == OFFERED:
                free -= blocks
                receive(world, replica_index, index, blocks, now_s)
                if pool["prefill_first"] == 0:  # there, the budget always holds all that decode
                    budget -= width_of(replica, pool)
                continue
            fetching = start(world, replica_index, index, blocks, shared, free, now_s)
            free -= blocks
            if fetching:
                continue
        request = requests[index]
        request["next"] = NONE
        if replica["prefill_tail"] == NONE:
            replica["prefill_head"] = index
        else:
            requests[replica["prefill_tail"]]["next"] = index
        replica["prefill_tail"] = index
        replica["prefilling"] += 1
        budget = take_chunk(replica, request, budget)


@kernel
def start(
    world: World,
    replica_index: int,
    index: int,
    blocks: int,
    shared: int,
    free: int,
    now_s: float,
) -> bool:
    """Give a request its blocks; tell whether some of its prompt has to be fetched first.

    Arguments as for `hold`.
    """
    replica = world.replicas[replica_index]
    request = world.requests[index]
    found = hold(world, replica, request, blocks, shared, free)
    request["prefilled_tokens"] = found
    if found > 0:
        pool_row(world, replica["pool"], now_s)["cached_tokens"] += found
    fetching = fetch(world, replica_index, index, now_s)
    if math.isnan(request["started_s"]):
        request["started_s"] = now_s
    if request["emitted_tokens"] == 0:
        request["cached_tokens"] = request["prefilled_tokens"]
    return fetching


@kernel
def go_idle(world: World, replica: np.void, now_s: float) -> None:
    """Leave a replica without a run; a draining one stops, unless KV comes to it or goes."""
    replica["run_steps"] = 0
    # All that ran may have been preempted where those whose KV has come were not looked at.
    replica["run_end_s"] = math.inf if replica["landed_head"] == NONE else now_s
    replica["cut"] = 0
    busy = replica["fetching"] + replica["kept"] + replica["landing"]
    if replica["status"] == DRAINING and busy == 0:
        forget_prefixes(world, replica)
        replica["status"] = STOPPED
        replica["stopped_s"] = now_s


@kernel
def start_next(world: World, replica_index: int, now_s: float, preempted: int) -> None:
    """Start the next run: one step if it prefills, else until the batch can change.

    What waits is looked at again when a poll is due, so the run goes no further.
    """
    replica = world.replicas[replica_index]
    pool = world.pools[replica["pool"]]
    if replica["decoding"] + replica["prefilling"] == 0:
        go_idle(world, replica, now_s)
        return
    count = 1
    landed = replica["landed_head"] != NONE
    pending = landed or replica["waiting"] + replica["fetching"] > 0
    # A boundary that preempts admits nobody, so the next one may; and where it has left fewer
    # sequences, the next step may draft. Both must be looked at.
    alike = has_mode(replica, pool) and (preempted == 0 or not pending)
    if replica["prefilling"] == 0 and alike:
        first = world.slots[replica["slots_first"]]
        count = first["finish_step"] - replica["step"]
        count = steps_within(world, replica_index, free_blocks(pool, replica), count)
        if pending and pool["poll_steps"] > 1:
            count = min(count, pool["poll_steps"] - replica["unpolled_steps"])
        if replica["waiting"] > 0 and pool["scheduler"] == WEIGHTED:
            leader = first_waiting(world, replica_index, WEIGHTED)
            count = steps_in_order(world, replica_index, leader, count)
    replica["run_growth_tokens"] = growth_of(world, replica_index)
    start_run(replica, pool, world.steps, now_s, count)


@kernel
def poll(replica: np.void, pool: np.void) -> bool:
    """Tell whether the queue is looked at at the boundary that ends the run under way.

    Always, except while sequences do nothing but decode: then every `poll_steps` steps.
    """
    steps = replica["unpolled_steps"] + replica["run_steps"]
    replica["unpolled_steps"] = steps % pool["poll_steps"]
    due = replica["unpolled_steps"] == 0
    return bool(due or replica["prefilling"] > 0 or replica["advancing"] == 0)


@kernel
def boundary(world: World, replica_index: int, now_s: float) -> None:
    """Do everything that a replica does between two steps."""
    replica = world.replicas[replica_index]
    pool = world.pools[replica["pool"]]
    polled = poll(replica, pool)
    waiting = int(replica["waiting"])
    if replica["run_steps"] > 0:
        # Whoever ends first may end now: its record comes while the books are kept.
        prefetch(world.requests, world.slots[replica["slots_first"]]["request"])
        take_steps(world, replica_index, replica["run_steps"])
        close_run(world, replica_index)
        if replica["advancing"] > 0:
            end_decodes(world, replica_index, now_s)
        if replica["prefilling"] > 0:
            end_chunks(world, replica_index, now_s)
    if polled or replica["decoding"] == 0:
        polled = True
        replica["unpolled_steps"] = 0
        land(world, replica_index, now_s)
    if not has_mode(replica, pool):
        change_mode(world, replica_index)
    preempted = 0
    budget = int(pool["token_budget"])
    if pool["prefill_first"] == 0:
        preempted = make_room(world, replica_index, now_s)
        budget = budget_beside(replica, pool)
    if replica["prefilling"] > 0:
        budget = take_chunk(replica, world.requests[replica["prefill_head"]], budget)
    if replica["waiting"] + replica["fetching"] > 0 and preempted == 0 and polled:
        admit(world, replica_index, budget, now_s)
    if pool["prefill_first"] == 1 and replica["prefilling"] == 0:
        preempted = make_room(world, replica_index, now_s)
    if preempted > 0 and load_within(replica) - replica["fetching"] == 0:
        # Fetches hold the blocks, or the last one to run drew more steps than it has room for.
        admit(world, replica_index, pool["token_budget"], now_s)
    if replica["waiting"] != waiting:
        add_waiting(world, replica["pool"], now_s, int(replica["waiting"]) - waiting)
    if replica["waiting"] == 0:
        replica["timeout_s"] = math.inf
    start_next(world, replica_index, now_s, preempted)


@kernel
def settle(world: World, replica_index: int, now_s: float) -> None:
    """Let the steps that have ended by `now_s` have happened, without deciding anything.

    So a control process sees the replica as it is at its own instant. The run itself stays as it
    was planned: looking changes nothing.
    """
    replica = world.replicas[replica_index]
    if replica["run_steps"] <= 1 or replica["run_end_s"] <= now_s:
        return
    ended = first_boundary(replica, now_s, True) - 1
    if ended > replica["settled_steps"]:
        take_steps(world, replica_index, ended)
