"""The naive twin against scenarios worked out by hand, and against a plain SimPy version.

Most scenarios use a pool in which every step takes one second, so that times count steps.
"""

from __future__ import annotations

from dataclasses import fields, replace
from math import inf, isnan
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings

from planner.kernel.enums import Fate, Router, Scheduler
from tests.kernel.strategies import UNIT_STEPS, Scenario, dyadic_scenarios, general_scenarios
from tests.naive import ClosedStream, Outcome, Pool, RequestClass, Row, simulate
from tests.simpy_stepper import simulate_pool

ONE_AT_A_TIME = replace(UNIT_STEPS, maximum_sequences=1)
PLAIN = RequestClass(pools=[0])


def row(arrival_s: float | None, input_tokens: int, output_tokens: int, **more: Any) -> Row:
    class_index = more.pop("class_index", 0)
    return Row(arrival_s, class_index, input_tokens, output_tokens, **more)


def times(outcome: Outcome) -> list[tuple[float, float, float]]:
    return [(r.started_s, r.first_token_s, r.finish_s) for r in outcome.requests]


def fates(outcome: Outcome) -> list[Fate | None]:
    return [request.fate for request in outcome.requests]


def replicas(outcome: Outcome) -> list[int]:
    return [request.replica for request in outcome.requests]


class Script:
    """A random generator that returns what it was told to."""

    def __init__(self, *numbers: float) -> None:
        self.numbers = list(numbers)

    def random(self) -> float:
        return self.numbers.pop(0)


# --- Steps ---


def test_step_lengths_of_one_request() -> None:
    pool = replace(
        UNIT_STEPS,
        linear_s=[0.5 * n for n in range(5)],
        decode_s=0.25,
        decode_seq_s=0.125,
        prefill_s=0.0625,
        token_budget=4,
    )
    outcome = simulate([pool], [PLAIN], [row(2.0, 10, 3)])
    # Chunks of 4, 4 and 2 tokens on top of 0, 4 and 8 have A = 4·2, 4·6 and 2·9:
    #   1 + 2 + 0.5 = 3.5     1 + 2 + 1.5 = 4.5     1 + 1 + 1.125 = 3.125     together 11.125
    # Decode steps attend to C = 11 and 12 tokens:
    #   1 + 0.5 + 2.75 + 0.125 = 4.375     1 + 0.5 + 3 + 0.125 = 4.625
    assert times(outcome) == [(2.0, 13.125, 22.125)]
    assert outcome.token_gaps == [[4.375, 4.625]]


def test_prompts_share_the_budget_with_decoding_sequences() -> None:
    pool = replace(UNIT_STEPS, token_budget=4)
    outcome = simulate([pool], [PLAIN], [row(0.0, 6, 3), row(0.5, 3, 2)])
    # Step 0–1: 4 tokens of A's prompt.   1–2: 2 of A's, 2 of B's.
    # 2–3: A decodes, the last of B's prompt.   3–4: both decode.
    assert times(outcome) == [(0.0, 2.0, 4.0), (1.0, 3.0, 4.0)]
    totals = outcome.pools[0]
    assert (totals.steps, totals.prefill_tokens, totals.decode_tokens) == (4, 9, 3)
    assert (totals.busy_s, totals.running_s) == (4.0, 7.0)
    assert totals.waiting_s == 0.5


def test_empty_prompts_and_empty_outputs() -> None:
    rows = [row(0.0, 0, 0), row(0.0, 0, 1), row(0.0, 5, 0), row(0.0, 0, 2)]
    outcome = simulate([UNIT_STEPS], [PLAIN], rows)
    # An empty prompt holds its start token; an output of 0 ends with the prefill, like one of 1.
    assert times(outcome) == [(0.0, 1.0, 1.0)] * 3 + [(0.0, 1.0, 2.0)]
    assert fates(outcome) == [Fate.SERVED] * 4
    assert outcome.pools[0].prefill_tokens == 8


# --- Memory ---


def test_preemption_recomputes() -> None:
    pool = replace(UNIT_STEPS, kv_blocks=4, kv_block_tokens=2)
    outcome = simulate([pool], [PLAIN], [row(0.0, 3, 5), row(0.0, 3, 4)])
    # 0: both admitted, 2 blocks each.   1: first tokens, 3 KV tokens each, no block needed.
    # 2: second tokens, 4 KV tokens each: both need a block, none is free. B came last: preempted.
    # 3: B now has a prompt of 5, i.e. 3 blocks; A holds 3 of 4.   4: A takes the fourth.
    # 5: A has its 5 tokens, B is admitted again.   6: its third token.   7: its fourth.
    assert times(outcome) == [(0.0, 1.0, 5.0), (0.0, 1.0, 7.0)]
    assert [request.preemptions for request in outcome.requests] == [0, 1]
    assert sorted(outcome.token_gaps[0]) == [1.0] * 6 + [4.0]
    totals = outcome.pools[0]
    # Blocks: 4 in 0–2, 3 in 2–4, 4 in 4–5, then B's 3 in 5–7.
    assert totals.kv_block_s == 8 + 6 + 4 + 6
    assert totals.waiting_s == 3.0


def test_admission_neither_skips_nor_takes_the_blocks_of_decoding_sequences() -> None:
    pool = replace(UNIT_STEPS, kv_blocks=8)
    rows = [row(0.0, 3, 3), row(0.5, 5, 1), row(0.5, 1, 1), row(1.5, 1, 1)]
    outcome = simulate([pool], [PLAIN], rows)
    # 1: A (3 tokens in KV) needs a fourth block, which leaves 4: B's 5 do not fit, and C may not
    # overtake it.
    # 2: A takes its fifth.   3: A is served; B, C and D fill 7 of 8 blocks.
    assert [start for start, _, _ in times(outcome)] == [0.0, 3.0, 3.0, 3.0]


def test_priority_orders_the_queue_and_picks_the_victim() -> None:
    classes = [RequestClass([0], priority=2), RequestClass([0], priority=1)]
    rows = [row(0.0, 1, 2), row(0.25, 1, 2), row(0.5, 1, 2, class_index=1)]
    first_come = simulate([ONE_AT_A_TIME], classes, rows)
    assert [start for start, _, _ in times(first_come)] == [0.0, 2.0, 4.0]
    by_priority = simulate([replace(ONE_AT_A_TIME, scheduler=Scheduler.PRIORITY)], classes, rows)
    assert [start for start, _, _ in times(by_priority)] == [0.0, 4.0, 2.0]

    tight = replace(UNIT_STEPS, kv_blocks=3, scheduler=Scheduler.PRIORITY)
    outcome = simulate([tight], classes, [row(0.0, 1, 2), row(0.0, 1, 2, class_index=1)])
    # 1: each needs a second block, one is free: A goes, although it came first.
    # 2: B is served, A prefills 2 tokens.
    assert times(outcome) == [(0.0, 1.0, 3.0), (0.0, 1.0, 2.0)]
    assert [request.preemptions for request in outcome.requests] == [1, 0]


# --- Arrivals ---


def test_time_outs_come_after_the_boundary_of_their_instant() -> None:
    classes = [PLAIN, RequestClass([0], timeout_s=1.5), RequestClass([0], timeout_s=2.0)]
    rows = [row(0.0, 1, 3), *(row(1.0, 1, 1, class_index=index) for index in (1, 2, 2))]
    outcome = simulate([ONE_AT_A_TIME], classes, rows)
    # A runs until 3. B leaves at 2.5. C may wait until 3 and is admitted at 3; D is not: it leaves.
    assert fates(outcome) == [Fate.SERVED, Fate.TIMED_OUT, Fate.SERVED, Fate.TIMED_OUT]
    assert [finish for _, _, finish in times(outcome)] == [3.0, 2.5, 4.0, 3.0]


def test_token_bucket_per_visitor() -> None:
    limited = RequestClass([0], bucket_interval_s=2.0, bucket_burst=2.0)
    arrivals = [(0.0, 0), (0.0, 0), (0.0, 0), (0.0, 1), (0.0, -1), (2.0, 0), (3.0, 0), (4.0, 0)]
    rows = [row(time_s, 1, 1, visitor=visitor) for time_s, visitor in arrivals]
    outcome = simulate([UNIT_STEPS], [limited], rows)
    # Visitor 0: a burst of two, then one every 2 s. Visitor 1 has a bucket of its own; -1 has none.
    limited_rows = [2, 6]
    expected = [Fate.RATE_LIMITED if n in limited_rows else Fate.SERVED for n in range(8)]
    assert fates(outcome) == expected
    assert (outcome.requests[2].pool, outcome.requests[2].finish_s) == (-1, 0.0)


def test_pools_are_passed_over() -> None:
    small = replace(ONE_AT_A_TIME, context_tokens=10, queue_limit=2, overflow_waiting=0.0)
    large = replace(ONE_AT_A_TIME, kv_blocks=20, queue_limit=1)
    both = RequestClass(pools=[0, 1])
    rows = [
        row(0.0, 2, 9),  # 11 tokens exceed the context of the first pool
        row(0.0, 20, 1),  # exactly 20 blocks: fits the second pool, whose queue is full
        row(0.0, 20, 2),  # 21 blocks fit nowhere
        row(0.0, 1, 5),  # first pool; runs from 0 to 5
        row(0.5, 1, 1),  # first pool, nobody waits there yet
        row(0.75, 1, 1),  # the first pool is over its mark (1 > 0 · 1): second pool
        row(0.75, 1, 1),  # over the mark, and the second queue is full
        row(1.25, 1, 1, class_index=1),  # its only pool: the mark does not count
        row(1.25, 1, 1, class_index=1),  # but the limit of 2 does
    ]
    outcome = simulate([small, large], [both, PLAIN], rows)
    assert [request.pool for request in outcome.requests] == [1, -1, -1, 0, 0, 1, -1, 0, -1]
    assert [request.fate for request in outcome.requests if request.pool == -1] == [
        Fate.REFUSED,
        Fate.TOO_LONG,
        Fate.REFUSED,
        Fate.REFUSED,
    ]
    assert (outcome.pools[0].routed, outcome.pools[0].overflowed) == (3, 0)
    assert (outcome.pools[1].routed, outcome.pools[1].overflowed) == (2, 2)


@pytest.mark.parametrize(
    ("router", "expected"),
    [
        (Router.ROUND_ROBIN, [0, 1, 2, 0, 1]),
        (Router.LEAST_LOADED, [0, 1, 2, 1, 0]),
        # Draws (0, 1) tie: the first; (0, 2): 2 is empty; (2, 0) tie; (2, 1): 1 is empty; (0, 0).
        (Router.POWER_OF_TWO, [0, 2, 2, 1, 0]),
    ],
)
def test_routers(router: Router, expected: list[int]) -> None:
    pool = replace(UNIT_STEPS, router=router, replicas=3)
    rows = [row(0.0, 1, 9), row(0.0, 1, 2), row(0.0, 1, 9), row(2.5, 1, 9), row(2.5, 1, 9)]
    draws = Script(0.0, 0.4, 0.1, 0.9, 0.99, 0.0, 0.7, 0.5, 0.0, 0.3)
    outcome = simulate([pool], [PLAIN], rows, rng=draws)
    assert replicas(outcome) == expected


def test_session_affinity() -> None:
    pool = replace(UNIT_STEPS, router=Router.SESSION_AFFINITY, replicas=3)
    rows = [row(0.0, 1, 1, session=session) for session in (0, 7, 0, -1)]
    outcome = simulate([pool], [PLAIN], rows, rng=Script(0.4, 0.4))
    assert replicas(outcome) == [0, 7 % 3, 0, 1]


# --- What an end sets off ---


def test_next_turns() -> None:
    second = row(None, 3, 1, think_s=0.5)
    third = row(None, 200, 1)  # too long
    fourth = row(None, 1, 1)  # so never sent
    late = row(None, 1, 1, think_s=9.0)  # would arrive at 10
    rows = [
        row(0.0, 1, 2, later_turns=[second, third, fourth]),
        row(0.0, 1, 1, later_turns=[late]),
    ]
    outcome = simulate([UNIT_STEPS], [PLAIN], rows, end_s=9.5)
    assert [r.arrival_s for r in outcome.requests] == [0.0, 0.0, 2.5, 3.5]
    assert [r.finish_s for r in outcome.requests] == [2.0, 1.0, 3.5, 3.5]
    assert (outcome.abandoned_turns, outcome.unsent) == (1, 1)


def test_closed_loop() -> None:
    rows = [
        row(None, 1, 2, think_s=1.0),
        row(None, 1, 1, think_s=0.5),
        row(None, 1, 1, think_s=0.0),
        row(None, 200, 1, think_s=0.25),
        row(None, 1, 1, think_s=0.0),
    ]
    outcome = simulate([ONE_AT_A_TIME], [PLAIN], [], [ClosedStream(0, 2, rows)])
    # Rows 0 and 1 at 0; 0 runs until 2, 1 until 3. Row 2 at 2 + 1, runs until 4.
    # Row 3 at 3 + 0.5, too long, so turned away at once. Row 4 at 3.5 + 1, runs until 5.5.
    assert [request.arrival_s for request in outcome.requests] == [0.0, 0.0, 3.0, 3.5, 4.5]
    assert [request.finish_s for request in outcome.requests] == [2.0, 3.0, 4.0, 3.5, 5.5]
    assert outcome.requests[3].fate == Fate.TOO_LONG


def test_generated_arrivals_come_before_later_replicas_of_the_instant() -> None:
    pool = replace(UNIT_STEPS, replicas=2)
    at_once = row(None, 1, 1, think_s=0.0)
    rows = [row(0.0, 1, 2, later_turns=[at_once]), row(0.0, 1, 2, later_turns=[at_once])]
    outcome = simulate([pool], [PLAIN], [*rows, row(2.0, 1, 1)])
    # The row at 2 comes before the boundaries at 2: loads 1 and 1, so replica 0. There A ends; its
    # next turn arrives while B still runs: loads 1 and 1 again, so replica 0. Then B ends, and its
    # next turn finds replica 1 empty.
    assert [request.arrival_s for request in outcome.requests[2:]] == [2.0, 2.0, 2.0]
    assert replicas(outcome)[2:] == [0, 0, 1]
    # A's turn is too late for the boundary at 2, which admitted the row; B's makes a boundary.
    assert [request.started_s for request in outcome.requests[2:]] == [2.0, 3.0, 2.0]


# --- Control and the end ---


def test_loss_drain_and_activation() -> None:
    pool = replace(ONE_AT_A_TIME, replicas=2)
    rows = [
        row(0.0, 1, 9, later_turns=[row(None, 1, 1)]),
        row(0.0, 1, 2),
        row(0.0, 1, 9),
        row(0.0, 1, 2),
        row(1.0, 1, 2),
        row(2.5, 1, 1),
        row(3.5, 1, 1),
    ]
    outcome = simulate(
        [pool],
        [PLAIN],
        rows,
        losses=[(1.5, 0)],
        drains=[(1.0, 1)],
        activations=[(3.0, 0)],
    )
    # At 1 replica 1 stops taking requests; it still serves what it has. At 1.5 replica 0 is lost
    # with all that it has. Nothing is active at 2.5; replica 0 is back at 3.
    assert replicas(outcome) == [0, 1, 0, 1, 0, -1, 0]
    assert fates(outcome) == [
        Fate.FAILED,
        Fate.SERVED,
        Fate.FAILED,
        Fate.SERVED,
        Fate.FAILED,
        Fate.REFUSED,
        Fate.SERVED,
    ]
    assert [request.finish_s for request in outcome.requests] == [1.5, 2.0, 1.5, 4.0, 1.5, 2.5, 4.5]
    assert outcome.abandoned_turns == 1


def test_warm_up_stop_and_limits() -> None:
    limits = RequestClass([0], ttft_limit_s=1.0, tpot_limit_s=1.0, e2e_limit_s=3.0)
    rows = [row(0.0, 1, 3), row(1.5, 1, 3), row(3.0, 1, 3), row(6.0, 1, 9)]
    outcome = simulate([UNIT_STEPS], [limits], rows, warmup_s=1.5, stop_s=8.0)
    # The second request waits for the boundary at 2: first token 1.5 s after its arrival.
    assert [request.good for request in outcome.requests] == [True, False, True, False]
    assert [request.measured for request in outcome.requests] == [False, True, True, True]
    # Steps from 2 on count: one of the first request, two of the second, two of the third, and
    # one of the last until 8.
    assert outcome.token_gaps == [[1.0] * 6]
    assert (outcome.requests[3].fate, outcome.requests[3].finish_s) == (Fate.UNFINISHED, 8.0)
    assert outcome.pools[0].busy_s == 8.0


# --- Any scenario ---


def check_bookkeeping(scenario: Scenario) -> None:
    outcome = scenario.simulate_naively()
    assert [request.key for request in outcome.requests] == list(range(len(outcome.requests)))
    arrivals = [request.arrival_s for request in outcome.requests]
    assert arrivals == sorted(arrivals)
    numbers = [request.number for request in outcome.requests]
    assert len(numbers) == len(set(numbers))
    assert all(scenario.all_rows[r.number] is r.row for r in outcome.requests)
    for request in outcome.requests:
        assert request.fate is not None
        assert (request.fate == Fate.SERVED) <= (request.emitted_tokens >= 1)
        known = [request.arrival_s, request.started_s, request.first_token_s, request.finish_s]
        known = [time_s for time_s in known if not isnan(time_s)]
        assert known == sorted(known)
    if scenario.end_s == scenario.stop_s == inf:
        sent = {id(r.row) for r in outcome.requests}
        never = [row for row in scenario.all_rows if id(row) not in sent]
        assert len(never) == outcome.abandoned_turns
        assert outcome.unsent == 0


@given(dyadic_scenarios())
@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_bookkeeping_in_exact_arithmetic(scenario: Scenario) -> None:
    check_bookkeeping(scenario)


@given(general_scenarios())
@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_bookkeeping_in_floats(scenario: Scenario) -> None:
    check_bookkeeping(scenario)


@given(dyadic_scenarios(control=False, closed=False))
@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_dyadic_scenarios_are_exact(scenario: Scenario) -> None:
    """Scaling all times by a power of two scales all results; times stay multiples of 2⁻²¹.

    Not of closed loops: their clients pause for one second, however times are scaled.
    """
    factor = 2.0**30
    outcome = scenario.simulate_naively()
    scaled = scaled_scenario(scenario, factor).simulate_naively()
    for one, other in zip(outcome.requests, scaled.requests, strict=True):
        assert one.finish_s * factor == other.finish_s
        assert (one.fate, one.replica) == (other.fate, other.replica)
        assert float(one.finish_s / 2.0**-21).is_integer()


def scaled_scenario(scenario: Scenario, factor: float) -> Scenario:
    def scale(thing: Any) -> Any:
        changes: dict[str, Any] = {}
        for item in fields(thing):
            value = getattr(thing, item.name)
            if item.name in ("linear_s", "draft_s"):
                changes[item.name] = [seconds * factor for seconds in value]
            elif item.name in ("rows", "later_turns"):
                changes[item.name] = [scale(row) for row in value]
            elif item.name.endswith("_s") and value is not None:
                changes[item.name] = value * factor
        return replace(thing, **changes)

    scaled: Scenario = replace(
        scale(scenario),
        pools=[scale(pool) for pool in scenario.pools],
        classes=[scale(request_class) for request_class in scenario.classes],
        closed_streams=[scale(stream) for stream in scenario.closed_streams],
    )
    return scaled


# --- Against SimPy ---


@pytest.mark.parametrize("seed", range(5))
def test_the_simpy_version_agrees(seed: int) -> None:
    rng = np.random.default_rng(seed)
    arrivals = np.cumsum(rng.exponential(0.02, size=300))
    rows = [
        row(float(time_s), int(rng.integers(0, 200)), int(rng.integers(0, 60)))
        for time_s in arrivals
    ]
    pool = Pool(
        fixed_s=0.011,
        linear_s=[0.0003 * n for n in range(65)],
        decode_s=1e-6,
        decode_seq_s=1e-4,
        prefill_s=1e-7,
        token_budget=64,
        maximum_sequences=8,
        kv_blocks=10**6,
        kv_block_tokens=16,
        context_tokens=10**6,
        router=Router.POWER_OF_TWO,
        replicas=4,
    )
    twin = simulate([pool], [PLAIN], rows, rng=np.random.default_rng(seed + 100))
    jobs = simulate_pool(pool, rows, np.random.default_rng(seed + 100))
    assert max(request.started_s - request.arrival_s for request in twin.requests) > 0.1  # busy
    for request, job in zip(twin.requests, jobs, strict=True):
        expected = (request.started_s, request.first_token_s, request.finish_s)
        assert (job.started_s, job.first_token_s, job.finish_s) == pytest.approx(expected, rel=1e-9)
