"""Curve files: JSON that a person can read, with every number's unit, error and origin.

A file holds the curves of one or more keys. Keys are sorted, numbers are rounded to six digits, and
a correction is kept as whole per mille, so that the same curves give the same bytes. `load_curves`
trusts nothing: a file that is too large, not JSON, or has anything missing, unknown, of the wrong
type or size is refused with all its faults at once.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

import numpy as np

from planner.curves.curve import Correction, Curve, CurveKey
from planner.curves.grid import Grid, Grids
from planner.curves.timings import CurveError
from planner.errors import Fault, OutputError
from planner.files import write_whole

SCHEMA: Final = "planner-curves/1"
LARGEST_FILE_BYTES: Final = 32 * 2**20


def save_curves(path: Path, curves: Sequence[Curve]) -> None:
    """Write `curves` to a temporary name beside `path`, then rename.

    Raises:
        CurveError: two curves have the same key, or the file cannot be written.
    """
    text = curves_text(curves)
    try:
        write_whole(path, text)
    except OutputError as error:
        raise CurveError(f"{error}; name another file") from error


def curves_text(curves: Sequence[Curve]) -> str:
    """Return the text of a curve file.

    Raises:
        CurveError: two curves have the same key.

    """
    ordered = sorted(curves, key=lambda curve: _key_order(curve.key))
    for one, other in pairwise(ordered):
        if one.key == other.key:
            raise CurveError(f"two curves for {describe(one.key)}; keep one of them")
    document = {"schema": SCHEMA, "curves": [_curve_out(curve) for curve in ordered]}
    return _written(document, 0) + "\n"


def describe(key: CurveKey) -> str:
    """Return a key in words, for messages and tables."""
    formats = f"{key.dtype}/{key.kv_dtype}" if key.kv_dtype else key.dtype
    parts = (f"{key.operator} of {key.chip}", key.engine, formats, key.of_model)
    return ", ".join(filter(None, parts))


def load_curves(path: Path) -> tuple[Curve, ...]:
    """Return the curves of a file, sorted by key.

    Raises:
        CurveError: the file cannot be read or has faults; the message names each of them.

    """
    from planner.curves.store_reader import CurveReader

    document = _parsed(path)
    reader = CurveReader(str(path))
    curves = reader.curves(document)
    if reader.faults:
        raise CurveError(
            "\n".join(str(Fault(str(path), 0, 0, where, what)) for where, what in reader.faults)
        )
    return tuple(sorted(curves, key=lambda curve: _key_order(curve.key)))


def _parsed(path: Path) -> Any:
    try:
        size = path.stat().st_size
        if size > LARGEST_FILE_BYTES:
            raise CurveError(
                f"{path}: {size / 2**20:.0f} MiB is too large for a curve file (at most "
                f"{LARGEST_FILE_BYTES // 2**20} MiB); is it a table of timings? Run `planner fit`"
            )
        return json.loads(path.read_bytes().decode("utf-8"), parse_constant=_no_constant)
    except OSError as error:
        raise CurveError(f"{path}: the curve file cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise CurveError(f"{path}: not a curve file: byte {error.start} is not UTF-8") from error
    except json.JSONDecodeError as error:
        raise CurveError(
            f"{path}:{error.lineno}:{error.colno}: not JSON: {error.msg}; make the file again with "
            "`planner fit`"
        ) from error
    except RecursionError:
        raise CurveError(f"{path}: nested too deeply for a curve file") from None
    except ValueError as error:
        raise CurveError(f"{path}: {error}") from error


def _no_constant(name: str) -> float:
    raise ValueError(f"{name} is no number in JSON; unknown errors are written as null")


def _key_order(key: CurveKey) -> tuple[str | int, ...]:
    formats = (key.dtype, key.kv_dtype)
    return (key.chip, key.operator, key.engine, *formats, key.model, key.tensor_parallel)


def _model_out(key: CurveKey) -> dict[str, str | int]:
    """Return the fields of whole steps, which single operators do not have."""
    fields: dict[str, str | int] = {"model": key.model, "tensor_parallel": key.tensor_parallel}
    return {name: value for name, value in fields.items() if value}


def _curve_out(curve: Curve) -> dict[str, Any]:
    key, peaks = curve.key, curve.peaks
    errors = np.sqrt(np.diag(curve.covariance))
    return {
        "chip": key.chip,
        "operator": key.operator,
        "engine": key.engine,
        "dtype": key.dtype,
        "kv_dtype": key.kv_dtype,
        **_model_out(key),
        "form": curve.form.name,
        "tier": curve.tier,
        "parameters": {
            parameter.name: {
                "value": _short(value),
                "unit": parameter.unit,
                "standard_error": _short(error),
                "meaning": parameter.meaning,
            }
            for parameter, value, error in zip(
                curve.form.parameters, curve.values, errors, strict=True
            )
        },
        "covariance": [
            [_short(each) for each in row[: i + 1]] for i, row in enumerate(curve.covariance)
        ],
        "peaks": {
            "flops": _short(peaks.flops),
            "bandwidth": _short(peaks.bandwidth),
            "link": _short(peaks.link),
        },
        "valid": {name: [_short(low), _short(high)] for name, (low, high) in curve.valid.items()},
        "points": curve.points,
        "mape_in": _short(curve.mape_in),
        "mape_out": _short(curve.mape_out),
        "source": curve.source,
        "version": curve.version,
        "date": curve.date,
        "licence": curve.licence,
        "warnings": list(curve.warnings),
        "grids": [_grid_out(grid) for grid in _grids(curve.correction)],
    }


def _grids(correction: Correction | None) -> tuple[Grid, ...]:
    if correction is None:
        return ()
    if isinstance(correction, Grids):
        return correction.parts
    if isinstance(correction, Grid):
        return (correction,)
    raise CurveError(f"a correction of type {type(correction).__name__} cannot be stored")


def _grid_out(grid: Grid) -> dict[str, Any]:
    return {
        "columns": list(grid.columns),
        "outside": grid.outside,
        "nodes": [[_short(node) for node in nodes] for nodes in grid.nodes],
        "per_mille": [int(each) for each in grid.per_mille.ravel()],
    }


def _short(value: float) -> float | int | None:
    """Return `value` with six significant digits; None where it is not finite."""
    number = float(value)
    if not math.isfinite(number):
        return None
    rounded = float(f"{number:.6g}")
    whole = int(rounded)
    return whole if whole == rounded and abs(whole) < 10**6 else rounded


def _written(value: Any, depth: int) -> str:
    """Return JSON with one key per line and a list of plain values on one line."""
    pad = " " * (depth + 1)
    if isinstance(value, Mapping):
        if not value:
            return "{}"
        if depth and all(not isinstance(each, Mapping | list) for each in value.values()):
            return json.dumps(value, ensure_ascii=False, sort_keys=True)
        lines = [
            f"{pad}{json.dumps(name)}: {_written(value[name], depth + 1)}" for name in sorted(value)
        ]
        return "{\n" + ",\n".join(lines) + f"\n{' ' * depth}}}"
    if isinstance(value, list) and any(isinstance(each, Mapping | list) for each in value):
        lines = [f"{pad}{_written(each, depth + 1)}" for each in value]
        return "[\n" + ",\n".join(lines) + f"\n{' ' * depth}]"
    if isinstance(value, list) and all(isinstance(each, int) for each in value):
        return json.dumps(value, separators=(",", ":"))
    return json.dumps(value, ensure_ascii=False)
