"""A process that follows a timetable: so many nodes from this time of day on."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from typing import TYPE_CHECKING

from planner.control.fleet import PoolView

if TYPE_CHECKING:
    import simpy

DAY_S = 86400.0


def follow_schedule(
    env: simpy.Environment, pool: PoolView, timetable: Sequence[tuple[float, int]], start_s: float
) -> Generator[simpy.Event]:
    """Set the number of nodes of a pool at times of day, every day.

    Args:
        env: the simulation's environment.
        pool: the pool to change.
        timetable: time of day [s] and number of nodes from then on.
        start_s: time of day at which the simulation starts [s].
    """
    entries = sorted(((at_s - start_s) % DAY_S, nodes) for at_s, nodes in timetable)
    day = 0
    while True:
        for offset_s, nodes in entries:
            yield env.timeout(day * DAY_S + offset_s - env.now)
            pool.set_nodes(nodes)
        day += 1
