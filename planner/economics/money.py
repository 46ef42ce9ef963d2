"""Exact money: amounts are whole micro-dollars, products are rounded once, splits lose nothing.

A float's shortest decimal text is what a person reads in a ledger, so products are formed from that
text: 342,000 Mtok at 0.14 USD is 47,880 USD to the micro-dollar, whatever 0.14 is in binary.
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from typing import Final

from planner.economics.checks import require_range

CURRENCY: Final = "USD"
"""Of every amount: prices in other currencies are refused where they are read."""
MICROUSD_PER_USD: Final = 1_000_000


def to_microusd(quantity: float, unit_price_usd: float = 1.0) -> int:
    """Return `quantity × unit_price_usd` in micro-dollars, rounded half to even.

    Args:
        quantity: any unit, at least 0.
        unit_price_usd: US dollars per unit of `quantity`, at least 0.

    Raises:
        ValueError: either is negative or not finite.

    >>> to_microusd(342_000.0, 0.14)
    47880000000
    >>> to_microusd(3, 0.1)  # 0.30000000000000004 in floats
    300000
    >>> to_microusd(0.0000025), to_microusd(0.0000035)
    (2, 4)
    """
    require_range("quantity", quantity)
    require_range("unit price in USD", unit_price_usd)
    return round(_decimal(quantity) * _decimal(unit_price_usd) * MICROUSD_PER_USD)


def to_usd(amount_microusd: int) -> float:
    """Return micro-dollars as dollars, for showing and for ratios.

    >>> to_usd(87_072_000_000)
    87072.0
    """
    return amount_microusd / MICROUSD_PER_USD


def split_exactly(amount: int, weights: Sequence[float]) -> tuple[int, ...]:
    """Split `amount` in proportion to `weights` so that the parts add up to it exactly.

    Largest remainder (Hamilton's method): every part is rounded down, then the units left over go
    to the parts that lost most, the earlier first on a tie. Each is within one unit of its share.

    Args:
        amount: at least 0, in the smallest unit (micro-dollars).
        weights: shape `(parts,)`, at least 0, in any one unit, of which at least one is positive.

    Raises:
        ValueError: the amount is negative, or weights are negative, not finite or all zero.

    >>> split_exactly(100, [1, 1, 1])
    (34, 33, 33)
    >>> split_exactly(10, [0.5, 0.0, 1.5])
    (3, 0, 7)
    """
    if amount < 0:
        raise ValueError(f"amount to split must be at least 0, found {amount}")
    for weight in weights:
        require_range("weight", weight)
    exact = [_decimal(weight) for weight in weights]
    total = sum(exact, Fraction(0))
    if total == 0:
        raise ValueError(f"cannot split {amount}: no weight is positive in {list(weights)}")
    shares = [amount * weight / total for weight in exact]
    parts = [share.numerator // share.denominator for share in shares]
    by_loss = sorted(range(len(parts)), key=lambda i: (parts[i] - shares[i], i))
    for i in by_loss[: amount - sum(parts)]:
        parts[i] += 1
    return tuple(parts)


def ratio(numerator: float, denominator: float) -> float | None:
    """Return `numerator / denominator`, or None where there is nothing to divide by.

    >>> ratio(3, 4), ratio(3, 0)
    (0.75, None)
    """
    return numerator / denominator if denominator else None


def _decimal(value: float) -> Fraction:
    """Return the number that `value` shows as, not its binary expansion."""
    return Fraction(repr(float(value)))
