"""Attention curves as straight lines, the shape in which a simulated step can add them up.

A step knows sums over its batch: decoding sequences, their context tokens, prefilled tokens and
pairs of query and key. These functions return the floor and the slopes that follow a curve best
around a typical operating point, and how far off the line is there. Slopes are never negative.
"""

from __future__ import annotations

from itertools import combinations
from typing import Final, NamedTuple

import numpy as np

from planner.curves.curve import Curve
from planner.curves.forms.attention import Cached, attended_pairs
from planner.curves.forms.base import Array, Shape

_SEQUENCES: Final = np.array([1.0, 2, 4, 8, 16, 32, 64, 128, 256, 512])
_CONTEXTS: Final = np.array([256.0, 512, 1024, 2048, 4096, 8192, 16384, 32768])
_CHUNKS: Final = np.array([128.0, 256, 512, 1024, 2048, 4096, 8192, 16384])
_PRIORS: Final = np.array([0.0, 1024, 4096, 16384])
_REACH: Final = float(np.log(4.0))
"""Operating points count by a bell curve of this width in the logarithm around the typical one."""
_NEAR: Final = 4.0
"""The largest error is that of points within this factor of the typical one."""


class DecodeLine(NamedTuple):
    """seconds ≈ floor_s + per_sequence_s · sequences + per_context_token_s · total context."""

    floor_s: float
    per_sequence_s: float
    per_context_token_s: float
    max_relative_error: float
    """Largest error within a factor of four of the typical point."""
    mean_relative_error: float
    """Mean error, points near the typical one counting most."""


class PrefillLine(NamedTuple):
    """seconds ≈ floor_s + per_token_s · new tokens + per_pair_s · Σ new·(prior + new/2)."""

    floor_s: float
    per_token_s: float
    per_pair_s: float
    """0 with a window: what a token costs then no longer depends on its place."""
    max_relative_error: float
    """Largest error within a factor of four of the typical chunk."""
    mean_relative_error: float
    """Mean error, points near the typical chunk counting most."""


def step_seconds(curve: Curve, shape: Shape) -> Array:
    """Return the seconds of one operation within a step of a model, where nothing is cached.

    Timings of a repeated kernel find small working sets in the last-level cache. The form without
    its cache term says how long they take from memory. The correction, measured over the cached
    time, applies the less the more of that time the cache has taken away.
    """
    form = curve.form
    warm = form.seconds(curve.values, shape, curve.peaks)
    if not isinstance(form, Cached):
        return curve.seconds(shape)
    cold = form.seconds(form.cold(curve.values), shape, curve.peaks)
    if curve.correction is None:
        return cold
    corrected: Array = cold * curve.correction.ratio(shape) ** ((warm / cold) ** 2)
    return corrected


def linear_decode(
    curve: Curve,
    query_heads: float,
    kv_heads: float,
    head_dim: float,
    window_tokens: float = 0.0,
    typical_context: float = 2048.0,
    typical_sequences: float = 64.0,
) -> DecodeLine:
    """Return the line through a decode curve for one layer's heads on one device.

    Args:
        curve: of decode_attention.
        query_heads: of the device.
        kv_heads: of the device.
        head_dim: of keys.
        window_tokens: 0: none.
        typical_context: tokens per decoding sequence.
        typical_sequences: decoding at a time.
    """
    heads = {"query_heads": query_heads, "kv_heads": kv_heads, "head_dim": head_dim}
    heads["window_tokens"] = window_tokens
    return _decode_line(curve, heads, window_tokens, typical_context, typical_sequences)


def linear_mla_decode(
    curve: Curve,
    query_heads: float,
    typical_context: float = 2048.0,
    typical_sequences: float = 64.0,
) -> DecodeLine:
    """Return the line through a curve of mla_decode_attention; see `linear_decode`."""
    return _decode_line(
        curve, {"query_heads": query_heads}, 0.0, typical_context, typical_sequences
    )


def linear_state_decode(
    curve: Curve,
    key_heads: float,
    value_heads: float,
    head_dim: float,
    typical_sequences: float = 64.0,
) -> DecodeLine:
    """Return the line through a curve of linear_decode: a floor, and a time per sequence."""
    columns = {"key_heads": key_heads, "value_heads": value_heads, "head_dim": head_dim}
    sequences = _SEQUENCES
    seconds = step_seconds(curve, _shape(columns, sequences=sequences))
    far = np.abs(np.log(sequences / typical_sequences))
    (floor, slope), worst, mean = _line([np.ones_like(sequences), sequences], seconds, far)
    return DecodeLine(floor, slope, 0.0, worst, mean)


def linear_prefill(
    curve: Curve,
    query_heads: float,
    kv_heads: float,
    head_dim: float,
    window_tokens: float = 0.0,
    typical_new_tokens: float = 2048.0,
) -> PrefillLine:
    """Return the line through a prefill curve for one layer's heads on one device.

    Args:
        curve: of prefill_attention.
        query_heads: of the device.
        kv_heads: of the device.
        head_dim: of keys.
        window_tokens: 0: none.
        typical_new_tokens: of a step, all its chunks together.
    """
    heads = {"query_heads": query_heads, "kv_heads": kv_heads, "head_dim": head_dim}
    heads["window_tokens"] = window_tokens
    return _prefill_line(curve, heads, window_tokens, typical_new_tokens)


def linear_mla_prefill(
    curve: Curve, query_heads: float, typical_new_tokens: float = 2048.0
) -> PrefillLine:
    """Return the line through a curve of mla_prefill_attention; see `linear_prefill`."""
    return _prefill_line(curve, {"query_heads": query_heads}, 0.0, typical_new_tokens)


def linear_state_prefill(
    curve: Curve,
    key_heads: float,
    value_heads: float,
    head_dim: float,
    typical_new_tokens: float = 2048.0,
) -> PrefillLine:
    """Return the line through a curve of linear_prefill: a floor, and a time per token."""
    columns = {"key_heads": key_heads, "value_heads": value_heads, "head_dim": head_dim}
    seconds = step_seconds(
        curve, _shape(columns, sequences=np.ones_like(_CHUNKS), new_tokens=_CHUNKS)
    )
    far = np.abs(np.log(_CHUNKS / typical_new_tokens))
    (floor, slope), worst, mean = _line([np.ones_like(_CHUNKS), _CHUNKS], seconds, far)
    return PrefillLine(floor, slope, 0.0, worst, mean)


def _decode_line(
    curve: Curve, heads: dict[str, float], window: float, context: float, sequences: float
) -> DecodeLine:
    many, long = (each.ravel() for each in np.meshgrid(_SEQUENCES, _CONTEXTS, indexing="ij"))
    # beyond the window nothing grows, and within it a line in the context would not fit both sides
    within = long < window if window > 0 and context < window else long >= window
    if within.any():
        many, long = many[within], long[within]
    seconds = step_seconds(curve, _shape(heads, sequences=many, context_tokens=long))
    far = np.hypot(np.log(many / sequences), np.log(long / context))
    terms = [np.ones_like(many), many]
    if not window or context < window:
        terms.append(many * long)
    slopes, worst, mean = _line(terms, seconds, far)
    floor, per_sequence, per_token = (*slopes, 0.0)[:3]
    return DecodeLine(floor, per_sequence, per_token, worst, mean)


def _prefill_line(
    curve: Curve, heads: dict[str, float], window: float, typical: float
) -> PrefillLine:
    new, prior = (each.ravel() for each in np.meshgrid(_CHUNKS, _PRIORS, indexing="ij"))
    one = np.ones_like(new)
    seconds = step_seconds(
        curve, _shape(heads, sequences=one, new_tokens=new, context_tokens=prior)
    )
    # priors other than none are as likely as each other, and together as likely as none
    far = np.hypot(np.log(new / typical), np.where(prior > 0, 1.0, 0.0))
    terms = [one, new]
    if not window:
        terms.append(attended_pairs(new, prior, np.zeros_like(new)))
    slopes, worst, mean = _line(terms, seconds, far)
    floor, per_token, per_pair = (*slopes, 0.0)[:3]
    return PrefillLine(floor, per_token, per_pair, worst, mean)


def _shape(constants: dict[str, float], **columns: Array) -> Shape:
    rows = len(next(iter(columns.values())))
    return {**{name: np.full(rows, float(value)) for name, value in constants.items()}, **columns}


def _line(terms: list[Array], seconds: Array, far: Array) -> tuple[tuple[float, ...], float, float]:
    """Return the coefficients ≥ 0 with the least squared relative error, and that error.

    With a handful of terms, all choices of which are zero can be tried: the best of those whose
    coefficients come out positive is the solution of the bounded problem.
    """
    weight = np.exp(-0.5 * (far / _REACH) ** 2)
    matrix = np.stack(terms, axis=1) / seconds[:, None]
    rooted = np.sqrt(weight)
    best, least = np.zeros(len(terms)), float(weight.sum())
    for count in range(1, len(terms) + 1):
        for chosen in combinations(range(len(terms)), count):
            columns = list(chosen)
            found, *_ = np.linalg.lstsq(matrix[:, columns] * rooted[:, None], rooted, rcond=None)
            loss = float(np.sum(weight * (matrix[:, columns] @ found - 1.0) ** 2))
            if np.all(found >= 0.0) and loss < least:
                best, least = np.zeros(len(terms)), loss
                best[columns] = found
    error = np.abs(matrix @ best - 1.0)
    near = far <= np.log(_NEAR) + 1e-9
    worst = float(error[near].max()) if near.any() else float(error.max())
    mean = float(np.sum(weight * error) / weight.sum())
    return tuple(float(each) for each in best), worst, mean
