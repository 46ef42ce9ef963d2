"""Opening a trace: one door for every format, streamed in blocks."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np

from planner.errors import TraceError, did_you_mean
from planner.trace.table import RequestBlock, Rows, chain_starts, concatenate

if TYPE_CHECKING:
    from planner.trace.readers.reading import Reading

FORMATS: Final = ("planner", "azure-2023", "azure-2024", "burstgpt", "mooncake", "servegen")
"""Formats that can be read."""

Blocks = Iterator[RequestBlock]


class TraceSource(Iterator[RequestBlock]):
    """An open trace: an iterator of blocks that also knows what it has found so far.

    Attributes:
        path: the file or folder.
        format: one of `FORMATS`.
    """

    def __init__(self, reading: Reading, format_name: str, blocks: Blocks) -> None:
        self.path = reading.path
        self.format = format_name
        self._reading = reading
        self._blocks = blocks

    @property
    def class_names(self) -> Sequence[str]:
        """Names behind the `class` column: those given, or else those met; grows while reading."""
        return self._reading.classes.names

    @property
    def unmatched_classes(self) -> dict[str, int]:
        """Class names of the file that are not among those given → rows so far (class −1)."""
        return dict(self._reading.classes.unmatched)

    @property
    def notes(self) -> tuple[str, ...]:
        """What a user should know about the reading, such as lengths that had to be borrowed."""
        return tuple(self._reading.notes)

    def __next__(self) -> RequestBlock:
        return next(self._blocks)


def open_trace(
    path: Path | str,
    format: str = "auto",
    *,
    time_jitter_s: float = 0.0,
    rate_scale: float = 1.0,
    seed: int = 0,
    block_rows: int = 1 << 18,
    class_names: Sequence[str] = (),
    sort: bool = False,
) -> TraceSource:
    """Open a trace of any known format for streaming.

    Args:
        path: file (plain or gzip), or the folder of ServeGen client files.
        format: one of `FORMATS`, or `auto`: decided by content.
        time_jitter_s: each arrival is moved later by a uniform draw from this span, and the rows
            put in order again: undoes coarse time stamps. Later turns move with their session.
        rate_scale: arrival times are divided by this; think times stay.
        seed: seed of the jitter, and of formats that are distributions.
        block_rows: rows per block; a block is longer where a session would be split.
        class_names: names that fix the class indices; rows of other classes get −1 and are counted
            in `unmatched_classes`. Empty: names are collected as they appear.
        sort: put a file that is out of order into order, in memory (64 bytes a row).

    Returns:
        an iterator of blocks. Faults of rows are raised while it is read.

    Raises:
        TraceError: the file is missing, empty or of no known format; while reading: each fault with
            file, line, what was found and what to do.
    """
    from planner.trace.readers.reading import Reading
    from planner.trace.readers.rows import ClassNames

    if not rate_scale > 0 or not time_jitter_s >= 0 or block_rows < 1:
        raise TraceError(
            f"{path}: rate scale must be above 0 and jitter not below; found {rate_scale:g} and "
            f"{time_jitter_s:g} s"
        )
    reading = Reading(
        Path(path), ClassNames(tuple(class_names)), not sort, np.random.SeedSequence(seed)
    )
    name, read = _reader(reading.path, format)
    blocks = _whole_chains(read(reading))
    if sort:
        blocks = _sorted(blocks, block_rows)
    if time_jitter_s > 0:
        jitter_seed = np.random.SeedSequence(seed, spawn_key=(0,))
        blocks = _jittered(blocks, time_jitter_s, np.random.default_rng(jitter_seed))
    if rate_scale != 1:
        blocks = _scaled(blocks, rate_scale)
    return TraceSource(reading, name, _resized(blocks, block_rows))


def _reader(path: Path, format_name: str) -> tuple[str, Callable[[Reading], Blocks]]:
    from planner.trace.readers import azure, burstgpt, detect, mooncake, planner_format, servegen

    if format_name not in ("auto", *FORMATS):
        raise TraceError(
            f"{path}: unknown trace format {format_name!r}; {did_you_mean(format_name, FORMATS)}"
        )
    name = detect.detect_format(path) if format_name == "auto" else format_name
    readers = {
        "azure-2023": azure.read,
        "azure-2024": azure.read,
        "burstgpt": burstgpt.read,
        "mooncake": mooncake.read,
        "servegen": servegen.read,
    }
    if name in readers:
        return name, readers[name]
    if detect.is_parquet(path):
        return name, planner_format.read_parquet
    if detect.is_json(detect.first_lines(path)[0]):
        return name, planner_format.read_jsonl
    return name, planner_format.read_csv


def _whole_chains(blocks: Blocks) -> Blocks:
    """Hold back the last chain of each block until it is known to be complete."""
    held: list[RequestBlock] = []
    for block in blocks:
        starts = chain_starts(block.rows)
        if not len(starts):
            held.append(block)
            continue
        cut = int(starts[-1])
        yield from _unless_empty(concatenate([*held, _slice(block, 0, cut)]))
        held = [_slice(block, cut, len(block.rows))]
    if held:
        yield from _unless_empty(concatenate(held))


def _chain_keys(rows: Rows) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """Return for each row the arrival of its chain's first row."""
    starts = chain_starts(rows)
    lengths = np.diff(np.append(starts, len(rows)))
    return np.repeat(rows["arrival_s"][starts], lengths)


def _sorted(blocks: Blocks, block_rows: int) -> Blocks:
    """Yield all rows in order of arrival; times before second 0 shift the whole trace."""
    whole = concatenate(list(blocks))
    whole = whole.take(np.argsort(_chain_keys(whole.rows), kind="stable"))
    first_s = float(np.nanmin(whole.rows["arrival_s"]))
    if first_s < 0:
        whole.rows["arrival_s"] -= first_s
    yield from _resized(iter([whole]), block_rows)


def _jittered(blocks: Blocks, span_s: float, rng: np.random.Generator) -> Blocks:
    """Move each chain later by up to `span_s`; a row is final once the file has passed it."""
    held = concatenate([])
    for block in blocks:
        passed_s = float(_chain_keys(block.rows)[-1])
        block.rows["arrival_s"] += span_s * rng.random(len(block.rows))
        joined = block if not len(held.rows) else concatenate([held, block])
        keys = _chain_keys(joined.rows)
        order = np.argsort(keys, kind="stable")
        final = int(np.searchsorted(keys[order], passed_s))
        yield from _unless_empty(joined.take(order[:final]))
        held = joined.take(order[final:])
    yield from _unless_empty(held)


def _scaled(blocks: Blocks, rate_scale: float) -> Blocks:
    for block in blocks:
        block.rows["arrival_s"] /= rate_scale
        yield block


def _resized(blocks: Blocks, block_rows: int) -> Blocks:
    """Yield blocks of `block_rows` rows, longer where a chain would be split."""
    held: list[RequestBlock] = []
    count = 0
    for block in blocks:
        held.append(block)
        count += len(block.rows)
        if count < block_rows:
            continue
        joined = concatenate(held)
        starts = np.append(chain_starts(joined.rows), count)
        start = 0
        while count - start >= block_rows:
            stop = int(starts[np.searchsorted(starts, start + block_rows)])
            yield _slice(joined, start, stop)
            start = stop
        held, count = [_slice(joined, start, count)], count - start
    yield from _unless_empty(concatenate(held))


def _slice(block: RequestBlock, start: int, stop: int) -> RequestBlock:
    ids = block.hash_ids
    if ids is not None:
        offsets = ids.offsets[start : stop + 1]
        values = ids.values[offsets[0] : offsets[-1]]
        ids = type(ids)(offsets - offsets[0], values, ids.block_tokens)
    return RequestBlock(block.rows[start:stop], ids)


def _unless_empty(block: RequestBlock) -> Blocks:
    if len(block.rows):
        yield block
