"""The arrays of an empty cluster, and their growth."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from planner.kernel import build
from planner.kernel.dtypes import NONE
from planner.kernel.enums import ReplicaStatus, Router
from planner.kernel.plan import ClassPlan, ClosedStream, Plan, PoolPlan
from planner.kernel.world import World

SMALL = PoolPlan(
    name="small",
    fixed_s=1.0,
    linear_s=np.array([0.0, 1.0, 2.0]),
    decode_s=0.25,
    decode_seq_s=0.125,
    prefill_s=0.5,
    token_budget=2,
    maximum_sequences=3,
    kv_blocks=10,
    kv_block_tokens=4,
)
LARGE = replace(
    SMALL,
    name="large",
    linear_s=np.arange(5.0),
    compute_s=np.arange(5.0) / 2,
    memory_s=np.arange(5.0) / 4,
    token_budget=4,
    maximum_sequences=2,
    kv_block_tokens=16,
    router=Router.LEAST_LOADED,
)


def empty_world(windows: int = 1) -> World:
    classes = (
        ClassPlan("chat", pools=(1, 0), priority=2, bucket_interval_s=6.0, bucket_burst=3),
        ClassPlan("batch", pools=(1,), timeout_s=9.0),
    )
    closed = (ClosedStream(1, iter([])),)
    return build.build_world(Plan((SMALL, LARGE), classes, iter([]), closed, 4), windows)


def free_slots(following: np.ndarray, head: int) -> list[int]:
    slots = []
    while head != NONE:
        slots.append(head)
        head = int(following[head])
    return slots


def test_tables_lie_one_behind_the_other() -> None:
    world = empty_world(windows=3)
    assert world.pools["step_table"].tolist() == [0, 3]
    assert world.steps["linear_s"].tolist() == [0, 1, 2, 0, 1, 2, 3, 4]
    assert world.steps["compute_s"].tolist() == [0, 0, 0, 0, 0.5, 1, 1.5, 2]
    assert world.steps["memory_s"].tolist() == [0, 0, 0, 0, 0.25, 0.5, 0.75, 1]
    assert world.routes.tolist() == [1, 0, 1]
    assert world.classes["first_pool"].tolist() == [0, 2]
    assert world.classes["pools"].tolist() == [2, 1]
    assert world.classes["bucket_burst_s"].tolist() == [12.0, 0.0]
    assert world.pools["router"].tolist() == [Router.POWER_OF_TWO, Router.LEAST_LOADED]
    assert world.streams["closed"].tolist() == [0, 1]
    assert (len(world.visitors), len(world.class_windows), len(world.pool_windows)) == (4, 6, 6)
    assert len(world.finished) == 0


def test_free_slots_are_chained_when_arrays_grow() -> None:
    world = build.grow_requests(empty_world(), 3)
    first = build.FIRST_REQUESTS
    chain = free_slots(world.requests["next"], int(world.state["free_request"][0]))
    assert chain == [*range(first, first + 3), *range(first)]
    world = build.grow_turns(build.grow_turns(world, 2), 1)
    assert free_slots(world.turns["next"], int(world.state["free_turn"][0])) == [2, 0, 1]
    assert len(build.grow_returns(world, 5).returns) == build.FIRST_RETURNS + 5


def test_an_array_grows_at_its_end() -> None:
    assert build.extended(np.array([3, 4]), 2).tolist() == [3, 4, 0, 0]


def test_replicas_get_their_own_rows() -> None:
    world = build.add_replicas(build.add_replicas(empty_world(), [0, 1]), [1, 0])
    replicas = world.replicas
    assert replicas["pool"].tolist() == [0, 1, 1, 0]
    assert replicas["slots_first"].tolist() == [0, 6, 10, 14]
    assert replicas["answers_first"].tolist() == [3, 8, 12, 17]
    assert replicas["growth_first"].tolist() == [0, 4, 20, 36]
    assert (len(world.slots), len(world.kv_growth), len(world.queues)) == (20, 40, 8)
    assert (world.queues["head"] == NONE).all()
    assert (world.queues["tail"] == NONE).all()
    assert (replicas["status"] == ReplicaStatus.STOPPED).all()
    assert np.isinf(replicas["run_end_s"]).all()
    assert len(world.calendar) == 4
    assert world.calendar["event_s"].tolist() == [math.inf] * 4


def test_active_replicas_are_listed_by_pool() -> None:
    world = build.add_replicas(empty_world(), [0, 1, 0, 1, 0])
    world.replicas["status"][[0, 1, 3, 4]] = int(ReplicaStatus.ACTIVE)
    world = build.list_active(world)
    assert world.pools["active_first"].tolist() == [0, 2]
    assert world.pools["active_count"].tolist() == [2, 2]
    assert world.active[:4].tolist() == [0, 4, 1, 3]


@pytest.mark.parametrize(
    ("replicas_per_node", "nodes_per_replica", "nodes", "replicas"),
    [(1, 1, 5, 5), (8, 1, 5, 40), (1, 2, 5, 2)],
)
def test_replicas_of_nodes(
    replicas_per_node: int, nodes_per_replica: int, nodes: int, replicas: int
) -> None:
    pool = replace(SMALL, replicas_per_node=replicas_per_node, nodes_per_replica=nodes_per_replica)
    assert pool.replicas_of(nodes) == replicas


def test_rules_of_the_batch_reach_the_kernel() -> None:
    pool = replace(LARGE, request_s=0.25, late_steps=1.5, prefill_first=True, poll_steps=7)
    records = build.pool_record(pool)
    assert build.draft_records(pool, 2)["late_tokens"].tolist() == [1.5, 1.5]
    for name in ("request_s", "prefill_first", "poll_steps"):
        assert records[name].tolist() == [getattr(pool, name)]
    plain = build.pool_record(LARGE)
    assert (plain["request_s"][0], plain["prefill_first"][0], plain["poll_steps"][0]) == (0, 0, 1)


def test_all_sequences_must_fit_into_a_step() -> None:
    """Prefill first admits by the whole budget, so decodes are not what limits the batch."""
    full = replace(LARGE, prefill_first=True, maximum_sequences=LARGE.token_budget)
    assert full.prefill_first
    with pytest.raises(
        ValueError, match="pool large: 5 sequences cannot all decode in a step of 4"
    ):
        replace(full, maximum_sequences=5)
