"""Capital recovery and owned cost against hand computation and the published table."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from planner.economics import (
    OwnedCost,
    capital_recovery_factor,
    capital_recovery_per_hour_usd,
    owned_cost_per_hour,
    straight_line_per_hour_usd,
)

GB200_USD = 3_400_000 / 72


def owned(capex_usd: float, life_years: float, power_kw: float) -> OwnedCost:
    """Return the cost at the constants of the calibration: 10%, 0.08 USD/kWh, 130 USD/kW-month."""
    return owned_cost_per_hour(
        capex_usd,
        life_years=life_years,
        cost_of_capital_rate=0.10,
        power_kw=power_kw,
        electricity_usd_per_kwh=0.08,
        colocation_usd_per_kw_month=130.0,
    )


@pytest.mark.parametrize(
    ("capex_usd", "power_kw", "by_life"),
    [
        (33_750.0, 1.73, {3: 2.00, 4: 1.66, 5: 1.46, 6: 1.33}),
        (50_000.0, 1.73, {3: 2.74, 4: 2.25, 5: 1.95, 6: 1.76}),
        (GB200_USD, 2.10, {3: 2.71, 4: 2.24, 5: 1.96, 6: 1.78}),
    ],
)
def test_calibration_table(capex_usd: float, power_kw: float, by_life: dict[int, float]) -> None:
    for life_years, expected_usd in by_life.items():
        assert owned(capex_usd, life_years, power_kw).total_usd == pytest.approx(
            expected_usd, abs=0.0051
        )


@pytest.mark.parametrize(
    ("chip", "capex_usd", "power_kw", "published_usd"),
    [("H100", 33_750.0, 1.73, 1.30), ("GB200", GB200_USD, 2.10, 2.21)],
)
def test_published_owning_cost_within_15_percent(
    chip: str, capex_usd: float, power_kw: float, published_usd: float
) -> None:
    """SemiAnalysis, owning hyperscaler, at the default life of 5 years."""
    error_rate = owned(capex_usd, 5, power_kw).total_usd / published_usd - 1
    assert abs(error_rate) < 0.15, f"{chip}: {error_rate:+.1%}"


def test_neocloud_owning_cost_of_the_h100_within_15_percent() -> None:
    assert owned(33_750.0, 5, 1.73).total_usd == pytest.approx(1.69, rel=0.15)


@given(rate=st.floats(0.001, 0.5), life_years=st.integers(1, 30))
def test_recovery_pays_back_the_loan(rate: float, life_years: int) -> None:
    """Paying the factor each year leaves a debt of nothing: the definition, not the formula."""
    payment = capital_recovery_factor(rate, life_years)
    debt = 1.0
    for _ in range(life_years):
        debt = debt * (1 + rate) - payment
    assert debt == pytest.approx(0.0, abs=1e-9 * (1 + rate) ** life_years)


@given(rate=st.floats(0, 1e-9), life_years=st.floats(0.5, 40))
def test_free_capital_is_a_straight_line(rate: float, life_years: float) -> None:
    assert capital_recovery_factor(rate, life_years) == pytest.approx(1 / life_years, rel=1e-6)


@given(rate=st.floats(0.001, 0.3), residual=st.floats(0, 1))
def test_residual_is_worth_its_present_value(rate: float, residual: float) -> None:
    hourly = capital_recovery_per_hour_usd(
        1000.0, life_years=4, cost_of_capital_rate=rate, residual_usd=1000.0 * residual
    )
    # Net present value of four yearly payments and the sale equals the price.
    payments = sum(hourly * 8760 / (1 + rate) ** year for year in range(1, 5))
    assert payments + 1000.0 * residual / (1 + rate) ** 4 == pytest.approx(1000.0)


def test_availability_and_straight_line() -> None:
    assert straight_line_per_hour_usd(43_800, life_years=5) == 1.0
    assert straight_line_per_hour_usd(43_800, life_years=5, availability_rate=0.5) == 2.0
    assert straight_line_per_hour_usd(43_800, life_years=5, residual_usd=21_900) == 0.5


def test_owned_cost_by_component() -> None:
    cost = owned_cost_per_hour(
        43_800,
        life_years=5,
        cost_of_capital_rate=0.10,
        power_kw=2.0,
        electricity_usd_per_kwh=0.10,
        colocation_usd_per_kw_month=73.0,
        operations_usd_per_hour=0.05,
        recovery="straight_line",
    )
    assert cost == OwnedCost(
        "straight_line", capital_usd=1.0, operations_usd=0.05, power_usd=0.2, colocation_usd=0.2
    )
    assert cost.price_usd == 1.05
    assert cost.total_usd == pytest.approx(1.45)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"life_years": 0}, "life in years must be greater than 0"),
        ({"life_years": -1}, "life in years must be at least 0"),
        ({"cost_of_capital_rate": -0.1}, "cost of capital must be at least 0"),
        ({"residual_usd": 101.0}, "residual value in USD must be between 0 and 100"),
        ({"availability_rate": 0.0}, "availability must be greater than 0"),
        ({"availability_rate": 99.0}, "availability must be between 0 and 1"),
    ],
)
def test_impossible_assets(changes: dict[str, float], message: str) -> None:
    values = {"life_years": 5.0, "cost_of_capital_rate": 0.1} | changes
    with pytest.raises(ValueError, match=message):
        capital_recovery_per_hour_usd(100.0, **values)
    if "cost_of_capital_rate" not in changes:
        values.pop("cost_of_capital_rate")
        with pytest.raises(ValueError, match=message):
            straight_line_per_hour_usd(100.0, **values)
