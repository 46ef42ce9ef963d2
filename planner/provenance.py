"""What a result stands on: every figure that went into it, each once, with its source and tier."""

from __future__ import annotations

from collections.abc import Iterator

from planner.catalog import Catalog, Figure
from planner.economics import (
    AdvertisingPlan,
    ApiPlan,
    LongContextPrice,
    Plan,
    Policy,
    Statement,
    SubscriptionPlan,
)
from planner.lowering.pools import LoweredPool
from planner.lowering.workload import turns_of
from planner.pricing import SCENARIO
from planner.results.result import Assumption
from planner.scenario.schema import Scenario
from planner.scenario.schema.workload import Lengths
from planner.trace.library import load_length_preset, load_shape


def assumptions(
    scenario: Scenario,
    catalog: Catalog,
    pools: tuple[LoweredPool, ...],
    statement: Statement,
    policy: Policy,
) -> tuple[Assumption, ...]:
    """Return the figures behind a result: prices, hardware, models, efficiencies, traffic."""
    found = [
        *price_assumptions(statement, policy),
        *_hardware(catalog, pools),
        *_curves(pools),
        *_traffic(scenario),
    ]
    return tuple(dict.fromkeys(found))


def _of(name: str, figure: Figure, note: str = "") -> Assumption:
    return Assumption(
        name, figure.value, figure.unit, figure.source, figure.date, figure.tier, note
    )


def price_assumptions(
    statement: Statement, policy: Policy, *, energy: bool = True
) -> Iterator[Assumption]:
    """Yield the prices and rates that a statement was made with.

    Args:
        statement: what was priced.
        policy: overhead, power and the partner's share.
        energy: whether energy is shown beside money: the power of devices then counts for rented
            ones too, whose price holds it.
    """
    for pool in statement.pools:
        rate = pool.usage.rate
        for part in rate.parts:
            yield Assumption(
                f"price {rate.name}: {part.line}", part.per_device_hour_usd, "USD/device-hour",
                rate.source, rate.date, rate.tier,
            )  # fmt: skip
        yield Assumption(
            f"price {rate.name} ({rate.terms})",
            rate.per_device_hour_usd,
            "USD/device-hour",
            rate.source,
            rate.date,
            rate.tier,
        )
    for each in statement.classes:
        if each.usage.plan is not None:
            yield from plan_assumptions(each.usage.plan)
    owned = any(pool.usage.rate.is_owned for pool in statement.pools)
    yield from _policy(policy, owned=owned, powered=owned or energy)


def plan_assumptions(plan: Plan) -> Iterator[Assumption]:
    """Yield the prices of a plan; one that is free has none."""
    tier = plan.tier if isinstance(plan, ApiPlan) else "scenario"
    for name, value, unit in _plan_figures(plan):
        yield Assumption(f"plan {plan.name}, {name}", value, unit, plan.source, plan.date, tier)


def _plan_figures(plan: Plan) -> Iterator[tuple[str, float, str]]:
    if isinstance(plan, ApiPlan):
        tier = "" if plan.service_tier == "standard" else f", {plan.service_tier}"
        yield from _token_figures(plan, tier)
        if plan.long_context is not None:
            above = f"{tier}, above {plan.long_context.above_tokens:,} tokens"
            yield from _token_figures(plan.long_context, above)
        if plan.cache_write_rate:
            yield "share of input kept in the cache", plan.cache_write_rate, "1"
    elif isinstance(plan, SubscriptionPlan):
        yield "seat", plan.seat_usd_per_month, "USD/month"
        yield "use of a seat", plan.requests_per_seat_month, "requests/month"
        if plan.included_requests_per_seat_month is not None:
            yield "included in a seat", plan.included_requests_per_seat_month, "requests/month"
    elif isinstance(plan, AdvertisingPlan):
        yield "advertisements", plan.message_usd, "USD/request"


def _token_figures(
    prices: ApiPlan | LongContextPrice, note: str
) -> Iterator[tuple[str, float, str]]:
    figures = (
        ("input", prices.input_usd_per_mtok),
        ("output", prices.output_usd_per_mtok),
        ("cached input", prices.cached_input_usd_per_mtok),
        ("input written to the cache", prices.cache_write_usd_per_mtok),
    )
    for name, price_usd in figures:
        if price_usd is not None:
            yield f"{name}{note}", price_usd, "USD/Mtok"


def _policy(policy: Policy, *, owned: bool, powered: bool) -> Iterator[Assumption]:
    power = policy.power
    overhead = (policy.source, policy.date)
    partner = (policy.partner_source, policy.partner_date)
    site = (power.source, power.date)
    weights = policy.token_weights
    split = (weights.source, weights.date)
    paid = (
        ("electricity", power.electricity_usd_per_kwh, "USD/kWh", *site),
        ("colocation", power.colocation_usd_per_kw_month, "USD/kW-month", *site),
    )
    drawn = (
        ("power usage effectiveness", power.pue, "1", *site),
        ("power of an idle device, of nameplate", power.idle_rate, "1", *site),
        ("power of a busy device, of nameplate", power.loaded_rate, "1", *site),
        ("power of a memory-bound device, of a busy one", power.memory_bound_rate, "1", *site),
    )
    rows = (
        ("node overhead of rented nodes", policy.node_overhead_rate, "1", *overhead),
        ("partner's share of revenue", policy.partner_revenue_share_rate, "1", *partner),
        *(paid if owned else ()),
        *(drawn if powered else ()),
        ("cost of an output token, of an input token", weights.output, "1", *split),
        ("cost of a cached input token, of an input token", weights.cached_input, "1", *split),
    )
    for name, value, unit, source, date in rows:
        tier = "scenario" if source == SCENARIO else "estimated"
        yield Assumption(name, value, unit, source, date, tier)


def _hardware(catalog: Catalog, pools: tuple[LoweredPool, ...]) -> Iterator[Assumption]:
    for lowered in pools:
        chip, node = lowered.chip, lowered.node
        model = catalog.model(lowered.meta.model)
        yield _of(f"chip.{chip.name}.memory", chip.memory_bytes)
        if lowered.meta.devices_per_replica > 1 and chip.scale_up_bandwidth is not None:
            yield _of(f"chip.{chip.name}.scale_up_bandwidth", chip.scale_up_bandwidth)
        yield _of(f"node.{node.name}.power", node.power_w)
        yield _of(
            f"model.{model.name}.parameters",
            model.total_parameters,
            "published total; bytes and operations follow from the shape",
        )


def _curves(pools: tuple[LoweredPool, ...]) -> Iterator[Assumption]:
    for lowered in pools:
        for note in lowered.notes:
            yield Assumption(note.name, note.value, note.unit, note.source, note.date, note.tier)


def _traffic(scenario: Scenario) -> Iterator[Assumption]:
    for klass in scenario.workload.classes:
        shape = None if klass.open is None else klass.open.shape
        if isinstance(shape, str):
            found = load_shape(shape)
            peak = found.peak_to_mean
            yield Assumption(
                f"shape {shape}", peak, "peak/mean", found.origin, "", "measured", found.note
            )
        tools = None if klass.agent is None else klass.agent.tool_tokens
        for lengths in (klass.input, klass.output, klass.reasoning, turns_of(klass), tools):
            if isinstance(lengths, Lengths) and lengths.preset is not None:
                preset = load_length_preset(lengths.preset)
                yield Assumption(
                    f"lengths {preset.name}",
                    preset.mean,
                    "mean",
                    preset.origin,
                    "",
                    "measured",
                    preset.note,
                )
