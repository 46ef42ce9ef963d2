"""Sums over time."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from planner.invariants.shared import ROUNDING, pool_windows
from planner.kernel.world import World


def times_are_consistent(world: World) -> Iterator[str]:
    """INV-12 times are consistent.

    Sums over time are not negative; whenever a replica is busy at least one and at most
    `maximum_sequences` sequences run, in at most its memory; arithmetic and traffic at peak rate
    take no longer than the steps that they are part of; a pool is busy only while in service; busy
    time, shared out by class, is the busy time of the windows. Catches a run that is booked twice,
    or in the wrong window.
    """
    windows, pools = pool_windows(world), world.pools
    busy_s = windows["busy_s"]
    spare_s = ROUNDING * busy_s + 1e-9
    for name in ("busy_s", "compute_s", "memory_s", "active_s", "waiting_s", "batch_waiting_s"):
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
