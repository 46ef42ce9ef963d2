"""Which format a trace has, by its first bytes and its columns, not by its name."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from planner.errors import TraceError, did_you_mean
from planner.trace.readers import azure, burstgpt, mooncake, planner_format
from planner.trace.readers.delimited import parse_header
from planner.trace.readers.lines import line_chunks, open_binary
from planner.trace.readers.servegen import trace_files

_PARQUET_MAGIC: Final = b"PAR1"
_SNIFFED_BYTES: Final = 1 << 16
_AZURE_ZONE: Final = "+00:00"


def is_parquet(path: Path) -> bool:
    """Tell whether the file starts like Parquet.

    Raises:
        TraceError: it does not, but is named .parquet.
    """
    with open_binary(path) as file:
        found = file.read(len(_PARQUET_MAGIC)) == _PARQUET_MAGIC
    if path.suffix == ".parquet" and not found:
        raise TraceError(f"{path}: is not a Parquet file; write it again, or mend its name")
    return found


def first_lines(path: Path) -> list[str]:
    """Return the first lines that are not empty, at least one."""
    return [text for _, text in next(line_chunks(path, _SNIFFED_BYTES)).lines()]


def is_json(line: str) -> bool:
    """Tell whether a line starts a JSON object."""
    return line.lstrip().startswith("{")


def detect_format(path: Path) -> str:
    """Return the format of a file or folder.

    Raises:
        TraceError: it is missing, empty, or like none of the formats; says what was found.
    """
    if path.is_dir():
        if trace_files(path) or any(path.glob("*/chunk-*-trace.csv")):
            return "servegen"
        raise TraceError(f"{path}: is a folder without ServeGen files (chunk-N-trace.csv)")
    if is_parquet(path):
        return "planner"
    lines = first_lines(path)
    if is_json(lines[0]):
        keys = [key for key in mooncake.TITLES.values() if f'"{key}"' in lines[0]]
        return "mooncake" if len(keys) == len(mooncake.TITLES) else "planner"
    header = parse_header(lines[0])
    if set(azure.TITLES.values()) <= set(header):
        return "azure-2024" if len(lines) > 1 and _AZURE_ZONE in lines[1] else "azure-2023"
    if set(burstgpt.REQUIRED) <= set(header):
        return "burstgpt"
    if set(planner_format.REQUIRED) <= set(header):
        return "planner"
    raise TraceError(f"{path}:1: {_unknown_columns(header)}")


def _unknown_columns(header: Sequence[str]) -> str:
    """Return what is wrong with the columns of no format: those missing from the nearest one."""
    needed = {
        "a planner trace": planner_format.REQUIRED,
        "an Azure trace": tuple(azure.TITLES.values()),
        "a BurstGPT trace": burstgpt.REQUIRED,
    }
    found = ", ".join(header)[:200]
    nearest = max(needed, key=lambda name: len(set(needed[name]) & set(header)))
    missing = [column for column in needed[nearest] if column not in header]
    if len(missing) < len(needed[nearest]):
        plural = "s" if len(missing) > 1 else ""
        lacks = f"{nearest} lacks the column{plural} {', '.join(missing)}"
        others = [column for column in header if column not in needed[nearest]]
        hints = (did_you_mean(column, missing, list_up_to=0) for column in others)
        hint = next(filter(None, hints), "rename a column, or add what is missing")
        return f"{lacks}; found {found}; {hint}"
    known = [column for columns in needed.values() for column in columns]
    hint = did_you_mean(header[0], known, list_up_to=0)
    return (
        f"no known trace format has the columns {found}{hint and '; ' + hint}; the planner format "
        f"needs {', '.join(planner_format.REQUIRED)}"
    )
