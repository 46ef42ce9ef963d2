"""The engine: streams, windows, growth, ends; by hand, on clusters with steps of one second."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from planner import engine as engine_module
from planner.control import Fleet, PoolView
from planner.engine import Engine
from planner.errors import SimulationError
from planner.kernel import build, dtypes
from planner.kernel.dtypes import RETRY_PAUSE_S
from planner.kernel.enums import Fate
from planner.kernel.plan import ClassPlan, ClosedStream
from tests.control.clusters import POOL, Arrival, arrivals, at, endless, look, plan, simulate
from tests.kernel.bridge import plan_of
from tests.kernel.strategies import Scenario, dyadic_scenarios

ONE = replace(POOL, maximum_sequences=1)
MANY = replace(POOL, maximum_sequences=100_000, token_budget=100_000, kv_blocks=10**9)
MANY = replace(MANY, linear_s=np.zeros(MANY.token_budget + 1))


# --- the open loop -------------------------------------------------------------------------------


@pytest.mark.parametrize("blocks", [[], [()], [(), (), ()]])
def test_a_trace_without_requests_passes_quietly(blocks: list[tuple[Arrival, ...]]) -> None:
    seen: list[float] = []
    quiet = plan(blocks=iter([arrivals(*block) for block in blocks]))
    engine = Engine(quiet)
    Fleet(engine)
    engine.run(seen.append)
    assert seen == [10.0 * n for n in range(1, 11)]
    assert engine.world.class_windows["arrived"].sum() == 0
    assert engine.world.pool_windows["active_s"].tolist() == [10.0] * 10


@settings(max_examples=100)
@given(scenario=dyadic_scenarios(control=False), size=st.integers(1, 20))
def test_how_the_trace_is_cut_into_blocks_changes_nothing(scenario: Scenario, size: int) -> None:
    assert _rows(scenario, 3).tobytes() == _rows(scenario, size).tobytes()


def _rows(scenario: Scenario, block_rows: int) -> NDArray[np.void]:
    rows: list[NDArray[np.void]] = [np.zeros(0, dtypes.FINISHED)]
    engine = Engine(plan_of(scenario, block_rows), rows.append)
    for index, pool in enumerate(scenario.pools):
        engine.activate(engine.add_replicas(index, pool.replicas, node=index))
    engine.run_to(scenario.stop_s)
    engine.finish()
    return np.concatenate(rows)


def test_empty_blocks_between_others_are_passed_over() -> None:
    blocks = [(), ((0.0, 1, 2),), (), (), ((9.0, 1, 2),), ()]
    outcome = simulate(plan(blocks=iter([arrivals(*block) for block in blocks])))
    assert sorted(outcome.finishes_s()) == [2.0, 11.0]


def test_a_session_must_not_be_split_over_blocks() -> None:
    """Its later turn would be taken for that of whatever row came before."""
    blocks = [arrivals((0.0, 1, 2)), arrivals((math.nan, 1, 2), (1.0, 1, 2))]
    with pytest.raises(SimulationError, match="begins with a later turn; keep every session in"):
        simulate(plan(blocks=iter(blocks)))


def test_later_turns_follow_their_own_session_across_blocks() -> None:
    """Sessions of three turns, 2 s of thought between them; a block per session."""
    turns = [(math.nan, 1, 3)] * 2
    blocks = [arrivals((10.0 * n, 1, 3), *turns, think_s=2.0) for n in range(3)]
    for number, block in enumerate(blocks):
        block["row"] += 3 * number
    outcome = simulate(plan(blocks=iter(blocks)))
    assert outcome.finishes_s() == [10.0 * n + end for n in range(3) for end in (3.0, 8.0, 13.0)]


def test_many_requests_at_one_instant_make_the_arrays_grow() -> None:
    outcome = simulate(plan(*[(1.0, 1, 2)] * 5000, pool=MANY))
    assert outcome.finishes_s() == [3.0] * 5000
    assert len(outcome.engine.world.requests) >= 5000


def test_many_sessions_at_one_instant_make_the_turns_grow() -> None:
    sessions = [(1.0, 1, 2), (math.nan, 1, 2)] * 3000
    outcome = simulate(plan(*sessions, pool=MANY))
    assert sorted(outcome.finishes_s()) == [3.0] * 3000 + [5.0] * 3000


def test_memory_does_not_grow_with_the_trace() -> None:
    """Five thousand requests, one after the other, in blocks of a hundred."""

    def blocks() -> Iterator[NDArray[np.void]]:
        for start in range(0, 5000, 100):
            yield arrivals(*[(4.0 * (start + n), 1, 2) for n in range(100)])

    long = plan(blocks=blocks(), duration_s=20_000.0, window_s=1000.0)
    outcome = simulate(long)
    world = outcome.engine.world
    assert (len(world.requests), len(world.arrivals)) == (build.FIRST_REQUESTS, 100)
    assert len(outcome.finished) == 5000


def test_rows_are_handed_out_in_order_however_small_the_buffer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    requests = [(0.5 * n, 1, 1 + n % 7) for n in range(100)]
    whole = simulate(plan(*requests))
    monkeypatch.setattr(build, "FINISHED_ROWS", 1)
    parts: list[NDArray[np.void]] = []
    engine = Engine(plan(*requests), parts.append)
    Fleet(engine)
    engine.run()
    assert max(len(part) for part in parts) < 100
    rows = np.concatenate(parts)
    assert (np.diff(rows["finish_s"]) >= 0).all()
    assert rows[np.argsort(rows["row"], kind="stable")].tobytes() == whole.finished.tobytes()


def test_rows_that_nobody_takes_are_dropped() -> None:
    engine = Engine(plan((0.0, 1, 2)))
    Fleet(engine)
    engine.run()
    assert engine.world.state["finished_count"][0] == 0


# --- closed loops --------------------------------------------------------------------------------


def closed_rows(count: int, output_tokens: int, klass: int = 0) -> Iterator[NDArray[np.void]]:
    """Yield `count` rows in blocks of one."""
    for number in range(count):
        row = arrivals((math.nan, 1, output_tokens), klass=klass)
        row["row"] = number
        yield row


def test_closed_loops_keep_their_clients_busy_until_their_rows_end() -> None:
    classes = (ClassPlan("a", (0,)), ClassPlan("b", (0,)), ClassPlan("open", (0,)))
    streams = (
        ClosedStream(2, closed_rows(7, 3)),
        ClosedStream(5, closed_rows(4, 2, klass=1)),
    )
    outcome = simulate(
        plan(
            classes=classes,
            closed=streams,
            blocks=iter([arrivals((1.5, 1, 2), klass=2)]),
            pool=MANY,
        )
    )
    rows = outcome.finished
    ends = {k: sorted(rows["finish_s"][rows["class"] == k].tolist()) for k in range(3)}
    # What is sent at 3 s comes after that boundary, and waits for the step under way.
    assert ends == {0: [3.0, 3.0, 7.0, 7.0, 10.0, 10.0, 13.0], 1: [2.0] * 4, 2: [4.0]}


def test_closed_loops_send_nothing_after_the_end() -> None:
    """Two requests a second, 3 s each: those sent at 9 s are the last to arrive by 10 s."""
    outcome = simulate(plan(closed=(ClosedStream(2, endless(3)),), duration_s=10.0, pool=MANY))
    assert sorted(outcome.finishes_s()) == [float(s) for s in (3, 3, 6, 6, 9, 9, 12, 12)]
    assert outcome.engine.world.state["unsent"][0] == 2


def test_more_clients_on_a_replica_than_rows_are_kept_loaded(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """All of them end at one boundary, so the rows of all have to be there at once."""
    monkeypatch.setattr(engine_module, "CLOSED_ROWS", 7)
    stream = ClosedStream(40, closed_rows(1000, 1))
    outcome = simulate(plan(closed=(stream,), duration_s=1.5, pool=MANY, drain_s=0.0))
    assert outcome.fates() == [Fate.SERVED] * 40 + [Fate.UNFINISHED] * 40


def test_clients_of_a_lost_node_find_their_next_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    """More requests fail at once than rows are loaded: every client must go on all the same.

    At 5 s half of the requests on each node end, and use up 20 of the 40 rows that were loaded for
    those in flight. At 7 s both nodes are lost, with 40 requests.
    """
    monkeypatch.setattr(engine_module, "CLOSED_ROWS", 1)
    lengths = ([(math.nan, 1, 5)] * 2 + [(math.nan, 1, 10)] * 2) * 50
    rows = [arrivals(row, think_s=1.0) for row in lengths]
    seen: list[object] = []

    def lose_both(pool: PoolView) -> None:
        pool.lose_node()
        pool.lose_node()
        pool.add_nodes(1)

    outcome = simulate(
        plan(closed=(ClosedStream(40, iter(rows)),), pool=replace(MANY, nodes=2)),
        at(7.0, lose_both),
        look([6.5, 8.5], lambda pool: pool.running + pool.waiting, seen),
    )
    assert seen == [40, 40]
    assert outcome.fates().count(Fate.FAILED) == 40
    assert len(outcome.finished) == 200


def test_clients_that_are_turned_away_at_once_try_again_after_a_pause() -> None:
    stream = ClosedStream(10, endless(3))
    outcome = simulate(plan(closed=(stream,), pool=replace(POOL, nodes=0), duration_s=5.0))
    assert outcome.fates() == [Fate.REFUSED] * 60
    assert set(outcome.finishes_s()) == {number * RETRY_PAUSE_S for number in range(6)}


def test_a_full_queue_does_not_stop_the_clock() -> None:
    stream = ClosedStream(10, endless(3))
    outcome = simulate(plan(closed=(stream,), pool=replace(POOL, queue_limit=1), duration_s=5.0))
    assert 0 < outcome.fates().count(Fate.REFUSED) <= 60
    assert Fate.SERVED in outcome.fates()


def test_clients_that_pause_may_be_turned_away() -> None:
    stream = ClosedStream(3, endless(3, think_s=1.0))
    outcome = simulate(plan(closed=(stream,), pool=replace(POOL, nodes=0), duration_s=5.0))
    assert outcome.fates() == [Fate.REFUSED] * 18


def test_a_flood_is_given_up_before_memory_is_full(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine_module, "MOST_IN_FLIGHT", 1024)
    flood = plan(*[(0.0, 1, 1)] * 2000, duration_s=10.0, pool=ONE)
    with pytest.raises(SimulationError, match=r"at 0 s more than 1,024 requests .* queue_limit"):
        simulate(flood)


# --- the end -------------------------------------------------------------------------------------


def test_what_the_drain_does_not_finish_is_unfinished() -> None:
    outcome = simulate(
        plan((0.0, 1, 5), (9.0, 1, 5), (9.5, 1, 50), duration_s=10.0, drain_s=8.0, pool=ONE)
    )
    assert outcome.fates() == [Fate.SERVED, Fate.SERVED, Fate.UNFINISHED]
    assert outcome.finishes_s() == [5.0, 14.0, 18.0]
    assert outcome.engine.now_s == 18.0
    assert outcome.engine.world.pool_windows["active_s"].tolist() == [10.0, 8.0]


def test_a_drain_ends_with_the_window_in_which_the_last_request_ends() -> None:
    outcome = simulate(plan((0.0, 1, 25), duration_s=10.0, drain_s=1000.0))
    assert outcome.engine.now_s == 30.0
    assert outcome.engine.world.pool_windows["active_s"][:4].tolist() == [10.0, 10.0, 10.0, 0.0]


def test_an_endless_drain_takes_as_long_as_it_takes() -> None:
    outcome = simulate(plan((0.0, 1, 1005), duration_s=10.0, drain_s=math.inf))
    assert outcome.finishes_s() == [1005.0]
    assert outcome.engine.now_s == 1010.0


def test_a_request_that_arrives_at_the_very_end_is_served() -> None:
    outcome = simulate(plan((10.0, 1, 5), duration_s=10.0))
    assert outcome.finishes_s() == [15.0]


def test_without_an_end_the_simulation_stops_with_the_last_request() -> None:
    outcome = simulate(plan((0.0, 1, 5), (40.0, 1, 3), duration_s=math.inf))
    assert outcome.engine.now_s == 43.0


# --- windows -------------------------------------------------------------------------------------


@pytest.mark.parametrize("window_s", [0.7, 6.6, 7.3, 0.1, 3.0, 1000.0])
def test_windows_whose_edges_are_rounded_cover_the_time_once(window_s: float) -> None:
    """Such as 0.7 s, where 3 · 0.7 / 0.7 is less than 3: time went on forever in window 2."""
    seen: list[float] = []
    engine = Engine(plan((0.0, 1, 30), duration_s=21.0, drain_s=100.0, window_s=window_s))
    Fleet(engine)
    engine.run(seen.append)
    windows = engine.world.pool_windows
    assert windows["active_s"].sum() == pytest.approx(engine.now_s)
    assert windows["busy_s"].sum() == pytest.approx(30.0)
    assert seen == sorted(set(seen))
    assert engine.now_s == pytest.approx(min(121.0, math.ceil(30.0 / window_s - 1e-9) * window_s))
    assert (windows["busy_s"] <= windows["active_s"] + 1e-9).all()


def test_progress_shows_every_window() -> None:
    seen: list[float] = []
    engine = Engine(plan((24.0, 1, 20), duration_s=25.0, drain_s=100.0))
    Fleet(engine)
    engine.run(seen.append)
    assert seen == [10.0, 20.0, 25.0, 30.0, 40.0, 50.0]


# --- control at the instant of an arrival --------------------------------------------------------


def test_a_drain_at_the_instant_of_an_arrival_comes_after_it() -> None:
    outcome = simulate(plan((5.0, 1, 4)), at(5.0, lambda pool: pool.drain_nodes(1)))
    assert outcome.fates() == [Fate.SERVED]
    assert outcome.spans() == [(0.0, 9.0, 1)]


def test_a_node_added_at_the_instant_of_an_arrival_comes_too_late_for_it() -> None:
    none = replace(POOL, nodes=0)
    outcome = simulate(plan((5.0, 1, 4), pool=none), at(5.0, lambda pool: pool.add_nodes(1)))
    assert outcome.fates() == [Fate.REFUSED]


def test_a_node_lost_at_the_instant_of_a_finish_has_finished() -> None:
    outcome = simulate(plan((0.0, 1, 4), (0.0, 1, 5)), at(4.0, PoolView.lose_node))
    assert outcome.fates() == [Fate.SERVED, Fate.FAILED]
