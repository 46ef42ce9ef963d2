"""What `planner explain` says of a pool's drafts: what they cost, and what they gain by batch."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from planner.kernel.plan import UNLIMITED

if TYPE_CHECKING:
    from planner.lowering.pools import LoweredPool
    from planner.scenario.schema.pools import Speculation


@dataclass(frozen=True)
class ExplainedAcceptance:
    """What a class accepts."""

    request_class: str
    length: float
    """Tokens that a step with drafts emits of a sequence, in the mean."""
    by_position: tuple[float, ...]
    """Share of the first, second, … draft that is accepted if those before were."""
    tier: str
    source: str


@dataclass(frozen=True)
class ExplainedDraftStep:
    """A step of so many decoding sequences, with drafts and without."""

    sequences: int
    plain_s: float
    """Without drafts."""
    verify_s: float
    """What the model takes with drafts to verify; as without where nothing is drafted."""
    draft_s: float
    """What drafting takes beside it."""
    tokens: float
    """Emitted of a sequence, in the mean over the classes."""

    @property
    def speed_up(self) -> float:
        """Tokens per second over those without drafts."""
        return self.tokens * self.plain_s / (self.verify_s + self.draft_s)


@dataclass(frozen=True)
class ExplainedDrafts:
    """How a pool drafts."""

    method: str
    draft_tokens: int
    verified_tokens: int
    maximum_sequences: int | None
    """Of a replica; with more nothing is drafted."""
    length: float
    """Tokens per step in the mean over the steps of the classes."""
    switched_off: bool
    """By `minimum_length`."""
    cost_source: str
    cost_tier: str
    acceptance: tuple[ExplainedAcceptance, ...]
    steps: tuple[ExplainedDraftStep, ...]


def explain_drafts(
    speculation: Speculation | None,
    lowered: LoweredPool,
    batches: Iterable[int],
    context_tokens: int,
) -> ExplainedDrafts | None:
    """Return how a pool drafts; None if it was never meant to.

    Args:
        speculation: of the pool.
        lowered: the pool.
        batches: decoding sequences of the steps.
        context_tokens: of each sequence.
    """
    draft = lowered.draft
    if speculation is None or draft is None:
        return None
    plan, cost = draft.plan, draft.cost
    limited = plan is not None and plan.sequences < UNLIMITED
    return ExplainedDrafts(
        method=speculation.method,
        draft_tokens=speculation.draft_tokens,
        verified_tokens=speculation.verified,
        maximum_sequences=plan.sequences if plan is not None and limited else None,
        length=draft.acceptance.length,
        switched_off=plan is None,
        cost_source="" if cost is None else cost.source,
        cost_tier="" if cost is None else cost.tier,
        acceptance=tuple(
            ExplainedAcceptance(
                each.request_class, each.length, each.shares, each.tier, each.source
            )
            for each in draft.acceptance.served
        ),
        steps=tuple(_steps(speculation, lowered, batches, context_tokens)),
    )


def _steps(
    speculation: Speculation, lowered: LoweredPool, batches: Iterable[int], context_tokens: int
) -> Iterator[ExplainedDraftStep]:
    """Yield the steps as they are simulated, taken apart."""
    draft, curve, pool = lowered.draft, lowered.curve, lowered.plan
    if draft is None or draft.plan is None or draft.cost is None:
        return
    plan, cost, k = draft.plan, draft.cost, speculation.draft_tokens
    for sequences in batches:
        context = float(sequences * context_tokens)
        plain_s = curve.step_s(sequences, sequences, context)
        drafting = sequences <= plan.sequences
        tokens = sequences * (1 + plan.tokens) if drafting else sequences
        first_s = 0.0 if cost.first is None else float(cost.first.linear_s[tokens])
        if not drafting:
            yield ExplainedDraftStep(sequences, plain_s, plain_s, first_s, 1.0)
            continue
        draft_s = first_s + cost.drafting(k, sequences, plan.tokens).seconds
        draft_s += plan.decode_s * context
        step_s = pool.fixed_s + pool.linear_s[tokens] + plan.seconds[sequences]
        step_s += (pool.decode_s + plan.decode_s) * context + pool.decode_seq_s * sequences
        verify_s = float(step_s) - draft_s
        yield ExplainedDraftStep(sequences, plain_s, verify_s, draft_s, draft.acceptance.length)
