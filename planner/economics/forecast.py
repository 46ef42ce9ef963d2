"""A forecast by quarter: what is asked, which nodes are held, what they cost and earn.

Pure functions on plain values. What a load needs comes from a `Response`, which a search makes from
simulations; here it is only asked.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final, Protocol

from planner.economics.capacity import (
    Cohort,
    Foresight,
    Generation,
    exact,
    plan_capacity,
    trend,
)
from planner.economics.cost import Policy
from planner.economics.money import ratio
from planner.economics.paths import Move, compound, learned_by_time, learned_by_volume, mixed
from planner.economics.plans import Plan
from planner.economics.rates import MachineRate
from planner.economics.scaling import scaled_plan
from planner.economics.statement import Statement, settle
from planner.economics.usage import (
    ClassUsage,
    PoolRole,
    PoolTime,
    PoolUsage,
    PriceLayer,
    Tokens,
)

HOURS_PER_QUARTER: Final = 2190.0
_SECONDS: Final = HOURS_PER_QUARTER * 3600.0


@dataclass(frozen=True)
class Served:
    """What one request (session, task) of a class's demand becomes; each may be a fraction."""

    requests: float
    """Served: several per session, less than one where some are lost."""
    input_tokens: float
    output_tokens: float
    cached_input_tokens: float = 0.0
    reasoning_tokens: float = 0.0
    long_input_tokens: float = 0.0
    """Of the tokens, those of requests longer than the threshold of the class's plan."""
    long_cached_input_tokens: float = 0.0
    long_output_tokens: float = 0.0
    tasks: float = 0.0
    """Sessions, each as long as the mean, that its tokens would do."""
    weight: float = 1.0
    """Its claim on the cost of the pools of its group, beside that of other classes."""


@dataclass(frozen=True)
class Machine:
    """A node of one generation of a pool."""

    node: str
    chip: str
    devices: int
    power_w: float
    role: PoolRole = "both"


@dataclass(frozen=True)
class Group:
    """Pools that share classes, and their classes: what is sized together."""

    classes: tuple[str, ...]
    pools: tuple[str, ...]


class Response(Protocol):
    """What a load needs of a pool: the simulator, sampled and interpolated."""

    def nodes(self, pool: str, generation: int, quarter: int, load_rps: float) -> float:
        """Return the nodes of one generation that keep the promises; a fraction is rounded up."""

    def busy_devices(self, pool: str, generation: int, quarter: int, load_rps: float) -> float:
        """Return the devices that are in steps, on average."""

    def error_rate(self, pool: str, generation: int, quarter: int, load_rps: float) -> float:
        """Return the error of the nodes, as a share of them."""

    def served(self, name: str, quarter: int) -> Served:
        """Return what the demand of a class becomes."""


@dataclass(frozen=True)
class Gain:
    """How the throughput of a pool grows without new chips or models."""

    per_year: float = 0.0
    per_doubling: float = 0.0
    quarters_before: float = 4.0
    last: int | None = None
    """Quarter after which it gains no more."""

    def by_quarter(self, volume: Sequence[float]) -> tuple[float, ...]:
        """Return the throughput by quarter, 1 in the first.

        Args:
            volume: served in each quarter, in any one unit.
        """
        by_time = learned_by_time(len(volume), self.per_year, self.last)
        by_volume = learned_by_volume(volume, self.per_doubling, self.quarters_before, self.last)
        return tuple(a * b for a, b in zip(by_time, by_volume, strict=True))


@dataclass(frozen=True)
class Outlook:
    """What is assumed of the quarters ahead; all sequences have one value per quarter."""

    labels: tuple[str, ...]
    """As `2027-Q1`."""
    demand: Mapping[str, tuple[float, ...]]
    """Class → mean requests (sessions, tasks) per second, before moves."""
    groups: tuple[Group, ...]
    generations: Mapping[str, tuple[Generation, ...]]
    """By pool."""
    machines: Mapping[tuple[str, int], Machine]
    """By pool and generation."""
    rates: Mapping[tuple[str, int], tuple[MachineRate, ...]]
    """By pool and generation."""
    plans: Mapping[str, tuple[Plan | None, ...]]
    """By class."""
    policies: tuple[Policy, ...]
    moves: tuple[Move, ...] = ()
    gains: Mapping[str, Gain] = field(default_factory=dict)
    """By pool."""
    peak_to_mean: float = 1.0
    reserve_rate: float = 0.0
    foresight: Foresight = "plan"
    work_factor: float = 1.0
    """Work of a request, as a multiple of what the response knows."""
    efficiency_rate: float = 0.0
    """A gain of throughput per year in every pool, on top of `gains`."""

    @property
    def quarters(self) -> int:
        """How many."""
        return len(self.labels)

    @property
    def last_order(self) -> int:
        """The last quarter whose orders all arrive within the forecast; −1: there is none."""
        newest = (generations[-1] for generations in self.generations.values())
        leads = [each.lead for each in newest if not each.is_elastic]
        return self.quarters - 1 - max(leads, default=0)

    @property
    def mix(self) -> dict[str, tuple[float, ...]]:
        """Demand by class after moves."""
        return mixed(self.demand, self.moves)

    def load(self, group: Group) -> tuple[float, ...]:
        """Return the peak demand of a group, requests (sessions, tasks) per second."""
        mix = self.mix
        return tuple(
            self.peak_to_mean * sum(mix[name][quarter] for name in group.classes)
            for quarter in range(self.quarters)
        )

    def throughput(self, pool: str, volume: Sequence[float]) -> tuple[float, ...]:
        """Return the throughput of a pool by quarter, as a multiple of what the response knows."""
        gained = self.gains.get(pool, Gain()).by_quarter(volume)
        return tuple(
            each * compound(self.efficiency_rate, quarter) / self.work_factor
            for quarter, each in enumerate(gained)
        )

    # --- the same with something else assumed ----------------------------------------------------

    def with_demand(self, factor: float) -> Outlook:
        """Return it with all demand multiplied."""
        return self._with_demand([factor] * self.quarters)

    def with_growth(self, rate: float) -> Outlook:
        """Return it with all demand growing by a rate per year more: (1 + g)(1 + rate) − 1."""
        return self._with_demand([compound(rate, quarter) for quarter in range(self.quarters)])

    def with_efficiency(self, rate: float) -> Outlook:
        """Return it with a gain of throughput per year in every pool, on top of what there is."""
        return replace(self, efficiency_rate=(1 + self.efficiency_rate) * (1 + rate) - 1)

    def with_work(self, factor: float) -> Outlook:
        """Return it with the work of every request multiplied."""
        return replace(self, work_factor=self.work_factor * factor)

    def with_price(self, rate: float) -> Outlook:
        """Return it with all plan prices moving by a rate per year more."""
        plans = {
            name: tuple(
                scaled_plan(plan, compound(rate, quarter), f"{rate:+.3g} a year, solved for")
                for quarter, plan in enumerate(each)
            )
            for name, each in self.plans.items()
        }
        return replace(self, plans=plans)

    def _with_demand(self, factors: Sequence[float]) -> Outlook:
        demand = {
            name: tuple(value * factor for value, factor in zip(values, factors, strict=True))
            for name, values in self.demand.items()
        }
        return replace(self, demand=demand)


# --- what comes out ------------------------------------------------------------------------------


@dataclass(frozen=True)
class Holding:
    """Nodes of one generation that a pool holds in a quarter."""

    pool: str
    generation: int
    machine: Machine
    nodes: int
    served_rate: float
    """Share of the pool's load that they serve."""
    error_rate: float
    """Of the nodes that are needed, as a share of them."""

    @property
    def devices(self) -> int:
        """Devices of these nodes."""
        return self.nodes * self.machine.devices


@dataclass(frozen=True)
class Quarter:
    """One quarter of the forecast."""

    label: str
    demand: Mapping[str, float]
    """Class → mean requests (sessions, tasks) per second that are asked for."""
    served_rates: Mapping[str, float]
    """Class → share of it that there are nodes for."""
    holdings: tuple[Holding, ...]
    statement: Statement
    error_rates: tuple[float, ...]
    """Of each pool of the statement: error of its nodes, as a share of them."""
    ordered: Mapping[tuple[str, int], int]
    """Nodes ordered in it, by pool and generation; of elastic terms, those added."""
    orders_are_known: bool = True
    """What is ordered in it arrives before the forecast ends."""

    @property
    def devices(self) -> int:
        """Devices of all pools."""
        return sum(each.devices for each in self.holdings)

    @property
    def devices_error(self) -> float:
        """Error of the devices: the errors of pools added up, as if all erred the same way."""
        return sum(each.devices * each.error_rate for each in self.holdings)

    @property
    def spend_usd(self) -> float:
        """The bill."""
        return self.statement.cost_usd

    @property
    def spend_error_usd(self) -> float:
        """Error of the bill that follows from that of the nodes."""
        pools = zip(self.statement.pools, self.error_rates, strict=True)
        return sum(each.cost_microusd() / 1e6 * error for each, error in pools)

    @property
    def counted_error_usd(self) -> float:
        """The same of the cost that the headline's margin counts, its share of the bill."""
        counted_usd = self.statement.margin.cost_usd
        return self.spend_error_usd * counted_usd / self.spend_usd if self.spend_usd else 0.0

    @property
    def margin_error_rate(self) -> float | None:
        """Error of the headline's margin, in shares of its revenue; None without revenue.

        Revenue does not hang on the surface.
        """
        return ratio(self.counted_error_usd, self.statement.margin.revenue_usd)


@dataclass(frozen=True)
class Projection:
    """A forecast."""

    quarters: tuple[Quarter, ...]
    cohorts: Mapping[str, tuple[Cohort, ...]]
    """By pool."""


def project(
    outlook: Outlook, response: Response, only: Collection[int] | None = None
) -> Projection:
    """Return the forecast that follows from what is assumed and from what a load needs.

    Args:
        outlook: demand, prices, chips, by quarter.
        response: what a load needs.
        only: numbers of the quarters whose books are wanted; None: all.
    """
    mix = outlook.mix
    cohorts: dict[str, tuple[Cohort, ...]] = {}
    fleets: dict[str, _Fleet] = {}
    for group in outlook.groups:
        load = outlook.load(group)
        for pool in group.pools:
            fleet = _Fleet(pool, load, outlook.throughput(pool, load), outlook, response)
            fleets[pool] = fleet
            seen = trend(load) if outlook.foresight == "trend" else exact
            cohorts[pool] = plan_capacity(
                outlook.quarters, outlook.generations[pool], fleet.wanted, seen
            )
    quarters = []
    for number, label in enumerate(outlook.labels):
        if only is not None and number not in only:
            continue
        holdings = {pool: fleets[pool].holdings(number, cohorts[pool]) for pool in fleets}
        served = {
            name: _served_rate([holdings[pool] for pool in group.pools])
            for group in outlook.groups
            for name in group.classes
        }
        demand = {name: values[number] for name, values in mix.items()}
        priced = [
            (usage, holding.error_rate)
            for pool, fleet in fleets.items()
            for holding in holdings[pool]
            for usage in fleet.usages(number, cohorts[pool], holding)
        ]
        pools = [usage for usage, _ in priced]
        classes = _class_usages(number, outlook, response, demand, served, pools)
        quarters.append(
            Quarter(
                label=label,
                demand=demand,
                served_rates=served,
                holdings=tuple(each for group in holdings.values() for each in group),
                statement=settle(pools, classes, outlook.policies[number]),
                error_rates=tuple(error for _, error in priced),
                ordered=_ordered(number, outlook, cohorts),
                orders_are_known=number <= outlook.last_order,
            )
        )
    return Projection(tuple(quarters), cohorts)


@dataclass(frozen=True)
class _Fleet:
    """One pool over all quarters."""

    pool: str
    load: tuple[float, ...]
    throughput: tuple[float, ...]
    outlook: Outlook
    response: Response

    def _effective(self, quarter: int, load_factor: float = 1.0) -> float:
        """Return the load in terms of what the response knows."""
        return self.load[quarter] * load_factor / self.throughput[quarter]

    def wanted(self, quarter: int, generation: int, load_factor: float) -> float:
        """Return the nodes that would serve all of the load, reserve included."""
        load = self._effective(quarter, load_factor)
        needed = self.response.nodes(self.pool, generation, quarter, load)
        return needed * (1.0 + self.outlook.reserve_rate)

    def holdings(self, quarter: int, cohorts: Sequence[Cohort]) -> tuple[Holding, ...]:
        """Return what is held in a quarter; the newest generation serves what others leave."""
        held: dict[int, int] = {}
        for cohort in cohorts:
            if cohort.is_held(quarter):
                held[cohort.generation] = held.get(cohort.generation, 0) + cohort.nodes
        load = self._effective(quarter)
        found, left = [], 1.0
        for number in sorted(held, reverse=True):
            needed = self.response.nodes(self.pool, number, quarter, load)
            could = held[number] / needed if needed > 0 else 1.0
            served = min(could, left)
            left -= served
            found.append(
                Holding(
                    pool=self.pool,
                    generation=number,
                    machine=self.outlook.machines[self.pool, number],
                    nodes=held[number],
                    served_rate=served,
                    error_rate=self.response.error_rate(self.pool, number, quarter, load),
                )
            )
        return tuple(found)

    def usages(
        self, quarter: int, cohorts: Sequence[Cohort], holding: Holding
    ) -> tuple[PoolUsage, ...]:
        """Return the machine time of one generation in a quarter, by price.

        Nodes are held all through the quarter, so a commitment is paid in full.
        """
        generations = {each.number: each for each in self.outlook.generations[self.pool]}
        number, machine = holding.generation, holding.machine
        load = self._effective(quarter)
        busy = self.response.busy_devices(self.pool, number, quarter, load)
        busy *= holding.served_rate / self.outlook.peak_to_mean
        priced: dict[MachineRate, int] = {}
        for cohort in cohorts:
            if cohort.generation == number and cohort.is_held(quarter):
                since = quarter if generations[number].is_elastic else cohort.delivered
                rate = self.outlook.rates[self.pool, number][since]
                priced[rate] = priced.get(rate, 0) + cohort.nodes
        time = PoolTime(
            pool=self.pool,
            node=machine.node,
            chip=machine.chip,
            devices_per_node=machine.devices,
            period_hours=HOURS_PER_QUARTER,
            held=((HOURS_PER_QUARTER, holding.nodes),),
            busy_device_hours=min(busy, holding.devices) * HOURS_PER_QUARTER,
            node_power_w=machine.power_w,
            role=machine.role,
        )
        *below, last = priced
        return time.priced([*(PriceLayer(rate, priced[rate]) for rate in below), PriceLayer(last)])


def _served_rate(pools: Sequence[Sequence[Holding]]) -> float:
    """Return the share of a group's demand that its scarcest pool has nodes for."""
    return min(
        (min(sum(each.served_rate for each in held), 1.0) for held in pools if held), default=1.0
    )


def _class_usages(
    quarter: int,
    outlook: Outlook,
    response: Response,
    demand: Mapping[str, float],
    served_rates: Mapping[str, float],
    usages: Sequence[PoolUsage],
) -> list[ClassUsage]:
    held = {usage.pool for usage in usages}
    found = []
    for group in outlook.groups:
        for name in group.classes:
            each = response.served(name, quarter)
            count = demand[name] * served_rates[name] * _SECONDS
            tokens = _tokens(count, each.input_tokens, each.cached_input_tokens, each.output_tokens)
            weight = count * each.weight
            found.append(
                ClassUsage(
                    name=name,
                    plan=outlook.plans[name][quarter],
                    requests=round(count * each.requests),
                    input_tokens=tokens.input,
                    output_tokens=tokens.output,
                    cached_input_tokens=tokens.cached_input,
                    reasoning_tokens=min(round(count * each.reasoning_tokens), tokens.output),
                    tasks=count * each.tasks,
                    pool_weights={p: weight for p in group.pools if p in held and weight > 0},
                    long_context=_tokens(
                        count,
                        each.long_input_tokens,
                        each.long_cached_input_tokens,
                        each.long_output_tokens,
                    ),
                )
            )
    return found


def _tokens(count: float, input_each: float, cached_each: float, output_each: float) -> Tokens:
    """Return the tokens of so many arrivals, each of which takes so many."""
    inputs = round(count * input_each)
    return Tokens(inputs, min(round(count * cached_each), inputs), round(count * output_each))


def _ordered(
    quarter: int, outlook: Outlook, cohorts: Mapping[str, Sequence[Cohort]]
) -> dict[tuple[str, int], int]:
    """Return what is ordered in a quarter; the first one shows none: its fleet is there."""
    found: dict[tuple[str, int], int] = {}
    for pool, all_of in cohorts.items():
        for generation in outlook.generations[pool]:
            own = [each for each in all_of if each.generation == generation.number]
            if generation.is_elastic:
                now, before = (
                    sum(each.nodes for each in own if each.is_held(at))
                    for at in (quarter, quarter - 1)
                )
                nodes = max(now - before, 0) if quarter else 0
            else:
                nodes = sum(
                    each.nodes for each in own if each.ordered == quarter and each.delivered > 0
                )
            if nodes:
                found[pool, generation.number] = nodes
    return found
