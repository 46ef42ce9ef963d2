"""Requests: each arrived once, was routed once, and ended once."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from planner.invariants.shared import NEVER_ROUTED, by_class, class_windows, in_flight, pool_windows
from planner.kernel.enums import Fate
from planner.kernel.world import World


def requests_conserved(world: World) -> Iterator[str]:
    """INV-1 requests conserved.

    Per class, the requests that arrived are those that ended, by fate, and those in flight; each
    arrival got one key. Catches a request that is lost, ended twice, or given two fates.
    """
    arrived = by_class(world, "arrived")
    ended = by_class(world, "ended").sum(axis=1)
    flying = in_flight(world)
    unfinished = np.bincount(flying["class"], minlength=len(world.classes))
    for index in np.flatnonzero(arrived != ended + unfinished):
        yield (
            f"class {index}: {arrived[index]} arrived, but {ended[index]} ended and "
            f"{unfinished[index]} are in flight"
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
    windows = class_windows(world)
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
    arrived = by_class(world, "arrived").sum()
    turned_away = by_class(world, "ended")[:, list(NEVER_ROUTED)].sum()
    pools = pool_windows(world)
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
