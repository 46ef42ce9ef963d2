"""Drafts: the draws against the laws that they stand for, and the kernel against the twin."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from planner.kernel.build import acceptance_of
from planner.kernel.enums import Fate, Metric, Router
from planner.kernel.plan import DraftPlan, PoolPlan
from planner.kernel.speculate import emitted_tokens, mixed, next_uniform, steps_for
from tests.kernel.bridge import simulate
from tests.kernel.strategies import UNIT_STEPS, Scenario, general_scenarios
from tests.naive import Outcome, Pool, RequestClass, Row

ALONE = RequestClass(pools=[0])
GOOD = (0.1, 0.2, 0.3, 0.4)


def stream(seed: int, count: int) -> np.ndarray:
    first, second, values = 1 + mixed(seed), 1 + mixed(seed ^ 77), []
    for _ in range(count):
        value, first, second = next_uniform(first, second)
        values.append(value)
    return np.array(values)


def test_uniform_numbers_are_uniform_and_apart() -> None:
    values = np.array([stream(seed, 4) for seed in range(20_000)])
    assert 0.0 < values.min() < values.max() < 1.0
    for column in values.T:  # Kolmogorov–Smirnov, at the 10⁻⁶ level
        gaps = np.abs(np.sort(column) - (np.arange(20_000) + 0.5) / 20_000)
        assert gaps.max() < 2.7 / math.sqrt(20_000)
    correlation = np.corrcoef(values.T) - np.eye(4)
    assert np.abs(correlation).max() < 5.0 / math.sqrt(20_000)
    neighbours = np.corrcoef(values[:-1, 0], values[1:, 0])[0, 1]
    assert abs(neighbours) < 5.0 / math.sqrt(20_000)


def test_zero_is_never_drawn() -> None:
    """Its logarithm is taken. Here both generators go to 1, so that their difference is zero."""
    value, first, second = next_uniform(pow(40014, -1, 2147483563), pow(40692, -1, 2147483399))
    assert (first, second) == (1, 1)
    assert value == 2147483562 / 2147483563


def tables_of(shares: tuple[float, ...]) -> np.ndarray:
    """Return what the kernel draws from."""
    return acceptance_of(
        plan(draft=DraftPlan(len(shares) - 1, (shares,), np.zeros(9), sequences=0))
    )


@given(st.lists(st.integers(0, 5), min_size=1, max_size=5), st.floats(0, 1, exclude_max=True))
def test_a_step_emits_by_the_table(weights: list[int], uniform: float) -> None:
    if not sum(weights):
        return
    table = np.cumsum(weights) / sum(weights)
    found = emitted_tokens(table, uniform)
    assert found == min(int(np.searchsorted(table, uniform, side="right")), len(table) - 1)


@given(accepted=st.integers(0, 3), tokens=st.integers(1, 5000))
def test_steps_are_exact_where_nothing_is_random(accepted: int, tokens: int) -> None:
    shares = tuple(float(number == accepted) for number in range(4))
    assert steps_for(tables_of(shares), 3, tokens, 1, 1) == math.ceil(tokens / (accepted + 1))


@pytest.mark.parametrize("tokens", [1, 7, 200, 1500])
@pytest.mark.parametrize("shares", [GOOD, (0.5, 0.5), (0.05, *[0.0] * 15, 0.95)])
def test_steps_follow_the_law_of_their_sum(tokens: int, shares: tuple[float, ...]) -> None:
    """Against the distribution by dynamic programming; the last is as skewed as drafts can be."""
    tables, depth = tables_of(shares), len(shares) - 1
    drawn = np.array(
        [
            steps_for(tables, depth, tokens, 1 + mixed(3 * n), 1 + mixed(3 * n + 1))
            for n in range(10_000)
        ]
    )
    left = np.zeros(tokens + 1)  # probability that so many tokens are left
    left[tokens] = 1.0
    ended = []
    while left[1:].sum() > 1e-12:
        following = np.zeros(tokens + 1)
        for emitted, share in enumerate(shares, start=1):
            if emitted <= tokens:
                following[: tokens + 1 - emitted] += share * left[emitted:]
            following[0] += share * left[1:emitted].sum()
        ended.append(following[0])
        left = following
        left[0] = 0.0
    law = np.cumsum(ended)
    steps = np.arange(1, len(law) + 1)
    empirical = np.searchsorted(np.sort(drawn), steps, side="right") / len(drawn)
    assert np.abs(empirical - law).max() < 2.7 / math.sqrt(len(drawn))


# --- Worked examples ------------------------------------------------------------------------------


def drafting(pool: Pool, shares: tuple[float, ...], *, limit: float = math.inf) -> Pool:
    return replace(
        pool,
        router=Router.ROUND_ROBIN,
        maximum_sequences=4,
        draft_tokens=len(shares) - 1,
        draft_sequences=limit,
        draft_s=[0.0, 0.5, 0.75] + [1.0] * 6,
        emitted=[shares],
    )


def row(arrival_s: float, prompt: int, output: int) -> Row:
    return Row(arrival_s, 0, prompt, output)


def both(scenario: Scenario) -> Outcome:
    """Run the twin and the kernel; they agree on all times."""
    for number, each in enumerate(scenario.all_rows):
        each.number = number
    outcome = scenario.simulate_naively()
    _, records = simulate(scenario)
    found = {r.number: (r.started_s, r.first_token_s, r.finish_s) for r in records}
    for request in outcome.requests:
        times = (request.started_s, request.first_token_s, request.finish_s)
        assert found[request.number] == times
    return outcome


def test_a_request_that_drafts() -> None:
    """Two drafts, one accepted: 1 token by the prefill, then 2 a step of 1 + 0.5 s; 7 in all."""
    outcome = both(Scenario([drafting(UNIT_STEPS, (0.0, 1.0, 0.0))], [ALONE], [row(0.0, 3, 7)]))
    (request,) = outcome.requests
    assert (request.first_token_s, request.finish_s) == (1.0, 1.0 + 3 * 1.5)
    assert outcome.token_gaps == [[0.75] * 6]


def test_drafts_stop_above_a_batch_size() -> None:
    """Alone, A emits 3 tokens in each 1.5 s; from 2.5 s on with B, both one token a second."""
    pool = drafting(UNIT_STEPS, (0.0, 0.0, 1.0), limit=1)
    outcome = both(Scenario([pool], [ALONE], [row(0.0, 1, 6), row(1.5, 1, 3)]))
    first, second = outcome.requests
    # 0–1: A's prompt. 1–2.5: A to 4 tokens. 2.5–4: B's prompt, A drafts alone and has its 6.
    assert first.finish_s == 4.0
    # B alone: 2 more tokens in one step with drafts.
    assert second.finish_s == 5.5
    outcome = both(Scenario([pool], [ALONE], [row(0.0, 1, 12), row(1.5, 1, 3)]))
    first, second = outcome.requests
    # 2.5–4: A to 7, B has its first. 4–5, 5–6: both one token each; B has 3, A 9. Then 3 at once.
    assert (second.finish_s, first.finish_s) == (6.0, 7.5)


def test_drafts_begin_again_when_a_batch_has_shrunk_at_a_boundary() -> None:
    """B gives way to C in vain, and A, alone again, drafts from the next step but one on.

    0–1: A's prompt. 1–2.5: A to 4 tokens, B's prompt beside it. At 2.5 two decode, so the next step
    is without drafts; C comes, B gives way, and C still does not fit. 3.5: A has 5, and drafts.
    """
    pool = drafting(UNIT_STEPS, (0.0, 0.0, 1.0), limit=1)
    pool = replace(pool, kv_blocks=20, batch_sequences=4, batch_blocks=20, emitted=pool.emitted * 2)
    batch = replace(ALONE, batch=True)
    rows = [row(0.0, 4, 12), Row(0.2, 1, 2, 9), row(2.2, 14, 1)]
    first, second, third = both(Scenario([pool], [ALONE, batch], rows)).requests
    assert (second.started_s, second.preemptions) == (1.0, 1)
    assert first.finish_s == 3.5 + 3 * 1.5  # 5, 8, 11 and 12 tokens
    assert third.started_s == first.finish_s


def test_verified_tokens_take_their_share_of_the_budget() -> None:
    """A's step takes 3 of 4 tokens, so B's prompt of 3 takes 3 steps beside it."""
    pool = replace(drafting(UNIT_STEPS, (1.0, 0.0, 0.0), limit=1), token_budget=4)
    outcome = both(Scenario([pool], [ALONE], [row(0.0, 1, 20), row(1.2, 3, 1)]))
    assert outcome.requests[1].first_token_s == 2.5 + 3 * 1.5


def test_drafts_take_kv_memory() -> None:
    """Prompt 4 and room for 2 drafts that are rejected fill 6 of 8 blocks; a second has to wait."""
    plain = replace(UNIT_STEPS, kv_blocks=10)
    rows = [row(0.0, 4, 2), row(0.0, 4, 2)]
    assert [r.started_s for r in both(Scenario([plain], [ALONE], rows)).requests] == [0.0, 0.0]
    pool = drafting(plain, (1.0, 0.0, 0.0))
    assert [r.started_s for r in both(Scenario([pool], [ALONE], rows)).requests] == [0.0, 2.5]


# --- Random acceptance ----------------------------------------------------------------------------


def test_random_acceptance_agrees_in_distribution() -> None:
    """Ends, answers and token gaps of a busy pool, over many seeds; within 4 standard errors."""
    pool = replace(
        drafting(UNIT_STEPS, GOOD, limit=5),
        fixed_s=1e-2, linear_s=[1e-3 * n for n in range(65)], decode_s=2e-4, token_budget=64,
        maximum_sequences=8, kv_blocks=60, kv_block_tokens=8, context_tokens=400,
        draft_s=[1e-3 * n for n in range(9)],
    )  # fmt: skip
    gaps_of: dict[str, list[float]] = {"twin": [], "kernel": []}
    ends_of: dict[str, list[float]] = {"twin": [], "kernel": []}
    answers_of: dict[str, list[float]] = {"twin": [], "kernel": []}
    for seed in range(120):
        rng = np.random.default_rng(seed)
        at = np.cumsum(rng.exponential(0.15, 40))
        rows = [row(float(t), 10, int(n)) for t, n in zip(at, rng.integers(1, 90, 40), strict=True)]
        scenario = Scenario([pool], [ALONE], rows, seed=seed)
        for number, each in enumerate(rows):
            each.number = number
            each.reasoning_tokens = int(rng.integers(0, each.output_tokens))
        outcome = scenario.simulate_naively()
        engine, records = simulate(scenario)
        ends_of["twin"].append(float(np.mean([r.finish_s - r.arrival_s for r in outcome.requests])))
        ends_of["kernel"].append(float(np.mean([r.finish_s - r.arrival_s for r in records])))
        waits_s = [r.answer_s - r.arrival_s for r in outcome.requests]
        answers_of["twin"].append(float(np.mean(waits_s)))
        answers_of["kernel"].append(float(np.mean([r.answer_s - r.arrival_s for r in records])))
        gaps_of["twin"].append(float(np.quantile(outcome.token_gaps[0], 0.9)))
        counts = np.cumsum(engine.world.histograms[0, Metric.ITL])
        place = int(np.searchsorted(counts, 0.9 * counts[-1]))
        gaps_of["kernel"].append(1e-6 * (1.005 / 0.995) ** place)
    for found in (ends_of, answers_of, gaps_of):
        apart = np.array(found["kernel"]) - np.array(found["twin"])
        error = apart.std(ddof=1) / math.sqrt(len(apart))
        assert abs(apart.mean()) < 4.0 * error + 0.01 * np.mean(found["twin"])


def with_luck(draw: st.DrawFn, scenario: Scenario) -> Scenario:
    """Let the pools that draft accept at random."""
    pools = []
    for pool in scenario.pools:
        emitted = []
        for shares in pool.emitted:
            weights = [draw(st.integers(0, 3)) for _ in shares]
            total = sum(weights) or 1
            emitted.append([n / total for n in weights] if sum(weights) else list(shares))
        pools.append(replace(pool, emitted=emitted))
    return replace(scenario, pools=pools)


@settings(max_examples=150)
@given(scenario=st.composite(lambda draw: with_luck(draw, draw(general_scenarios())))())
def test_invariants_hold_whatever_is_accepted(scenario: Scenario) -> None:
    """Unlucky requests outgrow what the mean pace promised; nobody is left behind for that."""
    _, records = simulate(scenario)
    _, again = simulate(scenario)
    assert repr(records) == repr(again)


@pytest.mark.parametrize("seed", range(40))
def test_the_last_one_preempted_goes_on(seed: int) -> None:
    """Alone, with as many blocks as a lucky request needs: it is preempted, and admitted again."""
    pool = replace(drafting(UNIT_STEPS, (0.5, 0.0, 0.5)), kv_blocks=12, maximum_sequences=2)
    each = row(0.0, 1, 10)
    each.number = 0
    (record,) = simulate(Scenario([pool], [ALONE], [each], seed=seed))[1]
    assert record.fate == Fate.SERVED


def test_luck_outlives_a_change_of_mode() -> None:
    """With a second request that comes and goes, the spread of a long one's time stays."""
    pool = replace(
        drafting(UNIT_STEPS, (0.5, 0.0, 0.0, 0.5), limit=1), kv_blocks=10**6, context_tokens=10**6
    )
    spans: dict[str, list[float]] = {"twin": [], "kernel": []}
    for seed in range(150):
        rows = [row(0.0, 1, 300), *(row(10.0 * n + 0.5, 1, 2) for n in range(40))]
        for number, each in enumerate(rows):
            each.number = number + 1000 * seed  # the draws are the row's
        scenario = Scenario([pool], [ALONE], rows, seed=seed)
        spans["twin"].append(scenario.simulate_naively().requests[0].finish_s)
        found = {record.number: record for record in simulate(scenario)[1]}
        spans["kernel"].append(found[1000 * seed].finish_s)
    twin, kernel = np.array(spans["twin"]), np.array(spans["kernel"])
    error = math.hypot(twin.std(ddof=1), kernel.std(ddof=1)) / math.sqrt(150)
    assert abs(kernel.mean() - twin.mean()) < 4.0 * error
    assert kernel.std(ddof=1) == pytest.approx(twin.std(ddof=1), rel=0.3)


def test_an_answer_begins_at_the_end_at_the_latest() -> None:
    """Its step and that of the end are drawn apart: for some it would come after the end."""
    pool = drafting(replace(UNIT_STEPS, kv_blocks=200), (0.5, 0.0, 0.0, 0.5))
    rows = [row(100.0 * n, 1, 60) for n in range(300)]
    for number, each in enumerate(rows):
        each.number = number
        each.reasoning_tokens = 57
    scenario = Scenario([pool], [ALONE], rows)
    waits: dict[str, list[float]] = {"twin": [], "kernel": []}
    waits["twin"] = [r.finish_s - r.answer_s for r in scenario.simulate_naively().requests]
    waits["kernel"] = [r.finish_s - r.answer_s for r in simulate(scenario)[1]]
    twin, kernel = np.array(waits["twin"]), np.array(waits["kernel"])
    error = math.hypot(twin.std(ddof=1), kernel.std(ddof=1)) / math.sqrt(300)
    assert abs(kernel.mean() - twin.mean()) < 4.0 * error
    assert 0.0 == twin.min() == kernel.min()
    print(f"in one step: {(twin == 0.0).mean():.3f} of the twin, {(kernel == 0.0).mean():.3f} here")


def test_luck_belongs_to_the_request() -> None:
    """The same request takes as many steps in a larger fleet: compared fleets differ by less."""
    pool = drafting(replace(UNIT_STEPS, maximum_sequences=1), GOOD)
    rows = [row(100.0 * n, 1, 40) for n in range(30)]
    for number, each in enumerate(rows):
        each.number = number
    spans = []
    for replicas in (1, 3):
        _, records = simulate(Scenario([replace(pool, replicas=replicas)], [ALONE], rows))
        ordered = sorted(records, key=lambda record: record.number)
        spans.append([r.finish_s - r.arrival_s for r in ordered])
    assert spans[0] == spans[1]
    assert len({round(span, 6) for span in spans[0]}) > 3


# --- Plans ----------------------------------------------------------------------------------------


def plan(**changes: object) -> PoolPlan:
    values: dict[str, object] = {
        "name": "p", "fixed_s": 0.0, "linear_s": np.zeros(17), "decode_s": 0.0,
        "decode_seq_s": 0.0, "prefill_s": 0.0, "token_budget": 16, "maximum_sequences": 8,
        "kv_blocks": 9,
    }  # fmt: skip
    return PoolPlan(**(values | changes))  # type: ignore[arg-type]


def test_steps_hold_all_drafts() -> None:
    assert plan(draft=DraftPlan(1, ((0.5, 0.5),), np.zeros(9)))
    with pytest.raises(ValueError, match="8 sequences cannot all decode"):
        plan(draft=DraftPlan(2, ((0.5, 0.0, 0.5),), np.zeros(9)))
    assert plan(draft=DraftPlan(2, ((0.5, 0.0, 0.5),), np.zeros(9), sequences=5))


@pytest.mark.parametrize("shares", [(1.0,), (0.5, 0.6), (1.5, -0.5), (0.5, 0.25, 0.25)])
def test_shares_are_a_distribution(shares: tuple[float, ...]) -> None:
    with pytest.raises(ValueError, match=r"is no distribution|do not add up"):
        DraftPlan(1, (shares,), np.zeros(9))


def test_classes_share_a_depth() -> None:
    with pytest.raises(ValueError, match="of one length"):
        DraftPlan(2, ((0.5, 0.5), (0.5, 0.25, 0.25)), np.zeros(9))


def test_more_is_accepted_more_is_emitted() -> None:
    better = [(1.0, 0.0, 0.0), (0.5, 0.5, 0.0), (0.2, 0.3, 0.5), (0.0, 0.0, 1.0)]
    paces = [DraftPlan(2, (shares,), np.zeros(2)).pace(0) for shares in better]
    assert all(one < other for one, other in pairwise(paces))
    assert (paces[0], paces[-1]) == (1.0, 3.0)
