"""Prices of nodes, power and answers."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from planner.scenario.schema.fields import Count, Day, Name, Part, TokenCount
from planner.units import (
    Fraction,
    Money,
    MoneyPerHour,
    MoneyPerKwh,
    MoneyPerKwMonth,
    MoneyPerMonth,
    MoneyPerMtok,
    PositiveDuration,
)

Terms = Literal["on_demand", "committed_1y", "committed_3y", "spot", "capacity_block", "owned"]


class Capital(Part):
    """What a device of one's own costs to buy and to keep; power and housing come on top."""

    capex: Money
    """Price of one device with its share of host and installation."""
    network: Money = 0.0
    """Price of its share of the cluster's network and storage."""
    residual: Fraction = 0.0
    """Value at the end of its life, as a share of both prices."""
    life: Annotated[PositiveDuration, Field(examples=["5 year"])] = 5 * 365 * 86400.0
    """Time over which it is paid back."""
    cost_of_capital: Fraction = 0.10
    """Interest per year; unused by a straight line."""
    recovery: Literal["capital_recovery", "straight_line"] = "capital_recovery"
    """capital_recovery: economic, with the cost of capital; straight_line: accounting, without."""
    availability: Annotated[Fraction, Field(gt=0)] = 1.0
    """Share of the hours in which it can be used."""
    operations: MoneyPerHour = 0.0
    """Staff, software, support and tax, per device."""
    spares: Fraction = 0.0
    """Devices kept in reserve, as a share of those in use."""


class NodePrice(Part):
    """A price of machine time that the scenario states itself."""

    name: Name
    """Unique name, used by `pools[].price`."""
    per_device_hour: MoneyPerHour | None = None
    """Price of one device for one hour."""
    capital: Capital | None = None
    """Instead: what the price of an owned device is computed from."""
    terms: Terms
    """What kind of price it is; `owned` adds power and colocation, rented includes them."""
    take_or_pay: Fraction = 1.0
    """Of a commitment: share of the committed hours that is paid even if not used."""
    as_of: Day
    """Day from which the price holds, YYYY-MM-DD."""
    until: Day | None = None
    """Last day on which it holds, YYYY-MM-DD; absent: no end."""
    source: str
    """Where it comes from."""

    @model_validator(mode="after")
    def _coherent(self) -> Self:
        if (self.per_device_hour is None) == (self.capital is None):
            raise ValueError("needs per_device_hour or capital, and not both")
        if self.capital is not None and self.terms != "owned":
            raise ValueError(f"capital is for terms owned, not {self.terms}; delete one of them")
        if "take_or_pay" in self.model_fields_set and not self.terms.startswith("committed"):
            raise ValueError(f"take_or_pay is for commitments, not {self.terms}; delete it")
        _require_order(self.as_of, self.until)
        return self


class PriceShare(Part):
    """A price for some of the nodes of a pool."""

    price: str
    """Price in the catalogue, in a price table or in `prices.nodes`."""
    nodes: Count | None = None
    """How many nodes it is for, held or not; absent, in the last: all others."""


class PriceTable(Part):
    """A file with prices: YAML as the catalogue is written, or JSON in LiteLLM's format."""

    path: str
    """Relative to the file that names it."""
    as_of: Day | None = None
    """Day from which the prices of a JSON file hold; it has no dates itself."""
    source: str | None = None
    """Where a JSON file comes from."""

    @model_validator(mode="after")
    def _dated(self) -> Self:
        if self.path.endswith(".json") and self.as_of is None:
            raise ValueError("a JSON table has no dates; add as_of, the day it was taken")
        if not self.path.endswith(".json") and (self.as_of or self.source):
            raise ValueError("a YAML table has dates and sources inside; delete as_of and source")
        return self


class LongContextPrice(Part):
    """What all tokens of a request cost whose prompt is longer than a threshold."""

    above: Annotated[TokenCount, Field(ge=1)]
    """Prompt tokens above which a request is a long one."""
    input: MoneyPerMtok
    """Uncached input tokens."""
    cached_input: MoneyPerMtok | None = None
    """Input tokens found in the prefix cache; absent: as input."""
    cache_write: MoneyPerMtok | None = None
    """Input tokens that users ask to keep in the cache; absent: as input."""
    output: MoneyPerMtok
    """Output tokens, reasoning included."""


_PER_TOKEN = ("input", "cached_input", "cache_write", "output", "long_context")
_PER_SEAT = ("per_seat", "requests_per_seat_month", "included_requests_per_seat_month")
_OF_KIND = {
    "api": ("api_price", "tier", "cache_writes", *_PER_TOKEN),
    "subscription": _PER_SEAT,
    "advertising": ("per_message",),
    "free": (),
}
"""Fields that each kind of plan may have, besides name, dates and source."""


class Plan(Part):
    """What a class pays, or earns."""

    name: Name
    """Unique name, used by `classes[].plan`."""
    kind: Literal["api", "subscription", "advertising", "free"]
    """api: per token; subscription: per seat, allocated by use; advertising: per request, from
    advertisers; free: nothing."""
    api_price: str | None = None
    """API: a price of the catalogue or of a price table, instead of prices stated here."""
    tier: Literal["standard", "batch", "flex", "priority"] | None = None
    """API: service tier of `api_price`; absent: standard."""
    input: MoneyPerMtok | None = None
    """API: uncached input tokens."""
    cached_input: MoneyPerMtok | None = None
    """API: input tokens found in the prefix cache."""
    cache_write: MoneyPerMtok | None = None
    """API: uncached input tokens that users ask to keep in the cache."""
    cache_writes: Fraction | None = None
    """API: share of the uncached input that users ask to keep; absent: none."""
    output: MoneyPerMtok | None = None
    """API: output tokens, reasoning included."""
    long_context: LongContextPrice | None = None
    """API: prices of requests with a long prompt."""
    per_seat: MoneyPerMonth | None = None
    """Subscription: price of one seat."""
    requests_per_seat_month: Annotated[float, Field(gt=0)] | None = None
    """Subscription: mean use of a seat; its price is allocated per request served."""
    included_requests_per_seat_month: Annotated[float, Field(gt=0)] | None = None
    """Subscription: what a seat may use; the part nobody uses is shown as breakage."""
    per_message: Money | None = None
    """Advertising: mean revenue of a request served, those without an advertisement included."""
    as_of: Day | None = None
    """Day from which the price holds, YYYY-MM-DD."""
    until: Day | None = None
    """Last day on which it holds, YYYY-MM-DD; absent: no end."""
    source: str | None = None
    """Where it comes from."""

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if self.kind == "api" and self.api_price is None:
            if missing := self._absent("input", "output"):
                raise ValueError(f"an api plan needs api_price, or {' and '.join(missing)}")
        elif self.kind == "subscription" and (missing := self._absent(*_PER_SEAT[:2])):
            raise ValueError(f"a subscription plan needs {' and '.join(missing)}")
        elif self.kind == "advertising" and self.per_message is None:
            raise ValueError("an advertising plan needs per_message")
        of_any_kind = {field for fields in _OF_KIND.values() for field in fields}
        idle = of_any_kind - set(_OF_KIND[self.kind])
        kind = f"a plan of kind {self.kind}"
        if self.api_price is not None and self.kind == "api":
            idle, kind = idle | set(_PER_TOKEN), "api_price"
        if excess := sorted(idle - set(self._absent(*idle))):
            raise ValueError(f"{kind} does not go with {', '.join(excess)}; delete one of them")
        self._check_amounts()
        return self

    def _check_amounts(self) -> None:
        if self.tier is not None and self.api_price is None:
            raise ValueError("tier chooses a price of api_price; state the tier's prices instead")
        if self.cache_writes and self.api_price is None and self.cache_write is None:
            raise ValueError("cache_writes needs cache_write, what they cost")
        used, included = self.requests_per_seat_month, self.included_requests_per_seat_month
        if used is not None and included is not None and included < used:
            raise ValueError(
                f"included_requests_per_seat_month {included:g} is less than the mean use, "
                f"requests_per_seat_month {used:g}; a seat cannot use more than it includes"
            )
        _require_order(self.as_of, self.until)

    def _absent(self, *names: str) -> list[str]:
        return [name for name in names if getattr(self, name) is None]


def _require_order(as_of: str | None, until: str | None) -> None:
    if as_of is not None and until is not None and until < as_of:
        raise ValueError(f"until {until} is before as_of {as_of}; the price never holds")


class TokenWeights(Part):
    """What tokens cost where one pool computes all kinds, in uncached input tokens."""

    output: Annotated[float, Field(ge=0, le=1000)] = 5.0
    """One output token; list prices say 4 to 8."""
    cached_input: Annotated[float, Field(ge=0, le=1)] = 0.1
    """One input token found in the prefix cache."""


class Power(Part):
    """Electricity and housing of owned nodes; rented prices include them."""

    electricity: MoneyPerKwh = 0.08
    """Price of electricity."""
    pue: Annotated[float, Field(ge=1, le=3)] = 1.12
    """Power usage effectiveness, applied once."""
    colocation: MoneyPerKwMonth = 130.0
    """Housing, per kW of provisioned IT power and month."""
    idle: Fraction = 0.12
    """Power of an idle device, as a share of its nameplate power."""
    loaded: Fraction = 0.80
    """Power of a device that is busy with arithmetic, as a share of its nameplate power."""
    memory_bound: Fraction = 0.66
    """Power of a busy device whose steps wait for memory, as a share of `loaded` (as the next
    fitted on ML.ENERGY v3: dense models on H100 and B200). 1: every step draws alike."""
    saturation: Annotated[Fraction, Field(gt=0)] = 0.15
    """Share of peak arithmetic from which on a busy device draws `loaded`; below it, in
    proportion between the two."""


class Prices(Part):
    """Prices, with names and dates."""

    date: Day = "2026-11-01"
    """Day whose prices apply, YYYY-MM-DD."""
    tables: list[PriceTable] = []
    """Files with prices of your own, beside the catalogue's."""
    default_terms: Terms = "on_demand"
    """Kind of catalogue price for pools without `price`."""
    node_overhead: Fraction = 0.10
    """Storage, network, control plane and support of rented nodes: a share of the device price."""
    nodes: list[NodePrice] = []
    """Prices of machine time of the scenario itself."""
    plans: list[Plan] = []
    """What the classes pay."""
    token_weights: TokenWeights = TokenWeights()
    """How the cost of a pool is divided among input, cached input and output tokens."""
    power: Power = Power()
    """Electricity and housing."""
    partner_revenue_share: Fraction = 0.0
    """Share of revenue that goes to a partner; its own line in the margin."""
    margin: Literal["paid_only", "all_users_in_cogs", "free_in_marketing"] = "all_users_in_cogs"
    """Definition of gross margin that the headline uses; the report shows the others beside it."""
