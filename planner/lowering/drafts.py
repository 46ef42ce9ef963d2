"""From a pool's speculation to its plan: what drafting costs, and what is accepted of it.

`curves.drafting` says what runs: the first pass goes into the step times, which then hold for every
token that the model sees, prompts included; the others into the time to draft, by sequences.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from planner.catalog import Chip, Model, Node
from planner.curves.drafting import DraftCost, head_source, lookup_cost, model_cost
from planner.curves.heads import HEADS
from planner.curves.provenance import Provenance
from planner.curves.speculation import acceptance
from planner.curves.steptime import StepTime
from planner.curves.survival import survival_of
from planner.kernel.plan import UNLIMITED, DraftPlan, PoolPlan
from planner.lowering.workload import distribution, turns_of
from planner.scenario import (
    draft_dtypes_of,
    parallelism_of,
    sequence_tokens_of,
    step_limits_of,
)
from planner.scenario.routes import pools_reached
from planner.scenario.schema.pools import Pool, Speculation
from planner.scenario.schema.workload import RequestClass

if TYPE_CHECKING:
    from planner.lowering.pools import Basis

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Accepted:
    """What a class accepts of a pool's drafts."""

    request_class: str
    shares: tuple[float, ...]
    """By position, if those before it were accepted, over all steps with drafts switched on."""
    source: str
    tier: str

    @property
    def emitted(self) -> tuple[float, ...]:
        """Probabilities to emit 1, 2, … tokens: up to the first that is refused, and one.

        >>> Accepted("chat", (0.5, 0.5), "", "").emitted
        (0.5, 0.25, 0.25)
        """
        kept = [1.0, *survival_of(self.shares), 0.0]
        return tuple(one - other for one, other in pairwise(kept))

    @property
    def length(self) -> float:
        """Tokens per step in the mean."""
        return 1.0 + sum(survival_of(self.shares))


@dataclass(frozen=True)
class Acceptance:
    """What the classes accept of a pool's drafts."""

    by_class: tuple[Accepted, ...]
    """All of them: those that never reach the pool are there for their place only."""
    served: tuple[Accepted, ...]
    """Of the classes that reach it."""
    length: float
    """Tokens per step in the mean over the steps of these."""
    least: float
    """With fewer nothing is drafted."""
    notes: tuple[Provenance, ...]

    @property
    def is_enough(self) -> bool:
        """Whether the pool drafts."""
        return not self.served or self.length >= self.least


@dataclass(frozen=True)
class LoweredDraft:
    """How a pool drafts."""

    plan: DraftPlan | None
    """None: too little would be accepted."""
    cost: DraftCost | None
    """None as well."""
    acceptance: Acceptance
    notes: tuple[Provenance, ...]

    @property
    def lengths(self) -> dict[str, float]:
        """Tokens per step, by class that reaches the pool; empty where nothing is drafted."""
        used = () if self.plan is None else self.acceptance.served
        return {each.request_class: each.length for each in used}

    def within(self, plan: PoolPlan) -> PoolPlan:
        """Return the plan of a pool with the drafts, and their first pass in its step times."""
        if self.plan is None or self.cost is None or self.cost.first is None:
            return replace(plan, draft=self.plan)
        first, n = self.cost.first, len(plan.linear_s)
        # NOTE: the kernel counts the traffic of contexts alike in steps with drafts and without
        always = self.plan.sequences == UNLIMITED
        read_s = (
            self.cost.context_memory_s(len(self.acceptance.by_class[0].shares)) if always else 0.0
        )
        return replace(
            plan,
            draft=self.plan,
            linear_s=plan.linear_s + first.linear_s[:n],
            compute_s=_sum(plan.compute_s, first.compute_s[:n]),
            memory_s=_sum(plan.memory_s, first.memory_s[:n]),
            prefill_s=plan.prefill_s + first.prefill_s,
            prefill_compute_s=plan.prefill_compute_s + first.prefill_compute_s,
            decode_memory_s=plan.decode_memory_s + read_s,
        )


def acceptance_of(pool: Pool, model: Model, basis: Basis) -> Acceptance | None:
    """Return what is accepted of a pool's drafts; None if it has no speculation.

    Args:
        pool: without faults.
        model: of the pool.
        basis: with the classes.
    """
    speculation = pool.speculation
    if speculation is None:
        return None
    accepted = tuple(_accepted(speculation, klass, model) for klass in basis.classes)
    served = [
        (klass, each)
        for klass, each in zip(basis.classes, accepted, strict=True)
        if pool.name in pools_reached(klass, basis.decoders)
    ]
    ours = tuple(each for _, each in served)
    return Acceptance(
        by_class=accepted,
        served=ours,
        length=mean_length(served),
        least=speculation.minimum_length or 1.0,
        notes=tuple(_notes(pool.name, speculation, ours)),
    )


def lower_draft(
    pool: Pool,
    found: Acceptance | None,
    model: Model,
    chip: Chip,
    node: Node,
    draft: Model | None,
    curve: StepTime,
    basis: Basis,
) -> LoweredDraft | None:
    """Return how a pool drafts; None if it does not.

    Args:
        pool: without faults.
        found: what is accepted.
        model: of the pool.
        chip: of its nodes.
        node: of the pool.
        draft: what drafts; None: a search.
        curve: step times of the pool without drafts.
        basis: classes, and what step times stand on.
    """
    speculation = pool.speculation
    if speculation is None or found is None:
        return None
    if not found.is_enough:
        told = f"off: steps would emit {found.length:.3g} tokens, minimum_length {found.least:g}"
        note = Provenance(f"{pool.name}.speculation", told, "", "the scenario", "", "estimated")
        return LoweredDraft(None, None, found, (*found.notes, note))
    cost = _cost(pool, speculation, model, chip, node, draft, basis)
    plan = _plan(pool, speculation, cost, curve, found.by_class)
    shown = min(32, len(plan.seconds) - 1)
    verified = min(shown * (1 + speculation.verified), len(curve.linear_s) - 1)
    first = 0.0 if cost.first is None else float(cost.first.linear_s[verified])
    note = Provenance(
        f"{pool.name}.speculation.cost",
        float(plan.seconds[shown]) + first,
        f"s for {shown} sequences",
        cost.source,
        "",
        cost.tier,
    )
    return LoweredDraft(plan, cost, found, (*found.notes, note))


def mean_length(served: Sequence[tuple[RequestClass, Accepted]]) -> float:
    """Return the tokens per step over the steps of several classes; 1 without any.

    Each counts by its share of the steps, as an engine that watches its iterations sees it
    (TensorRT-LLM, `acceptance_rate_threshold`). A client of a closed loop is in every step; the
    requests of an open loop, or of a trace, are in as many as their outputs need. Where classes are
    of several kinds, or their lengths are in a trace, they count alike.
    """
    steps = [_steps(klass, each.length) for klass, each in served]
    kinds = {kind for kind, _ in steps}
    weights = [1.0 if len(kinds) > 1 or "unknown" in kinds else weight for _, weight in steps]
    total = sum(weights)
    if total <= 0.0:
        return 1.0
    return sum(w * each.length for w, (_, each) in zip(weights, served, strict=True)) / total


def _steps(klass: RequestClass, length: float) -> tuple[str, float]:
    """Return of which kind a class is, and its steps, on a scale of that kind."""
    if klass.closed is not None:
        return "closed", float(klass.closed.clients)
    rate = klass.share if klass.open is None else klass.open.rate
    if klass.output is None or rate is None:
        return "unknown", 1.0
    output = distribution(klass.output).mean()
    output += 0.0 if klass.reasoning is None else distribution(klass.reasoning).mean()
    turns = turns_of(klass)
    calls = 1.0 if turns is None else distribution(turns).mean()
    return "share" if klass.open is None else "open", rate * calls * output / length


def _plan(
    pool: Pool,
    speculation: Speculation,
    cost: DraftCost,
    curve: StepTime,
    accepted: Sequence[Accepted],
) -> DraftPlan:
    drafted, verified = speculation.draft_tokens, speculation.verified
    batches = range(step_limits_of(pool).maximum_sequences + 1)
    times = [cost.drafting(drafted, b, verified) for b in batches]
    rate = 1.0 if speculation.match_rate is None else speculation.match_rate
    limit = speculation.maximum_sequences
    return DraftPlan(
        tokens=verified,
        emitted=tuple(each.emitted for each in accepted),
        seconds=np.array([each.seconds for each in times])
        - _saved(curve.linear_s, len(times), verified, rate),
        sequences=UNLIMITED if limit is None else limit * pool.data_parallel,
        decode_s=cost.context_s(drafted),
        compute_s=np.array([each.compute_s for each in times])
        - _saved(curve.compute_s, len(times), verified, rate),
        memory_s=np.array([each.memory_s for each in times])
        - _saved(curve.memory_s, len(times), verified, rate),
    )


def _saved(table: Array, batches: int, verified: int, match_rate: float) -> Array:
    """Return what steps of 0, 1, … sequences take less, as not all of them have drafts to verify.

    The kernel takes a step to hold `1 + verified` tokens of each. What the others save is that of a
    step of nothing but decodes.
    """
    sequences, last = np.arange(batches), len(table) - 1
    whole = np.minimum(sequences * (1 + verified), last)
    held = np.minimum(np.rint(sequences * (1.0 + match_rate * verified)).astype(np.int64), last)
    saved: Array = table[whole] - table[held]
    return saved


def _accepted(speculation: Speculation, klass: RequestClass, model: Model) -> Accepted:
    depth = speculation.draft_tokens
    if speculation.acceptance is not None:
        first, *others = speculation.acceptance
        rate = 1.0 if speculation.match_rate is None else speculation.match_rate
        return Accepted(klass.name, (first * rate, *others), "the scenario", "measured")
    thinking = True if klass.reasoning is not None else None
    curve = acceptance(speculation.method, model.name, klass.task, thinking=thinking)
    said = "; ".join((*curve.sources, *curve.report(depth)))
    return Accepted(klass.name, curve.by_position(depth), said, curve.tier)


def _notes(pool: str, speculation: Speculation, served: Sequence[Accepted]) -> list[Provenance]:
    label = f"{pool}.speculation.acceptance_length"
    if speculation.acceptance is not None:
        return [
            Provenance(label, each.length, "tokens per step", each.source, "", each.tier)
            for each in served[:1]
        ]
    return [
        Provenance(
            f"{label}.{each.request_class}",
            each.length,
            "tokens per step",
            each.source,
            "",
            each.tier,
        )
        for each in served
    ]


def _cost(
    pool: Pool,
    speculation: Speculation,
    model: Model,
    chip: Chip,
    node: Node,
    draft: Model | None,
    basis: Basis,
) -> DraftCost:
    if draft is None:
        return lookup_cost(groups=pool.data_parallel)
    limits, head = step_limits_of(pool), HEADS.get(speculation.method)
    return model_cost(
        draft,
        chip,
        node,
        parallelism_of(pool),
        draft_dtypes_of(pool, speculation),
        parallel=head is not None and head.parallel,
        source="" if head is None else head_source(model, speculation.method),
        sequence_tokens=sequence_tokens_of(pool),
        token_budget=limits.token_budget,
        maximum_sequences=limits.maximum_sequences,
        engine=pool.engine.name,
        curves=basis.curves(chip),
        overhead=basis.engines.find(pool.engine.name, chip.name),
    )


def _sum(table: Array | None, more: Array) -> Array | None:
    return None if table is None else table + more
