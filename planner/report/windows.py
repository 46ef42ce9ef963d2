"""Windows of long runs, put together so that a page stays small."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Final

import numpy as np
import pandas as pd

from planner.results.columns import TABLES
from planner.results.result import Result

MOST_ROWS: Final = 3000
"""Rows by window that a page carries, of classes and pools together."""
FEWEST_WINDOWS: Final = 96
"""However many classes there are, so many windows are kept apart."""
_BY: Final = {"sum": "sum", "max": "max", "mean": "mean", "recompute": "mean", "key": "first"}
"""How rows of equal width combine. The mean of rates is the rate of the whole."""


def windows_together(result: Result) -> int:
    """Return how many windows of a result a page shows as one."""
    frames = result.frames
    keys = len(frames.classes) + len(frames.pools)
    most = max(FEWEST_WINDOWS, MOST_ROWS // keys)
    return math.ceil(frames.class_windows["window_start_s"].nunique() / most)


def with_fewer_windows(result: Result) -> Result:
    """Return the result as a page shows it: the same if it is short.

    The files beside a report hold every window.
    """
    together = windows_together(result)
    if together <= 1:
        return result
    frames = replace(
        result.frames,
        class_windows=_combined(result.frames.class_windows, "class", together),
        pool_windows=_combined(result.frames.pool_windows, "pool", together),
    )
    return replace(result, frames=frames, window_s=result.window_s * together)


def _combined(windows: pd.DataFrame, key: str, together: int) -> pd.DataFrame:
    columns = {each.name: each for each in TABLES[f"{key}_windows"]}
    ways = {
        name: "last" if name == "window_end_s" else _BY.get(columns[name].aggregation, "first")
        for name in windows.columns
    }
    order = windows.groupby(key, sort=False).cumcount() // together
    grouped = windows.groupby([order.rename("_at"), np.asarray(windows[key])], sort=False)
    return grouped.agg(ways).reset_index(drop=True)
