"""Fits what an engine adds to its kernels, so that replays agree with measured latencies.

The few scalars of `EngineOverhead` are found by robust least squares on the logarithms of replayed
over measured TTFT and TPOT. Each replay simulates the benchmark as it was run, so queueing,
batching and memory limits are the simulation's, and only what is left over is the engine's. A weak
prior around the starting values keeps scalars at rest that the measurements say nothing about: a
benchmark on one device knows nothing of links.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from planner.curves.engines import SCALARS, EngineOverhead
from planner.errors import PlannerError
from planner.validation.deployment import Deployment
from planner.validation.replay import replay

Array = NDArray[np.float64]

TOLERANCE: Final = {"tpot_mean_s": 0.05, "ttft_mean_s": 0.15, "output_tps": 0.05}
"""Relative error of a measurement and of the model's form that is taken for granted: repeats of one
benchmark differ by 2 to 9%, and the mean TTFT depends on chance more than anything else."""
PRIOR: Final = {
    "step_s": 1.0,
    "sequence_s": 1.0,
    "request_s": 1.0,
    "late_steps": 1.0,
    "compute_rate": 0.3,
    "experts_rate": 0.3,
    "bandwidth_rate": 0.3,
    "link_rate": 0.5,
}
"""Standard deviation of the logarithm of each scalar before anything is measured."""
BOUNDS: Final = {
    "step_s": (1e-6, 0.5),
    "sequence_s": (1e-8, 0.01),
    "request_s": (1e-5, 2.0),
    "late_steps": (0.05, 200.0),
    "compute_rate": (0.01, 2.0),
    "experts_rate": (0.05, 3.0),
    "bandwidth_rate": (0.01, 1.6),
    "link_rate": (0.02, 3.0),
}
STEP: Final = 0.08
"""Difference in the logarithm for derivatives: wide, since a replay answers in small jumps."""
UNSERVED: Final = float(np.log(10.0))
"""What a replay that serves nothing is taken to be off by."""
_LEAST: Final = 1e-9
_MOST_EVALUATIONS: Final = 8


class CalibrationError(PlannerError):
    """Measurements that no overhead can be fitted to."""


@dataclass(frozen=True)
class Calibration:
    """A fitted overhead, and how well it agrees."""

    overhead: EngineOverhead
    covariance: Array
    """Of the logarithms of SCALARS, shape (8, 8)."""
    residuals: dict[str, Array]
    """log(replayed / measured) by metric, one entry per point (NaN: not measured)."""

    def median_error(self, metric: str) -> float:
        """Return the median absolute relative error of a metric on the points used."""
        errors = np.abs(np.expm1(self.residuals[metric]))
        return float(np.nanmedian(errors)) if np.isfinite(errors).any() else float("nan")


def calibrate(
    deployments: Sequence[Deployment],
    start: EngineOverhead,
    *,
    fixed: Sequence[str] = (),
    prior: float = 1.0,
    progress: Callable[[int], None] | None = None,
) -> Calibration:
    """Fit the overhead of one engine to measured points.

    Args:
        deployments: of the points, all of one engine.
        start: where the fit begins, and the centre of the prior.
        fixed: scalars that stay as they are.
        prior: scale of the prior's standard deviations; small: stay close to `start`.
        progress: called with the number of replays done.

    Raises:
        CalibrationError: no point measures TTFT, TPOT or throughput.

    """
    from scipy.optimize import least_squares

    free = [name for name in SCALARS if name not in fixed]
    measured = [_measured(deployment) for deployment in deployments]
    if not any(measured):
        raise CalibrationError(
            "none of the measurements has a mean TTFT, a mean TPOT or an output throughput; "
            "an overhead cannot be fitted without one of them"
        )
    centre = np.log([max(getattr(start, name), BOUNDS[name][0]) for name in free])
    lower = np.log([BOUNDS[name][0] for name in free])
    upper = np.log([BOUNDS[name][1] for name in free])
    centre = np.clip(centre, lower + 1e-9, upper - 1e-9)
    spread = np.array([prior * PRIOR[name] for name in free])
    done = 0

    def residuals(logs: Array) -> Array:
        nonlocal done
        host = _overhead(start, free, logs)
        rows: list[float] = []
        for deployment, known in zip(deployments, measured, strict=True):
            rows += _errors(deployment, host, known)
            done += 1
            if progress is not None:
                progress(done)
        return np.array(rows)

    known: dict[bytes, Array] = {}  # the derivatives begin where the solver has just been

    def loss_rows(logs: Array) -> Array:
        place = logs.tobytes()
        if place not in known:
            weak = (logs - centre) / spread
            known[place] = np.concatenate([_soft(residuals(logs)), weak])
        return known[place].copy()

    def jacobian(logs: Array) -> Array:
        return derivatives(loss_rows, logs, upper, loss_rows(logs))

    solution = least_squares(
        loss_rows,
        centre,
        bounds=(lower, upper),
        jac=jacobian,
        max_nfev=_MOST_EVALUATIONS,
        x_scale=spread,
        xtol=1e-3,
        ftol=1e-3,
    )
    covariance = _covariance(solution.jac, free)
    host = _overhead(start, free, solution.x)
    errors = {
        name: getattr(host, name) * float(np.sqrt(covariance[index, index]))
        for index, name in enumerate(SCALARS)
        if name in free
    }
    host = replace(host, errors=errors, points=len(deployments), tier="fitted")
    return Calibration(host, covariance, log_errors(deployments, host))


def derivatives(
    function: Callable[[Array], Array], logs: Array, upper: Array, still: Array
) -> Array:
    """Return the derivatives of replays by the logarithms of scalars, shape (rows, scalars).

    Args:
        function: of the logarithms.
        logs: where.
        upper: bounds of the logarithms; near them the difference goes downwards.
        still: the function at `logs`.
    """
    columns = []
    for index in range(len(logs)):
        step = STEP if logs[index] + STEP <= upper[index] else -STEP
        beside = logs.copy()
        beside[index] += step
        columns.append((function(beside) - still) / step)
    return np.stack(columns, axis=1)


def log_errors(deployments: Sequence[Deployment], host: EngineOverhead) -> dict[str, Array]:
    """Return log(replayed / measured) of every point by metric; NaN where not measured."""
    rows: dict[str, list[float]] = {name: [] for name in TOLERANCE}
    for deployment in deployments:
        replayed = replay(deployment, host).metrics
        for name, values in rows.items():
            measured = deployment.point.metrics.get(name)
            if measured is None or name not in replayed:
                values.append(float("nan"))
            else:
                values.append(_off(replayed[name], measured))
    return {name: np.array(values) for name, values in rows.items()}


def _measured(deployment: Deployment) -> dict[str, float]:
    """Return what is fitted: latencies; throughput only where they were not measured."""
    metrics = deployment.point.metrics
    times = {n: metrics[n] for n in ("tpot_mean_s", "ttft_mean_s") if n in metrics}
    if "tpot_mean_s" not in times and "output_tps" in metrics:
        times["output_tps"] = metrics["output_tps"]
    return times


def _errors(deployment: Deployment, host: EngineOverhead, known: dict[str, float]) -> list[float]:
    replayed = replay(deployment, host).metrics
    return [
        (_off(replayed[name], value) if name in replayed else UNSERVED) / TOLERANCE[name]
        for name, value in known.items()
    ]


def _off(replayed: float, measured: float) -> float:
    """Return log(replayed / measured); an answer that is sent all at once has a TPOT of zero."""
    return float(np.log(max(replayed, _LEAST) / measured))


def _soft(residuals: Array) -> Array:
    """Return residuals whose squares grow linearly beyond 2 (soft L1), their sign kept."""
    scaled = residuals / 2.0
    result: Array = 2.0 * np.sign(scaled) * np.sqrt(2.0 * (np.sqrt(1.0 + scaled**2) - 1.0))
    return result


def _overhead(start: EngineOverhead, free: Sequence[str], logs: Array) -> EngineOverhead:
    values: dict[str, Any] = {n: float(np.exp(log)) for n, log in zip(free, logs, strict=True)}
    return replace(start, **values)


def _covariance(jacobian: Array, free: Sequence[str]) -> Array:
    """Return the covariance of the logarithms of all scalars; 0 for fixed ones."""
    inner = np.linalg.inv(jacobian.T @ jacobian)
    full = np.zeros((len(SCALARS), len(SCALARS)))
    places = [SCALARS.index(name) for name in free]
    full[np.ix_(places, places)] = inner
    return full
