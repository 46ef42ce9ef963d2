"""Whole steps of an engine with one model on a fixed number of devices.

Where nobody timed single operators but somebody timed steps, these forms say how a step grows with
its load. They take no peaks: their parameters are seconds of one model, split one way, on one chip,
so such a curve is never borrowed by another chip or model. With T = sequences · new tokens and
P = sequences · new · (prior + new / 2), the pairs of query and key under a causal mask::

    prefill   floor + smooth maximum of (token · T · (1 + crowded / (1 + (knee / T)⁴)), weights)
                    + pair · P
    decode    floor + sequence · sequences + context · sequences · context tokens

A small prefill takes the time in which the weights are read, a larger one that of its arithmetic.
Where layers were split over 4 or 8 devices, steps beyond some 3000 to 4500 tokens were measured to
cost a quarter to more than twice as much per token as shorter ones; over 2 devices, hardly more.
The cause is not known; exchanges between devices are one that would fit. `crowded` is the share
added, half of it at `knee`; a table that shows nothing of it leaves it near its lower bound.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Final

import numpy as np

from planner.curves.forms.base import Array, Form, Parameter, Peaks, Shape, smooth_maximum

_OVERLAP: Final = 4.0
"""How sharply arithmetic takes over from reading weights."""
_STEEPNESS: Final = 4.0
"""How sharply the time of a token rises around the knee."""
_FLOOR: Final = Parameter("floor", "s", 5e-3, 1e-6, 10.0, "time of a step with next to nothing")


@dataclass(frozen=True)
class StepPrefill(Form):
    """A step in which prompts, or chunks of them, are read; in seconds, relative to no peak."""

    dtype: str = "bf16"
    kv_dtype: str = ""

    name: ClassVar[str] = "step_prefill"
    operators: ClassVar[tuple[str, ...]] = ("step_prefill",)
    shape: ClassVar[tuple[str, ...]] = ("sequences", "new_tokens", "context_tokens")
    parameters: ClassVar[tuple[Parameter, ...]] = (
        _FLOOR,
        Parameter("token", "s", 1e-4, 1e-9, 1.0, "added by a token where arithmetic limits"),
        Parameter("weights", "s", 2e-2, 1e-4, 10.0, "least time of matrices: weights are read"),
        Parameter("pair", "s", 1e-9, 1e-13, 1e-3, "attention: added by a pair of query and key"),
        Parameter("crowded", "", 0.2, 0.01, 3.0, "share added to a token's time in large steps"),
        Parameter("knee", "tokens", 3000.0, 500.0, 3e4, "tokens at which half of it is added"),
    )

    def seconds(self, values: Array, shape: Shape, peaks: Peaks) -> Array:
        """Return the floor, the matrices of all tokens, and attention; see the module's text."""
        del peaks
        floor, token, weights, pair, crowded, knee = values
        new = shape["new_tokens"]
        tokens = shape["sequences"] * new
        pairs = tokens * (shape["context_tokens"] + new / 2.0)
        # a logistic curve in the logarithm of the tokens, which no number of them overflows
        beyond = 1.0 / (1.0 + np.exp(np.minimum(_STEEPNESS * np.log(knee / tokens), 700.0)))
        arithmetic = token * tokens * (1.0 + crowded * beyond)
        read = np.broadcast_to(weights, arithmetic.shape)
        time: Array = floor + smooth_maximum(arithmetic, read, _OVERLAP) + pair * pairs
        return time


@dataclass(frozen=True)
class StepDecode(Form):
    """A step in which each sequence gains a token; in seconds, relative to no peak."""

    dtype: str = "bf16"
    kv_dtype: str = ""

    name: ClassVar[str] = "step_decode"
    operators: ClassVar[tuple[str, ...]] = ("step_decode",)
    shape: ClassVar[tuple[str, ...]] = ("sequences", "context_tokens")
    parameters: ClassVar[tuple[Parameter, ...]] = (
        Parameter("floor", "s", 1e-2, 1e-6, 10.0, "time of a step: weights, kernels, scheduling"),
        Parameter("sequence", "s", 1e-4, 1e-9, 1.0, "added by a sequence"),
        Parameter("context", "s", 3e-8, 1e-13, 1e-3, "added by a cached token of a sequence"),
    )

    def seconds(self, values: Array, shape: Shape, peaks: Peaks) -> Array:
        """Return the floor, the sequences, and the walk through their contexts."""
        del peaks
        floor, sequence, context = values
        sequences = shape["sequences"]
        time: Array = floor + sequences * (sequence + context * shape["context_tokens"])
        return time
