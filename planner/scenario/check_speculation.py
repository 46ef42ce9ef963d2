"""Whether a pool can draft: what drafts, what is accepted of it, and the memory for both."""

from __future__ import annotations

from collections.abc import Iterator

from planner.catalog import Catalog, Chip, Model
from planner.curves.speculation import AcceptanceCurve, acceptance
from planner.errors import CatalogError, shown
from planner.scenario.nodes import Location
from planner.scenario.replicas import draft_of, pool_memory
from planner.scenario.schema.pools import Pool, Speculation

Finding = tuple[Location, str]


def check_speculation(pool: Pool, model: Model, chip: Chip, catalog: Catalog) -> Iterator[Finding]:
    """Yield (location inside the pool, message) for drafts that cannot be made or judged.

    The pool itself has no faults.
    """
    speculation = pool.speculation
    if speculation is None:
        return
    try:
        draft = draft_of(pool, model, catalog)
    except CatalogError as error:
        yield ("speculation", "draft_model"), str(error)
        return
    found = acceptance(speculation.method, model.name)
    # A head of its own is part of a model; those trained after it exist or can be made for any.
    own = ("model", "family") if speculation.method == "mtp" else ("model", "family", "method")
    if speculation.acceptance is None and found.matched not in own:
        yield (
            ("speculation", "method"),
            f"no published measurement says how many {speculation.method} drafts {model.name} or "
            "its family accepts; state `acceptance`, the share accepted at each position, from "
            "your own runs",
        )
    yield from _matches(speculation, found)
    if draft is None:
        return
    where = ("speculation", "draft_model")
    if speculation.method == "draft-model" and draft.vocabulary_size != model.vocabulary_size:
        yield (
            where,
            f"{draft.name} has a vocabulary of {draft.vocabulary_size:,} tokens, {model.name} of "
            f"{model.vocabulary_size:,}, so its drafts cannot be verified; use one of its family",
        )
        return
    if draft.parameters_per_token() >= model.parameters_per_token():
        yield where, f"{draft.name} is not smaller than {model.name}; use a smaller draft_model"
        return
    heads = {run.attention.query_heads for run in draft.layers}
    uneven = [count for count in sorted(heads) if count % pool.tensor_parallel]
    if uneven:
        yield (
            ("tensor_parallel",),
            f"{pool.tensor_parallel} does not divide the {uneven[0]} attention heads of the draft "
            f"{draft.name}; use a divisor of both, or another draft_model",
        )
        return
    if pool.engine.kv_blocks is None:
        plan = pool_memory(pool, model, chip, draft)
        if not plan.fits:
            yield (
                ("speculation",),
                f"{model.name} fits into {chip.name} alone, but not with what drafts for it "
                f"({shown(draft.name)}): {plan.describe()}",
            )


def _matches(speculation: Speculation, found: AcceptanceCurve) -> Iterator[Finding]:
    """Yield what is wrong with the share of steps that draft: no other step can accept anything."""
    rate = speculation.match_rate
    if rate is None or speculation.acceptance is not None:
        return
    accepted = found.by_position(speculation.draft_tokens)[0]
    if rate < accepted:
        yield (
            ("speculation", "match_rate"),
            f"{rate:g} is less than the {accepted:.2f} of all steps in which the first draft is "
            "accepted by published measurements; state `acceptance`, of steps that draft, from "
            "your own runs",
        )
