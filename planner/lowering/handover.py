"""Pools that prefill for others: which, and how long the KV of a prompt token takes to be sent."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from planner.catalog import Catalog
from planner.curves.layout import Parallelism
from planner.curves.memory import memory_plan
from planner.kernel.plan import PoolPlan
from planner.scenario import dtypes_of
from planner.scenario.schema.pools import Pool


def kv_bytes_per_token(pool: Pool, catalog: Catalog) -> float:
    """Return the KV of a token, all layers, each head once however the replica is spread [B].

    Sliding windows and recurrent states are spread over the typical context, as in the memory of
    the pool.
    """
    chip = catalog.chip(catalog.node(pool.node).chip)
    whole = memory_plan(catalog.model(pool.model), chip, Parallelism(), dtypes_of(pool))
    return whole.kv_bytes_per_token


def with_link(plan: PoolPlan, pool: Pool, catalog: Catalog) -> PoolPlan:
    """Return the plan of a pool with its link to the pool that decodes for it, if it has one."""
    if pool.decode is None:
        return plan
    token_s = kv_bytes_per_token(pool, catalog) / pool.decode.bandwidth
    return replace(plan, link_latency_s=pool.decode.latency, link_token_s=token_s)


def with_decode_pools(plans: Sequence[PoolPlan], pools: Sequence[Pool]) -> tuple[PoolPlan, ...]:
    """Return the plans of pools, those that prefill for others handing over to them."""
    names = [pool.name for pool in pools]
    return tuple(
        plan if pool.decode is None else replace(plan, decode_pool=names.index(pool.decode.pool))
        for plan, pool in zip(plans, pools, strict=True)
    )
