"""How long the requests are that pools can ever serve: by context, and by the KV of a replica."""

from __future__ import annotations

from collections.abc import Mapping

from planner.catalog import Catalog, Model
from planner.scenario.check_pools import check_pool
from planner.scenario.replicas import draft_of, kv_blocks_of
from planner.scenario.routes import own_pools
from planner.scenario.schema.pools import Pool
from planner.scenario.schema.workload import RequestClass


def context_of(pool: Pool, model: Model) -> int:
    """Return the longest prompt and output that a pool's engine takes."""
    return pool.engine.context_tokens or model.context_tokens


def longest_in(pool: Pool, catalog: Catalog) -> int | None:
    """Return the longest prompt and output that a replica can hold; None: its model is unknown.

    Of a pool with faults only the context and the KV blocks that it states are looked at.
    """
    model = catalog.models.get(pool.model)
    if model is None:
        return None
    blocks = _kv_blocks(pool, model, catalog)
    context = context_of(pool, model)
    if blocks is None:
        return context
    speculation = pool.speculation
    # Drafts need room besides; those of a method that may turn out too weak are not counted on.
    drafts = speculation is not None and speculation.minimum_length is None
    room = blocks * pool.engine.kv_block_tokens - (
        speculation.verified if drafts and speculation else 0
    )
    return min(context, room + 1)  # the last token is emitted and never written


def _kv_blocks(pool: Pool, model: Model, catalog: Catalog) -> int | None:
    if pool.engine.kv_blocks is not None:
        return pool.engine.kv_blocks
    if pool.node not in catalog.nodes or any(check_pool(pool, catalog)):
        return None
    chip = catalog.chip(catalog.node(pool.node).chip)
    return kv_blocks_of(pool, model, chip, draft_of(pool, model, catalog))


def longest_served(
    klass: RequestClass, longest: Mapping[str, int | None], decoders: Mapping[str, str]
) -> int | None:
    """Return the longest prompt and output for which a class has a pool; None if unknown.

    Where one pool prefills and another decodes, both have to hold it. A lighter model takes some of
    the requests only, so it is not counted on.

    Args:
        klass: the class.
        longest: by pool, `longest_in` of it.
        decoders: by pool that only prefills, the one that decodes for it.
    """
    served = []
    for name in own_pools(klass):
        held = [longest.get(each) for each in (name, decoders.get(name, name))]
        known = [tokens for tokens in held if tokens is not None]
        if len(known) == len(held):
            served.append(min(known))
    return max(served, default=None)


def shortfall(
    name: str,
    prompt: int,
    output: int,
    longest: Mapping[str, int | None],
    decoders: Mapping[str, str],
) -> str:
    """Return why no request of these lengths can be served from a pool on; empty if one may be.

    Args:
        name: the pool that they arrive at.
        prompt: tokens.
        output: tokens.
        longest: by pool, `longest_in` of it.
        decoders: by pool that only prefills, the one that decodes for it.
    """
    last = decoders.get(name, name)
    first_tokens, last_tokens = longest.get(name), longest.get(last)
    if last_tokens is not None and prompt + output > last_tokens:
        return f"pool {last} takes at most {last_tokens:,} of prompt and output"
    if last != name and first_tokens is not None and prompt + min(output, 1) > first_tokens:
        return f"pool {name} takes at most {first_tokens:,} of prompt and first token"
    return ""
