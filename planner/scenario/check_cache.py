"""Whether what a pool says of its KV cache fits together: tiers, swapping, cache-aware routing."""

from __future__ import annotations

from collections.abc import Iterator

from planner.catalog import Catalog, Model, Node
from planner.errors import CatalogError, shown
from planner.scenario.nodes import Location
from planner.scenario.replicas import draft_of, tier_layout
from planner.scenario.schema.pools import Pool

Finding = tuple[Location, str]


def check_cache(pool: Pool) -> Iterator[Finding]:
    """Yield (location inside the pool, message) for settings that contradict each other."""
    if pool.kv_tiers and not pool.prefix_cache:
        yield (
            ("kv_tiers",),
            "tiers keep what a prefix cache would forget, and there is none; set prefix_cache: "
            "true, or delete kv_tiers",
        )
    names = [tier.name for tier in pool.kv_tiers]
    for index, name in enumerate(names):
        if name in names[:index]:
            yield ("kv_tiers", index, "name"), f"{shown(name)} is a tier already; rename one"
    if pool.engine.preemption == "swap":
        where = ("engine", "preemption")
        if not pool.kv_tiers:
            yield where, "swap needs a tier to go to; add one to kv_tiers, or use recompute"
        elif pool.kv_tiers[0].scope == "pool":
            yield (
                where,
                f"sequences are swapped to the first tier, and {shown(names[0])} is shared by all "
                "replicas; put a tier with scope: node before it, or use recompute",
            )
    if pool.router == "cache_aware" and not pool.prefix_cache:
        yield (
            ("router",),
            "cache_aware looks for cached prompts, and nothing is cached; set prefix_cache: true, "
            "or use another router",
        )
    if pool.affinity is not None and pool.router != "cache_aware":
        yield (
            ("affinity",),
            f"is for the router cache_aware, not {pool.router}; delete it, or set router: "
            "cache_aware",
        )


def check_tiers(pool: Pool, model: Model, node: Node, catalog: Catalog) -> Iterator[Finding]:
    """Yield (location inside the pool, message) for tiers that hold nothing.

    The pool itself has no faults.
    """
    try:
        draft = draft_of(pool, model, catalog)
    except CatalogError:
        return  # said by `check_speculation`
    for index, tier in enumerate(pool.kv_tiers):
        layout = tier_layout(pool, tier, model, node.devices, draft)
        if layout.blocks < 1:
            block = f"{layout.block_bytes / 1e6:,.3g} MB"
            whose = "the pool's" if tier.scope == "pool" else "a replica's"
            yield (
                ("kv_tiers", index, "capacity"),
                f"{whose} share of it does not hold one KV block of {pool.engine.kv_block_tokens} "
                f"tokens, which takes {block}; give more",
            )
