"""Kernels that read and write memory and compute next to nothing: norms, copies, conversions.

seconds = launch + smooth maximum of (bytes / (bandwidth · share), round trip)

A stream that is shorter than one round trip to memory still takes one. What fits the cache may be
sooner than the memory allows, so `share` can exceed 1.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from planner.curves.forms.base import Array, Form, Parameter, Peaks, Shape, smooth_maximum

_OVERLAP = 3.0


@dataclass(frozen=True)
class Stream(Form):
    """Launch, then traffic."""

    dtype: str = "bf16"
    kv_dtype: str = ""

    name: ClassVar[str] = "stream"
    operators: ClassVar[tuple[str, ...]] = ("stream",)
    shape: ClassVar[tuple[str, ...]] = ("bytes",)
    parameters: ClassVar[tuple[Parameter, ...]] = (
        Parameter("launch", "s", 2e-6, 1e-7, 1e-4, "time of a kernel with nothing to move"),
        Parameter("share", "", 0.8, 0.01, 3.0, "share of the bandwidth that long streams attain"),
        Parameter("round_trip", "s", 1e-6, 1e-8, 1e-4, "read and write of one element"),
    )

    def seconds(self, values: Array, shape: Shape, peaks: Peaks) -> Array:
        """Return launch, then traffic or a round trip; see the module's text."""
        traffic = shape["bytes"] / (peaks.bandwidth * values[1])
        moving = smooth_maximum(traffic, np.broadcast_to(values[2], traffic.shape), _OVERLAP)
        time: Array = values[0] + moving
        return time
