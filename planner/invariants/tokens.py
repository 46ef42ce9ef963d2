"""Tokens: what was computed is what was served, and every gap and latency was counted."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from planner.invariants.shared import by_class, class_windows, pool_windows
from planner.kernel.enums import Fate, Metric
from planner.kernel.world import World


def tokens_conserved(world: World) -> Iterator[str]:
    """INV-4 tokens conserved.

    Replicas have computed at least the tokens of what they served: every prompt was prefilled, less
    what caches had of it, and every output token but the first was decoded, save one per recomputed
    prompt. Reasoning tokens are output tokens. Catches a run that is cut without its steps being
    counted.
    """
    windows, pools = class_windows(world), pool_windows(world)
    served = int(windows["ended"][..., Fate.SERVED].sum())
    prefilled, prompts = int(pools["prefill_tokens"].sum()), int(windows["input_tokens"].sum())
    cached = int(windows["cached_tokens"].sum())
    if prefilled < prompts - cached:
        yield f"{prompts} prompt tokens were served, {cached} cached, but {prefilled} prefilled"
    if (windows["cached_tokens"] > windows["input_tokens"]).any():
        yield "more input tokens were cached than there were"
    decoded, outputs = int(pools["decode_tokens"].sum()), int(windows["output_tokens"].sum())
    preempted = int(pools["preemptions"].sum())
    if decoded < outputs - served - preempted:
        yield (
            f"{outputs} output tokens of {served} requests with {preempted} preemptions were "
            f"served, but {decoded} decoded"
        )
    if (windows["reasoning_tokens"] > windows["output_tokens"]).any():
        yield "a class has more reasoning tokens than output tokens in a window"


def token_gaps_counted(world: World) -> Iterator[str]:
    """INV-5 token gaps counted.

    Every decoded token has one gap before it, and so has the token that ends a recomputed prompt.
    With drafts, those of a last step that its request no longer needs have gaps as well. Without a
    warm-up all of them are in the histograms. Where acceptance is random, gaps are counted by its
    distribution, and so are not compared. Catches gaps that are weighted wrongly, or counted again
    when a run is settled in parts.
    """
    if not _emits_fixed_numbers(world):
        return
    gaps = int(world.histograms[:, Metric.ITL].sum())
    decoded = int(world.pool_windows["decode_tokens"].sum())
    preempted = int(world.pool_windows["preemptions"].sum())
    # A request ends its decoding once, and once more in a lighter pool whose answer is not kept.
    ends = int(by_class(world, "ended").sum() + world.pool_windows["escalated"].sum())
    dropped = int(world.pools["draft_depth"].max()) * ends
    least = decoded if world.state["warmup_s"][0] <= 0.0 else 0
    if not least <= gaps <= decoded + preempted + dropped:
        yield (
            f"{gaps} gaps for {decoded} decoded tokens, {preempted} preemptions and at most "
            f"{dropped} tokens beyond the ends of outputs"
        )


def _emits_fixed_numbers(world: World) -> bool:
    """Tell whether every step emits as many tokens of a sequence as any other of its class."""
    classes = len(world.classes)
    for number in np.flatnonzero(world.pools["draft_tokens"]):
        depth = int(world.pools["draft_depth"][number])
        for first in world.drafts["first"][number * classes : (number + 1) * classes]:
            table = world.acceptance[first : first + depth + 1]
            if not np.isin(table, (0.0, 1.0)).all():
                return False
    return True


def histograms_complete(world: World) -> Iterator[str]:
    """INV-6 histograms complete.

    Every measured request that was served is in the histograms of TTFT, TTFAT, E2E and queue time,
    and in that of TPOT at most once; every measured task that finished is in that of its latency.
    Catches percentiles over another set of requests than the fates say.
    """
    served = by_class(world, "measured_ended")[:, Fate.SERVED]
    counts = world.histograms.sum(axis=2)
    if (world.histograms < 0).any():
        yield "a bin of a histogram is negative"
    finished = by_class(world, "measured_tasks_finished")
    for metric in (Metric.TTFT, Metric.TTFAT, Metric.E2E, Metric.QUEUE, Metric.TASK_LATENCY):
        of_tasks = metric == Metric.TASK_LATENCY
        expected, what = (finished, "tasks finished") if of_tasks else (served, "requests served")
        for index in np.flatnonzero(counts[:, metric] != expected):
            yield (
                f"class {index}: {counts[index, metric]} values of {metric.name}, but "
                f"{expected[index]} measured {what}"
            )
    for index in np.flatnonzero(counts[:, Metric.TPOT] > served):
        yield (
            f"class {index}: {counts[index, Metric.TPOT]} values of TPOT for {served[index]} "
            "requests"
        )
