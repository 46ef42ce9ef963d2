"""What one call of `planner fit` found, and its numbers as a person reads them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np

from planner.curves.curve import Curve, CurveKey
from planner.curves.forms.base import Array, Parameter
from planner.curves.timings import Timings

_SCALES: Final[Mapping[str, tuple[tuple[float, str], ...]]] = {
    "s": ((1.0, "s"), (1e-3, "ms"), (1e-6, "µs"), (1e-9, "ns"), (1e-12, "ps")),
    "B": ((1e9, "GB"), (1e6, "MB"), (1e3, "kB"), (1.0, "B")),
}


@dataclass(frozen=True)
class FittedCurve:
    """A curve and the timings it was fitted on."""

    curve: Curve
    timings: Timings


@dataclass(frozen=True)
class FlaggedRow:
    """A row of the input with something wrong or odd about it."""

    place: str
    """File and line."""
    verdict: str
    """`left out` or `kept`."""
    reason: str


@dataclass(frozen=True)
class InputFile:
    """What was read."""

    name: str
    reader: str
    rows: int
    sha256: str


@dataclass(frozen=True)
class FitRecord:
    """One call of `planner fit`."""

    fits: tuple[FittedCurve, ...]
    flagged: tuple[FlaggedRow, ...]
    failed: tuple[tuple[str, str], ...]
    """What could not be fitted, and why."""
    inputs: tuple[InputFile, ...]


def parameter_text(value: float, error: float, unit: str) -> str:
    """Return a parameter with its standard error, in the unit that suits it.

    >>> parameter_text(4.211e-6, 0.12e-6, "s"), parameter_text(0.7312, math.nan, "")
    ('4.21 ± 0.12 µs', '0.731 ± ?')
    """
    scale, shown_unit = _scale(value, unit)
    spread = _short_number(error / scale, 2) if math.isfinite(error) else "?"
    text = f"{_short_number(value / scale, 3)} ± {spread} {shown_unit}"
    return text.strip()


def bounds_text(parameter: Parameter) -> str:
    """Return the range that a fit may choose a parameter from."""
    ends = []
    for value in (parameter.lower, parameter.upper):
        scale, unit = _scale(value, parameter.unit) if value else (1.0, "")
        ends.append(f"{_short_number(value / scale, 4)} {unit}".strip())
    return f"within {ends[0]} and {ends[1]}"


def _short_number(value: float, digits: int) -> str:
    """Return a number with so many significant digits, and all of those before its point.

    >>> _short_number(4012.3, 3), _short_number(0.012345, 3), _short_number(1e-15, 2)
    ('4,012', '0.0123', '1e-15')
    """
    return f"{value:,.0f}" if 1000 <= abs(value) < 1e15 else f"{value:.{digits}g}"


def _scale(value: float, unit: str) -> tuple[float, str]:
    """Return the size and the name of the unit that suits a value."""
    for size, name in _SCALES.get(unit, ()):
        if abs(value) >= 0.9995 * size:
            return size, name
    return 1.0, unit


def key_text(key: CurveKey) -> str:
    """Return what a curve was measured on, in a line."""
    formats = key.dtype + (f", KV {key.kv_dtype}" if key.kv_dtype else "")
    parts = (f"{key.operator} {formats}", key.of_model, key.chip, key.engine)
    return " · ".join(filter(None, parts))


def range_text(curve: Curve) -> list[str]:
    """Return the measured range of each shape column that varies, and the value of the others."""
    return [
        f"{name} {size_text(low)}"
        if low == high
        else f"{name} {size_text(low)} to {size_text(high)}"
        for name, (low, high) in curve.valid.items()
    ]


def standard_errors(curve: Curve) -> Array:
    """Return the standard error of each parameter; NaN where the fit could not tell."""
    variances = np.diag(curve.covariance)
    errors: Array = np.sqrt(np.where(variances >= 0, variances, np.nan))
    return errors


def short_key(key: CurveKey) -> str:
    """Return operator and formats of a curve, and the model if it is of whole steps."""
    cache = f"/{key.kv_dtype}" if key.kv_dtype not in ("", key.dtype) else ""
    return " ".join(filter(None, (f"{key.operator} {key.dtype}{cache}", key.of_model)))


def size_text(value: float) -> str:
    """Return a value of a shape column.

    >>> size_text(4096.0), size_text(2.0**20)
    ('4,096', '1Mi')
    """
    if value >= 1e5 and (value / 1024).is_integer():
        for size, suffix in ((2**30, "Gi"), (2**20, "Mi"), (2**10, "Ki")):
            if value >= size:
                return f"{value / size:.4g}{suffix}"
    return f"{value:,.6g}"
