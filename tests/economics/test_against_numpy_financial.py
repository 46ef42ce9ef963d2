"""Annuities and straight lines as numpy-financial has them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from planner.economics import (
    OwnedAsset,
    capital_recovery_factor,
    capital_recovery_per_hour_usd,
    straight_line_per_hour_usd,
)

numpy_financial = pytest.importorskip("numpy_financial")

rates = st.floats(0.001, 0.4)
lives = st.integers(1, 20)


@given(rate=rates, life_years=lives)
def test_the_factor_is_the_payment_on_a_loan_of_one(rate: float, life_years: int) -> None:
    payment = -numpy_financial.pmt(rate, life_years, 1.0)
    assert capital_recovery_factor(rate, life_years) == pytest.approx(float(payment), rel=1e-9)


@given(rate=rates, life_years=lives, residual=st.floats(0, 1), capex=st.floats(1, 1e7))
def test_recovery_with_a_residual_is_a_loan_with_a_balloon(
    rate: float, life_years: int, residual: float, capex: float
) -> None:
    payment = -numpy_financial.pmt(rate, life_years, capex, -residual * capex)
    hourly = capital_recovery_per_hour_usd(
        capex, life_years=life_years, cost_of_capital_rate=rate, residual_usd=residual * capex
    )
    assert hourly * 8760 == pytest.approx(float(payment), rel=1e-9, abs=1e-9)


@given(life_years=lives, residual=st.floats(0, 1), capex=st.floats(1, 1e7))
def test_a_straight_line_is_a_loan_without_interest(
    life_years: int, residual: float, capex: float
) -> None:
    payment = -numpy_financial.pmt(0.0, life_years, capex, -residual * capex)
    hourly = straight_line_per_hour_usd(capex, life_years=life_years, residual_usd=residual * capex)
    assert hourly * 8760 == pytest.approx(float(payment), rel=1e-9, abs=1e-9)


@given(rate=rates, life_years=lives)
def test_what_is_paid_for_an_asset_is_worth_its_price(rate: float, life_years: int) -> None:
    """The present value of the yearly payments and of the sale at the end is what it cost."""
    asset = OwnedAsset(1000.0, residual_rate=0.2, life_years=life_years, cost_of_capital_rate=rate)
    yearly = asset.per_hour_usd(1000.0) * 8760
    flows = [0.0, *[yearly] * (life_years - 1), yearly + 200.0]
    assert float(numpy_financial.npv(rate, flows)) == pytest.approx(1000.0, rel=1e-9)
