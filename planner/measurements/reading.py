"""What every reader of measurements shares: faults by line, skipped rows by reason, CSV and JSON.

A fault is text that makes no sense: all of a file are collected and raised together. A skip is a
sound row that cannot become a `Point` (a model that the catalogue does not have): it is counted
under its reason and comes back with the points.
"""

from __future__ import annotations

import csv
import io
import json
import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from planner.errors import Fault, did_you_mean, shown
from planner.measurements.point import MeasurementError, Point

_FAULTS_SHOWN: Final = 20


class MeasurementFileError(MeasurementError):
    """A file of measurements has faults; `faults` holds all of them in file order."""

    def __init__(self, faults: Sequence[Fault]) -> None:
        self.faults = tuple(sorted(set(faults)))
        lines = [str(fault) for fault in self.faults[:_FAULTS_SHOWN]]
        if len(self.faults) > _FAULTS_SHOWN:
            lines.append(f"… and {len(self.faults) - _FAULTS_SHOWN:,} more like these")
        super().__init__("\n".join(lines))


@dataclass(frozen=True)
class Measurements:
    """What a file of measurements gave."""

    points: tuple[Point, ...]
    skipped: Mapping[str, int] = field(default_factory=dict)
    """Rows that are not points, by reason."""
    notes: tuple[str, ...] = ()

    def __add__(self, other: Measurements) -> Measurements:
        return Measurements(
            self.points + other.points,
            dict(Counter(self.skipped) + Counter(other.skipped)),
            self.notes + other.notes,
        )


@dataclass
class Reading:
    """One file being read: collects points, faults and skips."""

    path: Path
    points: list[Point] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)
    skips: Counter[str] = field(default_factory=Counter)
    notes: list[str] = field(default_factory=list)
    _lines_of_ids: dict[str, int] = field(default_factory=dict)

    def fault(self, line: int, where: str, message: str) -> None:
        """Note that a value makes no sense."""
        self.faults.append(Fault(str(self.path), line, 1 if line else 0, where, message))

    def skip(self, reason: str, rows: int = 1) -> None:
        """Count sound rows that cannot be used."""
        self.skips[reason] += rows

    def add(self, line: int, **values: Any) -> None:
        """Make a point of `values`, or a fault of what is wrong with them."""
        try:
            point = Point(**values)
        except MeasurementError as error:
            self.fault(line, "", str(error))
            return
        if point.id in self._lines_of_ids:
            first = self._lines_of_ids[point.id]
            self.fault(line, "id", f"{shown(point.id)} stands in line {first} already; drop one")
            return
        self._lines_of_ids[point.id] = line
        self.points.append(point)

    def check(self) -> None:
        """Raise the faults there are, as a MeasurementFileError."""
        if self.faults:
            raise MeasurementFileError(self.faults)

    def done(self) -> Measurements:
        """Return what was read.

        Raises:
            MeasurementFileError: there are faults, or there was nothing to read.
        """
        if not self.points and not self.faults and not self.skips:
            self.fault(0, "", "has no results; is this the right file?")
        self.check()
        return Measurements(tuple(self.points), dict(self.skips), tuple(self.notes))


def read_text(path: Path) -> str:
    """Return the text of a file.

    Raises:
        MeasurementError: it is not there, is not UTF-8, or holds no text.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise MeasurementError(f"{path}: cannot be read: {error.strerror or error}") from error
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise MeasurementError(
            f"{path}:{line}: not UTF-8 text (byte {error.start}); "
            "if it is compressed, unpack it first; else save it as UTF-8"
        ) from error
    if "\0" in text:
        line = text.count("\n", 0, text.index("\0")) + 1
        raise MeasurementError(f"{path}:{line}: holds a NUL character; save it as plain UTF-8 text")
    if not text.strip():
        raise MeasurementError(f"{path}: is empty; a benchmark that failed may have left it so")
    return text


@dataclass(frozen=True)
class Row:
    """A line of a CSV file, with accessors that turn a bad value into a fault with its place."""

    reading: Reading
    line: int
    values: Mapping[str, str]

    def text(self, name: str) -> str:
        """Return the text of a column, empty if the file has none of that name."""
        return self.values.get(name, "").strip()

    def fault(self, name: str, message: str) -> None:
        """Note a fault in a column of this line."""
        self.reading.fault(self.line, name, message)

    def number(self, name: str) -> float | None:
        """Return a finite number; None if the field is empty, or is a fault, which is noted."""
        text = self.text(name)
        if not text:
            return None
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not math.isfinite(value) or "_" in text:
            self.fault(name, f"{shown(text)} is not a finite number; write digits, without units")
            return None
        return value

    def count(self, name: str) -> int | None:
        """Return a whole number of at least 0, also where it is written 8.0; else as `number`."""
        value = self.number(name)
        if value is None:
            return None
        if value < 0 or value != int(value) or value > 2**53:
            self.fault(name, f"{shown(self.text(name))} is not a count; write a whole number")
            return None
        return int(value)


def csv_rows(reading: Reading, required: Sequence[str]) -> Iterator[Row]:
    """Yield the lines of a CSV file with a header; malformed ones become faults.

    Raises:
        MeasurementError: there is no header with the `required` columns.
    """
    lines = csv.reader(io.StringIO(read_text(reading.path)), strict=True)
    header = [name.strip() for name in _next_row(reading, lines) or ()]
    _check_header(reading.path, lines.line_num, header, required)
    while True:
        try:
            fields = next(lines)
        except StopIteration:
            return
        except csv.Error as error:
            reading.fault(lines.line_num, "", f"not CSV: {error}; check the quotes")
            return
        if not any(field.strip() for field in fields):
            continue
        if len(fields) != len(header):
            reading.fault(
                lines.line_num,
                "",
                f"has {len(fields)} fields where the header has {len(header)}; quote fields that "
                "hold commas",
            )
            continue
        yield Row(reading, lines.line_num, dict(zip(header, fields, strict=True)))


def _next_row(reading: Reading, lines: Iterator[list[str]]) -> list[str] | None:
    try:
        return next(lines, None)
    except csv.Error as error:
        raise MeasurementError(f"{reading.path}:1: not CSV: {error}") from error


def _check_header(path: Path, line: int, header: list[str], required: Sequence[str]) -> None:
    if doubled := sorted({name for name in header if name and header.count(name) > 1}):
        raise MeasurementError(f"{path}:{line}: column {doubled[0]!r} stands twice in the header")
    if missing := [name for name in required if name not in header]:
        advice = did_you_mean(missing[0], header, list_up_to=0)
        raise MeasurementError(
            f"{path}:{line}: column {', '.join(map(repr, missing))} not found; the header has "
            f"{', '.join(header)[:200]}; {advice or 'is the format right?'}"
        )


def parse_json(path: Path, text: str) -> Any:
    """Return the value of the JSON text of a file.

    Raises:
        MeasurementError: it is not JSON, or is nested beyond reason.
    """
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise MeasurementError(
            f"{path}:{error.lineno}:{error.colno}: not JSON: {error.msg}; "
            "was the benchmark stopped while it wrote?"
        ) from error
    except (RecursionError, ValueError) as error:
        raise MeasurementError(f"{path}:1: not JSON that can be read: {error}") from error
