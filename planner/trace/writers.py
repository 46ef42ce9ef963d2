"""Writing traces in the planner format: CSV, JSON lines or Parquet, whole or not at all."""

from __future__ import annotations

import gzip
import json
import math
from collections.abc import Iterable, Sequence
from contextlib import closing
from itertools import chain, islice, pairwise
from pathlib import Path
from typing import Any, BinaryIO, Final, Protocol, cast

import numpy as np

from planner.errors import OutputError
from planner.files import whole_file
from planner.trace.table import TRACE_ROW, RequestBlock

SUFFIXES: Final = (".parquet", ".csv", ".csv.gz", ".jsonl", ".jsonl.gz")
"""Endings that name an output format."""
_COLUMNS: Final = (
    "arrival_s",
    "class",
    "input_tokens",
    "output_tokens",
    "reasoning_tokens",
    "session_id",
    "turn",
    "visitor_id",
    "think_s",
)
_MICROSECONDS: Final = 6


class _Writer(Protocol):
    def write(self, block: RequestBlock, class_names: Sequence[str]) -> None: ...

    def close(self) -> None: ...


def write_trace(
    path: Path,
    blocks: Iterable[RequestBlock],
    class_names: Sequence[str],
    *,
    overwrite: bool = False,
) -> int:
    """Write blocks to a file of the planner format.

    The file appears under its name only when it is complete. Text formats round times to
    microseconds; a gzip file carries no time stamp, so that equal rows give equal bytes.

    Args:
        path: its ending decides: .parquet, .csv, .jsonl, the latter two also with .gz.
        blocks: rows and their prefix block ids; the columns are those of the first block.
        class_names: names behind the class index; may grow while `blocks` is read.
        overwrite: replace a file that is there.

    Returns:
        the number of rows written.

    Raises:
        OutputError: unknown ending, the file is there already, or it cannot be written.
    """
    if not any(path.name.endswith(suffix) for suffix in SUFFIXES):
        raise OutputError(f"{path}: unknown ending; write one of {', '.join(SUFFIXES)}")
    if path.exists() and not overwrite:
        raise OutputError(f"{path}: exists already; choose another name, or add --force")
    rows = 0
    remaining = iter(blocks)
    head = list(islice(remaining, 1))
    with_hash_ids = any(block.hash_ids is not None for block in head)
    with (
        whole_file(path) as partial,
        partial.open("wb") as file,
        closing(_writer(path, file, with_hash_ids)) as writer,
    ):
        for block in chain(head, remaining):
            writer.write(block, class_names)
            rows += len(block.rows)
    return rows


def _writer(path: Path, file: BinaryIO, with_hash_ids: bool) -> _Writer:
    if path.name.endswith(".parquet"):
        return _ParquetWriter(file, with_hash_ids)
    stream = file
    if path.name.endswith(".gz"):
        stream = cast(BinaryIO, gzip.GzipFile("", "wb", 6, file, mtime=0))
    kind = _CsvWriter if ".csv" in path.suffixes else _JsonWriter
    return kind(stream, with_hash_ids, close_stream=stream is not file)


class _TextWriter:
    def __init__(self, stream: BinaryIO, with_hash_ids: bool, *, close_stream: bool) -> None:
        self._stream = stream
        self._with_hash_ids = with_hash_ids
        self._close_stream = close_stream

    def close(self) -> None:
        if self._close_stream:
            self._stream.close()

    def _cells(self, block: RequestBlock, class_names: Sequence[str]) -> list[list[Any]]:
        """Return one list per column, with None where a value is missing."""
        rows = block.rows
        cells: list[list[Any]] = []
        for name in _COLUMNS:
            values = rows[name]
            if name == "class":
                column = [class_names[i] if i >= 0 else None for i in values.tolist()]
            elif TRACE_ROW[name].kind == "f":
                rounded = np.round(values, _MICROSECONDS).tolist()
                column = [None if math.isnan(value) else value for value in rounded]
            elif name.endswith("_id"):
                column = [None if value < 0 else value for value in values.tolist()]
            else:
                column = values.tolist()
            cells.append(column)
        if self._with_hash_ids and block.hash_ids is not None:
            offsets, ids = block.hash_ids.offsets.tolist(), block.hash_ids.values.tolist()
            cells.append([ids[start:stop] for start, stop in pairwise(offsets)])
        return cells


class _CsvWriter(_TextWriter):
    def __init__(self, stream: BinaryIO, with_hash_ids: bool, *, close_stream: bool) -> None:
        super().__init__(stream, with_hash_ids, close_stream=close_stream)
        header = [*_COLUMNS, *(["hash_ids"] if with_hash_ids else [])]
        stream.write((",".join(header) + "\n").encode())

    def write(self, block: RequestBlock, class_names: Sequence[str]) -> None:
        cells = self._cells(block, [_quoted(name) for name in class_names])
        if self._with_hash_ids:
            cells[-1] = [" ".join(map(str, ids)) for ids in cells[-1]]
        texts = [["" if cell is None else _shown(cell) for cell in column] for column in cells]
        lines = map(",".join, zip(*texts, strict=True))
        self._stream.write(("\n".join(lines) + "\n").encode())


def _shown(cell: Any) -> str:
    return f"{cell:.6f}".rstrip("0").rstrip(".") if isinstance(cell, float) else str(cell)


def _quoted(name: str) -> str:
    return f'"{name.replace(chr(34), chr(34) * 2)}"' if set(name) & set('",') else name


class _JsonWriter(_TextWriter):
    def write(self, block: RequestBlock, class_names: Sequence[str]) -> None:
        cells = self._cells(block, class_names)
        names = [*_COLUMNS, *(["hash_ids"] if len(cells) > len(_COLUMNS) else [])]
        for row in zip(*cells, strict=True):
            known = {n: cell for n, cell in zip(names, row, strict=True) if cell is not None}
            self._stream.write(json.dumps(known, separators=(",", ":")).encode() + b"\n")


class _ParquetWriter:
    def __init__(self, file: BinaryIO, with_hash_ids: bool) -> None:
        import pyarrow as pa
        import pyarrow.parquet

        types = {"f": pa.float64(), "i": pa.int64()}
        fields = [
            (name, pa.string() if name == "class" else types[TRACE_ROW[name].kind])
            for name in _COLUMNS
        ]
        if with_hash_ids:
            fields.append(("hash_ids", pa.list_(pa.int64())))
        self._schema = pa.schema(fields)
        self._writer = pyarrow.parquet.ParquetWriter(file, self._schema, compression="zstd")

    def write(self, block: RequestBlock, class_names: Sequence[str]) -> None:
        import pyarrow as pa

        from planner.trace.readers.planner_format import columns_of

        columns = columns_of(block, list(class_names))
        batch = pa.record_batch(
            [columns[field.name].cast(field.type) for field in self._schema], schema=self._schema
        )
        self._writer.write_batch(batch)

    def close(self) -> None:
        self._writer.close()
