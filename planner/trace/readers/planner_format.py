"""The project's own format, as CSV, JSON lines or Parquet, with the columns of the trace table.

| column | meaning |
|---|---|
| `arrival_s` | seconds since the start, never falling; empty for later turns |
| `input_tokens`, `output_tokens` | required; output includes reasoning |
| `reasoning_tokens` | part of the output; 0 if absent |
| `class` | name of the request class |
| `session_id`, `visitor_id` | whole numbers or text |
| `turn` | counted within the session if absent |
| `think_s` | makes the row a later turn, sent this long after the turn before it was served |
| `hash_ids` | prefix blocks of 512 tokens: a list, or in CSV numbers between spaces |

A later turn stands directly behind the turn before it, with the same `session_id` and an empty
`arrival_s`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet

from planner.errors import TraceError, did_you_mean
from planner.trace.readers.delimited import csv_columns
from planner.trace.readers.json_lines import json_columns
from planner.trace.readers.reading import Reading
from planner.trace.readers.rows import Columns
from planner.trace.table import RequestBlock

REQUIRED: Final = ("arrival_s", "input_tokens", "output_tokens")
OPTIONAL: Final = (
    "reasoning_tokens",
    "class",
    "session_id",
    "visitor_id",
    "turn",
    "think_s",
    "hash_ids",
)
_IDS: Final = ("session_id", "visitor_id")
_JSON_TYPES: Final = {
    "arrival_s": pa.float64(),
    "input_tokens": pa.float64(),
    "output_tokens": pa.float64(),
    "reasoning_tokens": pa.float64(),
    "turn": pa.float64(),
    "think_s": pa.float64(),
    "class": pa.string(),
    "hash_ids": pa.list_(pa.int64()),
}
_PARQUET_ROWS: Final = 1 << 18


def read_csv(reading: Reading) -> Iterator[RequestBlock]:
    """Yield the requests of a planner CSV.

    Raises:
        TraceError: faults, each with its line.
    """
    builder = reading.builder({})
    for columns, chunk in csv_columns(reading.path, REQUIRED, OPTIONAL):
        yield builder.build(columns, chunk.line_of, chunk.last_line)


def read_jsonl(reading: Reading) -> Iterator[RequestBlock]:
    """Yield the requests of planner JSON lines.

    Raises:
        TraceError: faults, each with its line.
    """
    builder = reading.builder({})
    for columns, chunk in json_columns(
        reading.path, _JSON_TYPES, ("input_tokens", "output_tokens"), _IDS
    ):
        used = {n: c for n, c in columns.items() if n in REQUIRED or c.null_count < len(c)}
        yield builder.build(used, chunk.line_of, chunk.last_line)


def read_parquet(reading: Reading) -> Iterator[RequestBlock]:
    """Yield the requests of a planner Parquet file.

    Raises:
        TraceError: it is no Parquet file, lacks a column, or has faults, each with its row (from
        1).
    """
    path = reading.path
    try:
        file = pyarrow.parquet.ParquetFile(path)
        names = file.schema_arrow.names
        missing = [name for name in REQUIRED if name not in names]
        if missing:
            hint = did_you_mean(missing[0], names, list_up_to=0)
            raise TraceError(
                f"{path}: column {', '.join(missing)} not found{hint and '; ' + hint}; "
                f"it has {', '.join(names)[:200]}"
            )
        if not file.metadata.num_rows:
            raise TraceError(f"{path}: has no rows; a trace needs at least one request")
        builder = reading.builder({}, "row")
        wanted = [name for name in (*REQUIRED, *OPTIONAL) if name in names]
        first = 1
        for batch in file.iter_batches(_PARQUET_ROWS, columns=wanted):
            columns = {n: _plain(path, n, batch.column(n)) for n in wanted}
            yield builder.build(columns, _offset(first), first + len(batch) - 1)
            first += len(batch)
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise TraceError(f"{path}: cannot be read as Parquet: {error}; write it again") from None


def _offset(first: int) -> Callable[[int], int]:
    return lambda row: first + row


def _plain(path: Any, name: str, column: pa.Array) -> pa.Array:
    """Return a column as numbers, text or lists; NaN in an optional column is a missing value."""
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    if name == "class":
        return pc.cast(column, pa.string())
    if name == "hash_ids":
        return column
    if pa.types.is_floating(column.type):
        return pc.if_else(pc.is_nan(column), pa.scalar(None, column.type), column)
    if pa.types.is_integer(column.type) or pa.types.is_string(column.type):
        return column
    raise TraceError(f"{path}: column {name} holds {column.type}; it must hold numbers")


def columns_of(block: RequestBlock, class_names: list[str]) -> Columns:
    """Return a block as Arrow columns of this format, without the columns that say nothing."""
    rows = block.rows
    columns: dict[str, pa.Array] = {
        "arrival_s": _nullable(rows["arrival_s"], np.isnan(rows["arrival_s"])),
        "class": pa.array(
            [class_names[i] if i >= 0 else None for i in rows["class"].tolist()], pa.string()
        ),
    }
    for name in ("input_tokens", "output_tokens", "reasoning_tokens"):
        columns[name] = pa.array(rows[name])
    for name in _IDS:
        columns[name] = _nullable(rows[name], rows[name] < 0)
    columns["turn"] = pa.array(rows["turn"])
    columns["think_s"] = _nullable(rows["think_s"], np.isnan(rows["think_s"]))
    if block.hash_ids is not None:
        columns["hash_ids"] = pa.ListArray.from_arrays(
            block.hash_ids.offsets.astype(np.int32), block.hash_ids.values
        )
    return columns


def _nullable(values: Any, missing: Any) -> pa.Array:
    return pa.array(values, mask=np.asarray(missing))
