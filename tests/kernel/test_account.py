"""The books by window, on timetables worked out by hand.

A step takes one second and the replica has one place, so times count steps.
"""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from planner.engine import Engine
from planner.invariants import check_invariants
from planner.kernel.dtypes import ARRIVAL, NONE
from planner.kernel.enums import Fate, Metric
from planner.kernel.histogram import bin_of
from planner.kernel.plan import ClassPlan, Plan, PoolPlan
from planner.kernel.world import World

ONE_PLACE = PoolPlan(
    name="pool",
    fixed_s=1.0,
    linear_s=np.zeros(9),
    compute_s=np.full(9, 0.5),
    memory_s=np.full(9, 0.25),
    decode_s=0.0,
    decode_memory_s=0.0,
    decode_seq_s=0.0,
    prefill_s=0.0,
    token_budget=8,
    maximum_sequences=1,
    kv_blocks=100,
    kv_block_tokens=4,
)
ANYONE = ClassPlan("anyone", pools=(0,))


def request_rows(*requests: tuple[float, int, int]) -> NDArray[np.void]:
    """Return rows from (arrival [s], input tokens, output tokens)."""
    rows = np.zeros(len(requests), ARRIVAL)
    for row, (arrival_s, input_tokens, output_tokens) in zip(rows, requests, strict=True):
        row["arrival_s"], row["input_tokens"] = arrival_s, input_tokens
        row["output_tokens"] = output_tokens
        row["session"] = row["visitor"] = NONE
    return rows


def simulate(
    rows: NDArray[np.void],
    pool: PoolPlan = ONE_PLACE,
    klass: ClassPlan = ANYONE,
    *,
    window_s: float = 4.0,
    duration_s: float = 12.0,
    warmup_s: float = 0.0,
) -> World:
    """Simulate until the last request has ended."""
    plan = Plan(
        (pool,),
        (klass,),
        iter([rows]),
        duration_s=duration_s,
        warmup_s=warmup_s,
        window_s=window_s,
    )
    engine = Engine(plan)
    engine.activate(engine.add_replicas(0, 1, node=0))
    engine.run_to(math.inf)
    engine.finish()
    assert not check_invariants(engine.world)
    return engine.world


def test_a_run_is_spread_over_its_windows() -> None:
    world = simulate(request_rows((0.5, 8, 10), (1.0, 1, 1)))
    windows = world.pool_windows
    # Prefill in 0.5–1.5, nine decode steps in 1.5–10.5, the second request in 10.5–11.5.
    assert windows["busy_s"].tolist() == [3.5, 4.0, 3.5]
    assert windows["running_s"].tolist() == [3.5, 4.0, 3.5]
    assert windows["compute_s"].tolist() == pytest.approx([1.75, 2.0, 1.75])
    assert windows["memory_s"].tolist() == pytest.approx([0.875, 1.0, 0.875])
    assert windows["waiting_s"].tolist() == [3.0, 4.0, 2.5]
    # A step is counted in the window in which it begins.
    assert windows["steps"].tolist() == [4, 4, 3]
    assert windows["prefill_tokens"].tolist() == [8, 0, 1]
    assert windows["decode_tokens"].tolist() == [3, 4, 2]


def test_the_last_window_takes_everything_after_it() -> None:
    world = simulate(request_rows((0.5, 8, 10)), duration_s=8.0)
    assert world.pool_windows["busy_s"].tolist() == [3.5, 6.5]
    assert world.class_windows["arrived"].tolist() == [1, 0]
    assert world.class_windows["ended"][:, Fate.SERVED].tolist() == [0, 1]
    assert world.class_windows["measured_ended"][:, Fate.SERVED].tolist() == [1, 0]


def test_blocks_grow_over_a_run() -> None:
    world = simulate(request_rows((0.0, 4, 9)), window_s=100.0)
    # Prefill: 1 block. Eight decode steps write tokens 5 to 12: two more blocks, in the first and
    # the fifth step: 2·4 + 3·4 = 20. They are booked as if they came in evenly over the run:
    # (1 + 2·(8 + 1)/16)·8 = 17.
    assert world.pool_windows["kv_block_s"].tolist() == [1.0 + 17.0]


def test_memory_traffic_of_growing_contexts() -> None:
    pool = replace(ONE_PLACE, compute_s=None, memory_s=None, decode_s=0.0625, decode_memory_s=0.01)
    pool = replace(pool, prefill_s=0.03125, prefill_compute_s=0.001)
    world = simulate(request_rows((0.0, 8, 4)), pool, window_s=100.0)
    # Decode steps attend to 9, 10 and 11 tokens; the prompt's work is 8·(0 + 8/2).
    totals = world.pool_windows[0]
    assert totals["busy_s"] == 4.0 + 30 * 0.0625 + 32 * 0.03125
    assert totals["memory_s"] == pytest.approx(30 * 0.01)
    assert totals["compute_s"] == pytest.approx(32 * 0.001)


@pytest.mark.parametrize(("warmup_s", "gaps"), [(0.0, 9), (1.5, 9), (1.6, 8), (9.5, 1), (9.6, 0)])
def test_gaps_are_measured_by_the_start_of_their_step(warmup_s: float, gaps: int) -> None:
    world = simulate(request_rows((0.5, 8, 10)), warmup_s=warmup_s)
    itl = world.histograms[0, Metric.ITL]
    assert itl.sum() == itl[bin_of(1.0)] == gaps
    assert world.histograms[0, Metric.TTFT].sum() == (warmup_s == 0.0)
    assert world.class_windows["measured"].sum() == (warmup_s == 0.0)


@pytest.mark.parametrize(("warmup_s", "long_gaps"), [(0.0, 1), (5.0, 1), (5.5, 0)])
def test_a_preemption_tears_a_gap(warmup_s: float, long_gaps: int) -> None:
    pool = replace(ONE_PLACE, maximum_sequences=2, kv_blocks=4, kv_block_tokens=2)
    world = simulate(request_rows((0.0, 3, 5), (0.0, 3, 4)), pool, warmup_s=warmup_s)
    # Both prompts in 0–1, second tokens at 2; then no block is left for the second request. The
    # first has its five tokens at 5; the second is prefilled anew in 5–6, four seconds after its
    # second token.
    itl = world.histograms[0, Metric.ITL]
    assert itl[bin_of(4.0)] == long_gaps
    assert itl[bin_of(1.0)] == {0.0: 6, 5.0: 1, 5.5: 1}[warmup_s]
    assert world.pool_windows["preemptions"].tolist() == [1, 0, 0]


@pytest.mark.parametrize(
    ("limits", "good"),
    [
        ({}, 1),
        ({"ttft_limit_s": 1.0, "tpot_limit_s": 1.0, "e2e_limit_s": 10.0}, 1),
        ({"ttft_limit_s": 0.9}, 0),
        ({"tpot_limit_s": 0.9}, 0),
        ({"e2e_limit_s": 9.9}, 0),
    ],
)
def test_objectives_are_kept_at_their_limits(limits: dict[str, float], good: int) -> None:
    world = simulate(request_rows((0.0, 8, 10)), klass=replace(ANYONE, **limits))
    assert world.class_windows["good"].sum() == good
    assert world.class_windows["measured_good"].sum() == good
    for metric, value_s in ((Metric.TTFT, 1.0), (Metric.TPOT, 1.0), (Metric.E2E, 10.0)):
        assert world.histograms[0, metric, bin_of(value_s)] == 1


def test_one_token_has_no_gap() -> None:
    world = simulate(request_rows((0.0, 8, 1)), klass=replace(ANYONE, tpot_limit_s=0.0))
    assert world.class_windows["good"].sum() == 1
    assert world.histograms[0, Metric.TPOT].sum() == 0
