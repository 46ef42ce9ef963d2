"""What machine time costs and what tokens sell for, each price with the days on which it holds."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Final, Literal, get_args

from planner.catalog.figures import Figure
from planner.errors import CatalogError

Terms = Literal["on_demand", "committed_1y", "committed_3y", "spot", "capacity_block", "owned"]
TERMS: Final[tuple[Terms, ...]] = get_args(Terms)
ServiceTier = Literal["standard", "batch", "flex", "priority"]
"""How urgent requests are: batch within a day, flex when there is room, priority first."""
SERVICE_TIERS: Final[tuple[ServiceTier, ...]] = get_args(ServiceTier)
Change = Callable[[Figure], Figure]
_LAST_DAY: Final = "9999-12-31"


@dataclass(frozen=True, slots=True)
class MachinePrice:
    """Price of one device for one hour.

    Rented terms include power and housing; `owned` is capital and operations only, and power and
    housing are added by the scenario's own prices.
    """

    name: str
    title: str
    chip: str
    terms: Terms
    provider: str
    per_device_hour: Figure
    """USD/h; its date is the first day on which the price holds."""
    reference: bool = False
    """`Catalog.price_for` picks among these; the others show the spread and are chosen by name."""
    series: str = ""
    """Name shared by the prices that follow one another; empty: the price stands alone."""
    until: str = ""
    """Last day on which the price holds; empty: until the next of its series."""

    @property
    def date(self) -> str:
        """First day on which the price holds."""
        return self.per_device_hour.date


@dataclass(frozen=True, slots=True)
class TokenPrices:
    """Prices of tokens of one service tier, in USD per million."""

    input: Figure
    output: Figure
    """Output tokens, reasoning included."""
    cached_input: Figure | None = None
    """Input tokens found in the prefix cache; None: no discount."""
    cache_write: Figure | None = None
    """Input tokens that users ask to keep in the cache; None: as input."""

    def changed(self, on_input: Change, on_output: Change) -> TokenPrices:
        """Return other prices, where there are any: those of input tokens, and that of output."""
        cached, write = self.cached_input, self.cache_write
        return TokenPrices(
            input=on_input(self.input),
            output=on_output(self.output),
            cached_input=None if cached is None else on_input(cached),
            cache_write=None if write is None else on_input(write),
        )


@dataclass(frozen=True, slots=True)
class LongContext:
    """Prices of all tokens of a request whose prompt is longer than a threshold."""

    above_tokens: int
    tiers: Mapping[ServiceTier, TokenPrices] = field(hash=False)


@dataclass(frozen=True, slots=True)
class ApiPrice:
    """List price of a model behind an API, in USD per million tokens."""

    name: str
    title: str
    provider: str
    tiers: Mapping[ServiceTier, TokenPrices] = field(hash=False)
    """By service tier; `standard` is always there."""
    long_context: LongContext | None = None
    series: str = ""
    """Name shared by the prices that follow one another; empty: the price stands alone."""
    until: str = ""
    """Last day on which the price holds; empty: until the next of its series."""
    notes: tuple[str, ...] = ()

    def changed(self, change: Change) -> ApiPrice:
        """Return the price with every amount of money in it changed."""

        def changed(tiers: Mapping[ServiceTier, TokenPrices]) -> dict[ServiceTier, TokenPrices]:
            return {tier: prices.changed(change, change) for tier, prices in tiers.items()}

        long = self.long_context
        return replace(
            self,
            tiers=changed(self.tiers),
            long_context=long and replace(long, tiers=changed(long.tiers)),
        )

    @property
    def input(self) -> Figure:
        """Uncached input tokens, standard tier."""
        return self.tiers["standard"].input

    @property
    def cached_input(self) -> Figure | None:
        """Input tokens found in the prefix cache, standard tier; None: no discount."""
        return self.tiers["standard"].cached_input

    @property
    def output(self) -> Figure:
        """Output tokens, reasoning included, standard tier."""
        return self.tiers["standard"].output

    @property
    def date(self) -> str:
        """First day on which the price holds."""
        return self.output.date

    def of_tier(self, tier: ServiceTier) -> tuple[TokenPrices, TokenPrices | None]:
        """Return the prices of a service tier, and those of long contexts if they differ.

        Raises:
            CatalogError: the model is not sold under this tier.
        """
        if tier not in self.tiers:
            raise CatalogError(f"{self.name} has no {tier} price; it has {', '.join(self.tiers)}")
        long = None if self.long_context is None else self.long_context.tiers.get(tier)
        return self.tiers[tier], long


def holds(price: MachinePrice | ApiPrice, date: str) -> bool:
    """Return whether a price holds on a day, YYYY-MM-DD, its successors apart."""
    return price.date <= date <= last_day(price)


def last_day(price: MachinePrice | ApiPrice) -> str:
    """Return the last day on which a price holds, its successors apart.

    `2026-06` is to the end of June, and `2026` to the end of the year.
    """
    return price.until + _LAST_DAY[len(price.until) :]
