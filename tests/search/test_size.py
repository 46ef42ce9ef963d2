"""The smallest fleet: compared with trying every fleet, and asked for the impossible."""

from __future__ import annotations

import itertools
import math
from pathlib import Path

import pytest

import planner
from planner.results.formatting import span
from planner.results.result import Result
from planner.scenario import LoadedScenario
from planner.search import Sizing, SizingError, Trial, size
from tests.small import SMALL, load

pytestmark = pytest.mark.compiled  # whole runs, far too long in pure Python

MOST = 6
CHAT_NODES, REASONING_NODES = 4, 3
"""What keeps the promises, since they lie between what this fleet and one node less achieve."""
BUSY = (
    "workload.duration=90 s",
    "workload.classes.chat.open.rate=70 /s",
    "workload.classes.reasoning.open.rate=20 /s",
)

Grid = dict[tuple[int, int], Result]
Sets = tuple[str, ...]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("size")


@pytest.fixture(scope="module")
def sets(folder: Path) -> Sets:
    """Return traffic, and promises that a fleet just keeps, however fast the machines are."""
    asked = {"chat": ("ttft", 99, CHAT_NODES), "reasoning": ("tpot", 95, REASONING_NODES)}
    promises = []
    for name, (metric, percentile, enough) in asked.items():
        found_s = [
            achieved_s(folder, name, metric, percentile, nodes) for nodes in (enough - 1, enough)
        ]
        assert found_s[0] > 1.05 * found_s[1], "a node more has to matter"
        limit = f"{1e3 * math.sqrt(found_s[0] * found_s[1]):.3g} ms"
        promise = f"{{metric: {metric}, percentile: {percentile}, limit: {limit}}}"
        promises.append(f"workload.classes.{name}.objectives=[{promise}]")
    return (*BUSY, *promises)


def achieved_s(folder: Path, name: str, metric: str, percentile: int, nodes: int) -> float:
    """Return what one class gets with so many nodes of its pool."""
    asked = f"[{{metric: {metric}, percentile: {percentile}, limit: 1 h}}]"
    changed = (f"workload.classes.{name}.objectives={asked}", f"pools.{name}.nodes={nodes}")
    rows = planner.run(load(folder, *BUSY, *changed)).to_pandas("objectives")
    (found,) = rows[(rows["class"] == name) & (rows["metric"] == metric)]["value"]
    return float(found)


@pytest.fixture(scope="module")
def busy(folder: Path, sets: Sets) -> LoadedScenario:
    return load(folder, *sets)


@pytest.fixture(scope="module")
def grid(folder: Path, sets: Sets) -> Grid:
    """Return the result of every fleet of one to six nodes per pool."""
    return all_fleets(folder, *sets)


@pytest.fixture(scope="module")
def sizing(busy: LoadedScenario) -> Sizing:
    return size(busy)


def all_fleets(folder: Path, *sets: str) -> Grid:
    counts = itertools.product(range(1, MOST + 1), repeat=2)
    return {
        (chat, reasoning): planner.run(
            load(folder, *sets, f"pools.chat.nodes={chat}", f"pools.reasoning.nodes={reasoning}")
        )
        for chat, reasoning in counts
    }


def keeps_promises(result: Result) -> bool:
    return bool(result.headline["objectives_met"] and result.headline["stable"])


def passing(grid: Grid) -> set[tuple[int, int]]:
    return {nodes for nodes, result in grid.items() if keeps_promises(result)}


# --- Against every fleet -------------------------------------------------------------------------


def test_the_example_is_worth_it(grid: Grid) -> None:
    assert min(passing(grid)) == (CHAT_NODES, REASONING_NODES)
    assert len(passing(grid)) < len(grid)


def test_more_nodes_never_break_a_promise(grid: Grid) -> None:
    kept = passing(grid)
    for chat, reasoning in kept:
        larger = {(c, r) for c, r in grid if c >= chat and r >= reasoning}
        assert larger <= kept


def test_answer_is_that_of_exhaustive_search(grid: Grid, sizing: Sizing) -> None:
    kept = passing(grid)
    answer = (sizing.nodes["chat"], sizing.nodes["reasoning"])
    assert answer in kept
    # The pools share no class, so one fleet is smallest in both numbers at once.
    assert answer == (min(chat for chat, _ in kept), min(reasoning for _, reasoning in kept))
    assert sizing.accelerators == {"chat": 8 * answer[0], "reasoning": 8 * answer[1]}


def test_result_is_the_run_of_that_fleet(grid: Grid, sizing: Sizing) -> None:
    direct = grid[sizing.nodes["chat"], sizing.nodes["reasoning"]]
    assert sizing.result.to_json() == direct.to_json()


@pytest.mark.parametrize("start", [(1, 1), (6, 6), (6, 1), (0, 5)])
def test_answer_does_not_depend_on_the_start(
    folder: Path, sets: Sets, sizing: Sizing, start: tuple[int, int]
) -> None:
    nodes = [f"pools.chat.nodes={start[0]}", f"pools.reasoning.nodes={start[1]}"]
    assert size(load(folder, *sets, *nodes)).nodes == sizing.nodes


def test_trials_agree_with_every_fleet(grid: Grid, sizing: Sizing) -> None:
    real = [trial for trial in sizing.trials if not trial.lifted]
    fleets = [(trial.nodes["chat"], trial.nodes["reasoning"]) for trial in real]
    assert len(set(fleets)) == len(fleets)  # none is simulated twice
    assert len(fleets) < len(grid) / 3
    for trial, nodes in zip(real, fleets, strict=True):
        if nodes in grid:
            assert trial.passed is keeps_promises(grid[nodes])
            assert bool(trial.failures) is not trial.passed


def test_limits_name_the_promise_that_breaks(sizing: Sizing, busy: LoadedScenario) -> None:
    for klass, metric in zip(busy.scenario.workload.classes, ("TTFT", "TPOT"), strict=True):
        fewer = sizing.nodes[klass.name] - 1
        (promise,) = klass.objectives
        said = sizing.limits[klass.name]
        assert said.startswith(f"with {fewer} nodes: {klass.name} has p{promise.percentile:g}")
        assert f" {metric} " in said
        assert said.endswith(f"(promised {span(promise.limit)})")
    table = sizing.to_pandas()
    assert list(table["pool"]) == ["chat", "reasoning"]
    assert list(table["bottleneck"]) == [sizing.bottlenecks[name] for name in table["pool"]]


def test_trials_are_reported_as_they_end(busy: LoadedScenario, sizing: Sizing) -> None:
    seen: list[Trial] = []
    times: list[tuple[float, float]] = []
    size(busy, on_trial=seen.append, progress=lambda now_s, end_s: times.append((now_s, end_s)))
    assert tuple(seen) == sizing.trials
    assert [trial.number for trial in seen] == list(range(1, len(seen) + 1))
    assert {end_s for _, end_s in times} == {90.0}


def test_schedule_is_left_out(folder: Path, sets: Sets, sizing: Sizing) -> None:
    schedule = "pools.chat.schedule=[{at: '19:01', nodes: 1}]"
    assert size(load(folder, *sets, schedule)).nodes == sizing.nodes


# --- Pools that stand in for each other ----------------------------------------------------------


OVERFLOW = ("workload.classes.chat.overflow=[reasoning]", "pools.chat.overflow_waiting=1")


def test_overflow_gives_a_fleet_that_nothing_can_be_taken_from(folder: Path, sets: Sets) -> None:
    grid = all_fleets(folder, *sets, *OVERFLOW)
    kept = passing(grid)
    found = size(load(folder, *sets, *OVERFLOW))
    chat, reasoning = found.nodes["chat"], found.nodes["reasoning"]
    assert (chat, reasoning) in kept
    assert (chat - 1, reasoning) not in kept
    assert (chat, reasoning - 1) not in kept
    costs = [t.cost_per_hour_usd for t in found.trials if t.passed and not t.lifted]
    assert found.result.headline["cost_per_hour_usd"] == min(cost for cost in costs if cost)


def test_pool_for_overflow_only_may_not_be_needed(folder: Path) -> None:
    spare = SMALL.replace("pool: reasoning", "pool: chat\n      overflow: [reasoning]")
    found = size(load(folder, "workload.duration=60 s", text=spare))
    assert found.nodes == {"chat": 1, "reasoning": 0}
    assert found.bottlenecks["reasoning"] == "none"
    assert found.limits["reasoning"] == "the smallest possible pool"


# --- Replicas that span nodes --------------------------------------------------------------------


def test_pool_grows_by_the_nodes_of_a_replica(folder: Path) -> None:
    sets = [
        "pools.reasoning.model=deepseek-r1",
        "pools.reasoning.tensor_parallel=16",
        "pools.reasoning.nodes=2",
        "workload.duration=60 s",
        "workload.classes.reasoning.open.rate=60 /s",
        "workload.classes.reasoning.objectives=[{metric: ttft, percentile: 95, limit: 300 ms}]",
    ]
    found = size(load(folder, *sets))
    tried = {trial.nodes["reasoning"] for trial in found.trials}
    assert {count % 2 for count in tried} == {0}
    assert found.nodes["reasoning"] > 2
    assert found.accelerators["reasoning"] == 8 * found.nodes["reasoning"]
    assert f"with {found.nodes['reasoning'] - 2} nodes" in found.limits["reasoning"]


# --- What cannot be ------------------------------------------------------------------------------


def test_impossible_promise_ends_soon_and_says_why(folder: Path) -> None:
    promise = "workload.classes.chat.objectives=[{metric: ttft, percentile: 99, limit: 1 ms}]"
    trials: list[Trial] = []
    with pytest.raises(SizingError) as caught:
        size(load(folder, "workload.duration=60 s", promise), on_trial=trials.append)
    message = str(caught.value)
    assert "nodes of pool chat keep the promises, and half of them did as well" in message
    assert "chat has p99 TTFT" in message
    assert "(promised 1 ms)" in message
    assert "Loosen the objective" in message
    assert "reasoning" not in message
    assert len(trials) <= 8


def test_limit_of_nodes_is_tried_before_giving_up(folder: Path, sets: Sets, sizing: Sizing) -> None:
    wanted = max(sizing.nodes.values())
    start = load(folder, *sets, f"pools.reasoning.nodes={wanted - 1}")
    assert size(start, maximum_nodes=wanted).nodes == sizing.nodes
    with pytest.raises(SizingError, match=r"--max-nodes allows no more: .*or raise --max-nodes"):
        size(start, maximum_nodes=wanted - 1)


def test_request_that_no_fleet_can_serve(folder: Path) -> None:
    sets = ["workload.duration=30 s", "pools.chat.engine.kv_blocks=50"]
    with pytest.raises(SizingError, match="chat loses "):
        size(load(folder, *sets))


def test_a_class_that_was_never_measured_fails_with_that_reason(folder: Path) -> None:
    """A job that comes all at once, at 0, lies within the warm-up: no fleet is known to be enough.

    It must not be taken for one that keeps its promises.
    """
    job = (
        "{name: jobs, pool: chat, service: batch, closed: {clients: 20, requests: 20}, "
        "input: {fixed: 200}, output: {fixed: 20}, "
        "objectives: [{metric: e2e, percentile: 99, limit: 1 h}]}"
    )
    text = SMALL.replace(
        "    - name: reasoning\n      pool", f"    - {job}\n    - name: reasoning\n      pool", 1
    )
    loaded = load(folder, "workload.duration=60 s", "workload.warmup=20 s", text=text)
    result = planner.run(loaded)
    objectives = result.to_pandas("objectives").set_index(["class", "metric"])
    assert objectives.loc[("jobs", "e2e"), "verdict"] == "no sample"
    assert objectives.loc[("chat", "ttft"), "verdict"] == "kept"
    assert result.headline["objectives_met"] is None
    with pytest.raises(SizingError, match=r"jobs has no sample of what it is promised.*warmup"):
        size(loaded)
