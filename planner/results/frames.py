"""Tables of a run, built from the arrays that the kernel leaves behind."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from planner.errors import SimulationError
from planner.kernel.enums import Fate
from planner.results.class_table import (
    build_class_tables,
    build_fates,
    build_quantiles,
    build_tasks,
    loss_warnings,
)
from planner.results.columns import FATES
from planner.results.meta import ClassMeta, PoolMeta
from planner.results.pool_table import build_pool_table
from planner.results.windows import (
    build_timeline,
    class_window_table,
    pool_window_table,
    windows_in_use,
    with_drafts_settled,
)


@dataclass(frozen=True)
class Frames:
    """The tables of one run; `planner.results.columns` says what every column means."""

    classes: pd.DataFrame
    """One row per class: rates, losses, attainment, latency quantiles, tokens."""
    total: pd.DataFrame
    """One row, the same columns, over all classes together."""
    fates: pd.DataFrame
    """One row per class: how every request that arrived ended; each row sums to `arrived`."""
    tasks: pd.DataFrame
    """One row per class with sessions: how many finished, after how long and how many calls."""
    objectives: pd.DataFrame
    """One row per promise: the value found, the limit, the verdict."""
    pools: pd.DataFrame
    """One row per pool: size, utilisation, busiest resource, stability."""
    quantiles: pd.DataFrame
    """Class × metric × percentile: the latency distributions."""
    class_windows: pd.DataFrame
    """One row per window and class."""
    pool_windows: pd.DataFrame
    """One row per window and pool."""
    stability: tuple[str, ...]
    """Sentences about queues that grow and classes that lose too much; empty when all is well."""


def build_frames(
    *,
    histograms: NDArray[np.float64],
    class_windows: NDArray[np.void],
    pool_windows: NDArray[np.void],
    classes: Sequence[ClassMeta],
    pools: Sequence[PoolMeta],
    nodes: NDArray[np.int64],
    window_s: float,
    duration_s: float,
    warmup_s: float,
    end_s: float,
    reusable_input_rates: Sequence[float] | None = None,
) -> Frames:
    """Return every table of a run.

    Args:
        histograms: measured served requests (token gaps for ITL) by bin, shape
            `(classes, len(Metric), HISTOGRAM_BINS)`.
        class_windows: `CLASS_WINDOW`, shape `(windows · classes,)` or `(windows, classes)`.
        pool_windows: `POOL_WINDOW`, shape `(windows · pools,)` or `(windows, pools)`.
        classes: what each class is, in row order.
        pools: what each pool is, in row order.
        nodes: most nodes that were paid for at any one time of the window (starting and draining
            ones included), shape `(windows, pools)`; a row beyond `end_s` is ignored.
        window_s: width of a window; the last one takes everything after it.
        duration_s: end of the arrivals.
        warmup_s: requests that arrived earlier are not measured.
        end_s: when the simulation ended, drain included.
        reusable_input_rates: by class, the share of the prompts of sessions that repeats the
            context of the turn before; None: not known.

    Raises:
        SimulationError: the fates of a class do not sum to its arrivals.
    """
    class_table = np.asarray(class_windows).reshape(-1, len(classes))
    pool_table = np.asarray(pool_windows).reshape(-1, len(pools))
    used = windows_in_use(class_table, pool_table, window_s=window_s, end_s=end_s)
    timeline = build_timeline(
        used=used, window_s=window_s, duration_s=duration_s, warmup_s=warmup_s, end_s=end_s
    )
    class_table, nodes = class_table[:used], nodes[:used]
    pool_table = with_drafts_settled(pool_table[:used])
    fates = build_fates(class_table, classes)
    _check_fates(fates)
    class_frame, total, objectives = build_class_tables(
        histograms, class_table, classes, duration_s=duration_s, warmup_s=warmup_s
    )
    # A first token comes with its prompt.
    served = class_table["ended"][..., Fate.SERVED]
    output = (class_table["output_tokens"] - served).sum(axis=0).tolist()
    decoded = {klass.name: max(float(n), 0.0) for klass, n in zip(classes, output, strict=True)}
    pool_frame, growing = build_pool_table(pool_table, nodes, pools, timeline, decoded)
    return Frames(
        classes=class_frame,
        total=total,
        fates=fates,
        tasks=build_tasks(
            histograms, class_table, classes, reusable_input_rates or [math.nan] * len(classes)
        ),
        objectives=objectives,
        pools=pool_frame,
        quantiles=build_quantiles(histograms, classes),
        class_windows=class_window_table(class_table, classes, timeline),
        pool_windows=pool_window_table(pool_table, nodes, pools, timeline),
        stability=growing + loss_warnings(fates, objectives),
    )


def _check_fates(fates: pd.DataFrame) -> None:
    ended = fates[list(FATES)].sum(axis=1)
    for name, arrived, fated in zip(fates["class"], fates["arrived"], ended, strict=True):
        if arrived == fated:
            continue
        raise SimulationError(
            f"class {name}: {arrived} requests arrived but {fated} have a fate; "
            "this is a fault of the simulator: please report it with the scenario"
        )
