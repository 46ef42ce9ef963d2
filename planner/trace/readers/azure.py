"""Azure LLM inference traces 2023 and 2024: `TIMESTAMP, ContextTokens, GeneratedTokens`.

The 2023 files have UTC times with seven decimals and no zone; those of 2024 have `+00:00`, and no
decimals on whole seconds. Both are read the same way; the first row is second 0. Neither has
sessions or classes. Published by Microsoft under CC-BY-4.0 (github.com/Azure/AzurePublicDataset).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from planner.trace.readers.delimited import csv_columns
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


def read(reading: Reading) -> Iterator[RequestBlock]:
    """Yield the requests of an Azure trace; see the module.

    Raises:
        TraceError: faults, each with its line.
    """
    builder = reading.builder(TITLES)
    origin_ns: int | None = None
    for columns, chunk in csv_columns(reading.path, tuple(TITLES.values())):
        instants_ns, missing = _instants_ns(reading, columns["TIMESTAMP"], chunk.line_of)
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


def _instants_ns(
    reading: Reading, texts: pa.Array, locate: Callable[[int], int]
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Return nanoseconds since 1970 and a mask of the missing ones."""
    for kind in _TYPES:
        try:
            instants = pc.cast(texts, kind)
        except pa.ArrowInvalid:
            continue
        numbers = pc.fill_null(pc.cast(instants, pa.int64()), 0)
        missing = pc.is_null(texts).to_numpy(zero_copy_only=False)
        return np.array(numbers.to_numpy(zero_copy_only=False)), np.array(missing)
    faults = Faults(reading.path)
    zoned = sum(_is_instant(text, _TYPES[1]) for text in texts[:100].to_pylist())
    kind = _TYPES[1] if zoned > 50 or zoned * 2 > len(texts) else _TYPES[0]
    last = 0
    for row, text in enumerate(texts.to_pylist()):
        if text is not None and not _is_instant(text, kind):
            last = locate(row)
            faults.add(
                last,
                f"TIMESTAMP: {text[:40]!r} is not a time as in the rest of the file; write "
                f"2024-05-12 00:00:00.001163{'+00:00' if kind.tz else ''}",
            )
    faults.raise_if_any(last)
    raise AssertionError("a column of times failed as a whole but not one by one")


def _is_instant(text: str | None, kind: pa.DataType) -> bool:
    try:
        pc.cast(pa.array([text], pa.string()), kind)
    except pa.ArrowInvalid:
        return False
    return True
