"""From the tiers of a pool's KV cache to their plans: blocks they hold, seconds per block."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Final

from planner.catalog import Model, Node
from planner.curves.provenance import Provenance
from planner.kernel.plan import PoolPlan, TierPlan
from planner.scenario.replicas import TierLayout, tier_layout
from planner.scenario.schema.pools import KvTier, Pool

RARE_TOKENS: Final = 4096
"""A tier that pays only for longer prompts than this is worth a word."""


def lower_tiers(
    pool: Pool, node: Node, model: Model, draft: Model | None
) -> tuple[tuple[TierPlan, ...], tuple[Provenance, ...]]:
    """Return the plans of a pool's tiers, and what they stand on.

    Args:
        pool: without faults.
        node: of the pool.
        model: of the pool.
        draft: what drafts for it, whose cache is kept as well.
    """
    layouts = [tier_layout(pool, tier, model, node.devices, draft) for tier in pool.kv_tiers]
    plans = tuple(map(_plan, pool.kv_tiers, layouts))
    notes = tuple(
        note
        for tier, layout in zip(pool.kv_tiers, layouts, strict=True)
        for note in _notes(pool, tier, layout)
    )
    return plans, notes


def _plan(tier: KvTier, layout: TierLayout) -> TierPlan:
    return TierPlan(
        name=tier.name,
        blocks=layout.blocks,
        block_s=layout.block_bytes / tier.bandwidth,
        latency_s=tier.latency,
        shared=tier.scope == "pool",
    )


def _notes(pool: Pool, tier: KvTier, layout: TierLayout) -> Iterator[Provenance]:
    label = f"{pool.name}.kv_tiers.{tier.name}"
    per = "of the whole pool" if tier.scope == "pool" else "of one replica"
    tokens = float(layout.blocks * pool.engine.kv_block_tokens)
    kept = "arithmetic: capacity over the KV cache of a block, " + (
        "kept once" if tier.scope == "pool" else "with every device's copy"
    )
    yield Provenance(f"{label}.tokens", tokens, f"tokens {per}", kept, "", "scenario")
    yield Provenance(f"{label}.bandwidth", tier.bandwidth, "B/s", "the scenario", "", "scenario")


def tier_notes(plan: PoolPlan) -> Iterator[str]:
    """Yield a sentence for every tier of which a pool would hardly ever fetch a block."""
    for tier in plan.tiers:
        least = break_even_tokens(plan, tier)
        if least > plan.context_tokens:
            yield (
                f"Nothing is ever fetched from the KV tier {tier.name} of {plan.name}: it takes "
                "less time to compute a prompt, however long."
            )
        elif least > RARE_TOKENS:
            yield (
                f"The KV tier {tier.name} of {plan.name} is slow: only prompts of more than "
                f"{least:,.0f} tokens are fetched from it in less time than they are computed."
            )


def break_even_tokens(plan: PoolPlan, tier: TierPlan) -> float:
    """Return from how many tokens on it takes less time to fetch a prompt than to compute it.

    Computed are n tokens in `c·n + p·n²/2` seconds, where c is the time of a full step over its
    tokens and p is `prefill_s`; fetched in `latency + b·n`. Infinity: never.

    Args:
        plan: of the pool.
        tier: one of its tiers, its link free.

    >>> import numpy as np
    >>> pool = PoolPlan("p", 0.0, np.linspace(0.0, 0.5, 9), 0.0, 0.0, 2e-4, 8, 8, 100)
    >>> break_even_tokens(pool, TierPlan("host", 100, block_s=0.8))
    0.0
    >>> round(break_even_tokens(pool, TierPlan("ssd", 100, block_s=2.0)))
    625
    >>> round(break_even_tokens(pool, TierPlan("ssd", 100, block_s=2.0, latency_s=1.0)))
    641
    """
    full_s = plan.fixed_s + float(plan.linear_s[plan.token_budget])
    computed_s = full_s / plan.token_budget
    gained_s = computed_s - tier.block_s / plan.kv_block_tokens
    half = plan.prefill_s / 2.0
    if half == 0.0:
        if gained_s > 0.0:
            return tier.latency_s / gained_s
        return math.inf
    root = math.sqrt(gained_s**2 + 4.0 * half * tier.latency_s)
    if gained_s > 0.0:
        return 2.0 * tier.latency_s / (gained_s + root)  # without the cancellation of `root - gain`
    return (root - gained_s) / (2.0 * half)
