"""Whether every class and pool has a price on the day of the scenario."""

from __future__ import annotations

from collections.abc import Iterator

from planner.catalog import Catalog, ServiceTier
from planner.errors import CatalogError, did_you_mean, shown
from planner.scenario.nodes import Location
from planner.scenario.parts import Parts
from planner.scenario.price_tables import with_price_tables
from planner.scenario.schema.money import NodePrice, Plan
from planner.scenario.schema.pools import Pool

Finding = tuple[Location, str]
_LIST_API = "`planner catalog list api` shows them all"
_LIST_PRICES = "`planner catalog list prices` shows them all; or state it in prices.nodes"


def check_prices(parts: Parts, catalog: Catalog) -> Iterator[Finding]:
    """Yield (location, message) for prices that are unknown, or do not hold on `prices.date`."""
    catalog, findings = with_price_tables(parts.root, catalog)
    yield from findings
    refused = parts.prices is None and bool(parts.items("prices", "tables"))
    if findings or refused:
        return  # prices that a faulty file would have had are not missing
    date = None if parts.prices is None else parts.prices.date
    for where, plan in parts.plans.items():
        yield from _check_plan(where, plan, catalog, date)
    for where, price in parts.node_prices.items():
        yield from _check_days(where, price, date)
    names = parts.names("prices", "nodes")
    for where, pool in parts.pools.items():
        node = catalog.nodes.get(pool.node)
        if node is not None:
            for field, name in _named_prices(pool):
                yield from check_machine_price(
                    (*where, *field), name, node.chip, catalog, date, names
                )
            if pool.price is None and not pool.price_mix:
                yield from _check_default(where, node.chip, parts, catalog)


def _check_plan(
    where: Location, plan: Plan, catalog: Catalog, date: str | None
) -> Iterator[Finding]:
    yield from _check_days(where, plan, date)
    if plan.api_price is None:
        return
    known = {price.series or price.name for price in catalog.api_prices.values()}
    if plan.api_price not in known and plan.api_price not in catalog.api_prices:
        message = _unknown("API price", plan.api_price, [*known, *catalog.api_prices], _LIST_API)
        yield (*where, "api_price"), message
    elif date is not None:
        try:
            price = catalog.api_price_on(plan.api_price, date)
        except CatalogError as error:
            yield (*where, "api_price"), str(error)
            return
        tier: ServiceTier = plan.tier or "standard"
        if tier not in price.tiers:
            advice = f"it has {', '.join(price.tiers)}"
            yield (*where, "tier"), f"{price.name} has no {tier} price; {advice}"
        if plan.cache_writes and price.of_tier("standard")[0].cache_write is None:
            yield (*where, "cache_writes"), f"{price.name} has no price of its own for them; delete"


def _named_prices(pool: Pool) -> Iterator[tuple[Location, str]]:
    if pool.price is not None:
        yield ("price",), pool.price
    for index, share in enumerate(pool.price_mix):
        yield ("price_mix", index, "price"), share.price


def check_machine_price(
    where: Location, name: str, chip: str, catalog: Catalog, date: str | None, own: list[str]
) -> Iterator[Finding]:
    """Yield why a price of machine time cannot be had for a chip.

    Args:
        where: the price is named there.
        name: of the scenario's own, the catalogue's, or a series.
        chip: what it has to be for.
        catalog: with the scenario's price tables.
        date: day on which it has to hold; None: not known.
        own: names of the prices that the scenario states.
    """
    if name in own:
        return
    prices = [p for p in catalog.machine_prices.values() if name in (p.series, p.name)]
    if not prices:
        known = [name for name, p in catalog.machine_prices.items() if p.chip == chip]
        yield where, _unknown("price", name, own + known, _LIST_PRICES)
    elif prices[0].chip != chip:
        message = f"{shown(name)} is a price of {prices[0].chip}; the pool has {chip}"
        yield where, f"{message}: choose another, or state one in prices.nodes"
    elif date is not None:
        try:
            catalog.machine_price_on(name, date)
        except CatalogError as error:
            yield where, str(error)


def _check_default(where: Location, chip: str, parts: Parts, catalog: Catalog) -> Iterator[Finding]:
    if parts.prices is None:
        return
    try:
        catalog.price_for(chip, parts.prices.default_terms, parts.prices.date)
    except CatalogError as error:
        yield (*where, "price"), str(error)


def _check_days(where: Location, price: Plan | NodePrice, date: str | None) -> Iterator[Finding]:
    """A price that the scenario states must hold on its day, as one of the catalogue does."""
    if date is None:
        return
    if price.as_of is not None and date < price.as_of:
        message = f"holds from {price.as_of}, and prices.date is {date}"
        yield (*where, "as_of"), f"{price.name} {message}: state an earlier price, or a later date"
    if price.until is not None and date > price.until:
        message = f"holds until {price.until}, and prices.date is {date}"
        yield (*where, "until"), f"{price.name} {message}: state a later price, or an earlier date"


def _unknown(kind: str, name: str, names: list[str], otherwise: str) -> str:
    return f"unknown {kind} {shown(name)}; {did_you_mean(name, names) or otherwise}"
