"""Revenue lines of a class, by hand."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from planner.economics import (
    ApiPlan,
    ClassUsage,
    FreePlan,
    LineKind,
    Policy,
    SubscriptionPlan,
    Tokens,
    TokenWeights,
    is_paying,
    partner_share_line,
    revenue_lines,
)

R1 = ApiPlan(
    "r1", 0.55, 2.19, cached_input_usd_per_mtok=0.14, date="2025-02-28", source="price page"
)
PLUS = SubscriptionPlan("plus", 20.0, 600.0, date="2026-05", source="price page")


def test_api_by_token() -> None:
    usage = ClassUsage(
        "api",
        R1,
        10,
        input_tokens=5_000_000,
        output_tokens=2_000_000,
        cached_input_tokens=1_000_000,
        reasoning_tokens=1_500_000,
    )
    lines = revenue_lines(usage)
    assert [(line.line, line.quantity, line.unit, line.amount_usd) for line in lines] == [
        ("input tokens", 4.0, "Mtok", 2.20),
        ("cached input tokens", 1.0, "Mtok", 0.14),
        ("output tokens", 2.0, "Mtok", 4.38),  # reasoning is output
    ]
    assert {(line.kind, line.class_name, line.price, line.date) for line in lines} == {
        (LineKind.REVENUE, "api", "r1", "2025-02-28")
    }


def test_cached_input_without_a_price_of_its_own_costs_the_same() -> None:
    plan = ApiPlan("flat", 1.0, 2.0)
    usage = ClassUsage("api", plan, 1, 2_000_000, 0, cached_input_tokens=1_000_000)
    assert sum(line.amount_microusd for line in revenue_lines(usage)) == 2_000_000


def test_subscription_by_use() -> None:
    (line,) = revenue_lines(ClassUsage("chat", PLUS, 900, 0, 0))
    assert (line.quantity, line.unit, line.unit_price_usd, line.amount_usd) == (
        1.5,
        "seat-month",
        20.0,
        30.0,
    )


@given(parts=st.lists(st.integers(0, 10**9), min_size=1, max_size=6))
def test_seats_by_use_add_up_to_one_micro_dollar_per_part(parts: list[int]) -> None:
    earned = [
        sum(line.amount_microusd for line in revenue_lines(ClassUsage("c", PLUS, n, 0, 0)))
        for n in [*parts, sum(parts)]
    ]
    assert abs(sum(earned[:-1]) - earned[-1]) <= len(parts)


@pytest.mark.parametrize("plan", [None, FreePlan("guests")])
def test_free_users_earn_nothing(plan: FreePlan | None) -> None:
    usage = ClassUsage("guest", plan, 1000, 10**9, 10**9)
    assert revenue_lines(usage) == ()
    assert not is_paying(plan)
    assert not usage.is_paying


def test_partner_share_is_a_line_of_its_own() -> None:
    usage = ClassUsage("chat", PLUS, 900, 0, 0)
    policy = Policy(partner_revenue_share_rate=0.2, partner_source="contract", partner_date="2026")
    (line,) = partner_share_line(usage, revenue_lines(usage), policy)
    assert (line.kind, line.quantity, line.unit_price_usd) == (LineKind.PARTNER_SHARE, 30.0, 0.2)
    assert (line.amount_usd, line.source, line.date) == (6.0, "contract", "2026")
    assert partner_share_line(usage, revenue_lines(usage), Policy()) == ()
    assert partner_share_line(usage, (), policy) == ()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"requests": -1}, r"ClassUsage\(x\).requests must be at least 0"),
        ({"cached_input_tokens": 11}, "cached_input_tokens must be between 0 and 10"),
        ({"reasoning_tokens": 11}, "reasoning_tokens must be between 0 and 10"),
        ({"pool_weights": {"chat": -1.0}}, r"pool_weights\[chat\] must be at least 0"),
    ],
)
def test_impossible_usage(changes: dict[str, object], message: str) -> None:
    values: dict[str, object] = {"requests": 1, "input_tokens": 10, "output_tokens": 10}
    with pytest.raises(ValueError, match=message):
        ClassUsage("x", None, **(values | changes))  # type: ignore[arg-type]


def test_usage_does_not_change_with_the_mapping_it_was_built_from() -> None:
    weights = {"chat": 1.0}
    usage = ClassUsage("x", None, 1, 1, 1, pool_weights=weights)
    weights["chat"] = 2.0
    assert usage.pool_weights["chat"] == 1.0


def test_impossible_plans() -> None:
    with pytest.raises(ValueError, match="input_usd_per_mtok must be at least 0"):
        ApiPlan("x", -1.0, 1.0)
    with pytest.raises(ValueError, match="cached_input_usd_per_mtok must be at least 0"):
        ApiPlan("x", 1.0, 1.0, -0.1)
    with pytest.raises(ValueError, match="requests_per_seat_month must be greater than 0"):
        SubscriptionPlan("x", 20.0, 0.0)


def test_token_weights() -> None:
    weights = TokenWeights()
    assert sum(weights.of(Tokens(input=100))) == 100
    assert sum(TokenWeights(output=4).of(Tokens(input=100, output=10))) == 140
    assert sum(weights.of(Tokens(input=100, cached_input=100))) == 10
