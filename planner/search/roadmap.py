"""From a scenario with a forecast to what the forecast assumes, quarter by quarter."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field

from planner.billing import role_of
from planner.catalog import Catalog
from planner.economics import MachineRate
from planner.economics.capacity import TERM_QUARTERS, Generation
from planner.economics.forecast import Gain, Group, Machine, Outlook
from planner.economics.paths import Move, dated_path
from planner.economics.plans import Plan
from planner.economics.rates import ELASTIC_TERMS
from planner.economics.scaling import scaled_plan, scaled_rate
from planner.errors import CatalogError
from planner.pricing import long_above, plan_of, policy_of, rate_of
from planner.scenario import LoadedScenario, replicas_of
from planner.scenario.price_tables import with_price_tables
from planner.scenario.schema.forecast import Forecast, PricePath, first_day_of
from planner.scenario.schema.money import Plan as StatedPlan
from planner.scenario.schema.money import Prices
from planner.scenario.schema.pools import Pool
from planner.scenario.variants import upgrades_by, variant
from planner.search.sampling import pools_of

Numbers = tuple[tuple[str, int], ...]
"""Pool and number of its generation, in order of the names."""


@dataclass
class Roadmap:
    """What the scenario is in each quarter, for every generation of nodes."""

    loaded: LoadedScenario
    catalog: Catalog
    _variants: dict[tuple[tuple[int, ...], Numbers], LoadedScenario] = field(default_factory=dict)
    _catalogs: dict[int, Catalog] = field(default_factory=dict)

    @property
    def forecast(self) -> Forecast:
        """The forecast of the scenario."""
        found = self.loaded.scenario.forecast
        assert found is not None
        return found

    @property
    def labels(self) -> tuple[str, ...]:
        """All quarters."""
        return self.forecast.labels()

    def chips_of(self, pool: str) -> list[int]:
        """Return the indices of a pool's later generations, by date; their numbers count from 1."""
        chips = self.forecast.chips
        own = [index for index, each in enumerate(chips) if each.pool == pool]
        return sorted(own, key=lambda index: chips[index].quarter)

    def newest(self, quarter: int) -> dict[str, int]:
        """Return the number of the generation that is delivered, of pools that have several."""
        chips = self.forecast.chips
        numbers = {}
        for pool in dict.fromkeys(each.pool for each in chips):
            dates = [self.forecast.index(chips[index].quarter) for index in self.chips_of(pool)]
            numbers[pool] = sum(date <= quarter for date in dates)
        return numbers

    def at(self, quarter: int, numbers: Mapping[str, int] | None = None) -> LoadedScenario:
        """Return the scenario of a quarter, with these generations instead of the newest.

        Raises:
            ScenarioError: it is no valid scenario.
        """
        chosen = self.newest(quarter) | dict(numbers or {})
        upgrades = upgrades_by(self.forecast, self.labels[quarter])
        key = (upgrades, tuple(sorted(chosen.items())))
        if key not in self._variants:
            indices = {
                pool: self.chips_of(pool)[number - 1] for pool, number in chosen.items() if number
            }
            self._variants[key] = variant(self.loaded, upgrades, indices)
        return self._variants[key]

    def pool_names(self) -> list[str]:
        """Return the pools of all quarters, in order of their appearance."""
        quarters = range(len(self.labels))
        return list(dict.fromkeys(pool.name for q in quarters for pool in self._pools(q)))

    def _pools(self, quarter: int) -> list[Pool]:
        return self.at(quarter).scenario.pools

    def groups(self) -> tuple[Group, ...]:
        """Return the classes and pools that depend on each other in any quarter."""
        groups: list[tuple[set[str], set[str]]] = []
        for quarter in range(len(self.labels)):
            scenario = self.at(quarter).scenario
            for each in scenario.workload.classes:
                classes, pools = {each.name}, pools_of(scenario, [each])
                apart = []
                for other in groups:
                    if other[0] & classes or other[1] & pools:
                        classes, pools = classes | other[0], pools | other[1]
                    else:
                        apart.append(other)
                groups = [*apart, (classes, pools)]
        names = [each.name for each in self.at(0).scenario.workload.classes]
        order = self.pool_names()
        found = [
            Group(tuple(n for n in names if n in classes), tuple(p for p in order if p in pools))
            for classes, pools in groups
        ]
        return tuple(sorted(found, key=lambda group: names.index(group.classes[0])))

    # --- pools and prices ------------------------------------------------------------------------

    def pool(self, name: str, number: int, quarter: int) -> Pool | None:
        """Return a pool in a quarter on nodes of one generation; None if it is not there then."""
        several = {name: number} if self.chips_of(name) else None
        pools = self.at(quarter, several).scenario.pools
        return next((pool for pool in pools if pool.name == name), None)

    def generations(self, name: str) -> tuple[Generation, ...]:
        """Return the generations of a pool."""
        found = []
        capacity = self.forecast.capacity
        dates = [self.forecast.index(self.forecast.chips[i].quarter) for i in self.chips_of(name)]
        for number, first in enumerate([0, *dates]):
            _, pool = self._first(name, number)
            machine = self._rate(pool, first)
            lead = capacity.lead_quarters
            if number:
                own = self.forecast.chips[self.chips_of(name)[number - 1]].lead_quarters
                lead = lead if own is None else own
            elastic = machine.terms in ELASTIC_TERMS
            life = TERM_QUARTERS.get(machine.terms, capacity.life_quarters)
            stride = replicas_of(pool, self.catalog.node(pool.node).devices).nodes_per_replica
            found.append(
                Generation(number, first, machine.terms, 0 if elastic else lead, life, stride)
            )
        return tuple(found)

    def _first(self, name: str, number: int) -> tuple[int, Pool]:
        """Return the first quarter in which there is such a pool, and the pool."""
        pools = ((q, self.pool(name, number, q)) for q in range(len(self.labels)))
        return next((quarter, pool) for quarter, pool in pools if pool is not None)

    def _prices(self, quarter: int) -> tuple[Prices, Catalog]:
        """Return the scenario's own prices in a quarter, and the catalogue with its tables."""
        loaded = self.at(quarter)
        if quarter not in self._catalogs:
            self._catalogs[quarter], _ = with_price_tables(loaded.root, self.catalog)
        return loaded.scenario.prices, self._catalogs[quarter]

    def _rate(self, pool: Pool, quarter: int) -> MachineRate:
        """Return the price of a pool's nodes in a quarter.

        The catalogue and price tables may have prices of later days: from the day on which a
        quarter begins it has theirs. A node type with a path has the scenario's own, times that.
        """
        chip = self.catalog.node(pool.node).chip
        stated, catalog = self._prices(quarter)
        has_path = any(each.name == pool.node for each in self.forecast.machine_prices)
        if not has_path:
            with suppress(CatalogError):  # a price may end before
                dated = stated.model_copy(update={"date": self._day(stated, quarter)})
                return rate_of(pool.price, chip, dated, catalog)
        return rate_of(pool.price, chip, stated, catalog)

    def _day(self, stated: Prices, quarter: int) -> str:
        """Return the day whose prices a quarter has: its first, if that is after the scenario's."""
        return max(first_day_of(self.labels[quarter]), stated.date)

    def rates(self, name: str, number: int) -> tuple[MachineRate, ...]:
        """Return the price of a pool's nodes of one generation, by quarter."""
        quarters = len(self.labels)
        pools = [self.pool(name, number, quarter) for quarter in range(quarters)]
        _, fallback = self._first(name, number)
        paths = {each.name: each for each in self.forecast.machine_prices}
        found = []
        for quarter, pool in enumerate(pools):
            held = pool or fallback
            rate = self._rate(held, quarter)
            path = paths.get(held.node)
            factor = 1.0 if path is None else self.factors(path)[quarter]
            found.append(scaled_rate(rate, factor, self._reason(path, quarter)))
        return tuple(found)

    def _reason(self, path: PricePath | None, quarter: int) -> str:
        origin = (path and path.source) or "path of the forecast"
        return f"{origin}, {self.labels[quarter]}"

    def machine(self, name: str, number: int) -> Machine:
        """Return what a node of a generation is."""
        quarter, pool = self._first(name, number)
        node = self.catalog.node(pool.node)
        role = role_of(pool, self.at(quarter).scenario)
        return Machine(node.name, node.chip, node.devices, float(node.power_w), role)

    def factors(self, path: PricePath) -> tuple[float, ...]:
        """Return a price by quarter, as a multiple of that of the scenario."""
        points = [(self.forecast.index(each.quarter), each.factor) for each in path.path]
        return dated_path(len(self.labels), 1.0, points, path.change or 0.0)

    def plans(self, name: str) -> tuple[Plan | None, ...]:
        """Return what a class pays, by quarter."""
        paths = {each.name: each for each in self.forecast.plan_prices}
        found: list[Plan | None] = []
        for quarter in range(len(self.labels)):
            scenario, (prices, catalog) = self.at(quarter).scenario, self._prices(quarter)
            klass = next(each for each in scenario.workload.classes if each.name == name)
            stated = next((p for p in prices.plans if p.name == klass.plan), None)
            if stated is None:
                found.append(None)
                continue
            path = paths.get(stated.name)
            if path is None:
                found.append(self._dated_plan(stated, quarter))
                continue
            plan = plan_of(stated, prices.date, catalog)
            factor = self.factors(path)[quarter]
            found.append(scaled_plan(plan, factor, self._reason(path, quarter)))
        return tuple(found)

    def _dated_plan(self, stated: StatedPlan, quarter: int) -> Plan:
        """Return what a plan costs in a quarter, as `_rate` does for machines."""
        prices, catalog = self._prices(quarter)
        own = plan_of(stated, prices.date, catalog)
        if stated.api_price is None:
            return own
        with suppress(CatalogError):  # a price may end before
            day = self._day(prices, quarter)
            dated = plan_of(stated, day, catalog)
            # Tokens of long prompts were counted by the threshold of the scenario's day.
            if long_above(dated) == long_above(own):
                return dated
        return own

    # --- demand ----------------------------------------------------------------------------------

    def own_rates_rps(self) -> dict[str, float]:
        """Return the rate of each class in the scenario: of a cell, at its peak."""
        classes = self.loaded.scenario.workload.classes
        return {each.name: each.open.rate for each in classes if each.open is not None}

    def demand(self) -> dict[str, tuple[float, ...]]:
        """Return mean requests per second by class, before shifts."""
        forecast, quarters = self.forecast, len(self.labels)
        stated = {each.name: each for each in forecast.demand}
        found = {}
        for name, own in self.own_rates_rps().items():
            start = own / forecast.peak_to_mean
            points: list[tuple[int, float]] = []
            growth = 0.0
            if name in stated:
                each = stated[name]
                start = start if each.start is None else each.start
                points = [(forecast.index(p.quarter), p.rate) for p in each.path]
                growth = each.growth or 0.0
            found[name] = dated_path(quarters, start, points, growth)
        return found

    def outlook(self) -> Outlook:
        """Return all that is assumed."""
        forecast = self.forecast
        names = self.pool_names()
        generations = {name: self.generations(name) for name in names}
        kinds = [(name, each.number) for name in names for each in generations[name]]
        return Outlook(
            labels=self.labels,
            demand=self.demand(),
            groups=self.groups(),
            generations=generations,
            machines={kind: self.machine(*kind) for kind in kinds},
            rates={kind: self.rates(*kind) for kind in kinds},
            plans={name: self.plans(name) for name in self.own_rates_rps()},
            policies=tuple(
                policy_of(self.at(quarter).scenario.prices) for quarter in range(len(self.labels))
            ),
            moves=tuple(
                Move(
                    each.of,
                    each.to,
                    each.share,
                    forecast.index(each.start),
                    forecast.index(each.end),
                    each.requests,
                )
                for each in forecast.shifts
            ),
            gains={
                each.name: Gain(
                    per_year=each.per_year or 0.0,
                    per_doubling=each.per_doubling or 0.0,
                    quarters_before=each.quarters_before,
                    last=None if each.until is None else forecast.index(each.until),
                )
                for each in forecast.learning
            },
            peak_to_mean=forecast.peak_to_mean,
            reserve_rate=forecast.capacity.reserve,
            work_factor=forecast.work,
            foresight=forecast.capacity.foresight,
        )


def held_numbers(generations: Iterable[Generation], quarter: int) -> list[int]:
    """Return the generations of which nodes may be there in a quarter."""
    listed = sorted(generations, key=lambda each: each.number)
    found = []
    for each, following in zip(listed, [*listed[1:], None], strict=True):
        replaced = quarter + 1 if following is None else following.first
        last_delivery = min(replaced - 1, quarter)
        if each.first <= last_delivery and quarter < last_delivery + each.life:
            found.append(each.number)
    return found
