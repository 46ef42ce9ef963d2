"""What classes pay: per token, per seat, or nothing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from planner.economics.checks import require_range


@dataclass(frozen=True)
class ApiPlan:
    """Price per token."""

    name: str
    input_usd_per_mtok: float
    """Uncached input."""
    output_usd_per_mtok: float
    """Output, reasoning included."""
    cached_input_usd_per_mtok: float | None = None
    """Input found in the prefix cache; None: no discount."""
    date: str = ""
    source: str = ""

    def __post_init__(self) -> None:
        require_range(f"ApiPlan({self.name}).input_usd_per_mtok", self.input_usd_per_mtok)
        require_range(f"ApiPlan({self.name}).output_usd_per_mtok", self.output_usd_per_mtok)
        require_range(
            f"ApiPlan({self.name}).cached_input_usd_per_mtok", self.cached_price_usd_per_mtok
        )

    @property
    def cached_price_usd_per_mtok(self) -> float:
        """Price of cached input that applies."""
        if self.cached_input_usd_per_mtok is None:
            return self.input_usd_per_mtok
        return self.cached_input_usd_per_mtok


@dataclass(frozen=True)
class SubscriptionPlan:
    """Price per seat and month, allocated to requests by the mean use of a seat."""

    name: str
    seat_usd_per_month: float
    requests_per_seat_month: float
    date: str = ""
    source: str = ""

    def __post_init__(self) -> None:
        name = f"SubscriptionPlan({self.name})"
        require_range(f"{name}.seat_usd_per_month", self.seat_usd_per_month)
        require_range(f"{name}.requests_per_seat_month", self.requests_per_seat_month)
        if self.requests_per_seat_month == 0:
            raise ValueError(f"{name}.requests_per_seat_month must be greater than 0, found 0")


@dataclass(frozen=True)
class FreePlan:
    """Users who pay nothing."""

    name: str
    date: str = ""
    source: str = ""


Plan: TypeAlias = ApiPlan | SubscriptionPlan | FreePlan


def is_paying(plan: Plan | None) -> bool:
    """Return whether the users of a plan are paying ones in the margin definitions.

    >>> is_paying(ApiPlan("api", 0.55, 2.19)), is_paying(FreePlan("guests")), is_paying(None)
    (True, False, False)
    """
    return plan is not None and not isinstance(plan, FreePlan)
