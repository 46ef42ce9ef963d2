"""Range checks shared by the value objects of this package."""

from __future__ import annotations

import math


def require_range(
    name: str, value: float, *, minimum: float = 0.0, maximum: float = math.inf
) -> None:
    """Raise unless `value` is finite and between `minimum` and `maximum`, both included.

    Args:
        name: what the value is, as the message names it, e.g. `PoolUsage(chat).node_hours`.
        value: the number to check, in any unit.
        minimum: least value allowed, same unit.
        maximum: greatest value allowed, same unit.

    Raises:
        ValueError: names the value, the bounds and what was found.

    >>> require_range("pue", 1.12, minimum=1.0)
    >>> require_range("partner share", 20.0, maximum=1.0)
    Traceback (most recent call last):
    ValueError: partner share must be between 0 and 1, found 20.0
    """
    if not math.isfinite(value):
        raise ValueError(f"{name} must be a finite number, found {value!r}")
    if not minimum <= value <= maximum:
        bounds = _bounds(minimum, maximum)
        raise ValueError(f"{name} must be {bounds}, found {value!r}")


def _bounds(minimum: float, maximum: float) -> str:
    if not math.isfinite(maximum):
        return f"at least {minimum:g}"
    if not math.isfinite(minimum):
        return f"at most {maximum:g}"
    return f"between {minimum:g} and {maximum:g}"
