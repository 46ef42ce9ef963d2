"""The table of pools: size, utilisation, what binds, and whether the queue grows."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from planner.results import columns
from planner.results.formatting import count
from planner.results.meta import PoolMeta
from planner.results.metrics import (
    WAITING_PER_REPLICA,
    busiest_resource,
    divide,
    peak_windows,
    share_of,
)
from planner.results.stability import FEWEST_WINDOWS, Growth, queue_growth
from planner.results.windows import Timeline

_TIMES = ("busy_s", "compute_s", "memory_s", "active_s", "running_s", "waiting_s", "kv_block_s")
"""Of which the busiest resource is told."""
_HANDOVER_TIMES = ("parked_block_s", "link_s", "landing_s")

RESOURCE_TITLES: Final = {
    "kv_link": "KV link",
    "kv_capacity": "KV capacity",
    "queueing": "queueing",
    "compute": "compute",
    "memory_bandwidth": "memory bandwidth",
    "none": "none",
}
_REMEDIES: Final = {
    "kv_link": "raise decode.bandwidth of the pool that prefills, or prefill on more nodes, since "
    "each replica has a link of its own",
}
"""What helps against a growing queue, where that is not simply more nodes."""


def build_pool_table(
    table: NDArray[np.void],
    nodes: NDArray[np.int64],
    pools: Sequence[PoolMeta],
    timeline: Timeline,
    decoded: Mapping[str, float] | None = None,
) -> tuple[pd.DataFrame, tuple[str, ...]]:
    """Return one row per pool, and a sentence for every queue that grows.

    Utilisation is taken over the measured windows; requests and tokens are those of the whole run.

    Args:
        table: `POOL_WINDOW`, shape `(windows, pools)`.
        nodes: most nodes paid for at one time of the window, shape `(windows, pools)`.
        pools: in row order.
        timeline: the same windows.
        decoded: tokens decoded, by class; None: not known.
    """
    rows: list[dict[str, Any]] = []
    warnings: list[str] = []
    for number, pool in enumerate(pools):
        windows = table[:, number]
        growth = _growth(windows, timeline)
        row = _pool_row(windows, nodes[:, number], pool, timeline, growth)
        row["busiest_resource"] = _busiest_resource(
            windows, pool, _links(table, pools, pool), timeline
        )
        row["acceptance_length"] = acceptance_length(pool.acceptance, decoded or {})
        rows.append(row)
        warning = _warning(row, windows, timeline, growth)
        if warning:
            warnings.append(warning)
    return pd.DataFrame(rows, columns=columns.names("pools")), tuple(warnings)


def _pool_row(
    windows: NDArray[np.void],
    nodes: NDArray[np.int64],
    pool: PoolMeta,
    timeline: Timeline,
    growth: Growth,
) -> dict[str, Any]:
    measured = windows[timeline.measured]
    measured_s = float(timeline.width_s[timeline.measured].sum())
    sums = {name: float(measured[name].sum()) for name in (*_TIMES, *_HANDOVER_TIMES)}
    kv_block_s = sums["kv_block_s"] + sums["parked_block_s"]
    held_block_s = pool.kv_blocks * sums["active_s"]
    width_s = timeline.width_s
    waiting = np.divide(
        windows["waiting_s"], width_s, out=np.zeros(len(width_s)), where=width_s > 0
    )
    nodes_at_peak = int(nodes.max())
    flows = {name: int(windows[name].sum()) for name in columns.FLOWS}
    loaded = windows["loaded_tokens"].sum(axis=0).tolist()
    prompts = flows["prefill_tokens"] + flows["cached_tokens"] + sum(loaded)
    return {
        "pool": pool.name,
        "model": pool.model,
        "chip": pool.chip,
        "node": pool.node,
        "parallelism": pool.parallelism,
        "weight_dtype": pool.weight_dtype,
        "tier": pool.tier,
        "prefix_cache": pool.prefix_cache,
        "kv_tiers": ", ".join(pool.kv_tiers),
        "nodes_at_peak": nodes_at_peak,
        "accelerators_at_peak": nodes_at_peak * pool.devices_per_node,
        "devices_per_replica": pool.devices_per_replica,
        "replicas": divide(sums["active_s"], measured_s),
        "busy_rate": share_of(sums["busy_s"], sums["active_s"]),
        "compute_rate": share_of(sums["compute_s"], sums["active_s"]),
        "memory_rate": share_of(sums["memory_s"], sums["active_s"]),
        "kv_usage_rate": share_of(kv_block_s, held_block_s),
        "kv_parked_rate": share_of(sums["parked_block_s"], held_block_s),
        "link_rate": share_of(sums["link_s"], sums["active_s"]),
        "landing": divide(sums["landing_s"], measured_s),
        "running": divide(sums["running_s"], measured_s),
        "waiting": divide(sums["waiting_s"], measured_s),
        "batch_waiting": divide(float(measured["batch_waiting_s"].sum()), measured_s),
        **flows,
        **dict(zip(columns.LOADED_COLUMNS, loaded, strict=True)),
        "prefix_hit_rate": divide(flows["cached_tokens"], prompts),
        "tier_hit_rate": divide(sum(loaded), prompts),
        "waiting_max": float(waiting.max()),
        "decode_tokens_per_s_per_accelerator": divide(
            float(measured["decode_tokens"].sum()), sums["active_s"] * pool.devices_per_replica
        ),
        "step_s": divide(sums["busy_s"], float(measured["steps"].sum())),
        "queue_growth_rps": growth.per_s,
        "stable": not growth.grows,
    }


def _links(
    table: NDArray[np.void], pools: Sequence[PoolMeta], pool: PoolMeta
) -> list[NDArray[np.void]]:
    """Return the windows of the pools whose links end here, or begin: its own, if it prefills."""
    return [
        table[:, number]
        for number, source in enumerate(pools)
        if source.decode_pool and pool.name in (source.name, source.decode_pool)
    ]


def acceptance_length(lengths: Mapping[str, float], decoded: Mapping[str, float]) -> float:
    """Return the tokens per step over several classes: their tokens over their steps.

    Args:
        lengths: tokens per step, by class.
        decoded: tokens decoded, by class.

    >>> acceptance_length({"a": 2.0, "b": 4.0}, {"a": 100.0, "b": 200.0})
    3.0
    """
    steps = sum(decoded.get(name, 0.0) / length for name, length in lengths.items())
    return divide(sum(decoded.get(name, 0.0) for name in lengths), steps)


def _busiest_resource(
    windows: NDArray[np.void],
    pool: PoolMeta,
    links: Sequence[NDArray[np.void]],
    timeline: Timeline,
) -> str:
    measured = windows[timeline.measured]
    at = peak_windows(measured["running_s"] + _queued_s(measured))
    peak = measured[at]
    used = [source[timeline.measured][at] for source in links]
    sums = {name: float(peak[name].sum()) for name in _TIMES}
    sums["kv_block_s"] += float(peak["parked_block_s"].sum())
    return busiest_resource(
        **sums,
        routed=int(peak["routed"].sum()),
        preemptions=int(peak["preemptions"].sum()),
        kv_blocks=pool.kv_blocks,
        maximum_sequences=pool.maximum_sequences,
        link_rate=max(
            (share_of(w["link_s"].sum(), w["active_s"].sum()) for w in used), default=0.0
        ),
    )


def _queued_s(windows: NDArray[np.void]) -> NDArray[np.float64]:
    """Return for how many request-seconds requests wait: for memory, or for their KV to come."""
    queued: NDArray[np.float64] = windows["waiting_s"] + windows["landing_s"]
    return queued


def _growth(windows: NDArray[np.void], timeline: Timeline) -> Growth:
    measured = windows[timeline.measured]
    width_s = timeline.width_s[timeline.measured]
    period_s = float(width_s.sum())
    return queue_growth(
        _queued_s(measured) / width_s,
        timeline.window_s,
        float(measured["routed"].sum()) / period_s,
        float(measured["running_s"].sum()) / period_s,
    )


def _slope(growth: Growth) -> str:
    return count(float(f"{growth.per_s:.2g}"))  # a trend is not worth a third digit


def _warning(
    row: dict[str, Any], windows: NDArray[np.void], timeline: Timeline, growth: Growth
) -> str:
    last = windows[timeline.measured][-1]
    waiting = float(_queued_s(last)) / float(timeline.width_s[timeline.measured][-1])
    if growth.grows:
        binding = RESOURCE_TITLES[row["busiest_resource"]]
        return (
            f"pool {row['pool']}: the queue grows by {_slope(growth)} requests per second "
            f"through the arrivals and ends with {waiting:,.0f} waiting: the pool cannot keep up "
            f"(busiest resource: {binding}). Percentiles get worse the longer this goes on; "
            f"{_REMEDIES.get(row['busiest_resource'], 'add nodes or shed load')}."
        )
    replicas = max(float(last["active_s"]) / timeline.window_s, 1.0)
    if math.isnan(growth.per_s) and waiting >= WAITING_PER_REPLICA * replicas:
        finest_s = (timeline.duration_s - timeline.warmup_s) / (2 * FEWEST_WINDOWS)
        return (
            f"pool {row['pool']}: {waiting:,.0f} requests wait when the arrivals end, but "
            f"{int(timeline.measured.sum())} windows are too few to tell whether the queue grows; "
            f"set workload.window to {finest_s:.3g} s or less."
        )
    return ""
