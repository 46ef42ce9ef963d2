"""What classes earn: per token, per seat, per advertisement shown, or nothing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from planner.economics.checks import require_range


@dataclass(frozen=True)
class LongContextPrice:
    """What all tokens of a request cost whose prompt is longer than a threshold."""

    above_tokens: int
    """Prompt tokens, cached ones included, above which a request is a long one."""
    input_usd_per_mtok: float
    output_usd_per_mtok: float
    cached_input_usd_per_mtok: float | None = None
    """None: no discount."""
    cache_write_usd_per_mtok: float | None = None
    """None: as input."""

    def __post_init__(self) -> None:
        require_range("LongContextPrice.above_tokens", self.above_tokens, minimum=1)
        _require_prices("LongContextPrice", self)


@dataclass(frozen=True)
class ApiPlan:
    """Price per token, as it is under the plan's service tier."""

    name: str
    input_usd_per_mtok: float
    """Uncached input."""
    output_usd_per_mtok: float
    """Output, reasoning included."""
    cached_input_usd_per_mtok: float | None = None
    """Input found in the prefix cache; None: no discount."""
    date: str = ""
    source: str = ""
    cache_write_usd_per_mtok: float | None = None
    """Uncached input that users ask to keep in the cache; None: as input."""
    cache_write_rate: float = 0.0
    """Share of the uncached input that they ask to keep."""
    long_context: LongContextPrice | None = None
    """None: prompts of any length cost the same."""
    service_tier: str = "standard"
    """What the prices are for: standard, batch, flex or priority."""
    tier: str = "scenario"
    """How well the price is founded: official, …, estimated, or the scenario's own."""

    def __post_init__(self) -> None:
        _require_prices(f"ApiPlan({self.name})", self)
        require_range(f"ApiPlan({self.name}).cache_write_rate", self.cache_write_rate, maximum=1.0)

    @property
    def cached_price_usd_per_mtok(self) -> float:
        """Price of cached input that applies."""
        if self.cached_input_usd_per_mtok is None:
            return self.input_usd_per_mtok
        return self.cached_input_usd_per_mtok


def _require_prices(name: str, prices: ApiPlan | LongContextPrice) -> None:
    for field in ("input", "output", "cached_input", "cache_write"):
        price_usd = getattr(prices, f"{field}_usd_per_mtok")
        if price_usd is not None:
            require_range(f"{name}.{field}_usd_per_mtok", price_usd)


@dataclass(frozen=True)
class SubscriptionPlan:
    """Price per seat and month, allocated to requests by the mean use of a seat.

    What seats include and nobody uses is breakage. It is earned in proportion to the use, as IFRS
    15 (B46) and ASC 606 (55-48) have it, so the use of one seat earns the price of one seat.
    """

    name: str
    seat_usd_per_month: float
    requests_per_seat_month: float
    """Mean use of a seat."""
    date: str = ""
    source: str = ""
    included_requests_per_seat_month: float | None = None
    """What a seat may use; None: as much as it does, so that there is no breakage."""

    def __post_init__(self) -> None:
        name = f"SubscriptionPlan({self.name})"
        require_range(f"{name}.seat_usd_per_month", self.seat_usd_per_month)
        require_range(f"{name}.requests_per_seat_month", self.requests_per_seat_month)
        if self.requests_per_seat_month == 0:
            raise ValueError(f"{name}.requests_per_seat_month must be greater than 0, found 0")
        if self.included_requests_per_seat_month is not None:
            require_range(
                f"{name}.included_requests_per_seat_month",
                self.included_requests_per_seat_month,
                minimum=self.requests_per_seat_month,
            )

    def seat_months(self, requests: float) -> float:
        """Return how many seats it takes for a month to send these requests."""
        return requests / self.requests_per_seat_month


@dataclass(frozen=True)
class AdvertisingPlan:
    """Users who pay nothing and are shown advertisements."""

    name: str
    message_usd: float
    """Earned per request served, those without an advertisement included."""
    date: str = ""
    source: str = ""

    def __post_init__(self) -> None:
        require_range(f"AdvertisingPlan({self.name}).message_usd", self.message_usd)


@dataclass(frozen=True)
class FreePlan:
    """Users who pay nothing."""

    name: str
    date: str = ""
    source: str = ""


Plan: TypeAlias = ApiPlan | SubscriptionPlan | AdvertisingPlan | FreePlan


def is_paying(plan: Plan | None) -> bool:
    """Return whether the users of a plan are paying ones in the margin definitions.

    Whoever is shown advertisements is no paying user, though they bring revenue.

    >>> is_paying(ApiPlan("api", 0.55, 2.19)), is_paying(FreePlan("guests")), is_paying(None)
    (True, False, False)
    >>> is_paying(AdvertisingPlan("ads", 0.001))
    False
    """
    return isinstance(plan, ApiPlan | SubscriptionPlan)
