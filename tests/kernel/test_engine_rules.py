"""What a pool may change after other engines, worked out by hand: both simulators give these times.

Prefills in steps of their own, a queue that is looked at now and then, and the time between client
and engine.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from planner.engine import Engine
from planner.kernel.enums import Fate, Metric
from planner.kernel.histogram import bin_of
from tests.kernel.bridge import simulate
from tests.kernel.strategies import UNIT_STEPS, Scenario
from tests.naive import ClosedStream, Outcome, Pool, RequestClass, Row

PLAIN = RequestClass(pools=[0])


def row(arrival_s: float | None, input_tokens: int, output_tokens: int, **more: object) -> Row:
    return Row(arrival_s, 0, input_tokens, output_tokens, **more)  # type: ignore[arg-type]


def run(
    pool: Pool,
    rows: Sequence[Row],
    klass: RequestClass = PLAIN,
    closed: Sequence[ClosedStream] = (),
) -> tuple[Outcome, Engine]:
    """Return what the twin and the kernel make of a scenario, once they agree on every time."""
    scenario = Scenario([pool], [klass], list(rows), list(closed))
    for number, each in enumerate(scenario.all_rows):
        each.number = number
    outcome = scenario.simulate_naively()
    engine, records = simulate(scenario)
    found = {r.number: (r.arrival_s, r.started_s, r.first_token_s, r.finish_s) for r in records}
    expected = {
        r.number: (r.arrival_s, r.started_s, r.first_token_s, r.finish_s) for r in outcome.requests
    }
    assert repr(sorted(found.items())) == repr(sorted(expected.items()))  # NaN has one spelling
    return outcome, engine


def times(outcome: Outcome) -> list[tuple[float, float, float]]:
    return [(r.started_s, r.first_token_s, r.finish_s) for r in outcome.requests]


def assert_counted(engine: Engine, metric: Metric, values: Sequence[float]) -> None:
    """Assert that a histogram of the only class holds these values and no others."""
    expected = np.zeros(engine.world.histograms.shape[-1], dtype=np.int64)
    for value in values:
        expected[bin_of(value)] += 1
    np.testing.assert_array_equal(engine.world.histograms[0, metric], expected)


# --- Prefill first -------------------------------------------------------------------------------

GRADED = replace(
    UNIT_STEPS,
    linear_s=[0.5 * n for n in range(5)],
    decode_s=0.25,
    decode_seq_s=0.125,
    token_budget=4,
    maximum_sequences=4,
)
"""Steps of 1 + n/2 + C/4 + b/8 seconds."""
TWO = ((0.0, 4, 4), (3.5, 6, 2))
"""A at 0, and B while A decodes."""


def test_a_prompt_stops_the_decodes() -> None:
    pool = replace(GRADED, prefill_first=True)
    outcome, engine = run(pool, [row(*each) for each in TWO])
    # 0–3: A's prompt, 1 + 4/2.   3–5.875: A decodes, C = 5: 1 + 0.5 + 1.25 + 0.125.
    # 5.875–8.875: 4 tokens of B's prompt alone.   8.875–10.875: the other 2, 1 + 2/2.
    # 10.875–16.375: both decode, C = 6 + 7: 1 + 1 + 3.25 + 0.25.
    # 16.375–19.75: A alone, C = 7: 1 + 0.5 + 1.75 + 0.125.
    assert times(outcome) == [(0.0, 3.0, 19.75), (5.875, 10.875, 16.375)]
    # A's gap over the pause is 3 + 2 + 5.5.
    gaps = [2.875, 3.0 + 2.0 + 5.5, 5.5, 3.375]
    assert sorted(outcome.token_gaps[0]) == sorted(gaps)
    assert_counted(engine, Metric.ITL, gaps)
    books = engine.world.pool_windows[0]
    assert (books["steps"], books["prefill_tokens"], books["decode_tokens"]) == (6, 10, 4)
    assert books["busy_s"] == 19.75


def test_without_it_they_share_the_steps() -> None:
    outcome, engine = run(GRADED, [row(*each) for each in TWO])
    # 5.875–10.5: A decodes, C = 6, beside 3 tokens of B: 1 + 2 + 1.5 + 0.125.
    # 10.5–15.375: A, C = 7, beside the other 3.   15.375–18.75: B alone, C = 7.
    assert times(outcome) == [(0.0, 3.0, 15.375), (5.875, 15.375, 18.75)]
    gaps = [2.875, 4.625, 4.875, 3.375]
    assert sorted(outcome.token_gaps[0]) == sorted(gaps)
    assert_counted(engine, Metric.ITL, gaps)


def test_sequences_that_stand_still_keep_the_blocks_of_their_next_token() -> None:
    pool = replace(UNIT_STEPS, prefill_first=True, kv_blocks=7)
    rows = [row(0.0, 3, 3), row(0.5, 4, 1), row(0.75, 1, 1)]
    outcome, _ = run(pool, rows)
    # 1: A holds 3 blocks and needs a fourth next: 3 are left, B's 4 do not fit, and C may not
    # overtake it.   3: A has been served; B and C fit.
    assert times(outcome) == [(0.0, 1.0, 3.0), (3.0, 4.0, 4.0), (3.0, 4.0, 4.0)]
    roomy, _ = run(replace(pool, kv_blocks=8), [row(0.0, 3, 3), row(0.5, 4, 1), row(0.75, 1, 1)])
    # 1: 5 blocks less the one set aside are B's 4. C fits at 2, when B's are free again: A stands
    # still from 1 to 3, and decodes twice.
    assert times(roomy) == [(0.0, 1.0, 5.0), (1.0, 2.0, 2.0), (2.0, 3.0, 3.0)]


# --- Polling -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("poll_steps", "arrival_s", "start_s"),
    [
        (1, 2.5, 3.0),
        (4, 2.5, 5.0),  # prefill until 1; the decode steps end at 2, 3, 4 and 5: the fourth
        (4, 5.0, 5.0),  # an arrival at the very instant is still in time
        (4, 5.25, 9.0),  # at 5 nothing waited, and the count began again
        (20, 2.5, 12.0),  # nothing is left to decode: the queue is looked at before that
    ],
)
def test_an_arrival_is_noticed_at_the_poll(
    poll_steps: int, arrival_s: float, start_s: float
) -> None:
    pool = replace(UNIT_STEPS, poll_steps=poll_steps)
    outcome, _ = run(pool, [row(0.0, 1, 12), row(arrival_s, 1, 1)])
    # Every step takes a second, so the first request does not notice the second.
    assert times(outcome) == [(0.0, 1.0, 12.0), (start_s, start_s + 1.0, start_s + 1.0)]


def test_polls_are_counted_from_the_last_step_that_prefilled() -> None:
    pool = replace(UNIT_STEPS, poll_steps=4)
    rows = [row(0.0, 1, 12), row(2.5, 1, 1), row(5.5, 1, 1), row(6.5, 1, 1), row(12.5, 1, 1)]
    outcome, _ = run(pool, rows)
    # 5: the fourth decode step since 1 has ended: the second starts.   6: the step that ends has
    # carried a prompt, so the queue is looked at again: the third starts.   7: so does the fourth.
    # 12: the first is served.   12.5: an idle replica starts at once.
    assert [start for start, _, _ in times(outcome)] == [0.0, 5.0, 6.0, 7.0, 12.5]


# --- Between client and engine -------------------------------------------------------------------


DISTANT = replace(UNIT_STEPS, request_s=0.25)


@pytest.mark.parametrize(
    ("limits", "good"),
    [
        ({"ttft_limit_s": 1.25, "e2e_limit_s": 3.25, "tpot_limit_s": 1.0}, True),
        ({"ttft_limit_s": 1.2}, False),
        ({"e2e_limit_s": 3.2}, False),
        ({"tpot_limit_s": 0.9}, False),
    ],
)
def test_clients_see_tokens_later(limits: dict[str, float], good: bool) -> None:
    klass = RequestClass([0], **limits)  # type: ignore[arg-type]
    outcome, engine = run(DISTANT, [row(0.0, 1, 3), row(0.5, 1, 3)], klass)
    # The engine emits at 1, 2, 3 and, from the boundary at 1 on, at 2, 3, 4: the second waits.
    assert times(outcome) == [(0.0, 1.0, 3.0), (1.0, 2.0, 4.0)]
    assert_counted(engine, Metric.TTFT, [1.25, 1.75])
    assert_counted(engine, Metric.E2E, [3.25, 3.75])
    assert_counted(engine, Metric.TPOT, [1.0, 1.0])
    assert_counted(engine, Metric.ITL, [1.0] * 4)
    assert_counted(engine, Metric.QUEUE, [0.0, 0.5])
    assert [request.good for request in outcome.requests] == [good, False]
    assert engine.world.class_windows[0]["good"] == good


def test_the_next_turn_waits_for_the_last_token_to_arrive() -> None:
    turn = row(None, 1, 1, think_s=0.5)
    outcome, _ = run(DISTANT, [row(0.0, 1, 2, later_turns=[turn])])
    assert [request.arrival_s for request in outcome.requests] == [0.0, 2.0 + 0.25 + 0.5]


def test_closed_clients_are_paced_by_what_they_see() -> None:
    rows = [
        row(None, 1, 2, think_s=1.0),
        row(None, 1, 1),
        row(None, 200, 1, think_s=0.5),
        row(None, 1, 1),
    ]
    outcome, _ = run(DISTANT, [], closed=[ClosedStream(0, 1, rows)])
    # Served at 2 and seen at 2.25, then a second of thought.   Served at 4.25, seen at 4.5: too
    # long, turned away at once, which takes no time but the client pauses a second.
    assert [request.arrival_s for request in outcome.requests] == [0.0, 3.25, 4.5, 5.5]
    assert outcome.requests[2].fate == Fate.TOO_LONG


@pytest.mark.parametrize(
    ("late_steps", "reasoning_tokens", "ttft_s", "ttfat_s"),
    [
        (0.0, 3, 1.25, 4.25),  # the fourth token
        (0.0, 0, 1.25, 1.25),
        (0.0, 5, 1.25, 5.25),  # nothing but reasoning: the last token
        (0.5, 3, 1.75, 4.75),
        (3.0, 3, 4.25, 5.25),  # only one gap follows the fourth token
    ],
)
def test_the_answer_follows_the_reasoning(
    late_steps: float, reasoning_tokens: int, ttft_s: float, ttfat_s: float
) -> None:
    pool = replace(DISTANT, late_steps=late_steps)
    only = row(0.0, 1, 5, reasoning_tokens=reasoning_tokens)
    _, engine = run(pool, [only], RequestClass([0], ttfat_limit_s=ttfat_s))
    assert_counted(engine, Metric.TTFT, [ttft_s])
    assert_counted(engine, Metric.TTFAT, [ttfat_s])
    assert engine.world.class_windows["good"].sum() == 1


def test_a_promise_on_the_answer_is_kept_or_broken() -> None:
    only = row(0.0, 1, 5, reasoning_tokens=3)
    outcome, engine = run(DISTANT, [only], RequestClass([0], ttfat_limit_s=4.2))
    assert not outcome.requests[0].good
    assert engine.world.class_windows["good"].sum() == 0


def test_a_time_out_is_the_clients_own() -> None:
    klass = RequestClass([0], timeout_s=1.5)
    pool = replace(DISTANT, maximum_sequences=1)
    rows = [row(0.0, 1, 4, think_s=9.0), row(0.0, 1, 1, think_s=0.5), row(None, 1, 1)]
    outcome, _ = run(pool, [], klass, [ClosedStream(0, 2, rows)])
    # The second client hangs up at 1.5; nothing travels back, so its next comes at 2.
    assert outcome.requests[1].fate == Fate.TIMED_OUT
    assert [request.arrival_s for request in outcome.requests] == [0.0, 0.0, 2.0]


@pytest.mark.parametrize(
    ("output_tokens", "late_s"),
    [
        (5, 1.5),  # one and a half gaps of a second
        (2, 1.0),  # it has only one gap
        (1, 0.0),  # and this none
        (0, 0.0),
    ],
)
def test_the_first_token_is_sent_late_by_gaps_of_its_own(output_tokens: int, late_s: float) -> None:
    pool = replace(DISTANT, late_steps=1.5)
    last_s = float(max(output_tokens, 1))
    turn = row(None, 1, 1, think_s=0.5)
    outcome, engine = run(pool, [row(0.0, 1, output_tokens, later_turns=[turn])])
    assert times(outcome)[0] == (0.0, 1.0, last_s)
    # The end is as early as ever, and the next turn with it.
    assert outcome.requests[1].arrival_s == last_s + 0.25 + 0.5
    assert_counted(engine, Metric.TTFT, [1.0 + 0.25 + late_s, 1.25])
    assert_counted(engine, Metric.E2E, [last_s + 0.25, 1.25])
    tpot_s = (last_s - 1.0 - late_s) / max(output_tokens - 1, 1)
    assert_counted(engine, Metric.TPOT, [tpot_s] * (output_tokens >= 2))
