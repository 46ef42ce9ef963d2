"""The measurement as a whole: every case once, its timing or its reason noted, nothing lost."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from planner.microbench.cases import Case
from planner.microbench.table import Table
from planner.microbench.timing import (
    Device,
    DeviceMemoryError,
    Discipline,
    Sample,
    UnsupportedCaseError,
    measure,
)

MEASURED: Final = "measured"
OUT_OF_MEMORY: Final = "out of memory"
UNSUPPORTED: Final = "unsupported"
_SAVE_EVERY: Final = 20
"""Cases; an interruption of the power loses no more than these."""


@dataclass(frozen=True)
class Outcome:
    """What became of one case."""

    case: Case
    status: str
    detail: str
    """Source of the timing, or the reason for having none."""
    sample: Sample | None = None


@dataclass
class Tally:
    """What became of all."""

    measured: int = 0
    out_of_memory: int = 0
    unsupported: int = 0
    already: int = 0
    """Measured before."""
    unsteady: int = 0
    """Measured, though the repeats spread further than they should."""

    def add(self, outcome: Outcome, discipline: Discipline) -> None:
        """Count an outcome."""
        if outcome.sample is None:
            self.out_of_memory += outcome.status == OUT_OF_MEMORY
            self.unsupported += outcome.status == UNSUPPORTED
            return
        self.measured += 1
        self.unsteady += outcome.sample.spread > discipline.spread_at_most


Progress = Callable[[float, float], None]
Rest = Callable[[Sequence[Case]], Iterable[Outcome]]
"""Measures the cases that need several devices."""


def measure_cases(
    device: Device,
    cases: Sequence[Case],
    table: Table,
    discipline: Discipline,
    *,
    progress: Progress | None = None,
    collectives: Rest | None = None,
) -> Tally:
    """Measure the cases that the table has not, and save it on the way and at the end.

    Args:
        device: to measure on.
        cases: in the order in which to measure them.
        table: where timings and reasons go; saved also if the measurement is interrupted.
        discipline: how each is timed.
        progress: told how many cases of how many are done.
        collectives: measures all-reduces; without it they are left out.
    """
    tally = Tally()
    waiting = [case for case in cases if not table.has(case)]
    tally.already = len(cases) - len(waiting)
    single = [case for case in waiting if case.operator != "all_reduce"]
    joint = [case for case in waiting if case.operator == "all_reduce"]
    done = 0
    try:
        for outcome in _outcomes(device, single, joint, discipline, collectives):
            note(table, outcome)
            tally.add(outcome, discipline)
            done += 1
            if done % _SAVE_EVERY == 0:
                table.save()
            if progress is not None:
                progress(done, len(waiting))
    finally:
        table.save()
    return tally


def _outcomes(
    device: Device,
    single: Iterable[Case],
    joint: Sequence[Case],
    discipline: Discipline,
    collectives: Rest | None,
) -> Iterable[Outcome]:
    for case in single:
        yield measure_case(device, case, discipline)
    if joint and collectives is not None:
        yield from collectives(joint)


def measure_case(device: Device, case: Case, discipline: Discipline) -> Outcome:
    """Measure one case; what the device cannot do becomes an outcome, not an error."""
    try:
        kernel = device.prepare(case)
        try:
            sample = measure(kernel, discipline)
            return Outcome(case, MEASURED, kernel.source, sample)
        finally:
            kernel.close()
    except DeviceMemoryError as error:
        return Outcome(case, OUT_OF_MEMORY, str(error))
    except UnsupportedCaseError as error:
        return Outcome(case, UNSUPPORTED, str(error))


def note(table: Table, outcome: Outcome) -> None:
    """Put an outcome into the table."""
    if outcome.sample is None:
        table.skipped(outcome.case, outcome.status, outcome.detail)
    else:
        table.measured(outcome.case, outcome.sample, outcome.detail)
