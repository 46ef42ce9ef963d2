"""What a pool runs out of: one limit at a time is lifted, and the same requests are served again.

Utilisation alone misleads. A pool whose memory is busiest on average may break its promise in the
few steps that carry a prompt, and a cache that is half empty on average may be full in every burst.
So the question is put to the simulation: which resource, had there been more of it, would have kept
the promise?
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Final

import numpy as np

from planner.catalog import Catalog, Chip, Figure
from planner.lowering.pools import LoweredPool, lower_pool, with_scheduling
from planner.results.columns import BROKEN
from planner.results.result import Result
from planner.scenario.schema.pools import Pool

SPEED_UP: Final = 2.0
"""How much faster a chip's arithmetic or memory is made, or a link. All by the same, to be
compared."""
AMPLE: Final = 1 << 40
"""KV blocks that no workload fills."""
AMPLE_SEQUENCES: Final = 1024
"""Sequences of a replica that few workloads reach; each takes memory of the simulator."""

Lift = Callable[[Pool, LoweredPool, Catalog], LoweredPool]


def _without_kv_limit(pool: Pool, lowered: LoweredPool, _catalog: Catalog) -> LoweredPool:
    # What is shed, or kept from batch classes, are shares of the blocks.
    plan = with_scheduling(replace(lowered.plan, kv_blocks=AMPLE), pool, lowered.basis)
    return replace(lowered, plan=plan, meta=replace(lowered.meta, kv_blocks=AMPLE))


def _without_queue_limits(pool: Pool, lowered: LoweredPool, catalog: Catalog) -> LoweredPool:
    engine = pool.engine
    slots = min(engine.token_budget, max(AMPLE_SEQUENCES, 4 * engine.maximum_sequences))
    if pool.speculation is not None:
        drafted = pool.speculation.sequences_within(engine.token_budget)
        if (pool.speculation.maximum_sequences or slots) > drafted:
            slots = max(min(slots, drafted), engine.maximum_sequences)
    # Lowered again, since a larger batch samples more; but its working space takes no KV memory.
    roomy = {"maximum_sequences": slots, "queue_limit": None, "kv_blocks": lowered.plan.kv_blocks}
    lifted = pool.model_copy(update={"engine": engine.model_copy(update=roomy)})
    return lower_pool(lifted, catalog, lowered.basis)


def _with_faster_arithmetic(pool: Pool, lowered: LoweredPool, catalog: Catalog) -> LoweredPool:
    peak = {dtype: _scaled(figure) for dtype, figure in lowered.chip.peak_flops.items()}
    return _on(replace(lowered.chip, peak_flops=peak), pool, lowered, catalog)


def _with_faster_memory(pool: Pool, lowered: LoweredPool, catalog: Catalog) -> LoweredPool:
    bandwidth = _scaled(lowered.chip.memory_bandwidth)
    return _on(replace(lowered.chip, memory_bandwidth=bandwidth), pool, lowered, catalog)


def _on(chip: Chip, pool: Pool, lowered: LoweredPool, catalog: Catalog) -> LoweredPool:
    """Return the pool on a faster chip, on which no step takes longer.

    It could by a few percent: an operator that leaves its bound for the other meets the rate that
    the engine attains there, and that of arithmetic may be the lower one.
    """
    chips = {**catalog.chips, chip.name: chip}
    faster = lower_pool(pool, replace(catalog, chips=chips), lowered.basis)
    linear_s = np.minimum(faster.plan.linear_s, lowered.plan.linear_s)
    return replace(faster, plan=replace(faster.plan, linear_s=linear_s))


def _scaled(figure: Figure) -> Figure:
    return replace(figure, value=SPEED_UP * figure.value)


def _with_faster_link(_pool: Pool, lowered: LoweredPool, _catalog: Catalog) -> LoweredPool:
    token_s = lowered.plan.link_token_s / SPEED_UP
    return replace(lowered, plan=replace(lowered.plan, link_token_s=token_s))


LIFTS: Final[dict[str, tuple[str, Lift]]] = {
    "kv_capacity": ("without KV limit", _without_kv_limit),
    "queueing": ("without limits on sequences and queues", _without_queue_limits),
    "kv_link": (f"with links of {SPEED_UP:g}x the bandwidth", _with_faster_link),
    "compute": (f"with {SPEED_UP:g}x the arithmetic", _with_faster_arithmetic),
    "memory_bandwidth": (f"with {SPEED_UP:g}x the memory bandwidth", _with_faster_memory),
}
"""Resource → (what is lifted, in words; how). Only a pool that prefills for another has a link."""
CAPACITIES: Final = ("kv_capacity", "queueing")
"""Limits that can be taken away altogether, unlike a speed."""


def strain(result: Result) -> float:
    """Return how far the worst promise is from being kept: value / limit, infinite if nothing came.

    Args:
        result: of any run; its values and limits are those of the objectives and allowed losses.
    """
    worst = 0.0
    for row in result.frames.objectives.to_dict("records"):
        value, limit = float(row["value"]), float(row["limit"])
        if math.isnan(value):
            ratio = math.inf if row["verdict"] == BROKEN else 0.0
        elif limit > 0:
            ratio = value / limit
        else:
            ratio = math.inf if value > 0 else 0.0
        worst = max(worst, ratio)
    return worst


def binding(passed: dict[str, bool], strains: dict[str, float], otherwise: str) -> str:
    """Return the resource that a pool runs out of.

    A limit that keeps the promises by going away is the answer: the hardware could have served.
    Else it is what brings the promises nearest to being kept.

    Args:
        passed: by resource, whether all promises are kept once it is lifted.
        strains: by resource, how far they are from it.
        otherwise: the answer where nothing makes a difference.

    >>> binding({"queueing": False, "compute": True}, {"queueing": 3.0, "compute": 0.8}, "none")
    'compute'
    """
    for resource in CAPACITIES:
        if passed.get(resource):
            return resource
    if math.isclose(min(strains.values()), max(strains.values()), rel_tol=1e-3):
        return otherwise
    return min(strains, key=lambda resource: strains[resource])
