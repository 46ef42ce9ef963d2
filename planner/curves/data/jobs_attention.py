"""Jobs of attention in all its kinds, and of routed experts."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from planner.curves.curve import CurveKey
from planner.curves.data.jobs import Job
from planner.curves.forms.attention import DecodeAttention
from planner.curves.forms.base import Form
from planner.curves.forms.linear_attention import LinearDecode
from planner.curves.forms.mla import MlaDecodeAttention
from planner.curves.grid import GridSpec
from planner.curves.timings import Timings

CACHE_BYTES: Final = {
    "a100-sxm": 40e6,
    "h100-sxm": 50e6,
    "h200-sxm": 50e6,
    "b200-sxm": 126e6,
    "b300-sxm": 126e6,
    "gb200": 126e6,
    "gb300": 126e6,
    "l40s": 96e6,
    "rtx-4090": 72e6,
    "rtx-pro-6000": 128e6,
}
"""Last-level cache by the makers' architecture papers: where a fit begins."""
_MEASURED_OVER_STATED: Final = 1.25
"""Part of a working set somewhat larger than the cache is still found there."""
_MOST_PER_GROUP: Final = 32.0
"""Query heads per key head; benchmarks go to 128, models to 16."""
_SHORTEST_PROMPT: Final = 16.0
_SHORTEST_CONTEXT: Final = 32.0
_UNGATED: Final = frozenset({(2688, 1856), (2048, 5120), (1024, 2688), (4096, 2688), (8192, 5120)})
"""Hidden and inner sizes of mixtures without a gate (Nemotron 3): two matrices, not three."""
_NARROWEST: Final = 96.0
"""Columns of an expert on a device; below, tensor parallelism is no longer of use."""


def cache_bytes(key: CurveKey) -> float:
    """Return where to look for the working set beyond which memory is read."""
    return _MEASURED_OVER_STATED * CACHE_BYTES.get(key.chip, 50e6)


def decode_form(key: CurveKey) -> Form:
    """Return the form of grouped-query decoding on a chip."""
    return DecodeAttention(key.dtype, key.kv_dtype, cache_bytes(key))


def mla_decode_form(key: CurveKey) -> Form:
    """Return the form of latent decoding on a chip."""
    return MlaDecodeAttention(key.dtype, key.kv_dtype, cache_bytes(key))


def state_form(key: CurveKey) -> Form:
    """Return the form of linear attention's decoding on a chip."""
    return LinearDecode(key.dtype, key.kv_dtype, cache_bytes(key))


def usual_heads(timings: Timings) -> Timings:
    """Return rows with head layouts that models have, and prompts or contexts worth a kernel."""
    columns = timings.shape
    keep = columns["query_heads"] <= _MOST_PER_GROUP * columns["kv_heads"]
    keep &= columns["head_dim"] <= 256
    # a window of 128 comes with heads of 64 (gpt-oss) or 192 dimensions; not with 128
    keep &= ~((columns["head_dim"] == 128) & (columns["window_tokens"] == 128))
    return timings.rows(keep & _long(timings))


def long_enough(timings: Timings) -> Timings:
    """Return rows with prompts or contexts worth a kernel."""
    return timings.rows(_long(timings))


def usual_experts(timings: Timings) -> Timings:
    """Return rows of gated mixtures, split as they are served."""
    columns = timings.shape
    pairs = zip(columns["hidden"].tolist(), columns["inner"].tolist(), strict=True)
    gated = np.array([(int(h), int(i)) not in _UNGATED for h, i in pairs], dtype=np.bool_)
    slices, groups = columns["tensor_parallel"], columns["expert_parallel"]
    served = (slices <= 8) & (groups <= 64) & (columns["experts"] >= 2 * groups)
    return timings.rows(gated & served & (columns["inner"] / slices >= _NARROWEST))


def _long(timings: Timings) -> NDArray[np.bool_]:
    columns = timings.shape
    if "new_tokens" in columns:
        return np.asarray(columns["new_tokens"] >= _SHORTEST_PROMPT)
    return np.asarray(columns["context_tokens"] >= _SHORTEST_CONTEXT)


_HEADS: Final = ("query_heads", "kv_heads", "head_dim", "window_tokens")

JOBS: Final = (
    Job(
        "prefill_attention",
        groups=_HEADS,
        correction=(
            GridSpec(
                ("sequences*query_heads", "new_tokens", "query_heads/kv_heads", "head_dim"),
                (11, 12, 5, 4),
            ),
            GridSpec(
                ("window_tokens", "head_dim", "new_tokens", "sequences*query_heads"),
                (5, 4, 8, 5),
            ),
        ),
        select=usual_heads,
    ),
    Job(
        "decode_attention",
        groups=_HEADS,
        correction=(
            GridSpec(
                ("sequences*kv_heads", "context_tokens", "query_heads/kv_heads", "head_dim"),
                (12, 12, 6, 4),
            ),
            GridSpec(
                ("window_tokens", "head_dim", "sequences*kv_heads", "context_tokens"),
                (5, 4, 8, 6),
            ),
            GridSpec(("sequences*kv_heads", "query_heads/kv_heads", "window_tokens"), (8, 5, 5)),
        ),
        select=usual_heads,
        form=decode_form,
    ),
    Job(
        "mla_prefill_attention",
        groups=("query_heads",),
        correction=GridSpec(("sequences", "new_tokens", "query_heads"), (8, 12, 8)),
        select=long_enough,
    ),
    Job(
        "mla_decode_attention",
        groups=("query_heads",),
        correction=GridSpec(("sequences", "context_tokens", "query_heads"), (10, 12, 8)),
        select=long_enough,
        form=mla_decode_form,
    ),
    Job(
        "linear_prefill",
        groups=("key_heads", "value_heads"),
        correction=GridSpec(
            ("sequences", "new_tokens", "value_heads", "value_heads/key_heads"), (7, 10, 5, 3)
        ),
    ),
    Job(
        "linear_decode",
        groups=("key_heads", "value_heads"),
        correction=GridSpec(
            ("sequences*value_heads", "sequences", "value_heads/key_heads"), (10, 6, 3)
        ),
        form=state_form,
    ),
    Job(
        "experts",
        groups=("hidden", "inner"),
        # the second grid knows the mixtures that were measured, which are those that are served
        correction=(
            GridSpec(
                (
                    "tokens*active_experts/experts",
                    "experts/expert_parallel",
                    "inner/tensor_parallel",
                    "expert_parallel",
                ),
                (14, 7, 6, 4),
            ),
            GridSpec(
                ("hidden", "experts", "tokens*active_experts/experts", "tensor_parallel"),
                (6, 5, 8, 4),
            ),
        ),
        select=usual_experts,
    ),
)
