"""Where inputs are drawn: points spread over the unit cube, and one input at a time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray
from scipy.stats import qmc

from planner.search.draws import MEDIAN, Point

Method = Literal["sobol", "halton", "latin_hypercube", "random"]
LOW: Final = 0.1
HIGH: Final = 0.9
"""Quantiles between which an input swings in a tornado."""
_STREAM: Final = 0x7269736B
"""Names the random stream of the points, beside those of the traffic."""


def generator(seed: int, *, use: int = 0) -> np.random.Generator:
    """Return the random numbers of one use: 0 spreads points, others are for resampling."""
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(_STREAM, use)))


def halves(
    columns: int, samples: int, method: Method, seed: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return two independent halves of the samples, each of shape `(samples / 2, columns)`.

    The columns of both are those of one set of points in twice as many dimensions, as Saltelli's
    scheme for Sobol indices asks (Saltelli et al. 2010).
    """
    rng = generator(seed)
    count, dimensions = samples // 2, 2 * columns
    if method == "sobol":
        points = qmc.Sobol(dimensions, scramble=True, seed=rng).random(count)
    elif method == "halton":
        points = qmc.Halton(dimensions, scramble=True, seed=rng).random(count)
    elif method == "latin_hypercube":
        points = qmc.LatinHypercube(dimensions, seed=rng).random(count)
    else:
        points = rng.random((count, dimensions))
    return points[:, :columns], points[:, columns:]


def exchanged(
    first: NDArray[np.float64], second: NDArray[np.float64], column: int
) -> NDArray[np.float64]:
    """Return the first half with one column of the second."""
    mixed = first.copy()
    mixed[:, column] = second[:, column]
    return mixed


def as_points(rows: NDArray[np.float64]) -> list[Point]:
    """Return rows as points."""
    return [tuple(row) for row in rows.tolist()]


def centre(columns: int) -> Point:
    """Return the point with every input at its median."""
    return (MEDIAN,) * columns


def one_at_a_time(columns: int) -> list[tuple[Point, Point]]:
    """Return for each column the points with it at its low and high end, and others at theirs."""
    return [
        (_moved(columns, column, LOW), _moved(columns, column, HIGH)) for column in range(columns)
    ]


def _moved(columns: int, column: int, u: float) -> Point:
    at: Sequence[float] = centre(columns)
    return (*at[:column], u, *at[column + 1 :])
