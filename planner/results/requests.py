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

from planner.kernel.dtypes import FINISHED
from planner.kernel.enums import Fate, Leg

NUMBERS = (
    "row", "arrival_s", "started_s", "first_token_s", "first_answer_token_s", "finish_s",
    "session", "visitor", "turn", "input_tokens", "cached_tokens", "output_tokens",
    "reasoning_tokens", "replica", "preemptions", "prefill_replica",
)  # fmt: skip


class RequestWriter:
    """A Parquet file that grows by blocks of `FINISHED` rows; use it as a context.

    Args:
        path: the file to write.
        class_names: by class index.
        pool_names: by pool index.
        request_s: by pool index, how much later than the engine emits tokens clients see them [s].
        late_tokens: by pool and class index, how many are emitted before the first one is sent.
    """

    def __init__(
        self,
        path: Path,
        class_names: Sequence[str],
        pool_names: Sequence[str],
        request_s: Sequence[float],
        late_tokens: Sequence[Sequence[float]],
    ) -> None:
        self._path = path
        self._classes = pa.array(class_names)
        # A request that was refused has no pool: index −1 reads the last name.
        self._pools = pa.array([*pool_names, ""])
        self._request_s = np.array([*request_s, 0.0])
        self._late_tokens = np.array([*late_tokens, [0.0] * len(class_names)])
        self._legs = pa.array([leg.name.lower() for leg in Leg])
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
        pools = rows["pool"] % len(self._pools)
        sent = self._sent(rows, self._late_tokens[pools, rows["class"]])
        for name, times_s in sent.items():
            seen_s = np.where(served, times_s + self._request_s[pools], rows[name])  # by the client
            columns[name] = pa.array(seen_s)
        columns["class"] = _named(self._classes, rows["class"])
        columns["pool"] = _named(self._pools, pools)
        columns["fate"] = _named(self._fates, rows["fate"])
        columns["leg"] = _named(self._legs, rows["leg"])
        return pa.table(columns)

    @staticmethod
    def _sent(
        rows: NDArray[np.void], late_tokens: NDArray[np.float64]
    ) -> dict[str, NDArray[np.float64]]:
        """Return when served requests had their tokens sent, as the kernel counts it."""
        end_s = rows["finish_s"]
        gaps = np.maximum(rows["output_tokens"] - 1.0, 0.0)
        gap_s = (end_s - rows["first_token_s"]) / np.maximum(gaps, 1.0)
        first_s = rows["first_token_s"] + np.minimum(late_tokens, gaps) * gap_s
        after = np.maximum(gaps - rows["reasoning_tokens"], 0.0)
        answer_s = rows["first_answer_token_s"] + np.minimum(late_tokens, after) * gap_s
        return {
            "first_token_s": first_s,
            "first_answer_token_s": np.maximum(first_s, np.minimum(answer_s, end_s)),
            "finish_s": end_s,
        }


def _named(names: pa.Array, indices: NDArray[np.int32]) -> pa.DictionaryArray:
    return pa.DictionaryArray.from_arrays(pa.array(indices.astype(np.int32)), names)
