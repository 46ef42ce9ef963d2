"""What the invariants share."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from planner.kernel.dtypes import NONE
from planner.kernel.enums import Fate
from planner.kernel.world import World

Records = NDArray[np.void]

ROUNDING: Final = 1e-6
"""Relative error that sums over a hundred million floats may have."""

NEVER_ROUTED: Final = (Fate.RATE_LIMITED, Fate.REFUSED, Fate.TOO_LONG, Fate.SHED)
NEVER_STARTED: Final = (*NEVER_ROUTED, Fate.TIMED_OUT)


def class_windows(world: World) -> Records:
    """Return the windows of classes, shape `(windows, classes)`."""
    return world.class_windows.reshape(-1, len(world.classes))


def pool_windows(world: World) -> Records:
    """Return the windows of pools, shape `(windows, pools)`."""
    return world.pool_windows.reshape(-1, len(world.pools))


def by_class(world: World, name: str) -> NDArray[np.int64]:
    """Return a column of the class windows summed over the windows, first axis the class."""
    totals: NDArray[np.int64] = class_windows(world)[name].sum(axis=0)
    return totals


def loads(replicas: Records) -> NDArray[np.int64]:
    """Return the requests on each replica that wait, run, or have memory there to run."""
    names = ("waiting", "decoding", "prefilling", "fetching", "landing")
    total: NDArray[np.int64] = np.sum([replicas[name] for name in names], axis=0)
    return total


def in_flight(world: World) -> Records:
    """Return the requests that have not ended."""
    flying: Records = world.requests[world.requests["fate"] == NONE]
    return flying


def has_fate(finished: Records, fates: tuple[Fate, ...]) -> NDArray[np.bool_]:
    """Tell of each row whether it met one of the fates."""
    return np.isin(finished["fate"], [int(fate) for fate in fates])


def is_complete(world: World, finished: Records) -> bool:
    """Tell whether every request was served or never started, and none is in flight."""
    whole = has_fate(finished, (Fate.SERVED, *NEVER_STARTED))
    return bool(whole.all()) and world.state["in_flight"][0] == 0


def linked(following: NDArray[np.int64], head: int) -> list[int]:
    """Return the slots of a linked list; one more than there are if it runs in a circle."""
    links: list[int] = following.tolist()
    slots: list[int] = []
    while head != NONE and len(slots) <= len(links):
        slots.append(head)
        head = links[head]
    return slots
