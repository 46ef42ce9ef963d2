"""What is counted: time of runs, integrals over time, tokens and fates, by reporting window."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from planner.kernel.dtypes import NONE
from planner.kernel.enums import Fate, Leg, Metric
from planner.kernel.histogram import add_progression, add_value, bin_of
from planner.kernel.jit import kernel, outlined
from planner.kernel.speculate import tokens_between, width_of
from planner.kernel.steptime import boundary_s, first_boundary
from planner.kernel.world import World

SERVED = int(Fate.SERVED)
UNFINISHED = int(Fate.UNFINISHED)
LIGHT = int(Leg.LIGHT)
ESCALATED = int(Leg.ESCALATED)
TTFT = int(Metric.TTFT)
TPOT = int(Metric.TPOT)
ITL = int(Metric.ITL)
E2E = int(Metric.E2E)
QUEUE_TIME = int(Metric.QUEUE)
TTFAT = int(Metric.TTFAT)
TASK_LATENCY = int(Metric.TASK_LATENCY)


@kernel
def window_end_s(state: np.void, window: int) -> float:
    """Return the end of a window [s]; the last one never ends."""
    if window >= state["windows"] - 1:
        return math.inf
    return float((window + 1) * state["window_s"])


@outlined
def find_window(state: np.void, time_s: float) -> int:
    """Compute the window that holds `time_s`; if it is the latest so far, remember it."""
    window = int(min(int(time_s / state["window_s"]), state["windows"] - 1))
    if window >= state["latest_window"]:
        state["latest_window"] = window
        state["latest_from_s"] = window * state["window_s"]
        state["latest_upto_s"] = window_end_s(state, window)
    return window


@kernel
def window_of(state: np.void, time_s: float) -> int:
    """Return the reporting window that holds `time_s`; the last one takes everything after it."""
    if state["latest_from_s"] <= time_s < state["latest_upto_s"]:
        return int(state["latest_window"])
    return find_window(state, time_s)


@kernel
def pool_row(world: World, pool_index: int, now_s: float) -> np.void:
    """Return the row of `pool_windows` of a pool at `now_s`."""
    window = window_of(world.state[0], now_s)
    row: np.void = world.pool_windows[window * len(world.pools) + pool_index]
    return row


@kernel
def add_waiting(world: World, pool_index: int, now_s: float, change: int) -> None:
    """Bring the integrals of a pool's waiting requests up to `now_s`, then change their number.

    Those of batch classes, which wait for troughs, have an integral of their own.
    """
    state = world.state[0]
    pools = world.pools
    pool_windows = world.pool_windows
    pool = pools[pool_index]
    since_s = pool["waiting_since_s"]
    waiting = pool["waiting"]
    batch = pool["batch_waiting"]
    if waiting > 0:
        window = window_of(state, since_s)
        while since_s < now_s:
            until_s = min(now_s, window_end_s(state, window))
            row = pool_windows[window * len(pools) + pool_index]
            row["waiting_s"] += (waiting - batch) * (until_s - since_s)
            row["batch_waiting_s"] += batch * (until_s - since_s)
            since_s = until_s
            window += 1
    pool["waiting_since_s"] = now_s
    pool["waiting"] = waiting + change


@kernel
def add_share(
    row: np.void, replica: np.void, share: float, costs_s: tuple[float, float, float], blocks: float
) -> None:
    """Add the part of a run that falls into one window.

    Args:
        row: of `pool_windows`.
        replica: with the run's batch.
        share: part of the run's time, 0 to 1.
        costs_s: busy, arithmetic and memory-traffic seconds of the whole run.
        blocks: KV blocks in use, mean over the run.
    """
    busy_s, compute_s, memory_s = costs_s
    row["busy_s"] += share * busy_s
    row["compute_s"] += share * compute_s
    row["memory_s"] += share * memory_s
    row["running_s"] += share * busy_s * (replica["decoding"] + replica["prefilling"])
    row["kv_block_s"] += share * busy_s * blocks


@kernel
def add_run(world: World, replica_index: int, first: int, last: int, grown_blocks: int) -> None:
    """Account for the steps `first` to `last` − 1 of the run, spread over the windows they touch.

    Time is split at the edge of a window; a step is counted where it begins.
    """
    state = world.state[0]
    replica = world.replicas[replica_index]
    pools = len(world.pools)
    pool_index = replica["pool"]
    pool = world.pools[pool_index]
    cost = world.steps[pool["step_table"] + replica["run_tokens"]]
    compute_s, memory_s = cost["compute_s"], cost["memory_s"]
    decoding = replica["advancing"]
    context_reads = 0.0
    count = last - first
    if decoding > 0:
        # Context tokens read: an arithmetic progression like the step times.
        context = replica["context_tokens"] + decoding * width_of(replica, pool)
        growth = replica["run_growth_tokens"]
        context_reads = count * context + growth * (0.5 * (count * (count - 1.0)))
        if replica["drafting"] == 1:
            draft = world.steps[pool["draft_table"] + decoding]
            compute_s += draft["compute_s"]
            memory_s += draft["memory_s"]
    at_s = boundary_s(replica, first)
    end_s = boundary_s(replica, last)
    busy_s = end_s - at_s
    costs_s = (
        busy_s,
        count * compute_s + pool["prefill_compute_s"] * (0.5 * replica["prefill_work"]),
        count * memory_s + pool["decode_memory_s"] * context_reads,
    )
    # A step's new blocks are taken at its start; over a run they come in about evenly.
    blocks = replica["kv_used_blocks"] + grown_blocks * (count + 1) / (2.0 * count)
    window = window_of(state, at_s)
    row = world.pool_windows[window * pools + pool_index]
    row["prefill_tokens"] += replica["prefill_tokens"]
    edge_s = window_end_s(state, window)
    while end_s > edge_s:
        begun = min(max(first_boundary(replica, edge_s, False), first), last)
        add_share(row, replica, (edge_s - at_s) / busy_s, costs_s, blocks)
        row["steps"] += begun - first
        row["decode_tokens"] += tokens_between(world, replica_index, first, begun)
        at_s = edge_s
        first = begun
        window += 1
        row = world.pool_windows[window * pools + pool_index]
        edge_s = window_end_s(state, window)
    add_share(row, replica, (end_s - at_s) / busy_s if busy_s > 0.0 else 1.0, costs_s, blocks)
    row["steps"] += last - first
    row["decode_tokens"] += tokens_between(world, replica_index, first, last)


@kernel
def last_emission_s(replica: np.void, request: np.void, now_s: float) -> float:
    """Return when a decoding sequence emitted its last token: now, or before it stood still."""
    if math.isnan(replica["paused_s"]):
        return now_s
    return float(max(replica["paused_s"], request["last_token_s"]))


@outlined
def add_pause(world: World, replica: np.void) -> None:
    """Count each sequence's first gap after the decodes stood still for prefills."""
    until_s = boundary_s(replica, 1)
    slots = world.slots
    for position in range(replica["slots_first"], replica["slots_first"] + replica["decoding"]):
        request = world.requests[slots[position]["request"]]
        gap_s = until_s - last_emission_s(replica, request, until_s)
        add_gaps(world, replica, request["class"], (gap_s, 0.0), 1, 1)


@kernel
def add_gaps(
    world: World, replica: np.void, klass: int, gaps_s: tuple[float, float], count: int, times: int
) -> None:
    """Count the gaps that steps make, shared alike by the tokens that a sequence emits in each.

    With drafts the tokens of a step are those of its distribution, not of single draws.

    Args:
        world: the arrays.
        replica: with its run.
        klass: of the sequences.
        gaps_s: the first gap and by how much each further one is longer.
        count: steps.
        times: sequences.
    """
    histogram = world.histograms[klass, ITL]
    if replica["drafting"] == 0:
        add_progression(histogram, gaps_s[0], gaps_s[1], count, times)
        return
    first = world.drafts[replica["pool"] * len(world.classes) + klass]["first"]
    below = 0.0
    for tokens in range(1, world.pools[replica["pool"]]["draft_depth"] + 2):
        upto = world.acceptance[first + tokens - 1]
        if upto > below:
            weight = times * tokens * (upto - below)
            add_progression(histogram, gaps_s[0] / tokens, gaps_s[1] / tokens, count, weight)
        below = upto


@kernel
def add_decoding(world: World, replica_index: int, first: int, last: int) -> None:
    """Count the token gaps and the time share of the decoding sequences in steps of the run.

    A step's time is shared by its tokens alike, so that the shares of all classes add up to the
    busy time. Gaps of steps that begin before the end of the warm-up are not measured.

    Args:
        world: the arrays.
        replica_index: the replica.
        first: first step of the run under way to count.
        last: one past the last.
    """
    warmup_s = world.state[0]["warmup_s"]
    queues = world.queues
    replica = world.replicas[replica_index]
    elapsed_s = boundary_s(replica, last) - boundary_s(replica, first)
    width = width_of(replica, world.pools[replica["pool"]])
    sequence_s = elapsed_s * width / replica["run_tokens"]
    measured = first
    if first == 0 and not math.isnan(replica["paused_s"]):
        measured = 1
        if replica["run_start_s"] >= warmup_s:
            add_pause(world, replica)
        replica["paused_s"] = math.nan
    if boundary_s(replica, measured) < warmup_s:
        measured = max(min(first_boundary(replica, warmup_s, False), last), measured)
    gap_s = replica["step_s"] + replica["step_growth_s"] * measured
    growth_s = replica["step_growth_s"]
    classes = len(world.classes)
    for klass in range(classes):
        queue = queues[replica_index * classes + klass]
        decoding = queue["decoding"]
        if decoding > 0:
            queue["busy_s"] += sequence_s * decoding
            if measured < last:
                add_gaps(world, replica, klass, (gap_s, growth_s), last - measured, decoding)


@outlined
def add_resumed_gap(world: World, replica: np.void, request: np.void, now_s: float) -> None:
    """Count the gap that a preemption tore between two tokens."""
    if replica["run_start_s"] >= world.state[0]["warmup_s"]:
        add_value(world.histograms[request["class"], ITL], now_s - request["last_token_s"])


@kernel
def delay_s(world: World, request: np.void, now_s: float, token: int) -> float:
    """Return how much later than computed a token of a request served at `now_s` was sent [s].

    That is `late_tokens` of its own mean gap, and no more than there are tokens after it.
    """
    late = world.drafts[request["pool"] * len(world.classes) + request["class"]]["late_tokens"]
    late = min(late, float(request["output_tokens"] - token))
    if late <= 0.0:
        return 0.0
    gap_s = (now_s - request["first_token_s"]) / (request["output_tokens"] - 1)
    return float(late * gap_s)


@kernel
def answered_s(request: np.void, now_s: float) -> float:
    """Return when the first answer token was computed [s]: without reasoning, the first token.

    NaN if it was not; the end of a served request at the latest.
    """
    if request["reasoning_tokens"] == 0:
        return float(request["first_token_s"])
    if request["fate"] == SERVED and math.isnan(request["answer_s"]):
        return now_s
    return float(request["answer_s"])


@kernel
def answer_sent_s(world: World, request: np.void, now_s: float, first_s: float) -> float:
    """Return when the first answer token of a request served at `now_s` was sent [s].

    Args:
        world: the arrays.
        request: that was served.
        now_s: its end.
        first_s: when its first token was sent.
    """
    if request["reasoning_tokens"] == 0:
        return first_s
    sent_s = answered_s(request, now_s)
    sent_s += delay_s(world, request, now_s, request["reasoning_tokens"] + 1)
    # Its own mean gap may be longer or shorter than those around the token.
    return max(first_s, min(sent_s, now_s))


@kernel
def add_latencies(
    latencies: NDArray[np.float64],
    request: np.void,
    now_s: float,
    first_s: float,
    answer_s: float,
) -> None:
    """Count the latencies of a request served at `now_s`, as its client sees them.

    Args:
        latencies: histograms of its class.
        request: that was served.
        now_s: when its client sees the last token.
        first_s: when its client sees the first one.
        answer_s: when its client sees the first one of the answer.
    """
    place = bin_of(first_s - request["arrival_s"])
    latencies[TTFT, place] += 1
    if answer_s > first_s:
        place = bin_of(answer_s - request["arrival_s"])
    latencies[TTFAT, place] += 1
    add_value(latencies[E2E], now_s - request["arrival_s"])
    add_value(latencies[QUEUE_TIME], request["started_s"] - request["arrival_s"])
    if request["output_tokens"] >= 2:
        add_value(latencies[TPOT], (now_s - first_s) / (request["output_tokens"] - 1))


@kernel
def is_good(
    limits: np.void, request: np.void, now_s: float, first_s: float, answer_s: float
) -> bool:
    """Tell whether a served request kept every objective of its class; times as its client's."""
    tpot_s = (now_s - first_s) / max(request["output_tokens"] - 1, 1)
    return bool(
        first_s - request["arrival_s"] <= limits["ttft_limit_s"]
        and answer_s - request["arrival_s"] <= limits["ttfat_limit_s"]
        and tpot_s <= limits["tpot_limit_s"]
        and now_s - request["arrival_s"] <= limits["e2e_limit_s"]
    )


@kernel
def add_end(world: World, request: np.void, now_s: float) -> None:
    """Count the end of a request: its fate; if served, its tokens, latencies and objectives."""
    state = world.state[0]
    klass = request["class"]
    fate = request["fate"]
    classes = len(world.classes)
    ended = world.class_windows[window_of(state, now_s) * classes + klass]
    arrived = world.class_windows[window_of(state, request["arrival_s"]) * classes + klass]
    measured = request["arrival_s"] >= state["warmup_s"]
    ended["ended"][fate] += 1
    ended["preemptions"] += request["preemptions"]
    if measured:
        arrived["measured_ended"][fate] += 1
    if fate != SERVED:
        return
    if request["leg"] == LIGHT:
        ended["light"] += 1
    elif request["leg"] == ESCALATED:
        ended["escalated"] += 1
    ended["input_tokens"] += request["input_tokens"]
    ended["output_tokens"] += request["output_tokens"]
    ended["reasoning_tokens"] += request["reasoning_tokens"]
    ended["cached_tokens"] += request["cached_tokens"]
    back_s = world.pools[request["pool"]]["request_s"]
    first_s = request["first_token_s"] + delay_s(world, request, now_s, 1)
    answer_s = answer_sent_s(world, request, now_s, first_s) + back_s
    first_s += back_s
    good = is_good(world.classes[klass], request, now_s + back_s, first_s, answer_s)
    if good:
        ended["good"] += 1
    if measured:
        add_latencies(world.histograms[klass], request, now_s + back_s, first_s, answer_s)
        if good:
            arrived["measured_good"] += 1


@kernel
def tokens_so_far(request: np.void) -> int:
    """Return the prompt and output tokens of a session up to and with a turn."""
    return int(request["task_tokens"] + request["input_tokens"] + request["output_tokens"])


@outlined
def add_turn(world: World, request: np.void, now_s: float) -> None:
    """Count what the end of a turn is to its session: one more turn, or the end of the task."""
    state = world.state[0]
    klass = request["class"]
    classes = len(world.classes)
    fate = request["fate"]
    begun = world.class_windows[window_of(state, request["task_start_s"]) * classes + klass]
    measured = request["task_start_s"] >= state["warmup_s"]
    if measured and request["call"] == 0:
        begun["measured_tasks"] += 1
    if fate == UNFINISHED or (fate == SERVED and request["next_turn"] != NONE):
        return
    if fate != SERVED:
        if measured:
            begun["measured_tasks_abandoned"] += 1
        return
    world.class_windows[window_of(state, now_s) * classes + klass]["tasks_finished"] += 1
    if measured:
        begun["measured_tasks_finished"] += 1
        begun["task_calls"] += request["call"] + 1
        begun["task_tokens"] += tokens_so_far(request)
        seen_s = now_s + world.pools[request["pool"]]["request_s"]
        add_value(world.histograms[klass, TASK_LATENCY], seen_s - request["task_start_s"])


@outlined
def keep_finished(world: World, request: np.void, now_s: float) -> None:
    """Write the row of an ended request; the caller has made sure that there is room."""
    state = world.state[0]
    row = world.finished[state["finished_count"]]
    state["finished_count"] += 1
    row["row"] = request["row"]
    row["arrival_s"] = request["arrival_s"]
    row["started_s"] = request["started_s"]
    row["first_token_s"] = request["first_token_s"]
    row["first_answer_token_s"] = answered_s(request, now_s)
    row["finish_s"] = now_s
    row["session"] = request["session"]
    row["visitor"] = request["visitor"]
    row["input_tokens"] = request["input_tokens"]
    row["output_tokens"] = request["output_tokens"]
    row["reasoning_tokens"] = request["reasoning_tokens"]
    row["cached_tokens"] = request["cached_tokens"]
    row["class"] = request["class"]
    row["pool"] = request["pool"]
    row["replica"] = request["replica"]
    row["turn"] = request["turn"]
    row["preemptions"] = request["preemptions"]
    row["fate"] = request["fate"]
    row["prefill_replica"] = request["prefill_replica"]
    row["leg"] = request["leg"]
