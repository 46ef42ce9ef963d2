"""BurstGPT: chat and API calls of a campus service, as CSV.

`Timestamp, Model, Request tokens, Response tokens, Total tokens, Log Type`; release 2 adds `Session
ID` (conversations only; every turn keeps its own arrival) and `Elapsed time`, which is not used,
behind the first column. Timestamps are whole seconds from midnight of the first day; here the first
row is second 0. The class is model and log type, as `chatgpt-conversation`, `gpt-4-api`. `Response
tokens` is 0 for requests that failed: they are kept, with no output. Published under CC-BY-4.0
(github.com/HPMLL/BurstGPT).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from planner.trace.readers.delimited import csv_columns
from planner.trace.readers.reading import Reading
from planner.trace.readers.rows import to_floats
from planner.trace.table import RequestBlock

TITLES: Final = {
    "arrival_s": "Timestamp",
    "input_tokens": "Request tokens",
    "output_tokens": "Response tokens",
    "session_id": "Session ID",
}
REQUIRED: Final = ("Timestamp", "Model", "Request tokens", "Response tokens", "Log Type")


def read(reading: Reading) -> Iterator[RequestBlock]:
    """Yield the requests of a BurstGPT trace; see the module.

    Raises:
        TraceError: faults, each with its line.
    """
    builder = reading.builder(TITLES)
    origin_s: float | None = None
    failed = 0
    for columns, chunk in csv_columns(reading.path, REQUIRED, ("Session ID",)):
        seconds = to_floats(builder.note(chunk.line_of), "arrival_s", columns["Timestamp"])
        if origin_s is None:
            origin_s = float(seconds[0]) if np.isfinite(seconds[0]) else 0.0
        taken = {
            "arrival_s": pa.array(seconds - origin_s),
            "input_tokens": columns["Request tokens"],
            "output_tokens": columns["Response tokens"],
            "class": _class_names(columns["Model"], columns["Log Type"]),
        }
        if "Session ID" in columns:
            taken["session_id"] = columns["Session ID"]
        block = builder.build(taken, chunk.line_of, chunk.last_line)
        failed += int(np.count_nonzero(block.rows["output_tokens"] == 0))
        yield block
    if failed:
        reading.notes.append(
            f"{failed:,} requests failed in the recording (no output); kept as such"
        )


def _class_names(models: pa.Array, log_types: pa.Array) -> pa.Array:
    """Return `chatgpt-conversation` for ("ChatGPT", "Conversation log")."""
    kinds = pc.replace_substring_regex(pc.utf8_lower(log_types), r"\s*log$", "")
    names = pc.binary_join_element_wise(pc.utf8_lower(models), kinds, "-")
    return pc.replace_substring_regex(names, r"[^a-z0-9._-]+", "-")
