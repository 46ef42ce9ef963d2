"""The routed experts of one mixture layer, on the busiest device of the expert group.

`tokens` are those of the whole group. Each picks `active_experts` of `experts`; a device holds
experts / expert_parallel of them, of whose inner width it has the part 1 / tensor_parallel::

    launch      fixed time of routing, sorting, two grouped products and the weighted sum
    routing     tokens · active · hidden moved to be sorted and summed, by every device
    products    smooth maximum of arithmetic on tiles and the weights of the experts hit
    vectors     inputs, inner and outputs of the choices that fall on the device

Two more columns may be given. `load`: tokens of the busiest device over the mean, in place of the
fitted imbalance. `scattered`: 1 where devices get the tokens of their own experts only, so that
routing moves what falls on the device and not what the whole group has; kernels were timed with 0.

Expected distinct experts hit by n tokens are E·(1 − (1 − k/E)ⁿ) if routing is random and even. Real
routers are less even: `evenness` scales n, so that 1 is random and less hits fewer.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from planner.curves.forms.base import Array, Form, Parameter, Peaks, Shape, smooth_maximum
from planner.curves.peaks import format_of

_MATRICES = 3.0
"""Gate, up and down."""
_WIDE_BYTES = 2.0


def experts_hit(tokens: Array, active: Array, experts: Array) -> Array:
    """Return the expected number of distinct experts that `tokens` tokens pick.

    >>> experts_hit(np.array([1.0, 2.0]), np.array([2.0, 2.0]), np.array([8.0, 8.0]))
    array([2. , 3.5])
    """
    hit: Array = experts * (1.0 - (1.0 - np.minimum(active / experts, 1.0 - 1e-12)) ** tokens)
    return hit


@dataclass(frozen=True)
class Experts(Form):
    """Grouped products of routed experts: weights of those hit, tiles of those chosen."""

    dtype: str = "bf16"
    kv_dtype: str = ""

    name: ClassVar[str] = "experts"
    operators: ClassVar[tuple[str, ...]] = ("experts",)
    shape: ClassVar[tuple[str, ...]] = (
        "tokens",
        "hidden",
        "inner",
        "active_experts",
        "experts",
        "tensor_parallel",
        "expert_parallel",
    )
    parameters: ClassVar[tuple[Parameter, ...]] = (
        Parameter("launch", "s", 2e-5, 1e-6, 5e-4, "fixed time of all kernels of the layer"),
        Parameter("compute", "", 0.5, 0.01, 1.0, "share of the peak that large batches attain"),
        Parameter("traffic", "", 0.7, 0.02, 1.2, "share of the bandwidth that weights attain"),
        Parameter("fill", "tokens", 16.0, 0.1, 300.0, "tokens added per expert to fill tiles"),
        Parameter("fill_inner", "columns", 64.0, 0.5, 3000.0, "inner width added to fill tiles"),
        Parameter("evenness", "", 0.8, 0.2, 1.5, "tokens that hit as many experts at random"),
        Parameter(
            "imbalance", "", 0.1, 0.003, 3.0, "load of the busiest device over the mean, − 1"
        ),
        Parameter("routing", "", 1.0, 0.02, 60.0, "group's hidden vectors moved per choice"),
        Parameter("vectors", "", 1.0, 0.02, 60.0, "device's vectors moved per choice"),
        Parameter("expert", "s", 1e-7, 1e-10, 2e-5, "fixed time of an expert that is hit"),
        Parameter("sharpness", "", 2.0, 1.0, 8.0, "how well arithmetic and traffic overlap"),
    )

    def seconds(self, values: Array, shape: Shape, peaks: Peaks) -> Array:
        """Return launch + routing + products + vectors; see the module's text."""
        (
            launch,
            compute,
            traffic,
            fill,
            fill_inner,
            evenness,
            imbalance,
            routing,
            vectors,
            expert,
            sharp,
        ) = values
        tokens, active, groups = (
            shape["tokens"],
            shape["active_experts"],
            shape["expert_parallel"],
        )
        hidden, width = shape["hidden"], shape["inner"] / shape["tensor_parallel"]
        hit = experts_hit(tokens * evenness, active, shape["experts"]) / groups
        # at most one device per choice is busy, however uneven
        uneven = np.minimum(1.0 + imbalance * (1.0 - 1.0 / groups), groups)
        uneven = shape.get("load", uneven)
        choices = tokens * active / groups * uneven
        matrix = _MATRICES * hidden * (width + fill_inner)
        arithmetic = 2.0 * matrix * (choices + hit * fill) / (peaks.flops * compute)
        streamed = hit * matrix * format_of(self.dtype).weight_bytes / (peaks.bandwidth * traffic)
        routed = np.where(shape.get("scattered", 0.0 * groups) > 0.0, choices, tokens * active)
        moved = (routing * routed * hidden + vectors * choices * (hidden + width)) * _WIDE_BYTES
        result: Array = (
            launch
            + hit * expert
            + moved / peaks.bandwidth
            + smooth_maximum(arithmetic, streamed, sharp)
        )
        return result
