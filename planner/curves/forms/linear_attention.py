"""Linear attention (gated delta rule, Mamba 2, Kimi delta): a state per sequence and head.

The state of a value head is a matrix of head_dim × head_dim numbers in 32 bits. Decoding reads and
writes it once per sequence, whatever the context. Prefill carries it through chunks of tokens: time
grows with tokens × heads, with a chain of chunks that one sequence cannot run in parallel. The
short convolution over the inputs is part of the operator.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from planner.curves.forms.attention import COLD_BYTES, FILLS_CACHE, WIDE_BYTES, with_cache
from planner.curves.forms.base import Array, Form, Parameter, Peaks, Shape, smooth_maximum

_STATE_BYTES = 4.0
"""States are kept in 32 bits."""
_CHUNK = 64.0
"""Tokens that prefill kernels handle as one."""


def mixed_width(shape: Shape) -> Array:
    """Return the elements per token that the convolution sees: queries, keys and values."""
    width: Array = (2.0 * shape["key_heads"] + shape["value_heads"]) * shape["head_dim"]
    return width


@dataclass(frozen=True)
class LinearDecode(Form):
    """One new token per sequence: read, update and write every state."""

    dtype: str = "bf16"
    kv_dtype: str = ""
    cache_bytes: float = 5e7
    """Of the chip's last-level cache: where a fit begins to look for `cache`."""

    name: ClassVar[str] = "linear_decode"
    operators: ClassVar[tuple[str, ...]] = ("linear_decode",)
    shape: ClassVar[tuple[str, ...]] = ("sequences", "key_heads", "value_heads", "head_dim")
    parameters: ClassVar[tuple[Parameter, ...]] = (
        Parameter("launch", "s", 6e-6, 5e-7, 1e-3, "fixed time of the kernels"),
        Parameter("traffic", "", 0.7, 0.02, 1.3, "share of the bandwidth that states attain"),
        Parameter("inputs", "", 2.0, 0.02, 100.0, "time of the inputs, over their traffic"),
        Parameter("sharpness", "", 2.0, 1.0, 8.0, "how well launch and traffic overlap"),
        Parameter("cache", "B", 5e7, 1e6, 4e8, "states that a repeated kernel finds cached"),
        Parameter("cached", "", 2.0, 1.0, 20.0, "speed of cached states over the others"),
    )

    def seconds(self, values: Array, shape: Shape, peaks: Peaks) -> Array:
        """Return the smooth maximum of launch and state traffic, plus the inputs."""
        launch, traffic, inputs, sharp, cache, cached = values
        sequences = shape["sequences"]
        states = sequences * shape["value_heads"] * shape["head_dim"] ** 2 * _STATE_BYTES
        hit = 1.0 / (1.0 + (states / cache) ** FILLS_CACHE)
        streamed = 2.0 * states * (1.0 - hit * (1.0 - 1.0 / cached)) / (peaks.bandwidth * traffic)
        read = sequences * mixed_width(shape) * 2.0 * WIDE_BYTES
        result: Array = (
            smooth_maximum(launch + 0.0 * states, streamed, sharp) + inputs * read / peaks.bandwidth
        )
        return result

    def starts(self) -> Array:
        """Return the values that a fit begins with; the size of the cache is known."""
        return with_cache(self, super().starts(), self.cache_bytes)

    def cold(self, values: Array) -> Array:
        """Return the parameters of a step in a model, where nothing is found cached."""
        return with_cache(self, values, COLD_BYTES)


@dataclass(frozen=True)
class LinearPrefill(Form):
    """Chunks of prompts: per-token work of all heads, and a chain of chunks per sequence."""

    dtype: str = "bf16"
    kv_dtype: str = ""

    name: ClassVar[str] = "linear_prefill"
    operators: ClassVar[tuple[str, ...]] = ("linear_prefill",)
    shape: ClassVar[tuple[str, ...]] = (
        "sequences",
        "new_tokens",
        "key_heads",
        "value_heads",
        "head_dim",
    )
    parameters: ClassVar[tuple[Parameter, ...]] = (
        Parameter("launch", "s", 2e-5, 1e-6, 5e-3, "fixed time of the kernels"),
        Parameter("compute", "", 0.1, 0.001, 1.0, "share of the peak that long prompts attain"),
        Parameter("inputs", "", 2.0, 0.02, 200.0, "time of inputs and outputs, over their traffic"),
        Parameter("chain", "s", 1e-6, 1e-9, 1e-4, "time of a chunk in the chain of a sequence"),
        Parameter("state", "", 2.0, 0.02, 100.0, "time of the states, over their traffic"),
        Parameter("sharpness", "", 2.0, 1.0, 8.0, "how well chain and work overlap"),
    )

    def seconds(self, values: Array, shape: Shape, peaks: Peaks) -> Array:
        """Return launch + states + smooth maximum of the chain and the work of all tokens."""
        launch, compute, inputs, chain, state, sharp = values
        sequences, new = shape["sequences"], shape["new_tokens"]
        heads, depth = shape["value_heads"], shape["head_dim"]
        tokens = sequences * new
        # products within a chunk and with the state, per token and head
        flops = tokens * heads * (4.0 * _CHUNK * depth + 6.0 * depth**2)
        moved = tokens * mixed_width(shape) * 4.0 * WIDE_BYTES
        work = flops / (peaks.flops * compute) + inputs * moved / peaks.bandwidth
        states = sequences * heads * depth**2 * _STATE_BYTES
        result: Array = (
            launch
            + state * states / peaks.bandwidth
            + smooth_maximum(chain * np.ceil(new / _CHUNK) + 0.0 * work, work, sharp)
        )
        return result
