"""A small table of measured over fitted seconds, which takes a form to what was measured.

A form has the right shape, but kernels are chosen from a list by the size of a problem, and their
efficiency jumps where the choice changes. The ratio of measured to fitted seconds is therefore kept
on a coarse grid over the shape, and interpolated linearly in log(1 + x) of each coordinate.

The nodes' values solve a penalised least-squares problem: they should match the log ratios of
the timings around them, and not bend without need (a tensor-product spline of degree 1 with
second differences as the penalty: Eilers and Marx, Statistical Science 11, 1996). Four rounds of
reweighting turn squares into absolute values, so that single odd timings weigh little. Nodes
without timings around them are filled by the penalty alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from planner.curves.curve import Correction
from planner.curves.forms.base import Array, Shape
from planner.curves.timings import CurveError

PER_MILLE = 1000.0
_LARGEST_RATIO = 30.0
"""A form that is wrong by more than this is the wrong form."""


def coordinate(shape: Shape, expression: str) -> Array:
    """Return a column of `shape`, or a product of columns as in `sequences*new_tokens/kv_heads`.

    Raises:
        KeyError: a column that the shape does not have.

    >>> coordinate({"a": np.array([6.0]), "b": np.array([2.0])}, "a*a/b")
    array([18.])
    """
    value: Array | None = None
    for factor in expression.split("*"):
        top, *bottoms = (shape[name.strip()] for name in factor.split("/"))
        part = top
        for bottom in bottoms:
            part = part / bottom
        value = part if value is None else value * part
    if value is None:  # pragma: no cover - split never returns an empty list
        raise KeyError(expression)
    return value


@dataclass(frozen=True)
class GridSpec:
    """How to build a `Grid`."""

    columns: tuple[str, ...]
    """Shape columns, or products of them, as `coordinate` reads them. At most four."""
    nodes: tuple[int, ...]
    """How many nodes each coordinate gets at most."""
    stiffness: float = 0.1
    """Weight of the penalty on bending, relative to one timing."""
    outside: str = "hold"
    """hold: the ratio at the edge applies beyond it as well. one: it fades to 1, and its logarithm
    is down to a third at four times the edge. Left-out ends of shapes speak for holding: products
    of k beyond 12,000, fitted on the smaller ones, are off by 17% with it, 21% without (H100,
    vLLM, bf16), and no table was much worse for it."""


@dataclass(frozen=True)
class Grid:
    """Ratios on a grid of the shape; implements `planner.curves.curve.Correction`."""

    columns: tuple[str, ...]
    nodes: tuple[Array, ...]
    """Ascending coordinates of each column, in its unit."""
    per_mille: NDArray[np.int64]
    """Measured over fitted seconds × 1000, one axis per column."""
    outside: str = "hold"

    def __len__(self) -> int:
        return int(self.per_mille.size)

    def ratio(self, shape: Shape) -> Array:
        """Return measured over fitted seconds of each shape, as `outside` says beyond the grid."""
        columns = np.broadcast_arrays(*(coordinate(shape, name) for name in self.columns))
        flat = [np.ravel(column) for column in columns]
        index, weight = _weights(flat, self.nodes)
        table = np.log(self.per_mille.ravel() / PER_MILLE)
        log_ratio = np.einsum("rc,rc->r", table[index], weight)
        if self.outside == "one":
            log_ratio = log_ratio * np.exp(-_distance_outside(flat, self.nodes) / np.log(4.0))
        result: Array = np.exp(log_ratio).reshape(columns[0].shape)
        return result


@dataclass(frozen=True)
class Grids:
    """The product of several grids, each over columns of its own."""

    parts: tuple[Grid, ...]

    def __len__(self) -> int:
        return sum(len(part) for part in self.parts)

    def ratio(self, shape: Shape) -> Array:
        """Return the product of the parts' ratios."""
        result = self.parts[0].ratio(shape)
        for part in self.parts[1:]:
            result = result * part.ratio(shape)
        return result


def fit_correction(
    spec: GridSpec | Sequence[GridSpec] | None, shape: Shape, ratio: Array
) -> Correction | None:
    """Return the grid, or the product of grids, that follows `ratio`; None: no correction.

    With several specifications, each grid is fitted to what those before it left over.

    Raises:
        CurveError: see `fit_grid`.

    """
    if spec is None:
        return None
    if isinstance(spec, GridSpec):
        return fit_grid(spec, shape, ratio)
    parts: list[Grid] = []
    for each in spec:
        grid = fit_grid(each, shape, ratio)
        ratio = ratio / grid.ratio(shape)
        parts.append(grid)
    return Grids(tuple(parts))


def fit_grid(spec: GridSpec, shape: Shape, ratio: Array) -> Grid:
    """Return the grid that follows `ratio` (measured over fitted seconds) at the given shapes.

    Args:
        spec: columns, number of nodes, stiffness.
        shape: columns of the timings, shape (r,).
        ratio: positive, shape (r,).

    Raises:
        CurveError: the ratios are not positive numbers, or there are none.

    """
    if not len(ratio) or not np.all(np.isfinite(ratio)) or not np.all(ratio > 0):
        raise CurveError("a grid needs positive, finite ratios of measured to fitted seconds")
    columns = [np.ravel(coordinate(shape, name)) for name in spec.columns]
    nodes = tuple(
        _nodes(column, np.log(ratio), [c for j, c in enumerate(columns) if j != i], count)
        for i, (column, count) in enumerate(zip(columns, spec.nodes, strict=True))
    )
    index, weight = _weights(columns, nodes)
    sizes = tuple(len(each) for each in nodes)
    values = _solve(index, weight, np.log(ratio), sizes, spec.stiffness)
    limit = np.log(_LARGEST_RATIO)
    per_mille = np.rint(PER_MILLE * np.exp(np.clip(values, -limit, limit))).astype(np.int64)
    return Grid(spec.columns, nodes, per_mille.reshape(sizes), spec.outside)


def _nodes(column: Array, log_ratio: Array, others: Sequence[Array], count: int) -> Array:
    """Return at most `count` measured values, dense where the ratio bends or jumps.

    Nodes are added where the profile along the column, taken apart by terciles of the other
    columns, is farthest from a straight line between the nodes chosen so far (Douglas and Peucker,
    Cartographica 10, 1973). Kernels are often changed at 16, 64, 128 … rows: a coarse even grid
    would smear such a step.
    """
    values, at = np.unique(column, return_inverse=True)
    if len(values) <= count:
        return values
    profile = _profile(at, len(values), log_ratio, others)
    logs = np.log1p(values)
    # an even half first: a profile is noisy, and gaps are filled by straight lines
    wanted = np.linspace(logs[0], logs[-1], max(count // 2, 2))
    chosen = set(np.abs(logs[:, None] - wanted[None, :]).argmin(axis=0).tolist())
    while len(chosen) < count:
        nodes = np.array(sorted(chosen))
        error = np.zeros(len(values))
        for line in profile:
            error += np.abs(line - np.interp(logs, logs[nodes], line[nodes]))
        error[nodes] = -1.0
        chosen.add(int(error.argmax()))
    nodes = np.array(sorted(chosen))
    picked: Array = values[nodes]
    return picked


def _profile(
    at: NDArray[np.int64], count: int, log_ratio: Array, others: Sequence[Array]
) -> list[Array]:
    """Return mean log ratios by value of a column, one array per part of the other columns."""
    part = np.zeros(len(at), dtype=np.int64)
    for other in others:
        edges = np.quantile(other, [1 / 3, 2 / 3])
        part = part * 3 + np.searchsorted(edges, other)
    lines = []
    for each in np.unique(part):
        inside = part == each
        total = np.bincount(at[inside], weights=log_ratio[inside], minlength=count)
        seen = np.bincount(at[inside], minlength=count)
        if np.count_nonzero(seen) > 1:
            known = np.flatnonzero(seen)
            lines.append(np.interp(np.arange(count), known, total[known] / seen[known]))
    return lines


def _weights(
    columns: Sequence[Array], nodes: Sequence[Array]
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return the 2^d surrounding nodes of each row as flat indices, and their weights."""
    rows = len(columns[0])
    low, share = [], []
    for column, each in zip(columns, nodes, strict=True):
        position = np.interp(np.log1p(column), np.log1p(each), np.arange(len(each)))
        below = np.minimum(position.astype(np.int64), max(len(each) - 2, 0))
        low.append(below)
        share.append(position - below)
    sizes = [len(each) for each in nodes]
    corners = list(product((0, 1), repeat=len(sizes)))
    index = np.zeros((rows, len(corners)), dtype=np.int64)
    weight = np.ones((rows, len(corners)))
    for c, corner in enumerate(corners):
        for axis, up in enumerate(corner):
            at = np.minimum(low[axis] + up, sizes[axis] - 1)
            index[:, c] = index[:, c] * sizes[axis] + at
            weight[:, c] *= share[axis] if up else 1.0 - share[axis]
    return index, weight


def _distance_outside(columns: Sequence[Array], nodes: Sequence[Array]) -> Array:
    """Return how far beyond the nearest edge each row lies, summed over axes, in log units."""
    distance = np.zeros(len(columns[0]))
    for column, each in zip(columns, nodes, strict=True):
        logs = np.log1p(column)
        first, last = np.log1p(each[0]), np.log1p(each[-1])
        distance = distance + np.maximum(first - logs, 0.0) + np.maximum(logs - last, 0.0)
    return distance


def _solve(
    index: NDArray[np.int64],
    weight: Array,
    target: Array,
    sizes: tuple[int, ...],
    stiffness: float,
) -> Array:
    """Return node values by penalised least absolute deviations."""
    from scipy import sparse
    from scipy.sparse.linalg import spsolve

    rows, unknowns = len(target), int(np.prod(sizes))
    row = np.repeat(np.arange(rows), index.shape[1])
    basis = sparse.csr_matrix((weight.ravel(), (row, index.ravel())), shape=(rows, unknowns))
    bending = _bending(sizes)
    # NOTE: a whisper of ridge keeps the system regular where a node touches nothing
    penalty = stiffness * (bending.T @ bending) + 1e-6 * sparse.identity(unknowns)
    importance = np.ones(rows)
    values = np.zeros(unknowns)
    for _ in range(4):
        weighted = basis.multiply(importance[:, None]).tocsr()
        values = spsolve((basis.T @ weighted + penalty).tocsc(), weighted.T @ target)
        residual = np.abs(target - basis @ values)
        importance = 1.0 / np.maximum(residual / 0.05, 1.0)
    result: Array = np.asarray(values)
    return result


def _bending(sizes: tuple[int, ...]) -> Any:
    """Return the matrix of second differences along every axis of a grid (first, of two nodes)."""
    from scipy import sparse

    blocks = []
    for axis, size in enumerate(sizes):
        if size < 2:
            continue
        if size == 2:
            one = sparse.diags([-1.0, 1.0], [0, 1], shape=(1, 2))
        else:
            one = sparse.diags([1.0, -2.0, 1.0], [0, 1, 2], shape=(size - 2, size))
        before = sparse.identity(int(np.prod(sizes[:axis], dtype=np.int64)))
        after = sparse.identity(int(np.prod(sizes[axis + 1 :], dtype=np.int64)))
        blocks.append(sparse.kron(sparse.kron(before, one), after))
    unknowns = int(np.prod(sizes))
    return sparse.vstack(blocks).tocsr() if blocks else sparse.csr_matrix((1, unknowns))
