"""From what was measured to money: the books of a run, and the prices that hold on a day.

Books are plain quantities with the names of their prices. A result keeps them, so that it can be
priced again, by other prices or for another day, without another simulation.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, TypeVar

from planner.catalog import (
    ApiPrice,
    Catalog,
    Figure,
    LongContext,
    MachinePrice,
    ServiceTier,
    TokenPrices,
)
from planner.economics import (
    AdvertisingPlan,
    ApiPlan,
    ClassUsage,
    FreePlan,
    LongContextPrice,
    MachineRate,
    OwnedAsset,
    Plan,
    Policy,
    PoolTime,
    PowerTerms,
    PriceLayer,
    Statement,
    SubscriptionPlan,
    Tokens,
    TokenWeights,
    settle,
)
from planner.errors import CatalogError
from planner.scenario.schema.money import Capital, NodePrice, Prices, PriceShare
from planner.scenario.schema.money import Plan as StatedPlan
from planner.units import YEAR_S

SCENARIO = "the scenario"
_AnyPlan = TypeVar("_AnyPlan", ApiPlan, SubscriptionPlan, AdvertisingPlan, FreePlan)


@dataclass(frozen=True)
class PoolBook:
    """Machine time of a pool, and how the scenario prices it."""

    time: PoolTime
    price: str | None = None
    """Name of its one price; None: by default terms, or by the mix."""
    mix: tuple[tuple[str, int | None], ...] = ()
    """(price, nodes) from the base load to the peaks."""


@dataclass(frozen=True)
class ClassBook:
    """What a class was served, and the name of its plan."""

    usage: ClassUsage
    """Without a plan."""
    plan: str | None = None
    long_above_tokens: int | None = None
    """Prompt length from which on its tokens were counted as long context; None: were not."""


@dataclass(frozen=True)
class Books:
    """Everything of a run that money is computed from."""

    pools: tuple[PoolBook, ...]
    classes: tuple[ClassBook, ...]
    prices: Mapping[str, Any]
    """The section `prices` of the scenario as it is written."""
    machine_prices: tuple[MachinePrice, ...] = ()
    """Those of the catalogue that were used: a later catalogue may have others."""
    api_prices: tuple[ApiPrice, ...] = ()
    sample_rate: float = 1.0
    """Share of the traffic that was simulated; the classes hold all of it."""

    def statement(self, prices: Prices, catalog: Catalog) -> Statement:
        """Return the money at some prices.

        Raises:
            CatalogError: a price is unknown, or does not hold on `prices.date`.
        """
        usages = [
            usage
            for book in self.pools
            for usage in book.time.priced(layers_of(book, prices, catalog))
        ]
        plans = {plan.name: plan for plan in prices.plans}
        classes = [
            replace(book.usage, plan=_plan_of_class(book, plans, prices, catalog))
            for book in self.classes
        ]
        return settle(usages, classes, policy_of(prices))

    def with_entries(self, prices: Prices, catalog: Catalog) -> Books:
        """Return the books with the catalogue's prices that they name on the day of `prices`."""
        machines, answers = {}, {}
        own = {price.name for price in prices.nodes}
        for book in self.pools:
            for name in [book.price] if not book.mix else [name for name, _ in book.mix]:
                if name not in own:
                    found = _machine_price(name, book.time.chip, prices, catalog)
                    machines[found.name] = found
        used = {book.plan for book in self.classes}
        for plan in prices.plans:
            if plan.name in used and plan.api_price is not None:
                price = catalog.api_price_on(plan.api_price, prices.date)
                answers[price.name] = price
        return replace(
            self, machine_prices=tuple(machines.values()), api_prices=tuple(answers.values())
        )

    def to_json(self) -> dict[str, Any]:
        """Return the books as JSON can hold them."""
        return {
            "prices": dict(self.prices),
            "pools": [asdict(book) for book in self.pools],
            "classes": [_without_plan(asdict(book)) for book in self.classes],
            "machine_prices": [asdict(price) for price in self.machine_prices],
            "api_prices": [asdict(price) for price in self.api_prices],
            "sample_rate": self.sample_rate,
        }

    @classmethod
    def of_json(cls, content: Mapping[str, Any]) -> Books:
        """Return the books that `to_json` wrote."""
        return cls(
            pools=tuple(_pool_book(each) for each in content["pools"]),
            classes=tuple(_class_book(each) for each in content["classes"]),
            prices=content["prices"],
            machine_prices=tuple(
                MachinePrice(**each | {"per_device_hour": Figure(**each["per_device_hour"])})
                for each in content["machine_prices"]
            ),
            api_prices=tuple(_api_price(each) for each in content["api_prices"]),
            sample_rate=content.get("sample_rate", 1.0),
        )


# --- machines ------------------------------------------------------------------------------------


def layers_of(book: PoolBook, prices: Prices, catalog: Catalog) -> tuple[PriceLayer, ...]:
    """Return the prices of a pool, from the base load to the peaks."""
    if book.mix:
        return tuple(
            PriceLayer(rate_of(name, book.time.chip, prices, catalog), nodes)
            for name, nodes in book.mix
        )
    return (PriceLayer(rate_of(book.price, book.time.chip, prices, catalog)),)


def rate_of(name: str | None, chip: str, prices: Prices, catalog: Catalog) -> MachineRate:
    """Return a price of machine time on the day of `prices`.

    Args:
        name: of the scenario's own, the catalogue's, or a series; None: by default terms.
        chip: what it is for.
        prices: the scenario's own prices, its day and its default terms.
        catalog: shipped prices, and those of price tables.

    Raises:
        CatalogError: there is none, or none on that day.
    """
    for own in prices.nodes:
        if own.name == name:
            return _own_rate(own, chip, prices.date)
    found = _machine_price(name, chip, prices, catalog)
    figure = found.per_device_hour
    return MachineRate(
        found.name, chip, found.terms, figure.value, figure.date, figure.source, figure.tier
    )


def _machine_price(name: str | None, chip: str, prices: Prices, catalog: Catalog) -> MachinePrice:
    if name is None:
        return catalog.price_for(chip, prices.default_terms, prices.date)
    return catalog.machine_price_on(name, prices.date)


def _own_rate(own: NodePrice, chip: str, date: str) -> MachineRate:
    _require_day(own, date)
    parts = () if own.capital is None else _asset(own.capital).parts()
    price_usd = own.per_device_hour
    if price_usd is None:
        price_usd = sum(part.per_device_hour_usd for part in parts)
    return MachineRate(
        own.name, chip, own.terms, price_usd, own.as_of, own.source, "scenario",
        take_or_pay_rate=own.take_or_pay, parts=parts,
    )  # fmt: skip


def _asset(capital: Capital) -> OwnedAsset:
    return OwnedAsset(
        capital.capex,
        network_usd=capital.network,
        residual_rate=capital.residual,
        life_years=capital.life / YEAR_S,
        cost_of_capital_rate=capital.cost_of_capital,
        availability_rate=capital.availability,
        operations_usd_per_hour=capital.operations,
        spares_rate=capital.spares,
        recovery=capital.recovery,
    )


def _require_day(price: NodePrice | StatedPlan, date: str) -> None:
    if (price.as_of or date) > date or (price.until or date) < date:
        days = " ".join(
            f"{word} {day}" for word, day in (("from", price.as_of), ("until", price.until)) if day
        )
        raise CatalogError(f"no price {price.name} on {date}: it holds {days}")


# --- plans ---------------------------------------------------------------------------------------


def plan_of(stated: StatedPlan, date: str, catalog: Catalog) -> Plan:
    """Return what a class pays, from the scenario or from the catalogue entry that it names.

    Raises:
        CatalogError: the entry is unknown, does not hold on `date`, or is not sold under the tier.
    """
    _require_day(stated, date)
    if stated.kind == "free":
        return _dated(FreePlan(stated.name), stated, date)
    if stated.kind == "advertising":
        assert stated.per_message is not None
        return _dated(AdvertisingPlan(stated.name, stated.per_message), stated, date)
    if stated.kind == "subscription":
        assert stated.per_seat is not None
        assert stated.requests_per_seat_month is not None
        plan = SubscriptionPlan(
            stated.name,
            stated.per_seat,
            stated.requests_per_seat_month,
            included_requests_per_seat_month=stated.included_requests_per_seat_month,
        )
        return _dated(plan, stated, date)
    if stated.api_price is not None:
        return _listed_plan(stated, catalog.api_price_on(stated.api_price, date))
    assert stated.input is not None
    assert stated.output is not None
    long = stated.long_context
    return _dated(
        ApiPlan(
            stated.name,
            stated.input,
            stated.output,
            stated.cached_input,
            cache_write_usd_per_mtok=stated.cache_write,
            cache_write_rate=stated.cache_writes or 0.0,
            long_context=None
            if long is None
            else LongContextPrice(
                long.above, long.input, long.output, long.cached_input, long.cache_write
            ),
        ),
        stated,
        date,
    )


def _dated(plan: _AnyPlan, stated: StatedPlan, date: str) -> _AnyPlan:
    """Return the plan with its origin; a price that says nothing of its own is of the day asked."""
    return replace(plan, date=stated.as_of or date, source=stated.source or SCENARIO)


def _listed_plan(stated: StatedPlan, price: ApiPrice) -> ApiPlan:
    tier: ServiceTier = stated.tier or "standard"
    usual, long = price.of_tier(tier)
    return ApiPlan(
        stated.name,
        usual.input.value,
        usual.output.value,
        _value(usual.cached_input),
        price.date,
        price.output.source,
        cache_write_usd_per_mtok=_value(usual.cache_write),
        cache_write_rate=stated.cache_writes or 0.0,
        long_context=None
        if long is None or price.long_context is None
        else LongContextPrice(
            price.long_context.above_tokens,
            long.input.value,
            long.output.value,
            _value(long.cached_input),
            _value(long.cache_write),
        ),
        service_tier=tier,
        tier=price.output.tier,
    )


def _value(figure: Figure | None) -> float | None:
    return None if figure is None else figure.value


def long_above(plan: Plan) -> int | None:
    """Return the prompt length above which tokens have another price; None: there is none."""
    long = plan.long_context if isinstance(plan, ApiPlan) else None
    return None if long is None else long.above_tokens


def long_thresholds(prices: Prices, catalog: Catalog) -> dict[str, int]:
    """Return by plan the prompt length above which tokens have another price."""
    found = {}
    for stated in prices.plans:
        plan = plan_of(stated, prices.date, catalog)
        if above := long_above(plan):
            found[plan.name] = above
    return found


def _plan_of_class(
    book: ClassBook, plans: Mapping[str, StatedPlan], prices: Prices, catalog: Catalog
) -> Plan | None:
    if book.plan is None:
        return None
    if book.plan not in plans:
        raise CatalogError(
            f"class {book.usage.name} pays plan {book.plan}, which is no longer in prices.plans"
        )
    plan = plan_of(plans[book.plan], prices.date, catalog)
    above = long_above(plan) or book.long_above_tokens
    if above != book.long_above_tokens:
        raise CatalogError(
            f"plan {plan.name} has another price above {above:,} tokens, and this run did not "
            f"count the tokens of such requests of class {book.usage.name}; run the scenario "
            "again with that price"
        )
    return plan


# --- the whole -----------------------------------------------------------------------------------


def policy_of(prices: Prices) -> Policy:
    """Return what applies to the scenario as a whole, each part with where it comes from."""

    def origin(stated: object) -> dict[str, str]:
        return {"source": SCENARIO, "date": prices.date} if stated else {}

    stated, weights = prices.model_fields_set, prices.token_weights
    overhead = origin("node_overhead" in stated)
    partner = origin("partner_revenue_share" in stated)
    default = Policy()
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
        token_weights=TokenWeights(
            weights.output, weights.cached_input, **origin(weights.model_fields_set)
        ),
        source=overhead.get("source", default.source),
        date=overhead.get("date", default.date),
        partner_source=partner.get("source", default.partner_source),
        partner_date=partner.get("date", default.partner_date),
    )


# --- JSON ----------------------------------------------------------------------------------------


def _without_plan(book: dict[str, Any]) -> dict[str, Any]:
    return book | {"usage": {k: v for k, v in book["usage"].items() if k != "plan"}}


def _pool_book(content: Mapping[str, Any]) -> PoolBook:
    time = content["time"]
    held = tuple((hours, nodes) for hours, nodes in time["held"])
    mix = tuple((name, nodes) for name, nodes in content["mix"])
    return PoolBook(PoolTime(**time | {"held": held}), content["price"], mix)


def _class_book(content: Mapping[str, Any]) -> ClassBook:
    usage = content["usage"]
    long = Tokens(**usage["long_context"])
    return ClassBook(
        ClassUsage(plan=None, **usage | {"long_context": long}),
        content["plan"],
        content["long_above_tokens"],
    )


def _api_price(content: Mapping[str, Any]) -> ApiPrice:
    long = content["long_context"]
    return ApiPrice(
        **dict(content)
        | {
            "tiers": _tiers(content["tiers"]),
            "long_context": long and LongContext(long["above_tokens"], _tiers(long["tiers"])),
            "notes": tuple(content["notes"]),
        }
    )


def _tiers(content: Mapping[ServiceTier, Mapping[str, Any]]) -> dict[ServiceTier, TokenPrices]:
    return {
        tier: TokenPrices(**{name: figure and Figure(**figure) for name, figure in prices.items()})
        for tier, prices in content.items()
    }


def mix_of(shares: list[PriceShare]) -> tuple[tuple[str, int | None], ...]:
    """Return a mix of prices as books keep it."""
    return tuple((share.price, share.nodes) for share in shares)
