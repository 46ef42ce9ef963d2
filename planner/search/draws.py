"""One draw of all uncertain inputs: the scenario, pools and prices that follow from it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Final, TypeVar

import numpy as np

from planner.catalog import ApiPrice, Catalog, Figure, MachinePrice
from planner.curves.engines import EngineOverhead
from planner.errors import SimulationError
from planner.kernel.plan import DraftPlan, PoolPlan
from planner.lowering.pools import Basis, LoweredPool, basis_of, lower_pool
from planner.scenario import LoadedScenario
from planner.scenario.distributions import z_of
from planner.scenario.nodes import Location
from planner.scenario.schema import Scenario
from planner.scenario.targets import Target, scenario_with
from planner.scenario.uncertain import ResolvedInput, columns_of, prices_paid
from planner.search.curve_errors import DrawnBasis, drawn_overhead

Point = tuple[float, ...]
"""A quantile, 0 to 1, for each column."""
MEDIAN: Final = 0.5
_Price = TypeVar("_Price", MachinePrice, ApiPrice)


@dataclass(frozen=True)
class Drawing:
    """What draws: a scenario, its inputs, and its pools in plain numbers."""

    loaded: LoadedScenario
    catalog: Catalog
    inputs: tuple[ResolvedInput, ...]
    pools: tuple[LoweredPool, ...]
    """As the scenario has them, nothing drawn."""

    @classmethod
    def of(
        cls, loaded: LoadedScenario, catalog: Catalog, inputs: Sequence[ResolvedInput]
    ) -> Drawing:
        """Return what draws the inputs of a scenario."""
        basis = basis_of(loaded)
        pools = tuple(lower_pool(pool, catalog, basis) for pool in loaded.scenario.pools)
        return cls(loaded, catalog, tuple(inputs), pools)

    @property
    def columns(self) -> tuple[str, ...]:
        """Return what is drawn independently."""
        return columns_of(self.inputs)

    @property
    def physical(self) -> tuple[int, ...]:
        """Return the columns that move requests; the others move money only."""
        columns = self.columns
        moving = {each.column for each in self.inputs if not each.is_money}
        if self._price_picks_the_fleet:
            moving = set(columns)
        return tuple(index for index, name in enumerate(columns) if name in moving)

    @property
    def _price_picks_the_fleet(self) -> bool:
        """Return whether one pool can stand in for another, so that the cheapest mix is sought."""
        scenario = self.loaded.scenario
        classes = scenario.workload.classes
        return any(klass.overflow or klass.light for klass in classes) or any(
            pool.decode for pool in scenario.pools
        )

    def scenario(self, point: Point) -> LoadedScenario:
        """Return the scenario at a point.

        Raises:
            SimulationError: it would not be one.
        """
        try:
            scenario, root = scenario_with(self.loaded.root, self._numbers(point))
        except ValueError as error:
            raise SimulationError(f"a draw makes {error}") from None
        return replace(self.loaded, scenario=self._kept(scenario), root=root)

    def _numbers(self, point: Point) -> Iterable[tuple[Target, float]]:
        """Return the numbers of the scenario at a point; factors on one number multiply."""
        numbers: dict[Location, tuple[Target, float]] = {}
        for each, u in self._each(point):
            for target, value in each.values(u):
                before = numbers.get(target.location, (target, target.value))[1]
                share = before / target.value if target.value else 1.0
                numbers[target.location] = (target, value * share)
        return numbers.values()

    def _kept(self, scenario: Scenario) -> Scenario:
        """Return the scenario cut to the part of it that is simulated."""
        cut = self.loaded.scenario.workload
        changed = {name: getattr(cut, name) for name in ("start", "weekday", "duration", "warmup")}
        own = {pool.name: pool for pool in self.loaded.scenario.pools}
        pools = [pool.model_copy(update={"nodes": own[pool.name].nodes}) for pool in scenario.pools]
        workload = scenario.workload.model_copy(update=changed)
        return scenario.model_copy(update={"workload": workload, "pools": pools})

    def lowered(self, loaded: LoadedScenario, point: Point) -> tuple[LoweredPool, ...]:
        """Return the pools in plain numbers at a point, whose scenario is `loaded`."""
        basis = self._basis(loaded, point)
        pools = self.pools
        if self._moves_pools or basis is not None:
            stands_on = basis or basis_of(loaded)
            pools = tuple(
                lower_pool(pool, self.catalog, stands_on) for pool in loaded.scenario.pools
            )
        for each, u in self._each(point):
            if each.stated.source == "step_times":
                pools = _changed(pools, each, _slower, each.factor(u))
        return pools

    @property
    def _moves_pools(self) -> bool:
        """Return whether the plan of a pool follows from numbers of the scenario that are drawn.

        Whether enough is accepted to draft at all is up to the traffic, too.
        """
        pools = self.loaded.scenario.pools
        moving = {"pools"}
        if any(pool.speculation and pool.speculation.minimum_length for pool in pools):
            moving.add("workload")
        return any(t.location[0] in moving for each in self.inputs for t in each.targets)

    def prices(self, point: Point) -> Catalog:
        """Return the catalogue with the prices of a point."""
        machines, api = dict(self.catalog.machine_prices), dict(self.catalog.api_prices)
        scenario = self.loaded.scenario
        for each, u in self._each(point):
            if each.stated.source == "machine_prices":
                for name in self._machine_prices_of(each.of):
                    price = machines[name]
                    hour = _times(price.per_device_hour, each.factor(u))
                    machines[name] = replace(price, per_device_hour=hour)
            elif each.stated.source == "plans":
                named = {p.api_price for p in scenario.prices.plans if p.name in each.of}
                for name in _called(self.catalog.api_prices, named):
                    times = partial(_times, factor=each.factor(u))
                    api[name] = api[name].changed(times)
        return replace(self.catalog, machine_prices=machines, api_prices=api)

    def _each(self, point: Point) -> list[tuple[ResolvedInput, float]]:
        at = dict(zip(self.columns, point, strict=True))
        return [(each, at[each.column]) for each in self.inputs]

    def _machine_prices_of(self, pools: Sequence[str]) -> list[str]:
        """Return the catalogue's prices that pools pay: those they name, or those of their chip.

        Which reference price holds depends on terms and date, so all of the chip are changed.
        """
        listed = self.catalog.machine_prices
        found: set[str] = set()
        for pool, lowered in zip(self.loaded.scenario.pools, self.pools, strict=True):
            if pool.name not in pools:
                continue
            found |= _called(listed, prices_paid(pool))
            if not prices_paid(pool):
                found |= {name for name, p in listed.items() if p.chip == lowered.chip.name}
        return sorted(found)

    def _basis(self, loaded: LoadedScenario, point: Point) -> Basis | None:
        """Return what step times stand on; None: what they always stand on."""
        z: dict[str, float] = {}
        overheads: dict[tuple[str, str], EngineOverhead] = {}
        accepted: dict[str, float] = {}
        for each, u in self._each(point):
            if each.stated.source == "curves":
                z |= dict.fromkeys(each.of, z_of(u))
            elif each.stated.source == "acceptance":
                for pool_name in each.of:
                    accepted[pool_name] = accepted.get(pool_name, 1.0) * each.factor(u)
            elif each.stated.source == "overheads":
                for pool, lowered in zip(self.loaded.scenario.pools, self.pools, strict=True):
                    if pool.name in each.of:
                        key = (pool.engine.name, lowered.chip.name)
                        overheads[key] = drawn_overhead(lowered.curve, z_of(u))
        if not z and not overheads and not accepted:
            return None
        base = basis_of(loaded)
        engines = base.engines.with_overheads(overheads)
        return DrawnBasis.of(replace(base, engines=engines, acceptance_factors=accepted), z)


def _changed(
    pools: tuple[LoweredPool, ...],
    each: ResolvedInput,
    change: Callable[[PoolPlan, float], PoolPlan],
    factor: float,
) -> tuple[LoweredPool, ...]:
    return tuple(
        replace(pool, plan=change(pool.plan, factor)) if pool.plan.name in each.of else pool
        for pool in pools
    )


def _slower(plan: PoolPlan, factor: float) -> PoolPlan:
    """Return a plan whose devices take a factor longer; what the host adds stays."""
    linear_s = plan.linear_s * factor
    return replace(
        plan,
        linear_s=linear_s,
        decode_s=plan.decode_s * factor,
        decode_seq_s=plan.decode_seq_s * factor,
        prefill_s=plan.prefill_s * factor,
        # no more of a step than all of it can be arithmetic or memory traffic
        compute_s=None if plan.compute_s is None else np.minimum(plan.compute_s, linear_s),
        memory_s=None if plan.memory_s is None else np.minimum(plan.memory_s, linear_s),
        decode_memory_s=min(plan.decode_memory_s, plan.decode_s * factor),
        prefill_compute_s=min(plan.prefill_compute_s, plan.prefill_s * factor),
        draft=None if plan.draft is None else _slower_draft(plan.draft, factor),
    )


def _slower_draft(draft: DraftPlan, factor: float) -> DraftPlan:
    """Return how drafts are made on devices that take a factor longer.

    Parts of the time shrink with it, since they can be negative: what is saved on steps without.
    """
    least = min(factor, 1.0)
    return replace(
        draft,
        seconds=draft.seconds * factor,
        decode_s=draft.decode_s * factor,
        compute_s=None if draft.compute_s is None else draft.compute_s * least,
        memory_s=None if draft.memory_s is None else draft.memory_s * least,
    )


def _called(listed: Mapping[str, _Price], names: Collection[str | None]) -> set[str]:
    """Return the prices of the catalogue of which the name, or that of their series, is listed."""
    return {name for name, price in listed.items() if name in names or price.series in names}


def _times(figure: Figure, factor: float) -> Figure:
    return replace(figure, value=figure.value * factor)
