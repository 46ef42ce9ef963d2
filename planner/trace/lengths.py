"""Distributions of lengths in tokens, all of one form: a piecewise quantile function.

Fixed, uniform, empirical quantiles and lognormal mixtures are turned into knots (probability,
tokens); a draw is the quantile at a uniform random number. A single lognormal fits almost no real
length (KS up to 0.23), so the empirical form is the usual one.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import pairwise
from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from planner.errors import TraceError
from planner.trace.table import MAXIMUM_TOKENS

_BINS: Final = 1 << 16
"""Bins of the sampling table. Inside one the quantile function is taken as a straight line."""
_EXACT_BINS: Final = 4
"""Outermost bins on either side, where a tail may bend, that are evaluated exactly."""
_MIXTURE_KNOTS: Final = 1024
"""Knots per component."""
_MIXTURE_REACH: Final = 6.0
"""A lognormal component is followed this many standard deviations of the logarithm (1 in 10⁹)."""


@dataclass(frozen=True)
class LengthDistribution:
    """A distribution of a whole number of tokens, by its quantile function.

    Args:
        probabilities: rising, within [0, 1]; outside the outermost the quantile stays what it is
            there.
        tokens: quantiles at these probabilities, never falling.
        logarithmic: between knots the logarithm of the quantile is linear, else the quantile
            itself. A segment that touches zero is always linear.
        minimum, maximum: draws beyond are moved to these.

    Raises:
        TraceError: the knots do not rise, are not finite, or exceed `MAXIMUM_TOKENS`.
    """

    probabilities: tuple[float, ...]
    tokens: tuple[float, ...]
    logarithmic: bool = True
    minimum: int = 0
    maximum: int = MAXIMUM_TOKENS

    def __post_init__(self) -> None:
        knots = list(zip(self.probabilities, self.tokens, strict=True))
        if not knots or not all(math.isfinite(p) and math.isfinite(t) for p, t in knots):
            raise TraceError(f"a length distribution needs finite quantiles; found {knots[:4]}")
        if any(b[0] < a[0] or b[1] < a[1] for a, b in pairwise(knots)):
            raise TraceError(f"quantiles of a length must rise; found {knots[:8]}")
        if not 0 <= knots[0][0] <= knots[-1][0] <= 1:
            raise TraceError(f"probabilities lie within 0 and 1; found {self.probabilities[:8]}")
        if knots[0][1] <= -0.5 or knots[-1][1] >= MAXIMUM_TOKENS + 0.5:
            raise TraceError(
                f"lengths lie within 0 and {MAXIMUM_TOKENS:,} tokens; found {knots[0][1]:g} to "
                f"{knots[-1][1]:g}"
            )
        if not 0 <= self.minimum <= self.maximum <= MAXIMUM_TOKENS:
            raise TraceError(
                f"lengths run from {self.minimum} to {self.maximum}; give a minimum not above the "
                f"maximum, and at most {MAXIMUM_TOKENS:,} tokens"
            )

    @classmethod
    def fixed(cls, tokens: int) -> LengthDistribution:
        """Every draw is `tokens`.

        >>> LengthDistribution.fixed(128).mean()
        128.0
        """
        return cls((0.0, 1.0), (float(tokens), float(tokens)), logarithmic=False)

    @classmethod
    def uniform(cls, low: int, high: int) -> LengthDistribution:
        """Uniform on the whole numbers from `low` to `high`, both included.

        >>> LengthDistribution.uniform(1, 4).quantile([0.2, 0.3, 0.99]).tolist()
        [1, 2, 4]
        """
        edge = 0.5 - 1e-7  # inside the half, so that rounding cannot leave the range
        return cls((0.0, 1.0), (low - edge, high + edge), logarithmic=False)

    @classmethod
    def from_quantiles(cls, quantiles: Mapping[float, float]) -> LengthDistribution:
        """Log-linear between empirical quantiles.

        Args:
            quantiles: probability (0 to 1) → tokens. Without 0 and 1 the distribution ends at the
                outermost quantiles given.

        >>> LengthDistribution.from_quantiles({0: 10, 0.5: 100, 1: 1000}).quantile(0.75).tolist()
        316
        """
        knots = sorted(quantiles.items())
        return cls(tuple(float(p) for p, _ in knots), tuple(float(t) for _, t in knots))

    @classmethod
    def from_lognormal_mixture(
        cls, components: Sequence[tuple[float, float, float]]
    ) -> LengthDistribution:
        """Mixture of lognormals.

        Args:
            components: (weight, median in tokens, standard deviation of the logarithm); the weights
                are normalised.

        >>> LengthDistribution.from_lognormal_mixture([(1, 500, 1.0)]).quantile(0.5).tolist()
        500
        """
        total = math.fsum(weight for weight, _, _ in components)
        reach = np.linspace(-_MIXTURE_REACH, _MIXTURE_REACH, _MIXTURE_KNOTS)
        grid = np.unique(
            np.concatenate([math.log(m) + max(s, 1e-9) * reach for _, m, s in components])
        )
        cdf = np.zeros(len(grid))
        for weight, median, sigma in components:
            scaled = (grid - math.log(median)) / (max(sigma, 1e-9) * math.sqrt(2))
            cdf += weight / total * np.array([0.5 * math.erfc(-x) for x in scaled.tolist()])
        cdf = np.minimum(np.maximum.accumulate(cdf), 1.0)
        tokens = np.minimum(np.exp(grid), MAXIMUM_TOKENS)
        return cls(tuple(cdf.tolist()), tuple(tokens.tolist()))

    @classmethod
    def from_preset(cls, name: str) -> LengthDistribution:
        """Return the shipped distribution `name`, as listed by `planner trace synth --list`.

        Raises:
            TraceError: there is none of that name.
        """
        from planner.trace.library import load_length_preset

        return load_length_preset(name).distribution

    def within(self, minimum: int, maximum: int | None) -> LengthDistribution:
        """Return this distribution with draws moved into `minimum` … `maximum`."""
        return replace(
            self, minimum=minimum, maximum=MAXIMUM_TOKENS if maximum is None else maximum
        )

    def scaled(self, factor: float) -> LengthDistribution:
        """Return this distribution with every quantile multiplied, up to the longest length.

        >>> LengthDistribution.uniform(100, 300).scaled(1.5).quantile([0.0, 0.5, 1.0]).tolist()
        [149, 300, 451]
        """
        if factor == 1.0:
            return self
        tokens = tuple(min(factor * each, float(MAXIMUM_TOKENS)) for each in self.tokens)
        return replace(self, tokens=tokens)

    def quantile(self, probability: ArrayLike) -> NDArray[np.int64]:
        """Return the quantile at each probability, in whole tokens, bounds applied."""
        return self._whole(self._continuous(np.asarray(probability, dtype=np.float64)))

    def sample(self, rng: np.random.Generator, count: int) -> NDArray[np.int64]:
        """Draw `count` lengths in tokens, shape `(count,)`.

        One uniform number is used per draw, none if all lengths are equal.
        """
        if self.tokens[0] == self.tokens[-1]:
            return np.full(count, int(self.quantile(0.5)), dtype=np.int64)
        return self._lookup(rng.random(count))

    def mean(self) -> float:
        """Return the mean in tokens, bounds applied, to about 1 part in 10⁴."""
        grid = (np.arange(_BINS * 4) + 0.5) / (_BINS * 4)
        return float(self.quantile(grid).mean())

    def _continuous(self, probability: NDArray[np.float64]) -> NDArray[np.float64]:
        p, tokens = np.array(self.probabilities), np.array(self.tokens)
        linear: NDArray[np.float64] = np.interp(probability, p, tokens)
        if not self.logarithmic:
            return linear
        with np.errstate(divide="ignore", invalid="ignore"):
            curved: NDArray[np.float64] = np.exp(np.interp(probability, p, np.log(tokens)))
        usable: NDArray[np.bool_] = np.isfinite(curved) & (curved > 0)
        return np.where(usable, curved, linear)

    def _whole(self, tokens: NDArray[np.float64]) -> NDArray[np.int64]:
        bounded = np.clip(np.rint(tokens), self.minimum, self.maximum)
        return bounded.astype(np.int64)

    @cached_property
    def _table(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        edges = self._continuous(np.arange(_BINS + 1) / _BINS)
        return edges[:-1].copy(), np.diff(edges)

    def _lookup(self, position: NDArray[np.float64]) -> NDArray[np.int64]:
        start, slope = self._table
        scaled = position * _BINS
        cell = scaled.astype(np.int64)
        scaled -= cell
        scaled *= slope.take(cell)
        scaled += start.take(cell)
        outer = np.flatnonzero((cell < _EXACT_BINS) | (cell >= _BINS - _EXACT_BINS))
        scaled[outer] = self._continuous(position[outer])
        return self._whole(scaled)
