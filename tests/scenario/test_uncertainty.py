"""Uncertain inputs: what `planner check` says of those that cannot be drawn, and how they are."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import NormalDist

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from planner.catalog import Catalog, Node
from planner.curves.curve import CurveKey
from planner.curves.device import curves_for
from planner.errors import ScenarioError
from planner.scenario import load_checked, load_scenario
from planner.scenario.distributions import distribution_of
from planner.scenario.merge import PathError, format_location
from planner.scenario.schema.uncertainty import Distribution, UncertainInput
from planner.scenario.targets import scenario_with, targets_at
from planner.scenario.uncertain import OPERATORS, InputError, columns_of, resolved
from tests.scenario.samples import VALID

pytestmark = pytest.mark.usefixtures("in_folder")

WriteFile = Callable[[str, str], Path]
SECTION = """\
uncertainty:
  samples: 32
  inputs:
    - name: one
      INPUT
"""
LINE = VALID.count("\n") + 5


def text(content: str, section: str = SECTION) -> str:
    return VALID + section.replace("INPUT", content.replace("\n", "\n      "))


def faults(write_file: WriteFile, catalog: Catalog, content: str) -> list[str]:
    write_file("q.yaml", text(content))
    try:
        load_checked("q.yaml", catalog)
    except ScenarioError as error:
        return [str(fault).splitlines()[0] for fault in error.faults]
    return []


@pytest.mark.parametrize(
    "content",
    [
        "path: workload.classes.chat.open.rate\nvalue: {normal: {mean: 24 /s, deviation: 2 /s}}",
        "path: workload.classes.*.open.rate\nfactor: {lognormal: {median: 1, sigma: 0.2}}",
        "path: workload.classes.*.output.scale\nvalue: {triangular: [0.8, 1, 1.4]}",
        "path: workload.classes.chat.system_prompt\nvalue: {uniform: [0, 20]}",
        "path: prices.power.pue\nvalue: {normal: {mean: 1.2, deviation: 0.1}, minimum: 1}",
        "path: prices.partner_revenue_share\nvalue: {uniform: [10%, 0.2]}",
        "source: demand\nfactor: {quantiles: {p10: 0.8, p50: 1, p90: 1.3}}",
        "source: demand\nof: [chat]\nfactor: {uniform: [0.9, 1.1]}",
        "source: curves",
        "source: curves\nof: [gemm, decode_attention]",
        "source: overheads\nof: [big]",
        "source: step_times\nfactor: {lognormal: {median: 1, sigma: 0.1}}",
        "source: machine_prices\nof: [small]\nfactor: {uniform: [0.5, 1.5]}",
        "source: plans\nfactor: {uniform: [0.5, 1]}",
    ],
)
def test_what_can_be_drawn(write_file: WriteFile, catalog: Catalog, content: str) -> None:
    assert faults(write_file, catalog, content) == []


@pytest.mark.parametrize(
    ("content", "where", "message"),
    [
        ("path: workload.classes.chit.open.rate\nfactor: {uniform: [1, 2]}", "path",
         "there is no workload.classes.chit; did you mean chat?"),
        ("path: workload.classes.chat.open.rat\nfactor: {uniform: [1, 2]}", "path",
         "there is no workload.classes[0].open.rat; did you mean rate?"),
        ("path: workload.classes.reasoning.open.rate\nfactor: {uniform: [1, 2]}", "path",
         "workload.classes[1].open is not stated, so it cannot be changed"),
        ("path: pools.big.model\nfactor: {uniform: [1, 2]}", "path",
         "pools[1].model is 'llama-3.1-70b', not a number; name a number in or beside it"),
        ("path: pools.big.nodes\nfactor: {uniform: [1, 2]}", "path",
         "the number of nodes is the answer; draw what decides it"),
        ("path: pools.*.engine.queue_limit\nfactor: {uniform: [1, 2]}", "path",
         "'pools.*.engine.queue_limit' leads to no number; no item of the list has one there"),
        ("path: workload.classes.chat.open.rate\nvalue: {uniform: [1, 2 /s]}", "value",
         '1.0 is a bare number; write for example "40 /s" (units: /ns, /us, /µs, /ms, /s, /min, '
         "/h, /d, /day, /week, /year)"),
        ("path: workload.classes.chat.open.rate\nvalue: {normal: {mean: 9 /s, deviation: -1 /s}}",
         "value", "deviation is -1; it must not be negative"),
        ("path: workload.classes.chat.open.rate\nfactor: {lognormal: {median: 1, sigma: -1}}",
         "factor.lognormal.sigma", "must be at least 0.0; found -1"),
        ("source: demand\nfactor: {quantiles: {p10: 2, p90: 1}}", "factor",
         "p10 (2) is above p90 (1); exchange them"),
        ("source: demand\nfactor: {uniform: [2, 1]}", "factor",
         "first (2) is above second (1); exchange them"),
        ("source: demand\nfactor: {triangular: [1, 3, 2]}", "factor",
         "likeliest (3) is above most (2); exchange them"),
        ("source: demand\nfactor: {uniform: [1, 2], minimum: 3, maximum: 2}", "factor",
         "minimum 3 is above maximum 2; exchange them"),
        ("path: prices.power.pue\nvalue: {normal: {mean: 1.1, deviation: 0.2}}", "value",
         "one draw in 1,000 makes prices.power.pue 0.48195353876643754, which a scenario does not "
         "take (should be greater than or equal to 1); give the distribution a minimum or maximum"),
        ("path: prices.partner_revenue_share\nfactor: {uniform: [1, 2]}", "factor",
         "what it multiplies is 0; state a value instead"),
        ("source: acceptance\nfactor: {uniform: [0.9, 1]}", "source",
         "the scenario has no pool with speculation, so there is nothing to draw; delete this "
         "input"),
        ("source: machine_prices\nof: [smal]\nfactor: {uniform: [0.9, 1]}", "of[0]",
         "unknown pool 'smal'; did you mean small?"),
        ("source: step_times\nfactor: {normal: {mean: 1, deviation: 0.5}}", "factor",
         "draws can be zero or less; use a lognormal, or a minimum"),
        ("source: curves\nfactor: {uniform: [0.9, 1]}", "",
         "curves know their own errors; delete factor, or use step_times"),
        ("source: demand", "", "needs either a factor or a value with its distribution"),
        ("path: seed\nvalue: {uniform: [1, 9]}", "path",
         "draw what the fleet serves, runs on or costs, not this"),
        ("path: workload.duration\nfactor: {uniform: [1, 9]}", "path",
         "draw what the fleet serves, runs on or costs, not this"),
    ],
)  # fmt: skip
def test_what_cannot_be_drawn_is_told_with_its_place(
    write_file: WriteFile, catalog: Catalog, content: str, where: str, message: str
) -> None:
    (fault,) = faults(write_file, catalog, content)
    place, _, said = fault.partition(": ")
    field, _, said = said.partition(": ")
    assert place.startswith("q.yaml:")
    assert int(place.split(":")[1]) >= LINE - 1
    assert field == "uncertainty.inputs[0]" + (f".{where}" if where else "")
    assert said == message


def test_too_few_samples_for_the_interval(write_file: WriteFile, catalog: Catalog) -> None:
    section = SECTION.replace("samples: 32", "samples: 16")
    write_file("q.yaml", text("source: curves", section))
    message = (
        r"q\.yaml:\d+:12: uncertainty\.samples: 16 samples put less than one beyond each end of an "
        r"interval of 0\.9; draw at least 32"
    )
    with pytest.raises(ScenarioError, match=message):
        load_checked("q.yaml", catalog)


def test_samples_are_a_power_of_two(write_file: WriteFile, catalog: Catalog) -> None:
    section = SECTION.replace("samples: 32", "samples: 48")
    write_file("q.yaml", text("source: curves", section))
    with pytest.raises(ScenarioError, match="must be a power of two, as 32 or 64; found 48"):
        load_checked("q.yaml", catalog)


def curves_for_chip(node: Node, catalog: Catalog) -> Iterator[CurveKey]:
    for curves in curves_for(catalog.chip(node.chip)):
        for operator in OPERATORS:
            yield from curves.keys(operator)


def test_chips_without_curves_have_no_covariance(write_file: WriteFile, catalog: Catalog) -> None:
    bare = next(n.name for n in catalog.nodes.values() if not any(curves_for_chip(n, catalog)))
    first = "model: llama-3.1-8b\n    node: "
    write_file("q.yaml", text("source: curves").replace(f"{first}hgx-h100", f"{first}{bare}"))
    with pytest.raises(ScenarioError) as caught:
        load_checked("q.yaml", catalog)
    assert any(
        "so no covariance; use source: step_times with a factor of your own" in fault.message
        for fault in caught.value.faults
    )


def test_engines_that_nobody_calibrated_have_no_errors(
    write_file: WriteFile, catalog: Catalog
) -> None:
    content = text("source: overheads").replace(
        "    tensor_parallel: 4", "    tensor_parallel: 4\n    engine: {name: generic}"
    )
    write_file("q.yaml", content)
    with pytest.raises(
        ScenarioError, match=r"overheads of generic on h100-sxm \(pool big\) have no"
    ):
        load_checked("q.yaml", catalog)


def test_two_inputs_do_not_draw_one_number(write_file: WriteFile, catalog: Catalog) -> None:
    path = "path: workload.classes.chat.open.rate\n"
    both = text(path + "factor: {uniform: [1, 2]}\n")
    other = "    - name: two\n      path: workload.classes.*.open.rate\n"
    write_file("q.yaml", both + other + "      factor: {uniform: [1, 2]}\n")
    load_checked("q.yaml", catalog)  # two factors multiply
    write_file("q.yaml", both + other + "      value: {uniform: [1 /s, 2 /s]}\n")
    with pytest.raises(ScenarioError, match=r"classes\[0\]\.open\.rate is drawn by one already"):
        load_checked("q.yaml", catalog)
    write_file("q.yaml", both + other.replace("two", "one") + "      factor: {uniform: [1, 2]}\n")
    with pytest.raises(ScenarioError, match="names must differ"):
        load_checked("q.yaml", catalog)


# --- numbers of a scenario ------------------------------------------------------------------------


def test_targets_know_their_units(write_file: WriteFile) -> None:
    write_file("q.yaml", VALID)
    scenario = load_scenario("q.yaml").scenario
    rate, turns = (
        targets_at(scenario, path)[0]
        for path in ("workload.classes.chat.open.rate", "workload.classes[1].closed.clients")
    )
    assert (rate.value, rate.unit, rate.is_whole, rate.written(5.0)) == (24, "/s", False, "5.0 /s")
    assert (turns.value, turns.unit, turns.is_whole, turns.written(5.4)) == (40, "", True, 5)
    price = targets_at(scenario, "prices.plans.api.output")[0]
    assert (price.unit, price.read("1 USD/ktok")) == ("USD/Mtok", 1000)
    assert targets_at(scenario, "prices.power.pue")[0].value == 1.12  # a default
    with pytest.raises(PathError, match="is a group of fields, not a number"):
        targets_at(scenario, "prices.power")


def test_numbers_are_changed_where_they_stand(write_file: WriteFile) -> None:
    write_file("q.yaml", VALID)
    loaded = load_scenario("q.yaml")
    (rate,) = targets_at(loaded.scenario, "workload.classes.chat.open.rate")
    (pue,) = targets_at(loaded.scenario, "prices.power.pue")
    scenario, root = scenario_with(loaded.root, [(rate, 30.0), (pue, 1.5)])
    assert scenario.workload.classes[0].open is not None
    assert scenario.workload.classes[0].open.rate == 30.0
    assert scenario.prices.power.pue == 1.5
    assert loaded.root.plain() != root.plain()
    with pytest.raises(ValueError, match=r"prices\.power\.pue 0\.5, which a scenario does not"):
        scenario_with(loaded.root, [(pue, 0.5)])


def test_demand_is_every_kind_of_arrivals(write_file: WriteFile) -> None:
    write_file("t.csv", "arrival_s,input_tokens,output_tokens\n0,9,9\n")
    shared = VALID.replace("  classes:", "  trace: {file: t.csv}\n  classes:", 1).replace(
        "      open: {rate: 24 /s}\n", "      share: 50%\n"
    )
    write_file("q.yaml", shared)
    scenario = load_scenario("q.yaml").scenario

    def targets(**of: object) -> list[str]:
        stated = {"name": "one", "source": "demand", "factor": {"uniform": [1, 2]}, **of}
        found = resolved(UncertainInput.model_validate(stated), scenario).targets
        return [format_location(target.location) for target in found]

    assert targets() == ["workload.trace.rate_scale", "workload.classes[1].closed.clients"]
    assert targets(of=["reasoning"]) == ["workload.classes[1].closed.clients"]
    with pytest.raises(InputError, match=r"come from workload\.trace, which all its classes"):
        targets(of=["chat"])


def test_inputs_of_a_group_are_one_column(write_file: WriteFile, catalog: Catalog) -> None:
    write_file(
        "q.yaml",
        text("source: demand\nfactor: {uniform: [1, 2]}\ngroup: growth")
        + "    - {name: two, source: plans, factor: {uniform: [1, 2]}, group: growth}\n"
        + "    - {name: three, path: prices.power.pue, factor: {uniform: [1, 2]}}\n",
    )
    scenario = load_checked("q.yaml", catalog).scenario
    assert scenario.uncertainty is not None
    inputs = [resolved(each, scenario) for each in scenario.uncertainty.inputs]
    assert columns_of(inputs) == ("growth", "three")
    assert [each.is_money for each in inputs] == [False, True, True]


# --- distributions --------------------------------------------------------------------------------

U = st.floats(0.001, 0.999)


@given(u=U, mean=st.floats(-5, 5), deviation=st.floats(0.01, 3))
def test_a_normal_is_scipys(u: float, mean: float, deviation: float) -> None:
    stated = Distribution.model_validate({"normal": {"mean": mean, "deviation": deviation}})
    assert distribution_of(stated, float)(u) == pytest.approx(
        stats.norm(mean, deviation).ppf(u), abs=1e-9
    )


@given(u=U, median=st.floats(0.1, 5), sigma=st.floats(0.01, 2))
def test_a_lognormal_is_scipys(u: float, median: float, sigma: float) -> None:
    stated = Distribution.model_validate({"lognormal": {"median": median, "sigma": sigma}})
    assert distribution_of(stated, float)(u) == pytest.approx(
        stats.lognorm(sigma, scale=median).ppf(u)
    )


@given(u=U, low=st.floats(-3, 3), rise=st.floats(0.01, 2), fall=st.floats(0.01, 2))
def test_a_triangular_is_scipys(u: float, low: float, rise: float, fall: float) -> None:
    span = rise + fall
    stated = Distribution.model_validate({"triangular": [low, low + rise, low + span]})
    assert distribution_of(stated, float)(u) == pytest.approx(
        stats.triang(rise / span, low, span).ppf(u), abs=1e-9
    )


def test_quantiles_are_met_and_never_fall() -> None:
    stated = Distribution.model_validate({"quantiles": {"p10": 0.8, "p50": 1, "p90": 1.3}})
    found = distribution_of(stated, float)
    assert [found(u) for u in (0.1, 0.5, 0.9)] == pytest.approx([0.8, 1, 1.3])
    draws = [found(u) for u in np.linspace(0, 1, 999)]
    assert draws == sorted(draws)
    assert draws[0] > 0
    reach = NormalDist().inv_cdf(0.9)
    assert math.log(found(0.99)) == pytest.approx(
        math.log(1.3) * NormalDist().inv_cdf(0.99) / reach
    )


def test_bounds_cut_draws() -> None:
    stated = Distribution.model_validate({"uniform": [0, 10], "minimum": 2, "maximum": 7})
    found = distribution_of(stated, float)
    assert [found(u) for u in (0.1, 0.5, 0.9)] == [2, 5, 7]
