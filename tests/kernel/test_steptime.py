"""Runs in closed form against adding up their steps."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from planner.kernel.dtypes import POOL, REPLICA, STEP_COST
from planner.kernel.steptime import (
    boundary_s,
    cut_run,
    elapsed_s,
    first_boundary,
    is_before,
    start_run,
)

STEPS_S = st.floats(1e-6, 10.0)
SHARES = st.floats(0.0, 1.0)


def polled(poll_steps: int) -> np.void:
    """Return a pool that looks at its queue every so many steps."""
    pool = np.zeros(1, POOL)[0]
    pool["poll_steps"] = poll_steps
    return pool


EVERY_STEP = polled(1)


@given(step_s=STEPS_S, share=SHARES, steps=st.integers(0, 10**6))
def test_elapsed_is_the_sum_of_the_steps(step_s: float, share: float, steps: int) -> None:
    growth_s = share * step_s
    exact = steps * Fraction(step_s) + Fraction(growth_s) * (steps * (steps - 1) // 2)
    assert elapsed_s(step_s, growth_s, steps) == pytest.approx(float(exact), rel=1e-15)


def run_of(step_s: float, growth_s: float, steps: int, start_s: float) -> np.void:
    """Return a replica in the middle of a run."""
    replica = np.zeros(1, REPLICA)[0]
    replica["step_s"], replica["step_growth_s"] = step_s, growth_s
    replica["run_steps"], replica["run_start_s"] = steps, start_s
    return replica


@given(
    step_s=STEPS_S,
    share=SHARES,
    start_s=st.sampled_from([0.0, 0.1, 12345.6, 86400.1]),
    span_s=st.floats(0.0, 1e5),
    steps=st.integers(1, 10**5),
    after=st.booleans(),
)
@example(step_s=0.1, share=0.0, start_s=0.0, span_s=0.3, steps=10, after=False)  # 3 · 0.1 > 0.3
@example(step_s=0.1, share=0.0, start_s=0.0, span_s=0.7, steps=10, after=True)
@example(step_s=0.01, share=1e-30, start_s=0.0, span_s=50.0, steps=10**5, after=False)  # cancels
def test_first_boundary_is_the_least(
    step_s: float, share: float, start_s: float, span_s: float, steps: int, after: bool
) -> None:
    replica = run_of(step_s, share * step_s, steps, start_s)
    time_s = start_s + span_s
    found = first_boundary(replica, time_s, after)
    assert 1 <= found <= steps
    assert found == steps or not is_before(boundary_s(replica, found), time_s, after)
    assert found == 1 or is_before(boundary_s(replica, found - 1), time_s, after)


@given(step_s=STEPS_S, share=SHARES, steps=st.integers(1, 10**5), after=st.booleans())
def test_first_boundary_at_the_very_boundary(
    step_s: float, share: float, steps: int, after: bool
) -> None:
    replica = run_of(step_s, share * step_s, 10**6, 0.0)
    assert first_boundary(replica, boundary_s(replica, steps), after) == steps + after


@given(start=st.integers(0, 10**6), steps=st.integers(1, 1000), tick=st.sampled_from([0.1, 1e-3]))
def test_a_cut_never_ends_before_its_cause(start: int, steps: int, tick: float) -> None:
    replica = run_of(tick, 0.0, 2000, start * tick)
    now_s = (start + steps) * tick  # rounds to either side of the boundary
    cut_run(replica, EVERY_STEP, now_s, False)
    assert replica["run_end_s"] >= now_s


def test_steps_without_length_reach_nothing() -> None:
    assert first_boundary(run_of(0.0, 0.0, 7, 0.0), 5.0, False) == 7
    assert first_boundary(run_of(0.0, 0.0, 7, 0.0), 0.0, False) == 1


def test_a_settled_step_is_not_the_next_to_end() -> None:
    replica = run_of(1.0, 0.0, 5, 0.0)
    replica["settled_steps"] = 2
    assert cut_run(replica, EVERY_STEP, 2.0, False)
    assert replica["run_steps"] == 3


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
    replica["run_growth_tokens"] = 2.0
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
    assert cut_run(replica, EVERY_STEP, 37.6, False)  # in its second step
    assert (replica["run_steps"], replica["run_end_s"]) == (2, 20.0 + 17.5 + 18.0)
    assert not cut_run(replica, EVERY_STEP, 21.0, False)


@pytest.mark.parametrize(("passed", "steps"), [(False, 2), (True, 3)])
def test_a_boundary_that_has_passed_does_not_come_again(passed: bool, steps: int) -> None:
    replica = started_run(4)[0]
    assert cut_run(replica, EVERY_STEP, 20.0 + 17.5 + 18.0, passed)  # at the end of the second step
    assert replica["run_steps"] == steps


@pytest.mark.parametrize(("unpolled", "steps"), [(0, 3), (1, 2), (2, 4)])
def test_a_run_is_cut_where_the_queue_is_looked_at(unpolled: int, steps: int) -> None:
    """The arrival falls into the second step; a look comes after every third."""
    replica = started_run(9)[0]
    replica["unpolled_steps"] = unpolled
    assert cut_run(replica, polled(3), 37.6, False)
    assert replica["run_steps"] == steps


def test_a_run_that_ends_before_the_next_look_is_not_cut() -> None:
    replica = started_run(4)[0]
    assert not cut_run(replica, polled(5), 37.6, False)
    assert replica["run_steps"] == 4


def test_a_run_in_its_last_step_is_not_shortened() -> None:
    replica = started_run(2)[0]
    assert not cut_run(replica, EVERY_STEP, 40.0, False)
    assert (replica["run_steps"], replica["cut"]) == (2, 1)


def test_an_idle_replica_has_no_run_to_cut() -> None:
    idle = np.zeros(1, REPLICA)
    assert not cut_run(idle[0], EVERY_STEP, 1.0, False)
    assert idle["cut"] == 0
