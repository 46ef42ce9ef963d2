"""Who contributed how much: Shapley's shares of a game, exact or from sampled orders.

L. S. Shapley, "A value for n-person games" (1953): a player's share is what it adds to those that
joined before it, averaged over all orders of joining. The shares add up to what all achieve
together, equals get equal shares, and one that never adds anything gets nothing.
"""

from __future__ import annotations

import itertools
import math
import statistics
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from planner.economics.attribution import shapley_shares, substitutions

Coalition = frozenset[str]
Order = tuple[str, ...]
Value = Callable[[Coalition], float]


@dataclass(frozen=True)
class Share:
    """What one player contributed."""

    value: float
    error: float | None = None
    """Standard error, where the orders are a sample."""
    samples: tuple[float, ...] = ()
    """Of each pair of orders: errors of sums follow from the sums of these, for shares from the
    same orders are not independent."""


def coalitions(players: Sequence[str]) -> list[Coalition]:
    """Return every subset of the players, the largest first."""
    return [
        frozenset(members)
        for size in range(len(players), -1, -1)
        for members in itertools.combinations(players, size)
    ]


def exact_shares(players: Sequence[str], value: Value) -> dict[str, Share]:
    """Return the shares from the values of all subsets.

    >>> both = frozenset({"left", "right"})
    >>> shares = exact_shares(["left", "right"], lambda found: 1.0 if found == both else 0.0)
    >>> shares["left"].value, shares["right"].value
    (0.5, 0.5)
    """
    subsets = substitutions(len(players))
    values = [value(frozenset(itertools.compress(players, flags))) for flags in subsets]
    return dict(zip(players, map(Share, shapley_shares(values, len(players))), strict=True))


def sampled_shares(orders: Sequence[Order], value: Value) -> dict[str, Share]:
    """Return the shares as means over orders of joining, which add up exactly all the same.

    Args:
        orders: from `antithetic_orders`: each beside its reverse.
        value: of every subset that is the beginning of an order.
    """
    added: dict[str, list[Fraction]] = {player: [] for player in orders[0]}
    for order in orders:
        for position, player in enumerate(order):
            added[player].append(_added(player, frozenset(order[:position]), value))
    return {player: _mean(values) for player, values in added.items()}


def _added(player: str, others: Coalition, value: Value) -> Fraction:
    # Fractions hold floats exactly, so that rounding does not break the sum of the shares.
    return Fraction(value(others | {player})) - Fraction(value(others))


def _mean(values: Sequence[Fraction]) -> Share:
    """Return the mean, and its error from the pairs of an order and its reverse."""
    pairs = [(a + b) / 2 for a, b in zip(values[::2], values[1::2], strict=True)]
    mean = sum(pairs, Fraction(0)) / len(pairs)
    if len(pairs) < 2:
        return Share(float(mean), math.nan)
    samples = tuple(map(float, pairs))
    return Share(float(mean), standard_error(samples), samples)


def standard_error(samples: Sequence[float]) -> float:
    """Return the standard error of the mean of at least two samples.

    >>> standard_error([1.0, 3.0])
    1.0
    """
    return statistics.stdev(samples) / math.sqrt(len(samples))


def antithetic_orders(players: Sequence[str], pairs: int, seed: int) -> list[Order]:
    """Return random orders, each followed by its reverse: what comes early there comes late here.

    Args:
        players: in a fixed order, for the same orders each time.
        pairs: number of orders, without the reverse ones.
        seed: of the random orders.
    """
    rng = np.random.default_rng(seed)
    orders: list[Order] = []
    for _ in range(pairs):
        order = tuple(players[index] for index in rng.permutation(len(players)))
        orders += [order, order[::-1]]
    return orders


def beginnings(orders: Iterable[Order]) -> list[Coalition]:
    """Return the subsets that sampled shares need, each once."""
    found = (frozenset(order[:length]) for order in orders for length in range(len(order) + 1))
    return list(dict.fromkeys(found))


def indispensable(players: Sequence[str], failed: Collection[Coalition]) -> Coalition | None:
    """Return the fewest players with whom no failed subset is left: every one lacks one of them.

    Of several such sets, that whose players come first is taken; None if all together fail.
    """
    if frozenset(players) in failed:
        return None
    return next(
        chosen
        for size in range(len(players) + 1)
        for chosen in map(frozenset, itertools.combinations(players, size))
        if not any(chosen <= each for each in failed)
    )
