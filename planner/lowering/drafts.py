"""From a pool's speculation to its plan: what drafting costs, and what is accepted of it.

A head or a draft model runs once over all tokens of a step (so it knows prompts and what was
verified), then once for each further position over the decoding sequences, as vLLM's EAGLE does. A
head that drafts all positions at once runs only the first time. A search costs host time.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from planner.catalog import Catalog, Chip, Model, Node
from planner.curves.curve import Tier
from planner.curves.drafting import DraftCost, head_cost, lookup_cost, model_cost
from planner.curves.heads import HEADS
from planner.curves.layout import Dtypes
from planner.curves.provenance import Provenance
from planner.curves.speculation import acceptance
from planner.curves.survival import survival_of
from planner.kernel.plan import UNLIMITED, DraftPlan
from planner.scenario import parallelism_of, step_limits_of
from planner.scenario.routes import pools_reached
from planner.scenario.schema.pools import Pool, Speculation
from planner.scenario.schema.workload import RequestClass

Array = NDArray[np.float64]


@dataclass(frozen=True)
class LoweredDraft:
    """How a pool drafts, in plain numbers."""

    plan: DraftPlan | None
    """None: too little would be accepted."""
    over_tokens_s: Array
    """What the first run adds to a step of n tokens, n = 0 … token_budget [s]."""
    notes: tuple[Provenance, ...]
    tier: Tier = "estimated"
    """Of what drafting costs: passes and searches of the host are estimates."""


def lower_draft(
    pool: Pool,
    classes: Sequence[RequestClass],
    model: Model,
    chip: Chip,
    node: Node,
    catalog: Catalog,
    decoders: Mapping[str, str],
) -> LoweredDraft | None:
    """Return how a pool drafts; None if it does not.

    Args:
        pool: without faults.
        classes: of the whole scenario, in its order.
        model: of the pool.
        chip: of its nodes.
        node: of the pool.
        catalog: knows the draft model.
    """
    speculation = pool.speculation
    if speculation is None:
        return None
    limits = step_limits_of(pool)
    budget, sequences = limits.token_budget, limits.maximum_sequences
    shares, notes = _accepted(pool.name, speculation, classes, model, decoders)
    emitted = tuple(emitted_of(each) for each in shares)
    lengths = [sum(n * share for n, share in enumerate(each, start=1)) for each in emitted]
    served = [
        length
        for length, klass in zip(lengths, classes, strict=True)
        if pool.name in pools_reached(klass, decoders)
    ]
    mean = sum(served) / len(served) if served else math.inf
    none = np.zeros(budget + 1)
    least = speculation.minimum_length
    if least is not None and mean < least:
        told = f"off: steps would emit {mean:.3g} tokens, minimum_length {least:g}"
        note = Provenance(f"{pool.name}.speculation", told, "", "the scenario", "", "estimated")
        return LoweredDraft(None, none, (*notes, note))
    cost = _cost(pool, speculation, model, chip, node, catalog)
    steps = cost.passes(speculation.draft_tokens)
    later = max(steps - 1, 0)
    batches = np.arange(sequences + 1)
    seconds = np.array(
        [
            later * cost.pass_over(b) + steps * cost.fixed_s + b * cost.sequence_s if b else 0.0
            for b in batches.tolist()
        ]
    )
    limit = speculation.maximum_sequences
    plan = DraftPlan(
        tokens=speculation.verified,
        emitted=emitted,
        seconds=seconds,
        sequences=UNLIMITED if limit is None else limit * pool.data_parallel,
        decode_s=steps * cost.context_s,
    )
    over = np.array([cost.pass_over(n) if n else 0.0 for n in range(budget + 1)])
    note = Provenance(
        f"{pool.name}.speculation.cost",
        float(seconds[min(32, sequences)]),
        "s for 32 sequences",
        cost.source,
        "",
        cost.tier,
    )
    return LoweredDraft(plan, over if steps else none, (*notes, note))


def _accepted(
    pool: str,
    speculation: Speculation,
    classes: Sequence[RequestClass],
    model: Model,
    decoders: Mapping[str, str],
) -> tuple[list[tuple[float, ...]], list[Provenance]]:
    """Return, per class, the shares accepted by position if those before were; and their source."""
    depth = speculation.draft_tokens
    label = f"{pool}.speculation.acceptance_length"
    if speculation.acceptance is not None:
        own = tuple(speculation.acceptance)
        length = 1.0 + sum(survival_of(own))
        note = Provenance(label, length, "tokens per step", "the scenario", "", "measured")
        return [own] * len(classes), [note]
    shares, notes = [], []
    for klass in classes:
        thinking = True if klass.reasoning is not None else None
        curve = acceptance(speculation.method, model.name, klass.task, thinking=thinking)
        shares.append(curve.by_position(depth))
        if pool not in pools_reached(klass, decoders):
            continue
        said = "; ".join((*curve.sources, *curve.report(depth)))
        notes.append(
            Provenance(
                f"{label}.{klass.name}",
                curve.length(depth),
                "tokens per step",
                said,
                "",
                curve.tier,
            )
        )
    return shares, notes


def emitted_of(conditional: Sequence[float]) -> tuple[float, ...]:
    """Return the probabilities to emit 1, 2, … tokens: up to the first that is refused, and one.

    >>> emitted_of((0.5, 0.5))
    (0.5, 0.25, 0.25)
    """
    kept = [1.0, *survival_of(conditional), 0.0]
    return tuple(one - other for one, other in pairwise(kept))


def _cost(
    pool: Pool, speculation: Speculation, model: Model, chip: Chip, node: Node, catalog: Catalog
) -> DraftCost:
    if speculation.method == "n-gram":
        return lookup_cost()
    spread = parallelism_of(pool)
    tokens = step_limits_of(pool).token_budget
    if speculation.draft_model is not None:
        draft = catalog.model(speculation.draft_model)
        formats = Dtypes(weight=speculation.draft_dtype, kv=pool.kv_dtype)
        return model_cost(draft, chip, node, spread, formats, tokens=tokens)
    head = HEADS[speculation.method]
    return head_cost(
        model,
        chip,
        node,
        spread,
        layers=head.layers,
        like_target=head.like_target,
        weight_dtype=speculation.draft_dtype,
        parallel=head.parallel,
        tokens=tokens,
    )
