"""From what a simulation used and served to the books: usage, rates, plans, policy."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from planner.catalog import Catalog, MachinePrice
from planner.control.fleet import Fleet, most_nodes, node_hours
from planner.economics import (
    ApiPlan,
    ClassUsage,
    FreePlan,
    MachineRate,
    Policy,
    PoolUsage,
    PowerTerms,
    Statement,
    SubscriptionPlan,
    settle,
)
from planner.engine import Engine
from planner.lowering.pools import LoweredPool
from planner.scenario.schema import Scenario
from planner.scenario.schema.money import Plan as PricePlan
from planner.scenario.schema.money import Prices
from planner.scenario.schema.pools import Pool

SCENARIO = "the scenario"


def bill(
    scenario: Scenario,
    catalog: Catalog,
    engine: Engine,
    fleet: Fleet,
    pools: tuple[LoweredPool, ...],
) -> Statement:
    """Return the statement of a finished simulation.

    Cost, tokens and revenue are those of the arrival period, so that a fleet which cannot keep up
    gains nothing by what it serves afterwards. A class bears the cost of a pool in proportion to
    its share of the pool's step time.
    """
    return settle(
        [
            _pool_usage(index, scenario, catalog, engine, fleet, lowered)
            for index, lowered in enumerate(pools)
        ],
        _class_usages(scenario, catalog, engine),
        policy_of(scenario.prices),
    )


def _pool_usage(
    index: int,
    scenario: Scenario,
    catalog: Catalog,
    engine: Engine,
    fleet: Fleet,
    lowered: LoweredPool,
) -> PoolUsage:
    pool = scenario.pools[index]
    duration_s = scenario.workload.duration
    spans = fleet[pool.name].held_nodes(engine.now_s)
    hours = node_hours(spans, duration_s)
    windows = _period_of(engine.world.pool_windows, engine)
    busy_hours = float(windows["busy_s"][:, index].sum()) / 3600.0
    arithmetic_hours = float(windows["compute_s"][:, index].sum()) / 3600.0
    return PoolUsage(
        pool=pool.name,
        node=lowered.node.name,
        chip=lowered.chip.name,
        devices_per_node=lowered.node.devices,
        period_hours=duration_s / 3600.0,
        peak_nodes=most_nodes(spans, duration_s),
        node_hours=hours,
        busy_device_hours=busy_hours * lowered.meta.devices_per_replica,
        node_power_w=float(lowered.node.power_w),
        rate=rate_of(pool, lowered.chip.name, scenario.prices, catalog),
        peak_arithmetic_device_hours=arithmetic_hours * lowered.meta.devices_per_replica,
    )


def rate_of(pool: Pool, chip: str, prices: Prices, catalog: Catalog) -> MachineRate:
    """Return the price of a pool's machine time: the one it names, else by default terms."""
    for own in prices.nodes:
        if own.name == pool.price:
            return MachineRate(
                own.name, chip, own.terms, own.per_device_hour, own.as_of, own.source, "scenario"
            )
    found: MachinePrice
    if pool.price is not None:
        found = catalog.machine_price(pool.price)
    else:
        found = catalog.price_for(chip, prices.default_terms, prices.date)
    figure = found.per_device_hour
    return MachineRate(
        found.name, chip, found.terms, figure.value, figure.date, figure.source, figure.tier
    )


def _class_usages(scenario: Scenario, catalog: Catalog, engine: Engine) -> list[ClassUsage]:
    classes = scenario.workload.classes
    plans = {plan.name: price_plan(plan, catalog) for plan in scenario.prices.plans}
    totals = _period_of(engine.world.class_windows, engine)
    busy_s = busy_by_class(engine)
    usages = []
    for index, klass in enumerate(classes):
        column = totals[:, index]
        usages.append(
            ClassUsage(
                name=klass.name,
                plan=None if klass.plan is None else plans[klass.plan],
                requests=int(column["ended"][:, 0].sum()),  # fate 0: served
                input_tokens=int(column["input_tokens"].sum()),
                output_tokens=int(column["output_tokens"].sum()),
                cached_input_tokens=int(column["cached_tokens"].sum()),
                reasoning_tokens=int(column["reasoning_tokens"].sum()),
                tasks=int(column["tasks_finished"].sum()),
                pool_weights={
                    pool.name: float(busy_s[number, index])
                    for number, pool in enumerate(scenario.pools)
                    if busy_s[number, index] > 0.0
                },
            )
        )
    return usages


def _period_of(windows: NDArray[np.void], engine: Engine) -> NDArray[np.void]:
    """Return the windows of the arrival period, which ends with one of them."""
    by_window = windows.reshape(int(engine.world.state["windows"][0]), -1)
    return by_window[: round(engine.plan.duration_s / engine.plan.window_s)]


def busy_by_class(engine: Engine) -> NDArray[np.float64]:
    """Return each class's share of the step time of each pool [s], shape `(pools, classes)`."""
    world = engine.world
    shares = world.queues["busy_s"].reshape(-1, len(world.classes))
    total = np.zeros((len(world.pools), len(world.classes)))
    np.add.at(total, world.replicas["pool"], shares)
    return total


def price_plan(plan: PricePlan, catalog: Catalog) -> ApiPlan | SubscriptionPlan | FreePlan:
    """Return what a class pays, from the scenario or from the catalogue entry that it names."""
    date, source = plan.as_of or "", plan.source or SCENARIO
    if plan.kind == "free":
        return FreePlan(plan.name, date, source)
    if plan.kind == "subscription":
        assert plan.per_seat is not None
        assert plan.requests_per_seat_month is not None
        return SubscriptionPlan(
            plan.name, plan.per_seat, plan.requests_per_seat_month, date, source
        )
    if plan.api_price is None:
        assert plan.input is not None
        assert plan.output is not None
        return ApiPlan(plan.name, plan.input, plan.output, plan.cached_input, date, source)
    price = catalog.api_price(plan.api_price)
    cached = price.cached_input
    return ApiPlan(
        plan.name,
        price.input.value,
        price.output.value,
        None if cached is None else cached.value,
        price.date,
        price.output.source,
    )


def policy_of(prices: Prices) -> Policy:
    """Return what applies to the scenario as a whole, each part with where it comes from."""

    def origin(stated: object, prefix: str = "") -> dict[str, str]:
        named = {f"{prefix}source": SCENARIO, f"{prefix}date": prices.date}
        return named if stated else {}

    stated = prices.model_fields_set
    return Policy(
        node_overhead_rate=prices.node_overhead,
        power=PowerTerms(
            electricity_usd_per_kwh=prices.power.electricity,
            pue=prices.power.pue,
            colocation_usd_per_kw_month=prices.power.colocation,
            idle_rate=prices.power.idle,
            loaded_rate=prices.power.loaded,
            memory_bound_rate=prices.power.memory_bound,
            saturation_rate=prices.power.saturation,
            **origin(prices.power.model_fields_set),
        ),
        partner_revenue_share_rate=prices.partner_revenue_share,
        definition=prices.margin,
        **origin("node_overhead" in stated),
        **origin("partner_revenue_share" in stated, "partner_"),
    )
