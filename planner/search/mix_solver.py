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

import math
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import Bounds, LinearConstraint, milp
from scipy.sparse import csr_array

from planner.economics.mix import Mix, MixProblem, PoolOffer, TermOffer, block_length

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
                length = block_length(term, problem.hours)
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
        length = block_length(term, self.problem.hours)
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
