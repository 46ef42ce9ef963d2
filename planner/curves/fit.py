"""Robust fits of a form to timings, with errors.

The residual of a timing is log(fitted / measured seconds), so that a microsecond and a second
count alike, under the loss soft_l1 (Triggs et al., Bundle Adjustment, 2000, section 3.3), so that
odd timings weigh little. Parameters whose lower bound is positive are fitted as their logarithm.

Errors of the parameters come from the Jacobian J and the residuals r at the solution:
without groups, s² (JᵀJ)⁻¹ with s² = rᵀr / (rows − parameters); with groups of shapes, the sandwich
(JᵀJ)⁻¹ (Σ_g (J_gᵀ r_g)(J_gᵀ r_g)ᵀ) (JᵀJ)⁻¹ of Liang and Zeger (Biometrika 73, 1986), because what
a form misses is alike within a group, and rows are then no independent witnesses.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from planner.curves.curve import Correction, Curve, CurveKey
from planner.curves.forms.base import Array, Form, Peaks, Shape
from planner.curves.grid import GridSpec, coordinate, fit_correction
from planner.curves.timings import CurveError, Timings, shape_of

FOLDS: Final = 5
"""Parts into which groups of shapes are split for the error on unseen shapes."""
_ROWS_AT_MOST: Final = 6000
"""Rows that the parameters are fitted on; the grid is always fitted on all of them."""
_SOFT: Final = 0.1
"""Residuals (in log units) above this weigh less and less."""
_MARGIN: Final = 1e-3
"""Share of a parameter's range within which it counts as being at the bound."""

Groups = Sequence[str] | NDArray[np.int64] | None
Correct = GridSpec | Sequence[GridSpec] | None


@dataclass(frozen=True)
class Solution:
    """Parameters that fit best, and their covariance."""

    values: Array
    covariance: Array
    warnings: tuple[str, ...]


def fit_curve(
    form: Form,
    key: CurveKey,
    timings: Timings,
    peaks: Peaks,
    *,
    groups: Groups = None,
    correction: Correct = None,
    source: str,
    version: str,
    date: str,
    licence: str,
    tier: Literal["measured", "fitted", "estimated"] | None = None,
    on_fit: Callable[[], None] | None = None,
) -> Curve:
    """Fit `form` to `timings` and say how far off it is, on these shapes and on unseen ones.

    Args:
        form: what to fit.
        key: what the timings were measured on; stored with the curve.
        timings: checked rows of one key (`check_timings`), shape columns in SI units.
        peaks: of the chip, in the format of the arithmetic.
        groups: what is left out together for `mape_out`: shape columns (`("n", "k")`: all rows of
            one matrix), or a number per row. None: every distinct shape by itself.
        correction: also fit a grid of measured over fitted seconds, or a product of several.
        source: of the timings.
        version: of the engine or library.
        date: of the measurement, ISO 8601.
        licence: of the timings.
        tier: `measured` if there is a grid, else `fitted`, unless said otherwise.
        on_fit: called after each of the `FOLDS + 1` fits, for a progress bar.

    Raises:
        CurveError: too few timings, timings that are not positive, or no convergence.

    """
    shape = shape_of(timings, form)
    _require_usable(form, key, timings, shape)
    labels = group_labels(groups, shape, len(timings))
    done = on_fit or (lambda: None)
    solution = solve(form, shape, timings.seconds, peaks, None if groups is None else labels)
    grid = _grid(form, solution.values, shape, timings.seconds, peaks, correction)
    done()
    fitted = _predict(form, solution.values, grid, shape, peaks)
    mape_out = _mape_on_unseen(
        form, solution, shape, timings.seconds, peaks, labels, correction, done
    )
    return Curve(
        key=key,
        form=form,
        values=solution.values,
        covariance=solution.covariance,
        peaks=peaks,
        valid={name: (float(column.min()), float(column.max())) for name, column in shape.items()},
        correction=grid,
        points=len(timings),
        mape_in=mean_absolute_error(fitted, timings.seconds),
        mape_out=mape_out,
        source=source,
        version=version,
        date=date,
        licence=licence,
        tier=tier or ("measured" if grid is not None else "fitted"),
        warnings=solution.warnings,
    )


def mean_absolute_error(predicted: Array, measured: Array) -> float:
    """Return the mean of |predicted − measured| / measured."""
    return float(np.mean(np.abs(predicted / measured - 1.0)))


def group_labels(groups: Groups, shape: Shape, rows: int) -> NDArray[np.int64]:
    """Return a whole number per row; rows with one number are left out together.

    Raises:
        CurveError: a column that the form does not read, or labels of another length.

    """
    if groups is None:
        columns: list[Array] = list(shape.values())
    elif isinstance(groups, np.ndarray):
        if groups.shape != (rows,):
            raise CurveError(f"there are {rows} timings but {groups.size} group labels")
        columns = [groups.astype(np.float64)]
    else:
        try:
            columns = [coordinate(shape, name) for name in groups]
        except KeyError as missing:
            raise CurveError(
                f"cannot group by {missing}; the form reads {', '.join(shape)}"
            ) from None
    labels = np.zeros(rows, dtype=np.int64)
    for column in columns:
        values, codes = np.unique(column, return_inverse=True)
        # NOTE: renumbered each time, so that products of many columns do not overflow
        _, labels = np.unique(labels * len(values) + codes, return_inverse=True)
    return labels


def solve(
    form: Form,
    shape: Shape,
    seconds: Array,
    peaks: Peaks,
    labels: NDArray[np.int64] | None,
    *,
    start: Array | None = None,
) -> Solution:
    """Return the parameters of `form` that fit best.

    Args:
        form: with p parameters.
        shape: columns of r timings.
        seconds: measured, shape (r,).
        peaks: of the chip.
        labels: groups for the covariance, shape (r,); None: rows are independent.
        start: where to begin, shape (p,); else at the parameters' own start.

    Raises:
        CurveError: no convergence.

    """
    from scipy.optimize import least_squares

    shape, seconds, labels = _thinned(shape, seconds, labels)
    scale = _Scale(form)
    logs = np.log(seconds)

    def residuals(inside: Array) -> Array:
        fitted = form.seconds(scale.values(inside), shape, peaks)
        return np.log(fitted) - logs

    begin = scale.inside(form.starts() if start is None else start)
    if not np.all(np.isfinite(residuals(begin))):
        raise CurveError(_advice(form, "the form is not a positive number of seconds at its start"))
    try:
        found = least_squares(
            residuals,
            np.clip(begin, scale.lower + 1e-9, scale.upper - 1e-9),
            jac="3-point",
            bounds=(scale.lower, scale.upper),
            loss="soft_l1",
            f_scale=_SOFT,
            x_scale="jac",
            ftol=1e-6,
            xtol=1e-6,
            gtol=1e-8,
            max_nfev=300,
        )
    except ValueError as error:
        raise CurveError(_advice(form, f"the solver gave up: {error}")) from error
    if found.status <= 0 or not np.all(np.isfinite(found.x)):
        raise CurveError(_advice(form, f"no convergence after {found.nfev} steps"))
    values = scale.values(found.x)
    covariance, warnings = _covariance(form, found.jac, residuals(found.x), labels, scale, found.x)
    return Solution(values, covariance, (*_at_bounds(form, scale, found.x), *warnings))


class _Scale:
    """Parameters as the solver sees them: logarithms where a parameter must be positive."""

    def __init__(self, form: Form) -> None:
        lower = np.array([parameter.lower for parameter in form.parameters])
        upper = np.array([parameter.upper for parameter in form.parameters])
        self.positive = lower > 0.0
        self.lower = self.inside(lower)
        self.upper = self.inside(upper)

    def inside(self, values: Array) -> Array:
        """Return the solver's coordinates of parameter values."""
        return np.where(self.positive, np.log(np.where(self.positive, values, 1.0)), values)

    def values(self, inside: Array) -> Array:
        """Return the parameter values of the solver's coordinates."""
        return np.where(self.positive, np.exp(np.where(self.positive, inside, 0.0)), inside)

    def slope(self, inside: Array) -> Array:
        """Return d value / d coordinate."""
        return np.where(self.positive, self.values(inside), 1.0)


def _thinned(
    shape: Shape, seconds: Array, labels: NDArray[np.int64] | None
) -> tuple[Shape, Array, NDArray[np.int64] | None]:
    """Return at most `_ROWS_AT_MOST` rows, the same ones each time."""
    rows = len(seconds)
    if rows <= _ROWS_AT_MOST:
        return shape, seconds, labels
    # a seeded draw, since every k-th row of a sorted table would miss whole columns of it
    keep = np.sort(np.random.default_rng(rows).choice(rows, _ROWS_AT_MOST, replace=False))
    thin = {name: np.broadcast_to(column, (rows,))[keep] for name, column in shape.items()}
    return thin, seconds[keep], None if labels is None else labels[keep]


def _covariance(
    form: Form,
    jacobian: Array,
    residual: Array,
    labels: NDArray[np.int64] | None,
    scale: _Scale,
    inside: Array,
) -> tuple[Array, tuple[str, ...]]:
    """Return the covariance of the parameters in their own units; NaN where it is singular."""
    count = len(inside)
    # parameters at a bound are held there by it, not by the timings: they have no error
    free = ~_near_bound(scale, inside)
    covariance = np.full((count, count), np.nan)
    j = jacobian[:, free]
    size = np.sqrt((j**2).sum(axis=0))
    if not free.any():
        return covariance, ("no parameter is free: all are at a bound",)
    normal = (j.T @ j) / np.outer(size, size) if np.all(size > 0) else np.zeros((j.shape[1],) * 2)
    if np.all(size > 0) and np.linalg.cond(normal) < 1e10:
        inverse = np.linalg.inv(normal) / np.outer(size, size)
    else:
        names = [p.name for p, is_free in zip(form.parameters, free, strict=True) if is_free]
        return covariance, (
            f"singular covariance: the timings cannot tell {', '.join(names)} apart, "
            "so their standard errors are unknown",
        )
    groups = 0 if labels is None else len(np.unique(labels))
    if labels is not None and groups >= 2 * count:
        weighted = j * _soft_weight(residual)[:, None]
        scores = np.zeros((int(labels.max()) + 1, j.shape[1]))
        np.add.at(scores, labels, weighted)
        inner = inverse @ (scores.T @ scores) @ inverse * groups / (groups - 1)
    else:
        freedom = max(len(residual) - int(free.sum()), 1)
        inner = inverse * float(residual @ residual) / freedom
    slope = scale.slope(inside)[free]
    covariance[np.ix_(free, free)] = inner * np.outer(slope, slope)
    return covariance, ()


def _soft_weight(residual: Array) -> Array:
    """Return the residual as soft_l1 weighs it, on the solver's scaled Jacobian.

    The solver returns J scaled so that JᵀJ approximates the loss's curvature; the gradient of the
    loss, ρ'(z) r with z = (r / f)², divided by that scale gives a score of matching size.
    """
    z = (residual / _SOFT) ** 2
    first = (1.0 + z) ** -0.5
    second = -0.5 * (1.0 + z) ** -1.5
    scaled = np.sqrt(np.maximum(first + 2.0 * second * z, np.finfo(np.float64).eps))
    weighed: Array = first * residual / scaled
    return weighed


def _near_bound(scale: _Scale, inside: Array) -> NDArray[np.bool_]:
    room = _MARGIN * (scale.upper - scale.lower)
    near: NDArray[np.bool_] = (inside < scale.lower + room) | (inside > scale.upper - room)
    return near


def _at_bounds(form: Form, scale: _Scale, inside: Array) -> tuple[str, ...]:
    near = _near_bound(scale, inside)
    middle = (scale.lower + scale.upper) / 2.0
    return tuple(
        f"{parameter.name} is at its {'lower' if x < m else 'upper'} bound "
        f"{parameter.lower if x < m else parameter.upper:g} {parameter.unit}".rstrip()
        for parameter, x, m, is_near in zip(form.parameters, inside, middle, near, strict=True)
        if is_near
    )


def _grid(
    form: Form,
    values: Array,
    shape: Shape,
    seconds: Array,
    peaks: Peaks,
    spec: Correct,
) -> Correction | None:
    if spec is None:
        return None
    return fit_correction(spec, shape, seconds / form.seconds(values, shape, peaks))


def _predict(
    form: Form, values: Array, grid: Correction | None, shape: Shape, peaks: Peaks
) -> Array:
    seconds = form.seconds(values, shape, peaks)
    return seconds if grid is None else seconds * grid.ratio(shape)


def _mape_on_unseen(
    form: Form,
    solution: Solution,
    shape: Shape,
    seconds: Array,
    peaks: Peaks,
    labels: NDArray[np.int64],
    spec: Correct,
    done: Callable[[], None],
) -> float:
    """Return the mean absolute error on groups of shapes that a fit has not seen.

    Groups are dealt out to folds by a seeded shuffle, and each fold is predicted from the others.
    """
    groups = int(labels.max()) + 1
    folds = min(FOLDS, groups)
    if folds < 2:
        return float("nan")
    fold_of = np.random.default_rng(groups).permutation(np.arange(groups) % folds)[labels]
    errors = np.empty(len(seconds))
    for fold in range(folds):
        test = fold_of == fold
        train_shape = {name: column[~test] for name, column in shape.items()}
        # starting at the solution on all rows saves steps and leaks nothing: the optimum is sought
        # anew on the rows left
        refit = solve(form, train_shape, seconds[~test], peaks, None, start=solution.values)
        grid = _grid(form, refit.values, train_shape, seconds[~test], peaks, spec)
        test_shape = {name: column[test] for name, column in shape.items()}
        predicted = _predict(form, refit.values, grid, test_shape, peaks)
        errors[test] = np.abs(predicted / seconds[test] - 1.0)
        done()
    return float(errors.mean())


def _require_usable(form: Form, key: CurveKey, timings: Timings, shape: Shape) -> None:
    parts = (f"{key.operator} of {key.chip}", key.engine, key.dtype, key.of_model)
    name = f"{timings.file}: {', '.join(filter(None, parts))}"
    if len(timings) < len(form.parameters) + 1:
        raise CurveError(
            f"{name}: {len(timings)} timings are too few for the form {form.name}, which has "
            f"{len(form.parameters)} parameters; measure at least {2 * len(form.parameters)} shapes"
        )
    bad = ~(np.isfinite(timings.seconds) & (timings.seconds > 0))
    for column in shape.values():
        bad = bad | ~np.isfinite(column)
    if bad.any():
        raise CurveError(
            f"{name}: {int(bad.sum())} rows have no positive, finite time or lack a shape column "
            f"({timings.places(bad)}); pass them through check_timings first"
        )


def _advice(form: Form, problem: str) -> str:
    return (
        f"the form {form.name} does not fit: {problem}. Things to check:\n"
        "  1. Is the unit of time_us right? A column in ms or ns is off by a thousand.\n"
        f"  2. Do the shapes vary? The form reads {', '.join(form.shape)}; each should take "
        "several values, small and large.\n"
        "  3. Is this one kernel family? Fit different dtypes, engines and versions apart.\n"
        "  4. Are the peaks of the chip right, and those of the format the kernels compute in?"
    )
