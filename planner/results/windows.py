"""Tables by reporting window, and the part of the run that the means are taken over."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from planner.results import columns
from planner.results.meta import ClassMeta, PoolMeta

_TOLERANCE_S = 1e-9
"""Window edges are products in floating point."""


@dataclass(frozen=True)
class Timeline:
    """Edges of the reporting windows and what they belong to."""

    start_s: NDArray[np.float64]
    end_s: NDArray[np.float64]
    measured: NDArray[np.bool_]
    """Windows that lie between the warm-up and the end of the arrivals, or, where no window fits
    between them, all that start before the end of the arrivals."""
    window_s: float
    duration_s: float
    warmup_s: float

    @property
    def width_s(self) -> NDArray[np.float64]:
        """Width of each window in seconds; the last may be zero."""
        return self.end_s - self.start_s

    def __len__(self) -> int:
        return len(self.start_s)


def build_timeline(
    *, used: int, window_s: float, duration_s: float, warmup_s: float, end_s: float
) -> Timeline:
    """Return the windows of a run.

    Args:
        used: windows that the arrays have; the last takes everything after it. Empty ones after
            `end_s` are already left out.
        window_s: width of a window.
        duration_s: end of the arrivals.
        warmup_s: requests that arrived earlier are not measured.
        end_s: when the simulation ended, drain included.
    """
    start_s = np.arange(used, dtype=np.float64) * window_s
    last_s = max(end_s, start_s[-1]) if end_s > 0 else window_s
    window_end_s = np.append(start_s[1:], last_s)
    arrivals = (start_s < duration_s) & (window_end_s > start_s)
    measured = (start_s >= warmup_s - _TOLERANCE_S) & (window_end_s <= duration_s + _TOLERANCE_S)
    measured &= arrivals
    if not measured.any():
        measured = arrivals
    return Timeline(start_s, window_end_s, measured, window_s, duration_s, warmup_s)


def windows_in_use(
    class_windows: NDArray[np.void],
    pool_windows: NDArray[np.void],
    *,
    window_s: float,
    end_s: float,
) -> int:
    """Return how many windows the run reached: those that start before `end_s` or hold anything.

    Args:
        class_windows: `CLASS_WINDOW`, shape `(windows, classes)`.
        pool_windows: `POOL_WINDOW`, shape `(windows, pools)`.
        window_s: width of a window.
        end_s: when the simulation ended.
    """
    reached = min(len(class_windows), max(1, math.ceil(end_s / window_s - _TOLERANCE_S)))
    counted = (
        class_windows["arrived"].any(axis=1)
        | class_windows["ended"].any(axis=(1, 2))
        | pool_windows["steps"].any(axis=1)
    )
    return max(reached, *(np.flatnonzero(counted) + 1).tolist(), 1)


def with_drafts_settled(pool_windows: NDArray[np.void]) -> NDArray[np.void]:
    """Return the windows of pools with no negative number of decoded tokens.

    A sequence with drafts is counted at the mean pace of its class, and put right in the window in
    which it ends. Where more was counted than it emitted, that window can fall below zero; what it
    lacks was counted in the windows before, from which it is taken here. Sums stay.

    Args:
        pool_windows: `POOL_WINDOW`, shape `(windows, pools)`.
    """
    if (pool_windows["decode_tokens"] >= 0).all():
        return pool_windows
    settled = pool_windows.copy()
    so_far = settled["decode_tokens"].cumsum(axis=0)
    least = np.minimum.accumulate(so_far[::-1], axis=0)[::-1]
    settled["decode_tokens"] = np.diff(np.maximum(least, 0), axis=0, prepend=0)
    return settled


def _ratio(numerator: NDArray[np.float64], denominator: NDArray[np.float64]) -> NDArray[np.float64]:
    result = np.full(np.broadcast_shapes(numerator.shape, denominator.shape), np.nan)
    np.divide(numerator, denominator, out=result, where=denominator > 0)
    return result


def _share(part: NDArray[np.float64], whole: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the share of a part in its whole, at most 1: sums of floats may round beyond it."""
    return np.minimum(_ratio(part, whole), 1.0)


def _keys(timeline: Timeline, key: str, names: Sequence[str]) -> dict[str, NDArray[np.generic]]:
    return {
        "window_start_s": np.repeat(timeline.start_s, len(names)),
        "window_end_s": np.repeat(timeline.end_s, len(names)),
        key: np.tile(np.array(names, dtype=object), len(timeline)),
    }


def class_window_table(
    table: NDArray[np.void], classes: Sequence[ClassMeta], timeline: Timeline
) -> pd.DataFrame:
    """Return one row per window and class.

    Args:
        table: `CLASS_WINDOW`, shape `(windows, classes)`.
        classes: in row order.
        timeline: the same windows.
    """
    width_s = timeline.width_s[:, None]
    data = dict(_keys(timeline, "class", [c.name for c in classes]))
    data["arrived"] = table["arrived"].ravel()
    for number, fate in enumerate(columns.FATES):
        data[fate] = table["ended"][:, :, number].ravel()
    for name in ("good", "preemptions"):
        data[name] = table[name].ravel()
    for name, field in columns.TOKEN_FIELDS.items():
        data[name] = table[field].ravel()
    data["arrival_rps"] = _ratio(table["arrived"].astype(float), width_s).ravel()
    data["served_rps"] = _ratio(table["ended"][:, :, 0].astype(float), width_s).ravel()
    data["goodput_rps"] = _ratio(table["good"].astype(float), width_s).ravel()
    return pd.DataFrame(data)[columns.names("class_windows")]


def pool_window_table(
    table: NDArray[np.void],
    nodes: NDArray[np.int64],
    pools: Sequence[PoolMeta],
    timeline: Timeline,
) -> pd.DataFrame:
    """Return one row per window and pool.

    Args:
        table: `POOL_WINDOW`, shape `(windows, pools)`.
        nodes: most nodes paid for at one time of the window, shape `(windows, pools)`.
        pools: in row order.
        timeline: the same windows.
    """
    width_s = timeline.width_s[:, None]
    devices = np.array([[float(p.devices_per_replica) for p in pools]])
    kv_blocks = np.array([[float(p.kv_blocks) for p in pools]])
    active_s = table["active_s"]
    data = dict(_keys(timeline, "pool", [p.name for p in pools]))
    data["nodes"] = nodes.ravel()
    data["replicas"] = _ratio(active_s, width_s).ravel()
    data["accelerators"] = _ratio(active_s * devices, width_s).ravel()
    data["accelerators_busy"] = _ratio(table["busy_s"] * devices, width_s).ravel()
    for name in ("busy", "compute", "memory"):
        data[f"{name}_rate"] = _share(table[f"{name}_s"], active_s).ravel()
    parked_s, held_s = table["parked_block_s"], active_s * kv_blocks
    data["kv_usage_rate"] = _share(table["kv_block_s"] + parked_s, held_s).ravel()
    data["kv_parked_rate"] = _share(parked_s, held_s).ravel()
    data["link_rate"] = _share(table["link_s"], active_s).ravel()
    data["landing"] = _ratio(table["landing_s"], width_s).ravel()
    data["running"] = _ratio(table["running_s"], width_s).ravel()
    data["waiting"] = _ratio(table["waiting_s"], width_s).ravel()
    data["batch_waiting"] = _ratio(table["batch_waiting_s"], width_s).ravel()
    for name in columns.FLOWS:
        data[name] = table[name].ravel()
    for number, name in enumerate(columns.LOADED_COLUMNS):
        data[name] = table["loaded_tokens"][:, :, number].ravel()
    return pd.DataFrame(data)[columns.names("pool_windows")]
