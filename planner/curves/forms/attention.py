"""Attention over cached keys and values: grouped-query, full or within a window.

Prefill of `sequences` chunks of `new_tokens` after `context_tokens` of earlier ones is arithmetic
over pairs of query and key; decoding one token per sequence is a walk through the cache. Both are
the smooth maximum of arithmetic and traffic on top of fixed times, with three effects that small
shapes show: tiles are filled up, a lone tile or sequence cannot occupy the whole chip, and every
(sequence, head) costs something even with an empty context.

The cache of the chip matters for *measurements*: a benchmark that repeats one kernel on the same
keys and values finds them in the last-level cache if they fit, and runs 2 to 6 times faster than
the memory allows. In a model's step, weights and the other layers' keys have pushed them out. So
decode curves carry a `cache` term, and `cold` takes it away; steps must use the cold values.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Protocol, runtime_checkable

import numpy as np

from planner.curves.forms.base import Array, Form, Parameter, Peaks, Shape, smooth_maximum
from planner.curves.peaks import format_of

WIDE_BYTES = 2.0
"""Queries and outputs are held in 16 bits."""
FILLS_CACHE = 20.0
"""How sharply hits in the last-level cache end where the working set outgrows it."""
COLD_BYTES = 1.0
"""A last-level cache too small to hold anything."""


def kv_bytes(dtype: str, kv_dtype: str) -> float:
    """Return the bytes of one element of the cache; a blank format is that of the arithmetic."""
    return format_of(kv_dtype or dtype).weight_bytes


@runtime_checkable
class Cached(Protocol):
    """A form whose timings may have found their working set in the last-level cache."""

    def cold(self, values: Array) -> Array:
        """Return the parameters of a step in a model, where nothing is found cached."""


def with_cache(form: Form, values: Array, cache_bytes: float) -> Array:
    """Return the parameters of `form` with another size of the last-level cache."""
    changed = np.array(values, dtype=np.float64)
    changed[[parameter.name for parameter in form.parameters].index("cache")] = cache_bytes
    return changed


def attended_pairs(new: Array, prior: Array, window: Array) -> Array:
    """Return the pairs of query and key of one sequence under a causal mask.

    Query i of a chunk sees the `prior + i + 1/2` keys before it (the half for its own), at most
    `window` of them if that is not 0: new·(prior + new/2) less what lies outside the window.

    >>> attended_pairs(np.array([4.0]), np.array([10.0]), np.array([0.0]))
    array([48.])
    """
    reach = np.where(window > 0, window, np.inf)
    beyond_end = np.maximum(prior + new - reach, 0.0)
    beyond_start = np.maximum(prior - reach, 0.0)
    pairs: Array = new * (prior + new / 2.0) - (beyond_end**2 - beyond_start**2) / 2.0
    return pairs


def visible_tokens(context: Array, window: Array) -> Array:
    """Return the tokens of context that a query sees.

    >>> visible_tokens(np.array([100.0, 5000.0]), np.array([0.0, 1024.0]))
    array([ 100., 1024.])
    """
    visible: Array = np.where(window > 0, np.minimum(context, window), context)
    return visible


@dataclass(frozen=True)
class PrefillAttention(Form):
    """Attention of chunks of prompts: arithmetic over pairs, in tiles of query rows."""

    dtype: str = "bf16"
    kv_dtype: str = ""

    name: ClassVar[str] = "prefill_attention"
    operators: ClassVar[tuple[str, ...]] = ("prefill_attention",)
    shape: ClassVar[tuple[str, ...]] = (
        "sequences",
        "new_tokens",
        "context_tokens",
        "query_heads",
        "kv_heads",
        "head_dim",
        "window_tokens",
    )
    parameters: ClassVar[tuple[Parameter, ...]] = (
        Parameter("launch", "s", 8e-6, 5e-7, 1e-4, "fixed time of the kernels"),
        Parameter("compute", "", 0.6, 0.01, 2.0, "share of the peak that long prompts attain"),
        Parameter("traffic", "", 0.6, 0.02, 2.0, "share of the bandwidth that q, k, v, o attain"),
        Parameter("softmax", "elements", 8.0, 0.5, 300.0, "exponentials, as added head dimension"),
        Parameter("fill_query", "rows", 64.0, 0.5, 600.0, "rows added to fill query tiles"),
        Parameter("fill_key", "tokens", 64.0, 0.5, 2000.0, "keys added: mask and start of a tile"),
        Parameter(
            "lone", "tiles", 100.0, 0.01, 3000.0, "tiles of 128 rows that fill half the chip"
        ),
        Parameter("sharpness", "", 2.0, 1.0, 8.0, "how well arithmetic and traffic overlap"),
        Parameter("unit", "s", 5e-9, 1e-11, 2e-6, "fixed time of a (sequence, query head)"),
    )

    def seconds(self, values: Array, shape: Shape, peaks: Peaks) -> Array:
        """Return launch + units + smooth maximum of arithmetic and traffic."""
        launch, compute, traffic, softmax, fill_q, fill_k, lone, sharp, unit = values
        sequences, heads = shape["sequences"], shape["query_heads"]
        new, prior, depth = shape["new_tokens"], shape["context_tokens"], shape["head_dim"]
        window = shape["window_tokens"]
        pairs = attended_pairs(new, prior, window)
        keys = pairs / new
        # a chip with few tiles waits for the slowest: as if `lone` more tiles were at work
        rows = sequences * heads * (new + fill_q) + lone * 128.0
        work = 4.0 * rows * (keys + fill_k) * (depth + softmax)
        arithmetic = work / (peaks.flops * compute)
        read = np.where(window > 0, np.minimum(prior, window), prior)
        moved = (
            sequences
            * depth
            * 2.0
            * (
                heads * new * WIDE_BYTES
                + shape["kv_heads"] * (read + new) * kv_bytes(self.dtype, self.kv_dtype)
            )
        )
        streamed = moved / (peaks.bandwidth * traffic)
        result: Array = (
            launch + sequences * heads * unit + smooth_maximum(arithmetic, streamed, sharp)
        )
        return result


@dataclass(frozen=True)
class DecodeAttention(Form):
    """Attention of one new token per sequence: a walk through the cache."""

    dtype: str = "bf16"
    kv_dtype: str = ""
    cache_bytes: float = 5e7
    """Of the chip's last-level cache: where a fit begins to look for `cache`."""

    name: ClassVar[str] = "decode_attention"
    operators: ClassVar[tuple[str, ...]] = ("decode_attention",)
    shape: ClassVar[tuple[str, ...]] = (
        "sequences",
        "context_tokens",
        "query_heads",
        "kv_heads",
        "head_dim",
        "window_tokens",
    )
    parameters: ClassVar[tuple[Parameter, ...]] = (
        Parameter("launch", "s", 8e-6, 5e-7, 1e-4, "fixed time of the kernels"),
        Parameter("split", "s", 5e-7, 1e-8, 2e-5, "added per doubling of the context beyond 128"),
        Parameter("traffic", "", 0.8, 0.02, 1.2, "share of the bandwidth that long walks attain"),
        Parameter("compute", "", 0.3, 0.001, 1.3, "share of the peak that the products attain"),
        Parameter("lone", "kv heads", 1.0, 0.01, 100.0, "heads at work that half fill the chip"),
        Parameter("unit", "s", 1e-8, 1e-11, 2e-6, "fixed time of a (sequence, kv head)"),
        Parameter("query", "", 2.0, 0.02, 300.0, "fixed time of a query head, over its traffic"),
        Parameter("sharpness", "", 2.0, 1.0, 8.0, "how well fixed and growing times overlap"),
        Parameter("cache", "B", 5e7, 1e6, 4e8, "keys and values a repeated kernel finds cached"),
        Parameter("cached", "", 2.0, 1.0, 20.0, "speed of cached reads over the bandwidth's share"),
        Parameter("apart", "", 0.1, 0.001, 1.0, "share of query heads that walk a window apart"),
        Parameter("windowed", "s", 1e-6, 1e-8, 5e-5, "added to the fixed time by a window"),
    )

    def seconds(self, values: Array, shape: Shape, peaks: Peaks) -> Array:
        """Return launch + split + smooth maximum of fixed times, arithmetic and traffic."""
        (
            launch,
            split,
            traffic,
            compute,
            lone,
            unit,
            query,
            sharp,
            cache,
            cached,
            apart,
            windowed,
        ) = values
        sequences, heads, depth = shape["sequences"], shape["query_heads"], shape["head_dim"]
        keys = visible_tokens(shape["context_tokens"], shape["window_tokens"])
        window = shape["window_tokens"] > 0
        # the heads of a group share a walk, but some kernels with a window let each walk alone
        walkers = shape["kv_heads"] + apart * window * (heads - shape["kv_heads"])
        walks = sequences * walkers
        token = 2.0 * depth * kv_bytes(self.dtype, self.kv_dtype)
        hit = 1.0 / (1.0 + (walks * keys * token / cache) ** FILLS_CACHE)
        # one sequence is split among few blocks, which cannot draw the full bandwidth
        from_memory = walks * (1.0 - hit * (1.0 - 1.0 / cached)) + lone
        streamed = from_memory * keys * token / (peaks.bandwidth * traffic)
        arithmetic = 4.0 * sequences * heads * keys * depth / (peaks.flops * compute)
        moved = sequences * heads * depth * 2.0 * WIDE_BYTES
        fixed = walks * unit + query * moved / peaks.bandwidth
        growing = smooth_maximum(arithmetic, streamed, 4.0)
        result: Array = (
            launch
            + windowed * window
            + split * np.log2(1.0 + keys / 128.0)
            + smooth_maximum(fixed, growing, sharp)
        )
        return result

    def starts(self) -> Array:
        """Return the values that a fit begins with; the size of the cache is known."""
        return with_cache(self, super().starts(), self.cache_bytes)

    def cold(self, values: Array) -> Array:
        """Return the parameters of a step in a model, where nothing is found cached."""
        return with_cache(self, values, COLD_BYTES)
