"""Latency histograms with logarithmic bins, relative error of a quantile ≤ 0.5%.

The bins follow DDSketch (Masson, Rim and Lee, VLDB 2019): edges grow by a constant ratio, so the
error is relative. Gaps between tokens come in runs and are counted a bin at a time, not singly.
"""

from __future__ import annotations

import math
from typing import Final

import numpy as np
from numpy.typing import NDArray

from planner.kernel.dtypes import HISTOGRAM_BINS, HISTOGRAM_GROWTH, HISTOGRAM_MIN_S
from planner.kernel.jit import kernel

LOG_GROWTH: Final = math.log(HISTOGRAM_GROWTH)
BINS_PER_LOG: Final = 1.0 / LOG_GROWTH
LOG_MIN: Final = math.log(HISTOGRAM_MIN_S)


@kernel
def bin_of(value_s: float) -> int:
    """Return the bin whose edges enclose `value_s`: below < value ≤ above."""
    if value_s <= HISTOGRAM_MIN_S:
        return 0
    index = math.ceil((math.log(value_s) - LOG_MIN) * BINS_PER_LOG)
    return min(max(index, 0), HISTOGRAM_BINS - 1)


@kernel
def add_value(histogram: NDArray[np.float64], value_s: float) -> None:
    """Count one value."""
    histogram[bin_of(value_s)] += 1


@kernel
def add_progression(
    histogram: NDArray[np.float64], first_s: float, growth_s: float, count: int, weight: float
) -> None:
    """Count `weight` times each of first_s, first_s + growth_s, … (`count` values, growth ≥ 0)."""
    low = bin_of(first_s)
    high = low
    if count > 1 and growth_s > 0.0:
        high = bin_of(first_s + growth_s * (count - 1))
    done = 0
    while low < high:
        edge_s = math.exp(LOG_MIN + low * LOG_GROWTH)
        upto = min(max(int((edge_s - first_s) / growth_s) + 1, done), count)
        histogram[low] += (upto - done) * weight
        done = upto
        low += 1
    histogram[high] += (count - done) * weight
