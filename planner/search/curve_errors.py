"""Step times at a quantile of their error: fitted curves and overheads, slower or faster.

The logarithm of a curve's seconds has two errors. That of its parameters follows from their
covariance Σ by the delta method, s² = gᵀ Σ g with g the gradient of log seconds at a shape. That on
shapes which were left out of the fit is recorded as a mean absolute error; of a normal the standard
deviation is √(π/2) times as large. Their squares add up, and a curve at quantile z takes
seconds · exp(z · s). All curves of an input are at the same z: kernels of one chip and library that
were timed by one method share what is wrong with it, and independent errors would cancel.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields, replace
from typing import Final

import numpy as np

from planner.catalog import Chip
from planner.curves.curve import Curve
from planner.curves.engines import RATE_BOUNDS, SCALARS, EngineOverhead
from planner.curves.forms.base import Array, Shape
from planner.curves.layout import TYPICAL_CONTEXT_TOKENS
from planner.curves.library import CurveSet
from planner.curves.steptime import StepTime, with_overhead
from planner.lowering.pools import Basis

_STEP: Final = 0.01
"""Of a standard error: how far a parameter is moved to find a gradient."""
_MEAN_ABSOLUTE: Final = math.sqrt(math.pi / 2.0)
"""Standard deviation over mean absolute deviation of a normal."""
_TYPICAL_SEQUENCES: Final = 64
"""Decoding sequences of a typical step."""


def log_deviation(curve: Curve, shape: Shape) -> Array:
    """Return the standard deviation of the logarithm of a curve's seconds at each shape.

    Parameters whose covariance the fit could not tell count with none; those at a bound, say.
    """
    known = np.isfinite(np.diag(curve.covariance)) & (np.diag(curve.covariance) > 0.0)
    covariance = np.nan_to_num(curve.covariance[np.ix_(known, known)])
    base = np.log(curve.form.seconds(curve.values, shape, curve.peaks))
    gradient = []
    for index in np.flatnonzero(known):
        step = _STEP * math.sqrt(curve.covariance[index, index])
        moved = curve.values.copy()
        moved[index] += step
        gradient.append((np.log(curve.form.seconds(moved, shape, curve.peaks)) - base) / step)
    variance = np.zeros_like(base)
    if gradient:
        slopes = np.stack(gradient)
        variance = np.einsum("i...,ij,j...->...", slopes, covariance, slopes)
    left_out = _MEAN_ABSOLUTE * curve.mape_out if math.isfinite(curve.mape_out) else 0.0
    deviation: Array = np.sqrt(np.maximum(variance, 0.0) + left_out**2)
    return deviation


@dataclass(frozen=True)
class DrawnCurve(Curve):
    """A curve at a quantile of its error."""

    z: float = 0.0
    """Standard deviations by which it is slower."""

    def seconds(self, shape: Shape) -> Array:
        """Return the seconds of one operation of each shape."""
        seconds: Array = super().seconds(shape) * np.exp(self.z * log_deviation(self, shape))
        return seconds


class DrawnCurves(CurveSet):
    """The curves of one chip, some operators at a quantile of their error."""

    def __init__(self, base: CurveSet, z: dict[str, float]) -> None:
        """Take the curves of `base`; z by operator."""
        self.__dict__.update(base.__dict__)
        self._z = z

    def find(
        self, operator: str, dtype: str, *, kv_dtype: str = "", engine: str = "generic"
    ) -> Curve | None:
        """Return what the base finds, drawn."""
        return self._drawn(super().find(operator, dtype, kv_dtype=kv_dtype, engine=engine))

    def find_own(
        self, operator: str, dtype: str, *, kv_dtype: str = "", engine: str = "generic"
    ) -> Curve | None:
        """Return what the base finds in the user's files, drawn."""
        return self._drawn(super().find_own(operator, dtype, kv_dtype=kv_dtype, engine=engine))

    def _drawn(self, curve: Curve | None) -> Curve | None:
        z = 0.0 if curve is None else self._z.get(curve.key.operator, 0.0)
        if curve is None or z == 0.0:
            return curve
        return DrawnCurve(**{each.name: getattr(curve, each.name) for each in fields(Curve)}, z=z)


@dataclass(frozen=True)
class DrawnBasis(Basis):
    """What step times stand on, at quantiles of its errors."""

    z_of_operators: tuple[tuple[str, float], ...] = ()

    @classmethod
    def of(cls, base: Basis, z_of_operators: dict[str, float]) -> DrawnBasis:
        """Return a basis with curves drawn."""
        known = {each.name: getattr(base, each.name) for each in fields(Basis)}
        return cls(**known, z_of_operators=tuple(sorted(z_of_operators.items())))

    def curves(self, chip: Chip) -> tuple[CurveSet, ...]:
        """Return the curves of a chip, drawn."""
        return tuple(DrawnCurves(each, dict(self.z_of_operators)) for each in super().curves(chip))


def drawn_overhead(curve: StepTime, z: float) -> EngineOverhead:
    """Return an engine's overhead with which a typical decode step is z standard deviations slower.

    Only standard errors of the fitted numbers are recorded, so they are taken as independent. With
    aᵢ what one standard error of number i adds to the logarithm of the step, each is moved by
    z · aᵢ / ‖a‖ of its own: together as likely as z of a single normal (the design point of
    first-order reliability, Hasofer and Lind 1974).

    Args:
        curve: step times with the overhead as fitted.
        z: standard deviations.
    """
    host = curve.host
    base = math.log(_typical_step_s(curve, host))
    effects = {
        name: math.log(_typical_step_s(curve, _moved(host, {name: _STEP}))) - base
        for name in SCALARS
        if math.isfinite(host.errors.get(name, math.nan))
    }
    length = math.hypot(*effects.values())
    if length == 0.0:
        return host
    return _moved(host, {name: z * effect / length for name, effect in effects.items()})


def _moved(host: EngineOverhead, by: dict[str, float]) -> EngineOverhead:
    """Return an overhead with numbers moved by so many of their standard errors."""
    moved = {}
    for name, errors in by.items():
        value = getattr(host, name) + errors * host.errors[name]
        low, high = RATE_BOUNDS if name.endswith("_rate") else (0.0, math.inf)
        moved[name] = min(max(value, low), high)
    return replace(host, **moved)


def _typical_step_s(curve: StepTime, host: EngineOverhead) -> float:
    device = curve.device
    sequences = min(_TYPICAL_SEQUENCES, device.token_budget)
    step = with_overhead(device, host)
    return step.step_s(sequences, sequences, sequences * TYPICAL_CONTEXT_TOKENS)
