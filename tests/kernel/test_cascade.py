"""A lighter model before the class's own pools: who goes there, who goes on, and when."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from planner.kernel.cascade import chance
from planner.kernel.enums import Fate, Leg, Router, Scheduler
from tests.kernel.bridge import Record, simulate
from tests.kernel.strategies import UNIT_STEPS, Scenario
from tests.kernel.test_twin import by_number, twin_records
from tests.naive import Pool, RequestClass, Row

POOL = replace(UNIT_STEPS, router=Router.ROUND_ROBIN)
"""Steps of a second."""
CASCADE = RequestClass(pools=[0], light_pool=1, escalation=1.0)


def run(
    rows: list[Row], klass: RequestClass, *pools: Pool, **more: Any
) -> tuple[np.ndarray, list[Record]]:
    """Return the kernel's books and records once the twin agrees with it."""
    scenario = Scenario(list(pools) or [POOL, POOL], [klass], rows, **more)
    for number, row in enumerate(scenario.all_rows):
        row.number = number
    engine, records = simulate(scenario)
    outcome = scenario.simulate_naively()
    assert repr(by_number(records)) == repr(by_number(twin_records(outcome)))
    return engine.world.pool_windows, by_number(records)


def test_both_latencies_and_both_costs_count() -> None:
    """Three steps with the lighter model, three more with the other, whose first token is seen."""
    books, records = run([Row(0.0, 0, 2, 3)], CASCADE)
    assert [(r.started_s, r.first_token_s, r.finish_s) for r in records] == [(0.0, 4.0, 6.0)]
    assert (records[0].pool, records[0].leg) == (0, Leg.ESCALATED)
    assert books["busy_s"].tolist() == [3.0, 3.0]
    assert books["prefill_tokens"].tolist() == [2, 2]
    assert books["routed"].tolist() == [1, 1]
    assert books["escalated"].tolist() == [1, 0]


def test_an_answer_that_is_good_enough_is_kept() -> None:
    _, records = run([Row(0.0, 0, 2, 3)], replace(CASCADE, escalation=0.0))
    assert [(r.finish_s, r.pool, r.leg) for r in records] == [(3.0, 1, Leg.LIGHT)]


def test_an_escalated_prompt_is_charged_where_it_goes() -> None:
    """Both classes want the same from a pool that they share alike, so they take turns."""
    shared = replace(POOL, maximum_sequences=1, scheduler=Scheduler.WEIGHTED)
    classes = [CASCADE, RequestClass(pools=[0])]
    rows = [Row(0.0, 0, 2, 1) for _ in range(8)] + [Row(1.0, 1, 2, 1) for _ in range(8)]
    scenario = Scenario([shared, POOL], classes, rows)
    for number, row in enumerate(scenario.all_rows):
        row.number = number
    _, records = simulate(scenario)
    assert repr(by_number(records)) == repr(by_number(twin_records(scenario.simulate_naively())))
    ends = sorted((record.finish_s, record.class_index) for record in records)
    lead = np.cumsum([1 if klass == 0 else -1 for _, klass in ends])
    assert np.abs(lead).max() <= 2  # uncharged, class 0 would be served twice as often


def test_a_single_token_is_escalated_too() -> None:
    _, records = run([Row(0.0, 0, 2, 1)], CASCADE)
    assert [(r.first_token_s, r.finish_s) for r in records] == [(2.0, 2.0)]


def test_long_inputs_go_to_the_own_pools() -> None:
    klass = replace(CASCADE, light_input_tokens=4)
    _, records = run([Row(0.0, 0, 4, 2), Row(0.0, 0, 5, 2)], klass)
    assert [r.leg for r in records] == [Leg.ESCALATED, Leg.MAIN]


def test_a_full_lighter_pool_is_passed_over() -> None:
    light = replace(POOL, maximum_sequences=1, queue_limit=1)
    rows = [Row(0.0, 0, 2, 2), Row(0.5, 0, 2, 2), Row(0.5, 0, 2, 2)]
    books, records = run(rows, replace(CASCADE, escalation=0.0), POOL, light)
    assert [r.leg for r in records] == [Leg.LIGHT, Leg.LIGHT, Leg.MAIN]
    assert books["overflowed"].tolist() == [1, 0]


def test_without_anybody_to_go_on_to_a_request_fails() -> None:
    _, records = run([Row(0.0, 0, 2, 3)], CASCADE, losses=[(1.5, 0)])
    assert [(r.fate, r.finish_s) for r in records] == [(Fate.FAILED, 3.0)]


def test_an_escalated_request_comes_before_later_ones() -> None:
    """Both wait in the own pool from 2 on; the one from the lighter model arrived first."""
    own = replace(POOL, maximum_sequences=1)
    klass = replace(CASCADE, light_input_tokens=2)
    rows = [Row(0.0, 0, 3, 5), Row(0.0, 0, 2, 2), Row(0.5, 0, 3, 2)]
    _, records = run(rows, klass, own, POOL)
    assert [r.first_token_s for r in records] == [1.0, 6.0, 8.0]


def test_both_models_may_prefill_and_decode_apart() -> None:
    own = replace(POOL, decode_pool=2, link_token_s=0.5)
    light = replace(POOL, decode_pool=3, link_token_s=0.25)
    _, records = run([Row(0.0, 0, 2, 3)], CASCADE, own, light, POOL, POOL)
    assert [(r.first_token_s, r.finish_s, r.pool) for r in records] == [(5.5, 7.5, 2)]
    assert records[0].prefill_replica == 0


@pytest.mark.parametrize("purpose", [Leg.LIGHT, Leg.ESCALATED])
def test_chances_are_uniform_and_independent(purpose: int) -> None:
    """Shares within four standard errors, those of neighbours and of other purposes as well."""
    count = 4000
    drawn = np.array([chance(12345, 1, row, purpose) for row in range(count)])
    other = np.array(
        [chance(12345, 1, row, Leg.LIGHT + Leg.ESCALATED - purpose) for row in range(count)]
    )
    for share in (0.1, 0.5, 0.86):
        bound = 4.0 * np.sqrt(share * (1.0 - share) / count)
        assert abs((drawn < share).mean() - share) < bound
    for pair in (drawn[1:], other[:-1]):
        assert abs(np.corrcoef(drawn[:-1], pair)[0, 1]) < 4.0 / np.sqrt(count)
