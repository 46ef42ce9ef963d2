"""Every invariant holds on a busy cluster, and each one fires when the books are cooked.

`tests/kernel/bridge.py` checks them after every scenario of the twin, too.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import pytest
from numpy.typing import NDArray

from planner.engine import Engine
from planner.invariants import INVARIANTS, ROW_INVARIANTS, check_invariants
from planner.kernel.dtypes import ARRIVAL, NONE
from planner.kernel.enums import Fate, Metric, ReplicaStatus
from planner.kernel.plan import ClassPlan, DraftPlan, Plan, PoolPlan, TierPlan
from planner.kernel.world import World

POOL = PoolPlan(
    name="pool",
    fixed_s=0.01,
    linear_s=np.linspace(0.0, 0.064, 65),
    compute_s=np.linspace(0.0, 0.032, 65),
    decode_s=1e-6,
    decode_seq_s=1e-5,
    prefill_s=1e-7,
    token_budget=64,
    maximum_sequences=8,
    kv_blocks=40,
    kv_block_tokens=8,
    queue_limit=20,
)
CLASSES = (ClassPlan("chat", pools=(0, 1)), ClassPlan("batch", pools=(1,), timeout_s=3.0))

Rows = NDArray[np.void]


def arrivals(count: int) -> Rows:
    rng = np.random.default_rng(7)
    rows = np.zeros(count, ARRIVAL)
    rows["arrival_s"] = np.cumsum(rng.exponential(0.02, count))
    rows["input_tokens"] = rng.integers(1, 120, count)
    rows["output_tokens"] = rng.integers(1, 60, count)
    rows["class"] = rng.integers(0, 2, count)
    rows["row"] = np.arange(count)
    rows["reasoning_tokens"] = rows["output_tokens"] // 2
    rows["visitor"] = NONE
    later = rng.random(count) < 0.3
    later[0] = False
    rows["arrival_s"][later] = math.nan  # a later turn of the row before it
    rows["session"] = np.cumsum(~later)
    return rows


@dataclass
class Books:
    """What a simulation leaves behind."""

    world: World
    finished: Rows

    def violations(self) -> list[str]:
        return check_invariants(self.world, self.finished)


def books(pool: PoolPlan = POOL, until_s: float = math.inf, count: int = 120) -> Books:
    kept: list[Rows] = []
    plan = Plan(
        (pool, replace(pool, queue_limit=10)),
        CLASSES,
        iter([arrivals(count)]),
        duration_s=10.0,
        window_s=1.0,
        keep_finished=True,
    )
    engine = Engine(plan, kept.append)
    for index in range(2):
        engine.activate(engine.add_replicas(index, 2, node=index))
    engine.run_to(until_s)
    engine.finish()
    return Books(engine.world, np.concatenate(kept))


@pytest.fixture
def busy() -> Books:
    """Overloaded and stopped in the middle: preemptions, time-outs, refusals, half-done work."""
    return books(until_s=2.0)


@pytest.fixture
def drafting() -> Books:
    """The same with drafts: of one class two tokens are always accepted, of the other none."""
    draft = DraftPlan(3, ((0.0, 0.0, 1.0, 0.0), (1.0, 0.0, 0.0, 0.0)), np.zeros(9))
    return books(replace(POOL, draft=draft), until_s=2.0)


@pytest.fixture
def complete() -> Books:
    """Run to its end without a preemption."""
    return books(replace(POOL, kv_blocks=1000, queue_limit=10**6), count=60)


def test_they_hold_in_the_middle_of_things(busy: Books) -> None:
    assert busy.violations() == []
    fates = set(busy.finished["fate"].tolist())
    assert {Fate.SERVED, Fate.REFUSED, Fate.UNFINISHED} <= fates
    assert busy.world.pool_windows["preemptions"].sum() > 0
    assert busy.world.replicas["decoding"].sum() > 0


def test_they_hold_between_two_advances() -> None:
    plan = Plan((POOL, POOL), CLASSES, iter([arrivals(120)]), duration_s=10.0, window_s=1.0)
    engine = Engine(plan)
    for index in range(2):
        engine.activate(engine.add_replicas(index, 2, node=index))
    seen = []
    for _ in range(20):
        engine.env.timeout(0.25)
        engine.run_to(engine.env.now + 0.25)
        engine.account_active()
        assert check_invariants(engine.world) == []
        seen.append(engine.in_flight)
    assert max(seen) > 10


@pytest.fixture
def cached() -> Books:
    """Sessions on replicas that keep prefixes, in a tier as well; stopped in the middle."""
    tier = TierPlan("host", blocks=60, block_s=1e-4)
    return books(replace(POOL, prefix_cache=True, tiers=(tier,), swap=True), until_s=2.0)


def test_they_hold_of_caches(cached: Books) -> None:
    assert cached.violations() == []
    entries = cached.world.entries
    assert {NONE} < set(entries["store"].tolist())
    assert (entries["users"] > 0).any()
    assert cached.world.pool_windows["cached_tokens"].sum() > 0


def test_they_hold_at_the_end(complete: Books) -> None:
    assert complete.violations() == []
    assert set(complete.finished["fate"].tolist()) <= {Fate.SERVED, Fate.TIMED_OUT}


def test_numbers_are_those_up_to_the_last() -> None:
    numbers = [
        int((invariant.__doc__ or "").split()[0].removeprefix("INV-"))
        for invariant in (*INVARIANTS, *ROW_INVARIANTS)
    ]
    assert sorted(numbers) == list(range(1, len(numbers) + 1))


# --- Every invariant fires ---


def set_field(array: str, field: str, row: int, change: float) -> Callable[[Books], None]:
    """Return a corruption: add `change` to a field of a row of an array of the world."""

    def corrupt(cooked: Books) -> None:
        getattr(cooked.world, array)[field][row] += change

    return corrupt


def set_fate(array: str, field: str, row: int, fate: Fate, change: int) -> Callable[[Books], None]:
    def corrupt(cooked: Books) -> None:
        getattr(cooked.world, array)[field][row, fate] += change

    return corrupt


def decoding_replica(cooked: Books) -> int:
    return int(np.flatnonzero(cooked.world.replicas["decoding"] > 0)[0])


def move_growth(cooked: Books) -> None:
    first = int(cooked.world.replicas["growth_first"][decoding_replica(cooked)])
    cooked.world.kv_growth[first : first + 8] = np.roll(
        cooked.world.kv_growth[first : first + 8], 1
    ) + np.array([1, -1, 0, 0, 0, 0, 0, 0])


def leak_blocks(cooked: Books) -> None:
    cooked.world.replicas["kv_used_blocks"] += 1000


def forget_context(cooked: Books) -> None:
    cooked.world.replicas["context_tokens"][decoding_replica(cooked)] += 1


def break_list(cooked: Books) -> None:
    head = int(cooked.world.state["free_request"][0])
    cooked.world.requests["next"][head] = head  # a circle


def leak_turn(cooked: Books) -> None:
    cooked.world.state["turns_in_use"] += 1


def stop_loaded_replica(cooked: Books) -> None:
    cooked.world.replicas["status"][decoding_replica(cooked)] = int(ReplicaStatus.STOPPED)


def forget_loaded_replica(cooked: Books) -> None:
    number = decoding_replica(cooked)
    cooked.world.replicas["run_end_s"][number] = math.inf
    cooked.world.calendar["event_s"][number] = cooked.world.replicas["timeout_s"][number]


def sleep_through(cooked: Books) -> None:
    cooked.world.calendar["event_s"][decoding_replica(cooked)] += 1.0


def wrong_winner(cooked: Books) -> None:
    times = cooked.world.calendar["event_s"][: len(cooked.world.replicas)]
    cooked.world.calendar["winner"][1] = int(np.argmax(times))


def event_in_the_past(cooked: Books) -> None:
    cooked.world.state["now_s"] += 1e6


def empty_queue_of_waiting(cooked: Books) -> None:
    cooked.world.queues["head"] = NONE
    cooked.world.queues["tail"] = NONE


def forget_answer(cooked: Books) -> None:
    cooked.world.replicas["answers"][cooked.world.replicas["answers"].argmax()] -= 1


def oversleep_answer(cooked: Books) -> None:
    replica = cooked.world.replicas[cooked.world.replicas["answers"].argmax()]
    cooked.world.slots["finish_step"][replica["answers_first"]] = replica["step"]


def negative_bin(cooked: Books) -> None:
    cooked.world.histograms[0, Metric.QUEUE, 5] -= 1
    cooked.world.histograms[0, Metric.QUEUE, 6] += 1


def count_gap(number: int) -> Callable[[Books], None]:
    def corrupt(cooked: Books) -> None:
        cooked.world.histograms[0, Metric.ITL, 100] += number

    return corrupt


def count_latency(metric: Metric, number: int) -> Callable[[Books], None]:
    def corrupt(cooked: Books) -> None:
        cooked.world.histograms[0, metric, 700] += number

    return corrupt


@pytest.mark.parametrize(
    ("number", "corrupt"),
    [
        (1, set_field("class_windows", "arrived", 0, 1)),
        (1, set_fate("class_windows", "ended", 1, Fate.SERVED, 1)),
        (1, set_field("state", "next_key", 0, 1)),
        (1, set_field("state", "in_flight", 0, 1)),
        (2, set_field("class_windows", "measured", 0, -1)),
        (2, set_fate("class_windows", "measured_ended", 1, Fate.FAILED, -1)),
        (2, set_field("class_windows", "measured_good", 0, 1000)),
        (2, set_field("class_windows", "good", 2, 1000)),
        (2, set_field("class_windows", "measured", 0, 1000)),
        (3, set_field("pool_windows", "routed", 0, 1)),
        (3, set_field("pool_windows", "overflowed", 1, 1000)),
        (4, set_field("pool_windows", "prefill_tokens", 0, -(10**6))),
        (4, set_field("pool_windows", "decode_tokens", 0, -(10**6))),
        (4, set_field("class_windows", "reasoning_tokens", 0, 10**6)),
        (5, count_gap(10**6)),
        (5, count_gap(-(10**6))),
        (6, negative_bin),
        (6, count_latency(Metric.TTFT, 1)),
        (6, count_latency(Metric.E2E, -1)),
        (6, count_latency(Metric.TTFAT, 1)),
        (6, count_latency(Metric.TASK_LATENCY, 1)),
        (6, count_latency(Metric.TPOT, 1000)),
        (7, leak_blocks),
        (7, forget_context),
        (7, move_growth),
        (8, set_field("replicas", "waiting", 0, 1)),
        (8, set_field("queues", "decoding", 0, 1)),
        (8, set_field("pools", "waiting", 0, 1)),
        (8, empty_queue_of_waiting),
        (9, stop_loaded_replica),
        (9, forget_loaded_replica),
        (10, sleep_through),
        (10, wrong_winner),
        (10, event_in_the_past),
        (11, break_list),
        (11, set_field("state", "in_flight", 0, 1)),
        (11, leak_turn),
        (12, set_field("pool_windows", "waiting_s", 0, -1e6)),
        (12, set_field("pool_windows", "running_s", 0, -1e3)),
        (12, set_field("pool_windows", "running_s", 0, 1e6)),
        (12, set_field("pool_windows", "kv_block_s", 0, 1e6)),
        (12, set_field("pool_windows", "compute_s", 0, 1e6)),
        (12, set_field("pool_windows", "memory_s", 0, 1e6)),
        (12, set_field("queues", "busy_s", 0, 1.0)),
        (12, set_field("pool_windows", "active_s", 0, -1e3)),
        (12, set_field("pool_windows", "busy_s", 0, 1e3)),
        (17, forget_answer),
        (17, oversleep_answer),
        (18, set_field("class_windows", "measured_tasks_finished", 0, 10**6)),
        (18, set_field("class_windows", "task_calls", 0, -(10**6))),
        (20, set_field("replicas", "parked_blocks", 0, 1)),
        (20, set_field("replicas", "landing", 0, 1)),
        (20, set_field("pools", "landing", 0, 1)),
    ],
)
def test_cooked_books_are_found(busy: Books, number: int, corrupt: Callable[[Books], None]) -> None:
    corrupt(busy)
    violations = busy.violations()
    assert any(line.startswith(f"INV-{number} ") for line in violations), violations


def test_gaps_are_counted_with_drafts_of_fixed_numbers(drafting: Books) -> None:
    assert drafting.violations() == []
    count_gap(-(10**6))(drafting)
    assert any(line.startswith("INV-5 ") for line in drafting.violations())


def test_gaps_that_follow_a_distribution_are_not_compared() -> None:
    draft = DraftPlan(1, ((0.5, 0.5), (0.5, 0.5)), np.zeros(9))
    found = books(replace(POOL, draft=draft), until_s=2.0)
    count_gap(10**6)(found)
    assert not [line for line in found.violations() if line.startswith("INV-5 ")]


def an_entry(cooked: Books, *, used: bool) -> int:
    entries = cooked.world.entries
    wanted = (entries["store"] != NONE) & (entries["key"] != NONE)
    return int(np.flatnonzero(wanted & ((entries["users"] > 0) == used))[0])


def forget_key(cooked: Books) -> None:
    places = cooked.world.places
    places[places == an_entry(cooked, used=False)] = NONE


def empty_entry(cooked: Books) -> None:
    cooked.world.entries["blocks"][an_entry(cooked, used=True)] = 0


def leave_entry(cooked: Books) -> None:
    cooked.world.entries["users"][an_entry(cooked, used=True)] = 0


def use_idle_replica(cooked: Books) -> None:
    for name in ("decoding", "prefilling", "fetching"):
        cooked.world.replicas[name] = 0


def overfill_tier(cooked: Books) -> None:
    cooked.world.tiers["blocks"] = 0


@pytest.mark.parametrize(
    ("corrupt", "problem"),
    [
        (set_field("state", "entries_in_use", 0, 1), "entries are taken"),
        (set_field("stores", "idle_blocks", 0, 1), "blocks out of use"),
        (leave_entry, "entries are out of use"),
        (empty_entry, "is empty"),
        (forget_key, "are found by their keys"),
        (use_idle_replica, "runs nothing, but entries of its cache are in use"),
        (overfill_tier, "blocks are kept"),
    ],
)
def test_cooked_caches_are_found(
    cached: Books, corrupt: Callable[[Books], None], problem: str
) -> None:
    corrupt(cached)
    found = [line for line in cached.violations() if line.startswith("INV-19 ")]
    assert any(problem in line for line in found), found


def drop_row(cooked: Books) -> None:
    cooked.finished = cooked.finished[:-1]


def swap_rows(cooked: Books) -> None:
    cooked.finished = cooked.finished[::-1]


def shift(field: str, seconds: float) -> Callable[[Books], None]:
    """Return a corruption: shift a time of the last served row."""

    def corrupt(cooked: Books) -> None:
        last = np.flatnonzero(cooked.finished["fate"] == Fate.SERVED)[-1]
        cooked.finished[field][last] += seconds

    return corrupt


def serve_without_token(cooked: Books) -> None:
    cooked.finished["first_token_s"][cooked.finished["fate"] == Fate.SERVED] = math.nan


def speak_without_start(cooked: Books) -> None:
    cooked.finished["started_s"][cooked.finished["fate"] == Fate.SERVED] = math.nan


def turn_away_after_start(cooked: Books) -> None:
    cooked.finished["fate"][cooked.finished["fate"] == Fate.SERVED] = int(Fate.REFUSED)


@pytest.mark.parametrize(
    ("number", "corrupt", "problem"),
    [
        (13, drop_row, "rows, but"),
        (14, swap_rows, "the row before it ends later"),
        (14, shift("arrival_s", 1e3), "it ends before it arrives"),
        (14, shift("arrival_s", 1e3), "it starts before it arrives"),
        (14, shift("started_s", 1e3), "its first token comes before its start"),
        (14, shift("started_s", 1e3), "it ends before it starts"),
        (14, shift("first_token_s", 1e3), "it ends before its first token"),
        (14, shift("finish_s", 1e3), "it ends after the end of the simulation"),
        (14, shift("first_answer_token_s", -1e3), "its answer comes before its first token"),
        (14, shift("first_answer_token_s", 1e3), "it ends before its answer"),
        (14, shift("first_answer_token_s", math.nan), "it was served without an answer"),
        (14, serve_without_token, "it was served without a first token"),
        (14, speak_without_start, "it has a first token but no start"),
        (14, turn_away_after_start, "it was turned away after it had started"),
        (15, set_field("pool_windows", "prefill_tokens", 0, 1), "prefill_tokens"),
        (15, set_field("pool_windows", "decode_tokens", 0, 1), "decode_tokens"),
        (16, set_field("pool_windows", "waiting_s", 0, 1.0), "the pools account for"),
        (16, shift("arrival_s", -1.0), "the pools account for"),
    ],
)
def test_cooked_rows_are_found(
    complete: Books, number: int, corrupt: Callable[[Books], None], problem: str
) -> None:
    corrupt(complete)
    violations = complete.violations()
    assert any(line.startswith(f"INV-{number} ") and problem in line for line in violations), (
        violations
    )


def test_a_violation_names_the_invariant_and_the_numbers(complete: Books) -> None:
    complete.world.class_windows["arrived"][0] += 1
    first, *_ = complete.violations()
    assert first.startswith("INV-1 requests conserved: class 0: ")
    assert "arrived, but" in first
