"""What is ordered when: cohorts of nodes that arrive after a lead time and stay for their term."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from planner.economics.rates import ELASTIC_TERMS, Terms

TERM_QUARTERS: Final[dict[Terms, int]] = {
    "on_demand": 1, "spot": 1, "capacity_block": 1, "committed_1y": 4, "committed_3y": 12,
}  # fmt: skip
"""How long nodes stay at least; owned ones for their life."""
_SLACK: Final = 1e-9
"""Of a node: rounding of what is needed, no reason to order another."""

Foresight = Literal["plan", "trend"]


@dataclass(frozen=True)
class Generation:
    """One kind of node that a pool can be delivered."""

    number: int
    """0 is what the pool starts with."""
    first: int
    """Quarter of the first delivery."""
    terms: Terms
    lead: int
    """Quarters from order to delivery; none for elastic terms."""
    life: int
    """Quarters from delivery to return or retirement."""
    stride: int = 1
    """Nodes come in multiples of this: those of one replica."""

    @property
    def is_elastic(self) -> bool:
        """Whether nodes come and go at once."""
        return self.terms in ELASTIC_TERMS


@dataclass(frozen=True)
class Cohort:
    """Nodes that were ordered together."""

    generation: int
    nodes: int
    ordered: int
    """Quarter of the order; negative before the forecast begins."""
    delivered: int
    retires: int
    """First quarter in which they are gone."""

    def is_held(self, quarter: int) -> bool:
        """Tell whether they are there in a quarter."""
        return self.delivered <= quarter < self.retires


Need = Callable[[int, int, float], float]
"""(quarter, generation, load as a multiple of what comes) → nodes that would serve all of it."""
Seen = Callable[[int, int], float]
"""(quarter, lead) → load foreseen so many quarters before, as a multiple of what comes."""


def exact(_quarter: int, _lead: int) -> float:
    """Return what is foreseen by a plan that comes true."""
    return 1.0


def trend(load: Sequence[float]) -> Seen:
    """Return a foresight that continues the growth of the last quarter seen.

    An order placed `lead` quarters before is for load[then] · (load[then] / load[then − 1])^lead.
    What arrives within the first lead time was ordered by a plan that came true.

    >>> seen = trend([1.0, 2.0, 4.0, 8.0, 8.0])
    >>> seen(3, 2), seen(4, 2)
    (1.0, 2.0)
    """

    def seen(quarter: int, lead: int) -> float:
        then = quarter - lead
        if lead == 0 or then < 1 or load[then - 1] <= 0 or load[quarter] <= 0:
            return 1.0
        return load[then] * (load[then] / load[then - 1]) ** lead / load[quarter]

    return seen


def plan_capacity(
    quarters: int, generations: Sequence[Generation], need: Need, seen: Seen = exact
) -> tuple[Cohort, ...]:
    """Return the cohorts of a pool that keep up with what is foreseen.

    In every quarter the nodes that stay serve their part; what is missing comes from the newest
    generation that can be delivered. The nodes of the first quarter are of even ages.

    Args:
        quarters: how many.
        generations: what can be had, in order of `first`; the first one from quarter 0.
        need: nodes of one generation that would serve a whole quarter, reserve included.
        seen: how well orders foresee.

    >>> lease = Generation(0, first=0, terms="on_demand", lead=0, life=1)
    >>> cohorts = plan_capacity(3, [lease], lambda quarter, *_: 10.5 - quarter)
    >>> [cohort.nodes for cohort in cohorts]
    [11, 10, 9]
    """
    cohorts: list[Cohort] = []
    for quarter in range(quarters):
        newest = max((g for g in generations if g.first <= quarter), key=lambda g: g.number)
        held = [c for c in cohorts if c.is_held(quarter)]
        load = 1.0 if quarter == 0 or newest.is_elastic else seen(quarter, newest.lead)
        served = sum(
            c.nodes / wanted for c in held if (wanted := need(quarter, c.generation, load)) > 0
        )
        missing = (1.0 - served) * need(quarter, newest.number, load)
        nodes = whole_nodes(missing, newest.stride)
        if nodes <= 0:
            continue
        if quarter == 0 and not newest.is_elastic:
            cohorts += _installed(nodes, newest)
        else:
            until = quarter + newest.life
            cohorts.append(Cohort(newest.number, nodes, quarter - newest.lead, quarter, until))
    return tuple(cohorts)


def whole_nodes(nodes: float, stride: int = 1) -> int:
    """Return the fewest whole nodes, in multiples of a stride, that are enough.

    >>> whole_nodes(3.0), whole_nodes(3.2), whole_nodes(3.2, 4), whole_nodes(-1.0)
    (3, 4, 4, 0)
    """
    return max(math.ceil(nodes / stride - _SLACK), 0) * stride


def _installed(nodes: int, generation: Generation) -> list[Cohort]:
    """Return the nodes that are there from the start, of even ages: some retire every quarter."""
    groups, life = nodes // generation.stride, generation.life
    parts = [(age + 1) * groups // life - age * groups // life for age in range(life)]
    return [
        Cohort(generation.number, part * generation.stride, -generation.lead, 0, age + 1)
        for age, part in enumerate(parts)
        if part
    ]
