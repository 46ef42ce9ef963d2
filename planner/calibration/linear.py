"""The fit of an overhead around one place, where leaving points out costs no replays.

`planner.calibration.fit` finds the overhead by replaying every point at every trial. For
leave-one-group-out the same problem is solved dozens of times with a few points less. Here the
logarithms of the errors are replayed once together with their derivatives by the scalars;
from then on every subset is a small robust least-squares problem: soft-L1 loss, the same
tolerances, prior and bounds as there, by reweighting.

Points of one group err alike: what a curve of that model on that chip gets wrong is wrong in every
row. A fit over several groups would take that for many independent observations, so there the loss
of a group counts as that of `INDEPENDENT` points.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from planner.calibration.fit import BOUNDS, PRIOR, TOLERANCE, UNSERVED, derivatives, log_errors
from planner.curves.engines import SCALARS, EngineOverhead
from planner.validation.deployment import Deployment

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]
Replays = Callable[[int], None]

_TRUST: Final = 0.7
"""A step goes no further than this in the logarithm of a scalar: beyond it nothing is linear."""
_SOFT: Final = 2.0
"""Whitened residual from which the loss grows linearly."""
_ROUNDS: Final = 60
_CLOSE: Final = 0.02
"""A step below this ends the descent: 2% of a scalar moves no latency by more."""
INDEPENDENT: Final = 1.0
"""Points that a whole group is worth in a fit over groups."""


@dataclass(frozen=True)
class Linear:
    """Whitened residuals and their derivatives at one overhead."""

    logs: Array
    """Logarithms of SCALARS, where it was replayed."""
    residuals: Array
    """log(replayed / measured) / tolerance, shape (rows,)."""
    jacobian: Array
    """By `logs`, shape (rows, scalars)."""
    owners: NDArray[np.int64]
    """Position of the point that a row belongs to."""
    weights: Array
    """Of the loss of each row."""

    def moved(self, logs: Array, residuals: Array) -> Linear:
        """Return it around another overhead, at which the residuals are known; slopes are kept."""
        return replace(self, logs=logs, residuals=residuals)

    def rows(self, points: Sequence[int]) -> Mask:
        """Return which rows belong to some points."""
        result: Mask = np.isin(self.owners, np.asarray(points, dtype=np.int64))
        return result


@dataclass(frozen=True)
class Centre:
    """A prior: where the scalars are expected, and how firmly."""

    logs: Array
    spread: Array
    """Standard deviations of the logarithms."""

    @classmethod
    def around(cls, host: EngineOverhead, scale: float = 1.0) -> Centre:
        """Return the prior around an overhead; `scale` below 1 holds it closer."""
        return cls(logs_of(host), scale * np.array([PRIOR[name] for name in SCALARS]))


def logs_of(host: EngineOverhead) -> Array:
    """Return the logarithms of the scalars, moved inside their bounds."""
    lower, upper = limits()
    values = [max(getattr(host, name), BOUNDS[name][0]) for name in SCALARS]
    return np.clip(np.log(values), lower, upper)


def limits() -> tuple[Array, Array]:
    """Return the logarithms of the bounds."""
    pairs = np.log([BOUNDS[name] for name in SCALARS])
    return pairs[:, 0], pairs[:, 1]


def with_logs(host: EngineOverhead, logs: Array) -> EngineOverhead:
    """Return an overhead with other scalars."""
    values = {name: float(np.exp(log)) for name, log in zip(SCALARS, logs, strict=True)}
    return replace(host, **values)  # type: ignore[arg-type]


def whitened(
    deployments: Sequence[Deployment], host: EngineOverhead
) -> tuple[Array, NDArray[np.int64]]:
    """Replay the points; return their residuals, and which point each belongs to.

    What is fitted is as in `calibrate`: both latencies, and the throughput where there is no TPOT.
    A replay that serves nothing counts as off by a factor of 10.
    """
    errors = log_errors(deployments, host)
    values: list[float] = []
    owners: list[int] = []
    for position, deployment in enumerate(deployments):
        metrics = deployment.point.metrics
        names = [name for name in ("tpot_mean_s", "ttft_mean_s") if name in metrics]
        if "tpot_mean_s" not in metrics and "output_tps" in metrics:
            names.append("output_tps")
        for name in names:
            error = float(errors[name][position])
            values.append((error if np.isfinite(error) else UNSERVED) / TOLERANCE[name])
            owners.append(position)
    return np.array(values), np.array(owners, dtype=np.int64)


def linearise(
    deployments: Sequence[Deployment],
    host: EngineOverhead,
    logs: Array,
    weights: Array | None = None,
    on_replays: Replays | None = None,
) -> Linear:
    """Replay the points at `logs` and beside it: one replay per point and scalar, and one more.

    Args:
        deployments: the points.
        host: gives the names; its scalars do not matter.
        logs: logarithms of SCALARS.
        weights: of the loss of each point; None: 1.
        on_replays: told how many replays were done.
    """
    residuals, owners = whitened(deployments, with_logs(host, logs))
    _tell(on_replays, len(deployments))

    def moved(beside: Array) -> Array:
        rows, _ = whitened(deployments, with_logs(host, beside))
        _tell(on_replays, len(deployments))
        return rows

    slopes = derivatives(moved, logs, limits()[1], residuals)
    of_points = np.ones(len(deployments)) if weights is None else weights
    return Linear(logs, residuals, slopes, owners, of_points[owners])


def _tell(on_replays: Replays | None, count: int) -> None:
    if on_replays is not None:
        on_replays(count)


def solve(linear: Linear, centre: Centre, rows: Mask | None = None) -> Array:
    """Return the logarithms that minimise loss and prior over some rows, within bounds and reach.

    Args:
        linear: the problem.
        centre: the prior.
        rows: those that count; None: all.
    """
    keep = np.ones(len(linear.residuals), dtype=np.bool_) if rows is None else rows
    residuals, jacobian, worth = linear.residuals[keep], linear.jacobian[keep], linear.weights[keep]
    lower, upper = limits()
    lower = np.maximum(lower - linear.logs, -_TRUST)
    upper = np.minimum(upper - linear.logs, _TRUST)
    offset = (linear.logs - centre.logs) / centre.spread
    change = np.zeros(len(SCALARS))
    for _ in range(_ROUNDS):
        weights = worth / np.sqrt(1.0 + ((residuals + jacobian @ change) / _SOFT) ** 2)
        normal = (jacobian.T * weights) @ jacobian + np.diag(centre.spread**-2.0)
        wanted = -(jacobian.T @ (weights * residuals) + offset / centre.spread)
        following = _boxed(normal, wanted, lower, upper)
        if np.max(np.abs(following - change)) < 1e-6:
            break
        change = following
    result: Array = linear.logs + change
    return result


def _boxed(normal: Array, wanted: Array, lower: Array, upper: Array) -> Array:
    """Return the solution of `normal · x = wanted` with coordinates held at bounds they exceed."""
    held = np.zeros(len(wanted), dtype=np.bool_)
    result = np.zeros(len(wanted))
    for _ in range(len(wanted)):
        free = ~held
        rest = wanted[free] - normal[np.ix_(free, held)] @ result[held]
        result[free] = np.linalg.solve(normal[np.ix_(free, free)], rest)
        outside = free & ((result < lower) | (result > upper))
        if not outside.any():
            break
        result[outside] = np.clip(result, lower, upper)[outside]
        held |= outside
    clipped: Array = np.clip(result, lower, upper)
    return clipped


def objective(linear: Linear, centre: Centre) -> float:
    """Return what `solve` minimises."""
    each = 2.0 * _SOFT**2 * (np.sqrt(1.0 + (linear.residuals / _SOFT) ** 2) - 1.0)
    away = (linear.logs - centre.logs) / centre.spread
    return float(np.sum(linear.weights * each) + np.sum(away**2))


def group_weights(groups: Iterable[Sequence[int]], points: int) -> Array:
    """Return the weight of each point's loss: that of a group sums up to INDEPENDENT at most."""
    weights = np.ones(points)
    for positions in groups:
        weights[list(positions)] = min(1.0, INDEPENDENT / len(positions))
    return weights


def descend(
    deployments: Sequence[Deployment],
    host: EngineOverhead,
    centre: Centre,
    *,
    weights: Array | None = None,
    start: Array | None = None,
    rounds: int = 4,
    on_replays: Replays | None = None,
) -> Linear:
    """Fit by Gauss-Newton; return the problem around the solution.

    Args:
        deployments: the points.
        host: gives the names; its scalars do not matter.
        centre: the prior.
        weights: of the loss of each point; None: 1.
        start: where to begin; None: at the centre.
        rounds: refreshes of the derivatives at most.
        on_replays: told how many replays were done.
    """
    begin = centre.logs if start is None else start
    linear = linearise(deployments, host, begin, weights, on_replays)
    for number in range(rounds):
        logs = solve(linear, centre)
        moved = linear
        for _ in range(3):  # a step that does not help is halved
            values, _ = whitened(deployments, with_logs(host, logs))
            _tell(on_replays, len(deployments))
            moved = linear.moved(logs, values)
            if objective(moved, centre) < objective(linear, centre):
                break
            logs = (logs + linear.logs) / 2
        else:
            return linear
        small = np.max(np.abs(moved.logs - linear.logs)) < _CLOSE
        linear = moved
        if small:
            break
        if number < rounds - 1:
            linear = linearise(deployments, host, logs, weights, on_replays)
    return linear
