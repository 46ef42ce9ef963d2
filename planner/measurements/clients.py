"""What results of benchmark clients have in common: protocol and lengths from their words."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from planner.measurements.documents import Document
from planner.measurements.lengths import Empirical, Fixed, Lengths, Uniform
from planner.measurements.protocol import ClosedLoop, Flood, Poisson, Protocol

_FAR_OFF = 0.05
"""Recorded totals that differ by more than this from stated lengths count, not the stated ones."""


@dataclass(frozen=True)
class Sizes:
    """Prompt and output lengths of a run, and what was assumed about them."""

    prompt: Lengths
    output: Lengths
    paired: bool = False
    assumptions: tuple[str, ...] = ()


def protocol_of(
    requests: int,
    concurrency: int | None,
    rate_rps: float | None,
    burstiness: float = 1.0,
) -> Protocol:
    """Return the protocol of a client with an optional limit on concurrency and on rate.

    Args:
        requests: sent in all.
        concurrency: at most this many at a time; None or 0: no limit.
        rate_rps: None or infinite: as fast as the limit allows.
        burstiness: shape of the gamma distribution of the gaps.
    """
    limit = min(concurrency, requests) if concurrency else None
    if rate_rps is not None and math.isfinite(rate_rps):
        return Poisson(rate_rps, requests, None, burstiness, limit)
    return ClosedLoop(limit, requests) if limit else Flood(requests)


def recorded_sizes(name: str, prompts: Sequence[int], outputs: Sequence[int]) -> Sizes | None:
    """Return the lengths that a client recorded by request, without those of failed requests.

    Returns:
        None if nothing is left, or the two lists do not belong together.
    """
    if len(prompts) != len(outputs):
        return None
    pairs = [(p, o) for p, o in zip(prompts, outputs, strict=True) if p > 0 and o > 0]
    if not pairs:
        return None
    sides = tuple(zip(*pairs, strict=True))
    if all(len(set(side)) == 1 for side in sides):
        return Sizes(Fixed(pairs[0][0]), Fixed(pairs[0][1]))
    prompt, output = (
        Empirical(f"{name} {word}", side)
        for word, side in zip(("prompts", "outputs"), sides, strict=True)
    )
    return Sizes(prompt, output, paired=True)


def mean_sizes(prompt_tokens: float, output_tokens: float) -> Sizes | None:
    """Return lengths where only means are known; None if a mean is below 1 token."""
    if prompt_tokens < 1 or output_tokens < 1:
        return None
    return Sizes(
        Fixed(round(prompt_tokens)),
        Fixed(round(output_tokens)),
        assumptions=("lengths of requests are not recorded: all taken as the mean",),
    )


def random_sizes(
    nominal: tuple[int, int], lowest_share: float, means: tuple[float, float]
) -> Sizes | None:
    """Return lengths drawn uniformly between a share of the nominal ones and them.

    Returns:
        None if the means of the run say otherwise, as where outputs ended early.
    """
    sides = [Uniform(max(int(size * lowest_share), 1), size) for size in nominal]
    for side, mean in zip(sides, means, strict=True):
        if abs(side.mean_tokens - mean) > _FAR_OFF * mean:
            return None
    prompt, output = (Fixed(side.high) if side.low == side.high else side for side in sides)
    return Sizes(prompt, output)


def metrics_ms(document: Document, names: dict[str, str]) -> dict[str, float]:
    """Return metrics in seconds from keys in milliseconds; zeros, not measured, drop out.

    Args:
        document: holds the keys.
        names: key by metric, `{"ttft_mean_s": "mean_ttft_ms"}`.
    """
    found = {metric: document.number(key) for metric, key in names.items()}
    return {metric: value / 1e3 for metric, value in found.items() if value}


def metrics_plain(document: Document, names: dict[str, str]) -> dict[str, float]:
    """Return metrics whose unit needs no change."""
    found = {metric: document.number(key) for metric, key in names.items()}
    return {metric: value for metric, value in found.items() if value}
