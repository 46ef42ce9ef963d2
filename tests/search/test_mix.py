"""The cheapest mix of a scenario: its points, its proof by simulation, and what it says."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

import planner
from planner.catalog import load_catalog
from planner.report.mix import render_mix_html
from planner.report.mix_terminal import print_optimum, print_own_chip
from planner.report.mix_wording import answer, case_answer, optimum_notes, proof_sentence
from planner.report.own_chip import render_own_chip_html
from planner.scenario import LoadedScenario
from planner.search import mix_content as content
from planner.search import own_chip_content
from planner.search.breakeven import BreakEvenError, OwnChipCase, breakeven
from planner.search.mix import OptimiseError, Optimum, hourly_demand, mended, optimise, usable_rate
from planner.search.mix_solver import NoMixError, solve
from planner.search.operating import Probe
from tests.conftest import ROOT
from tests.report.test_html import Page
from tests.small import load

pytestmark = pytest.mark.compiled  # whole runs, far too long in pure Python

DAY = """\
schema: planner/v1
name: day
seed: 5
workload:
  start: "06:00"
  duration: 3 h
  warmup: 2 min
  window: 10 min
  classes:
    - name: chat
      pool: small
      overflow: [large]
      open: {rate: 6 /s, shape: [SHAPE]}
      input: {uniform: [100, 1500]}
      output: {uniform: [20, 200]}
      objectives:
        - {metric: ttft, percentile: 99, limit: 1 s}
        - {metric: tpot, percentile: 95, limit: 40 ms}
pools:
  - name: small
    model: llama-3.1-70b
    node: hgx-h100
    nodes: 1
    tensor_parallel: 8
    weight_dtype: fp8
  - name: large
    model: llama-3.1-70b
    node: hgx-h200
    nodes: 0
    tensor_parallel: 8
    weight_dtype: fp8
optimise:
  operating_time: 1 min
  needed_in: 30 d
  pools:
    - pool: small
      terms:
        - {name: base, price: h100-sxm-committed-3y}
        - {name: peak, price: h100-sxm-on-demand}
        - name: spot
          price: h100-sxm-spot
          maximum_share: 40%
          interruptions: 1 /h
          recovery: 6 min
    - pool: large
      terms:
        - {name: base, price: h200-sxm-committed-3y, lead_time: 60 d}
        - {name: peak, price: h200-sxm-on-demand}
own_chip:
  pool: small
  against: large
  engineering: 1e8 USD
  unit_cost: 9000 USD
  source: example
""".replace("SHAPE", ", ".join(["1", "1", "1", "1", "1", "1", "1", "2", "6", *["1"] * 15]))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("mix")


@pytest.fixture(scope="module")
def day(folder: Path) -> LoadedScenario:
    return load(folder, text=DAY)


@pytest.fixture(scope="module")
def found(day: LoadedScenario) -> Optimum:
    return optimise(day)


@pytest.fixture(scope="module")
def case(day: LoadedScenario) -> OwnChipCase:
    return breakeven(day)


# --- what goes in --------------------------------------------------------------------------------


def test_demand_is_the_shape_by_the_hour(day: LoadedScenario) -> None:
    """Multipliers 1, 2, 6 at 06, 07 and 08 o'clock, of mean 30/24."""
    demand = hourly_demand(day.scenario)
    assert demand["chat"] == pytest.approx([6.0 * m * 24 / 30 for m in (1, 2, 6)])


def test_availability_is_that_of_a_repairable_unit() -> None:
    assert usable_rate(0.05 / 3600, 600) == pytest.approx(1 / (1 + 0.05 / 6))


def test_an_operating_point_just_keeps_the_promises(day: LoadedScenario) -> None:
    """At the rate found all is kept; a few percent more and it is not: checked by a run apart."""
    content_ = day.scenario
    klass = content_.workload.classes[0]
    sentences: list[str] = []
    point = Probe(day, load_catalog(), 60.0, sentences.append).point(content_.pools[0], klass, 12.0)
    tried = {float(s.split(", ")[1].split("/s")[0]): s for s in sentences if "on 1 node " in s}
    assert "keeps every promise" in tried[float(f"{point.unit_rps:.3g}")]
    failing = [rate for rate, said in tried.items() if "keeps every promise" not in said]
    assert min(rate for rate in failing if rate > point.unit_rps) <= 1.04 * point.unit_rps
    assert point.large_rps >= point.unit_rps * point.large_nodes / 1.1
    assert 1_000 < point.node_power_w < 10_200
    assert point.tokens_per_request == pytest.approx(800 + 110, rel=0.1)


# --- what comes out ------------------------------------------------------------------------------


def test_the_fleet_is_proven_by_simulation(found: Optimum) -> None:
    assert found.kept is True
    proof = found.proof
    assert proof is not None
    assert proof.result.headline["objectives_met"]
    held = proof.result.frames.pool_windows
    for name in {pool for (pool, _), nodes in found.mix.nodes.items() if any(nodes)}:
        rows = held[(held["pool"] == name) & (held["window_start_s"] < 3 * 3600)]
        hour = (rows["window_start_s"] // 3600).to_numpy().astype(int)
        for number, planned in enumerate(found.mix.pool_nodes(name)):
            assert rows["nodes"].to_numpy()[hour == number].max() >= planned


def test_all_requests_are_routed(found: Optimum) -> None:
    assert sum(found.mix.served_share.values()) == pytest.approx(1.0)
    proof = found.proof
    assert proof is not None
    arrived = proof.result.frames.fates["arrived"].sum()
    expected = sum(found.mix.problem.demand_rps["chat"]) * 3600
    assert arrived == pytest.approx(expected, rel=0.03)


def test_late_terms_are_left_out(found: Optimum) -> None:
    (late,) = [offer for offer in found.offers if offer.late]
    assert (late.pool, late.term) == ("large", "base")
    assert ("large", "base") not in found.mix.nodes
    assert any("large base is left out" in note for note in optimum_notes(found))


def test_the_mix_is_no_dearer_than_one_kind_of_term(found: Optimum) -> None:
    """As it is shown: the headline and the alternatives are priced alike, start-up included."""
    mine, *others = [row["cost_per_hour_usd"] for row in content.alternative_rows(found)]
    assert mine == found.cost_per_hour_usd
    assert len(others) == 2
    assert mine <= min(others) * (1 + 1e-4)


def test_less_power_never_costs_less(found: Optimum) -> None:
    costs = [cost for _, cost in found.power_curve if cost is not None]
    assert costs == sorted(costs, reverse=True)
    assert found.power_curve[-1][0] == max(found.mix.power_w)


def test_a_power_cap_is_kept(found: Optimum) -> None:
    limit_w = 0.9 * max(found.mix.power_w)
    problem = replace(found.mix.problem, power_w=limit_w)
    try:
        tight = solve(problem)
    except NoMixError as error:
        assert "raise site.power" in str(error)  # noqa: PT017
        limit_w = 1.1 * max(found.mix.power_w)
        tight = solve(replace(problem, power_w=limit_w))
    assert max(tight.power_w) <= limit_w


def test_a_site_without_enough_power_is_named(folder: Path) -> None:
    little = DAY.replace("rate: 6 /s", "rate: 3 /s") + "site: {power: 5 kW}\n"
    with pytest.raises(OptimiseError, match=r"raise site\.power"):
        optimise(load(folder, text=little), simulate=False)


def test_a_fleet_that_is_too_small_is_mended(day: LoadedScenario, found: Optimum) -> None:
    """Capacities that are overstated threefold: the simulation says so, and nodes are added."""
    boasted = replace(
        found.mix.problem,
        pools=tuple(
            replace(pool, capacity_rps={name: 3.0 * c for name, c in pool.capacity_rps.items()})
            for pool in found.mix.problem.pools
        ),
        reserve_nodes={},
    )
    said: list[str] = []
    mix, proof, added = mended(day, load_catalog(), boasted, True, said.append, None)
    assert "keeps every promise" not in said[0]
    assert added
    assert proof is not None
    assert proof.failures == ()
    assert mix.cost_usd > solve(boasted).cost_usd
    shown = replace(found, mix=mix, proof=proof, added_nodes=added)
    assert "node-hours were added where it had not" in proof_sentence(shown)
    failed = replace(shown, proof=replace(proof, failures=("chat has a queue",)))
    assert "does not keep every promise: chat has a queue" in proof_sentence(failed)
    assert "not simulated as a whole" in proof_sentence(replace(shown, proof=None))


def test_a_scenario_without_the_section_is_refused(folder: Path) -> None:
    plain = load(folder)
    with pytest.raises(OptimiseError, match="no section `optimise`"):
        optimise(plain)
    with pytest.raises(BreakEvenError, match="no section `own_chip`"):
        breakeven(plain)


# --- an own chip ---------------------------------------------------------------------------------


def test_the_break_even_follows_from_the_points(case: OwnChipCase) -> None:
    (own,), (bought,) = case.own_points, case.bought_points
    ratio = own.per_node_rps * own.tokens_per_request
    ratio /= bought.per_node_rps * bought.tokens_per_request
    assert case.relative_efficiency_rate == pytest.approx(ratio)
    volume = case.found.mtok_per_year
    assert volume is not None
    assert case.curve[0][0] < volume < case.curve[-1][0]
    assert case.curve[0][1] > case.curve[0][2]
    assert case.curve[-1][1] < case.curve[-1][2]


# --- what it is shown on -------------------------------------------------------------------------


def tables(found: Optimum) -> dict[str, list[dict[str, object]]]:
    return {
        "hours": content.hour_rows(found),
        "terms": content.term_rows(found),
        "points": content.point_rows(found.points),
        "alternatives": content.alternative_rows(found),
        "power": content.power_rows(found),
    }


def test_reports_are_sound(found: Optimum, case: OwnChipCase) -> None:
    for html in (
        render_mix_html(found, tables(found)),
        render_own_chip_html(case, {"curve": own_chip_content.case_rows(case), "points": []}),
    ):
        page = Page(html)  # checks that elements nest
        figures = json.loads(page.scripts["figures"])
        tables_ = json.loads(page.scripts["tables"])
        assert {f"chart-{key}" for key in figures} <= set(page.values("id"))
        assert set(page.values("data-table")) <= set(tables_)
    assert render_mix_html(found, tables(found)) == render_mix_html(found, tables(found))


def test_the_terminal_says_the_same(found: Optimum, case: OwnChipCase) -> None:
    text = io.StringIO()
    console = Console(file=text, width=100)
    print_optimum(found, console)
    print_own_chip(case, console)
    words = " ".join(text.getvalue().split())
    assert answer(found) in words
    assert case_answer(case) in words


def test_json_holds_every_hour(found: Optimum, case: OwnChipCase) -> None:
    read = json.loads(content.optimum_json(found))
    assert [row["time_of_day"] for row in read["hours"]] == ["06:00", "07:00", "08:00"]
    assert read["cost_per_hour_usd"] == pytest.approx(found.cost_per_hour_usd)
    assert read["simulation"]["kept"] is True
    assert json.loads(own_chip_content.case_json(case))["break_even_mtok_per_year"] > 0


def test_the_shipped_mix_is_answered() -> None:
    """Shortened: the whole of it is what the README shows."""
    short = ["workload.duration=2 h", "workload.classes.chat.open.rate=3 /s",
             "optimise.operating_time=1 min"]  # fmt: skip
    mix = planner.optimise(ROOT / "scenarios" / "economics" / "capacity_mix.yaml", sets=short)
    assert mix.kept
    assert mix.mix.gap_rate < 1e-3


def test_the_shipped_chip_is_compared() -> None:
    """Shortened, and by one node of each only."""
    short = ["workload.classes.chat.open.rate=10 /s", "own_chip.operating_time=1 min"]
    case = planner.breakeven(ROOT / "scenarios" / "economics" / "own_chip.yaml", sets=short)
    assert 0.5 < case.relative_efficiency_rate < 0.9
    assert case.found.own.usd_per_mtok < case.found.bought.usd_per_mtok
