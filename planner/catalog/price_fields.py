"""How prices are written in YAML, in the catalogue and in files of one's own."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from fractions import Fraction
from itertools import pairwise
from typing import Final, TypeVar

from planner.catalog.figures import Figure
from planner.catalog.prices import (
    SERVICE_TIERS,
    TERMS,
    ApiPrice,
    LongContext,
    MachinePrice,
    ServiceTier,
    TokenPrices,
    last_day,
)
from planner.catalog.reader import Fields
from planner.errors import CatalogError

_Price = TypeVar("_Price", MachinePrice, ApiPrice)
_LARGEST_FACTOR: Final = 10.0
"""Of a service tier or a long context; beyond it, a percentage was written as a number."""


def read_machine_price(name: str, fields: Fields) -> MachinePrice:
    """Return the price of machine time that an entry states."""
    return MachinePrice(
        name=name,
        title=fields.required("title", str),
        chip=fields.required("chip", str),
        terms=fields.word("terms", TERMS),
        provider=fields.required("provider", str),
        per_device_hour=fields.figure("price", "money_per_hour"),
        reference=fields.optional("reference", bool) or False,
        series=fields.optional("series", str) or "",
        until=fields.day("until"),
    )


def read_api_price(name: str, fields: Fields) -> ApiPrice:
    """Return the API price that an entry states.

    Tiers and long contexts are written as factors of the standard price, as price lists do:
    `batch: 0.5`, `long_context: {above: 272_000, input: 2, output: 1.5}`.
    """
    standard = TokenPrices(
        input=fields.figure("input", "money_per_mtok"),
        output=fields.figure("output", "money_per_mtok"),
        cached_input=fields.optional_figure("cached_input", "money_per_mtok"),
        cache_write=fields.optional_figure("cache_write", "money_per_mtok"),
    )
    tiers: dict[ServiceTier, TokenPrices] = {"standard": standard}
    for tier in SERVICE_TIERS[1:]:
        if (factor := _factor(fields, tier)) is not None:
            tiers[tier] = _times(standard, factor, factor, tier)
    return ApiPrice(
        name=name,
        title=fields.required("title", str),
        provider=fields.required("provider", str),
        tiers=tiers,
        long_context=_long_context(fields, tiers),
        series=fields.optional("series", str) or "",
        until=fields.day("until"),
        notes=fields.texts("notes"),
    )


def check_series(prices: Mapping[str, _Price], place_of: Callable[[str], str]) -> None:
    """Raise if two prices of one series hold on the same day.

    A price without `until` holds until the next one.

    Args:
        prices: by name.
        place_of: returns file and line of a price by its name.

    Raises:
        CatalogError: names both, and the day.
    """
    by_series: dict[str, list[_Price]] = {}
    for price in prices.values():
        by_series.setdefault(price.series or price.name, []).append(price)
        if last_day(price) < price.date:
            raise CatalogError(
                f"{place_of(price.name)}: {price.name}: holds from {price.date} and until "
                f"{price.until}, which is before"
            )
    for series, members in by_series.items():
        for first, then in pairwise(sorted(members, key=lambda p: p.date)):
            if then.date == first.date or (first.until and last_day(first) >= then.date):
                raise CatalogError(
                    f"{place_of(then.name)}: {then.name}: holds from {then.date}, and so does "
                    f"{first.name} ({place_of(first.name)}), both of {series}; end the one with "
                    "`until` before the other begins"
                )


def _long_context(fields: Fields, tiers: Mapping[ServiceTier, TokenPrices]) -> LongContext | None:
    part = fields.optional_part("long_context")
    if part is None:
        return None
    above, factors = part.count("above"), (_factor(part, "input"), _factor(part, "output"))
    part.done()
    on_input, on_output = (1.0 if factor is None else factor for factor in factors)
    return LongContext(
        above,
        {
            tier: _times(prices, on_input, on_output, f"above {above:,} tokens")
            for tier, prices in tiers.items()
        },
    )


def _factor(fields: Fields, key: str) -> float | None:
    figure = fields.optional_figure(key, None, "of the price")
    if figure is not None and figure.value > _LARGEST_FACTOR:
        raise fields.fault(key, f"is a factor of the price, as 0.5; found {figure.value:g}")
    return None if figure is None else figure.value


def _times(prices: TokenPrices, on_input: float, on_output: float, why: str) -> TokenPrices:
    return prices.changed(
        lambda figure: times(figure, on_input, why), lambda figure: times(figure, on_output, why)
    )


def times(figure: Figure, factor: float, why: str) -> Figure:
    """Return a figure that is a multiple of another, exactly as the decimals are written.

    >>> figure = Figure(0.07, "USD/Mtok", "0.07 USD/Mtok", "list", "2026-01", "official")
    >>> times(figure, 0.3, "batch").shown
    '0.021 USD/Mtok'
    """
    value = float(Fraction(repr(figure.value)) * Fraction(repr(float(factor))))
    note = f"{why}: {factor:g} times {figure.shown}"
    return replace(figure, value=value, shown=f"{value:g} {figure.unit}", note=note)
