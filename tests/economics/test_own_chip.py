"""An own chip's break-even, by hand."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from planner.economics import capital_recovery_factor
from planner.economics.own_chip import BreakEven, ChipCost


def test_by_hand() -> None:
    """1 USD/h and 1,000 tok/s at half use: 1 / 1.8 USD per Mtok; 100M over 4 years at 10%."""
    own, bought = ChipCost(1.0, 1000.0, 0.5), ChipCost(3.6, 2000.0, 0.5)
    assert own.mtok_per_year == pytest.approx(1000 * 0.5 * 31_536_000 / 1e6)
    assert own.usd_per_mtok == pytest.approx(1 / 1.8)
    assert bought.usd_per_mtok == pytest.approx(1.0)
    found = BreakEven(own, bought, 100e6, life_years=4, cost_of_capital_rate=0.10)
    assert found.engineering_usd_per_year == pytest.approx(100e6 * 0.315470804)
    assert found.mtok_per_year == pytest.approx(31_547_080.4 / (1 - 1 / 1.8))
    assert found.own_devices == pytest.approx(70_980_930.9 / 15_768.0)
    assert found.bought_devices == pytest.approx(70_980_930.9 / 31_536.0)


def test_a_chip_that_saves_nothing_never_pays() -> None:
    dear = ChipCost(2.0, 1000.0)
    found = BreakEven(dear, ChipCost(2.0, 1000.0), 1e6, 4, 0.1)
    assert (found.mtok_per_year, found.own_devices, found.bought_devices) == (None, None, None)


@given(
    saved=st.floats(0.05, 0.95),
    engineering=st.floats(1e6, 1e10),
    life=st.floats(1.0, 8.0),
    rate=st.floats(0.0, 0.3),
)
def test_both_cost_the_same_at_the_break_even(
    saved: float, engineering: float, life: float, rate: float
) -> None:
    bought = ChipCost(3.6, 1000.0)
    own = ChipCost(3.6 * (1.0 - saved), 1000.0)
    found = BreakEven(own, bought, engineering, life, rate)
    volume = found.mtok_per_year
    assert volume is not None
    assert found.own_usd_per_mtok(volume) == pytest.approx(bought.usd_per_mtok)
    assert found.own_usd_per_mtok(volume * 1.1) < bought.usd_per_mtok
    assert found.own_usd_per_mtok(volume * 0.9) > bought.usd_per_mtok
    assert found.engineering_usd_per_year == pytest.approx(
        engineering * capital_recovery_factor(rate, life)
    )
