"""Columns of numbers out of CSV files that other projects made, with every fault and its line."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from planner.catalog import Catalog, Model
from planner.curves.forms.base import Array
from planner.curves.timings import CurveError, Timings
from planner.errors import Fault, did_you_mean, shown

LARGEST_FILE_BYTES: Final = 256 * 2**20
_FAULTS_SHOWN: Final = 20


@dataclass(frozen=True)
class Profile:
    """Timings that a reader found, and where they come from."""

    timings: Timings
    source: str
    licence: str
    date: str = ""
    """ISO 8601; empty where the files do not tell."""
    notes: tuple[str, ...] = field(default=())
    """What was left out, and why."""


@dataclass(frozen=True)
class Sheet:
    """The columns of one CSV file."""

    file: str
    lines: NDArray[np.int64]
    """Line of each row, from 1."""
    numbers: Mapping[str, Array]
    texts: Mapping[str, NDArray[np.str_]]

    def __len__(self) -> int:
        return len(self.lines)


def read_sheet(
    path: Path, numbers: Sequence[str], texts: Sequence[str] = (), *, blank_ok: Sequence[str] = ()
) -> Sheet:
    """Return columns of a CSV file.

    Args:
        path: of the file.
        numbers: columns that must hold finite numbers, zero or more.
        texts: columns to take as they are.
        blank_ok: of `numbers`, those that may be blank; blank cells are NaN.

    Raises:
        CurveError: the file cannot be read, or has faults; the message names their lines.

    """
    lines, rows = _rows(path)
    header = [name.strip() for name in rows[0]] if rows else []
    missing = [name for name in (*numbers, *texts) if name not in header]
    if missing:
        advice = did_you_mean(missing[0], header, list_up_to=20)
        raise CurveError(
            f"{path}:1: the header lacks {', '.join(missing)}" + (f"; {advice}" if advice else "")
        )
    faults: list[Fault] = []
    keep = []
    for line, row in zip(lines[1:], rows[1:], strict=True):
        if len(row) == len(header):
            keep.append((line, row))
        else:
            message = f"{len(row)} cells, but the header has {len(header)}"
            faults.append(Fault(str(path), line, 1, "", message))
    columns = {
        name: _column(path, name, header.index(name), keep, name in blank_ok, faults)
        for name in numbers
    }
    if faults:
        raise CurveError(_listed(faults))
    if not keep:
        raise CurveError(f"{path}: a header but no rows")
    return Sheet(
        str(path),
        np.array([line for line, _ in keep], dtype=np.int64),
        columns,
        {name: np.array([row[header.index(name)].strip() for _, row in keep]) for name in texts},
    )


def model_of(catalog: Catalog, name: str, place: str) -> Model:
    """Return the catalogue's model that goes by a published name, a version suffix aside.

    Raises:
        CurveError: no model of the catalogue has this name.

    """
    wanted = name.rsplit("/", 1)[-1].casefold()
    found = [known for known in catalog.models if wanted == known or wanted.startswith(f"{known}-")]
    if not found:
        advice = did_you_mean(wanted, catalog.models)
        raise CurveError(
            f"{place}: the model {shown(name)} is not in the catalogue, so its matrices are not "
            "known" + (f"; {advice}" if advice else "")
        )
    return catalog.models[max(found, key=len)]


def chip_of(chips: Mapping[str, str], name: str, place: str) -> str:
    """Return the catalogue's name of a chip.

    Raises:
        CurveError: a name that the reader does not know.

    """
    if name not in chips:
        advice = did_you_mean(name, chips)
        raise CurveError(f"{place}: unknown hardware {shown(name)}; {advice}".rstrip("; "))
    return chips[name]


def require_folder(path: Path, what: str) -> None:
    """Raise unless `path` is a folder.

    Raises:
        CurveError: it is not.
    """
    if not path.is_dir():
        raise CurveError(f"{path}: not a folder; name the one that holds {what}")


def _rows(path: Path) -> tuple[list[int], list[list[str]]]:
    lines: list[int] = []
    rows: list[list[str]] = []
    try:
        if path.stat().st_size > LARGEST_FILE_BYTES:
            raise CurveError(f"{path}: larger than {LARGEST_FILE_BYTES // 2**20} MiB")
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(file, strict=True)
            for row in reader:
                if any(cell.strip() for cell in row):
                    lines.append(reader.line_num)
                    rows.append(row)
    except OSError as error:
        raise CurveError(f"{path}: cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise CurveError(f"{path}: not a CSV file: byte {error.start} is not UTF-8") from error
    except csv.Error as error:
        raise CurveError(f"{path}:{len(lines) + 1}: not a CSV file: {error}") from error
    if not rows:
        raise CurveError(f"{path}: empty; a header and rows of numbers are expected")
    return lines, rows


def _column(
    path: Path,
    name: str,
    index: int,
    rows: Sequence[tuple[int, list[str]]],
    blank_ok: bool,
    faults: list[Fault],
) -> Array:
    values = np.empty(len(rows))
    for i, (line, row) in enumerate(rows):
        cell = row[index].strip()
        if not cell and blank_ok:
            values[i] = np.nan
            continue
        try:
            values[i] = float(cell)
        except ValueError:
            values[i] = np.nan
        if not (np.isfinite(values[i]) and values[i] >= 0.0):
            message = f"must be a number, zero or more; was {shown(cell)}"
            faults.append(Fault(str(path), line, 1, name, message))
    return values


def _listed(faults: Sequence[Fault]) -> str:
    lines = [str(fault) for fault in sorted(faults)[:_FAULTS_SHOWN]]
    if len(faults) > _FAULTS_SHOWN:
        lines.append(f"and {len(faults) - _FAULTS_SHOWN} more")
    return "\n".join(lines)
