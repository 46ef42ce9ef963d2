"""Metrics as pure functions over histograms and sums.

A latency is counted in a log-spaced histogram (`planner.kernel.dtypes`): bin 0 holds values up to
1 µs, bin i those in `(edge[i-1], edge[i]]`. A quantile is reported at the harmonic middle of its
bin, which is off by at most 0.5% wherever the true value lies in the bin; bin 0 is reported as 0.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from planner.kernel.dtypes import HISTOGRAM_BINS, histogram_upper_edges

HIGHEST_KV_USAGE_RATE = 0.90
"""Mean KV use above which memory, not time, decides how many sequences run."""
HIGHEST_PREEMPTION_RATE = 0.01
"""Preemptions per routed request above which KV memory counts as the busiest resource."""
HIGHEST_LINK_RATE = 0.90
"""Mean share of the time above which a link between two pools decides how fast prompts pass."""
HIGHEST_SLOT_USAGE_RATE = 0.90
"""Mean share of sequence slots in use above which `maximum_sequences` holds requests back."""
WAITING_PER_REPLICA = 0.5
"""Mean queue of a replica below which nothing is said to wait."""


def histogram_values_s() -> NDArray[np.float64]:
    """Return the value each bin stands for, in seconds, shape `(HISTOGRAM_BINS,)`."""
    upper = histogram_upper_edges()
    values = np.empty(HISTOGRAM_BINS)
    values[0] = 0.0
    values[1:] = 2.0 / (1.0 / upper[:-1] + 1.0 / upper[1:])
    return values


def histogram_quantiles(
    counts: NDArray[np.float64], percentiles: Sequence[float]
) -> NDArray[np.float64]:
    """Return quantiles of a histogram: the value of rank ⌈p/100 · n⌉ (the inverse of the ECDF).

    Args:
        counts: entries per bin, shape `(HISTOGRAM_BINS,)`.
        percentiles: in percent, 0 to 100.

    Returns:
        Seconds within 0.5%, shape `(len(percentiles),)`; NaN where the histogram is empty.

    >>> counts = np.zeros(HISTOGRAM_BINS)
    >>> counts[np.searchsorted(histogram_upper_edges(), [0.2, 0.2, 0.2, 3.0])] = [3, 3, 3, 1]
    >>> histogram_quantiles(counts, [50, 75, 76]).round(2).tolist()
    [0.2, 0.2, 3.0]
    """
    cumulative = np.cumsum(counts)
    total = int(cumulative[-1])
    if total == 0:
        return np.full(len(percentiles), math.nan)
    # NOTE: the rank is computed exactly, because 99.9/100 · 1000 is not 999 in floating point.
    ranks = [max(1, math.ceil(Fraction(str(p)) * total / 100)) for p in percentiles]
    return histogram_values_s()[np.searchsorted(cumulative, ranks)]


def histogram_mean(counts: NDArray[np.float64]) -> float:
    """Return the mean of a histogram in seconds, off by at most 0.5%; NaN where it is empty."""
    total = int(counts.sum())
    return float(counts @ histogram_values_s()) / total if total else math.nan


def divide(numerator: float, denominator: float) -> float:
    """Return the ratio, or NaN where the denominator is zero: nothing was there to be measured."""
    return float(numerator) / float(denominator) if denominator else math.nan


def share_of(part: float, whole: float) -> float:
    """Return the share of a part in its whole, at most 1: sums of floats may round beyond it.

    >>> share_of(0.1 + 0.2, 0.3), share_of(1.0, 4.0), share_of(0.0, 0.0)
    (1.0, 0.25, nan)
    """
    return min(divide(part, whole), 1.0) if whole else math.nan


def slo_attainment(good: int, measured: int, rate_limited: int) -> float:
    """Return the share of requests that keep every per-request objective of their class.

    Args:
        good: measured requests served within all objectives per request.
        measured: requests that arrived after the warm-up.
        rate_limited: of these, refused by their visitor's own limit. They are not the fleet's to
            serve, so they are left out here and reported apart.

    Returns:
        0 to 1; NaN where no request was the fleet's to serve.
    """
    return divide(good, measured - rate_limited)


def busiest_resource(
    *,
    busy_s: float,
    compute_s: float,
    memory_s: float,
    active_s: float,
    running_s: float,
    waiting_s: float,
    kv_block_s: float,
    routed: int,
    preemptions: int,
    kv_blocks: int,
    maximum_sequences: int,
    link_rate: float = 0.0,
) -> str:
    """Return what a pool comes nearest to running out of, over its peak windows.

    `planner size` asks the simulation itself what binds; this is a look at utilisation only.

    The first that holds:

    1. `kv_link`: the links that carry KV from or to the pool are in use 90% of the time; what waits
       for them fills the memory at both ends.
    2. `kv_capacity`: KV blocks are 90% full on average, or more than 1% of the routed requests are
       preempted: a larger batch does not fit into memory.
    3. `queueing`: at least half a request waits per replica although KV has room, and 90% of the
       sequence slots are taken or no replica is in service: a limit, not the hardware, holds
       requests back.
    4. `compute` or `memory_bandwidth`: the hardware term that takes more of the step time.
    5. `none`: the pool did nothing.

    Args:
        busy_s: replica-seconds spent in steps, as all sums here over the peak windows.
        compute_s: of these, arithmetic at peak rate.
        memory_s: of these, memory traffic at peak bandwidth.
        active_s: replica-seconds in service.
        running_s: ∫ running sequences dt.
        waiting_s: ∫ waiting requests dt.
        kv_block_s: ∫ KV blocks in use dt.
        routed: requests sent to the pool.
        preemptions: for lack of KV blocks.
        kv_blocks: of one replica.
        maximum_sequences: per step of one replica.
        link_rate: share of the time for which the busiest links to a pool that decodes are in use.
    """
    if waiting_s > 0 and active_s <= 0:
        return "queueing"
    if busy_s <= 0:
        return "none"
    if link_rate >= HIGHEST_LINK_RATE:
        return "kv_link"
    kv_usage_rate = divide(kv_block_s, kv_blocks * active_s)
    if kv_usage_rate >= HIGHEST_KV_USAGE_RATE or preemptions > HIGHEST_PREEMPTION_RATE * routed:
        return "kv_capacity"
    slots_full = running_s >= HIGHEST_SLOT_USAGE_RATE * maximum_sequences * active_s
    if slots_full and waiting_s >= WAITING_PER_REPLICA * active_s:
        return "queueing"
    return "compute" if compute_s >= memory_s else "memory_bandwidth"


def peak_windows(load: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return the indices of the busiest tenth of the windows (at least one), in order of time.

    Args:
        load: requests in the pool, running or waiting, per window.
    """
    count = max(1, math.ceil(len(load) / 10))
    busiest = np.argsort(-load, kind="stable")[:count]
    return np.sort(busiest)
