"""How a shared trace is dealt out to classes and visitors: by hashes, without random streams."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from planner.kernel.dtypes import NONE
from planner.scenario.schema.workload import RequestClass
from planner.trace.table import Rows, chain_starts


def is_synthetic(klass: RequestClass) -> bool:
    """Tell whether the requests of a class are drawn, not read."""
    return klass.open is not None or klass.closed is not None


def owners_of(rows: Rows, first_chain: int) -> NDArray[np.uint64]:
    """Return the number of what each row belongs to: its session, else itself and its later turns.

    Args:
        rows: `TRACE_ROW`, no session split.
        first_chain: rows that arrive by themselves in the source before these.
    """
    chain = first_chain + np.cumsum(np.isnan(rows["think_s"]))
    owners: NDArray[np.int64] = np.where(rows["session_id"] >= 0, rows["session_id"], -chain)
    return owners.astype(np.uint64)


def hashed(numbers: NDArray[np.uint64], seed: int) -> NDArray[np.uint64]:
    """Return the hash of each number, as good as independent random words.

    The output function of SplitMix64 (Steele, Lea and Flood, "Fast splittable pseudorandom number
    generators", OOPSLA 2014). Neighbouring numbers must not give related hashes: every second
    request of a stream, say, is less bursty than half of the requests picked at random.
    """
    mixed = (numbers + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15) + np.uint64(seed)
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return mixed ^ (mixed >> np.uint64(31))


def shared_classes(
    rows: Rows, owners: NDArray[np.uint64], classes: Sequence[RequestClass], seed: int
) -> NDArray[np.int64]:
    """Return the class of every row of the shared trace; NONE: no class takes it.

    A row whose class the trace names keeps it, unless that class has requests of its own. The
    others are dealt out by `share`, by a hash of the session (of the request where it has none), so
    that a session stays together and no random stream is used. Later turns go where the first goes,
    if they have no class themselves.

    Args:
        rows: `TRACE_ROW`, no session split.
        owners: of `owners_of`.
        classes: of the scenario.
        seed: of the hash.
    """
    position = (hashed(owners, seed) >> np.uint64(11)).astype(np.float64) / 2.0**53
    shares = np.cumsum([klass.share or 0.0 for klass in classes])
    dealt = np.searchsorted(shares, position, side="right")
    dealt[dealt == len(classes)] = NONE
    found = np.where(rows["class"] >= 0, rows["class"], dealt)
    elsewhere = [is_synthetic(klass) or klass.trace is not None for klass in classes]
    found[np.array([*elsewhere, False])[found]] = NONE
    starts = chain_starts(rows)
    first = np.repeat(found[starts], np.diff(np.append(starts, len(rows))))
    return np.where((found != NONE) & (first != NONE), found, first)
