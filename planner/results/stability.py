"""Queues that grow: a fleet that cannot keep up is called out, not averaged away."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

FEWEST_WINDOWS = 6
"""Fewer windows are too few to tell growth from chance: a queue that rises in every one of n
windows has the score (n(n - 1)/2 - 1) / √(n(n - 1)(2n + 5)/18), which is 2.20 for 5 and 2.63 for 6;
only the latter exceeds `TREND_Z`."""
MOST_POINTS = 512
"""Longer series are averaged down to this many points: the slope needs all pairs."""
TREND_Z = 2.6
"""Mann–Kendall score above which a queue rises; 0.5% of trendless series do by chance."""
RANDOM_WALK_Z = 2.5
"""Standard deviations of a random walk that the growth must exceed: 0.6% do by chance."""


@dataclass(frozen=True)
class Growth:
    """How the queue of a pool moves through the arrival period."""

    per_s: float
    """Requests by which the queue grows per second: Theil–Sen slope; NaN with too few windows."""
    grows: bool
    """The growth is steady, and more than chance explains."""


def queue_growth(
    waiting: NDArray[np.float64], window_s: float, arrival_rps: float, running: float
) -> Growth:
    """Return whether a queue grows through the arrival period, and how fast.

    The slope is the median over all pairs of windows (Theil 1950, Sen 1968), so that a single burst
    does not tilt it. The queue grows if

    1. the rise is steady: the Mann–Kendall score (Mann 1945, Kendall 1975) exceeds 2.6;
    2. the rise over the period exceeds 2.5 standard deviations of a random walk with Poisson
       arrivals and as many departures, √(2·rate·period): a fleet exactly at its limit does not
       grow by more;
    3. the rise is at least half of the longest queue, and a tenth of what runs: the queue ends near
       its peak, and it matters.

    Args:
        waiting: mean waiting requests in each window of the arrival period, shape `(windows,)`.
        window_s: width of a window in seconds.
        arrival_rps: requests routed to the pool per second.
        running: mean requests running in the pool.
    """
    if len(waiting) < FEWEST_WINDOWS:
        return Growth(math.nan, grows=False)
    period_s = len(waiting) * window_s
    series, step_s = _average_down(waiting, window_s)
    later, earlier = np.tril_indices(len(series), -1)
    rises = series[later] - series[earlier]
    slope = float(np.median(rises / ((later - earlier) * step_s)))
    rise = slope * period_s
    steady = _mann_kendall_score(rises, series) > TREND_Z
    beyond_chance = rise > RANDOM_WALK_Z * math.sqrt(2.0 * arrival_rps * period_s)
    matters = rise >= 0.5 * float(series.max()) and rise >= 0.1 * running
    return Growth(slope, grows=bool(rise > 0 and steady and beyond_chance and matters))


def _average_down(values: NDArray[np.float64], step_s: float) -> tuple[NDArray[np.float64], float]:
    block = math.ceil(len(values) / MOST_POINTS)
    kept = len(values) // block * block
    return values[:kept].reshape(-1, block).mean(axis=1), step_s * block


def _mann_kendall_score(rises: NDArray[np.float64], series: NDArray[np.float64]) -> float:
    points = len(series)
    score = float(np.sign(rises).sum())
    ties = np.unique(series, return_counts=True)[1].astype(float)
    variance = points * (points - 1) * (2 * points + 5) - (ties * (ties - 1) * (2 * ties + 5)).sum()
    return (score - math.copysign(1.0, score)) / math.sqrt(variance / 18.0) if variance else 0.0
