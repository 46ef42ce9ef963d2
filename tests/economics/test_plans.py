"""The grammar of prices: tiers, cache writes, long contexts, breakage, advertisements."""

from __future__ import annotations

import pytest

from planner.economics import (
    DEFINITIONS,
    AdvertisingPlan,
    ApiPlan,
    ClassUsage,
    LongContextPrice,
    Policy,
    PoolUsage,
    Statement,
    SubscriptionPlan,
    Tokens,
    revenue_lines,
    settle,
)
from tests.economics.conftest import pool_of


def lines(usage: ClassUsage) -> dict[str, tuple[float, float]]:
    return {line.line: (line.quantity, line.amount_usd) for line in revenue_lines(usage)}


def test_cache_writes_are_a_share_of_what_was_not_cached() -> None:
    plan = ApiPlan(
        "api", 2.0, 10.0, 0.2, cache_write_usd_per_mtok=2.5, cache_write_rate=0.25,
        service_tier="batch",
    )  # fmt: skip
    usage = ClassUsage("api", plan, 1, 9_000_000, 1_000_000, cached_input_tokens=1_000_000)
    assert lines(usage) == {
        "input tokens, batch": (6.0, 12.0),
        "input tokens written to the cache, batch": (2.0, 5.0),
        "cached input tokens, batch": (1.0, 0.2),
        "output tokens, batch": (1.0, 10.0),
    }


def test_long_requests_have_their_own_prices() -> None:
    """Of 10 Mtok of input 4 are of long requests, at twice the price; of 2 Mtok of output 1."""
    plan = ApiPlan("api", 2.0, 10.0, long_context=LongContextPrice(200_000, 4.0, 15.0))
    usage = ClassUsage(
        "api", plan, 1, 10_000_000, 2_000_000, long_context=Tokens(4_000_000, 0, 1_000_000)
    )
    assert lines(usage) == {
        "input tokens": (6.0, 12.0),
        "output tokens": (1.0, 10.0),
        "input tokens, long context": (4.0, 16.0),
        "output tokens, long context": (1.0, 15.0),
    }


def test_breakage_moves_revenue_and_makes_none() -> None:
    without = SubscriptionPlan("plus", 20.0, 400)
    plan = SubscriptionPlan("plus", 20.0, 400, included_requests_per_seat_month=1600)
    assert lines(ClassUsage("chat", without, 800, 0, 0)) == {"seats, by use": (2.0, 40.0)}
    assert lines(ClassUsage("chat", plan, 800, 0, 0)) == {
        "seats, by use": (0.5, 10.0),
        "seats, breakage": (1.5, 30.0),
    }
    with pytest.raises(ValueError, match=r"included_requests_per_seat_month must be at least 400"):
        SubscriptionPlan("plus", 20.0, 400, included_requests_per_seat_month=100)


@pytest.fixture
def statement() -> Statement:
    """One device-hour pool of 80 USD, shared evenly by paying users and by those with ads."""
    pool: PoolUsage = pool_of(terms="on_demand", price_usd=1.0)
    paying = ClassUsage("api", ApiPlan("api", 1.0, 10.0), 10, 0, 10_000_000,
                        pool_weights={"chat": 1.0})  # fmt: skip
    guests = ClassUsage("guests", AdvertisingPlan("ads", 0.01), 2000, 0, 1_000_000,
                        pool_weights={"chat": 1.0})  # fmt: skip
    return settle([pool], [paying, guests], Policy(node_overhead_rate=0.0))


def test_advertising_counts_where_its_users_do(statement: Statement) -> None:
    """100 USD from payers and 20 from advertisers; 40 USD of cost for each."""
    assert statement.revenue_usd == 120.0
    found = {m.definition: m.margin_rate for m in statement.margin.margins}
    assert found == {
        "paid_only": pytest.approx((100 - 40) / 100),
        "all_users_in_cogs": pytest.approx((120 - 80) / 120),
        "free_in_marketing": pytest.approx((120 - 40) / 120),
    }
    for definition in DEFINITIONS:
        parts = [each.margin(definition) for each in statement.classes]
        whole = statement.margin.margins[DEFINITIONS.index(definition)]
        assert sum(part.revenue_microusd for part in parts) == whole.revenue_microusd


def test_units_cost_what_the_ledger_says(statement: Statement) -> None:
    units = statement.unit_frame().set_index("class")
    assert units.loc["api", "per_request_usd"] == 4.0
    assert units.loc["all", "per_request_usd"] == pytest.approx(80 / 2010)
    assert units.loc["all", "per_mtok_output_usd"] == pytest.approx(80 / 11)
    assert units["per_seat_month_usd"].isna().all()
    revenue = statement.revenue_frame()
    assert revenue["amount_microusd"].sum() == statement.ledger.revenue_microusd
    assert set(revenue["currency"]) == {"USD"}
    assert statement.break_even_share == pytest.approx(80 / 120)


def test_seats_and_roles() -> None:
    """What prefills costs input, what decodes costs output; a seat costs its requests."""
    pools = [
        pool_of(pool=name, role=name, terms="on_demand", price_usd=price)
        for name, price in (("prefill", 1.0), ("decode", 3.0))
    ]
    plan = SubscriptionPlan("plus", 20.0, 100)
    usage = ClassUsage("chat", plan, 50, 30_000_000, 4_000_000, cached_input_tokens=10_000_000,
                       tasks=10, pool_weights={"prefill": 1.0, "decode": 1.0})  # fmt: skip
    statement = settle(pools, [usage], Policy(node_overhead_rate=0.0))
    (chat,) = statement.classes
    # 80 USD over 20 Mtok and a tenth of 10; 240 USD over 4 Mtok
    assert chat.input_cost_usd_per_mtok == pytest.approx(80 / 21)
    assert chat.cached_input_cost_usd_per_mtok == pytest.approx(8 / 21)
    assert chat.output_cost_usd_per_mtok == 60.0
    assert chat.cost_per_task_usd == 32.0
    assert chat.cost_per_seat_month_usd == 640.0
    costs = chat.token_costs
    parts = costs.input_microusd + costs.cached_input_microusd + costs.output_microusd
    assert parts == chat.cost.cost_microusd == 320_000_000
