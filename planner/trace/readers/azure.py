"""Azure LLM inference traces 2023 and 2024: `TIMESTAMP, ContextTokens, GeneratedTokens`.

The 2023 files have UTC times with seven decimals and no zone; those of 2024 have `+00:00`, and no
decimals on whole seconds. Both are read the same way; the first row is second 0. Neither has
sessions or classes. Published by Microsoft under CC-BY-4.0 (github.com/Azure/AzurePublicDataset).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from planner.errors import TraceError
from planner.trace.readers.delimited import csv_columns
from planner.trace.readers.lines import LineChunk
from planner.trace.readers.reading import Reading
from planner.trace.readers.rows import Faults
from planner.trace.table import RequestBlock

TITLES: Final = {
    "arrival_s": "TIMESTAMP",
    "input_tokens": "ContextTokens",
    "output_tokens": "GeneratedTokens",
}
_TYPES: Final = (pa.timestamp("ns"), pa.timestamp("ns", tz="UTC"))
_NANOSECOND_S: Final = 1e-9
_TRIED_ROWS: Final = 100


def read(reading: Reading) -> Iterator[RequestBlock]:
    """Yield the requests of an Azure trace; see the module.

    Raises:
        TraceError: faults, each with its line.
    """
    builder = reading.builder(TITLES)
    kind: pa.DataType = None
    origin_ns: int | None = None
    for columns, chunk in csv_columns(reading.path, tuple(TITLES.values())):
        texts = columns["TIMESTAMP"]
        kind = kind or _kind_of(texts)
        try:
            instants = pc.cast(texts, kind)
        except pa.ArrowInvalid:
            raise _faults(reading, texts, kind, chunk) from None
        missing = np.asarray(pc.is_null(texts))
        instants_ns = np.asarray(pc.fill_null(pc.cast(instants, pa.int64()), 0))
        if origin_ns is None:
            origin_ns = int(instants_ns[np.argmin(missing)])
        arrival_s = (instants_ns - origin_ns) * _NANOSECOND_S
        arrival_s[missing] = np.nan
        yield builder.build(
            {
                "arrival_s": pa.array(arrival_s),
                "input_tokens": columns["ContextTokens"],
                "output_tokens": columns["GeneratedTokens"],
            },
            chunk.line_of,
            chunk.last_line,
        )


def _kind_of(texts: pa.Array) -> pa.DataType:
    """Return the type that most of the first times have, with a zone or without."""
    first = texts[:_TRIED_ROWS].to_pylist()
    return max(_TYPES, key=lambda kind: sum(_is_instant(text, kind) for text in first))


def _faults(reading: Reading, texts: pa.Array, kind: pa.DataType, chunk: LineChunk) -> TraceError:
    """Return an error that names the times that are not like the others."""
    faults = Faults(reading.path)
    example = f"2024-05-12 00:00:00.001163{'+00:00' if kind.tz else ''}"
    for row, text in enumerate(texts.to_pylist()):
        if text is not None and not _is_instant(text, kind):
            faults.add(
                chunk.line_of(row),
                f"TIMESTAMP: {text[:40]!r} is not a time like the others; write {example}",
            )
    return faults.error(chunk.last_line)


def _is_instant(text: str | None, kind: pa.DataType) -> bool:
    try:
        pc.cast(pa.array([text], pa.string()), kind)
    except pa.ArrowInvalid:
        return False
    return text is not None
