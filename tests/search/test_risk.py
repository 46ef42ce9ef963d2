"""Risk of small scenarios: what theory says of it, and that it is the simulator's own answer."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

import planner
from planner.catalog import load_catalog
from planner.errors import OutputError
from planner.scenario import LoadedScenario
from planner.scenario.price_tables import with_price_tables
from planner.scenario.uncertain import resolved
from planner.search import uncertainty as module
from planner.search.draws import Drawing
from planner.search.risk import Risk
from planner.search.sampled import Task, evaluate
from planner.search.uncertainty import risk
from planner.simulation import run
from tests.small import PRICE_TABLE, load

pytestmark = pytest.mark.compiled  # whole runs, far too long in pure Python

TRAFFIC = "{name: traffic, source: demand, factor: {quantiles: {p10: 0.8, p50: 1, p90: 1.3}}}"
RENT = "{name: rent, source: machine_prices, factor: {lognormal: {median: 1, sigma: 0.3}}}"
LENGTHS = "{name: lengths, path: workload.classes.*.output.scale, value: {uniform: [0.5, 1.5]}}"
SHORT = ("workload.duration=60 s", "workload.classes.chat.open.rate=40 /s")


def drawn(folder: Path, *inputs: str, sets: tuple[str, ...] = SHORT) -> LoadedScenario:
    return load(folder, *sets, f"uncertainty={{samples: 32, inputs: [{', '.join(inputs)}]}}")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("risk")


@pytest.fixture(scope="module")
def loaded(folder: Path) -> LoadedScenario:
    return drawn(folder, TRAFFIC, RENT)


@pytest.fixture(scope="module")
def found(loaded: LoadedScenario) -> Risk:
    return planner.risk(loaded, samples=16, sensitivity=False)


@pytest.fixture(scope="module")
def journal(folder: Path) -> Path:
    return folder / "draws.jsonl"


@pytest.fixture(scope="module")
def own(loaded: LoadedScenario, journal: Path) -> Risk:
    return risk(loaded, sized=False, resume=journal)


def drawing(loaded: LoadedScenario) -> Drawing:
    stated = loaded.scenario.uncertainty
    assert stated is not None
    inputs = [resolved(each, loaded.scenario) for each in stated.inputs]
    catalog, _ = with_price_tables(loaded.root, load_catalog())
    return Drawing.of(loaded, catalog, inputs)


# --- against theory -------------------------------------------------------------------------------


def test_every_draw_says_what_its_inputs_were(own: Risk) -> None:
    rent = stats.lognorm(0.3)
    for row in own.rows():
        assert row["draw.rent.factor"] == pytest.approx(rent.ppf(row["input.rent"]), rel=1e-6)
        assert 0.5 < row["draw.traffic.factor"] < 2.0
    centre = own.of("cost_per_hour_usd").centre
    assert centre is not None
    for row in own.rows():
        assert row["cost_per_hour_usd"] == pytest.approx(centre * row["draw.rent.factor"])


def test_cost_is_linear_in_price(own: Risk, loaded: LoadedScenario) -> None:
    """The own fleet's hourly cost is its cost at the median times the factor, draw by draw."""
    cost = own.of("cost_per_hour_usd")
    assert cost.interval is not None
    assert cost.centre == pytest.approx(run(loaded).headline["cost_per_hour_usd"])
    shape = stats.lognorm(0.3, scale=cost.centre)
    for end, u in (
        (cost.interval.low, 0.05),
        (cost.interval.median, 0.5),
        (cost.interval.high, 0.95),
    ):
        assert end.low <= shape.ppf(u) <= end.high
    for sample in own.samples:
        value = sample.values["cost_per_hour_usd", ""]
        assert value == pytest.approx(shape.ppf(sample.point[1]))
    rent, traffic = cost.drivers
    assert (rent.column, traffic.column) == ("rent", "traffic")
    assert (rent.low, rent.high) == pytest.approx(tuple(shape.ppf([0.1, 0.9])))
    assert rent.index is not None
    assert traffic.index is not None
    assert rent.index.total.low <= 1.0 <= rent.index.total.high + 0.1
    # what is left is the rounding of ledger lines
    assert traffic.index.total.value == pytest.approx(0.0, abs=1e-9)


def test_prices_cost_no_simulation(own: Risk, loaded: LoadedScenario) -> None:
    # the medians, two ends of traffic, and 16 + 16 + 16 draws in which traffic differs: that of
    # the first half with the second's rent is the first half's
    assert own.simulations == 1 + 2 + 32 + 16 - 16
    only = risk(drawn(Path(loaded.path).parent, RENT), sized=False)
    assert only.simulations == 1


def test_common_random_numbers_make_differences_sure(folder: Path) -> None:
    """What longer answers do to the cost per token varies less from seed to seed."""
    low, high = [], []
    for seed in range(5):
        parts = drawing(drawn(folder, LENGTHS, sets=(*SHORT, f"seed={seed}")))
        values = [
            sample.values["cost_per_million_output_tokens_usd", ""] or 0.0
            for u in (0.4, 0.6)
            for sample in evaluate(Task(parts, ((u,),), {}, False, 8))
        ]
        low.append(values[0])
        high.append(values[1])
    common = np.subtract(high, low)
    apart = np.subtract(high, np.roll(low, 1))
    assert 9 * common.var() < apart.var()


# --- that it is the simulator's answer ------------------------------------------------------------


def test_a_draw_is_what_the_simulator_says_of_it(found: Risk, loaded: LoadedScenario) -> None:
    parts = drawing(loaded)
    sample = found.samples[5]
    assert sample.nodes is not None
    point = parts.scenario(sample.point)
    pools = [
        pool.model_copy(update={"nodes": sample.nodes[pool.name]}) for pool in point.scenario.pools
    ]
    fleet = replace(point, scenario=point.scenario.model_copy(update={"pools": pools}))
    result = run(fleet, catalog=parts.prices(sample.point))
    headline = result.headline
    assert headline["objectives_met"]
    assert sample.values["accelerators", ""] == headline["accelerators_at_peak"]
    assert sample.values["cost_per_hour_usd", ""] == headline["cost_per_hour_usd"]
    assert sample.values["gross_margin_rate", ""] == headline["gross_margin_rate"]
    own = run(point, catalog=parts.prices(sample.point))
    assert sample.values["ttft_p99_s", ""] == own.headline["p99_ttft_s"]


def test_the_medians_are_the_scenario_as_it_stands(found: Risk, loaded: LoadedScenario) -> None:
    assert found.centre.nodes == planner.size(loaded).nodes
    result = run(loaded)
    assert found.of("ttft_p99_s").centre == result.headline["p99_ttft_s"]


def test_more_traffic_needs_more_accelerators(found: Risk) -> None:
    needed = found.of("accelerators")
    assert needed.interval is not None
    assert needed.interval.low.value < needed.interval.high.value
    first, second = needed.drivers
    assert (first.column, second.column) == ("traffic", "rent")
    assert first.low is not None
    assert first.high is not None
    assert first.low < first.high
    assert second.low == second.high == needed.centre
    assert all(float(s.values["accelerators", ""] or 0) % 8 == 0 for s in found.samples)


def test_guesses_save_simulations(found: Risk) -> None:
    assert np.mean([sample.simulations for sample in found.samples]) <= 5


def test_how_often_the_own_fleet_keeps_its_promises(found: Risk) -> None:
    kept = [sample.kept for sample in found.samples]
    assert found.kept is not None
    assert found.kept.value == sum(map(bool, kept)) / len(kept)


# --- the same each time ---------------------------------------------------------------------------


def test_the_same_seed_gives_the_same_bytes_in_any_order(
    loaded: LoadedScenario, own: Risk, journal: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = journal.read_text(encoding="utf-8").splitlines(keepends=True)
    # an interrupted search: some draws are there, the last one is cut off
    journal.write_text("".join(lines[:50]) + lines[50][:40], encoding="utf-8")
    again = risk(loaded, sized=False, resume=journal)
    assert again.to_json() == own.to_json()
    monkeypatch.setattr(module, "evaluate", None)  # nothing is left to do
    assert risk(loaded, sized=False, resume=journal).to_json() == own.to_json()
    json.loads(own.to_json(), parse_constant=pytest.fail)


def test_a_journal_of_another_search_is_refused(loaded: LoadedScenario, tmp_path: Path) -> None:
    journal = tmp_path / "draws.jsonl"
    journal.write_text('{"schema": "planner-risk-journal/v1", "digest": "0"}\n', encoding="utf-8")
    with pytest.raises(OutputError, match="holds samples of another scenario"):
        risk(loaded, sized=False, resume=journal)


def test_without_the_section_step_times_know_their_own_errors(folder: Path) -> None:
    found = risk(load(folder, *SHORT), samples=8, sized=False, sensitivity=False)
    assert [each.name for each in found.inputs] == ["kernels", "engines"]
    assert "only errors of step times are drawn" in found.notes[1]
    tail = found.of("ttft_p99_s")
    assert tail.interval is not None
    assert tail.interval.low.value < tail.interval.high.value


# --- every source ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("stated", "grows"),
    [
        ("source: curves", True),
        ("source: overheads", True),
        ("source: step_times, factor: {lognormal: {median: 1, sigma: 0.3}}", True),
        ("source: acceptance, factor: {uniform: [0.5, 1]}", False),
        ("path: workload.classes.*.output.scale, value: {uniform: [0.5, 1.5]}", None),
        ("path: pools.*.engine.token_budget, value: {uniform: [1024, 8192]}", None),
    ],
)
def test_sources_move_what_they_say(folder: Path, stated: str, grows: bool | None) -> None:
    drafts = "pools.chat.speculation={method: eagle3, draft_tokens: 3}"
    sets = (*SHORT, drafts) if "acceptance" in stated else SHORT
    parts = drawing(drawn(folder, f"{{name: one, {stated}}}", sets=sets))
    low, high = (
        evaluate(Task(parts, ((u,),), {}, False, 8))[0].values["tpot_p99_s", "chat"]
        for u in (0.05, 0.95)
    )
    assert low is not None
    assert high is not None
    assert low != high
    if grows is not None:
        assert (low < high) is grows


def test_prices_of_plans_move_the_margin_and_nothing_else(folder: Path) -> None:
    stated = "{name: list, source: plans, factor: {uniform: [0.5, 1.5]}}"
    parts = drawing(drawn(folder, stated))
    assert parts.physical == ()
    low, high = evaluate(Task(parts, ((0.0,), (1.0,)), {}, False, 8))
    assert low.values["cost_per_hour_usd", ""] == high.values["cost_per_hour_usd", ""]
    margins = [each.values["gross_margin_rate", ""] or 0.0 for each in (low, high)]
    # gross profit = revenue - cost: 1 / (1 - margin) grows as revenue does
    assert (1 - margins[0]) / (1 - margins[1]) == pytest.approx(3.0)
    assert low.values["ttft_p99_s", ""] == high.values["ttft_p99_s", ""]


CAPITAL = "{capex: 33750 USD, network: 4000 USD, operations: 0.1 USD/h, spares: 3%, residual: 5%}"
OWNED = f"{{name: bought, terms: owned, as_of: 2026-01-01, source: ours, capital: {CAPITAL}}}"


def test_money_of_every_kind_is_drawn(folder: Path) -> None:
    """Mixes, capital, prices of tables, long contexts: a factor on all of it is one on the bill."""
    (folder / "prices.yaml").write_text(PRICE_TABLE, encoding="utf-8")
    plan = "prices.plans.api={kind: api, api_price: ours, input: null, output: null}"
    sets = (
        *SHORT,
        f"prices.tables=[{{path: {folder / 'prices.yaml'}}}]",
        f"prices.nodes=[{OWNED}]",
        "pools.chat.price_mix=[{price: bought, nodes: 1}, {price: reserved}]",
        "prices.node_overhead=0",
        "prices.power={electricity: 0 USD/kWh, colocation: 0 USD/kW-month}",
        "workload.classes.chat.plan=api",
        plan,
    )
    half = "factor: {uniform: [0.5, 1.5]}"
    loaded = drawn(
        folder,
        f"{{name: rent, source: machine_prices, {half}}}",
        f"{{name: list, source: plans, of: [api], {half}}}",
        sets=sets,
    )
    parts = drawing(loaded)
    assert parts.physical == ()
    points = ((0.0, 0.5), (0.5, 0.5), (1.0, 0.5), (0.5, 1.0))
    least, usual, most, dear = evaluate(Task(parts, points, {}, False, 8))
    costs = [each.values["cost_per_hour_usd", ""] for each in (least, usual, most)]
    assert costs[1] is not None
    assert costs == pytest.approx([0.5 * costs[1], costs[1], 1.5 * costs[1]], rel=1e-5)
    margins = [each.values["gross_margin_rate", ""] or 0.0 for each in (usual, dear)]
    assert (1 - margins[0]) / (1 - margins[1]) == pytest.approx(1.5, rel=1e-5)


def test_a_threshold_of_long_contexts_is_counted_again(folder: Path) -> None:
    long = "{above: 1000, input: 3 USD/Mtok, output: 16 USD/Mtok}"
    stated = (
        "{name: above, path: prices.plans.api.long_context.above, value: {uniform: [100, 2000]}}"
    )
    parts = drawing(drawn(folder, stated, sets=(*SHORT, f"prices.plans.api.long_context={long}")))
    assert parts.physical == (0,)
