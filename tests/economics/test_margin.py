"""Margins under every definition."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from planner.economics import (
    DEFINITION_TEXT,
    DEFINITIONS,
    Definition,
    margin_of,
    margin_report,
    sum_margins,
)

amounts = st.integers(0, 10**15)


def test_definitions_by_hand() -> None:
    """Revenue 100, paying users cost 41, free users 7, the partner gets 20."""
    report = margin_report(
        "free_in_marketing",
        revenue_microusd=100_000_000,
        paying_cost_microusd=41_000_000,
        free_cost_microusd=7_000_000,
        partner_share_microusd=20_000_000,
    )
    assert report.margin_rate == 0.39
    assert report.others == {"paid_only": 0.59, "all_users_in_cogs": 0.32}
    assert (report.revenue_usd, report.cost_usd, report.partner_share_usd) == (100.0, 41.0, 20.0)
    before = [margin.margin_before_partner_rate for margin in report.margins]
    assert before == [0.59, 0.52, 0.59]
    assert [margin.left_out_microusd for margin in report.margins] == [7_000_000, 0, 7_000_000]


@given(revenue=amounts, paying=amounts, free=amounts, partner=amounts)
def test_every_amount_is_somewhere(revenue: int, paying: int, free: int, partner: int) -> None:
    for definition in DEFINITIONS:
        margin = margin_of(
            definition,
            revenue_microusd=revenue,
            paying_cost_microusd=paying,
            free_cost_microusd=free,
            partner_share_microusd=partner,
        )
        assert margin.cost_of_revenue_microusd + margin.left_out_microusd == paying + free
        assert margin.partner_share_microusd == partner
        deducted = margin.cost_of_revenue_microusd + margin.partner_share_deducted_microusd
        assert margin.gross_profit_microusd + deducted == revenue
        assert (margin.margin_rate is None) == (revenue == 0)
        assert margin.margin_rate is None or margin.margin_rate <= 1


@given(revenue=st.integers(1, 10**15), paying=amounts, free=amounts, partner=amounts)
def test_order_of_the_definitions(revenue: int, paying: int, free: int, partner: int) -> None:
    report = margin_report(
        "all_users_in_cogs",
        revenue_microusd=revenue,
        paying_cost_microusd=paying,
        free_cost_microusd=free,
        partner_share_microusd=partner,
    )
    paid_only, all_users, marketing = (m.gross_profit_microusd for m in report.margins)
    assert all_users <= marketing <= paid_only
    assert report.headline.gross_profit_microusd == all_users


@pytest.mark.parametrize("definition", DEFINITIONS)
def test_margins_add_up(definition: Definition) -> None:
    parts = [
        margin_of(
            definition,
            revenue_microusd=revenue,
            paying_cost_microusd=paying,
            free_cost_microusd=free,
            partner_share_microusd=partner,
        )
        for revenue, paying, free, partner in ((100, 41, 0, 20), (0, 0, 7, 0), (50, 60, 0, 10))
    ]
    whole = margin_of(
        definition,
        revenue_microusd=150,
        paying_cost_microusd=101,
        free_cost_microusd=7,
        partner_share_microusd=30,
    )
    assert sum_margins(parts) == whole


def test_margins_of_different_definitions_do_not_add_up() -> None:
    values = {"revenue_microusd": 1, "paying_cost_microusd": 1, "free_cost_microusd": 1}
    mixed = [margin_of(definition, **values) for definition in DEFINITIONS]
    with pytest.raises(ValueError, match="found all_users_in_cogs, free_in_marketing, paid_only"):
        sum_margins(mixed)
    with pytest.raises(ValueError, match="found none"):
        sum_margins([])


def test_without_revenue_there_is_no_margin() -> None:
    report = margin_report(
        "paid_only", revenue_microusd=0, paying_cost_microusd=0, free_cost_microusd=9
    )
    assert report.margin_rate is None
    assert report.others == {"all_users_in_cogs": None, "free_in_marketing": None}
    assert report.to_frame()["margin_rate"].isna().all()


def test_frame_names_every_definition() -> None:
    frame = margin_report(
        "paid_only",
        revenue_microusd=100,
        paying_cost_microusd=41,
        free_cost_microusd=7,
        partner_share_microusd=20,
    ).to_frame()
    assert list(frame["definition"]) == list(DEFINITIONS)
    assert list(frame["headline"]) == [True, False, False]
    assert list(frame["meaning"]) == [DEFINITION_TEXT[each] for each in DEFINITIONS]
    assert list(frame["margin_rate"]) == [0.59, 0.32, 0.39]
