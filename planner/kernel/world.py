"""Every array of a simulation in one value, and where compiled code finds them.

Some thirty arrays are more than can be passed from function to function by value. So compiled code
gets one pointer, to a table of their addresses and shapes (`pointer.py`), and loads what it needs.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Any, Final

import numpy as np
from numpy.typing import DTypeLike, NDArray

from planner.kernel import dtypes

Records = NDArray[np.void]

MOST_DIMENSIONS: Final = 3


def _of(dtype: DTypeLike, dimensions: int = 1) -> dict[str, Any]:
    """Say of what an array is, as compiled code reads it."""
    return {"dtype": np.dtype(dtype), "dimensions": dimensions}


@dataclass(frozen=True, slots=True)
class World:
    """Every array of a simulation, owned by the engine.

    Arrays are never resized: one that has to grow is replaced, with a new `World`.

    Raises:
        TypeError: compiled code would misread an array.
    """

    state: Records = field(metadata=_of(dtypes.STATE))
    streams: Records = field(metadata=_of(dtypes.STREAM))
    arrivals: Records = field(metadata=_of(dtypes.ARRIVAL))
    turns: Records = field(metadata=_of(dtypes.TURN))
    returns: Records = field(metadata=_of(dtypes.RETURN))
    sent: Records = field(metadata=_of(dtypes.ARRIVAL))
    requests: Records = field(metadata=_of(dtypes.REQUEST))
    replicas: Records = field(metadata=_of(dtypes.REPLICA))
    queues: Records = field(metadata=_of(dtypes.QUEUE))
    slots: Records = field(metadata=_of(dtypes.SLOT))
    kv_growth: NDArray[np.int64] = field(metadata=_of(np.int64))
    hashes: NDArray[np.int64] = field(metadata=_of(np.int64))
    shelves: Records = field(metadata=_of(dtypes.SHELF))
    stores: Records = field(metadata=_of(dtypes.STORE))
    entries: Records = field(metadata=_of(dtypes.ENTRY))
    places: NDArray[np.int64] = field(metadata=_of(np.int64))
    calendar: Records = field(metadata=_of(dtypes.CALENDAR))
    active: NDArray[np.int64] = field(metadata=_of(np.int64))
    pools: Records = field(metadata=_of(dtypes.POOL))
    steps: Records = field(metadata=_of(dtypes.STEP_COST))
    tiers: Records = field(metadata=_of(dtypes.TIER))
    classes: Records = field(metadata=_of(dtypes.CLASS))
    routes: NDArray[np.int64] = field(metadata=_of(np.int64))
    visitors: NDArray[np.float64] = field(metadata=_of(np.float64))
    drafts: Records = field(metadata=_of(dtypes.DRAFT))
    acceptance: NDArray[np.float64] = field(metadata=_of(np.float64))
    histograms: NDArray[np.float64] = field(metadata=_of(np.float64, dimensions=3))
    class_windows: Records = field(metadata=_of(dtypes.CLASS_WINDOW))
    pool_windows: Records = field(metadata=_of(dtypes.POOL_WINDOW))
    finished: Records = field(metadata=_of(dtypes.FINISHED))
    table: NDArray[np.int64] = field(init=False, repr=False)
    """Address and shape of each of the above, in this order, shape `(30, 1 + MOST_DIMENSIONS)`."""

    def __post_init__(self) -> None:
        table = np.zeros((len(ARRAYS), 1 + MOST_DIMENSIONS), np.int64)
        for row, (name, (dtype, dimensions)) in zip(table, ARRAYS.items(), strict=True):
            array = getattr(self, name)
            if array.dtype != dtype or array.ndim != dimensions or not array.flags.carray:
                raise TypeError(
                    f"World.{name} must be a contiguous, writable array of {dimensions} dimensions "
                    f"of {dtype}, not of {array.ndim} dimensions of {array.dtype}"
                )
            row[0] = array.ctypes.data
            row[1 : 1 + dimensions] = array.shape
        object.__setattr__(self, "table", table)


ARRAYS: Final[dict[str, tuple[np.dtype[Any], int]]] = {
    each.name: (each.metadata["dtype"], each.metadata["dimensions"])
    for each in fields(World)
    if each.init
}
"""Element type and number of dimensions of every array of a `World`."""
