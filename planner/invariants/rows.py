"""The rows of requests that have ended."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from planner.invariants.shared import (
    NEVER_STARTED,
    ROUNDING,
    Records,
    by_class,
    has_fate,
    is_complete,
)
from planner.kernel.enums import Fate, Leg
from planner.kernel.world import World


def rows_agree_with_counts(world: World, finished: Records) -> Iterator[str]:
    """INV-13 rows agree with counts.

    There is one row per ended request, and rows and counts agree on every fate of every class.
    Catches a buffer that is handed out twice or overwritten before it was.
    """
    ended = by_class(world, "ended")
    rows = np.zeros_like(ended)
    np.add.at(rows, (finished["class"], finished["fate"]), 1)
    for index, fate in np.argwhere(rows != ended):
        yield (
            f"class {index}: {rows[index, fate]} rows, but {ended[index, fate]} requests ended "
            f"{Fate(int(fate)).name}"
        )


def causality(world: World, finished: Records) -> Iterator[str]:
    """INV-14 causality.

    Arrival, start, first token, answer and end come in this order; what was served had all of them,
    what was turned away had no start. The clock never runs backwards: rows end in order, none after
    now. Catches a run that is cut before the instant that cuts it.
    """
    arrival_s, finish_s = finished["arrival_s"], finished["finish_s"]
    started_s, first_token_s = finished["started_s"], finished["first_token_s"]
    answer_s = finished["first_answer_token_s"]
    served = finished["fate"] == Fate.SERVED
    started, spoke = ~np.isnan(started_s), ~np.isnan(first_token_s)
    for problem, wrong in (
        ("it ends before it arrives", finish_s < arrival_s),
        ("it starts before it arrives", started_s < arrival_s),
        ("its first token comes before its start", first_token_s < started_s),
        ("its answer comes before its first token", answer_s < first_token_s),
        ("it ends before its answer", finish_s < answer_s),
        ("it was served without an answer", served & np.isnan(answer_s)),
        ("it ends before it starts", finish_s < started_s),
        ("it ends before its first token", finish_s < first_token_s),
        ("it has a first token but no start", spoke & ~started),
        ("it was served without a first token", served & ~spoke),
        ("it was turned away after it had started", started & has_fate(finished, NEVER_STARTED)),
        ("it ends after the end of the simulation", finish_s > world.state["now_s"][0]),
        ("the row before it ends later", np.diff(finish_s, prepend=-np.inf) < 0.0),
    ):
        for position in np.flatnonzero(wrong)[:3]:
            yield f"row {finished['row'][position]}: {problem} ({finished[position]})"


def tokens_of_rows(world: World, finished: Records) -> Iterator[str]:
    """INV-15 tokens of rows.

    If nothing was preempted and nothing cut off half done, the tokens computed are exactly the
    prompt tokens that no cache had and the output tokens but the first of what was served, twice
    for what a lighter model had served before. Catches a closed form that is off by one step.
    """
    served = finished[finished["fate"] == Fate.SERVED]
    served = np.repeat(served, np.where(served["leg"] == Leg.ESCALATED, 2, 1))
    pools = world.pool_windows
    if pools["preemptions"].sum() or not is_complete(world, finished):
        return
    found = pools["cached_tokens"].sum() + pools["loaded_tokens"].sum()
    for name, tokens in (
        ("prefill_tokens", np.maximum(served["input_tokens"], 1).sum() - found),
        ("decode_tokens", (np.maximum(served["output_tokens"], 1) - 1).sum()),
    ):
        if pools[name].sum() != tokens:
            yield f"{name}: {pools[name].sum()} computed, {tokens} served"


def littles_law(world: World, finished: Records) -> Iterator[str]:
    """INV-16 Little's law.

    If nothing was cut off half done, or fetched from a tier meanwhile, the integral of the requests
    that wait, run or are on their way from one pool to another is the sum of the times that
    requests spent in the system (J. D. C. Little, Operations Research 9, 1961, in its exact form
    for a period that begins and ends empty). Catches waiting or running time that is accounted
    late, twice, or not at all.
    """
    pools = world.pool_windows
    if not is_complete(world, finished) or pools["loaded_tokens"].any():
        return
    spent_s = float((finished["finish_s"] - finished["arrival_s"]).sum())
    states = ("waiting_s", "batch_waiting_s", "running_s", "landing_s")
    integral_s = sum(float(pools[name].sum()) for name in states)
    if abs(spent_s - integral_s) > ROUNDING * spent_s + 1e-9:
        yield f"requests spent {spent_s} s in the system, the pools account for {integral_s} s"
