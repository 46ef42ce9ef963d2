"""Prices that move: every price of a plan or a machine does, and nothing else."""

from __future__ import annotations

from dataclasses import replace

import pytest

from planner.economics import (
    AdvertisingPlan,
    ApiPlan,
    ClassUsage,
    FreePlan,
    LongContextPrice,
    MachineRate,
    OwnedAsset,
    Plan,
    SubscriptionPlan,
    Tokens,
    revenue_lines,
)
from planner.economics.scaling import scaled_plan, scaled_rate

LONG = LongContextPrice(1000, 2.0, 8.0, 0.5, 2.5)
API = ApiPlan(
    "api", 1.0, 4.0, 0.25, cache_write_usd_per_mtok=1.25, cache_write_rate=0.5, long_context=LONG
)


@pytest.mark.parametrize(
    "plan",
    [
        API,
        ApiPlan("flat", 1.0, 4.0),
        SubscriptionPlan("members", 20.0, 400.0, included_requests_per_seat_month=500.0),
        AdvertisingPlan("ads", 0.002),
        FreePlan("guests"),
    ],
    ids=lambda plan: plan.name,
)
def test_revenue_moves_with_the_prices(plan: Plan) -> None:
    usage = ClassUsage(
        "class", plan, 10**6, 4 * 10**9, 10**9, 10**9,
        long_context=Tokens(2 * 10**9, 10**9, 10**8) if plan is API else Tokens(),
    )  # fmt: skip
    before = sum(line.amount_microusd for line in revenue_lines(usage))
    after = revenue_lines(replace(usage, plan=scaled_plan(plan, 0.5, "a path")))
    assert sum(line.amount_microusd for line in after) == pytest.approx(0.5 * before, abs=5)


def test_no_plan_has_no_price() -> None:
    assert scaled_plan(None, 2.0, "a path") is None


def test_a_price_that_is_multiplied_says_so() -> None:
    """It is nobody's price any more, however well the one it follows from is founded."""
    listed = replace(API, date="2026-11", source="price list", tier="official")
    moved = scaled_plan(listed, 1.25, "a path")
    assert isinstance(moved, ApiPlan)
    assert (moved.tier, moved.source) == ("estimated", "× 1.25 of 2026-11, price list; a path")
    assert scaled_plan(listed, 1.0, "a path") is listed


def test_a_machine_price_moves_with_its_parts() -> None:
    parts = OwnedAsset(40_000.0, spares_rate=0.05).parts()
    total = sum(part.per_device_hour_usd for part in parts)
    rate = MachineRate("own", "h100", "owned", total, "2026-01-01", "example", parts=parts)
    moved = scaled_rate(rate, 0.8, "a path")
    assert moved.per_device_hour_usd == pytest.approx(0.8 * total)
    assert [part.line for part in moved.parts] == [part.line for part in parts]
    assert (moved.source, moved.tier) == ("× 0.8 of 2026-01-01, example; a path", "estimated")
