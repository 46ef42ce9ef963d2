"""Prices that move: the same plan or machine price, multiplied."""

from __future__ import annotations

from dataclasses import replace
from typing import TypeVar

from planner.economics.plans import (
    AdvertisingPlan,
    ApiPlan,
    LongContextPrice,
    Plan,
    SubscriptionPlan,
)
from planner.economics.rates import MachineRate

_Prices = TypeVar("_Prices", ApiPlan, LongContextPrice)


def scaled_plan(plan: Plan | None, factor: float) -> Plan | None:
    """Return a plan with all its prices multiplied."""
    if isinstance(plan, ApiPlan):
        long = plan.long_context
        scaled = _scaled_tokens(plan, factor)
        return replace(scaled, long_context=None if long is None else _scaled_tokens(long, factor))
    if isinstance(plan, SubscriptionPlan):
        return replace(plan, seat_usd_per_month=plan.seat_usd_per_month * factor)
    if isinstance(plan, AdvertisingPlan):
        return replace(plan, message_usd=plan.message_usd * factor)
    return plan


def _scaled_tokens(prices: _Prices, factor: float) -> _Prices:
    return replace(
        prices,
        input_usd_per_mtok=prices.input_usd_per_mtok * factor,
        output_usd_per_mtok=prices.output_usd_per_mtok * factor,
        cached_input_usd_per_mtok=_scaled(prices.cached_input_usd_per_mtok, factor),
        cache_write_usd_per_mtok=_scaled(prices.cache_write_usd_per_mtok, factor),
    )


def _scaled(price_usd: float | None, factor: float) -> float | None:
    return None if price_usd is None else price_usd * factor


def scaled_rate(rate: MachineRate, factor: float, source: str) -> MachineRate:
    """Return a machine price multiplied, with its parts, and where it comes from then."""
    parts = tuple(
        replace(part, per_device_hour_usd=part.per_device_hour_usd * factor) for part in rate.parts
    )
    return replace(
        rate, per_device_hour_usd=rate.per_device_hour_usd * factor, parts=parts, source=source
    )
