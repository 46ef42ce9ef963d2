"""What must hold after every simulation, numbered, whatever the scenario.

Each invariant is a function that yields one line per violation. `check_invariants` applies them all
to the arrays of a simulation between two advances or after its end; with the per-request rows it
checks those, too. The numbers are stable: a new invariant takes the next one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

import numpy as np
from numpy.typing import NDArray

from planner.kernel.dtypes import NONE, Fate, Handover, Leg, Metric, ReplicaStatus, World

Records = NDArray[np.void]

ROUNDING: Final = 1e-6
"""Relative error that sums over a hundred million floats may have."""

NEVER_ROUTED: Final = (Fate.RATE_LIMITED, Fate.REFUSED, Fate.TOO_LONG)
NEVER_STARTED: Final = (*NEVER_ROUTED, Fate.TIMED_OUT)


def check_invariants(world: World, finished: Records | None = None) -> list[str]:
    """Return every violation of an invariant, one line each; an empty list if all hold.

    Args:
        world: the arrays of a simulation whose books are settled (as at its end).
        finished: the `FINISHED` rows of all requests that have ended, in order of their ends, if
            they were kept.
    """
    found = [
        f"{_name(invariant)}: {violation}"
        for invariant in INVARIANTS
        for violation in invariant(world)
    ]
    if finished is not None:
        found += [
            f"{_name(row_invariant)}: {violation}"
            for row_invariant in ROW_INVARIANTS
            for violation in row_invariant(world, finished)
        ]
    return found


def _name(invariant: Callable[..., Iterator[str]]) -> str:
    """Return number and title from the first line of the docstring."""
    return (invariant.__doc__ or "").partition(".")[0]


# --- Requests -----------------------------------------------------------------------------------


def requests_conserved(world: World) -> Iterator[str]:
    """INV-1 requests conserved.

    Per class, the requests that arrived are those that ended, by fate, and those in flight; each
    arrival got one key. Catches a request that is lost, ended twice, or given two fates.
    """
    arrived = _by_class(world, "arrived")
    ended = _by_class(world, "ended").sum(axis=1)
    flying = _in_flight(world)
    in_flight = np.bincount(flying["class"], minlength=len(world.classes))
    for index in np.flatnonzero(arrived != ended + in_flight):
        yield (
            f"class {index}: {arrived[index]} arrived, but {ended[index]} ended and "
            f"{in_flight[index]} are in flight"
        )
    keys = int(world.state["next_key"][0])
    if keys != arrived.sum():
        yield f"{keys} arrival keys were given to {arrived.sum()} arrivals"
    counted = int(world.state["in_flight"][0])
    if counted != len(flying):
        yield f"{counted} requests are counted as in flight, {len(flying)} slots are in use"


def measured_conserved(world: World) -> Iterator[str]:
    """INV-2 measured requests conserved.

    Per class and window of arrival, the measured requests are those that ended and those in flight,
    and no count exceeds the one that it is part of. Catches a request booked into the window of its
    end, or measured at its end but not at its arrival.
    """
    windows = _class_windows(world)
    fates = windows["measured_ended"].sum(axis=2)
    missing = windows["measured"] - fates
    if (missing < 0).any() or missing.sum() > world.state["in_flight"][0]:
        yield (
            f"{windows['measured'].sum()} requests are measured, {fates.sum()} of them ended, "
            f"{world.state['in_flight'][0]} are in flight; per window and class they must match"
        )
    for part, whole, counts in (
        ("measured", "arrived", windows["arrived"]),
        ("measured_good", "measured and served", windows["measured_ended"][..., Fate.SERVED]),
        ("good", "served", windows["ended"][..., Fate.SERVED]),
    ):
        for window, index in np.argwhere(windows[part] > counts):
            yield (
                f"class {index}, window {window}: {windows[part][window, index]} {part}, "
                f"but {counts[window, index]} {whole}"
            )


def routing_conserved(world: World) -> Iterator[str]:
    """INV-3 routing conserved.

    What arrived was routed to a pool or turned away; a pool's overflow, and what other pools handed
    over or escalated to it, are part of what it got. Catches an overflow that leaves a request in
    two queues, or a refusal that is not counted.
    """
    arrived = _by_class(world, "arrived").sum()
    turned_away = _by_class(world, "ended")[:, list(NEVER_ROUTED)].sum()
    pools = _pool_windows(world)
    routed = pools["routed"] - pools["received"]
    first = routed.sum() - pools["escalated"].sum()
    if first != arrived - turned_away:
        yield (
            f"{arrived} requests arrived and {turned_away} were turned away, but {first} were "
            "routed"
        )
    for window, index in np.argwhere(pools["overflowed"] > routed):
        yield (
            f"pool {index}, window {window}: {pools['overflowed'][window, index]} overflowed into "
            f"it, but only {routed[window, index]} were routed to it"
        )


# --- Tokens -------------------------------------------------------------------------------------


def tokens_conserved(world: World) -> Iterator[str]:
    """INV-4 tokens conserved.

    Replicas have computed at least the tokens of what they served: every prompt was prefilled, and
    every output token but the first was decoded, save one per recomputed prompt. Reasoning tokens
    are output tokens. Catches a run that is cut without its steps being counted.
    """
    windows, pools = _class_windows(world), _pool_windows(world)
    served = int(windows["ended"][..., Fate.SERVED].sum())
    prefilled, prompts = int(pools["prefill_tokens"].sum()), int(windows["input_tokens"].sum())
    if prefilled < prompts:
        yield f"{prompts} prompt tokens were served, but {prefilled} prefilled"
    decoded, outputs = int(pools["decode_tokens"].sum()), int(windows["output_tokens"].sum())
    preempted = int(pools["preemptions"].sum())
    if decoded < outputs - served - preempted:
        yield (
            f"{outputs} output tokens of {served} requests with {preempted} preemptions were "
            f"served, but {decoded} decoded"
        )
    if (windows["reasoning_tokens"] > windows["output_tokens"]).any():
        yield "a class has more reasoning tokens than output tokens in a window"


def token_gaps_counted(world: World) -> Iterator[str]:
    """INV-5 token gaps counted.

    Every decoded token has one gap before it, and so has the token that ends a recomputed prompt.
    Without a warm-up all of them are in the histograms. Drafts are counted by their distribution,
    so not there. Catches gaps that are weighted wrongly, or counted again when a run is settled in
    parts.
    """
    if world.pools["draft_tokens"].any():
        return
    gaps = int(world.histograms[:, Metric.ITL].sum())
    decoded = int(world.pool_windows["decode_tokens"].sum())
    preempted = int(world.pool_windows["preemptions"].sum())
    least = decoded if world.state["warmup_s"][0] <= 0.0 else 0
    if not least <= gaps <= decoded + preempted:
        yield f"{gaps} gaps for {decoded} decoded tokens and {preempted} preemptions"


def histograms_complete(world: World) -> Iterator[str]:
    """INV-6 histograms complete.

    Every measured request that was served is in the histograms of TTFT, E2E and queue time, and in
    that of TPOT at most once. Catches percentiles over another set of requests than the fates say.
    """
    served = _by_class(world, "measured_ended")[:, Fate.SERVED]
    counts = world.histograms.sum(axis=2)
    if (world.histograms < 0).any():
        yield "a bin of a histogram is negative"
    for metric in (Metric.TTFT, Metric.E2E, Metric.QUEUE):
        for index in np.flatnonzero(counts[:, metric] != served):
            yield (
                f"class {index}: {counts[index, metric]} values of {metric.name}, but "
                f"{served[index]} measured requests were served"
            )
    for index in np.flatnonzero(counts[:, Metric.TPOT] > served):
        yield (
            f"class {index}: {counts[index, Metric.TPOT]} values of TPOT for {served[index]} "
            "requests"
        )


# --- Replicas -----------------------------------------------------------------------------------


def kv_blocks_conserved(world: World) -> Iterator[str]:
    """INV-7 KV blocks conserved.

    A replica's blocks and context are those of the sequences that decode on it, plus the blocks of
    a half-done prompt; it never has more than its memory holds, and none when nothing runs. Every
    sequence takes its next block at one step of the cycle. Catches a block that is freed twice or
    never, which would slowly change how many sequences fit.
    """
    classes = len(world.classes)
    for number, replica in enumerate(world.replicas):
        pool = world.pools[replica["pool"]]
        block_tokens = int(pool["kv_block_tokens"])
        first = int(replica["slots_first"])
        slots = world.slots[first : first + replica["decoding"]]
        batch = world.requests[slots["request"]]
        groups = batch["class"] if pool["draft_tokens"] else np.zeros(len(batch), np.int64)
        position = _positions(world, number)[groups]
        tokens = batch["prompt_tokens"] + position - batch["decode_start_tokens"]
        held = tokens + world.drafts["room"][replica["pool"] * classes + batch["class"]]
        blocks = int((-(-held // block_tokens)).sum())
        used = int(replica["kv_used_blocks"])
        fits = blocks <= used <= pool["kv_blocks"] - replica["parked_blocks"]
        if not fits or (replica["prefilling"] == 0 and used != blocks):
            yield (
                f"replica {number}: {used} of {pool['kv_blocks']} blocks in use, {blocks} by the "
                f"{replica['decoding']} decoding sequences"
            )
        if replica["context_tokens"] != tokens.sum():
            yield (
                f"replica {number}: a context of {replica['context_tokens']} tokens, but its "
                f"sequences have {tokens.sum()}"
            )
        row, rows = int(replica["growth_first"]), int(pool["groups"]) * block_tokens
        growth = world.kv_growth[row : row + rows]
        residues = groups * block_tokens + (position - held) % block_tokens
        expected = np.bincount(residues, minlength=rows)
        if not np.array_equal(growth, expected):
            yield f"replica {number}: blocks grow at {growth.tolist()}, not {expected.tolist()}"


def _positions(world: World, number: int) -> NDArray[np.int64]:
    """Return where each group of a replica stands: by the steps that are in the books."""
    replica, classes = world.replicas[number], len(world.classes)
    if not world.pools["draft_tokens"][replica["pool"]]:
        return np.full(classes, replica["step"], np.int64)
    starts = world.queues["position_tokens"][number * classes : (number + 1) * classes]
    first = replica["pool"] * classes
    paces = world.drafts["pace"][first : first + classes] if replica["drafting"] else 1.0
    positions: NDArray[np.int64] = np.floor(starts + paces * replica["settled_steps"]).astype("i8")
    return positions


def batches_counted(world: World) -> Iterator[str]:
    """INV-8 batches and queues counted.

    The requests in flight, and those that the end of the simulation cut off, are those that wait or
    run on a replica; per class and per pool the counts agree, and an empty queue has no first and
    no last request. Catches a request that is in a queue and a batch at once.
    """
    replicas, queues = world.replicas, world.queues.reshape(-1, len(world.classes))
    held = int(_load(replicas).sum())
    unfinished = int(_by_class(world, "ended")[:, Fate.UNFINISHED].sum())
    expected = int(world.state["in_flight"][0]) + unfinished
    if held != expected:
        yield f"replicas hold {held} requests, but {expected} have not ended of their own accord"
    for number in np.flatnonzero(queues["decoding"].sum(axis=1) != replicas["decoding"]):
        yield (
            f"replica {number}: {replicas['decoding'][number]} sequences decode, by class "
            f"{queues['decoding'][number].tolist()}"
        )
    waiting = np.bincount(replicas["pool"], weights=replicas["waiting"], minlength=len(world.pools))
    for index in np.flatnonzero(waiting != world.pools["waiting"]):
        yield (
            f"pool {index}: {world.pools['waiting'][index]} requests wait, but "
            f"{waiting[index]:.0f} on its replicas"
        )
    linked = ((queues["head"] != NONE) | (queues["tail"] != NONE)).any(axis=1)
    for number in np.flatnonzero(linked != (replicas["waiting"] > 0)):
        yield f"replica {number}: {replicas['waiting'][number]} wait, which its queues deny"


def stopped_replicas_are_empty(world: World) -> Iterator[str]:
    """INV-9 stopped replicas are empty.

    A replica that has stopped, is starting or was lost has no requests and no step under way; one
    in service has a step under way or nothing to do. Catches a drain that cuts requests off, and a
    request that waits on an idle replica for ever.
    """
    replicas = world.replicas
    load = _load(replicas)
    away = ~np.isin(replicas["status"], [int(ReplicaStatus.ACTIVE), int(ReplicaStatus.DRAINING)])
    for number in np.flatnonzero(away & ((load > 0) | (replicas["run_steps"] > 0))):
        status = ReplicaStatus(int(replicas["status"][number])).name.lower()
        yield f"replica {number} is {status}, but holds {load[number]} requests"
    # Whoever waits for memory that is kept for another pool, or reserved, is woken when it is free.
    forgotten = (load > 0) & np.isinf(replicas["run_end_s"]) & (replicas["parked_blocks"] == 0)
    for number in np.flatnonzero(forgotten):
        yield f"replica {number} holds {load[number]} requests, but no step of it is due"


def calendar_agrees(world: World) -> Iterator[str]:
    """INV-10 calendar agrees.

    The calendar has every replica's next event, none of them lies in the past, and its root is the
    earliest. Catches a replica that sleeps through its own event.
    """
    calendar, replicas = world.calendar, world.replicas
    times = calendar["event_s"][: len(replicas)]
    times_of = [replicas[name] for name in ("run_end_s", "timeout_s", "link_end_s")]
    due = np.minimum.reduce(times_of)
    for number in np.flatnonzero(times != due):
        yield f"replica {number}: event at {times[number]} s, scheduled for {due[number]} s"
    if len(times) and times[calendar["winner"][1]] != times.min():
        yield f"the next event is at {times.min()} s, not at {times[calendar['winner'][1]]} s"
    if (times < world.state["now_s"][0]).any():
        yield f"an event at {times.min()} s has not happened at {world.state['now_s'][0]} s"


def handovers_conserved(world: World) -> Iterator[str]:
    """INV-17 handovers conserved.

    What replicas keep for other pools and reserve for what comes is what the requests between two
    pools hold, and pools have the sums of their replicas. Catches memory that is freed on one side
    only, and a request that stays between pools for ever.
    """
    replicas, count = world.replicas, len(world.replicas)
    between = world.requests[world.requests["handover"] != Handover.NONE]
    comes = between[between["handover"] != Handover.OFFERED]
    kept = between[between["handover"] != Handover.LANDED]
    room = world.drafts["room"][comes["pool"] * len(world.classes) + comes["class"]]
    block_tokens = world.pools["kv_block_tokens"][comes["pool"]]
    reserved = -(-(comes["prompt_tokens"] + room) // block_tokens)
    parked = np.zeros(count, np.int64)
    np.add.at(parked, comes["replica"], reserved)
    np.add.at(parked, kept["prefill_replica"], kept["kept_blocks"])
    landing = np.bincount(comes["replica"], minlength=count)
    for name, held in (("parked_blocks", parked), ("landing", landing)):
        found = replicas[name]
        for number in np.flatnonzero(found != held):
            yield f"replica {number}: {name} is {found[number]}, requests hold {held[number]}"
        total = np.bincount(replicas["pool"], weights=found, minlength=len(world.pools))
        found = world.pools[name]
        for index in np.flatnonzero(found != total):
            yield f"pool {index}: {name} is {found[index]}, of its replicas {total[index]}"


# --- Memory -------------------------------------------------------------------------------------


def free_lists_complete(world: World) -> Iterator[str]:
    """INV-11 free lists complete.

    Every slot of a request or a later turn is in use or, once, in its list of free slots. Catches a
    slot that is given back twice, so that two requests share it, and memory that leaks.
    """
    for name, records, head, in_use in (
        ("requests", world.requests, "free_request", "in_flight"),
        ("turns", world.turns, "free_turn", "turns_in_use"),
    ):
        free = _length(records["next"], int(world.state[head][0]))
        used = int(world.state[in_use][0])
        if free + used != len(records):
            yield f"{len(records)} slots of {name}: {used} in use, {free} free"


# --- Time ---------------------------------------------------------------------------------------


def times_are_consistent(world: World) -> Iterator[str]:
    """INV-12 times are consistent.

    Sums over time are not negative; whenever a replica is busy at least one and at most
    `maximum_sequences` sequences run, in at most its memory; arithmetic and traffic at peak rate
    take no longer than the steps that they are part of; a pool is busy only while in service; busy
    time, shared out by class, is the busy time of the windows. Catches a run that is booked twice,
    or in the wrong window.
    """
    windows, pools = _pool_windows(world), world.pools
    busy_s = windows["busy_s"]
    spare_s = ROUNDING * busy_s + 1e-9
    for name in ("busy_s", "compute_s", "memory_s", "active_s", "waiting_s"):
        for window, index in np.argwhere(windows[name] < 0.0):
            yield f"pool {index}, window {window}: {name} = {windows[name][window, index]}"
    for name, least_s, most_s in (
        ("running_s", busy_s, busy_s * pools["maximum_sequences"]),
        ("kv_block_s", busy_s, busy_s * pools["kv_blocks"]),
        ("compute_s", 0.0 * busy_s, busy_s),
        ("memory_s", 0.0 * busy_s, busy_s),
    ):
        value_s = windows[name]
        wrong = (value_s < least_s - spare_s) | (value_s > most_s * (1.0 + ROUNDING) + spare_s)
        for window, index in np.argwhere(wrong):
            yield (
                f"pool {index}, window {window}: {name} = {value_s[window, index]} in "
                f"{busy_s[window, index]} busy seconds"
            )
    active_s = windows["active_s"].sum(axis=0)
    for index in np.flatnonzero(busy_s.sum(axis=0) > active_s * (1.0 + ROUNDING) + 1e-9):
        yield (
            f"pool {index}: {busy_s[:, index].sum()} busy seconds in {active_s[index]} seconds in "
            "service"
        )
    pool_of_queue = np.repeat(world.replicas["pool"], len(world.classes))
    shared_s = np.bincount(pool_of_queue, weights=world.queues["busy_s"], minlength=len(pools))
    total_s = busy_s.sum(axis=0)
    for index in np.flatnonzero(~np.isclose(shared_s, total_s, rtol=ROUNDING, atol=1e-9)):
        yield f"pool {index}: {total_s[index]} busy seconds, {shared_s[index]} shared by class"


# --- Per-request rows ---------------------------------------------------------------------------


def rows_agree_with_counts(world: World, finished: Records) -> Iterator[str]:
    """INV-13 rows agree with counts.

    There is one row per ended request, and rows and counts agree on every fate of every class.
    Catches a buffer that is handed out twice or overwritten before it was.
    """
    ended = _by_class(world, "ended")
    rows = np.zeros_like(ended)
    np.add.at(rows, (finished["class"], finished["fate"]), 1)
    for index, fate in np.argwhere(rows != ended):
        yield (
            f"class {index}: {rows[index, fate]} rows, but {ended[index, fate]} requests ended "
            f"{Fate(int(fate)).name}"
        )


def causality(world: World, finished: Records) -> Iterator[str]:
    """INV-14 causality.

    Arrival, start, first token and end come in this order; what was served had all of them, what
    was turned away had no start. The clock never runs backwards: rows end in order, none after now.
    Catches a run that is cut before the instant that cuts it.
    """
    arrival_s, finish_s = finished["arrival_s"], finished["finish_s"]
    started_s, first_token_s = finished["started_s"], finished["first_token_s"]
    served = finished["fate"] == Fate.SERVED
    started, spoke = ~np.isnan(started_s), ~np.isnan(first_token_s)
    for problem, wrong in (
        ("it ends before it arrives", finish_s < arrival_s),
        ("it starts before it arrives", started_s < arrival_s),
        ("its first token comes before its start", first_token_s < started_s),
        ("it ends before it starts", finish_s < started_s),
        ("it ends before its first token", finish_s < first_token_s),
        ("it has a first token but no start", spoke & ~started),
        ("it was served without a first token", served & ~spoke),
        ("it was turned away after it had started", started & _has_fate(finished, NEVER_STARTED)),
        ("it ends after the end of the simulation", finish_s > world.state["now_s"][0]),
        ("the row before it ends later", np.diff(finish_s, prepend=-np.inf) < 0.0),
    ):
        for position in np.flatnonzero(wrong)[:3]:
            yield f"row {finished['row'][position]}: {problem} ({finished[position]})"


def tokens_of_rows(world: World, finished: Records) -> Iterator[str]:
    """INV-15 tokens of rows.

    If nothing was preempted and nothing cut off half done, the tokens computed are exactly the
    prompt tokens and the output tokens but the first of what was served, twice for what a lighter
    model had served before. Catches a closed form that
    is off by one step.
    """
    served = finished[finished["fate"] == Fate.SERVED]
    served = np.repeat(served, np.where(served["leg"] == Leg.ESCALATED, 2, 1))
    pools = world.pool_windows
    if pools["preemptions"].sum() or not _is_complete(world, finished):
        return
    for name, tokens in (
        ("prefill_tokens", np.maximum(served["input_tokens"], 1).sum()),
        ("decode_tokens", (np.maximum(served["output_tokens"], 1) - 1).sum()),
    ):
        if pools[name].sum() != tokens:
            yield f"{name}: {pools[name].sum()} computed, {tokens} served"


def littles_law(world: World, finished: Records) -> Iterator[str]:
    """INV-16 Little's law.

    If nothing was cut off half done, the integral of the requests that wait, run or are on their
    way from one pool to another is the sum of the times that requests spent in the system (J. D. C.
    Little, Operations Research 9, 1961, in its exact form for a period that begins and ends empty).
    Catches waiting or running time that is accounted late, twice, or not at all.
    """
    if not _is_complete(world, finished):
        return
    spent_s = float((finished["finish_s"] - finished["arrival_s"]).sum())
    pools = world.pool_windows
    integral_s = sum(float(pools[name].sum()) for name in ("waiting_s", "running_s", "landing_s"))
    if abs(spent_s - integral_s) > ROUNDING * spent_s + 1e-9:
        yield f"requests spent {spent_s} s in the system, the pools account for {integral_s} s"


# --- What the invariants share ------------------------------------------------------------------


def _class_windows(world: World) -> Records:
    return world.class_windows.reshape(-1, len(world.classes))


def _pool_windows(world: World) -> Records:
    return world.pool_windows.reshape(-1, len(world.pools))


def _by_class(world: World, name: str) -> NDArray[np.int64]:
    """Return a column of the class windows summed over the windows, first axis the class."""
    totals: NDArray[np.int64] = _class_windows(world)[name].sum(axis=0)
    return totals


def _load(replicas: Records) -> NDArray[np.int64]:
    """Return the requests that wait and run on each replica, or have memory reserved there."""
    parts = [replicas[name] for name in ("waiting", "decoding", "prefilling", "landing")]
    load: NDArray[np.int64] = np.sum(parts, axis=0)
    return load


def _in_flight(world: World) -> Records:
    flying: Records = world.requests[world.requests["fate"] == NONE]
    return flying


def _has_fate(finished: Records, fates: tuple[Fate, ...]) -> NDArray[np.bool_]:
    return np.isin(finished["fate"], [int(fate) for fate in fates])


def _is_complete(world: World, finished: Records) -> bool:
    """Tell whether every request was served or never started, and none is in flight."""
    whole = _has_fate(finished, (Fate.SERVED, *NEVER_STARTED))
    return bool(whole.all()) and world.state["in_flight"][0] == 0


def _length(following: NDArray[np.int64], head: int) -> int:
    """Return the length of a linked list; one more than there are slots if it runs in a circle."""
    links: list[int] = following.tolist()
    count = 0
    while head != NONE and count <= len(links):
        head = links[head]
        count += 1
    return count


INVARIANTS: Final[tuple[Callable[[World], Iterator[str]], ...]] = (
    requests_conserved,
    measured_conserved,
    routing_conserved,
    tokens_conserved,
    token_gaps_counted,
    histograms_complete,
    kv_blocks_conserved,
    batches_counted,
    stopped_replicas_are_empty,
    calendar_agrees,
    free_lists_complete,
    times_are_consistent,
    handovers_conserved,
)
ROW_INVARIANTS: Final[tuple[Callable[[World, Records], Iterator[str]], ...]] = (
    rows_agree_with_counts,
    causality,
    tokens_of_rows,
    littles_law,
)
