"""Merging sorted sources of requests into one stream, sessions in one piece."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np

from planner.trace.table import Rows, chain_starts, new_rows, rows_as_words, words_as_rows


def until(rows: Rows, end_s: float) -> Rows:
    """Return the rows that arrive by `end_s`, with their later turns."""
    late = rows["arrival_s"] > end_s  # a later turn has no arrival of its own
    return rows[: int(np.argmax(late))] if late.any() else rows


class _Feed:
    """A sorted source, and the rows that have been read from it and not yet merged."""

    def __init__(self, blocks: Iterator[Rows]) -> None:
        self._blocks = blocks
        self.rows = new_rows(0)
        self.known_s = -math.inf
        """All rows that arrive before this have been read."""

    def refill(self) -> None:
        """Read one more block."""
        block = next(self._blocks, None)
        if block is None:
            self.known_s = math.inf
        elif len(block):
            self.rows = _joined([self.rows, block])
            self.known_s = float(np.nanmax(block["arrival_s"]))

    def take_before(self, time_s: float) -> Rows:
        """Remove and return the rows that arrive before `time_s`, with their later turns."""
        late = self.rows["arrival_s"] >= time_s
        count = int(np.argmax(late)) if late.any() else len(self.rows)
        taken, self.rows = self.rows[:count], self.rows[count:]
        return taken


def merged(sources: Sequence[Iterator[Rows]]) -> Iterator[Rows]:
    """Merge sorted sources into one; ties are in the order of the sources, however they are cut."""
    if len(sources) == 1:
        yield from sources[0]
        return
    feeds = [_Feed(source) for source in sources]
    while feeds:
        known_s = min(feed.known_s for feed in feeds)
        taken = [feed.take_before(known_s) for feed in feeds]
        if any(len(rows) for rows in taken):
            yield interleaved(taken)
        for feed in feeds:
            if feed.known_s == known_s:
                feed.refill()
        feeds = [feed for feed in feeds if len(feed.rows) or feed.known_s < math.inf]


def interleaved(parts: Sequence[Rows]) -> Rows:
    """Join rows in order of arrival, each session in one piece; ties keep the given order."""
    rows = _joined(parts)
    starts = chain_starts(rows)
    keys_s = np.repeat(rows["arrival_s"][starts], np.diff(np.append(starts, len(rows))))
    order = np.argsort(keys_s, kind="stable")
    return words_as_rows(rows_as_words(rows).take(order, axis=0))


def _joined(parts: Sequence[Rows]) -> Rows:
    return words_as_rows(np.concatenate([rows_as_words(rows) for rows in parts]))
