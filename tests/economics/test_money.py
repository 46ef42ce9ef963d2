"""Exactness of products and splits."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from planner.economics import split_exactly, to_microusd, to_usd
from planner.economics.money import ratio

amounts = st.integers(min_value=0, max_value=10**18)
weights = st.floats(min_value=0, max_value=1e300, allow_nan=False)


@given(amount=amounts, parts=st.lists(weights, min_size=1, max_size=12).filter(any))
def test_split_is_exact_and_fair(amount: int, parts: list[float]) -> None:
    split = split_exactly(amount, parts)
    assert sum(split) == amount
    total = sum(Fraction(repr(part)) for part in parts)
    for got, part in zip(split, parts, strict=True):
        assert abs(got - amount * Fraction(repr(part)) / total) < 1
        assert got >= 0
        assert part or got == 0, "a part without weight gets nothing"


@given(amount=amounts, parts=st.lists(weights, min_size=2, max_size=8).filter(any))
def test_a_larger_weight_never_gets_less(amount: int, parts: list[float]) -> None:
    split = split_exactly(amount, parts)
    ranked = sorted(zip(parts, split, strict=True))
    for (low, got_low), (high, got_high) in pairwise(ranked):
        assert low == high or got_low <= got_high


@given(
    quantity=st.integers(0, 10**12),
    cents=st.integers(0, 10**6),
)
def test_products_agree_with_decimal_arithmetic(quantity: int, cents: int) -> None:
    exact = Decimal(quantity) * Decimal(cents) / 100 * 1_000_000
    assert to_microusd(quantity, cents / 100) == int(exact)


def test_the_decimal_that_is_shown_is_what_counts() -> None:
    assert 0.1 * 3 != 0.3
    assert to_microusd(3, 0.1) == 300_000
    assert to_microusd(342_000, 0.14) == 47_880_000_000
    assert to_usd(to_microusd(1e6, 0.07)) == 70_000.0


@pytest.mark.parametrize("bad", [-1.0, float("nan"), float("inf")])
def test_impossible_amounts_are_refused(bad: float) -> None:
    with pytest.raises(ValueError, match="quantity must be"):
        to_microusd(bad, 1.0)
    with pytest.raises(ValueError, match="unit price in USD must be"):
        to_microusd(1.0, bad)
    with pytest.raises(ValueError, match="weight must be"):
        split_exactly(1, [1.0, bad])


def test_nothing_to_split_by() -> None:
    with pytest.raises(ValueError, match="no weight is positive"):
        split_exactly(5, [0.0, 0.0])
    with pytest.raises(ValueError, match="no weight is positive"):
        split_exactly(5, [])
    with pytest.raises(ValueError, match="at least 0, found -5"):
        split_exactly(-5, [1.0])


def test_ratio_without_a_denominator() -> None:
    assert ratio(1.0, 0.0) is None
    assert ratio(0.0, 4) == 0.0
