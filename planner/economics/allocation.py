"""Who bears which cost: each cost line is divided among the classes of its pool, exactly."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from planner.economics.ledger import COST_KINDS, LedgerLine, LineKind
from planner.economics.money import split_exactly, to_usd
from planner.economics.usage import ClassUsage

UNALLOCATED: Final = "(unallocated)"
"""Bearer of the cost of pools that served no class at all."""


@dataclass(frozen=True)
class CostShare:
    """Cost borne by one class, in exact micro-dollars."""

    bearer: str
    workload_microusd: int = 0
    idle_microusd: int = 0
    overhead_microusd: int = 0

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
    for line in lines:
        if line.kind not in COST_KINDS:
            continue
        weights = [usage.pool_weights.get(line.pool, 0.0) for usage in classes]
        weights.append(0.0 if any(weights) else 1.0)
        for total, part in zip(totals, split_exactly(line.amount_microusd, weights), strict=True):
            total[line.kind] += part
    return tuple(
        CostShare(
            bearer,
            workload_microusd=total[LineKind.WORKLOAD],
            idle_microusd=total[LineKind.IDLE],
            overhead_microusd=total[LineKind.OVERHEAD],
        )
        for bearer, total in zip(bearers, totals, strict=True)
    )
