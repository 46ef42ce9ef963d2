"""What takes longer than a step: answers, tasks, and requests between two pools."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from planner.invariants.shared import class_windows
from planner.kernel.enums import Handover
from planner.kernel.world import World


def answers_planned(world: World) -> Iterator[str]:
    """INV-17 answers planned.

    The answers that are still to come on a replica are those of the sequences which decode on it,
    reason and have not answered, each once and none of them due. Catches an answer that is
    forgotten when a run is cut, or begins on a replica that its request has left.
    """
    for number, replica in enumerate(world.replicas):
        first, answers = int(replica["slots_first"]), int(replica["answers_first"])
        batch = world.slots["request"][first : first + replica["decoding"]]
        requests = world.requests[batch]
        waits = (requests["reasoning_tokens"] > 0) & np.isnan(requests["answer_s"])
        planned = world.slots[answers : answers + replica["answers"]]
        if sorted(planned["request"]) != sorted(batch[waits]):
            yield (
                f"replica {number}: answers of requests {sorted(planned['request'])} are planned, "
                f"those of {sorted(batch[waits])} are to come"
            )
        if (planned["finish_step"] <= replica["step"]).any():
            yield f"replica {number}: an answer was due before step {replica['step']}"


def tasks_conserved(world: World) -> Iterator[str]:
    """INV-18 tasks conserved.

    Per window, tasks that finished or were abandoned are tasks that began, and none finished
    without a call. Catches a session that ends twice, or whose start is forgotten.
    """
    windows = class_windows(world)  # the turns of a recorded session may be of several classes
    begun = windows["measured_tasks"].sum(axis=1)
    finished = windows["measured_tasks_finished"].sum(axis=1)
    ended = finished + windows["measured_tasks_abandoned"].sum(axis=1)
    for window in np.flatnonzero(ended > begun):
        yield f"window {window}: {ended[window]} tasks ended, {begun[window]} began"
    for window in np.flatnonzero(windows["task_calls"].sum(axis=1) < finished):
        yield f"window {window}: fewer calls than tasks that finished"


def handovers_conserved(world: World) -> Iterator[str]:
    """INV-20 handovers conserved.

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
