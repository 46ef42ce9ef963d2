"""The CSV file of operator timings: what `planner fit` reads and `planner microbench` writes.

The header names columns of the timing table, in any order: operator, chip, dtype and time_us are
needed, the shape columns that the operators need as well. A blank cell means that an operator has
no such column. Times are in µs, sizes in bytes.
"""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np

from planner.curves.timings import LABELS, SHAPE_COLUMNS, CurveError, Timings
from planner.errors import Fault, OutputError, did_you_mean, shown
from planner.files import whole_file

NEEDED: Final = ("operator", "chip", "dtype", "time_us")
LARGEST_FILE_BYTES: Final = 512 * 2**20
_FAULTS_SHOWN: Final = 20
_KNOWN: Final = (*LABELS, "time_us", *SHAPE_COLUMNS)


def read_timings_csv(path: Path) -> Timings:
    """Return the timings of a CSV file; what the numbers are worth is for `check_timings` to say.

    Raises:
        CurveError: the file cannot be read as a table of timings; the message names every line.

    """
    lines, rows = _rows(path)
    if not rows:
        raise CurveError(f"{path}: empty; a header and one row per timing are expected")
    header = [name.strip() for name in rows[0]]
    _check_header(path, lines[0], header)
    faults = [
        _fault(path, line, "", f"{len(row)} cells, but the header has {len(header)}")
        for line, row in zip(lines[1:], rows[1:], strict=True)
        if len(row) != len(header)
    ]
    _raise(faults)
    body = {name: [row[i].strip() for row in rows[1:]] for i, name in enumerate(header)}
    numbers = {
        name: _numbers(path, lines[1:], name, body[name], faults)
        for name in header
        if name == "time_us" or name in SHAPE_COLUMNS
    }
    _raise(faults)
    if len(rows) == 1:
        raise CurveError(f"{path}: a header but no timings")
    return Timings.of(
        seconds=numbers.pop("time_us") * 1e-6,
        shape=numbers,
        lines=np.array(lines[1:]),
        file=str(path),
        **{name: body[name] for name in LABELS if name in body},
    )


def write_timings_csv(path: Path, timings: Timings) -> None:
    """Write timings, shape columns that nobody uses left out, times with six digits.

    Raises:
        CurveError: the file cannot be written.

    """
    used = [
        name
        for name in SHAPE_COLUMNS
        if name in timings.shape and not np.isnan(timings.shape[name]).all()
    ]
    labels = [name for name in LABELS if name != "model" or np.any(timings.labels[name] != "")]
    try:
        with whole_file(path) as part, part.open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow([*labels, "time_us", *used])
            for row in range(len(timings)):
                cells = [str(timings.labels[name][row]) for name in labels]
                cells.append(f"{timings.seconds[row] * 1e6:.6g}")
                cells.extend(_cell(float(timings.shape[name][row])) for name in used)
                writer.writerow(cells)
    except OutputError as error:
        raise CurveError(f"{error}; name another file") from error


def _cell(value: float) -> str:
    if np.isnan(value):
        return ""
    return str(int(value)) if value == int(value) else repr(value)


def _rows(path: Path) -> tuple[list[int], list[list[str]]]:
    """Return the rows that hold anything, and the lines on which they end."""
    lines, rows = [], []
    try:
        if path.stat().st_size > LARGEST_FILE_BYTES:
            raise CurveError(
                f"{path}: larger than {LARGEST_FILE_BYTES // 2**20} MiB; split it by operator"
            )
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(file, strict=True)
            for row in reader:
                if any(cell.strip() for cell in row):
                    lines.append(reader.line_num)
                    rows.append(row)
    except OSError as error:
        raise CurveError(f"{path}: the timings cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise CurveError(f"{path}: not a CSV file: byte {error.start} is not UTF-8") from error
    except csv.Error as error:
        raise CurveError(f"{path}: not a CSV file: {error} (after {len(rows)} rows)") from error
    return lines, rows


def _check_header(path: Path, line: int, header: Sequence[str]) -> None:
    faults = []
    for i, name in enumerate(header):
        if name not in _KNOWN:
            advice = did_you_mean(name, _KNOWN, list_up_to=0)
            message = "unknown column" + (f"; {advice}" if advice else "")
            faults.append(_fault(path, line, shown(name), message))
        elif name in header[:i]:
            faults.append(_fault(path, line, name, "the column is there twice"))
    missing = [name for name in NEEDED if name not in header]
    if missing:
        message = f"the header lacks {', '.join(missing)}; it may name {', '.join(_KNOWN)}"
        faults.append(_fault(path, line, "", message))
    _raise(faults)


def _numbers(
    path: Path, lines: Sequence[int], name: str, cells: Sequence[str], faults: list[Fault]
) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """Return a column; blank is NaN. Note what is no number."""
    values = np.full(len(cells), np.nan)
    for i, cell in enumerate(cells):
        if not cell:
            continue
        try:
            values[i] = _number(cell)
        except ValueError:
            faults.append(_fault(path, lines[i], name, f"must be a number, was {shown(cell)}"))
    return values


def _number(cell: str) -> float:
    """Return a cell's number; ValueError for what float() takes but no program would write."""
    if not cell.isascii() or "_" in cell:
        raise ValueError(cell)
    return float(cell)


def _fault(path: Path, line: int, where: str, message: str) -> Fault:
    return Fault(str(path), line, 1, where, message)


def _raise(faults: Sequence[Fault]) -> None:
    if not faults:
        return
    ordered = sorted(faults)
    text = "\n".join(str(fault) for fault in ordered[:_FAULTS_SHOWN])
    more = len(ordered) - _FAULTS_SHOWN
    raise CurveError(text + (f"\n… and {more} more" if more > 0 else ""))
