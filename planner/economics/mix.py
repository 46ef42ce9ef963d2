"""The cheapest mix of nodes and terms for a demand by the hour: a mixed-integer linear programme.

Chosen are whole nodes by pool, term and block of hours, and how much of each class each pool
serves in each hour. A node of a pool carries so much of a class (its operating point, from the
simulator); classes that share it add up by the shares of it that they take. In every hour

    Σ_terms usable · nodes  ≥  Σ_classes load / capacity  +  fixed nodes (if used)  +  reserve

and nodes stay within what can be had, within a term's share, and within the power of the site. The
cost is that of all blocks, used or not and whole, and of the start of every node that is added to
those of the hour before (it is paid for while it starts and serves nothing). Owned nodes pay for
the electricity of the load that each hour spreads over them. The programme lets rented nodes take
load first, a bound from below; what that hides is part of the gap that is stated. HiGHS solves it
(`scipy.optimize.milp`) to proven optimality within `GAP`, or says how far it is from that.
"""

from __future__ import annotations

import itertools
import math
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import Bounds, LinearConstraint, milp
from scipy.sparse import csr_array

from planner.economics.checks import require_range

GAP: Final = 1e-4
"""Relative: no cheaper mix exists by more than this."""
MOST_BRANCHES: Final = 5000
"""Branch-and-bound nodes until the search ends with a gap, which is stated. A count, unlike a time,
gives the same answer on every machine: a day of three pools takes seconds."""
FEWER_BRANCHES: Final = 500
"""For the problems beside the one that is asked."""
_SLACK: Final = 1e-7
"""Share of a node that a hair of load may lack: loads and capacities are floats."""


class NoMixError(ValueError):
    """No mix that serves the demand within its limits was found."""


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
            * _block_length(term, hours)
            * sum(self.nodes[pool.name, term.name][:: _block_length(term, hours)])
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


def solve(problem: MixProblem, most_branches: int = MOST_BRANCHES) -> Mix:
    """Return the cheapest mix.

    Args:
        problem: pools, terms, demand and limits.
        most_branches: nodes of the search after which the best mix so far is taken.

    Raises:
        NoMixError: there is none within the limits, or none was found within the branches.

    >>> base = TermOffer("base", 1.0)
    >>> peak = TermOffer("peak", 2.5, block_hours=1)
    >>> pool = PoolOffer("h100", {"chat": 10.0}, (base, peak))
    >>> mix = solve(MixProblem((pool,), {"chat": [10.0, 10.0, 10.0, 25.0]}))
    >>> mix.nodes["h100", "base"], mix.nodes["h100", "peak"], mix.cost_usd
    ((1, 1, 1, 1), (0, 0, 0, 2), 9.0)
    """
    model = _Model(problem)
    with _quiet():
        found = milp(
            model.costs,
            integrality=model.integral,
            bounds=Bounds(np.zeros(model.count), model.upper),
            constraints=model.constraints(),
            options={"mip_rel_gap": GAP, "node_limit": most_branches},
        )
    if found.x is None:
        raise NoMixError(_why_not(problem))
    mix = model.read(found.x, float(found.mip_gap or 0.0))
    if not model.work or not mix.cost_usd:
        return mix
    return replace(mix, gap_rate=max(mix.gap_rate, 1.0 - found.mip_dual_bound / mix.cost_usd))


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


@dataclass(frozen=True)
class PowerPrice:
    """What one more watt of a site saves per hour, USD."""

    saved_usd: float | None
    """None: the solutions differ by less than either may be from its optimum."""
    most_usd: float
    """It saves no more than this, whatever the gaps of the solver hide."""


def price_of_power_usd(problem: MixProblem, mix: Mix) -> PowerPrice | None:
    """Return what one more watt of the site saves per hour; None without a limit.

    The problem is solved again with power for one more node of the hungriest pool: nodes are whole,
    so that the dual of the relaxed programme would tell of fractions that nobody can buy.
    """
    if problem.power_w is None:
        return None
    step_w = max(pool.node_power_w * pool.nodes_per_unit for pool in problem.pools)
    more = solve(replace(problem, power_w=problem.power_w + step_w), FEWER_BRANCHES)
    saved_usd = mix.cost_per_hour_usd - more.cost_per_hour_usd
    more_doubt_usd = more.gap_rate * more.cost_per_hour_usd
    doubt_usd = mix.gap_rate * mix.cost_per_hour_usd + more_doubt_usd
    return PowerPrice(
        saved_usd=None if abs(saved_usd) < doubt_usd else max(0.0, saved_usd) / step_w,
        most_usd=max(0.0, saved_usd + more_doubt_usd) / step_w,
    )


def node_hour_usd(
    per_device_hour_usd: float,
    devices: int,
    *,
    owned: bool,
    node_overhead_rate: float = 0.0,
    provisioned_kw: float = 0.0,
    mean_kw: float = 0.0,
    electricity_usd_per_kwh: float = 0.0,
    colocation_usd_per_kw_hour: float = 0.0,
) -> float:
    """Return what a node costs per hour, as the ledger would charge it.

    Args:
        per_device_hour_usd: price of one device.
        devices: of the node.
        owned: power and housing come on top; else the overhead of rented nodes does.
        node_overhead_rate: of the machine price.
        provisioned_kw: nameplate power, which is housed.
        mean_kw: drawn in the mean, PUE included.
        electricity_usd_per_kwh: price of electricity.
        colocation_usd_per_kw_hour: price of housing.

    >>> node_hour_usd(2.0, 8, owned=False, node_overhead_rate=0.1)
    17.6
    >>> round(node_hour_usd(1.0, 8, owned=True, provisioned_kw=10.0, mean_kw=6.0,
    ...     electricity_usd_per_kwh=0.1, colocation_usd_per_kw_hour=0.2), 6)
    10.6
    """
    machine_usd = per_device_hour_usd * devices
    if not owned:
        return machine_usd * (1.0 + node_overhead_rate)
    power_usd = mean_kw * electricity_usd_per_kwh + provisioned_kw * colocation_usd_per_kw_hour
    return machine_usd + power_usd


def _why_not(problem: MixProblem) -> str:
    """Return which limit to lift."""
    unlimited = replace(
        problem,
        power_w=None,
        pools=tuple(
            replace(
                pool,
                maximum_nodes=None,
                terms=tuple(replace(term, maximum_nodes=None) for term in pool.terms),
            )
            for pool in problem.pools
        ),
    )
    for klass in problem.demand_rps:
        if not any(klass in pool.capacity_rps and pool.terms for pool in problem.pools):
            return f"no pool with a term that is left keeps the promises of class {klass}"
    if problem.power_w is not None and _is_solvable(replace(problem, power_w=None)):
        return (
            f"the site's {problem.power_w / 1e6:.4g} MW feed no fleet that serves the demand; "
            "raise site.power, offer nodes that need less, or lower the demand"
        )
    if _is_solvable(unlimited):
        return (
            "the nodes that can be had do not serve the demand; raise maximum_nodes, or offer "
            "further terms or pools"
        )
    return (
        "no mix that serves the demand was found within the branches tried; loosen maximum_share, "
        "or offer a term without it"
    )


def _is_solvable(problem: MixProblem) -> bool:
    model = _Model(problem)
    with _quiet():
        found = milp(
            np.zeros(model.count),
            integrality=model.integral,
            bounds=Bounds(np.zeros(model.count), model.upper),
            constraints=model.constraints(),
            options={"node_limit": FEWER_BRANCHES},
        )
    return found.x is not None


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep what HiGHS prints, whatever its options say, out of a user's JSON."""
    sys.stdout.flush()
    kept, nowhere = os.dup(1), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    try:
        yield
    finally:
        os.dup2(kept, 1)
        os.close(kept)
        os.close(nowhere)


def _block_length(term: TermOffer, hours: int) -> int:
    """Return the hours that a term is paid for at once."""
    return hours if term.block_hours is None else term.block_hours


class _Model:
    """The programme: its columns by what they stand for, and its rows."""

    def __init__(self, problem: MixProblem) -> None:
        self.problem = problem
        self.blocks: dict[tuple[str, str, int], int] = {}
        """Column of the units of a pool and term in a block."""
        self.loads: dict[tuple[str, str, int], int] = {}
        """Column of the share of a class's load that a pool takes in an hour, 0 to 1."""
        self.uses: dict[tuple[str, int], int] = {}
        """Column that says whether a pool is used in an hour; only with fixed nodes."""
        costs: list[float] = []
        upper: list[float] = []
        integral: list[int] = []
        self.starts: dict[tuple[str, str, int], int] = {}
        """Column of the units that a block has beyond the one before; only where starting costs."""
        self.work: dict[tuple[str, int], int] = {}
        """Column of the nodes that work and pay for it, by pool and hour; only where any do."""

        def column(cost: float, most: float, whole: bool) -> int:
            costs.append(cost)
            upper.append(most)
            integral.append(int(whole))
            return len(costs) - 1

        for pool in problem.pools:
            for term in pool.terms:
                most = math.inf
                if term.maximum_nodes is not None:
                    most = term.maximum_nodes // pool.nodes_per_unit
                unit_usd = term.usd_per_node_hour * pool.nodes_per_unit
                length = _block_length(term, problem.hours)
                for block in range(math.ceil(problem.hours / length)):
                    key = (pool.name, term.name, block)
                    self.blocks[key] = column(unit_usd * length, most, whole=True)
                    if block and pool.startup_hours > 0:
                        start_usd = unit_usd * pool.startup_hours
                        self.starts[key] = column(start_usd, math.inf, whole=False)
            for hour in range(problem.hours):
                for klass in self._classes(pool):
                    self.loads[pool.name, klass, hour] = column(0.0, 1.0, whole=False)
                load_usd = max((t.load_usd_per_node_hour for t in pool.terms), default=0.0)
                if load_usd > 0:
                    self.work[pool.name, hour] = column(load_usd, math.inf, whole=False)
                if pool.fixed_nodes > 0:
                    self.uses[pool.name, hour] = column(0.0, 1.0, whole=True)
        self.costs = np.array(costs)
        self.upper = np.array(upper)
        self.integral = np.array(integral)

    @property
    def count(self) -> int:
        """Columns."""
        return len(self.costs)

    def _classes(self, pool: PoolOffer) -> list[str]:
        return [klass for klass in self.problem.demand_rps if klass in pool.capacity_rps]

    def _units_at(self, pool: PoolOffer, term: TermOffer, hour: int) -> int:
        """Return the column of the units of a term that are there in an hour."""
        length = _block_length(term, self.problem.hours)
        return self.blocks[pool.name, term.name, hour // length]

    def constraints(self) -> LinearConstraint:
        """Return all rows."""
        rows = list(self._rows())
        data = [value for entries, _, _ in rows for value in entries.values()]
        columns = [column for entries, _, _ in rows for column in entries]
        ends = np.cumsum([0, *(len(entries) for entries, _, _ in rows)])
        matrix = csr_array((data, columns, ends), shape=(len(rows), self.count))
        return LinearConstraint(matrix, [low for _, low, _ in rows], [high for _, _, high in rows])

    def _rows(self) -> Iterator[tuple[dict[int, float], float, float]]:
        """Yield coefficients by column, lower and upper bound of each row."""
        problem = self.problem
        for klass in problem.demand_rps:
            for hour in range(problem.hours):
                served = {
                    self.loads[pool.name, klass, hour]: 1.0
                    for pool in problem.pools
                    if klass in pool.capacity_rps
                }
                yield served, 1.0, 1.0
        for (pool_name, term_name, block), started in self.starts.items():
            now, before = (self.blocks[pool_name, term_name, b] for b in (block, block - 1))
            yield {now: 1.0, before: -1.0, started: -1.0}, -math.inf, 0.0
        for hour in range(problem.hours):
            for pool in problem.pools:
                yield self._capacity(pool, hour)
                if (pool.name, hour) in self.work:
                    yield self._working(pool, hour)
                yield from self._limits(pool, hour)
            if problem.power_w is not None:
                drawn = {
                    self._units_at(pool, term, hour): pool.node_power_w * pool.nodes_per_unit
                    for pool in problem.pools
                    for term in pool.terms
                }
                yield drawn, -math.inf, problem.power_w

    def _capacity(self, pool: PoolOffer, hour: int) -> tuple[dict[int, float], float, float]:
        row = self._spare(pool, hour, pool.terms)
        return row, self.problem.reserve_nodes.get((pool.name, hour), 0.0) - _SLACK, math.inf

    def _working(self, pool: PoolOffer, hour: int) -> tuple[dict[int, float], float, float]:
        """Return that what rented nodes do not carry is work of those that pay for it."""
        rented = [term for term in pool.terms if not term.load_usd_per_node_hour]
        row = self._spare(pool, hour, rented)
        row[self.work[pool.name, hour]] = 1.0
        return row, 0.0, math.inf

    def _spare(self, pool: PoolOffer, hour: int, terms: Sequence[TermOffer]) -> dict[int, float]:
        """Return the nodes of some terms less those that the load takes, by column."""
        row = {
            self._units_at(pool, term, hour): term.usable_rate * pool.nodes_per_unit
            for term in terms
        }
        for klass in self._classes(pool):
            load = self.problem.demand_rps[klass][hour]
            row[self.loads[pool.name, klass, hour]] = -load / pool.capacity_rps[klass]
        if (pool.name, hour) in self.uses:
            row[self.uses[pool.name, hour]] = -pool.fixed_nodes
        return row

    def _limits(
        self, pool: PoolOffer, hour: int
    ) -> Iterator[tuple[dict[int, float], float, float]]:
        units = {term.name: self._units_at(pool, term, hour) for term in pool.terms}
        if pool.maximum_nodes is not None and units:
            each = dict.fromkeys(units.values(), float(pool.nodes_per_unit))
            yield each, -math.inf, float(pool.maximum_nodes)
        for term in pool.terms:
            if term.maximum_share_rate < 1.0:
                row = dict.fromkeys(units.values(), -term.maximum_share_rate)
                row[units[term.name]] += 1.0
                yield row, -math.inf, 0.0
        if (pool.name, hour) in self.uses:
            for klass in self._classes(pool):
                load, used = self.loads[pool.name, klass, hour], self.uses[pool.name, hour]
                yield {load: 1.0, used: -1.0}, -math.inf, 0.0

    def _loads(
        self, klass: str, hour: int, values: NDArray[np.float64]
    ) -> dict[tuple[str, str], float]:
        """Return who serves how much; what takes less of a node than the slack goes to the others.

        So no request is sent to a pool that has no node.
        """
        load = self.problem.demand_rps[klass][hour]
        loads = {}
        for pool in self.problem.pools:
            if klass in pool.capacity_rps:
                part = load * float(values[self.loads[pool.name, klass, hour]])
                small = part <= 20.0 * _SLACK * pool.capacity_rps[klass]
                loads[pool.name, klass] = 0.0 if small else part
        kept = math.fsum(loads.values())
        return {key: part * (load / kept) if kept else 0.0 for key, part in loads.items()}

    def read(self, values: NDArray[np.float64], gap_rate: float) -> Mix:
        """Return what a solution stands for."""
        problem, hours = self.problem, range(self.problem.hours)
        loads = {
            (klass, hour): self._loads(klass, hour, values)
            for klass in problem.demand_rps
            for hour in hours
        }
        return Mix(
            problem,
            {
                (pool.name, term.name): tuple(
                    round(values[self._units_at(pool, term, hour)]) * pool.nodes_per_unit
                    for hour in hours
                )
                for pool in problem.pools
                for term in pool.terms
            },
            {
                (pool.name, klass): tuple(loads[klass, hour][pool.name, klass] for hour in hours)
                for pool in problem.pools
                for klass in self._classes(pool)
            },
            gap_rate,
        )
