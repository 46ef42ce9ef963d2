"""Runs in closed form against adding up their steps."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from planner.kernel.dtypes import POOL, REPLICA, STEP_COST
from planner.kernel.steptime import cut_run, elapsed_s, start_run, steps_reaching

STEPS_S = st.floats(1e-6, 10.0)
SHARES = st.floats(0.0, 1.0)


@given(step_s=STEPS_S, share=SHARES, steps=st.integers(0, 10**6))
def test_elapsed_is_the_sum_of_the_steps(step_s: float, share: float, steps: int) -> None:
    growth_s = share * step_s
    exact = steps * Fraction(step_s) + Fraction(growth_s) * (steps * (steps - 1) // 2)
    assert elapsed_s(step_s, growth_s, steps) == pytest.approx(float(exact), rel=1e-15)


@given(step_s=STEPS_S, share=SHARES, span_s=st.floats(0.0, 1e5), limit=st.integers(1, 10**5))
@example(step_s=0.1, share=0.0, span_s=0.3, limit=10)  # 0.3 / 0.1 < 3, but 3 · 0.1 > 0.3
@example(step_s=0.1, share=0.0, span_s=0.7, limit=10)
@example(step_s=0.01, share=1e-30, span_s=50.0, limit=10**5)  # cancels in the schoolbook formula
def test_steps_reaching_is_the_least(
    step_s: float, share: float, span_s: float, limit: int
) -> None:
    growth_s = share * step_s
    steps = steps_reaching(step_s, growth_s, span_s, limit)
    assert 1 <= steps <= limit
    assert steps == limit or elapsed_s(step_s, growth_s, steps) >= span_s
    assert steps == 1 or elapsed_s(step_s, growth_s, steps - 1) < span_s


@given(step_s=STEPS_S, share=SHARES, steps=st.integers(1, 10**5), nudge=st.sampled_from([-1, 0, 1]))
def test_steps_reaching_at_the_very_boundary(
    step_s: float, share: float, steps: int, nudge: int
) -> None:
    growth_s = share * step_s
    boundary_s = elapsed_s(step_s, growth_s, steps)
    span_s = math.nextafter(boundary_s, math.inf * nudge) if nudge else boundary_s
    assert steps_reaching(step_s, growth_s, span_s, 10**6) == steps + (nudge > 0)


def test_steps_without_length_reach_nothing() -> None:
    assert steps_reaching(0.0, 0.0, 5.0, 7) == 7
    assert steps_reaching(0.0, 0.0, 0.0, 7) == 1


def started_run(count: int) -> np.ndarray:
    """Start a run of two sequences and one chunk, worked out below."""
    pool = np.zeros(1, POOL)
    pool["fixed_s"], pool["decode_s"] = 1.0, 0.25
    pool["decode_seq_s"], pool["prefill_s"] = 0.125, 0.5
    pool["step_table"] = 1
    steps = np.zeros(7, STEP_COST)
    steps["linear_s"] = [99.0, 0.0, 1.0, 2.0, 3.0, 4.0, 5.0]
    replica = np.zeros(1, REPLICA)
    replica["decoding"], replica["context_tokens"] = 2, 10
    replica["prefill_tokens"], replica["prefill_work"] = 3, 3 * (2 * 4 + 3)
    start_run(replica[0], pool[0], steps, 20.0, count)
    return replica


def test_a_run_of_a_worked_example() -> None:
    replica = started_run(1)[0]
    # fixed 1, linear of 5 tokens 5 − 1, contexts 0.25·(10 + 2), sequences 0.125·2, chunk
    # 0.5·3·(4 + 3/2).
    assert replica["step_s"] == 1.0 + 5.0 + 3.0 + 0.25 + 8.25
    assert replica["step_growth_s"] == 0.5
    assert replica["run_tokens"] == 5
    assert (replica["run_start_s"], replica["run_end_s"]) == (20.0, 37.5)
    assert replica["cut"] == 1  # it cannot end earlier


def test_a_run_is_cut_once() -> None:
    runs = started_run(4)
    replica = runs[0]
    assert (replica["cut"], replica["run_end_s"]) == (0, 20.0 + 4 * 17.5 + 0.5 * 6)
    assert cut_run(replica, 37.6)  # in its second step
    assert (replica["run_steps"], replica["run_end_s"]) == (2, 20.0 + 17.5 + 18.0)
    assert not cut_run(replica, 21.0)


def test_a_run_in_its_last_step_is_not_shortened() -> None:
    replica = started_run(2)[0]
    assert not cut_run(replica, 40.0)
    assert (replica["run_steps"], replica["cut"]) == (2, 1)


def test_an_idle_replica_has_no_run_to_cut() -> None:
    idle = np.zeros(1, REPLICA)
    assert not cut_run(idle[0], 1.0)
    assert idle["cut"] == 0
