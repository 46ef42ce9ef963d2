"""Multi-head latent attention: one latent vector per token is cached, for all heads.

Prefill expands it to keys of 128 + 64 and values of 128 dimensions per head and then is like any
other attention. Decoding works on the latent itself (the projections up are absorbed into query
and output): each token of context is read once for all heads, and costs each head products with
512 + 64 and with 512 elements. The dimensions are those of every published model of the kind
(DeepSeek V2 to V3, Kimi K2), and those that were measured.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from planner.curves.forms.attention import (
    COLD_BYTES,
    FILLS_CACHE,
    WIDE_BYTES,
    attended_pairs,
    kv_bytes,
    with_cache,
)
from planner.curves.forms.base import Array, Form, Parameter, Peaks, Shape, smooth_maximum

LATENT = 512.0
ROPE = 64.0
_KEY = 192.0
_VALUE = 128.0


@dataclass(frozen=True)
class MlaPrefillAttention(Form):
    """Attention of chunks of prompts over expanded keys and values."""

    dtype: str = "bf16"
    kv_dtype: str = ""

    name: ClassVar[str] = "mla_prefill_attention"
    operators: ClassVar[tuple[str, ...]] = ("mla_prefill_attention",)
    shape: ClassVar[tuple[str, ...]] = (
        "sequences",
        "new_tokens",
        "context_tokens",
        "query_heads",
    )
    parameters: ClassVar[tuple[Parameter, ...]] = (
        Parameter("launch", "s", 1e-5, 5e-7, 1e-3, "fixed time of the kernels"),
        Parameter("compute", "", 0.6, 0.01, 2.0, "share of the peak that long prompts attain"),
        Parameter("traffic", "", 0.6, 0.02, 2.0, "share of the bandwidth that q, k, v, o attain"),
        Parameter("fill_query", "rows", 64.0, 0.5, 600.0, "rows added to fill query tiles"),
        Parameter("fill_key", "tokens", 64.0, 0.5, 4000.0, "keys added: mask, start of a tile"),
        Parameter(
            "lone", "tiles", 100.0, 0.01, 3000.0, "tiles of 128 rows that fill half the chip"
        ),
        Parameter("sharpness", "", 2.0, 1.0, 8.0, "how well arithmetic and traffic overlap"),
        Parameter("unit", "s", 5e-9, 1e-11, 2e-6, "fixed time of a (sequence, head)"),
    )

    def seconds(self, values: Array, shape: Shape, peaks: Peaks) -> Array:
        """Return launch + units + smooth maximum of arithmetic and traffic."""
        launch, compute, traffic, fill_q, fill_k, lone, sharp, unit = values
        sequences, heads = shape["sequences"], shape["query_heads"]
        new, prior = shape["new_tokens"], shape["context_tokens"]
        keys = attended_pairs(new, prior, np.zeros_like(new)) / new
        rows = sequences * heads * (new + fill_q) + lone * 128.0
        arithmetic = 2.0 * rows * (keys + fill_k) * (_KEY + _VALUE) / (peaks.flops * compute)
        per_head = (new + (prior + new)) * (_KEY + _VALUE)
        moved = sequences * heads * per_head * WIDE_BYTES
        streamed = moved / (peaks.bandwidth * traffic)
        result: Array = (
            launch + sequences * heads * unit + smooth_maximum(arithmetic, streamed, sharp)
        )
        return result


@dataclass(frozen=True)
class MlaDecodeAttention(Form):
    """Attention of one new token per sequence over the latent cache."""

    dtype: str = "bf16"
    kv_dtype: str = ""
    cache_bytes: float = 5e7
    """Of the chip's last-level cache: where a fit begins to look for `cache`."""

    name: ClassVar[str] = "mla_decode_attention"
    operators: ClassVar[tuple[str, ...]] = ("mla_decode_attention",)
    shape: ClassVar[tuple[str, ...]] = ("sequences", "context_tokens", "query_heads")
    parameters: ClassVar[tuple[Parameter, ...]] = (
        Parameter("launch", "s", 1e-5, 5e-7, 1e-3, "fixed time of the kernels"),
        Parameter("split", "s", 5e-7, 1e-8, 2e-5, "added per doubling of the context beyond 128"),
        Parameter("traffic", "", 0.7, 0.02, 1.2, "share of the bandwidth that long walks attain"),
        Parameter("compute", "", 0.5, 0.005, 1.3, "share of the peak that the products attain"),
        Parameter("fill", "heads", 16.0, 0.1, 128.0, "heads added to fill a tile"),
        Parameter("lone", "sequences", 1.0, 0.01, 100.0, "sequences that half fill the chip"),
        Parameter("unit", "s", 5e-8, 1e-11, 2e-5, "fixed time of a sequence"),
        Parameter("query", "", 2.0, 0.02, 300.0, "fixed time of a query head, over its traffic"),
        Parameter("sharpness", "", 2.0, 1.0, 8.0, "how well fixed and growing times overlap"),
        Parameter("cache", "B", 5e7, 1e6, 4e8, "latents that a repeated kernel finds cached"),
        Parameter("cached", "", 1.5, 1.0, 20.0, "speed of cached reads over the bandwidth's share"),
    )

    def seconds(self, values: Array, shape: Shape, peaks: Peaks) -> Array:
        """Return launch + split + smooth maximum of fixed times, arithmetic and traffic."""
        launch, split, traffic, compute, fill, lone, unit, query, sharp, cache, cached = values
        sequences, heads, keys = shape["sequences"], shape["query_heads"], shape["context_tokens"]
        token = (LATENT + ROPE) * kv_bytes(self.dtype, self.kv_dtype)
        hit = 1.0 / (1.0 + (sequences * keys * token / cache) ** FILLS_CACHE)
        from_memory = sequences * (1.0 - hit * (1.0 - 1.0 / cached)) + lone
        streamed = from_memory * keys * token / (peaks.bandwidth * traffic)
        pair = 2.0 * (heads + fill) * (2.0 * LATENT + ROPE)
        arithmetic = (sequences + lone) * keys * pair / (peaks.flops * compute)
        moved = sequences * heads * (2.0 * LATENT + ROPE) * WIDE_BYTES
        fixed = sequences * unit + query * moved / peaks.bandwidth
        growing = smooth_maximum(arithmetic, streamed, 4.0)
        result: Array = (
            launch + split * np.log2(1.0 + keys / 128.0) + smooth_maximum(fixed, growing, sharp)
        )
        return result

    def starts(self) -> Array:
        """Return the values that a fit begins with; the size of the cache is known."""
        return with_cache(self, super().starts(), self.cache_bytes)

    def cold(self, values: Array) -> Array:
        """Return the parameters of a step in a model, where nothing is found cached."""
        return with_cache(self, values, COLD_BYTES)
