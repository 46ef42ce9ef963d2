"""Which nodes to hold on which terms for a demand by the hour: the problem, and what a mix costs.

`planner.search.mix_solver` finds the cheapest mix. With one kind of node and two terms that is the
newsvendor's: commit up to the level whose share of time in use is the ratio of the committed to the
on-demand price (`commitment_level`).
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from planner.economics.checks import require_range


@dataclass(frozen=True)
class TermOffer:
    """One way to pay for nodes of a pool."""

    name: str
    usd_per_node_hour: float
    """Of a node that is there and waits."""
    block_hours: int | None = None
    """Paid for in whole blocks of so many hours, from the first hour on, also where the last one
    ends after the demand; None: the whole time."""
    usable_rate: float = 1.0
    """Share of its time that a node serves; the rest it is taken back or being replaced."""
    maximum_nodes: int | None = None
    maximum_share_rate: float = 1.0
    """Of the pool's nodes in any hour."""
    load_usd_per_node_hour: float = 0.0
    """Beyond waiting, while it serves all that it carries: electricity of an owned node."""

    def __post_init__(self) -> None:
        name = f"TermOffer({self.name})"
        require_range(f"{name}.usd_per_node_hour", self.usd_per_node_hour)
        require_range(f"{name}.load_usd_per_node_hour", self.load_usd_per_node_hour)
        require_range(f"{name}.usable_rate", self.usable_rate, minimum=1e-6, maximum=1.0)
        require_range(
            f"{name}.maximum_share_rate", self.maximum_share_rate, minimum=1e-6, maximum=1.0
        )
        if self.block_hours is not None:
            require_range(f"{name}.block_hours", self.block_hours, minimum=1)


@dataclass(frozen=True)
class PoolOffer:
    """A pool that may be used: what its nodes carry, draw and cost."""

    name: str
    capacity_rps: Mapping[str, float]
    """By class: requests per second of one more node; classes that are absent cannot use it."""
    terms: tuple[TermOffer, ...]
    fixed_nodes: float = 0.0
    """Nodes that a pool in use needs before the first request: small pools share load less well."""
    node_power_w: float = 0.0
    """Of one node at the meter."""
    nodes_per_unit: int = 1
    """Nodes come in multiples of this: those of a replica."""
    maximum_nodes: int | None = None
    """Of all terms, in any hour."""
    startup_hours: float = 0.0
    """Paid for before a node that is added can serve; those of the first hour are there already."""

    def __post_init__(self) -> None:
        name = f"PoolOffer({self.name})"
        require_range(f"{name}.fixed_nodes", self.fixed_nodes)
        require_range(f"{name}.node_power_w", self.node_power_w)
        require_range(f"{name}.startup_hours", self.startup_hours)
        for klass, capacity in self.capacity_rps.items():
            require_range(f"{name}.capacity_rps[{klass}]", capacity, minimum=1e-12)
        names = [term.name for term in self.terms]
        if len(set(names)) != len(names):
            raise ValueError(f"{name}.terms must have unique names, found {', '.join(names)}")


@dataclass(frozen=True)
class MixProblem:
    """Pools to choose from, and the demand."""

    pools: tuple[PoolOffer, ...]
    demand_rps: Mapping[str, Sequence[float]]
    """By class: requests per second in each hour; all equally long."""
    power_w: float | None = None
    """Limit of the site at the meter; None: none."""
    reserve_nodes: Mapping[tuple[str, int], float] = field(default_factory=dict)
    """By pool and hour: nodes beyond what the load needs."""

    def __post_init__(self) -> None:
        lengths = {len(each) for each in self.demand_rps.values()}
        if len(lengths) != 1 or 0 in lengths:
            raise ValueError(
                "MixProblem.demand_rps must have one value per hour and class, found lengths "
                f"{sorted(lengths)}"
            )
        for name, hours in self.demand_rps.items():
            for load in hours:
                require_range(f"MixProblem.demand_rps[{name}]", load)

    @property
    def hours(self) -> int:
        """Length of the demand."""
        return len(next(iter(self.demand_rps.values())))


@dataclass(frozen=True)
class Mix:
    """A solution."""

    problem: MixProblem
    nodes: Mapping[tuple[str, str], tuple[int, ...]]
    """By pool and term: nodes paid for in each hour."""
    load_rps: Mapping[tuple[str, str], tuple[float, ...]]
    """By pool and class: what it serves in each hour."""
    gap_rate: float
    """How much cheaper a mix could at most be."""

    @property
    def cost_usd(self) -> float:
        """Of all hours, start-up included."""
        return math.fsum(self.term_cost_usd.values()) + self.startup_usd

    @property
    def cost_per_hour_usd(self) -> float:
        """Mean."""
        return self.cost_usd / self.problem.hours

    @property
    def term_cost_usd(self) -> dict[tuple[str, str], float]:
        """Cost by pool and term of all blocks as a whole and of the load, start-up apart."""
        hours = self.problem.hours
        return {
            (pool.name, term.name): term.usd_per_node_hour
            * block_length(term, hours)
            * sum(self.nodes[pool.name, term.name][:: block_length(term, hours)])
            + self._load_usd(pool, term)
            for pool in self.problem.pools
            for term in pool.terms
        }

    def _load_usd(self, pool: PoolOffer, term: TermOffer) -> float:
        """Return what the load of a term's nodes costs beyond waiting."""
        nodes = zip(self.nodes[pool.name, term.name], self.pool_nodes(pool.name), strict=True)
        return term.load_usd_per_node_hour * math.fsum(
            own * min(1.0, self._needed(pool, hour) / all_of)
            for hour, (own, all_of) in enumerate(nodes)
            if own
        )

    @property
    def startup_usd(self) -> float:
        """Cost of nodes that are added to those of the hour before, while they start."""
        return math.fsum(
            term.usd_per_node_hour * pool.startup_hours * max(0, after - before)
            for pool in self.problem.pools
            for term in pool.terms
            for before, after in itertools.pairwise(self.nodes[pool.name, term.name])
        )

    def pool_nodes(self, pool: str) -> tuple[int, ...]:
        """Return the nodes of all terms in each hour."""
        rows = [nodes for (name, _), nodes in self.nodes.items() if name == pool]
        return tuple(sum(hour) for hour in zip(*rows, strict=True))

    @property
    def needed_nodes(self) -> tuple[float, ...]:
        """Nodes that the load of each hour takes, of all pools; the rest waits."""
        return tuple(
            math.fsum(self._needed(pool, hour) for pool in self.problem.pools)
            for hour in range(self.problem.hours)
        )

    def _needed(self, pool: PoolOffer, hour: int) -> float:
        loads = {name: self.load_rps[pool.name, name][hour] for name in pool.capacity_rps}
        needed = math.fsum(load / pool.capacity_rps[name] for name, load in loads.items())
        return needed + (pool.fixed_nodes if any(loads.values()) else 0.0)

    @property
    def power_w(self) -> tuple[float, ...]:
        """Provisioned power at the meter in each hour."""
        rows = [
            [count * pool.node_power_w for count in self.pool_nodes(pool.name)]
            for pool in self.problem.pools
        ]
        return tuple(math.fsum(hour) for hour in zip(*rows, strict=True))

    @property
    def served_share(self) -> dict[tuple[str, str], float]:
        """By pool and class: share of the class's requests that it serves."""
        totals = {name: math.fsum(hours) for name, hours in self.problem.demand_rps.items()}
        return {
            (pool, klass): math.fsum(hours) / totals[klass] if totals[klass] else 0.0
            for (pool, klass), hours in self.load_rps.items()
        }


def restricted(problem: MixProblem, *, elastic: bool) -> MixProblem:
    """Return the problem with only the terms by the hour, or only those for the whole time.

    Limits on shares, which would make either impossible, are lifted.
    """
    return replace(
        problem,
        pools=tuple(
            replace(
                pool,
                terms=tuple(
                    replace(term, maximum_share_rate=1.0)
                    for term in pool.terms
                    if (term.usable_rate == 1.0)
                    and (term.block_hours == 1 if elastic else term.block_hours is None)
                ),
            )
            for pool in problem.pools
        ),
    )


def commitment_level(nodes: Sequence[int], committed_usd: float, on_demand_usd: float) -> int:
    """Return up to which node committing is cheaper than renting by the hour.

    The n-th node is in use in those hours that need at least n. Committed it costs c in every hour,
    on demand p in those; so it is committed while its share of hours in use is at least c/p: the
    critical ratio of the newsvendor.

    Args:
        nodes: needed in each hour.
        committed_usd: per node and hour, paid in every hour.
        on_demand_usd: per node and hour of use.

    >>> commitment_level([1, 1, 1, 3], committed_usd=1.0, on_demand_usd=2.5)
    1
    >>> commitment_level([1, 2, 2, 3], committed_usd=1.0, on_demand_usd=2.5)
    2
    """
    level = 0
    while level < max(nodes):
        in_use = sum(1 for needed in nodes if needed > level)
        if committed_usd * len(nodes) > on_demand_usd * in_use:
            break
        level += 1
    return level


def block_length(term: TermOffer, hours: int) -> int:
    """Return the hours that a term is paid for at once."""
    return hours if term.block_hours is None else term.block_hours
