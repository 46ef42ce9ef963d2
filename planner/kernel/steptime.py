"""Runs: the closed form for consecutive steps of one batch composition.

While the composition of a batch stays the same, its context grows by the same number of tokens a
step (one per decoding sequence, or what drafts yield in the mean), so step times form an arithmetic
progression `step_s, step_s + growth_s, …` and k steps take

    elapsed(k) = k·step_s + growth_s·k·(k − 1)/2
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from planner.kernel.jit import kernel
from planner.kernel.speculate import width_of
from planner.kernel.world import World

Records = NDArray[np.void]


@kernel
def elapsed_s(step_s: float, growth_s: float, steps: int) -> float:
    """Return the duration of the first `steps` steps of a run [s]."""
    return steps * step_s + growth_s * (0.5 * (steps * (steps - 1.0)))


@kernel
def boundary_s(replica: np.void, steps: int) -> float:
    """Return the instant at which the first `steps` steps of the run under way have ended [s]."""
    elapsed = elapsed_s(replica["step_s"], replica["step_growth_s"], steps)
    return float(replica["run_start_s"] + elapsed)


@kernel
def first_boundary(replica: np.void, time_s: float, after: bool) -> int:
    """Return the first boundary of the run under way at `time_s` or later, or only later.

    The root of the quadratic, in the form that does not cancel when growth is small, gives a first
    guess; the loops make it exact in the arithmetic that sets the end of a run.

    Args:
        replica: with a run under way.
        time_s: an instant after its start.
        after: a boundary at `time_s` itself does not count.

    Returns:
        the number of steps that end there, at least 1 and at most those of the run.
    """
    step_s = replica["step_s"]
    growth_s = replica["step_growth_s"]
    limit = int(replica["run_steps"])
    span_s = max(time_s - replica["run_start_s"], 0.0)
    half_s = step_s - 0.5 * growth_s
    divisor_s = half_s + math.sqrt(half_s * half_s + 2.0 * growth_s * span_s)
    root = 2.0 * span_s / divisor_s if divisor_s > 0.0 else 1.0
    steps = limit if root >= limit else max(1, math.ceil(root))
    while steps < limit and is_before(boundary_s(replica, steps), time_s, after):
        steps += 1
    while steps > 1 and not is_before(boundary_s(replica, steps - 1), time_s, after):
        steps -= 1
    return steps


@kernel
def steps_ended(replica: np.void, now_s: float, passed: bool) -> int:
    """Return how many steps of the run under way have ended at `now_s`; `passed` as in `cut_run`.

    So an arrival can see a replica as it is, between the boundaries at which its books are kept.
    """
    if replica["run_steps"] == 0:
        return 0
    # A control process may have seen steps end at this very instant.
    return max(first_boundary(replica, now_s, passed) - 1, int(replica["settled_steps"]))


@kernel
def is_before(boundary: float, time_s: float, after: bool) -> bool:
    """Tell whether a boundary comes too early: before `time_s`, or with `after` not after it."""
    return boundary <= time_s if after else boundary < time_s


@kernel
def start_run(replica: np.void, pool: np.void, steps: Records, now_s: float, count: int) -> None:
    """Start a run of `count` steps at `now_s` with the replica's present batch.

    The first step's context counts the tokens that it writes: C = context + decoding · width. While
    prompts are prefilled in steps of their own, no sequence decodes.
    """
    decoding = replica["decoding"]
    width = width_of(replica, pool)
    context = replica["context_tokens"] + decoding * width
    growth = replica["run_growth_tokens"]
    if pool["prefill_first"] == 1 and replica["prefilling"] > 0:
        if math.isnan(replica["paused_s"]) or decoding == 0:
            replica["paused_s"] = now_s
        decoding = 0
        context = 0
        growth = 0.0
    replica["advancing"] = decoding
    tokens = decoding * width + replica["prefill_tokens"]
    linear_s = steps[pool["step_table"] + tokens]["linear_s"]
    decode_s = pool["decode_s"]
    if decoding > 0 and replica["drafting"] == 1:
        linear_s += steps[pool["draft_table"] + decoding]["linear_s"]
        decode_s += pool["draft_decode_s"]
    replica["step_s"] = (
        pool["fixed_s"]
        + linear_s
        + decode_s * context
        + pool["decode_seq_s"] * decoding
        + pool["prefill_s"] * (0.5 * replica["prefill_work"])
    )
    replica["step_growth_s"] = decode_s * growth
    replica["run_tokens"] = tokens
    replica["run_steps"] = count
    replica["run_start_s"] = now_s
    replica["settled_steps"] = 0
    replica["run_end_s"] = boundary_s(replica, count)
    replica["cut"] = 1 if count == 1 else 0


@kernel
def has_passed(world: World, replica_index: int) -> bool:
    """Tell whether a replica's events of this very instant have happened: its turn is over."""
    state = world.state[0]
    return bool(state["event_s"] == state["now_s"] and replica_index <= state["event_replica"])


@kernel
def cut_run(replica: np.void, pool: np.void, now_s: float, passed: bool) -> bool:
    """End the run at its next boundary; tell whether that is earlier than planned.

    A run is cut where an arrival or a time-out could change the next batch: the next time that the
    queue is looked at. Idle replicas have none.

    Args:
        replica: whose run is under way.
        pool: of the replica.
        now_s: the instant of what could change the batch.
        passed: the replica's events of that very instant have happened: only a later boundary
            counts.
    """
    if replica["cut"] == 1 or replica["run_steps"] == 0:
        return False
    replica["cut"] = 1
    # Steps that a control process has already seen to end cannot be the next to end.
    count = max(first_boundary(replica, now_s, passed), replica["settled_steps"] + 1)
    count += -(replica["unpolled_steps"] + count) % pool["poll_steps"]
    if count >= replica["run_steps"]:
        return False
    replica["run_steps"] = count
    replica["run_end_s"] = boundary_s(replica, count)
    return True


@kernel
def look_again(replica: np.void, pool: np.void, now_s: float, passed: bool) -> None:
    """Let a replica look at its queue: now if it is idle, else at its next boundary that does.

    Arguments as for `cut_run`.
    """
    if replica["run_steps"] == 0:
        replica["run_end_s"] = now_s
    else:
        cut_run(replica, pool, now_s, passed)
