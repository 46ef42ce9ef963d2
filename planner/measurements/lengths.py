"""Token counts of the requests of a measurement: fixed, uniform, or as a list of recorded ones."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TypeAlias


@dataclass(frozen=True, slots=True)
class Fixed:
    """Every request has `tokens`."""

    tokens: int

    @property
    def mean_tokens(self) -> float:
        """Mean tokens of a request."""
        return float(self.tokens)

    @property
    def maximum_tokens(self) -> int:
        """Tokens of the longest request there can be."""
        return self.tokens

    def problems(self) -> list[str]:
        """Return what is wrong with the values; empty if nothing is."""
        return [] if self.tokens >= 1 else [f"{self.tokens} tokens; a request has at least 1"]


@dataclass(frozen=True, slots=True)
class Uniform:
    """Whole tokens, equally likely from `low` to `high`, both included."""

    low: int
    high: int

    @property
    def mean_tokens(self) -> float:
        """Mean tokens of a request."""
        return (self.low + self.high) / 2

    @property
    def maximum_tokens(self) -> int:
        """Tokens of the longest request there can be."""
        return self.high

    def problems(self) -> list[str]:
        """Return what is wrong with the values; empty if nothing is."""
        if self.low < 1:
            return [f"lengths from {self.low} tokens; a request has at least 1"]
        if self.high < self.low:
            return [f"lengths from {self.low} to {self.high} tokens; give the lower one first"]
        return []


@dataclass(frozen=True, slots=True)
class Empirical:
    """Lengths that were recorded, or quantiles at evenly spaced probabilities.

    Drawn from with equal probability. Where the point says `paired`, value i of the prompts and
    value i of the outputs belong to request i.
    """

    name: str
    """What the values are, as in "mlperf llama2-70b outputs"."""
    values: tuple[int, ...] = field(repr=False)

    @property
    def mean_tokens(self) -> float:
        """Mean tokens of a request."""
        return math.fsum(self.values) / len(self.values)

    @property
    def maximum_tokens(self) -> int:
        """Tokens of the longest request there can be."""
        return max(self.values)

    def problems(self) -> list[str]:
        """Return what is wrong with the values; empty if nothing is."""
        if not self.values:
            return [f"{self.name}: has no lengths"]
        if (shortest := min(self.values)) < 1:
            return [f"{self.name}: has a length of {shortest} tokens; a request has at least 1"]
        return []


Lengths: TypeAlias = Fixed | Uniform | Empirical


def quantiles_of(values: Sequence[int], count: int) -> tuple[int, ...]:
    """Return `count` quantiles of `values` at the probabilities (i + 1/2) / count.

    Drawing from them with equal probability keeps the mean to first order and drops the tails
    beyond 1 / (2 count).

    >>> quantiles_of([1, 2, 3, 4, 5, 6, 7, 8], 4)
    (2, 4, 6, 8)
    """
    ordered = sorted(values)
    return tuple(ordered[int((i + 0.5) * len(ordered) / count)] for i in range(count))
