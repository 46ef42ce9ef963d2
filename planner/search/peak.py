"""The part of a scenario that is simulated many times over: its busiest hour, say."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

from planner.lowering.workload import (
    WEEKDAY_NAMES,
    WEEKDAYS,
    class_workloads,
    seconds_of_day,
    start_s_of_week,
)
from planner.results.formatting import span
from planner.scenario.schema import Scenario
from planner.scenario.schema.pools import Pool
from planner.scenario.schema.workload import Workload
from planner.units import HOUR_S

DAY_S: Final = 86_400.0
WEEK_S: Final = 7 * DAY_S
LEAST_WARMUP_S: Final = 120.0
"""A part that is cut out starts with an empty fleet, so its beginning is not measured."""


@dataclass(frozen=True)
class Part:
    """What is simulated of a scenario."""

    scenario: Scenario
    words: str
    """Which part it is, as a noun phrase."""
    whole: bool


def busiest_part(scenario: Scenario, duration_s: float | None) -> Part:
    """Return the part of a scenario in which most requests arrive.

    Args:
        scenario: as it stands.
        duration_s: its length; None: an hour, but all of a trace, which has to be read from its
            beginning. A shorter scenario is left as it is.
    """
    workload = scenario.workload
    recorded = workload.trace is not None or any(k.trace is not None for k in workload.classes)
    length_s = HOUR_S if duration_s is None else duration_s
    if length_s >= workload.duration or (recorded and duration_s is None):
        return Part(scenario, f"all {span(workload.duration)} of arrivals", whole=True)
    offset_s = 0.0 if recorded else _busiest_offset_s(workload, length_s)
    lead_s = min(max(workload.warmup, LEAST_WARMUP_S), length_s / 2)
    at_s = start_s_of_week(workload) + offset_s
    start, weekday = _clock(at_s % DAY_S), WEEKDAYS[int(at_s % WEEK_S // DAY_S)]
    changed = workload.model_copy(
        update={"start": start, "weekday": weekday, "duration": length_s, "warmup": lead_s}
    )
    pools = [_in_force(pool, workload, offset_s) for pool in scenario.pools]
    what = "the first" if recorded else "the busiest"
    words = (
        f"{what} {span(length_s)} of {span(workload.duration)}, "
        f"from {WEEKDAY_NAMES[weekday]} {start}; its first {span(lead_s)} are not measured"
    )
    cut = scenario.model_copy(update={"workload": changed, "pools": pools})
    return Part(cut, words, whole=False)


def _busiest_offset_s(workload: Workload, length_s: float) -> float:
    """Return where the busiest part begins; rates change on the hour, so it is one of a few."""
    first_s = start_s_of_week(workload)
    last_s = (workload.duration - length_s) // 60 * 60  # a scenario starts on a whole minute
    hours = range(math.ceil(first_s / HOUR_S), math.ceil((first_s + workload.duration) / HOUR_S))
    edges = [hour * HOUR_S - first_s for hour in hours]
    offsets = {0.0, last_s, *edges, *((edge - length_s) // 60 * 60 for edge in edges)}
    return max(
        sorted(offset for offset in offsets if 0 <= offset <= last_s),
        key=lambda offset: round(_arrivals(workload, offset, length_s), 6),
    )


def _arrivals(workload: Workload, offset_s: float, length_s: float) -> float:
    """Return the expected open-loop arrivals of a part; a session counts as one."""
    total = 0.0
    for source in class_workloads(workload):
        if source.arrivals is not None:
            shape = source.arrivals.shape or (1.0,)
            begin_s = source.arrivals.start_s_of_week + offset_s
            total += source.arrivals.rate_rps * _integral(shape, begin_s, begin_s + length_s)
    return total


def _integral(shape: tuple[float, ...], begin_s: float, end_s: float) -> float:
    """Return the seconds between two instants, weighted by a shape of hours of mean 1."""
    total, at_s = 0.0, begin_s
    while at_s < end_s:
        hour = math.floor(at_s / HOUR_S)
        until_s = min((hour + 1) * HOUR_S, end_s)
        total += shape[hour % len(shape)] * (until_s - at_s)
        at_s = until_s
    return total * len(shape) / sum(shape)


def _in_force(pool: Pool, workload: Workload, offset_s: float) -> Pool:
    """Return a pool with the nodes that its schedule gives it so long after the start."""
    start_s = seconds_of_day(workload.start)
    passed = [
        (latest_s, entry.nodes)
        for entry in pool.schedule
        for first_s in ((seconds_of_day(entry.at) - start_s) % DAY_S,)
        for latest_s in (first_s + (offset_s - first_s) // DAY_S * DAY_S,)
        if latest_s >= 0
    ]
    return pool.model_copy(update={"nodes": max(passed)[1]}) if passed else pool


def _clock(seconds: float) -> str:
    minutes = int(seconds // 60)
    return f"{minutes // 60:02d}:{minutes % 60:02d}"
