"""One overhead for an engine from those of several systems: what to expect of one never measured.

Each scalar is the weighted median of the fitted ones, in the logarithm. A median, since single
systems are off for reasons of their own (a slow kernel for one model, a setting nobody recorded),
and should not drag the others along; weights are what each fit knows of the scalar.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np

from planner.calibration.fit import Array, Calibration
from planner.curves.engines import SCALARS, EngineOverhead

_SPREAD: Final = 0.1
"""Standard deviation of a scalar between systems (in the logarithm) that no fit is better than."""


def pooled(
    calibrations: Sequence[Calibration], engine: str, *, source: str = "", date: str = ""
) -> EngineOverhead:
    """Return the overhead of `engine` that follows from the calibrations of several systems.

    Args:
        calibrations: at least one.
        engine: of all of them.
        source: where the measurements come from.
        date: of the measurements.
    """
    values: dict[str, Any] = {}
    errors: dict[str, float] = {}
    for index, name in enumerate(SCALARS):
        logs = np.log([max(getattr(each.overhead, name), 1e-12) for each in calibrations])
        variances = np.array([each.covariance[index, index] for each in calibrations])
        weights = 1.0 / (variances + _SPREAD**2)
        values[name] = float(np.exp(weighted_median(logs, weights)))
        # the spread between systems, as a normal distribution with this median would have it
        between = 1.4826 * weighted_median(np.abs(logs - np.log(values[name])), weights)
        errors[name] = values[name] * max(float(between), _SPREAD / len(calibrations) ** 0.5)
    versions = sorted({each.overhead.version for each in calibrations if each.overhead.version})
    return EngineOverhead(
        engine,
        version=_range(versions),
        date=date,
        errors=errors,
        points=sum(each.overhead.points for each in calibrations),
        source=source,
        tier="fitted",
        **values,
    )


def weighted_median(values: Array, weights: Array) -> float:
    """Return the value with half of the weight on either side, interpolated.

    >>> weighted_median(np.array([3.0, 1.0, 2.0]), np.ones(3))
    2.0
    """
    order = np.argsort(values, kind="stable")
    middles = np.cumsum(weights[order]) - weights[order] / 2.0
    return float(np.interp(weights.sum() / 2.0, middles, values[order]))


def by_key(overheads: Sequence[EngineOverhead]) -> Mapping[tuple[str, str], EngineOverhead]:
    """Return overheads by engine and chip, as `EngineTable` takes them."""
    return {(overhead.engine, overhead.chip): overhead for overhead in overheads}


def _range(versions: Sequence[str]) -> str:
    if len(versions) < 2:
        return "".join(versions)
    return f"{versions[0]} to {versions[-1]}"
