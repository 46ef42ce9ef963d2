"""Replicas: memory, batches, queues and the next event of each."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from planner.invariants.shared import by_class, loads
from planner.kernel.dtypes import NONE
from planner.kernel.enums import Fate, ReplicaStatus
from planner.kernel.world import World


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
        blocks = int((-(-held // block_tokens) - batch["shared_blocks"]).sum())
        segments = world.entries["store"] == world.shelves["store"][replica["shelf_first"]]
        blocks += int(world.entries["blocks"][segments & (world.entries["users"] > 0)].sum())
        used = int(replica["kv_used_blocks"])
        fits = blocks <= used <= pool["kv_blocks"] - replica["parked_blocks"]
        admitted = replica["prefilling"] + replica["fetching"]
        if not fits or (admitted == 0 and used != blocks):
            yield (
                f"replica {number}: {used} of {pool['kv_blocks']} blocks in use, {blocks} by the "
                f"{replica['decoding']} decoding sequences and shared segments"
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
    run on a replica; per class and per pool the counts agree, and an empty queue has no first, no
    last request and no tokens to prefill. Catches a request that is in a queue and a batch at once.
    """
    replicas, queues = world.replicas, world.queues.reshape(-1, len(world.classes))
    held = int(loads(replicas).sum())
    unfinished = int(by_class(world, "ended")[:, Fate.UNFINISHED].sum())
    expected = int(world.state["in_flight"][0]) + unfinished
    if held != expected:
        yield f"replicas hold {held} requests, but {expected} have not ended of their own accord"
    for number in np.flatnonzero(queues["decoding"].sum(axis=1) != replicas["decoding"]):
        yield (
            f"replica {number}: {replicas['decoding'][number]} sequences decode, by class "
            f"{queues['decoding'][number].tolist()}"
        )
    for name, whose in (("waiting", "requests"), ("batch_waiting", "batch requests")):
        waiting = np.bincount(replicas["pool"], weights=replicas[name], minlength=len(world.pools))
        for index in np.flatnonzero(waiting != world.pools[name]):
            yield (
                f"pool {index}: {world.pools[name][index]} {whose} wait, but "
                f"{waiting[index]:.0f} on its replicas"
            )
    for number, klass in np.argwhere((queues["head"] != NONE) != (queues["waiting_tokens"] > 0)):
        tokens = queues["waiting_tokens"][number, klass]
        yield f"replica {number}, class {klass}: {tokens} prompt tokens wait, its queue denies it"
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
    load = loads(replicas)
    away = ~np.isin(replicas["status"], [int(ReplicaStatus.ACTIVE), int(ReplicaStatus.DRAINING)])
    for number in np.flatnonzero(away & ((load > 0) | (replicas["run_steps"] > 0))):
        status = ReplicaStatus(int(replicas["status"][number])).name.lower()
        yield f"replica {number} is {status}, but holds {load[number]} requests"
    # Whoever waits for memory that is kept for another pool, or reserved, is woken when it is free.
    due_s = np.minimum(replicas["run_end_s"], replicas["fetch_s"])
    between = replicas["landing"] + replicas["kept"]
    forgotten = (load > 0) & np.isinf(due_s) & (between == 0)
    for number in np.flatnonzero(forgotten):
        yield f"replica {number} holds {load[number]} requests, but no step of it is due"


def calendar_agrees(world: World) -> Iterator[str]:
    """INV-10 calendar agrees.

    The calendar has every replica's next event, none of them lies in the past, and its root is the
    earliest. Catches a replica that sleeps through its own event.
    """
    calendar, replicas = world.calendar, world.replicas
    times = calendar["event_s"][: len(replicas)]
    times_of = ("run_end_s", "timeout_s", "fetch_s", "link_end_s")
    due = np.minimum.reduce([replicas[name] for name in times_of])
    for number in np.flatnonzero(times != due):
        yield f"replica {number}: event at {times[number]} s, scheduled for {due[number]} s"
    if len(times) and times[calendar["winner"][1]] != times.min():
        yield f"the next event is at {times.min()} s, not at {times[calendar['winner'][1]]} s"
    if (times < world.state["now_s"][0]).any():
        yield f"an event at {times.min()} s has not happened at {world.state['now_s'][0]} s"
