"""Control processes against clusters whose instants are worked out by hand."""

from __future__ import annotations

import math
from collections.abc import Callable, Generator
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import simpy
from hypothesis import given, settings
from hypothesis import strategies as st

from planner.control import Fleet, PoolView
from planner.control.fleet import Spans, held_over, most_nodes_by_window, nodes_over_time
from planner.engine import Engine
from planner.errors import SimulationError
from planner.kernel.enums import Fate, ReplicaStatus
from planner.kernel.plan import ClassPlan, ClosedStream
from tests.control.clusters import (
    POOL,
    Outcome,
    arrivals,
    at,
    endless,
    look,
    plan,
    simulate,
)
from tests.kernel.bridge import plan_of
from tests.kernel.strategies import UNIT_S, Scenario, dyadic_scenarios
from tests.naive import CONTROL, Replica, Simulation

HELD = [int(s) for s in (ReplicaStatus.STARTING, ReplicaStatus.ACTIVE, ReplicaStatus.DRAINING)]


def node_hours(spans: Spans, until_s: float) -> float:
    """Return the node-hours held until `until_s`."""
    return sum(hours * nodes for hours, nodes in held_over(spans, until_s))


def most_nodes(spans: Spans, until_s: float) -> float:
    """Return the most nodes held at once before `until_s`."""
    return max((nodes for _, nodes in held_over(spans, until_s)), default=0)


# --- watching ------------------------------------------------------------------------------------


def test_a_process_sees_the_pool_at_its_own_instant() -> None:
    seen: list[object] = []
    pool = replace(POOL, kv_blocks=8, kv_block_tokens=4)
    times_s = [0.0, 0.5, 1.0, 1.5, 4.75, 5.0, 5.5, 9.99, 10.0]
    simulate(
        plan((0.0, 4, 5), (0.0, 4, 5), (0.25, 4, 5), pool=pool),
        look(times_s, lambda p: (p.running, p.waiting, 8 * p.kv_usage_rate), seen),
    )
    assert seen == [
        (2, 0, 2.0),  # an arrival at this very instant has been admitted already
        (2, 1, 2.0),  # the third waits, for two run at most
        (2, 1, 4.0),  # the first decode step begins: token 5 needs a second block
        (2, 1, 4.0),
        (2, 1, 4.0),
        (1, 0, 1.0),  # the first two end, the third starts at the same boundary
        (1, 0, 1.0),
        (1, 0, 2.0),
        (0, 0, 0.0),
    ]


@settings(max_examples=150)
@given(
    scenario=dyadic_scenarios(),
    ticks=st.lists(st.integers(0, 1500), min_size=1, max_size=6, unique=True).map(sorted),
)
def test_a_process_sees_what_the_twin_sees(scenario: Scenario, ticks: list[int]) -> None:
    times_s = [tick * UNIT_S for tick in ticks if tick * UNIT_S <= scenario.stop_s]
    assert watched_by_kernel(scenario, times_s) == watched_by_twin(scenario, times_s)


def watched_by_kernel(scenario: Scenario, times_s: list[float]) -> list[tuple[object, ...]]:
    base = plan_of(scenario)
    nodes = [pool.replicas for pool in scenario.pools]
    pools = tuple(replace(p, nodes=n) for p, n in zip(base.pools, nodes, strict=True))
    engine = Engine(replace(base, pools=pools))
    engine._rng = np.random.default_rng(scenario.seed)
    fleet = Fleet(engine)
    seen: list[tuple[object, ...]] = []

    def act(time_s: float, lever: str, replica: int) -> Generator[simpy.Event]:
        yield engine.env.timeout(time_s)
        getattr(engine, lever)([replica])

    def watch(time_s: float) -> Generator[simpy.Event]:
        yield engine.env.timeout(time_s)
        for index, pool in enumerate(fleet):
            blocks = pool.kv_usage_rate * pool.replicas_active * scenario.pools[index].kv_blocks
            seen.append(
                (time_s, index, pool.waiting, pool.running, pool.replicas_active, round(blocks, 6))
            )

    actions = {
        "lose": scenario.losses,
        "drain": scenario.drains,
        "activate": scenario.activations,
    }
    for lever, moments in actions.items():
        for time_s, replica in moments:
            engine.env.process(act(time_s, lever, replica))
    for time_s in times_s:
        engine.env.process(watch(time_s))
    engine.run_to(scenario.stop_s)
    return seen


def watched_by_twin(scenario: Scenario, times_s: list[float]) -> list[tuple[object, ...]]:
    seen: list[tuple[object, ...]] = []
    twin = Simulation(
        scenario.pools,
        scenario.classes,
        scenario.closed_streams,
        scenario.end_s,
        scenario.warmup_s,
        np.random.default_rng(scenario.seed),
        scenario.luck,
    )
    for position, row in enumerate(scenario.rows):
        assert row.arrival_s is not None
        if row.arrival_s <= scenario.end_s:
            twin.schedule(row.arrival_s, 0, position, (row, row.later_turns, -1, []))
    for number, stream in enumerate(scenario.closed_streams):
        for first in stream.rows[: stream.clients]:
            twin.send_next_of_stream(number, first.arrival_s or 0.0)

    def watch(_: Replica) -> None:
        for index, pool in enumerate(scenario.pools):
            mine = [replica for replica in twin.replicas if replica.pool_index == index]
            active = [replica for replica in mine if replica.active]
            seen.append(
                (
                    twin.now_s,
                    index,
                    sum(len(replica.waiting) for replica in mine),
                    sum(len(replica.running) for replica in mine),
                    len(active),
                    sum(pool.kv_blocks - replica.free_blocks for replica in active),
                )
            )

    actions: list[tuple[float, Callable[[Replica], None], int]]
    actions = [(time_s, twin.lose, number) for time_s, number in scenario.losses]
    actions += [(time_s, twin.drain, number) for time_s, number in scenario.drains]
    actions += [(time_s, twin.activate, number) for time_s, number in scenario.activations]
    actions += [(time_s, watch, 0) for time_s in times_s]
    for position, (time_s, action, number) in enumerate(actions):
        twin.schedule(time_s, CONTROL, position, (action, twin.replicas[number]))
    twin.run(scenario.stop_s)
    return seen


def test_busy_rate_is_the_share_of_time_in_steps() -> None:
    seen: list[object] = []
    # Busy for 5 s of the first window, idle in the second, busy for 2 s of the third.
    simulate(
        plan((0.0, 1, 5), (20.0, 1, 2)),
        look([5.0, 10.0], lambda p: p.busy_rate(0.0), seen),
        look([30.0], lambda p: (p.busy_rate(0.0), p.busy_rate(10.0), p.busy_rate(25.0)), seen),
    )
    assert seen == [1.0, 0.5, (pytest.approx(7 / 30), pytest.approx(0.1), pytest.approx(0.2))]


def test_an_empty_pool_can_be_watched() -> None:
    seen: list[object] = []
    look_at = look(
        [1.0],
        lambda p: (p.nodes, p.running, p.waiting, p.kv_usage_rate, p.busy_rate(0.0)),
        seen,
    )
    outcome = simulate(plan(pool=replace(POOL, nodes=0)), look_at)
    assert seen == [(0, 0, 0, 0.0, 0.0)]
    assert outcome.spans() == []


# --- adding --------------------------------------------------------------------------------------


def test_a_users_process_scales_on_the_queue() -> None:
    """Four requests for one place: a node is ordered at the first look, and serves 10 s later."""
    ordered_s: list[float] = []

    def scale_on_queue(env: simpy.Environment, fleet: Fleet) -> Generator[simpy.Event]:
        pool = fleet["pool"]
        while True:
            yield env.timeout(3.0)
            if pool.waiting > 2 * pool.replicas_active and pool.nodes < 2:
                pool.add_nodes(1)
                ordered_s.append(env.now)

    one = replace(POOL, maximum_sequences=1)
    requests = [(0.0, 1, 20), (0.0, 1, 20), (1.0, 1, 20), (2.0, 1, 20), (14.0, 1, 20)]
    outcome = simulate(plan(*requests, pool=one), scale_on_queue, cold_start_s=10.0)
    assert ordered_s == [3.0]
    assert outcome.finished["replica"].tolist() == [0, 0, 0, 0, 1]
    assert outcome.finishes_s() == [20.0, 40.0, 60.0, 80.0, 34.0]
    assert outcome.spans() == [(0.0, 100.0, 1), (3.0, 100.0, 1)]
    assert outcome.active_s() == [10.0, 17.0, *[20.0] * 8]


def test_nodes_that_start_are_counted_and_paid_for_but_take_nothing() -> None:
    seen: list[object] = []
    outcome = simulate(
        plan(pool=replace(POOL, replicas_per_node=3)),
        at(4.0, lambda p: p.add_nodes(2)),
        look([4.5, 15.5, 16.5], lambda p: (p.nodes, p.replicas_active), seen),
        cold_start_s=12.0,
    )
    assert seen == [(3, 3), (3, 3), (3, 9)]
    assert outcome.spans() == [(0.0, 100.0, 1), (4.0, 100.0, 1), (4.0, 100.0, 1)]


def test_a_cold_start_of_nothing_serves_at_the_same_instant() -> None:
    outcome = simulate(plan((5.0, 1, 2), pool=replace(POOL, nodes=0)), at(4.0, add_one))
    assert outcome.fates() == [Fate.SERVED]
    assert outcome.finishes_s() == [7.0]


def add_one(pool: PoolView) -> None:
    pool.add_nodes(1)


# --- draining ------------------------------------------------------------------------------------


def test_a_drain_finishes_what_runs_and_what_waits_then_stops_and_is_no_longer_paid() -> None:
    one = replace(POOL, maximum_sequences=1)
    outcome = simulate(
        plan((0.0, 1, 5), (1.0, 1, 5), (3.0, 1, 5), pool=one), at(1.5, lambda p: p.drain_nodes(1))
    )
    assert outcome.fates() == [Fate.SERVED, Fate.SERVED, Fate.REFUSED]
    assert outcome.finishes_s() == [5.0, 10.0, 3.0]
    assert outcome.spans() == [(0.0, 10.0, 1)]
    assert outcome.active_s() == [10.0, *[0.0] * 9]
    assert node_hours(outcome.pool.held_nodes(100.0), 100.0) == 10.0 / 3600.0


def test_a_drained_replica_is_in_service_until_it_stops_between_two_looks() -> None:
    outcome = simulate(plan((0.0, 1, 13)), at(2.0, lambda p: p.drain_nodes(1)))
    assert outcome.active_s() == [10.0, 3.0, *[0.0] * 8]
    busy_s = outcome.engine.world.pool_windows["busy_s"]
    assert busy_s.tolist() == pytest.approx(outcome.active_s())


def test_an_idle_node_stops_at_once() -> None:
    outcome = simulate(plan(), at(7.0, lambda p: p.drain_nodes(5)))
    assert outcome.spans() == [(0.0, 7.0, 1)]
    assert outcome.pool.nodes == 0


def test_a_node_that_is_drained_while_it_starts_never_serves() -> None:
    seen: list[object] = []
    outcome = simulate(
        plan((20.0, 1, 2)),
        at(1.0, add_one),
        at(4.0, lambda p: p.drain_nodes(1)),
        look([5.0, 12.0], lambda p: (p.nodes, p.replicas_active), seen),
        cold_start_s=10.0,
    )
    assert seen == [(1, 1), (1, 1)]
    assert outcome.spans() == [(0.0, 100.0, 1), (1.0, 4.0, 1)]
    assert sum(outcome.active_s()) == 100.0


def test_nodes_that_start_leave_before_nodes_that_serve_and_later_ones_first() -> None:
    outcome = simulate(
        plan(pool=replace(POOL, nodes=2)),
        at(1.0, add_one),
        at(4.0, lambda p: p.drain_nodes(2)),
        cold_start_s=10.0,
    )
    assert outcome.spans() == [(0.0, 100.0, 1), (0.0, 4.0, 1), (1.0, 4.0, 1)]


def test_stopped_replicas_are_used_again() -> None:
    outcome = simulate(
        plan((50.0, 1, 2), pool=replace(POOL, replicas_per_node=2)),
        *[at(float(t), lambda p: p.set_nodes(0)) for t in range(1, 40, 2)],
        *[at(float(t), lambda p: p.set_nodes(1)) for t in range(2, 41, 2)],
    )
    assert len(outcome.engine.world.replicas) == 2
    assert outcome.fates() == [Fate.SERVED]
    assert len(outcome.spans()) == 21
    assert sum(outcome.active_s()) == 2 * (1 + 19 + 60)


def test_a_node_is_paid_until_its_last_replica_stops_even_if_another_is_ordered_meanwhile() -> None:
    """One replica of the drained node has stopped: it must not be taken for the new node."""
    two = replace(POOL, replicas_per_node=2)
    outcome = simulate(
        plan((0.0, 1, 30), (50.0, 1, 2), pool=two),
        at(5.0, lambda p: p.drain_nodes(1)),
        at(10.0, add_one),
        at(40.0, lambda p: p.add_nodes(1)),
    )
    assert outcome.spans() == [(0.0, 30.0, 1), (10.0, 100.0, 1), (40.0, 100.0, 1)]
    assert len(outcome.engine.world.replicas) == 4  # the third node has the first one's replicas


def test_the_last_service_of_a_replica_counts_even_if_it_is_used_again_in_the_same_window() -> None:
    outcome = simulate(plan((0.0, 1, 3)), at(1.0, lambda p: p.drain_nodes(1)), at(5.0, add_one))
    assert len(outcome.engine.world.replicas) == 1
    assert outcome.active_s() == [3.0 + 5.0, *[10.0] * 9]


# --- losing --------------------------------------------------------------------------------------


def test_a_lost_node_fails_what_it_was_doing() -> None:
    two = replace(POOL, nodes=2, maximum_sequences=1)
    outcome = simulate(
        plan((0.0, 1, 9), (0.0, 1, 9), (1.0, 1, 9), (2.0, 1, 9), pool=two),
        at(3.0, PoolView.lose_node),
    )
    assert outcome.fates() == [Fate.SERVED, Fate.FAILED, Fate.SERVED, Fate.FAILED]
    assert outcome.finishes_s() == [9.0, 3.0, 18.0, 3.0]
    assert outcome.spans() == [(0.0, 100.0, 1), (0.0, 3.0, 1)]
    assert outcome.active_s()[:2] == [13.0, 10.0]
    assert outcome.pool.nodes == 1


def test_clients_whose_requests_fail_go_on() -> None:
    """Closed loop: a lost node fails 2 requests, and both clients turn to the node that is left."""
    outcome = simulate(
        plan(
            pool=replace(POOL, nodes=2, maximum_sequences=1),
            closed=(ClosedStream(2, endless(4)),),
            duration_s=21.0,
        ),
        at(6.0, PoolView.lose_node),
    )
    finished = outcome.finished[np.argsort(outcome.finished["finish_s"], kind="stable")]
    assert finished["finish_s"].tolist() == [4.0, 4.0, 6.0, 8.0, 12.0, 16.0, 20.0, 24.0, 28.0]
    failed = finished["fate"] == Fate.FAILED
    assert np.flatnonzero(failed).tolist() == [2]


def test_memory_does_not_grow_with_the_number_of_losses() -> None:
    def fail_every_second(env: simpy.Environment, fleet: Fleet) -> Generator[simpy.Event]:
        while True:
            yield env.timeout(1.0)
            fleet["pool"].add_nodes(1)
            fleet["pool"].lose_node()

    closed = (ClosedStream(5, endless(3, think_s=0.5)),)
    outcome = simulate(plan(closed=closed, duration_s=90.0), fail_every_second)
    assert len(outcome.engine.world.returns) == 1024
    assert outcome.fates().count(Fate.FAILED) > 0


# --- setting -------------------------------------------------------------------------------------


def test_down_to_nothing_and_back() -> None:
    outcome = simulate(
        plan(*[(float(t), 1, 2) for t in range(0, 60, 10)]),
        at(15.0, lambda p: p.set_nodes(0)),
        at(35.0, lambda p: p.set_nodes(2)),
        cold_start_s=10.0,
    )
    served, refused = Fate.SERVED, Fate.REFUSED
    assert outcome.fates() == [served, served, refused, refused, refused, served]
    assert outcome.spans() == [(0.0, 15.0, 1), (35.0, 100.0, 1), (35.0, 100.0, 1)]
    assert outcome.active_s()[:5] == [10.0, 5.0, 0.0, 0.0, 10.0]


def test_nothing_happens_where_nothing_changes() -> None:
    outcome = simulate(plan(), *[at(float(t), lambda p: p.set_nodes(1)) for t in range(9)])
    assert outcome.spans() == [(0.0, 100.0, 1)]


def test_replicas_that_span_nodes_come_and_go_with_all_of_them() -> None:
    seen: list[object] = []
    wide = replace(POOL, nodes=5, nodes_per_replica=2)
    counts = [6, 3, 0, 1, 2]
    outcome = simulate(
        plan(pool=wide),
        *[at(10.0 * (i + 1), partial(PoolView.set_nodes, count=n)) for i, n in enumerate(counts)],
        look([5.0 + 10.0 * i for i in range(6)], lambda p: (p.nodes, p.replicas_active), seen),
    )
    assert seen == [(5, 2), (6, 3), (3, 1), (0, 0), (1, 0), (2, 1)]
    times_s, held = nodes_over_time(outcome.pool.held_nodes(100.0))
    assert times_s.tolist() == [0.0, 10.0, 20.0, 30.0, 40.0, 50.0, 100.0]
    assert held.tolist() == [5, *counts, 0]


def test_single_nodes_of_wide_replicas_add_up() -> None:
    wide = replace(POOL, nodes=0, nodes_per_replica=2)
    outcome = simulate(
        plan(pool=wide), at(1.0, add_one), at(2.0, add_one), at(3.0, PoolView.lose_node)
    )
    assert outcome.pool.nodes == 0
    assert outcome.spans() == [(2.0, 3.0, 2), (1.0, 2.0, 1)]


# --- mistakes ------------------------------------------------------------------------------------


def test_an_unknown_pool_is_named_with_those_there_are() -> None:
    with pytest.raises(SimulationError, match=r"no pool 'chta'; there are pool"):
        simulate(plan()).fleet["chta"]


@pytest.mark.parametrize("lever", ["add_nodes", "drain_nodes", "set_nodes"])
def test_a_number_of_nodes_is_a_whole_number_from_0_on(lever: str) -> None:
    pool = simulate(plan()).pool
    with pytest.raises(SimulationError, match="pool pool: -1 nodes; give a number of at least 0"):
        getattr(pool, lever)(-1)
    with pytest.raises(TypeError):
        getattr(pool, lever)(1.5)
    getattr(pool, lever)(np.int64(0))


def test_a_pool_without_nodes_in_service_has_none_to_lose() -> None:
    with pytest.raises(SimulationError, match="has no node in service to lose"):
        simulate(plan(), at(1.0, lambda p: p.set_nodes(0)), at(2.0, PoolView.lose_node))


# --- everything at once --------------------------------------------------------------------------

QUARTERS = st.integers(0, 160)
LEVERS = st.sampled_from(["add_nodes", "drain_nodes", "set_nodes", "lose_node"])


@settings(max_examples=100)
@given(
    requests=st.lists(st.tuples(QUARTERS, st.integers(1, 40)), max_size=20),
    levers=st.lists(st.tuples(QUARTERS, LEVERS, st.integers(0, 4)), max_size=10),
    cold_start=st.integers(0, 20),
    nodes=st.integers(0, 3),
    layout=st.sampled_from([(1, 1), (2, 1), (1, 2), (1, 3)]),
    window_s=st.sampled_from([1.0, 7.0, 64.0]),
)
def test_what_is_held_and_in_service_is_what_a_bystander_counts(
    requests: list[tuple[int, int]],
    levers: list[tuple[int, str, int]],
    cold_start: int,
    nodes: int,
    layout: tuple[int, int],
    window_s: float,
) -> None:
    """All instants are quarters of a second; a bystander looks in the middle of each."""
    per_node, spanned = layout
    pool = replace(
        POOL, fixed_s=0.25, nodes=nodes, replicas_per_node=per_node, nodes_per_replica=spanned
    )
    serving: list[int] = []
    held: list[int] = []

    def note(view: PoolView) -> None:
        replicas = view._engine.world.replicas
        status = replicas["status"]
        serving.append(int(np.isin(status, HELD[1:]).sum()))
        units = len(np.unique(replicas["node"][np.isin(status, HELD)]))
        held.append(units * spanned + (view.nodes % spanned))

    def pull(lever: str, number: int) -> Callable[[PoolView], object]:
        def act(view: PoolView) -> None:
            before = view.nodes
            if lever == "lose_node":
                if any(unit.ready for unit in view._staying()):
                    view.lose_node()
                    assert view.nodes == before - spanned
                return
            getattr(view, lever)(number)
            signs = {"add_nodes": before + number, "drain_nodes": max(0, before - number)}
            assert view.nodes == signs.get(lever, number)

        return act

    outcome: Outcome = simulate(
        plan(
            *sorted((quarter / 4, 1, output) for quarter, output in requests),
            pool=pool,
            duration_s=40.0,
            drain_s=24.0,
            window_s=window_s,
        ),
        *[at(quarter / 4, pull(lever, number)) for quarter, lever, number in levers],
        look([(i + 0.5) / 4 for i in range(256)], note, []),
        cold_start_s=cold_start / 4,
    )
    assert len(outcome.finished) == len(requests)
    end_s = outcome.engine.now_s
    quarters = int(end_s * 4)
    assert sum(outcome.active_s()) == sum(serving[:quarters]) / 4
    spans = outcome.pool.held_nodes(end_s)
    assert node_hours(spans, end_s) * 3600 == pytest.approx(sum(held[:quarters]) / 4, rel=1e-12)
    assert most_nodes(spans, 40.0) == max(held[:160])
    windows = int(outcome.engine.world.state["windows"][0])
    expected = [0] * windows
    for quarter, count in enumerate(held[:quarters]):
        window = min(int(quarter / 4 / window_s), windows - 1)
        expected[window] = max(expected[window], count)
    assert most_nodes_by_window(spans, window_s, windows).tolist() == expected


# --- step functions ------------------------------------------------------------------------------


def test_most_nodes_by_window_by_hand() -> None:
    spans = (np.array([0.0, 5.0, 12.0]), np.array([20.0, 6.0, 15.0]), np.array([1, 3, 2]))
    assert most_nodes_by_window(spans, 5.0, 5).tolist() == [1, 4, 3, 1, 0]
    assert most_nodes_by_window(spans, 5.0, 2).tolist() == [1, 4]
    assert most_nodes(spans, 5.0) == 1
    assert most_nodes(spans, 5.5) == 4
    assert node_hours(spans, 13.0) * 3600.0 == pytest.approx(13 + 3 + 2)


def test_windows_whose_edges_are_rounded() -> None:
    """3 · 0.7 / 0.7 is less than 3 in floating point; a node held all along is in every window."""
    assert int(3 * 0.7 / 0.7) == 2
    spans = (np.array([0.0]), np.array([100.0]), np.array([2]))
    assert most_nodes_by_window(spans, 0.7, 100).tolist() == [2] * 100


@given(
    spans=st.lists(
        st.tuples(st.integers(0, 30), st.integers(0, 12), st.integers(1, 5)), max_size=8
    ),
    window=st.integers(1, 9),
    windows=st.integers(1, 6),
    until=st.integers(0, 45),
)
def test_step_functions_against_counting(
    spans: list[tuple[int, int, int]], window: int, windows: int, until: int
) -> None:
    starts, lengths, nodes = np.array(spans, float).reshape(-1, 3).T
    held = (starts, starts + lengths, nodes.astype(int))
    counts = [sum(n for s, d, n in spans if s <= t < s + d) for t in range(60)]
    by_window = [
        max(counts[i * window : (i + 1) * window if i < windows - 1 else None], default=0)
        for i in range(windows)
    ]
    assert most_nodes_by_window(held, float(window), windows).tolist() == by_window
    assert most_nodes(held, float(until)) == max(counts[:until], default=0)
    assert node_hours(held, float(until)) * 3600 == pytest.approx(sum(counts[:until]))


def test_pools_are_told_apart() -> None:
    chat, code = replace(POOL, name="chat"), replace(POOL, name="code", nodes=2)
    classes = (ClassPlan("a", (0,)), ClassPlan("b", (1,)))
    blocks = [arrivals((0.0, 1, 9)), arrivals((1.0, 1, 9), (1.0, 1, 9), (1.5, 1, 9), klass=1)]
    blocks[1]["row"] += 1
    seen: list[object] = []

    def watch(env: simpy.Environment, fleet: Fleet) -> Generator[simpy.Event]:
        yield env.timeout(3.0)
        fleet["code"].drain_nodes(1)
        yield env.timeout(1.0)
        seen.extend((p.name, p.nodes, p.running, p.waiting, p.replicas_active) for p in fleet)

    both = plan(pools=(chat, code), classes=classes, blocks=iter(blocks))
    outcome = simulate(both, watch)
    assert seen == [("chat", 1, 1, 0, 1), ("code", 1, 3, 0, 1)]
    assert outcome.fates() == [Fate.SERVED] * 4
    assert math.isclose(node_hours(outcome.fleet["code"].held_nodes(100.0), 100.0), 110 / 3600)
