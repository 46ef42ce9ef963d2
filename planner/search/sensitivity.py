"""Intervals and global sensitivity: quantiles with their sampling error, Sobol indices with theirs.

Both estimators are scipy's: `scipy.stats.bootstrap` and `scipy.stats.sobol_indices` (Saltelli et
al. 2010). The bootstrap treats draws as independent; those of Sobol points spread more evenly, so
their true sampling error is smaller than what is stated.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from planner.search.points import generator

Array = NDArray[np.float64]
RESAMPLES: Final = 999
INDEX_RESAMPLES: Final = 199
"""Of Sobol indices, whose estimator is slower."""
_QUANTILES, _INDICES = 1, 2
"""Uses of random numbers."""


@dataclass(frozen=True)
class Estimate:
    """A number estimated from samples, and where it would be with other samples."""

    value: float
    low: float
    """Lower end of its confidence interval."""
    high: float


@dataclass(frozen=True)
class Interval:
    """The middle part of a distribution: median, and ends with equal tails beyond."""

    low: Estimate
    median: Estimate
    high: Estimate
    mean: float
    deviation: float
    """Standard deviation."""


@dataclass(frozen=True)
class Index:
    """How much of the variance of an answer an input makes: Sobol indices."""

    first: Estimate
    """Share of the variance that goes if this input alone were known."""
    total: Estimate
    """Share that stays if all others were known: `first` and its interactions."""


def interval_of(values: Array, confidence: float, seed: int) -> Interval:
    """Return the interval of a share of the values, with bootstrap errors.

    Quantiles of whole numbers are whole: they are values that were found.

    Args:
        values: one per sample, shape (n,).
        confidence: share inside the interval; also that of the confidence intervals of its ends.
        seed: of the resampling.
    """
    tail = (1.0 - confidence) / 2.0
    whole = bool(np.all(values == np.rint(values)))
    method: Literal["inverted_cdf", "median_unbiased"] = (
        "inverted_cdf" if whole else "median_unbiased"
    )

    def ends(sample: Array, axis: int = -1) -> Array:
        found: Array = np.quantile(sample, [tail, 0.5, 1.0 - tail], axis=axis, method=method)
        return found

    found = ends(values)
    spread = stats.bootstrap(
        (values,),
        ends,
        vectorized=True,
        method="percentile",
        n_resamples=RESAMPLES,
        confidence_level=confidence,
        random_state=generator(seed, use=_QUANTILES),
    ).confidence_interval
    low, median, high = (
        Estimate(float(value), float(below), float(above))
        for value, below, above in zip(found, spread.low, spread.high, strict=True)
    )
    deviation = float(values.std(ddof=1)) if len(values) > 1 else 0.0
    return Interval(low, median, high, float(values.mean()), deviation)


def share_of(successes: int, trials: int, confidence: float) -> Estimate:
    """Return a share with its Wilson interval."""
    found = stats.binomtest(successes, trials).proportion_ci(confidence, method="wilson")
    return Estimate(successes / trials, float(found.low), float(found.high))


def indices_of(
    first: Array, second: Array, exchanged: Sequence[Array], confidence: float, seed: int
) -> tuple[Index, ...] | None:
    """Return the Sobol indices of each input; None where the answer does not vary.

    Args:
        first: answers to the first half of the samples, shape (n,); n is a power of two.
        second: to the second half.
        exchanged: for each input, those to the first half with this input of the second.
        confidence: of the confidence intervals.
        seed: of the resampling.
    """
    if np.ptp(np.concatenate([first, second])) == 0.0:
        return None
    mixed = np.stack(exchanged)

    def both(rows: NDArray[np.int64]) -> Array:
        """Return first-order and total indices, shape (2, inputs), of some of the samples.

        The answer is given twice: of one answer to one input, scipy 1.17 makes a bare number, and
        then fails on it.
        """
        answers = {
            "f_A": np.stack([first[rows]] * 2),
            "f_B": np.stack([second[rows]] * 2),
            "f_AB": np.stack([mixed[:, rows]] * 2, axis=1),
        }
        found = stats.sobol_indices(func=answers, n=len(rows))
        one: Array = np.stack(
            [index.reshape(2, len(mixed))[0] for index in (found.first_order, found.total_order)]
        )
        return one

    found = both(np.arange(len(first)))
    spread = stats.bootstrap(
        (np.arange(len(first)),),
        both,
        vectorized=False,
        method="percentile",
        n_resamples=INDEX_RESAMPLES,
        confidence_level=confidence,
        random_state=generator(seed, use=_INDICES),
    ).confidence_interval
    return tuple(
        Index(
            *(
                Estimate(float(found[k, i]), float(spread.low[k, i]), float(spread.high[k, i]))
                for k in (0, 1)
            )
        )
        for i in range(len(mixed))
    )
