"""Mooncake: JSON lines with `timestamp` (ms), `input_length`, `output_length` and `hash_ids`.

`hash_ids` name the 512-token prefix blocks of the prompt: equal ids mean an equal prefix. Time
stamps of the conversation trace tick every 3 s: jitter them (`time_jitter: 3 s`). Published under
Apache-2.0 (github.com/kvcache-ai/Mooncake).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import pyarrow as pa
import pyarrow.compute as pc

from planner.trace.readers.json_lines import json_columns
from planner.trace.readers.reading import Reading
from planner.trace.table import RequestBlock

TITLES: Final = {
    "arrival_s": "timestamp",
    "input_tokens": "input_length",
    "output_tokens": "output_length",
}
_TYPES: Final = {
    "timestamp": pa.float64(),
    "input_length": pa.float64(),
    "output_length": pa.float64(),
    "hash_ids": pa.list_(pa.int64()),
}
_MILLISECONDS_PER_SECOND: Final = 1000.0


def read(reading: Reading) -> Iterator[RequestBlock]:
    """Yield the requests of a Mooncake trace, prefix block ids included.

    Raises:
        TraceError: faults, each with its line.
    """
    builder = reading.builder(TITLES)
    for columns, chunk in json_columns(reading.path, _TYPES, tuple(TITLES.values())):
        yield builder.build(
            {
                "arrival_s": pc.divide(columns["timestamp"], _MILLISECONDS_PER_SECOND),
                "input_tokens": columns["input_length"],
                "output_tokens": columns["output_length"],
                "hash_ids": columns["hash_ids"],
            },
            chunk.line_of,
            chunk.last_line,
        )
