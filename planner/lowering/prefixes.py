"""Prefix block ids of traces, on the way to the kernel beside the rows that they belong to.

Rows are merged, filtered and cut; their ids are of many lengths and go a way of their own. The rows
of one source keep their order on the way, so its ids can wait in a queue until its rows come out.
"""

from __future__ import annotations

from collections import deque

import numpy as np
from numpy.typing import NDArray

from planner.lowering.sharing import hashed
from planner.trace.table import HashIds, Rows

_Integers = NDArray[np.int64]


class PrefixQueue:
    """The ids of one trace, in the order of its rows.

    Args:
        number: of the trace. Ids of different traces are never equal.
        classes: whose ids are wanted, shape `(classes,)`.
    """

    def __init__(self, number: int, classes: NDArray[np.bool_]) -> None:
        self._number = number
        self._classes = classes
        self._blocks: deque[HashIds] = deque()

    def push(self, rows: Rows, ids: HashIds | None) -> None:
        """Add the ids of rows that were read.

        Args:
            rows: `TRACE_ROW`, their classes known; all of them will come out.
            ids: of these rows; None: they have none.
        """
        if ids is None:
            self._blocks.append(_no_ids(len(rows)))
            return
        wanted = np.where(self._classes[rows["class"]], np.diff(ids.offsets), 0)
        owned = np.repeat(self._classes[rows["class"]], np.diff(ids.offsets))
        # The ids of a trace mean nothing in another; 63 bits, as the kernel's are signed.
        mixed = hashed(ids.values[owned].astype(np.uint64), self._number) >> np.uint64(1)
        offsets = np.concatenate(([0], np.cumsum(wanted)))
        self._blocks.append(HashIds(offsets, mixed.astype(np.int64), ids.block_tokens))

    def pop(self, count: int) -> tuple[_Integers, _Integers]:
        """Remove the next `count` rows; return how many ids each has, and the ids."""
        lengths, values = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
        while count:
            block = self._blocks.popleft()
            taken = min(count, len(block.offsets) - 1)
            cut = block.offsets[taken]
            lengths.append(np.diff(block.offsets[: taken + 1]))
            values.append(block.values[:cut])
            if taken < len(block.offsets) - 1:
                self._blocks.appendleft(
                    HashIds(block.offsets[taken:] - cut, block.values[cut:], block.block_tokens)
                )
            count -= taken
        return np.concatenate(lengths), np.concatenate(values)


def _no_ids(rows: int) -> HashIds:
    return HashIds(np.zeros(rows + 1, np.int64), np.zeros(0, np.int64))


def gathered(
    source_of: _Integers, rows: Rows, queues: dict[int, PrefixQueue]
) -> tuple[_Integers, _Integers]:
    """Return how many ids each row has, and the ids of all rows in order.

    Args:
        source_of: class → number of the trace that it comes from, shape `(classes,)`.
        rows: merged, the next ones of every trace.
        queues: by number of the trace.
    """
    source = source_of[rows["class"]]
    counts = np.zeros(len(rows), np.int64)
    parts = []
    for number, queue in queues.items():
        mine = np.flatnonzero(source == number)
        counts[mine], values = queue.pop(len(mine))
        parts.append((mine, values))
    starts = np.cumsum(counts) - counts
    ids = np.zeros(int(counts.sum()), np.int64)
    for mine, values in parts:
        lengths = counts[mine]
        within = np.arange(len(values)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
        ids[np.repeat(starts[mine], lengths) + within] = values
    return counts, ids
