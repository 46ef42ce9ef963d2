"""Runs: the closed form for consecutive steps of one batch composition.

While the composition of a batch stays the same, every decoding sequence's context grows by one
token a step, so step times form an arithmetic progression `step_s, step_s + growth_s, …` and k
steps take

    elapsed(k) = k·step_s + growth_s·k·(k − 1)/2
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from planner.kernel.jit import kernel

Records = NDArray[np.void]


@kernel
def elapsed_s(step_s: float, growth_s: float, steps: int) -> float:
    """Return the duration of the first `steps` steps of a run [s]."""
    return steps * step_s + growth_s * (0.5 * (steps * (steps - 1)))


@kernel
def steps_reaching(step_s: float, growth_s: float, span_s: float, limit: int) -> int:
    """Return the least k with `elapsed_s(k) ≥ span_s` (≥ 0), at least 1 and at most `limit`.

    The root of the quadratic, in the form that does not cancel when growth is small, gives a first
    guess; the loops make it exact in the arithmetic of `elapsed_s`.
    """
    half_s = step_s - 0.5 * growth_s
    divisor_s = half_s + math.sqrt(half_s * half_s + 2.0 * growth_s * span_s)
    root = 2.0 * span_s / divisor_s if divisor_s > 0.0 else 1.0
    k = limit if root >= limit else max(1, math.ceil(root))
    while k < limit and elapsed_s(step_s, growth_s, k) < span_s:
        k += 1
    while k > 1 and elapsed_s(step_s, growth_s, k - 1) >= span_s:
        k -= 1
    return k


@kernel
def start_run(replica: np.void, pool: np.void, steps: Records, now_s: float, count: int) -> None:
    """Start a run of `count` steps at `now_s` with the replica's present batch.

    The first step's context counts the token that it writes: C = context + decoding.
    """
    decoding = replica["decoding"]
    tokens = decoding + replica["prefill_tokens"]
    linear_s = steps[pool["step_table"] + tokens]["linear_s"]
    replica["step_s"] = (
        pool["fixed_s"]
        + linear_s
        + pool["decode_s"] * (replica["context_tokens"] + decoding)
        + pool["decode_seq_s"] * decoding
        + pool["prefill_s"] * (0.5 * replica["prefill_work"])
    )
    replica["step_growth_s"] = pool["decode_s"] * decoding
    replica["run_tokens"] = tokens
    replica["run_steps"] = count
    replica["run_start_s"] = now_s
    replica["run_end_s"] = now_s + elapsed_s(replica["step_s"], replica["step_growth_s"], count)
    replica["cut"] = 1 if count == 1 else 0


@kernel
def cut_run(replica: np.void, now_s: float) -> bool:
    """End the run at its next boundary at or after `now_s`; tell whether that is earlier.

    A run is cut where an arrival or a time-out could change the next batch. Idle replicas have
    none.
    """
    if replica["cut"] == 1 or replica["run_steps"] == 0:
        return False
    replica["cut"] = 1
    count = steps_reaching(
        replica["step_s"],
        replica["step_growth_s"],
        now_s - replica["run_start_s"],
        replica["run_steps"],
    )
    if count == replica["run_steps"]:
        return False
    replica["run_steps"] = count
    replica["run_end_s"] = replica["run_start_s"] + elapsed_s(
        replica["step_s"], replica["step_growth_s"], count
    )
    return True
