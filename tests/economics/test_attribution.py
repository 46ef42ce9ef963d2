"""Shapley shares of a change, and their rounding to whole units."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from planner.economics.attribution import shapley_shares, substitutions, whole_parts

AMOUNTS = st.floats(-1e12, 1e12, allow_nan=False)


def test_substitutions_count_through_all_subsets() -> None:
    assert substitutions(2).tolist() == [[0, 0], [1, 0], [0, 1], [1, 1]]
    assert substitutions(0).shape == (1, 0)


def test_three_factors_by_hand() -> None:
    """2·3·5 → 4·3·7: the middle one does not change."""
    old, new = (2.0, 3.0, 5.0), (4.0, 3.0, 7.0)
    values = np.array(
        [math.prod(n if flag else o for n, o, flag in zip(new, old, row, strict=True))
         for row in substitutions(3)]
    )  # fmt: skip
    # The first is worth 2·3·5 at the old last one and 2·3·7 at the new, the last 2·3·2 and 4·3·2.
    assert shapley_shares(values.tolist(), 3) == pytest.approx([(30 + 42) / 2, 0.0, (12 + 24) / 2])
    assert shapley_shares(values.tolist(), 3)[1] == 0.0


@given(st.lists(AMOUNTS, min_size=8, max_size=8))
def test_shares_add_up_and_turn_their_sign_with_the_sides(values: list[float]) -> None:
    shares = shapley_shares(values, 3)
    assert math.fsum(shares) == pytest.approx(values[-1] - values[0], rel=1e-9, abs=1e-3)
    assert shapley_shares(values[::-1], 3) == [-share for share in shares]


@given(st.lists(AMOUNTS, min_size=1, max_size=8), st.integers(-9, 9))
def test_parts_add_up_to_the_unit_in_either_direction(shares: list[float], off: int) -> None:
    change = round(math.fsum(shares)) + off
    parts = whole_parts(change, shares)
    assert sum(parts) == change
    assert whole_parts(-change, [-share for share in shares]) == tuple(-part for part in parts)


@given(st.lists(st.floats(1.0, 1e9), min_size=1, max_size=6), st.integers(0, 6))
def test_what_contributes_nothing_gets_nothing(shares: list[float], place: int) -> None:
    at = min(place, len(shares))
    with_nothing = [*shares[:at], 0.0, *shares[at:]]
    parts = whole_parts(round(math.fsum(shares)), with_nothing)
    assert parts[at] == 0
    assert sum(parts) == round(math.fsum(shares))


def test_what_the_shares_lack_is_spread_in_proportion() -> None:
    """A thousand units lacking do not make a part of 10 units one of 510."""
    assert whole_parts(101_010, [100_000.0, 10.0]) == (101_000, 10)


def test_no_shares_no_parts() -> None:
    assert whole_parts(0, []) == ()
    assert whole_parts(3, [0.0, 0.0]) == (3, 0)
