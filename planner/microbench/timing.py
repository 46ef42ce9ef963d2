"""How a kernel is timed: warm up, repeat, take the median, and say how far the repeats spread.

Nothing here reads a clock or knows a device. A `Kernel` runs itself a number of times back to back
and says how long one call took; how often to ask it follows from what it says, so that the ranks
of a collective, which all see the same times, decide alike.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from planner.errors import PlannerError
from planner.microbench.cases import Case


class DeviceMemoryError(Exception):
    """A case does not fit into the device's memory."""


class UnsupportedCaseError(Exception):
    """The device or the framework cannot run a case; the text says why."""


class MicrobenchError(PlannerError):
    """The machine cannot be measured as asked."""


class Kernel(Protocol):
    """One case with its tensors on the device."""

    @property
    def source(self) -> str:
        """What runs and how it is timed, for the column `source`."""

    def seconds(self, calls: int) -> float:
        """Run `calls` times back to back; return the mean seconds of one call."""

    def close(self) -> None:
        """Give the memory back."""


class Device(Protocol):
    """What can be measured on."""

    chip: str
    """Name of the chip in the catalogue, or one made of the device's own name."""
    version: str
    """Of the framework, for the column `version`."""
    limits_flops: float
    """Arithmetic of the largest call that is worth its time."""
    limits_bytes: float
    """Memory of the largest call."""

    def prepare(self, case: Case) -> Kernel:
        """Return the kernel of a case.

        Raises:
            DeviceMemoryError: it does not fit.
            UnsupportedCaseError: it cannot run here.
        """

    def environment(self) -> dict[str, Any]:
        """Return what a reader needs to judge the timings: device, driver, clocks, versions."""


@dataclass(frozen=True)
class Discipline:
    """How much time a measurement may take."""

    repeats: int = 7
    """Independent timings, of which the median counts."""
    repeat_s: float = 0.003
    """Calls are strung together until one repeat lasts this long."""
    warm_up_s: float = 0.002
    calls_at_most: int = 200
    budget_s: float = 2.0
    """A slow kernel is repeated less often, though at least `least_repeats` times."""
    least_repeats: int = 3
    spread_at_most: float = 0.05
    """Repeats that spread further are doubled, once."""


@dataclass(frozen=True)
class Sample:
    """The outcome of one measurement."""

    median_s: float
    spread: float
    """Interquartile range of the repeats over their median."""
    repeats: int
    calls: int
    """Calls per repeat."""


def measure(kernel: Kernel, discipline: Discipline) -> Sample:
    """Time a kernel.

    Raises:
        UnsupportedCaseError: the device's clock did not see any time pass.
    """
    kernel.seconds(1)  # compiles, selects algorithms, fills caches: never counted
    once_s = min(kernel.seconds(1), kernel.seconds(1))
    if not once_s > 0.0:
        raise UnsupportedCaseError("shorter than the device's clock can tell")
    calls = max(1, min(discipline.calls_at_most, round(discipline.repeat_s / once_s)))
    if once_s < discipline.warm_up_s:
        kernel.seconds(max(1, min(calls, round(discipline.warm_up_s / once_s))))
    affordable = int(discipline.budget_s / (once_s * calls))
    repeats = max(discipline.least_repeats, min(discipline.repeats, affordable))
    times = [kernel.seconds(calls) for _ in range(repeats)]
    if spread(times) > discipline.spread_at_most and 2 * repeats <= affordable:
        times += [kernel.seconds(calls) for _ in range(repeats)]
    median_s = statistics.median(times)
    if not median_s > 0.0:
        raise UnsupportedCaseError("shorter than the device's clock can tell")
    return Sample(median_s, spread(times), len(times), calls)


def spread(times: Sequence[float]) -> float:
    """Return the interquartile range over the median.

    >>> spread([1.0, 1.0, 1.0, 9.0])
    0.0
    """
    if len(times) < 2:
        return float("nan")
    ordered = sorted(times)
    quarter = len(ordered) // 4
    low, high = ordered[quarter], ordered[len(ordered) - 1 - quarter]
    middle = statistics.median(ordered)
    return (high - low) / middle if middle > 0 else float("nan")
