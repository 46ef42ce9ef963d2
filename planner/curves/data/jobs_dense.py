"""Jobs of matrix products, streams and collectives."""

from __future__ import annotations

from typing import Final

import numpy as np

from planner.catalog import load_catalog
from planner.curves.data.jobs import Job
from planner.curves.grid import GridSpec
from planner.curves.peaks import format_of
from planner.curves.timings import Timings

_MESSAGE: Final = GridSpec(("devices", "bytes"), (6, 24), stiffness=0.01)
_EXCHANGE: Final = GridSpec(("devices", "bytes"), (6, 16), stiffness=0.1)
"""Softer on the timings: exchanges of equal bytes differ by hidden size and number of experts."""


_BEATS_MEMORY: Final = 1.05
_NEAR_MEMORY: Final = 0.7
"""Of the bandwidth; what streams of weights from memory attain is 0.75 to 0.95."""


def within_a_node(timings: Timings) -> Timings:
    """Return the rows of one scale-up domain; a blank number of nodes means one."""
    nodes = timings.shape.get("nodes")
    return timings if nodes is None else timings.rows(~(np.nan_to_num(nodes, nan=1.0) > 1.0))


def from_memory(timings: Timings) -> Timings:
    """Return the rows whose weights came from memory, not from the cache.

    A product that is timed over and over may find its weights in the last-level cache, where no
    layer of a model does. It shows where products beat the bandwidth of the memory: in such a
    table, every product that comes near the bandwidth goes, if its weights are no larger than the
    largest that beat it.
    """
    catalog = load_catalog()
    kept = []
    keys = timings.keys()
    for key in keys:
        rows = timings.only(key)
        size = rows.shape["n"] * rows.shape["k"] * format_of(key.dtype).weight_bytes
        share = size / (catalog.chip(key.chip).memory_bandwidth.value * rows.seconds)
        beats = share > _BEATS_MEMORY
        if beats.any():
            rows = rows.rows(~((share > _NEAR_MEMORY) & (size <= size[beats].max())))
        kept.append(rows)
    return Timings.joined(kept)


JOBS: Final = (
    Job(
        "gemm",
        groups=("n", "k"),
        select=from_memory,
        # m has steps where kernels change; m·n is the number of tiles that share the processors
        correction=(GridSpec(("m", "n", "k"), (32, 9, 9)), GridSpec(("m*n", "k"), (60, 6))),
    ),
    Job("stream", groups=("bytes",), correction=GridSpec(("bytes",), (24,))),
    Job("all_reduce", groups=("bytes",), correction=_MESSAGE),
    Job("all_gather", groups=("bytes",), correction=_MESSAGE),
    Job("reduce_scatter", groups=("bytes",), correction=_MESSAGE),
    Job("all_to_all", groups=("bytes",), correction=_EXCHANGE, select=within_a_node),
)
