"""What is possible but worth a look in how a valid scenario caches prompts."""

from __future__ import annotations

from collections.abc import Iterator

from planner.catalog import Catalog, Node
from planner.scenario.replicas import draft_of, kv_blocks_of, tier_layout
from planner.scenario.routes import pools_tried
from planner.scenario.schema import Scenario
from planner.scenario.schema.pools import Pool
from planner.scenario.schema.workload import RequestClass


def cache_notices(pool: Pool, scenario: Scenario, catalog: Catalog) -> Iterator[str]:
    """Yield what a pool caches in vain."""
    if not pool.prefix_cache:
        return
    classes = [c for c in scenario.workload.classes if pool.name in pools_tried(c)]
    if classes and not any(_may_share(klass) for klass in classes):
        yield (
            "prefix_cache is on, but its classes share nothing: they have no system_prompt, no "
            "sessions, no agents and no trace"
        )
    model, node = catalog.model(pool.model), catalog.node(pool.node)
    draft = draft_of(pool, model, catalog)
    own = kv_blocks_of(pool, model, catalog.chip(node.chip), draft)
    yield from _host_notices(pool, node)
    for tier in pool.kv_tiers:
        blocks = tier_layout(pool, tier, model, node.devices, draft).blocks
        if tier.scope == "node" and blocks < own:
            yield (
                f"tier {tier.name} holds {blocks:,} KV blocks of a replica, which holds {own:,} "
                "itself: what it keeps is mostly there already"
            )


def _host_notices(pool: Pool, node: Node) -> Iterator[str]:
    """Yield which tiers a node may not have the memory for."""
    own = [tier for tier in pool.kv_tiers if tier.scope == "node"]
    if own and node.host_memory_bytes is None:
        yield (
            f"how much memory the host of {node.name} has is not in the catalogue: see whether it "
            f"holds {own[0].capacity / 1e9:,.4g} GB for the tier {own[0].name}"
        )
        return
    for tier in own:
        if tier.capacity > float(node.host_memory_bytes or 0.0):
            yield (
                f"tier {tier.name} takes {tier.capacity / 1e9:,.4g} GB of each node, more than the "
                f"host memory of {node.name} ({node.host_memory_bytes}): that is room on disks only"
            )


def prefix_notices(scenario: Scenario) -> list[str]:
    """Return which system prompts save no work."""
    pools = {pool.name: pool for pool in scenario.pools}
    found = []
    for klass in scenario.workload.classes:
        if not klass.system_prompt:
            continue
        served_by = [pools[name] for name in pools_tried(klass)]
        caching = [pool for pool in served_by if pool.prefix_cache]
        if not caching:
            found.append(
                f"class {klass.name}: its pools have no prefix_cache, so every request "
                "computes the system_prompt again"
            )
        elif all(klass.system_prompt < pool.engine.kv_block_tokens for pool in caching):
            found.append(
                f"class {klass.name}: a system_prompt of {klass.system_prompt} tokens does "
                "not fill one KV block, so it is never shared"
            )
    return found


def _may_share(klass: RequestClass) -> bool:
    """Tell whether prompts of a class may begin alike; a trace may name sessions and blocks."""
    drawn = klass.open is not None or klass.closed is not None
    talks = klass.sessions is not None or klass.agent is not None
    return not drawn or talks or klass.system_prompt > 0
