"""Prices that move: the same plan or machine price, multiplied, and marked as such.

A price that is multiplied is nobody's price any more: it keeps where the first one came from, with
the factor, and is `estimated`, however well the first one is founded.
"""

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


def scaled_plan(plan: Plan | None, factor: float, reason: str) -> Plan | None:
    """Return a plan with all its prices multiplied.

    Args:
        plan: as it was; one that costs nothing stays as it is.
        factor: 1 changes nothing, not even the source.
        reason: where the factor comes from.
    """
    if plan is None or factor == 1.0:
        return plan
    source = _scaled_source(plan.source, plan.date, factor, reason)
    if isinstance(plan, ApiPlan):
        long = plan.long_context
        return replace(
            _scaled_tokens(plan, factor),
            long_context=None if long is None else _scaled_tokens(long, factor),
            source=source,
            tier="estimated",
        )
    if isinstance(plan, SubscriptionPlan):
        price_usd = plan.seat_usd_per_month * factor
        return replace(plan, seat_usd_per_month=price_usd, source=source)
    if isinstance(plan, AdvertisingPlan):
        return replace(plan, message_usd=plan.message_usd * factor, source=source)
    return plan


def _scaled_source(source: str, date: str, factor: float, reason: str) -> str:
    """Return what a price is that was multiplied.

    >>> _scaled_source("price list", "2026-11", 1.25, "a path")
    '× 1.25 of 2026-11, price list; a path'
    """
    origin = ", ".join(part for part in (date, source) if part)
    return f"× {factor:.4g} of {origin}; {reason}"


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


def scaled_rate(rate: MachineRate, factor: float, reason: str) -> MachineRate:
    """Return a machine price multiplied, with its parts; see `scaled_plan`."""
    if factor == 1.0:
        return rate
    parts = tuple(
        replace(part, per_device_hour_usd=part.per_device_hour_usd * factor) for part in rate.parts
    )
    return replace(
        rate,
        per_device_hour_usd=rate.per_device_hour_usd * factor,
        parts=parts,
        source=_scaled_source(rate.source, rate.date, factor, reason),
        tier="estimated",
    )
