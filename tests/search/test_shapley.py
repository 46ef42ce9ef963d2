"""Shares on games whose answer is known, and the axioms that define them on random games."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from planner.search.bridged import error_of_sum
from planner.search.shapley import (
    Coalition,
    antithetic_orders,
    beginnings,
    coalitions,
    exact_shares,
    indispensable,
    sampled_shares,
    standard_error,
)

Value = Callable[[Coalition], float]
PLAYERS = ("a", "b", "c", "d")


@st.composite
def games(draw: st.DrawFn, players: int = 4) -> tuple[tuple[str, ...], dict[Coalition, float]]:
    names = PLAYERS[: draw(st.integers(1, players))]
    amounts = st.floats(-1e6, 1e6, allow_nan=False)
    return names, {members: draw(amounts) for members in coalitions(names)}


def shares_of(names: tuple[str, ...], value: Value) -> dict[str, float]:
    return {name: share.value for name, share in exact_shares(names, value).items()}


# --- games by hand -------------------------------------------------------------------------------


def test_in_an_additive_game_everyone_gets_what_they_bring() -> None:
    worth = {"a": 1.0, "b": -2.5, "c": 4.0}
    assert shares_of(tuple(worth), lambda on: 7.0 + sum(worth[name] for name in on)) == worth


def test_in_a_symmetric_game_everyone_gets_the_same() -> None:
    assert shares_of(PLAYERS, lambda on: float(len(on) ** 2)) == dict.fromkeys(PLAYERS, 4.0)


def test_the_glove_game() -> None:
    # One has a left glove, two have a right one; only a pair is worth something.
    def value(on: Coalition) -> float:
        return float("left" in on and len(on) > 1)

    shares = shares_of(("left", "right", "other"), value)
    assert shares == {"left": 2 / 3, "right": 1 / 6, "other": 1 / 6}


def test_the_airport_game() -> None:
    # Littlechild and Owen (1973): each pays an equal part of every piece of runway that they use.
    lengths = {"small": 3.0, "middle": 5.0, "large": 11.0}
    shares = shares_of(tuple(lengths), lambda on: max((lengths[n] for n in on), default=0.0))
    assert shares == {"small": 1.0, "middle": 2.0, "large": 8.0}


# --- the axioms ----------------------------------------------------------------------------------


@given(games())
def test_the_shares_add_up(game: tuple[tuple[str, ...], dict[Coalition, float]]) -> None:
    names, values = game
    change = values[frozenset(names)] - values[frozenset()]
    total = math.fsum(shares_of(names, values.__getitem__).values())
    assert total == pytest.approx(change, rel=1e-12, abs=1e-9)


@given(games(3))
def test_who_adds_nothing_gets_nothing(
    game: tuple[tuple[str, ...], dict[Coalition, float]],
) -> None:
    names, values = game
    shares = shares_of((*names, "null"), lambda on: values[on - {"null"}])
    assert shares["null"] == 0.0
    assert shares == pytest.approx(shares_of(names, values.__getitem__) | {"null": 0.0})


@given(games(3))
def test_equals_get_equal_shares(game: tuple[tuple[str, ...], dict[Coalition, float]]) -> None:
    names, values = game

    def value(on: Coalition) -> float:
        twins = len(on & {"x", "y"})
        return values[on - {"x", "y"}] * (1.0 + twins) + 3.0 * twins

    shares = shares_of((*names, "x", "y"), value)
    assert shares["x"] == pytest.approx(shares["y"], rel=1e-12, abs=1e-12)


@given(games())
def test_the_order_of_the_players_does_not_matter(
    game: tuple[tuple[str, ...], dict[Coalition, float]],
) -> None:
    names, values = game
    there, back = (shares_of(each, values.__getitem__) for each in (names, names[::-1]))
    assert there == back


# --- sampled orders ------------------------------------------------------------------------------


@given(games(), st.integers(1, 4), st.integers(0, 2**31))
@settings(max_examples=50)
def test_sampled_shares_add_up_as_well(
    game: tuple[tuple[str, ...], dict[Coalition, float]], pairs: int, seed: int
) -> None:
    names, values = game
    shares = sampled_shares(antithetic_orders(names, pairs, seed), values.__getitem__)
    change = values[frozenset(names)] - values[frozenset()]
    total = math.fsum(share.value for share in shares.values())
    assert total == pytest.approx(change, rel=1e-12, abs=1e-9)


def test_all_orders_give_the_exact_shares() -> None:
    values = {members: float(hash_of(members)) for members in coalitions(PLAYERS)}
    orders = [
        order
        for half in itertools.permutations(PLAYERS)
        if half < half[::-1]
        for order in (half, half[::-1])
    ]
    sampled = sampled_shares(orders, values.__getitem__)
    exact = exact_shares(PLAYERS, values.__getitem__)
    assert {name: share.value for name, share in sampled.items()} == pytest.approx(
        {name: share.value for name, share in exact.items()}
    )


def hash_of(members: Coalition) -> int:
    return sum(7 ** (PLAYERS.index(name) + 1) for name in members) % 101


def test_a_reverse_order_cancels_what_two_players_share() -> None:
    # With pairs only, an order and its reverse give both players half: the error is zero.
    def value(on: Coalition) -> float:
        return float({"a", "b"} <= on)

    shares = sampled_shares(antithetic_orders(PLAYERS, 3, seed=1), value)
    assert [share.value for share in shares.values()] == [0.5, 0.5, 0.0, 0.0]
    assert {share.error for share in shares.values()} == {0.0}


def test_an_error_is_that_of_the_pairs() -> None:
    orders = [*antithetic_orders("abc", 1, seed=0), *antithetic_orders("abc", 1, seed=3)]
    assert orders[0] != orders[2]
    shares = sampled_shares(orders, lambda on: float("a" in on and len(on) > 1))
    assert all(share.error is not None and share.error >= 0 for share in shares.values())
    lone = sampled_shares(orders[:2], lambda on: float(len(on)))
    assert all(math.isnan(share.error or 0.0) for share in lone.values())


def test_the_same_seed_gives_the_same_orders() -> None:
    assert antithetic_orders(PLAYERS, 5, seed=9) == antithetic_orders(PLAYERS, 5, seed=9)
    orders = antithetic_orders(PLAYERS, 5, seed=9)
    assert all(there == back[::-1] for there, back in zip(orders[::2], orders[1::2], strict=True))


def test_beginnings_are_all_that_sampled_shares_ask_for() -> None:
    orders = antithetic_orders(PLAYERS, 2, seed=4)
    asked = set()

    def value(on: Coalition) -> float:
        asked.add(on)
        return 0.0

    sampled_shares(orders, value)
    assert asked == set(beginnings(orders))


# --- players that cannot be spared ---------------------------------------------------------------


@pytest.mark.parametrize(
    ("failed", "needed"),
    [
        ([], ""),
        ([""], "a"),
        (["", "a", "c", "ac"], "b"),
        (["", "a", "b", "c", "ac", "bc"], "ab"),
        (["ab"], "c"),
    ],
)
def test_the_fewest_players_without_whom_subsets_fail(failed: list[str], needed: str) -> None:
    assert indispensable("abc", {frozenset(each) for each in failed}) == frozenset(needed)


def test_nobody_helps_where_all_together_fail() -> None:
    assert indispensable("abc", {frozenset("abc")}) is None


@given(st.sets(st.frozensets(st.sampled_from("abcd"), max_size=3)))
def test_with_them_nothing_fails(failed: set[Coalition]) -> None:
    needed = indispensable(PLAYERS, failed)
    assert needed is not None
    assert not any(needed <= each for each in failed)


def test_the_error_of_a_sum_is_that_of_the_sampled_sum() -> None:
    """Two parts that move against each other, pair by pair, have a sum without error."""
    first, second = (1.0, 3.0, 5.0), (6.0, 4.0, 2.0)
    assert error_of_sum([first, second]) == 0.0
    assert error_of_sum([first, first]) == pytest.approx(2 * standard_error(first))
