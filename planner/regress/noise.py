"""How far chance moves a metric: between two runs by themselves, and between two runs of one seed.

A metric is held first against the band of two independent runs, which the seeds of the baseline
give for nothing. It is wide: a run for a changed scenario shares its random numbers with the
baseline, so most of what chance does is the same on both sides and cancels. Where the band hides
what a tolerance would show, the scenario is simulated with the baseline's other seeds as well, and
the differences by seed decide (common random numbers; Law, Simulation Modeling and Analysis,
5th ed., 11.2, and the paired t interval of 10.2.1).
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from typing import Final

CONFIDENCE: Final = 0.95


def independent_band(values: Sequence[float | None]) -> float:
    """Return how much two single runs differ by chance: the 95% band of their difference.

    With n seeds of standard deviation s, t(97.5%, n - 1) · √2 · s: two runs vary, and s itself is
    known from few of them. 0 where the spread is not known.

    >>> round(independent_band([100.0, 101.0, 99.0, 101.0, 99.0]), 2)
    3.93
    """
    known = [value for value in values if value is not None]
    if len(known) < len(values):
        return 0.0
    return math.sqrt(2.0) * _spread(known)


def paired_band(differences: Sequence[float]) -> float:
    """Return by how much the mean of differences by seed is uncertain: t(97.5%, n - 1) · s / √n.

    >>> round(paired_band([1.0, 2.0, 3.0]), 2)
    2.48
    """
    return _spread(differences) / math.sqrt(len(differences))


def _spread(values: Sequence[float]) -> float:
    """Return t · s; 0 of values that are all the same, and of a single one."""
    if len(values) < 2 or max(values) == min(values):
        return 0.0
    from scipy.special import stdtrit  # Student's t, without what scipy.stats takes to import

    quantile = float(stdtrit(len(values) - 1, (1.0 + CONFIDENCE) / 2.0))
    return quantile * statistics.stdev(values)
