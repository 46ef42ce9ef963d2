"""Products in fp8 with a known scale, from those whose time includes finding it.

TensorRT-LLM's fp8 table times the search for the input's largest element along with conversion and
product: its least time is that of the table `computescale_perf`, plus that of `scale_matrix_perf`,
plus that of a small product in bf16 (12.1 = 7.9 + 1.8 + 2.4 µs on an H100). Checkpoints that this
engine serves in fp8 carry their scales, so the search is taken off: it depends on m and k only, and
both tables have the same values of them.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Final

import numpy as np

from planner.curves.timings import Timings

SEARCHING: Final = ("trtllm",)
"""Backends whose fp8 products include the search, though the engine needs none."""


def scale_table(products: Path) -> Path | None:
    """Return the table of searches that belongs to a table of products, or None.

    Args:
        products: `…/system/gemm/backend/version/gemm_perf.parquet`.

    """
    versions = products.parents[3] / "quantize" / products.parts[-3]
    same = versions / products.parts[-2] / "computescale_perf.parquet"
    if same.is_file():
        return same
    others = sorted(versions.glob("*/computescale_perf.parquet"))
    return others[-1] if others else None


def with_known_scales(timings: Timings, table: Path) -> tuple[Timings, str]:
    """Return the rows less the time of their search, and a note.

    Rows without a search of their m and k, and those that would be left without any time, go.
    """
    from pyarrow import parquet

    columns = parquet.ParquetFile(table).read(["m", "k", "latency"]).to_pydict()
    search: dict[tuple[float, float], list[float]] = {}
    for m, k, latency in zip(columns["m"], columns["k"], columns["latency"], strict=True):
        search.setdefault((float(m), float(k)), []).append(latency * 1e-3)
    pairs = zip(timings.shape["m"].tolist(), timings.shape["k"].tolist(), strict=True)
    found = np.array([float(np.median(search.get(pair, [np.nan]))) for pair in pairs])
    seconds = timings.seconds - found
    good = np.isfinite(seconds) & (seconds > 0)
    less = replace(timings, seconds=seconds).rows(good)
    note = f"fp8: the search for the scale (median {np.nanmedian(found) * 1e6:.1f} µs) is taken off"
    dropped = int(np.count_nonzero(~good))
    return less, note + (f"; {dropped} rows have none and are left out" if dropped else "")
