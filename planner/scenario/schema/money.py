"""Prices of nodes, power and answers."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from planner.scenario.schema.fields import Day, Name, Part
from planner.units import (
    Fraction,
    MoneyPerHour,
    MoneyPerKwh,
    MoneyPerKwMonth,
    MoneyPerMonth,
    MoneyPerMtok,
)


class NodePrice(Part):
    """A price of machine time that the scenario states itself."""

    name: Name
    """Unique name, used by `pools[].price`."""
    per_device_hour: MoneyPerHour
    """Price of one device for one hour."""
    terms: Literal["on_demand", "committed_1y", "committed_3y", "spot", "owned"]
    """What kind of price it is; `owned` adds power and colocation, rented includes them."""
    as_of: Day
    """Date of the price, YYYY-MM-DD."""
    source: str
    """Where it comes from."""


class Plan(Part):
    """What a class pays."""

    name: Name
    """Unique name, used by `classes[].plan`."""
    kind: Literal["api", "subscription", "free"]
    """api: per token; subscription: per seat, allocated by use; free: nothing."""
    api_price: str | None = None
    """An API price of the catalogue, instead of the next three fields."""
    input: MoneyPerMtok | None = None
    """API: uncached input tokens."""
    cached_input: MoneyPerMtok | None = None
    """API: input tokens found in the prefix cache."""
    output: MoneyPerMtok | None = None
    """API: output tokens, reasoning included."""
    per_seat: MoneyPerMonth | None = None
    """Subscription: price of one seat."""
    requests_per_seat_month: Annotated[float, Field(gt=0)] | None = None
    """Subscription: mean use of a seat; its price is allocated per request served."""
    as_of: Day | None = None
    """Date of the price, YYYY-MM-DD."""
    source: str | None = None
    """Where it comes from."""

    @model_validator(mode="after")
    def _complete(self) -> Self:
        per_token = ("input", "cached_input", "output")
        per_seat = ("per_seat", "requests_per_seat_month")
        if self.kind == "api" and self.api_price is None:
            if missing := self._absent("input", "output"):
                raise ValueError(f"an api plan needs api_price, or {' and '.join(missing)}")
        elif self.kind == "subscription" and (missing := self._absent(*per_seat)):
            raise ValueError(f"a subscription plan needs {' and '.join(missing)}")
        idle = {
            "api": per_seat if self.api_price is None else (*per_token, *per_seat),
            "subscription": ("api_price", *per_token),
            "free": ("api_price", *per_token, *per_seat),
        }[self.kind]
        if excess := sorted(set(idle) - set(self._absent(*idle))):
            kind = f"a plan of kind {self.kind}" if self.api_price is None else "api_price"
            raise ValueError(f"{kind} does not go with {', '.join(excess)}; delete one of them")
        return self

    def _absent(self, *names: str) -> list[str]:
        return [name for name in names if getattr(self, name) is None]


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
    default_terms: Literal["on_demand", "committed_1y", "committed_3y", "spot", "owned"] = (
        "on_demand"
    )
    """Kind of catalogue price for pools without `price`."""
    node_overhead: Fraction = 0.10
    """Storage, network, control plane and support of rented nodes: a share of the device price."""
    nodes: list[NodePrice] = []
    """Prices of machine time of the scenario itself."""
    plans: list[Plan] = []
    """What the classes pay."""
    power: Power = Power()
    """Electricity and housing."""
    partner_revenue_share: Fraction = 0.0
    """Share of revenue that goes to a partner; its own line in the margin."""
    margin: Literal["paid_only", "all_users_in_cogs", "free_in_marketing"] = "all_users_in_cogs"
    """Definition of gross margin that the headline uses; the report shows the others beside it."""
