"""CSV files as chunks of text columns, with a line number for every fault."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.csv

from planner.errors import TraceError, did_you_mean
from planner.trace.readers.lines import LineChunk, line_chunks
from planner.trace.readers.rows import Faults


def split_fields(line: str) -> list[str]:
    """Return the fields of a line; one that breaks the rules of quoting is cut at every comma."""
    try:
        return next(csv.reader([line]), [])
    except csv.Error:
        return line.split(",")


def parse_header(line: str) -> list[str]:
    """Return the column names of a CSV header, without the spaces around them."""
    return [name.strip() for name in split_fields(line)]


def csv_columns(
    path: Path, required: Sequence[str], optional: Sequence[str] = ()
) -> Iterator[tuple[dict[str, pa.Array], LineChunk]]:
    """Yield the wanted columns as text, null where empty, with the chunk they come from.

    Args:
        path: CSV with a header line; plain or gzip. Other columns are ignored.
        required: columns that must be there.
        optional: columns taken where they are there.

    Raises:
        TraceError: a required column is missing or doubled, a line has too many or too few fields,
            or there is no line behind the header.
    """
    chunks = line_chunks(path)
    number, line, chunk = next(chunks).split_first()
    header = parse_header(line)
    _check_header(path, number, header, required)
    wanted = [name for name in (*required, *optional) if name in header]
    rows = 0
    while True:
        if chunk.data.strip(b"\r\n"):
            table = _parse(chunk, header, wanted)
            rows += len(table)
            yield {name: table[name].combine_chunks() for name in wanted}, chunk
        following = next(chunks, None)
        if following is None:
            break
        chunk = following
    if not rows:
        raise TraceError(f"{path}: has a header and no requests; a trace needs at least one")


def _check_header(path: Path, number: int, header: list[str], required: Sequence[str]) -> None:
    missing = [name for name in required if name not in header]
    if missing:
        hint = did_you_mean(missing[0], header, list_up_to=0)
        raise TraceError(
            f"{path}:{number}: column {', '.join(map(repr, missing))} not found; the header has "
            f"{', '.join(header)[:200]}; {hint or 'is the format right?'}"
        )
    doubled = sorted({name for name in header if name and header.count(name) > 1})
    if doubled:
        raise TraceError(f"{path}:{number}: column {doubled[0]!r} stands twice in the header")


def _parse(chunk: LineChunk, header: list[str], wanted: list[str]) -> pa.Table:
    names = [name or f"unnamed column {i}" for i, name in enumerate(header)]
    try:
        return pyarrow.csv.read_csv(
            pa.BufferReader(chunk.data),
            read_options=pyarrow.csv.ReadOptions(
                column_names=names, use_threads=False, block_size=len(chunk.data) + 1
            ),
            convert_options=pyarrow.csv.ConvertOptions(
                column_types=dict.fromkeys(wanted, pa.string()),
                include_columns=wanted,
                null_values=[""],
                strings_can_be_null=True,
                quoted_strings_can_be_null=True,
            ),
        )
    except pa.ArrowInvalid as error:
        faults = Faults(chunk.path)
        for number, line in chunk.lines():
            fields = len(split_fields(line))
            if fields != len(header):
                faults.add(
                    number, f"{fields} fields where the header has {len(header)}: {line[:80]!r}"
                )
        faults.raise_if_any(chunk.last_line)
        raise TraceError(
            f"{chunk.path}:{chunk.first_line}: cannot be read as CSV: {error}"
        ) from None
