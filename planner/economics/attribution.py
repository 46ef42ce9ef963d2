"""A change divided among factors: exact Shapley shares, in whole units that add up.

A factor's share is what changing it alone does, averaged over all orders in which the factors can
be changed (L. S. Shapley, "A value for n-person games", 1953; as a method of index decomposition:
B. W. Ang, "Decomposition analysis for policymaking in energy", Energy Policy 32, 2004). The shares
add up to the change, none of them depends on an order, and one that changes nothing gets nothing.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction
from typing import Final

import numpy as np
from numpy.typing import NDArray

_NOTHING: Final = 0.01
"""Units; a share that is not exactly nothing only because floats are rounded is far smaller."""


def substitutions(factors: int) -> NDArray[np.bool_]:
    """Return every subset of the factors as rows of flags, shape `(2**factors, factors)`.

    Row `r` has factor `i` where bit `i` of `r` is set: the first row has none, the last has all.
    """
    rows = np.arange(2**factors)[:, np.newaxis]
    return (rows >> np.arange(factors) & 1).astype(np.bool_)


def shapley_shares(values: Sequence[float], factors: int) -> list[float]:
    """Return the share of each factor in the change from none of them to all.

    Sums are exact and rounded once, so that the same change backwards has the same shares with the
    other sign, to the last bit.

    Args:
        values: of each subset in the order of `substitutions`, `2**factors` of them, finite.
        factors: how many.

    >>> shapley_shares([6.0, 12.0, 10.0, 20.0], 2)  # 2 · 3 → 4 · 5
    [8.0, 6.0]
    """
    ratios = [float(value).as_integer_ratio() for value in values]
    unit = max(denominator for _, denominator in ratios)  # a power of two, as all of them
    whole = [numerator * (unit // denominator) for numerator, denominator in ratios]
    orders = [math.factorial(k) * math.factorial(factors - k - 1) for k in range(factors)]
    shares = []
    for factor in range(factors):
        total = sum(
            orders[row.bit_count()] * (whole[row | 1 << factor] - whole[row])
            for row in range(2**factors)
            if not row >> factor & 1
        )
        shares.append(float(Fraction(total, unit * math.factorial(factors))))
    return shares


def whole_parts(change: int, shares: Sequence[float]) -> tuple[int, ...]:
    """Return shares in whole units that add up to the change exactly.

    What the shares lack of the change is spread over them in proportion to their size; each is
    rounded to the nearest unit, and what is then missing goes, unit by unit, to the shares that
    lost most. A share of nothing (but for the rounding of floats) stays nothing, unless all are.

    Args:
        change: what the parts add up to.
        shares: which add up to it but for rounding.

    >>> whole_parts(10, [3.6, 0.0, 6.4])
    (4, 0, 6)
    >>> whole_parts(-10, [-3.6, 0.0, -6.4])
    (-4, 0, -6)
    >>> whole_parts(1100, [900.0, 90.0, 10.0])
    (990, 99, 11)
    """
    if not shares:
        return ()
    size = math.fsum(abs(share) for share in shares if abs(share) > _NOTHING)
    if size:
        lacking = (change - math.fsum(shares)) / size
        shares = [
            share + lacking * abs(share) if abs(share) > _NOTHING else share for share in shares
        ]
    parts = [round(share) for share in shares]
    missing = change - sum(parts)
    step = 1 if missing > 0 else -1
    free = [i for i, share in enumerate(shares) if abs(share) > _NOTHING] or [0]
    by_loss = sorted(free, key=lambda i: (step * (parts[i] - shares[i]), i))
    rounds, rest = divmod(abs(missing), len(by_loss))
    for rank, i in enumerate(by_loss):
        parts[i] += step * (rounds + (rank < rest))
    return tuple(parts)
