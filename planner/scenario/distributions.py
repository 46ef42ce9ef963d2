"""Quantile functions of the distributions that a scenario states, in plain Python.

A draw is the quantile at a number between 0 and 1, so that the same number is the same luck for
any distribution: that is what groups of inputs and spread-out points stand on.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import pairwise
from statistics import NormalDist
from typing import Final

from planner.scenario.schema.uncertainty import Amount
from planner.scenario.schema.uncertainty import Distribution as Stated

Reader = Callable[[Amount], float]
"""Turns what a scenario states into a number."""
STANDARD: Final = NormalDist()
EDGE: Final = 1e-9
"""Nearest to 0 or 1 that a normal is asked for."""


def z_of(u: float) -> float:
    """Return the standard normal quantile; 0 and 1 are taken as numbers close to them."""
    return STANDARD.inv_cdf(min(max(u, EDGE), 1.0 - EDGE))


@dataclass(frozen=True)
class Quantiles:
    """A quantile function, straight between knots over the standard normal quantile z.

    A normal and a lognormal are two knots; the line goes on beyond the outermost.
    """

    z: tuple[float, ...]
    x: tuple[float, ...]
    logarithmic: bool = False
    """The lines are those of the logarithm."""

    def __call__(self, u: float) -> float:
        """Return the quantile at `u`."""
        z = z_of(u)
        at = next((i for i, knot in enumerate(self.z[1:-1]) if z < knot), len(self.z) - 2)
        low, high = (math.log(x) if self.logarithmic else x for x in self.x[at : at + 2])
        value = low + (high - low) * (z - self.z[at]) / (self.z[at + 1] - self.z[at])
        return math.exp(value) if self.logarithmic else value


@dataclass(frozen=True)
class Uniform:
    """Any number from the first to the second is as likely."""

    low: float
    high: float

    def __call__(self, u: float) -> float:
        """Return the quantile at `u`."""
        return self.low + u * (self.high - self.low)


@dataclass(frozen=True)
class Triangular:
    """A density that rises straight to the likeliest value and falls straight from it."""

    low: float
    mode: float
    high: float

    def __call__(self, u: float) -> float:
        """Return the quantile at `u`."""
        span = self.high - self.low
        if span == 0:
            return self.low
        rising = (self.mode - self.low) / span
        if u < rising:
            return self.low + math.sqrt(u * span * (self.mode - self.low))
        return self.high - math.sqrt((1 - u) * span * (self.high - self.mode))


@dataclass(frozen=True)
class Distribution:
    """The quantile function of an input, cut at its bounds."""

    shape: Quantiles | Uniform | Triangular
    minimum: float = -math.inf
    maximum: float = math.inf

    def __call__(self, u: float) -> float:
        """Return the quantile at `u`, 0 to 1."""
        return min(max(self.shape(u), self.minimum), self.maximum)


def distribution_of(stated: Stated, read: Reader) -> Distribution:
    """Return the distribution that a scenario states.

    Args:
        stated: with exactly one form.
        read: turns amounts, with or without unit, into numbers.

    Raises:
        ValueError: an amount cannot be read, or the numbers contradict each other; the message
            says what to do.

    >>> round(distribution_of(Stated(quantiles={"p10": 8.0, "p90": 12.5}), float)(0.5), 3)
    10.0
    """
    low = -math.inf if stated.minimum is None else read(stated.minimum)
    high = math.inf if stated.maximum is None else read(stated.maximum)
    if low > high:
        raise ValueError(f"minimum {low:g} is above maximum {high:g}; exchange them")
    return Distribution(_shape(stated, read), low, high)


def _shape(stated: Stated, read: Reader) -> Quantiles | Uniform | Triangular:
    if stated.normal is not None:
        mean, deviation = read(stated.normal.mean), read(stated.normal.deviation)
        if deviation < 0:
            raise ValueError(f"deviation is {deviation:g}; it must not be negative")
        return Quantiles((0.0, 1.0), (mean, mean + deviation))
    if stated.lognormal is not None:
        median = read(stated.lognormal.median)
        if median <= 0:
            raise ValueError(f"median is {median:g}; that of a lognormal is above zero")
        return Quantiles((0.0, 1.0), (median, median * math.exp(stated.lognormal.sigma)), True)
    if stated.uniform is not None:
        low, high = map(read, stated.uniform)
        _require_order({"first": low, "second": high})
        return Uniform(low, high)
    if stated.triangular is not None:
        least, mode, most = map(read, stated.triangular)
        _require_order({"least": least, "likeliest": mode, "most": most})
        return Triangular(least, mode, most)
    assert stated.quantiles is not None
    ranked = sorted(stated.quantiles.items(), key=lambda item: float(item[0][1:]))
    knots = {name: read(amount) for name, amount in ranked}
    _require_order(knots)
    positions = tuple(z_of(float(name[1:]) / 100.0) for name in knots)
    values = tuple(knots.values())
    return Quantiles(positions, values, logarithmic=values[0] > 0)


def _require_order(knots: Mapping[str, float]) -> None:
    for (one, lower), (other, higher) in pairwise(knots.items()):
        if higher < lower:
            raise ValueError(f"{one} ({lower:g}) is above {other} ({higher:g}); exchange them")
