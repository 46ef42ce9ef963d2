"""Attention over context, as the few coefficients that a step time is made of.

A decode step reads the whole context of its sequences: `floor + sequences · a + context · b`.
Prefill attention takes a time per token and one per pair of query and key position. Both are lines
through the curves at typical operating points (`straight.py`), or follow from the roofline where
there are none.

A sliding window that is shorter than the typical context is charged in full, per sequence and per
token; a longer one never bites, and counts as full attention.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, fields, replace
from typing import Final

import numpy as np

from planner.curves.curve import Curve, Tier
from planner.curves.device import Device, basis_of, lowest_tier
from planner.curves.forms.base import Shape
from planner.curves.layout import DTYPE_BYTES, Dtypes
from planner.curves.operators import HIDDEN_BYTES, AttentionWork, Operator
from planner.curves.straight import (
    DecodeLine,
    PrefillLine,
    linear_decode,
    linear_mla_decode,
    linear_mla_prefill,
    linear_prefill,
    linear_state_decode,
    linear_state_prefill,
)

USUAL_SEQUENCES: Final = 64.0
"""Sequences that decode together in a busy replica, for the line through a decode curve."""
USUAL_CHUNK: Final = 2048.0
"""Prefill tokens of a step in a busy replica, for the line through a prefill curve."""
_CONVERTED: Final = HIDDEN_BYTES + DTYPE_BYTES["fp8"]
"""Traffic of one number read in 16 bits and written in fp8."""
_CLEARLY: Final = 0.9
"""A kernel is faster than another where it takes less than this share: beyond fit errors."""


@dataclass(frozen=True)
class AttentionTime:
    """Attention on one device [s]."""

    floor_s: float = 0.0
    """Per step: launches."""
    decode_s: float = 0.0
    """Per context token of the decoding sequences."""
    decode_seq_s: float = 0.0
    """Per decoding sequence: windows, recurrent states."""
    prefill_s: float = 0.0
    """Per pair of query and key."""
    token_s: float = 0.0
    """Per prefill token: windows, short chunks."""
    decode_memory_s: float = 0.0
    """The memory traffic in `decode_s`, at the chip's peak."""
    prefill_compute_s: float = 0.0
    """The arithmetic in `prefill_s`, at the chip's peak."""
    token_compute_s: float = 0.0
    """The arithmetic in `token_s`, at the chip's peak."""
    tier: Tier = "measured"
    basis: str = ""

    def times(self, factor: float) -> AttentionTime:
        """Return attention that takes a multiple of the time."""
        scaled = {
            field.name: factor * getattr(self, field.name)
            for field in fields(self)
            if field.name.endswith("_s")
        }
        return replace(self, **scaled)

    def __add__(self, other: AttentionTime) -> AttentionTime:
        """Return the attention of both, one after the other."""
        summed = {
            field.name: getattr(self, field.name) + getattr(other, field.name)
            for field in fields(self)
            if field.name.endswith("_s")
        }
        names = dict.fromkeys((*self.basis.split("; "), *other.basis.split("; ")))
        basis = "; ".join(name for name in names if name)
        return AttentionTime(**summed, tier=lowest_tier((self.tier, other.tier)), basis=basis)


@dataclass(frozen=True)
class TypicalLoad:
    """Where lines are drawn through curves, by device."""

    context_tokens: float
    """Of a decoding sequence."""
    sequences: float = USUAL_SEQUENCES
    chunk_tokens: float = USUAL_CHUNK


def attention_time(
    works: Iterable[AttentionWork], device: Device, dtypes: Dtypes, load: TypicalLoad
) -> AttentionTime:
    """Sum the attention of all layers, by what it is proportional to."""
    total = AttentionTime()
    for work in works:
        total += _one(work, device, dtypes, load)
    return total


def query_conversions(
    works: Iterable[AttentionWork], device: Device, dtypes: Dtypes
) -> Iterator[Operator]:
    """Yield the kernels that bring queries into the format of a cache in fp8.

    vLLM multiplies in fp8 what it caches in fp8, and for that converts the queries as well (its
    documentation of the quantised KV cache), one kernel per layer. Its timings of attention leave
    that out: at short contexts they differ by less than a launch between the caches. SGLang's
    differ by more, and TensorRT-LLM converts queries where it writes the cache. It is why an fp8
    cache pays from some context on only.
    """
    for work in works:
        decode = _curve(work, device, dtypes, "decode")
        if decode is None or (decode.key.engine, decode.key.kv_dtype) != ("vllm", "fp8"):
            continue
        yield Operator(
            "attention.query_conversion",
            activation_bytes_per_token=work.layers * work.query_heads * work.head_dim * _CONVERTED,
            kernels=work.layers,
        )


def _one(work: AttentionWork, device: Device, dtypes: Dtypes, load: TypicalLoad) -> AttentionTime:
    ideal = _ideal(work, device, load)
    decode = _curve(work, device, dtypes, "decode")
    prefill = _curve(work, device, dtypes, "prefill")
    if decode is None or prefill is None:
        return replace(_roofline(work, device, load, ideal), tier="estimated", basis="roofline")
    reading, filling = _lines(work, decode, prefill, load)
    device.remark(decode, "line", f"{reading.mean_relative_error:.0%} off its curve near typical")
    device.remark(prefill, "line", f"{filling.mean_relative_error:.0%} off its curve near typical")
    layers = float(work.layers)
    tiers: list[Tier] = [decode.tier, prefill.tier]
    if decode.key.kv_dtype not in ("", _cache_format(dtypes)):
        # measured with another cache: traffic goes by its bytes
        scale = dtypes.kv_bytes / DTYPE_BYTES[decode.key.kv_dtype]
        device.remark(decode, "cache", f"read as a cache in {dtypes.kv}, by its bytes")
        reading = reading._replace(per_context_token_s=reading.per_context_token_s * scale)
        tiers.append("estimated")
    bites = work.window_tokens is not None and load.context_tokens >= work.window_tokens
    return replace(
        ideal,
        floor_s=layers * reading.floor_s,  # one kernel serves both, and most steps only decode
        decode_s=max(layers * reading.per_context_token_s, ideal.decode_memory_s),
        decode_seq_s=layers * reading.per_sequence_s,
        prefill_s=0.0 if bites else max(layers * filling.per_pair_s, ideal.prefill_compute_s),
        token_s=max(layers * filling.per_token_s, ideal.token_compute_s),
        tier=lowest_tier(tiers),
        basis="; ".join(dict.fromkeys((basis_of(decode), basis_of(prefill)))),
    )


def _curve(work: AttentionWork, device: Device, dtypes: Dtypes, phase: str) -> Curve | None:
    """Return the curve of decode or prefill for a kind of attention and a cache format."""
    if work.kind == "compressed":
        return None
    names = {"linear": "linear_{}", "mla": "mla_{}_attention"}.get(work.kind, "{}_attention")
    name, cache = names.format(phase), _cache_format(dtypes)
    formats = [("bf16", cache), ("fp8", cache), ("bf16", "bf16"), ("bf16", "")]
    if phase == "decode" and DTYPE_BYTES[cache] <= DTYPE_BYTES["fp8"]:
        # A narrow cache is unpacked as one in fp8 is, which costs more than its bytes tell.
        # A prompt's own keys are at hand in 16 bits, so prefill stays with what was measured.
        formats.insert(2, ("bf16", "fp8"))
    candidates = (device.curve(name, arithmetic, kind) for arithmetic, kind in formats)
    curve = next((curve for curve in candidates if curve is not None), None)
    if curve is not None and phase == "prefill":
        curve = _faster(curve, device.curve(name, "fp8", cache), work)
    if curve is not None:
        device.uses(curve)
    return curve


def _cache_format(dtypes: Dtypes) -> str:
    """Return the format by which kernels know a cache: both of 16 bits are one to them."""
    return "bf16" if dtypes.kv == "fp16" else dtypes.kv


def _faster(curve: Curve, other: Curve | None, work: AttentionWork) -> Curve:
    """Return the one of an engine's two kernels for a cache that the engine would run.

    The time is that of two chunks, the first of a prompt and a later one. On Hopper, SGLang takes
    ten times as long to multiply an fp8 cache in 16 bits as in fp8, its default there; on Ada it is
    the other way round.
    """
    if other is None or other.key == curve.key or work.kind == "linear":
        return curve
    if (other.key.engine, other.key.kv_dtype) != (curve.key.engine, curve.key.kv_dtype):
        return curve
    columns: Shape = {
        "sequences": np.ones(2),
        "new_tokens": np.full(2, USUAL_CHUNK),
        "context_tokens": np.array([0.0, 4.0 * USUAL_CHUNK]),
        "query_heads": np.full(2, work.query_heads),
        "kv_heads": np.full(2, work.kv_heads),
        "head_dim": np.full(2, float(work.head_dim)),
        "window_tokens": np.full(2, float(work.window_tokens or 0)),
    }
    widened_s, narrow_s = (float(each.seconds(columns).sum()) for each in (curve, other))
    return other if narrow_s < _CLEARLY * widened_s else curve


def _lines(
    work: AttentionWork, decode: Curve, prefill: Curve, load: TypicalLoad
) -> tuple[DecodeLine, PrefillLine]:
    heads = work.query_heads
    if work.kind == "mla":
        return (
            linear_mla_decode(decode, heads, load.context_tokens, load.sequences),
            linear_mla_prefill(prefill, heads, load.chunk_tokens),
        )
    if work.kind == "linear":
        shape = (heads, work.kv_heads, float(work.head_dim))
        return (
            linear_state_decode(decode, *shape, load.sequences),
            linear_state_prefill(prefill, *shape, load.chunk_tokens),
        )
    window = float(work.window_tokens or 0)
    if load.context_tokens < window:
        window = 0.0
    return (
        linear_decode(
            decode,
            heads,
            work.kv_heads,
            work.head_dim,
            window,
            load.context_tokens,
            load.sequences,
        ),
        linear_prefill(prefill, heads, work.kv_heads, work.head_dim, window, load.chunk_tokens),
    )


def _ideal(work: AttentionWork, device: Device, load: TypicalLoad) -> AttentionTime:
    """Return traffic and arithmetic at the chip's peaks."""
    roofline = device.roofline
    pair_s = work.prefill_flops_per_pair / roofline.peak[roofline.wide]
    window = work.window_tokens
    if window is None or load.context_tokens < window:
        return AttentionTime(
            decode_memory_s=work.kv_bytes_per_token / roofline.bandwidth, prefill_compute_s=pair_s
        )
    return AttentionTime(token_compute_s=pair_s * window)


def _roofline(
    work: AttentionWork, device: Device, load: TypicalLoad, ideal: AttentionTime
) -> AttentionTime:
    token_s, pair_s, state_s = device.roofline.attention(work)
    window = work.window_tokens
    if window is None or load.context_tokens < window:
        return replace(ideal, decode_s=token_s, decode_seq_s=state_s, prefill_s=pair_s)
    return replace(ideal, decode_seq_s=state_s + token_s * window, token_s=pair_s * window)
