"""The measured table on disk: the CSV that `planner fit` reads, its header and its log.

`NAME.csv` holds one row per timing, `NAME.json` what the timings were taken on, `NAME.log.csv` a
row per case, with its spread, or with the reason why there is no timing. Each is written whole, to
a temporary name, and renamed: an interrupted measurement goes on where it stopped.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from planner.curves.timings import OPERATORS as TIMED
from planner.curves.timings import SHAPE_COLUMNS
from planner.errors import OutputError
from planner.files import csv_text, write_whole
from planner.microbench.cases import OPERATORS, Case
from planner.microbench.timing import Sample

LABEL_COLUMNS: Final = (
    *("operator", "chip", "engine", "version", "dtype", "kv_dtype", "source", "time_us"),
)
_USED: Final = frozenset(
    name
    for operator in OPERATORS
    for name in (*TIMED[operator].required, *TIMED[operator].optional)
)
COLUMNS: Final = (*LABEL_COLUMNS, *(name for name in SHAPE_COLUMNS if name in _USED))
LOG_COLUMNS: Final = (
    *("operator", "dtype", "kv_dtype", "shape", "status", "median_us", "spread"),
    *("repeats", "calls", "detail"),
)
SCHEMA: Final = "planner-microbench/1"
ENGINE: Final = "generic"
_IDENTITY: Final = ("chip", "engine", "version", "device", "flush", "sixteen_bit")
"""Entries of the header in which a measurement that goes on must agree with the one on disk."""

Row = dict[str, str]


@dataclass
class Table:
    """Timings of one device. `open_table` makes it."""

    path: Path
    header: dict[str, Any]
    rows: dict[tuple[str, ...], Row]
    """By `Case.key`."""
    log: dict[tuple[str, ...], Row]

    def has(self, case: Case) -> bool:
        """Tell whether a case has been measured."""
        return case.key in self.rows

    def measured(self, case: Case, sample: Sample, source: str) -> None:
        """Add a timing."""
        time_us = f"{sample.median_s * 1e6:.6g}"
        labels = {
            "operator": case.operator,
            "chip": str(self.header["chip"]),
            "engine": str(self.header["engine"]),
            "version": str(self.header["version"]),
            "dtype": case.dtype,
            "kv_dtype": case.kv_dtype,
            "source": source,
            "time_us": time_us,
        }
        self.rows[case.key] = labels | {name: str(value) for name, value in case.shape}
        numbers = {
            "median_us": time_us,
            "spread": f"{sample.spread:.4f}",
            "repeats": str(sample.repeats),
            "calls": str(sample.calls),
        }
        self.log[case.key] = _log_row(case, "measured", source) | numbers

    def skipped(self, case: Case, status: str, reason: str) -> None:
        """Note why a case has no timing; it is tried again the next time."""
        self.log[case.key] = _log_row(case, status, reason)

    def save(self) -> None:
        """Write the three files.

        Raises:
            OutputError: the folder cannot be written to.
        """
        ordered = sorted(self.rows.values(), key=_order)
        noted = sorted(self.log.values(), key=lambda row: tuple(row.values()))
        write_whole(self.path, csv_text(ordered, COLUMNS))
        write_whole(log_path(self.path), csv_text(noted, LOG_COLUMNS))
        text = json.dumps(self.header, indent=1, sort_keys=True) + "\n"
        write_whole(header_path(self.path), text)


def open_table(path: Path, header: Mapping[str, Any], *, force: bool = False) -> Table:
    """Return the table at `path` to go on with, or a new one.

    Args:
        path: of the CSV.
        header: of this measurement.
        force: start anew even if there is one.

    Raises:
        OutputError: what is there was measured elsewhere or otherwise, or is no measurement.
    """
    if path.suffix != ".csv":
        raise OutputError(f"{path}: timings are written as CSV; choose a name that ends in .csv")
    if force or not path.exists():
        return Table(path, dict(header), {}, {})
    found = _read_header(path)
    for name in _IDENTITY:
        if found.get(name) != header.get(name):
            raise OutputError(
                f"{path}: holds timings with {name} {found.get(name)!r}, and now it is "
                f"{header.get(name)!r}; choose another --output, or --force to replace them"
            )
    rows = {_key(row): row for row in _read(path, COLUMNS)}
    log_file = log_path(path)
    log = _read(log_file, LOG_COLUMNS) if log_file.exists() else []
    notes = {_log_key(row): row for row in log}
    return Table(path, dict(header) | {"started": found.get("started")}, rows, notes)


def header_path(path: Path) -> Path:
    """Return where the header of a CSV stands."""
    return path.with_suffix(".json")


def log_path(path: Path) -> Path:
    """Return where the log of a CSV stands."""
    return path.with_suffix(".log.csv")


def _read_header(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(header_path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        found = None
    if not isinstance(found, dict) or found.get("schema") != SCHEMA:
        raise OutputError(
            f"{path}: is there, and {header_path(path).name} beside it does not say that planner "
            "microbench wrote it; choose another --output, or --force to replace it"
        )
    return found


def _read(path: Path, columns: Iterable[str]) -> list[Row]:
    try:
        with path.open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file, strict=True))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise OutputError(f"{path}: cannot be read: {error}; --force starts anew") from None
    wanted = set(columns)
    for number, row in enumerate(rows, start=2):
        if set(row) != wanted or any(value is None for value in row.values()):
            raise OutputError(
                f"{path}:{number}: has not the columns that this version writes; choose another "
                "--output, or --force to replace it"
            )
    return rows


def _key(row: Row) -> tuple[str, ...]:
    """Return the `Case.key` of a row; its shape columns stand in the order of the operator's."""
    operator = row["operator"]
    timed = TIMED.get(operator)
    names = (*timed.required, *timed.optional) if timed is not None else ()
    sizes = (f"{name}={row[name]}" for name in names if row.get(name, "") != "")
    return (operator, row["dtype"], row["kv_dtype"], *sizes)


def _log_key(row: Row) -> tuple[str, ...]:
    return (row["operator"], row["dtype"], row["kv_dtype"], *row["shape"].split())


def _log_row(case: Case, status: str, detail: str) -> Row:
    return {
        "operator": case.operator,
        "dtype": case.dtype,
        "kv_dtype": case.kv_dtype,
        "shape": " ".join(f"{name}={value}" for name, value in case.shape),
        "status": status,
        "detail": " ".join(detail.split()),
    }


def _order(row: Row) -> tuple[Any, ...]:
    sizes = (int(row.get(name) or 0) for name in COLUMNS[len(LABEL_COLUMNS) :])
    return (row["operator"], row["dtype"], row["kv_dtype"], *sizes)
