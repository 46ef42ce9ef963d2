"""One Parquet row per request, written while the simulation runs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from planner.kernel.dtypes import FINISHED, Fate

NUMBERS = (
    "row", "arrival_s", "started_s", "first_token_s", "finish_s", "session", "visitor", "turn",
    "input_tokens", "output_tokens", "reasoning_tokens", "replica", "preemptions",
)  # fmt: skip


class RequestWriter:
    """A Parquet file that grows by blocks of `FINISHED` rows; use it as a context.

    Args:
        path: the file to write.
        class_names: by class index.
        pool_names: by pool index.
        outside: by pool index: `request_s`, by which its clients see tokens later than the engine
            emits them, and `late_steps`, by which they see the first one later still.
    """

    def __init__(
        self,
        path: Path,
        class_names: Sequence[str],
        pool_names: Sequence[str],
        outside: Sequence[tuple[float, float]] = (),
    ) -> None:
        self._path = path
        self._classes = pa.array(class_names)
        # A request that was refused has no pool: index −1 reads the last name.
        self._pools = pa.array([*pool_names, ""])
        self._outside = np.array([*(outside or [(0.0, 0.0)] * len(pool_names)), (0.0, 0.0)])
        self._fates = pa.array([fate.name.lower() for fate in Fate])
        self._writer: pq.ParquetWriter | None = None

    def __enter__(self) -> Self:
        """Open the file."""
        empty = self._table(np.zeros(0, FINISHED))
        self._writer = pq.ParquetWriter(self._path, empty.schema, compression="zstd")
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close the file."""
        assert self._writer is not None
        self._writer.close()

    def write(self, rows: NDArray[np.void]) -> None:
        """Append ended requests."""
        assert self._writer is not None
        self._writer.write_table(self._table(rows))

    def _table(self, rows: NDArray[np.void]) -> pa.Table:
        columns = {name: pa.array(rows[name]) for name in NUMBERS}
        served = rows["fate"] == int(Fate.SERVED)
        request_s, late_steps = self._outside[rows["pool"] % len(self._pools)].T
        gaps = np.maximum(rows["output_tokens"] - 1.0, 0.0)
        gap_s = (rows["finish_s"] - rows["first_token_s"]) / np.maximum(gaps, 1.0)
        first_s = rows["first_token_s"] + np.minimum(late_steps, gaps) * gap_s
        for name, times_s in (("first_token_s", first_s), ("finish_s", rows["finish_s"])):
            seen_s = np.where(served, times_s + request_s, rows[name])  # by the client
            columns[name] = pa.array(seen_s)
        columns["class"] = _named(self._classes, rows["class"])
        columns["pool"] = _named(self._pools, rows["pool"] % len(self._pools))
        columns["fate"] = _named(self._fates, rows["fate"])
        return pa.table(columns)


def _named(names: pa.Array, indices: NDArray[np.int32]) -> pa.DictionaryArray:
    return pa.DictionaryArray.from_arrays(pa.array(indices.astype(np.int32)), names)
