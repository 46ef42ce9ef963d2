"""What replicas find of prompts: against vLLM's queue of free blocks, and by hand.

The twin (`test_twin.py`) has the rules in the same words as the kernel; here they are compared with
what they stand for, block by block.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from planner.engine import Engine
from planner.kernel.enums import Router
from planner.kernel.route import holder
from tests.kernel.bridge import plan_of, simulate
from tests.kernel.strategies import HASH_TOKENS, UNIT_STEPS, Scenario
from tests.naive import Pool, RequestClass, Row, Tier

POOL = replace(
    UNIT_STEPS,
    prefix_cache=True,
    kv_block_tokens=4,
    kv_blocks=16,
    token_budget=1000,
    linear_s=[0.0] * 1001,
    context_tokens=1000,
    router=Router.ROUND_ROBIN,
)


def scenario_of(pool: Pool, rows: list[Row], *classes: RequestClass) -> Scenario:
    for number, row in enumerate(rows):
        row.number = number
    chosen = list(classes) or [RequestClass(pools=[0])]
    return Scenario([pool], chosen, rows)


def cached(pool: Pool, rows: list[Row], *classes: RequestClass) -> list[int]:
    """Return how much of each prompt was cached, by row."""
    _, records = simulate(scenario_of(pool, rows, *classes))
    return [record.cached_tokens for record in sorted(records, key=lambda record: record.number)]


class BlockQueue:
    """vLLM's block pool: a queue of free blocks, of which those with a known content are of use.

    Unlike there, a block that is not full is empty again at once, and the first to be taken.
    """

    def __init__(self, blocks: int) -> None:
        self.free: OrderedDict[object, None] = OrderedDict.fromkeys(
            ("empty", n) for n in range(blocks)
        )

    def serve(self, chain: tuple[int, ...], tokens: int) -> int:
        """Serve a request of one output token alone; return the tokens that it finds."""
        found = 0
        while found < len(chain) and chain[found] in self.free:
            found += 1
        for block in chain[:found]:
            del self.free[block]
        taken = [self.free.popitem(last=False) for _ in range(found, -(-tokens // HASH_TOKENS))]
        assert len(taken) > len(chain) - found, "the last block is not full"
        for block in reversed(chain):
            self.free[block] = None
        self.free[taken[0]] = None
        self.free.move_to_end(taken[0], last=False)
        return found * HASH_TOKENS


prompts = st.tuples(st.integers(0, 3), st.integers(0, 5), st.integers(1, 3))


@given(prompts=st.lists(prompts, max_size=25), blocks=st.integers(6, 20))
def test_finds_what_vllm_finds(prompts: list[tuple[int, int, int]], blocks: int) -> None:
    """Prompts of a tree, one after the other: all begin alike and part after so many blocks."""
    queue = BlockQueue(blocks)
    rows, expected = [], []
    for number, (parting, length, rest) in enumerate(prompts):
        chain = tuple(n if n < parting else 10 * (1 + parting) + n for n in range(length))
        tokens = length * HASH_TOKENS + rest
        rows.append(Row(100.0 * number, 0, tokens, 1, hashes=chain, hash_tokens=HASH_TOKENS))
        expected.append(queue.serve(chain, tokens))
    assert cached(replace(POOL, kv_blocks=blocks), rows) == expected


# --- Who shares what ------------------------------------------------------------------------------


def test_a_system_prompt_is_shared_by_a_class() -> None:
    """Ten tokens are two blocks of four; the block that reaches beyond them is everyone's own."""
    rows = [Row(0.0, 0, 30, 1), Row(10.0, 0, 20, 1), Row(20.0, 1, 20, 1), Row(30.0, 1, 9, 1)]
    classes = [RequestClass(pools=[0], system_tokens=10), RequestClass(pools=[0], system_tokens=9)]
    assert cached(POOL, rows, *classes) == [0, 8, 0, 8]


def test_one_token_is_always_computed() -> None:
    rows = [Row(0.0, 0, 8, 1), Row(10.0, 0, 8, 1)]
    assert cached(POOL, rows, RequestClass(pools=[0], system_tokens=8)) == [0, 4]


@pytest.mark.parametrize(("keeps_reasoning", "expected"), [(False, 12), (True, 24)])
def test_a_turn_finds_the_one_before(keeps_reasoning: bool, expected: int) -> None:
    """12 tokens in, 14 out, of which the last is never written: 25 are 6 blocks."""
    turns = [Row(None, 0, 40, 1, session=5, think_s=1.0)]
    first = Row(0.0, 0, 12, 14, reasoning_tokens=4, session=5, later_turns=turns)
    turns[0].number = 1
    rules = RequestClass(pools=[0], keeps_reasoning=keeps_reasoning)
    assert cached(POOL, [first], rules) == [0, expected]


def test_a_context_written_anew_is_computed_again() -> None:
    """The third turn is shorter than the context before it; the fourth goes on from there."""
    lengths = [20, 28, 16, 24]
    rows = [Row(10.0 * n, 0, tokens, 1, session=0) for n, tokens in enumerate(lengths)]
    assert cached(POOL, rows, RequestClass(pools=[0], system_tokens=4)) == [0, 20, 4, 16]


def test_a_shorter_prompt_beside_a_longer_context_has_its_own() -> None:
    """The first call goes on when a shorter one of the same session comes; both are served."""
    rows = [Row(0.0, 0, 20, 20, session=0), Row(5.0, 0, 12, 2, session=0)]
    engine, records = simulate(scenario_of(POOL, rows))
    assert sorted(record.cached_tokens for record in records) == [0, 0]
    assert {record.started_s for record in records} == {0.0, 5.0}
    assert cached(POOL, [*rows, Row(50.0, 0, 44, 1, session=0)])[-1] == 36
    assert engine.world.replicas["kv_used_blocks"].tolist() == [0]


def test_sessions_of_two_classes_are_two() -> None:
    rows = [Row(0.0, 0, 20, 1, session=3), Row(10.0, 1, 30, 1, session=3)]
    assert cached(POOL, rows, RequestClass(pools=[0]), RequestClass(pools=[0])) == [0, 0]


def test_a_prompt_admitted_in_the_same_step_is_shared() -> None:
    """Both hold the system prompt of 8 blocks once; apart they would not fit side by side."""
    pool = replace(POOL, kv_blocks=12)
    rows = [Row(0.0, 0, 36, 4), Row(0.0, 0, 36, 4)]
    rules = RequestClass(pools=[0], system_tokens=32)
    engine, records = simulate(scenario_of(pool, rows, rules))
    assert [record.started_s for record in records] == [0.0, 0.0]
    assert sorted(record.cached_tokens for record in records) == [0, 32]
    _, apart = simulate(scenario_of(replace(pool, prefix_cache=False), rows, rules))
    assert sorted(record.started_s for record in apart) == [0.0, 4.0]
    assert engine.world.replicas["kv_used_blocks"].tolist() == [0]


def test_what_nobody_asks_for_takes_its_place() -> None:
    """Sixteen blocks: a prompt of 8 is forgotten when two strangers of 6 have come since."""
    rows = [Row(0.0, 0, 32, 1, session=0), Row(10.0, 0, 24, 1), Row(20.0, 0, 24, 1)]
    rows.append(Row(30.0, 0, 36, 1, session=0))
    assert cached(POOL, rows) == [0, 0, 0, 16]
    assert cached(replace(POOL, kv_blocks=30), rows) == [0, 0, 0, 32]


def test_a_lost_replica_keeps_nothing() -> None:
    rows = [Row(0.0, 0, 32, 1, session=0), Row(30.0, 0, 36, 1, session=0)]
    scenario = scenario_of(POOL, rows)
    assert [record.cached_tokens for record in simulate(scenario)[1]] == [0, 32]
    scenario.losses = [(10.0, 0)]
    scenario.activations = [(20.0, 0)]
    assert [record.cached_tokens for record in simulate(scenario)[1]] == [0, 0]
    scenario.losses, scenario.drains = [], [(10.0, 0)]
    assert [record.cached_tokens for record in simulate(scenario)[1]] == [0, 0]


# --- Routing --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("loads", "slack", "ratio", "chosen"),
    [
        ((0, 0), 0, 1.0, 0),
        ((2, 0), 1, 1.0, 1),
        ((2, 0), 2, 1.0, 0),
        ((9, 5), 1, 1.5, 1),
        ((9, 5), 1, 2.0, 0),
        ((9, 5), 4, 1.0, 0),
    ],
)
def test_affinity_has_a_limit(
    loads: tuple[int, int], slack: int, ratio: float, chosen: int
) -> None:
    """Replica 0 holds 40 tokens of a prompt of 44."""
    pool = replace(
        POOL, replicas=2, router=Router.CACHE_AWARE, affinity_slack=slack, affinity_ratio=ratio
    )
    engine, _ = simulate(scenario_of(pool, [Row(0.0, 0, 40, 1, session=0)]))
    request = engine.world.requests[0]
    request["session"], request["hashes"], request["class"] = 0, 0, 0
    request["input_tokens"] = request["prompt_tokens"] = 44
    engine.world.replicas["decoding"][:] = loads
    assert holder(engine.world, engine.world.pools[0], request) == chosen


def test_little_in_common_is_no_reason() -> None:
    pool = replace(POOL, kv_blocks=100, replicas=2, router=Router.CACHE_AWARE, affinity_share=0.5)
    rows = [Row(0.0, 0, 40, 20, session=0), Row(5.0, 0, 100, 1, session=0)]
    _, records = simulate(scenario_of(pool, rows))
    assert sorted(record.replica for record in records) == [0, 1]


# --- Tiers ----------------------------------------------------------------------------------------

TIER = Tier(blocks=100, block_s=0.25, latency_s=0.5)
SLOW = replace(POOL, linear_s=[0.125 * n for n in range(1001)], tiers=[TIER])
"""A token takes 0.126 s to compute in full steps, a block of four 0.25 s to fetch."""


def test_what_a_replica_has_evicted_is_fetched() -> None:
    """Eight blocks that the replica forgot: 0.5 + 8 · 0.25 s, and a step for the last 4 tokens."""
    rows = [Row(0.0, 0, 32, 1, session=0), Row(50.0, 0, 64, 1), Row(100.0, 0, 36, 1, session=0)]
    engine, records = simulate(scenario_of(SLOW, rows))
    last = records[-1]
    assert (last.number, last.cached_tokens, last.started_s) == (2, 32, 100.0)
    assert last.first_token_s == 100.0 + 2.5 + (1.0 + 4 * 0.125)
    row = engine.world.pool_windows[0]
    assert row["loaded_tokens"].tolist() == [32, 0, 0]
    assert row["cached_tokens"] == 0


def test_what_is_faster_to_compute_is_computed() -> None:
    rows = [Row(0.0, 0, 32, 1, session=0), Row(50.0, 0, 64, 1), Row(100.0, 0, 36, 1, session=0)]
    slow = replace(SLOW, tiers=[replace(TIER, latency_s=2.5)])  # 4.5 s against 32 · 0.126
    assert cached(slow, rows) == [0, 0, 0]
    assert cached(replace(SLOW, tiers=[replace(TIER, latency_s=2.0)]), rows) == [0, 0, 32]


def test_a_link_carries_one_request_at_a_time() -> None:
    """Two fetch for 2 s each, one behind the other; a third computes its prompt instead."""
    pool = replace(SLOW, kv_blocks=48, tiers=[replace(TIER, latency_s=0.0)])
    rows = [Row(20.0 * n, 0, 32, 1, session=n) for n in range(3)]
    rows += [Row(100.0, 0, 190, 1)]
    rows += [Row(200.0, 0, 36, 1, session=n) for n in range(3)]
    found = cached(pool, rows)
    assert found == [0, 0, 0, 0, 32, 32, 0]
    _, records = simulate(scenario_of(pool, rows))
    times = {record.number: record.first_token_s for record in records}
    assert times[6] < times[5]


def test_a_shared_tier_serves_another_replica() -> None:
    rows = [Row(0.0, 0, 32, 1, session=0), Row(50.0, 0, 36, 1, session=0)]
    own = replace(SLOW, replicas=2)
    assert cached(own, rows) == [0, 0]
    assert cached(replace(own, tiers=[replace(TIER, shared=True)]), rows) == [0, 32]


def test_a_tier_evicts_by_its_own_room() -> None:
    rows = [Row(0.0, 0, 32, 1, session=0), Row(50.0, 0, 64, 1), Row(100.0, 0, 36, 1, session=0)]
    assert cached(replace(SLOW, tiers=[replace(TIER, blocks=20)]), rows) == [0, 0, 16]


def test_a_preempted_sequence_is_swapped_and_comes_back() -> None:
    """Two sequences outgrow 16 blocks; the second is fetched instead of computed again."""
    rows = [Row(0.0, 0, 28, 24), Row(0.0, 0, 28, 24)]
    pool = replace(SLOW, tiers=[replace(TIER, latency_s=0.0)])
    recomputed, records = simulate(scenario_of(pool, rows))
    swapped, better = simulate(scenario_of(replace(pool, swap=True), rows))
    row = swapped.world.pool_windows[0]
    assert (row["preemptions"], row["swaps"]) == (1, 1)
    assert recomputed.world.pool_windows[0]["preemptions"] == 1
    assert row["loaded_tokens"][0] + row["prefill_tokens"] == 2 * 28 + row["loaded_tokens"][0] + 1
    assert max(r.finish_s for r in better) < max(r.finish_s for r in records)
    full = replace(pool, swap=True, tiers=[replace(pool.tiers[0], blocks=3)])
    assert simulate(scenario_of(full, rows))[0].world.pool_windows["swaps"].tolist() == [0]


# --- Ids of prefix blocks -------------------------------------------------------------------------


def test_ids_are_dropped_behind_all_requests() -> None:
    """A thousand requests of 8 ids each, of which few are in flight at a time."""
    rows = [
        Row(100.0 * n, 0, 33, 1, hashes=tuple(range(8 * n, 8 * n + 8)), number=n)
        for n in range(1000)
    ]
    engine = Engine(plan_of(scenario_of(POOL, rows), block_rows=10))
    engine.activate(engine.add_replicas(0, 1, node=0))
    engine.run_to(90_000.0)
    assert engine.world.state["hash_base"][0] > 6000
    assert len(engine.world.hashes) < 500
    assert np.all(np.diff(engine.world.hashes) == 1)
