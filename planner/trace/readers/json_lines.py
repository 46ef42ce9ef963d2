"""JSON-lines files as chunks of columns, with a line number for every fault."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.json

from planner.errors import TraceError
from planner.trace.readers.lines import LONGEST_LINE_BYTES, LineChunk, line_chunks
from planner.trace.readers.rows import Faults

_KINDS: Mapping[pa.DataType, tuple[str, tuple[type, ...]]] = {
    pa.float64(): ("a number", (int, float)),
    pa.string(): ("text", (str,)),
    pa.list_(pa.int64()): ("a list of whole numbers", (list,)),
}


def json_columns(
    path: Path, types: Mapping[str, pa.DataType], required: Sequence[str], ids: Sequence[str] = ()
) -> Iterator[tuple[dict[str, pa.Array], LineChunk]]:
    """Yield the wanted fields of one object per line, null where absent, with their chunk.

    Args:
        path: one JSON object per line; plain or gzip. Other fields are ignored.
        types: Arrow types of the fields: float64, string or list of int64.
        required: fields that must be in every object.
        ids: fields that are whole numbers throughout, or text throughout.

    Raises:
        TraceError: a line is not a JSON object, lacks a field or has one of another type.
    """
    for chunk in line_chunks(path):
        try:
            table = _read(chunk, types)
        except pa.ArrowInvalid as error:
            _explain(chunk, types, required)
            raise TraceError(
                f"{chunk.path}:{chunk.first_line}: cannot be read as JSON lines: {error}"
            ) from None
        wanted = [name for name in (*types, *ids) if name in table.column_names]
        columns = {name: table[name].combine_chunks() for name in wanted}
        if any(columns[name].null_count for name in required):
            _explain(chunk, types, required)
        for name in ids:
            kind = columns[name].type if name in columns else pa.null()
            if not (
                pa.types.is_integer(kind) or pa.types.is_string(kind) or pa.types.is_null(kind)
            ):
                raise TraceError(
                    f"{chunk.path}:{chunk.first_line}: {name} must be whole numbers or text "
                    f"throughout; found {kind}"
                )
        yield {n: c for n, c in columns.items() if not pa.types.is_null(c.type)}, chunk


def _read(chunk: LineChunk, types: Mapping[str, pa.DataType]) -> pa.Table:
    return pyarrow.json.read_json(
        pa.BufferReader(chunk.data),
        read_options=pyarrow.json.ReadOptions(
            use_threads=False, block_size=max(len(chunk.data) + 1, LONGEST_LINE_BYTES)
        ),
        parse_options=pyarrow.json.ParseOptions(
            explicit_schema=pa.schema(list(types.items())), unexpected_field_behavior="infer"
        ),
    )


def _explain(chunk: LineChunk, types: Mapping[str, pa.DataType], required: Sequence[str]) -> None:
    """Raise the faults of a chunk line by line; return if there are none."""
    faults = Faults(chunk.path)
    for number, line in chunk.lines():
        try:
            value = json.loads(line)
        except ValueError as error:
            faults.add(number, f"is not JSON: {error}")
            continue
        except RecursionError:
            faults.add(number, "is not a request: too deeply nested")
            continue
        if not isinstance(value, dict):
            faults.add(number, f"is not a JSON object but {line[:40]!r}")
            continue
        for name, kind in types.items():
            title, accepted = _KINDS[kind]
            found = value.get(name)
            if found is None:
                if name in required:
                    faults.add(number, f"{name}: is missing")
            elif not isinstance(found, accepted) or isinstance(found, bool):
                faults.add(number, f"{name}: must be {title}, found {str(found)[:40]!r}")
    faults.raise_if_any(chunk.last_line)
