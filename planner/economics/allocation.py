"""Who bears which cost: each cost line is divided among the classes of its pool, exactly."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from planner.economics.ledger import COST_KINDS, LedgerLine, LineKind
from planner.economics.money import split_exactly, to_usd
from planner.economics.usage import ClassUsage, PoolRole, Tokens, TokenWeights

UNALLOCATED: Final = "(unallocated)"
"""Bearer of the cost of pools that served no class at all."""


@dataclass(frozen=True)
class CostShare:
    """Cost borne by one class, in exact micro-dollars."""

    bearer: str
    workload_microusd: int = 0
    idle_microusd: int = 0
    overhead_microusd: int = 0
    by_pool: dict[str, int] = field(default_factory=dict)
    """Of the sum of the three, in each pool."""

    @property
    def cost_microusd(self) -> int:
        """Workload + idle + overhead."""
        return self.workload_microusd + self.idle_microusd + self.overhead_microusd

    @property
    def cost_usd(self) -> float:
        """The same in dollars."""
        return to_usd(self.cost_microusd)


def allocate_costs(
    lines: Iterable[LedgerLine], classes: Sequence[ClassUsage]
) -> tuple[CostShare, ...]:
    """Divide every cost line among the classes in proportion to their weights in its pool.

    Idle and overhead follow the same key as the work (OpenCost's proportional sharing). Each line
    is divided by largest remainder, so the shares add up to the bill, kind by kind.

    Args:
        lines: ledger lines; those that are no costs are passed over.
        classes: with their weights by pool.

    Returns:
        One share per class, in their order, and a last one for `UNALLOCATED`: the cost of pools in
        which no class has weight.

    >>> lines = [LedgerLine("machine time", LineKind.WORKLOAD, 1.0, "device-hour", 0.000010,
    ...                     "p", "s", "2026", pool="chat")]
    >>> classes = [ClassUsage(name, None, 1, 0, 0, pool_weights={"chat": weight})
    ...            for name, weight in (("guest", 1.0), ("user", 2.0))]
    >>> [(share.bearer, share.cost_microusd) for share in allocate_costs(lines, classes)]
    [('guest', 3), ('user', 7), ('(unallocated)', 0)]
    """
    bearers = [usage.name for usage in classes] + [UNALLOCATED]
    totals = [dict.fromkeys(COST_KINDS, 0) for _ in bearers]
    by_pool: list[dict[str, int]] = [{} for _ in bearers]
    for line in lines:
        if line.kind not in COST_KINDS:
            continue
        weights = [usage.pool_weights.get(line.pool, 0.0) for usage in classes]
        weights.append(0.0 if any(weights) else 1.0)
        for index, part in enumerate(split_exactly(line.amount_microusd, weights)):
            totals[index][line.kind] += part
            if part:
                by_pool[index][line.pool] = by_pool[index].get(line.pool, 0) + part
    return tuple(
        CostShare(
            bearer,
            workload_microusd=total[LineKind.WORKLOAD],
            idle_microusd=total[LineKind.IDLE],
            overhead_microusd=total[LineKind.OVERHEAD],
            by_pool=pools,
        )
        for bearer, total, pools in zip(bearers, totals, by_pool, strict=True)
    )


@dataclass(frozen=True)
class TokenCosts:
    """Cost of a class by what its tokens are, in exact micro-dollars."""

    input_microusd: int = 0
    """Of uncached input."""
    cached_input_microusd: int = 0
    output_microusd: int = 0


def allocate_to_tokens(
    share: CostShare,
    tokens: Tokens,
    roles: Mapping[str, PoolRole],
    weights: TokenWeights,
) -> TokenCosts:
    """Divide the cost of a class among its tokens, exactly.

    A pool that only prefills costs input, one that only decodes costs output. What a pool that does
    both costs is divided by tokens, each kind at its weight: batches mix the two, so nothing
    measures what one token of a step costs. A class without tokens has no costs by token.

    Args:
        share: cost that the class bears.
        tokens: tokens of the class.
        roles: what each pool does.
        weights: what kinds of tokens cost where one pool computes all of them.

    >>> share = CostShare("chat", workload_microusd=170, by_pool={"prefill": 60, "mixed": 110})
    >>> allocate_to_tokens(share, Tokens(input=60, cached_input=10, output=12),
    ...     {"prefill": "prefill", "mixed": "both"}, TokenWeights(output=5, cached_input=1))
    TokenCosts(input_microusd=96, cached_input_microusd=19, output_microusd=55)
    """
    totals = [0, 0, 0]
    for pool, amount in share.by_pool.items():
        counted = [
            weight if roles[pool] in ("both", role) else 0.0
            for weight, role in zip(
                weights.of(tokens), ("prefill", "prefill", "decode"), strict=True
            )
        ]
        if any(counted):
            totals = [a + b for a, b in zip(totals, split_exactly(amount, counted), strict=True)]
    return TokenCosts(*totals)
