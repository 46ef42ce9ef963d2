"""The arithmetic behind the public figures of 2025 and 2026."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from planner.economics import (
    cost_cut_for_margin,
    margin_after_cost_change,
    margin_of_rest,
    revenue_share_of_part,
)

Q1_REVENUE_USD = 5.7e9


def test_52_percent_for_the_year_needs_56_in_the_rest() -> None:
    share_rate = revenue_share_of_part(0.52, part_rate=0.39, rest_rate=0.56)
    assert share_rate == pytest.approx(0.235, abs=0.0005)
    assert Q1_REVENUE_USD / share_rate == pytest.approx(24.2e9, rel=0.002)
    assert margin_of_rest(0.52, 0.39, part_revenue_share_rate=share_rate) == pytest.approx(0.56)


def test_halving_all_cost_of_revenue() -> None:
    assert margin_after_cost_change(0.39, cost_factor=0.5) == pytest.approx(0.695)


def test_halving_all_but_a_partner_share_of_20_points() -> None:
    after = margin_after_cost_change(0.39, cost_factor=0.5, fixed_rate=0.20)
    assert after == pytest.approx(0.595)
    # The claimed 65% lies between the two.
    assert after < 0.65 < margin_after_cost_change(0.39, cost_factor=0.5)


def test_the_cost_cut_that_reaches_52_percent() -> None:
    assert cost_cut_for_margin(0.39, 0.52) == pytest.approx(0.21, abs=0.005)
    assert cost_cut_for_margin(0.39, 0.52, fixed_rate=0.20) == pytest.approx(0.32, abs=0.005)


@pytest.mark.parametrize("guest_share_rate", [0.01, 0.03, 0.06])
def test_halving_the_guest_tier_alone_moves_less_than_2_points(guest_share_rate: float) -> None:
    after = margin_after_cost_change(0.39, cost_factor=0.5, affected_share_rate=guest_share_rate)
    assert 0 < after - 0.39 < 0.02


@given(margin_rate=st.floats(-2, 1), fixed_rate=st.floats(0, 1))
def test_a_model_twice_as_large_undoes_a_halving(margin_rate: float, fixed_rate: float) -> None:
    fixed_rate = min(fixed_rate, 1 - margin_rate)
    halved = margin_after_cost_change(margin_rate, cost_factor=0.5, fixed_rate=fixed_rate)
    undone = margin_after_cost_change(
        halved, cost_factor=2.0, fixed_rate=min(fixed_rate, 1 - halved)
    )
    assert undone == pytest.approx(margin_rate, abs=1e-12)
    assert margin_after_cost_change(
        margin_rate, cost_factor=0.5 * 2.0, fixed_rate=fixed_rate
    ) == pytest.approx(margin_rate, abs=1e-12)


@given(
    margin_rate=st.floats(-1, 0.9), gain_rate=st.floats(0, 0.5), fixed_share_rate=st.floats(0, 0.9)
)
def test_the_cut_reaches_its_target(
    margin_rate: float, gain_rate: float, fixed_share_rate: float
) -> None:
    fixed_rate = fixed_share_rate * (1 - margin_rate)
    target_rate = min(margin_rate + gain_rate, 1 - fixed_rate)
    cut_rate = cost_cut_for_margin(margin_rate, target_rate, fixed_rate=fixed_rate)
    after = margin_after_cost_change(
        margin_rate, cost_factor=max(0.0, 1 - cut_rate), fixed_rate=fixed_rate
    )
    assert after == pytest.approx(target_rate, abs=1e-12)


def test_an_impossible_target_asks_for_more_than_all_cost() -> None:
    assert cost_cut_for_margin(0.39, 0.85, fixed_rate=0.20) > 1


def test_impossible_questions() -> None:
    with pytest.raises(ValueError, match=r"fixed share of revenue must be between 0 and 0\.61"):
        margin_after_cost_change(0.39, cost_factor=0.5, fixed_rate=0.7)
    with pytest.raises(ValueError, match="no cost can change"):
        cost_cut_for_margin(1.0, 1.0)
    with pytest.raises(ValueError, match=r"cannot average to 0\.6"):
        revenue_share_of_part(0.6, 0.39, 0.56)
    with pytest.raises(ValueError, match="parts must differ"):
        revenue_share_of_part(0.5, 0.5, 0.5)
    with pytest.raises(ValueError, match="there is no rest"):
        margin_of_rest(0.5, 0.5, part_revenue_share_rate=1.0)
    with pytest.raises(ValueError, match="margin must be at most 1"):
        margin_after_cost_change(39.0, cost_factor=0.5)
