"""The one trace table: every reader and every generator hands out rows of `TRACE_ROW`.

A row is one request. Rows whose `think_s` is NaN arrive by themselves at `arrival_s`, and these are
sorted by `arrival_s` across all blocks of a source. A row with a `think_s` is a later turn of a
session: it is sent `think_s` after the turn before it was served, its `arrival_s` is NaN, and it
stands directly behind that turn. A block never splits such a chain.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

MAXIMUM_TOKENS: Final = 10_000_000
"""Longest input or output of one request; anything above is a fault of the file."""

HASH_BLOCK_TOKENS: Final = 512
"""Tokens of a prefix block that a trace names, as in the Mooncake traces."""

TRACE_ROW: Final = np.dtype(
    [
        ("arrival_s", "f8"),  # seconds since the start; NaN for later turns and closed-loop rows
        ("think_s", "f8"),  # NaN, or the pause after the turn before was served
        ("session_id", "i8"),  # -1: none
        ("visitor_id", "i8"),  # -1: none
        ("input_tokens", "i8"),
        ("output_tokens", "i8"),  # reasoning included
        ("reasoning_tokens", "i8"),
        ("class", "i4"),  # index of the request class; -1: unknown
        ("turn", "i4"),  # 0 for the first turn
    ],
    align=True,
)
"""One request, 64 bytes."""

Rows = NDArray[np.void]
"""Array of `TRACE_ROW`."""
Words = NDArray[np.uint64]
_WORDS: Final = TRACE_ROW.itemsize // 8


@dataclass(frozen=True, eq=False)
class HashIds:
    """Prefix block ids of the rows of a block, as one ragged array.

    Args:
        offsets: shape `(rows + 1,)`; row i owns `values[offsets[i]:offsets[i + 1]]`.
        values: ids of prefix blocks, in prompt order; equal ids mean an equal prefix up to that
            block.
        block_tokens: tokens per prefix block.
    """

    offsets: NDArray[np.int64]
    values: NDArray[np.int64]
    block_tokens: int = HASH_BLOCK_TOKENS

    def take(self, order: NDArray[np.int64]) -> HashIds:
        """Return the ids of the rows `order`, in that order."""
        lengths = np.diff(self.offsets)[order]
        offsets = np.concatenate(([0], np.cumsum(lengths)))
        shift = np.repeat(self.offsets[:-1][order] - offsets[:-1], lengths)
        return HashIds(offsets, self.values[np.arange(offsets[-1]) + shift], self.block_tokens)


@dataclass(frozen=True, eq=False)
class RequestBlock:
    """Consecutive rows of a source.

    Args:
        rows: array of `TRACE_ROW`.
        hash_ids: prefix block ids of the rows, where the source has them.
    """

    rows: Rows
    hash_ids: HashIds | None = None

    def take(self, order: NDArray[np.int64]) -> RequestBlock:
        """Return the rows `order`, in that order."""
        return RequestBlock(
            self.rows.take(order), None if self.hash_ids is None else self.hash_ids.take(order)
        )


def concatenate(blocks: list[RequestBlock]) -> RequestBlock:
    """Join blocks of one source, in order."""
    if len(blocks) == 1:
        return blocks[0]
    words = [rows_as_words(block.rows) for block in blocks]
    rows = words_as_rows(np.concatenate(words)) if blocks else new_rows(0)
    ragged = [block.hash_ids for block in blocks if block.hash_ids is not None]
    if not ragged or len(ragged) != len(blocks):
        return RequestBlock(rows)
    lengths = np.concatenate([np.diff(ids.offsets) for ids in ragged])
    offsets = np.concatenate(([0], np.cumsum(lengths)))
    values = np.concatenate([ids.values for ids in ragged])
    return RequestBlock(rows, HashIds(offsets, values, ragged[0].block_tokens))


def new_rows(count: int) -> Rows:
    """Return `count` rows that arrive by themselves, with no session, visitor, class or tokens."""
    rows = np.zeros(count, TRACE_ROW)
    rows["think_s"] = np.nan
    for field in ("session_id", "visitor_id", "class"):
        rows[field] = -1
    return rows


def rows_as_words(rows: Rows) -> Words:
    """Return rows as words, shape `(rows, 8)`: NumPy copies these several times faster."""
    return np.ascontiguousarray(rows).view(np.uint64).reshape(-1, _WORDS)


def words_as_rows(words: Words) -> Rows:
    """Return what `rows_as_words` was given."""
    return np.ascontiguousarray(words).view(TRACE_ROW)[:, 0]


def chain_starts(rows: Rows) -> NDArray[np.int64]:
    """Return the indices of the rows that start a chain: those that arrive by themselves."""
    return np.flatnonzero(np.isnan(rows["think_s"]))
