"""What techniques are worth in small scenarios; asked for the impossible, too."""

from __future__ import annotations

import json
import math
from concurrent.futures.process import BrokenProcessPool
from dataclasses import replace
from pathlib import Path

import pytest

import planner
from planner.catalog import load_catalog
from planner.errors import SimulationError
from planner.scenario import LoadedScenario
from planner.scenario.schema import Scenario
from planner.search import ablate as module
from planner.search.ablate import ablate
from planner.search.ablation import Ablation
from planner.search.near import NearSearch
from planner.search.peak import busiest_part
from planner.search.switches import with_only
from planner.search.techniques import Technique, TechniqueError
from tests.small import load

pytestmark = pytest.mark.compiled  # whole runs, far too long in pure Python

WEIGHTS, PRIORITY = "weight quantization", "queue order"
BUSY = (
    "workload.duration=60 s",
    "workload.classes.chat.open.rate=70 /s",
    "workload.classes.chat.objectives=[{metric: tpot, percentile: 95, limit: 30 ms}]",
    "pools.chat.engine.scheduler=priority",
)
"""Weights of 16 bits take more nodes; the queue has one priority only."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("ablate")


@pytest.fixture(scope="module")
def busy(folder: Path) -> LoadedScenario:
    return load(folder, *BUSY)


@pytest.fixture(scope="module")
def found(busy: LoadedScenario) -> Ablation:
    return ablate(busy)


# --- a small scenario ----------------------------------------------------------------------------


def test_every_subset_is_measured(found: Ablation) -> None:
    assert found.techniques == (WEIGHTS, PRIORITY)
    assert [sorted(each.on) for each in found.subsets] == [
        [PRIORITY, WEIGHTS],
        [WEIGHTS],
        [PRIORITY],
        [],
    ]
    assert all(each.nodes for each in found.subsets)


def test_quantization_saves_accelerators(found: Ablation) -> None:
    needed = found.of("accelerators")
    weights, priority = needed.effects
    assert needed.change is not None
    assert needed.change < 0
    assert weights.alone == weights.share == needed.change
    assert weights.removed == -needed.change
    assert (priority.alone, priority.removed, priority.share) == (0.0, 0.0, 0.0)


def test_the_fleets_are_those_that_sizing_finds(busy: LoadedScenario, found: Ablation) -> None:
    for each in found.subsets:
        scenario = with_only(busy.scenario, found.switches, each.on)
        assert each.nodes == planner.size(replace(busy, scenario=scenario)).nodes


def test_the_scenarios_own_fleet_is_as_it_runs(busy: LoadedScenario, found: Ablation) -> None:
    own = planner.run(busy).headline
    assert found.of("ttft_p99_s").all == own["p99_ttft_s"]
    assert found.of("slo_attainment_rate").all == own["slo_attainment_rate"]


def test_shares_add_up_for_every_quantity(found: Ablation) -> None:
    assert len(found.decompositions) == 7 + 2 * 2
    for each in found.decompositions:
        total = math.fsum(effect.share or 0.0 for effect in each.effects)
        assert total == pytest.approx(each.change, rel=1e-12, abs=1e-15)


def test_the_same_question_has_the_same_answer(busy: LoadedScenario, found: Ablation) -> None:
    assert ablate(busy).to_json() == found.to_json()


def test_processes_change_nothing(
    busy: LoadedScenario, found: Ablation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("planner.search.crew.PROCESS_S", 0.0)
    assert ablate(busy, jobs=2).to_json() == found.to_json()


def test_a_lost_process_is_a_message(busy: LoadedScenario, monkeypatch: pytest.MonkeyPatch) -> None:
    def lost(*_: object) -> None:
        raise BrokenProcessPool

    monkeypatch.setattr("planner.search.crew.PROCESS_S", 0.0)
    monkeypatch.setattr("planner.search.crew.as_completed", lost)
    with pytest.raises(SimulationError, match="fewer of them with --jobs"):
        ablate(busy, jobs=2, sized=False)


def test_only_the_named_techniques(busy: LoadedScenario) -> None:
    alone = ablate(busy, techniques=["queue-order"], sized=False)
    assert alone.techniques == (PRIORITY,)
    assert {each.quantity.fleet for each in alone.decompositions} == {"own"}
    assert all(each.nodes is None for each in alone.subsets)
    with pytest.raises(TechniqueError, match="overflow between pools is off"):
        ablate(busy, techniques=["overflow between pools"])


def test_progress_ends_with_all_subsets(busy: LoadedScenario) -> None:
    calls: list[tuple[float, float]] = []
    ablate(busy, sized=False, progress=lambda done, total: calls.append((done, total)))
    assert calls == [(1, 4), (2, 4), (3, 4), (4, 4)]


# --- what cannot be ------------------------------------------------------------------------------


def test_a_technique_that_no_pool_can_do_without(folder: Path) -> None:
    large = ("pools.chat.model=llama-3.1-405b", "pools.reasoning.weight_dtype=bf16")
    found = ablate(load(folder, *BUSY, *large), sized=False)
    assert found.techniques == (PRIORITY,)
    assert "llama-3.1-405b in bf16 does not fit" in found.fixed[WEIGHTS]


def test_a_subset_without_a_fleet_narrows_the_comparison(folder: Path) -> None:
    # A lone step reads 16-bit weights for longer than this, however many nodes there are.
    promise = "[{metric: tpot, percentile: 50, limit: 9 ms}]"
    changed = (
        f"workload.classes.chat.objectives={promise}",
        "workload.classes.chat.open.rate=2 /s",
        "pools.chat.nodes=2",
    )
    found = ablate(load(folder, *BUSY, *changed), maximum_nodes=8)
    needed = found.of("accelerators")
    assert needed.needed == (WEIGHTS,)
    weights, priority = needed.effects
    assert (weights.alone, weights.removed, weights.share) == (None, None, None)
    assert (needed.change, priority.share) == (0.0, 0.0)
    assert "No fleet can be compared without weight quantization: with " in "\n".join(found.notes)
    assert "(promised 9 ms)" in "\n".join(found.notes)
    latency = found.of("tpot_p99_s")  # of the scenario's own fleet, which is there
    assert latency.needed == ()
    assert latency.effects[0].share is not None


def test_promises_that_nothing_keeps(folder: Path) -> None:
    promise = "workload.classes.chat.objectives=[{metric: ttft, percentile: 99, limit: 1 ms}]"
    found = ablate(load(folder, *BUSY, promise), techniques=[WEIGHTS], maximum_nodes=4)
    assert {each.quantity.fleet for each in found.decompositions} == {"own"}
    assert "No fleets are compared, since even with every technique on" in "\n".join(found.notes)


def test_a_scenario_that_cannot_be_simulated_is_an_error(
    busy: LoadedScenario, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise SimulationError("too many requests in flight")

    monkeypatch.setattr(NearSearch, "simulate", fail)
    with pytest.raises(SimulationError, match="too many requests in flight"):
        ablate(busy)


def test_a_class_without_promises_is_said_to_be_one(folder: Path) -> None:
    found = ablate(load(folder, *BUSY, "workload.classes.reasoning.objectives=[]"))
    assert "No objectives are set for reasoning: " in "\n".join(found.notes)


def test_no_technique(folder: Path) -> None:
    plain = ("pools.chat.weight_dtype=bf16", "pools.reasoning.weight_dtype=bf16")
    found = ablate(load(folder, *plain))
    assert (found.switches, found.decompositions, found.subsets) == ((), (), ())
    assert "weight quantization" in json.loads(found.to_json())["could_be_switched_on"]


# --- many techniques -----------------------------------------------------------------------------


def toys(count: int) -> tuple[Technique, ...]:
    """Return techniques that each answer a few tokens less."""

    def toy(number: int) -> Technique:
        def without(scenario: Scenario) -> Scenario:
            workload = scenario.workload
            chat, *others = workload.classes
            assert chat.output is not None
            assert chat.output.uniform is not None
            low, high = chat.output.uniform
            on = (low >> number) & 1 == 0
            longer = chat.output.model_copy(update={"uniform": (low | 1 << number, high)})
            chat = chat.model_copy(update={"output": longer}) if on else chat
            changed = workload.model_copy(update={"classes": [chat, *others]})
            return scenario.model_copy(update={"workload": changed})

        return Technique(f"toy {number}", "Shorter answers.", "", "longer answers", without)

    return tuple(toy(number) for number in range(count))


def test_many_techniques_are_sampled(folder: Path) -> None:
    count = module.EXACT_AT_MOST + 1
    short = ("workload.duration=30 s", "workload.classes.chat.output={uniform: [128, 400]}")
    found = ablate(load(folder, *short), sized=False, pairs=2, registry=toys(count))
    assert found.orders == 4
    assert count + 2 < len(found.subsets) < 2**count
    for each in found.decompositions:
        total = math.fsum(effect.share or 0.0 for effect in each.effects)
        assert total == pytest.approx(each.change, rel=1e-12, abs=1e-12)
        assert all(effect.alone is not None for effect in each.effects)
        assert all(effect.removed is not None for effect in each.effects)
        assert all(effect.error is not None for effect in each.effects)
    assert "Shares are estimated from 4 of all orders" in "\n".join(found.notes)


# --- the part that is simulated ------------------------------------------------------------------

SHAPE = "{rate: 1 /s, shape: [1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,2,5,4,1,1,1]}"
SCHEDULE = "[{at: '06:00', nodes: 3}, {at: '18:30', nodes: 5}, {at: '23:00', nodes: 1}]"
DAY = (
    "workload.start=08:00",
    "workload.duration=24 h",
    f"workload.classes.chat.open={SHAPE}",
    f"pools.chat.schedule={SCHEDULE}",
)


@pytest.mark.parametrize(
    ("duration_s", "start", "nodes"),
    [(None, "19:00", 5), (600.0, "19:00", 5), (7200.0, "19:00", 5), (3 * 3600.0, "18:00", 2)],
)
def test_the_busiest_part(folder: Path, duration_s: float | None, start: str, nodes: int) -> None:
    part = busiest_part(load(folder, *DAY).scenario, duration_s)
    workload = part.scenario.workload
    assert (workload.start, workload.weekday) == (start, "mon")
    assert workload.duration == (duration_s or 3600.0)
    assert workload.warmup == 120.0
    assert not part.whole
    assert part.scenario.pools[0].nodes == nodes


def test_a_part_of_the_next_morning(folder: Path) -> None:
    night = SHAPE.replace("[1,1,1,1,1", "[1,1,1,1,9")
    changed = f"workload.classes.chat.open={night}"
    part = busiest_part(load(folder, *DAY, changed).scenario, 600.0)
    workload = part.scenario.workload
    assert (workload.start, workload.weekday) == ("04:00", "tue")
    assert part.scenario.pools[0].nodes == 1


def test_a_short_scenario_is_left_as_it_is(folder: Path) -> None:
    scenario = load(folder).scenario
    part = busiest_part(scenario, None)
    assert part.whole
    assert part.scenario is scenario


def test_a_trace_is_read_from_its_beginning() -> None:
    root = Path(__file__).resolve().parents[2]
    scenario = planner.load_scenario(root / "scenarios" / "replay.yaml").scenario
    assert busiest_part(scenario, None).whole
    part = busiest_part(scenario, 300.0)
    assert part.scenario.workload.start == scenario.workload.start
    assert part.words.startswith("the first 5 min of")


# --- sizing from a guess -------------------------------------------------------------------------


@pytest.mark.parametrize("guess", [{}, {"chat": 1}, {"chat": 40}, {"chat": 7, "reasoning": 9}])
def test_every_guess_leads_to_the_same_fleet(
    busy: LoadedScenario, found: Ablation, guess: dict[str, int]
) -> None:
    search = NearSearch(busy, load_catalog(), 64, None, None)
    fleet = dict(zip(search.names, search.smallest(guess), strict=True))
    assert fleet == found.subsets[0].nodes


def test_a_good_guess_takes_two_simulations(busy: LoadedScenario, found: Ablation) -> None:
    assert found.subsets[0].nodes is not None
    search = NearSearch(busy, load_catalog(), 64, None, None)
    search.smallest(found.subsets[0].nodes)
    assert len(search.log) <= 2
