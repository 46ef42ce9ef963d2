"""From the JSON of a curve file to curves, collecting everything that is wrong with it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Final, TypeVar, cast, get_args

import numpy as np

from planner.curves.curve import Correction, Curve, CurveKey, Tier
from planner.curves.forms.base import Array, Form, Peaks
from planner.curves.forms.registry import form_named
from planner.curves.grid import Grid, Grids
from planner.curves.timings import MOST_DEVICES, CurveError
from planner.errors import did_you_mean, shown

_T = TypeVar("_T")
_TEXTS: Final = (
    "chip",
    "operator",
    "engine",
    "dtype",
    "kv_dtype",
    "form",
    "tier",
    "source",
    "version",
    "date",
    "licence",
)
_FIELDS: Final = (
    *_TEXTS,
    "model",
    "tensor_parallel",
    "parameters",
    "covariance",
    "peaks",
    "valid",
    "points",
    "mape_in",
    "mape_out",
    "warnings",
    "grids",
)
_LARGEST_RATIO: Final = 100_000
"""Per mille; a form that is wrong by more than a hundred is no form."""


class _WrongError(Exception):
    """A curve that cannot be made; its faults have been noted."""


class CurveReader:
    """Reads one document; `faults` holds (place, message)."""

    def __init__(self, file: str) -> None:
        self.file = file
        self.faults: list[tuple[str, str]] = []

    def curves(self, document: Any) -> list[Curve]:
        """Return the curves that could be made."""
        if not isinstance(document, dict) or document.get("schema") != "planner-curves/1":
            found = document.get("schema") if isinstance(document, dict) else document
            self._note(
                "schema",
                f"must be 'planner-curves/1', was {shown(found)}; "
                "make the file again with `planner fit`",
            )
            return []
        listed = document.get("curves")
        if not isinstance(listed, list):
            self._note("curves", f"must be a list of curves, was {shown(listed)}")
            return []
        self._unknown("", document, ("schema", "curves"))
        made: list[Curve] = []
        places: dict[CurveKey, str] = {}
        for i, each in enumerate(listed):
            try:
                curve = self._curve(each, f"curves[{i}]")
            except _WrongError:
                continue
            if curve.key in places:
                self._note(f"curves[{i}]", f"has the same key as {places[curve.key]}; keep one")
            places[curve.key] = f"curves[{i}]"
            made.append(curve)
        return made

    def _curve(self, data: Any, at: str) -> Curve:
        if not isinstance(data, dict):
            raise self._wrong(at, f"must be a mapping, was {shown(data)}")
        before = len(self.faults)
        self._unknown(at, data, _FIELDS)
        text = {name: self._typed(data, name, str, "a text", at) for name in _TEXTS}
        key = self._key(data, text, at)
        if text["tier"] not in get_args(Tier):
            self._note(f"{at}.tier", f"must be one of {', '.join(get_args(Tier))}")
        if len(self.faults) > before:
            raise _WrongError
        try:
            form = form_named(text["form"], key)
        except CurveError as error:
            raise self._wrong(f"{at}.form", str(error)) from error
        if key.operator not in form.operators:
            self._note(f"{at}.form", f"{form.name} does not describe {shown(key.operator)}")
        values = self._values(data.get("parameters"), form, f"{at}.parameters")
        peaks = self._mapping(data, "peaks", at)
        curve = Curve(
            key=key,
            form=form,
            values=values,
            covariance=self._covariance(data.get("covariance"), len(values), f"{at}.covariance"),
            peaks=Peaks(
                *(self._number(peaks, n, f"{at}.peaks") for n in ("flops", "bandwidth", "link"))
            ),
            valid=self._valid(self._mapping(data, "valid", at), form, f"{at}.valid"),
            correction=self._correction(data.get("grids"), form, f"{at}.grids"),
            points=int(self._number(data, "points", at)),
            mape_in=self._number(data, "mape_in", at),
            mape_out=self._number(data, "mape_out", at),
            source=text["source"],
            version=text["version"],
            date=text["date"],
            licence=text["licence"],
            tier=cast(Tier, text["tier"]),
            warnings=self._warnings(data.get("warnings"), f"{at}.warnings"),
        )
        if len(self.faults) > before:
            raise _WrongError
        return curve

    def _key(self, data: dict[str, Any], text: dict[str, str], at: str) -> CurveKey:
        """Return what a curve was measured on; only whole steps have a model and its split."""
        model, split = data.get("model", ""), data.get("tensor_parallel", 0)
        key = CurveKey(
            text["operator"], text["chip"], text["engine"], text["dtype"], text["kv_dtype"]
        )
        if not key.is_whole_step:
            for name in ("model", "tensor_parallel"):
                if name in data:
                    message = f"only whole steps have it, not {shown(key.operator)}"
                    self._note(f"{at}.{name}", message)
            return key
        if not isinstance(model, str) or not model:
            raise self._wrong(f"{at}.model", f"must name the model, was {shown(model)}")
        if type(split) is not int or not 1 <= split <= MOST_DEVICES:
            place = f"{at}.tensor_parallel"
            raise self._wrong(
                place, f"must be a whole number in 1 … {MOST_DEVICES}, was {shown(split)}"
            )
        return replace(key, model=model, tensor_parallel=split)

    def _values(self, data: Any, form: Form, at: str) -> Array:
        names = [parameter.name for parameter in form.parameters]
        if not isinstance(data, dict):
            raise self._wrong(at, f"must map {', '.join(names)}, was {shown(data)}")
        self._unknown(at, data, names)
        values = np.empty(len(names))
        for i, parameter in enumerate(form.parameters):
            entry = data.get(parameter.name)
            if not isinstance(entry, dict):
                raise self._wrong(
                    f"{at}.{parameter.name}", f"is absent or no mapping; {parameter.meaning}"
                )
            place = f"{at}.{parameter.name}"
            if entry.get("unit") != parameter.unit:
                self._note(
                    f"{place}.unit",
                    f"must be {shown(parameter.unit)}, was {shown(entry.get('unit'))}",
                )
            values[i] = self._number(entry, "value", place)
            slack = 1e-5 * (parameter.upper - parameter.lower) + 1e-5 * abs(parameter.lower)
            if not parameter.lower - slack <= values[i] <= parameter.upper + slack:
                self._note(
                    f"{place}.value",
                    f"must lie in [{parameter.lower:g}, {parameter.upper:g}], was {values[i]:g}",
                )
        return values

    def _covariance(self, data: Any, count: int, at: str) -> Array:
        matrix = np.full((count, count), np.nan)
        if not isinstance(data, list) or [
            len(row) if isinstance(row, list) else 0 for row in data
        ] != list(range(1, count + 1)):
            raise self._wrong(at, f"must be the lower triangle of a {count} × {count} matrix")
        for i, row in enumerate(data):
            for j, each in enumerate(row):
                if each is not None and (
                    isinstance(each, bool) or not isinstance(each, int | float)
                ):
                    raise self._wrong(f"{at}[{i}][{j}]", f"must be a number, was {shown(each)}")
                matrix[i, j] = matrix[j, i] = np.nan if each is None else float(each)
        return matrix

    def _valid(self, data: dict[str, Any], form: Form, at: str) -> dict[str, tuple[float, float]]:
        self._unknown(at, data, form.shape)
        ranges = {}
        for name in form.shape:
            low, high = self._numbers(data.get(name), f"{at}.{name}", 2)
            if low > high:
                self._note(f"{at}.{name}", f"must ascend, was {low:g} to {high:g}")
            ranges[name] = (low, high)
        return ranges

    def _correction(self, data: Any, form: Form, at: str) -> Correction | None:
        if not isinstance(data, list):
            raise self._wrong(at, f"must be a list, was {shown(data)}")
        grids = [self._grid(each, form, f"{at}[{i}]") for i, each in enumerate(data)]
        if not grids:
            return None
        return grids[0] if len(grids) == 1 else Grids(tuple(grids))

    def _grid(self, data: Any, form: Form, at: str) -> Grid:
        if not isinstance(data, dict):
            raise self._wrong(at, f"must be a mapping, was {shown(data)}")
        self._unknown(at, data, ("columns", "nodes", "outside", "per_mille"))
        columns, nodes = data.get("columns"), data.get("nodes")
        if not (
            isinstance(columns, list)
            and isinstance(nodes, list)
            and 1 <= len(columns) == len(nodes) <= 4
        ):
            raise self._wrong(at, "must have 1 to 4 columns and as many lists of nodes")
        for name in columns:
            factors = str(name).replace("/", "*").split("*")
            if not isinstance(name, str) or any(each.strip() not in form.shape for each in factors):
                raise self._wrong(
                    f"{at}.columns", f"{shown(name)} is not made of {', '.join(form.shape)}"
                )
        if data.get("outside") not in {"hold", "one"}:
            self._note(f"{at}.outside", f"must be hold or one, was {shown(data.get('outside'))}")
        axes = []
        for i, each in enumerate(nodes):
            axis = np.array(self._numbers(each, f"{at}.nodes[{i}]", None))
            if not len(axis) or np.any(np.diff(axis) <= 0) or axis[0] < 0:
                raise self._wrong(f"{at}.nodes[{i}]", "must ascend from 0 or more")
            axes.append(axis)
        ratios = data.get("per_mille")
        size = int(np.prod([len(axis) for axis in axes], dtype=np.float64))
        if not isinstance(ratios, list) or len(ratios) != size:
            found = len(ratios) if isinstance(ratios, list) else shown(ratios)
            raise self._wrong(f"{at}.per_mille", f"must hold {size} numbers, was {found}")
        if any(type(each) is not int or not 0 < each <= _LARGEST_RATIO for each in ratios):
            raise self._wrong(f"{at}.per_mille", f"must be whole numbers in 1 … {_LARGEST_RATIO}")
        table = np.array(ratios, dtype=np.int64).reshape([len(axis) for axis in axes])
        return Grid(tuple(columns), tuple(axes), table, str(data.get("outside")))

    def _warnings(self, data: Any, at: str) -> tuple[str, ...]:
        if not isinstance(data, list) or any(not isinstance(each, str) for each in data):
            raise self._wrong(at, f"must be a list of texts, was {shown(data)}")
        return tuple(data)

    def _numbers(self, data: Any, at: str, count: int | None) -> list[float]:
        wanted = "numbers" if count is None else f"{count} numbers"
        if not isinstance(data, list) or (count is not None and len(data) != count):
            raise self._wrong(at, f"must be a list of {wanted}, was {shown(data)}")
        return [self._number({"": each}, "", at) for each in data]

    def _number(self, data: dict[str, Any], name: str, at: str) -> float:
        """Return a number; null is NaN, which only peaks and errors may be."""
        value = data.get(name)
        place = f"{at}.{name}" if name else at
        optional = name in {"flops", "bandwidth", "link", "mape_in", "mape_out"}
        if value is None and optional and name in data:
            return float("nan")
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise self._wrong(place, f"must be a number, was {shown(value)}")
        try:
            number = float(value)
        except OverflowError:
            number = float("inf")
        if not math.isfinite(number):
            raise self._wrong(place, f"must be a finite number, was {shown(value)}")
        if name in {"points", "mape_in", "mape_out"} and number < 0:
            self._note(place, f"must not be negative, was {number:g}")
        return number

    def _mapping(self, data: dict[str, Any], name: str, at: str) -> dict[str, Any]:
        return self._typed(data, name, dict, "a mapping", at)

    def _typed(self, data: dict[str, Any], name: str, wanted: type[_T], words: str, at: str) -> _T:
        value = data.get(name)
        if not isinstance(value, wanted):
            raise self._wrong(f"{at}.{name}", f"must be {words}, was {shown(value)}")
        return value

    def _unknown(self, at: str, data: dict[str, Any], known: Sequence[str]) -> None:
        for name in data:
            if name not in known:
                advice = did_you_mean(str(name), known)
                place = f"{at}.{name}" if at else str(name)
                self._note(place, "unknown field" + (f"; {advice}" if advice else ""))

    def _note(self, at: str, message: str) -> None:
        self.faults.append((at, message))

    def _wrong(self, at: str, message: str) -> _WrongError:
        self._note(at, message)
        return _WrongError()
