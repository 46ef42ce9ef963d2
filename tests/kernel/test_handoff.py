"""Requests that one pool prefills and another decodes: by hand, twin and kernel alike."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings

from planner.engine import Engine
from planner.kernel.enums import Fate, ReplicaStatus, Router, Scheduler
from tests.kernel.bridge import Record, simulate
from tests.kernel.strategies import UNIT_STEPS, Scenario, dyadic_scenarios
from tests.kernel.test_twin import by_number, twin_records
from tests.naive import ClosedStream, Pool, RequestClass, Row

PLAIN = RequestClass(pools=[0])
DECODE = replace(UNIT_STEPS, router=Router.ROUND_ROBIN)
PREFILL = replace(DECODE, decode_pool=1, link_latency_s=0.5, link_token_s=0.25)
"""Steps of a second; a prompt of two tokens is sent in another second."""


def run(
    rows: list[Row], prefill: Pool = PREFILL, decode: Pool = DECODE, **more: Any
) -> tuple[Engine, list[Record]]:
    """Return the kernel's answer once the twin agrees with it."""
    scenario = Scenario([prefill, decode], [more.pop("klass", PLAIN)], rows, **more)
    for number, row in enumerate(scenario.all_rows):
        row.number = number
    engine, records = simulate(scenario)
    expected = by_number(twin_records(scenario.simulate_naively()))
    assert repr(by_number(records)) == repr(expected)  # NaN has one spelling
    return engine, expected


def times(records: list[Record]) -> list[tuple[float, float, float]]:
    return [(r.started_s, r.first_token_s, r.finish_s) for r in records]


def test_a_request_alone() -> None:
    """Prefill until 1, transfer until 2; the first token is seen there, the others a step each."""
    engine, records = run([Row(0.0, 0, 2, 3)])
    assert times(records) == [(0.0, 2.0, 4.0)]
    assert (records[0].pool, records[0].replica, records[0].prefill_replica) == (1, 1, 0)
    prefill, decode = engine.world.pool_windows
    assert (prefill["routed"], prefill["received"]) == (1, 0)
    assert (decode["routed"], decode["received"]) == (1, 1)
    assert (prefill["prefill_tokens"], decode["decode_tokens"]) == (2, 2)
    assert (prefill["parked_block_s"], decode["parked_block_s"]) == (2.0, 2.0)
    assert (prefill["link_s"], decode["landing_s"]) == (1.0, 1.0)
    assert (prefill["busy_s"], decode["busy_s"]) == (1.0, 2.0)


def test_a_single_token_goes_no_further() -> None:
    engine, records = run([Row(0.0, 0, 2, 1)])
    assert times(records) == [(0.0, 1.0, 1.0)]
    assert (records[0].pool, records[0].prefill_replica) == (0, -1)
    assert engine.world.pool_windows["received"].tolist() == [0, 0]


def test_a_link_sends_one_after_the_other() -> None:
    """Both prompts are ready at 1; the second waits for the link until 2, then joins at 3."""
    _, records = run([Row(0.0, 0, 2, 4), Row(0.0, 0, 2, 4)])
    assert times(records) == [(0.0, 2.0, 5.0), (0.0, 3.0, 6.0)]


def test_every_replica_has_a_link() -> None:
    _, records = run([Row(0.0, 0, 2, 4), Row(0.0, 0, 2, 4)], replace(PREFILL, replicas=2))
    assert [r.first_token_s for r in records] == [2.0, 2.0]


def test_prefills_do_not_hold_up_decodes() -> None:
    """A prompt of 16 tokens takes 9 s in a pool of its own: the first request does not notice."""
    slow = replace(PREFILL, linear_s=[0.5 * n for n in range(17)])
    _, records = run([Row(0.0, 0, 2, 20), Row(3.0, 0, 16, 2)], slow)
    assert records[0].finish_s == records[0].first_token_s + 19.0


def test_a_full_decode_pool_stops_prefills() -> None:
    """Five blocks to decode in, four to keep prompts in: the third prompt is not even begun.

    The first decodes from 2 to 5 on 2 + 3 blocks. The second is kept until then, its memory is
    reserved at 5, its KV has come at 6; only then is there room to prefill the third.
    """
    prefill, decode = replace(PREFILL, kv_blocks=3), replace(DECODE, kv_blocks=5)
    engine, records = run(
        [Row(0.0, 0, 2, 4), Row(0.5, 0, 2, 4), Row(0.5, 0, 2, 4)], prefill, decode
    )
    assert times(records) == [(0.0, 2.0, 5.0), (2.0, 6.0, 9.0), (6.0, 10.0, 13.0)]
    assert engine.world.pool_windows["waiting_s"][1] > 0.0


def test_a_stop_finds_the_books_of_both_pools_in_order() -> None:
    """The bridge checks the invariants with one request landing and one that waits for memory."""
    decode = replace(DECODE, kv_blocks=5)
    engine, _ = run([Row(0.0, 0, 2, 4), Row(0.0, 0, 2, 4)], decode=decode, stop_s=1.5)
    assert engine.world.pools["parked_blocks"].tolist() == [4, 4]
    engine, _ = run([Row(0.0, 0, 3, 3), Row(0.0, 0, 3, 3)], decode=decode, stop_s=1.5)
    assert engine.world.pools["parked_blocks"].tolist() == [6, 3]
    assert engine.world.pools["landing"].tolist() == [0, 1]


def test_a_preempted_request_is_recomputed_where_it_decodes() -> None:
    decode = replace(DECODE, kv_blocks=7)
    engine, records = run([Row(0.0, 0, 2, 5), Row(0.0, 0, 2, 5)], decode=decode)
    assert [r.preemptions for r in records] == [0, 1]
    assert engine.world.pool_windows["prefill_tokens"][1] > 0


@pytest.mark.parametrize("lost", [0, 1])
@pytest.mark.parametrize("at_s", [1.25, 2.25, 3.25])
def test_losses_between_two_pools(lost: int, at_s: float) -> None:
    """What the lost replica had fails, and what the other one had of it is free again."""
    prefill, decode = replace(PREFILL, kv_blocks=6), replace(DECODE, kv_blocks=6)
    rows = [Row(0.0, 0, 2, 4) for _ in range(4)]
    _, records = run(rows, prefill, decode, losses=[(at_s, lost)])
    assert Fate.FAILED in [r.fate for r in records]


def test_kv_that_waits_for_a_boundary_is_lost() -> None:
    """Sent from 3.25 on, it comes at 4.5, amid a step of the other; at 4.75 the replica is lost."""
    slow = replace(PREFILL, link_latency_s=0.75)
    engine, records = run([Row(0.0, 0, 2, 20), Row(1.5, 0, 2, 20)], slow, losses=[(4.75, 1)])
    assert [r.fate for r in records] == [Fate.FAILED, Fate.FAILED]
    assert records[0].first_token_s == 2.25
    assert math.isnan(records[1].first_token_s)
    assert engine.world.replicas["kept"].tolist() == [0, 0]


@pytest.mark.parametrize("sent", [3, 4])
def test_a_line_closes_up_behind_a_loss(sent: int) -> None:
    """The second and, of four, the fourth in line were for the replica that is lost at 1.5."""
    rows = [Row(0.0, 0, 2, 4) for _ in range(sent)]
    _, records = run(rows, decode=replace(DECODE, replicas=2), losses=[(1.5, 2)])
    assert [r.fate == Fate.FAILED for r in records] == [False, True, False, True][:sent]
    assert [r.first_token_s for r in records][::2] == [2.0, 3.0]


def test_without_anybody_to_decode_requests_fail() -> None:
    rows = [Row(0.0, 0, 2, 4), Row(0.0, 0, 16, 4)]
    _, records = run(rows, replace(PREFILL, kv_blocks=16), losses=[(0.5, 1)])
    assert [r.fate for r in records] == [Fate.FAILED, Fate.FAILED]
    assert [r.finish_s for r in records] == [1.0, 2.0]


@pytest.mark.parametrize("replica", [0, 1])
def test_a_draining_replica_finishes_what_lies_between_pools(replica: int) -> None:
    engine, records = run([Row(0.0, 0, 2, 4)], drains=[(1.5, replica)])
    assert [r.fate for r in records] == [Fate.SERVED]
    assert engine.world.replicas["status"][replica] == ReplicaStatus.STOPPED
    assert engine.world.replicas["stopped_s"][replica] == [2.0, 5.0][replica]


def test_a_prompt_too_long_to_decode_is_not_prefilled() -> None:
    decode = replace(DECODE, kv_blocks=6)
    _, records = run([Row(0.0, 0, 4, 4), Row(0.0, 0, 4, 3)], decode=decode)
    assert [r.fate for r in records] == [Fate.TOO_LONG, Fate.SERVED]


def test_a_time_out_makes_room_on_an_idle_replica() -> None:
    """Memory is kept for another pool, so nothing runs; the first in the queue gives up."""
    prefill = replace(PREFILL, kv_blocks=4, link_latency_s=20.0)
    rows = [Row(0.0, 0, 2, 4), Row(1.5, 0, 3, 4), Row(1.5, 0, 2, 4)]
    _, records = run(rows, prefill, klass=RequestClass(pools=[0], timeout_s=3.0))
    assert [r.fate for r in records] == [Fate.SERVED, Fate.TIMED_OUT, Fate.TIMED_OUT]
    kinds = [RequestClass(pools=[0]), RequestClass(pools=[0], timeout_s=3.0)]
    rows[1].class_index = 1
    scenario = Scenario([prefill, DECODE], kinds, rows)
    records = by_number(simulate(scenario)[1])
    assert repr(records) == repr(by_number(twin_records(scenario.simulate_naively())))
    assert [r.started_s for r in records][2] == 4.5


def test_ranks_hold_in_the_pool_that_decodes() -> None:
    """The one that arrived first is prefilled last, and still comes first where both wait."""
    decode = replace(DECODE, maximum_sequences=1)
    prefill = replace(PREFILL, scheduler=Scheduler.SHORTEST_PROMPT, token_budget=8)
    rows = [Row(0.0, 0, 8, 2), Row(0.25, 0, 8, 9), Row(0.5, 0, 2, 9)]
    _, records = run(rows, prefill, decode)
    assert records[2].prefill_replica == 0
    assert records[1].first_token_s < records[2].first_token_s


def test_clients_of_a_closed_loop_come_back_after_the_second_pool() -> None:
    rows = [Row(None, 0, 2, 3) for _ in range(3)]
    stream = ClosedStream(0, 1, rows)
    _, records = run([], closed_streams=[stream])
    assert [r.arrival_s for r in records] == [0.0, 4.0, 8.0]


@pytest.mark.compiled
@settings(max_examples=200, suppress_health_check=[HealthCheck.filter_too_much])
@given(scenario=dyadic_scenarios())
def test_equals_the_twin_and_counts_what_it_counts(scenario: Scenario) -> None:
    assume(any(pool.decode_pool is not None for pool in scenario.pools))
    outcome = scenario.simulate_naively()
    engine, records = simulate(scenario)
    assert repr(by_number(records)) == repr(by_number(twin_records(outcome)))
    if math.isinf(scenario.stop_s) and not (scenario.losses or scenario.drains):
        for row, totals in zip(engine.world.pool_windows, outcome.pools, strict=True):
            for name in ("landing_s", "parked_block_s", "link_s"):
                assert np.isclose(row[name], getattr(totals, name), rtol=1e-9, atol=1e-12), name
