"""What stands behind the widgets: every control does what `--set` would do."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

import planner
from planner.catalog import load_catalog
from planner.notebook.controls import ControlError, Menu, Slider, Switch, given
from planner.notebook.derive import controls_of
from planner.notebook.model import WhatIf
from planner.notebook.own import own_controls
from planner.results.result import Result
from tests.conftest import ROOT

QUICKSTART = ROOT / "scenarios" / "quickstart.yaml"
SHORT = (
    "workload.duration=2 min",
    "workload.warmup=20 s",
    "workload.classes.anonymous-chat.visitors=1000",  # few enough for the limit of each to matter
)


@pytest.fixture(scope="module")
def model() -> WhatIf:
    scenario = planner.load_scenario(QUICKSTART, sets=SHORT)
    return WhatIf(
        scenario,
        sets={
            "prices.power.electricity": ("0.04 USD/kWh", "200 USD/MWh"),
            "pools.chat.cold_start": ("1 min", "20 min"),
            "pools.chat.router": ["round_robin", "least_loaded"],
        },
    )


def same(left: Result, right: Result) -> bool:
    """Tell whether two results are the same to the last byte, tables by window included."""
    tables = zip(left.tables().values(), right.tables().values(), strict=True)
    return left.to_json() == right.to_json() and all(a.equals(b) for a, b in tables)


def test_controls_follow_from_the_scenario(model: WhatIf) -> None:
    groups = list(dict.fromkeys(control.group for control in model.controls))
    assert groups == [
        "Traffic", "Pool chat", "Pool reasoning", "Prices", "Techniques", "Your own",
    ]  # fmt: skip
    keys = {control.key for control in model.controls}
    assert keys >= {
        "traffic.level",
        "workload.classes.anonymous-chat.open.rate",
        "pools.chat.node",
        "pools.chat.nodes",
        "pools.chat.weight_dtype",
        "pools.chat.kv_dtype",
        "pools.chat.speculation",
        "pools.chat.price",
        "prices.plans.members.per_seat",
        "prices.margin",
        "techniques.guest rate limits",
    }
    assert len(keys) == len(model.controls)
    assert isinstance(model.control("techniques.queue order"), Switch)


def test_speculation_is_offered_where_measurements_tell_of_the_model(model: WhatIf) -> None:
    chat, reasoning = (
        model.control("pools.chat.speculation"),
        model.control("pools.reasoning.speculation"),
    )
    assert isinstance(chat, Menu)
    assert isinstance(reasoning, Menu)
    assert "mtp, 1 drafted token" in reasoning.choices
    assert not any(choice.startswith("mtp") for choice in chat.choices)


def test_a_pool_that_only_prefills_is_offered_no_speculation() -> None:
    loaded = planner.load_scenario(ROOT / "scenarios" / "techniques" / "disaggregation.yaml")
    controls = controls_of(loaded, load_catalog())
    offered = {control.key for control in controls if control.key.endswith(".speculation")}
    both = {f"pools.{pool.name}.speculation": pool.decode for pool in loaded.scenario.pools}
    assert len(both) == 2
    assert offered == {key for key, decode in both.items() if decode is None}


MOVES = {
    "nodes": {"pools.chat.nodes": 9},
    "fewer nodes, less traffic": {"pools.chat.nodes": 6, "traffic.level": 50},
    "price": {"pools.chat.price": 1.5},
    "margin and seats": {"prices.margin": "paid_only", "prices.plans.members.per_seat": 2.0},
    "rate times level": {"traffic.level": 150, "workload.classes.anonymous-chat.open.rate": 90},
    "machines": {"pools.chat.node": "hgx-h200"},
    "drafts": {"pools.chat.speculation": "eagle3, 3 drafted tokens"},
    "own": {"pools.chat.cold_start": 2, "pools.chat.router": "least_loaded"},
    "cache": {"pools.chat.kv_dtype": "fp8"},
}


@pytest.mark.compiled
def test_every_answer_is_what_the_command_line_says(model: WhatIf) -> None:
    """In turn, so that each may find what those before it left behind."""
    for values in MOVES.values():
        answer = model.answer(values)
        assert answer.result is not None, answer.error
        alone = planner.run(QUICKSTART, sets=[*SHORT, *model.options(values)])
        assert same(answer.result, alone), values
        assert not same(answer.result, model.start), values


@pytest.mark.compiled
def test_a_technique_can_be_switched_off(model: WhatIf) -> None:
    answer = model.answer({"techniques.guest rate limits": False})
    assert answer.result is not None
    limited = [each.frames.fates["rate_limited"].sum() for each in (answer.result, model.start)]
    assert limited[0] == 0 < limited[1]


def test_prices_move_no_request(model: WhatIf) -> None:
    assert model.answer({"traffic.level": 80}).is_simulated
    cheap = {"traffic.level": 80, "pools.chat.price": 1.0, "prices.margin": "free_in_marketing"}
    assert not model.answer(cheap).is_simulated
    assert model.answer(cheap | {"pools.chat.nodes": 9}).is_simulated


def test_options_say_only_what_was_moved(model: WhatIf) -> None:
    assert model.options({"pools.chat.nodes": 10, "traffic.level": 100}) == []
    moved = {"traffic.level": 50, "workload.classes.logged-in-chat.open.rate": 30}
    assert model.options(moved) == [
        "workload.classes.anonymous-chat.open.rate=30.0 /s",
        "workload.classes.logged-in-chat.open.rate=15.0 /s",
        "workload.classes.logged-in-reasoning.open.rate=3.0 /s",
    ]
    assert model.options({"prices.power.electricity": 0.1}) == [
        "prices.power.electricity=0.1 USD/kWh"
    ]


def test_a_price_is_that_of_the_machines(model: WhatIf) -> None:
    """Listed, until it is moved; then any value holds, that of other machines included."""
    slider = model.control("pools.chat.price")
    machines = {"pools.chat.node": "hgx-b200"}
    listed = given(slider, machines).start
    assert isinstance(slider, Slider)
    assert isinstance(listed, float)
    assert slider.start < listed <= slider.high
    assert model.options(machines | {"pools.chat.price": listed}) == model.options(machines)
    for mine in (slider.start, 1.5):
        stated = model.options(machines | {"pools.chat.price": mine})
        assert "pools.chat.price=what-if-chat" in stated
        assert f"per_device_hour: {mine} USD/h" in "".join(stated)
    assert model.options({"pools.chat.price": slider.start}) == []
    terms = [
        "".join(model.options({"pools.chat.node": node, "pools.chat.price": 1.0}))
        for node in ("hgx-b200", "hgx-b300")
    ]
    assert ["on_demand" in text for text in terms] == [False, True]


@pytest.mark.compiled
def test_a_menu_of_machines_of_ones_own_moves_no_price() -> None:
    sets = {"pools.chat.node": ["hgx-h100", "hgx-b200"]}
    model = WhatIf(planner.load_scenario(QUICKSTART, sets=SHORT), sets=sets)
    values = {"pools.chat.node": "hgx-b200"}
    assert given(model.control("pools.chat.price"), values) == model.control("pools.chat.price")


@pytest.mark.parametrize(
    ("values", "said"),
    [
        (
            {"pools.reasoning.weight_dtype": "bf16"},
            "pools[1].model: deepseek-r1 in bf16 does not fit on 8 x h200-sxm: per device",
        ),
        (
            {"pools.chat.node": "tpu-v5e-8"},
            "pools[0].model: llama-3.1-70b in fp8 does not fit on 4 x tpu-v5e: per device",
        ),
    ],
)
def test_what_cannot_be_is_an_answer(model: WhatIf, values: dict[str, str], said: str) -> None:
    answer = model.answer(values)
    assert answer.result is None
    assert not answer.is_simulated
    assert answer.error.startswith(said)
    assert "would fit:" in answer.error
    assert "\n" not in answer.error


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"pools.chat.node": "hgx-h300"}, "pools.chat.node: 'hgx-h300' is not offered; choose"),
        ({"pools.chat.nods": 3}, "there is no control 'pools.chat.nods'; did you mean pools.chat."),
        ({"pools.chat.nodes": 900}, "pools.chat.nodes: 900 is not between 0 and 20"),
        ({"pools.chat.nodes": True}, "pools.chat.nodes: true is not between 0 and 20"),
        ({"pools.chat.nodes": 3.5}, "pools.chat.nodes: 3.5 is not a whole number"),
        ({"techniques.queue order": 1}, "techniques.queue order: 1 is neither true nor false"),
    ],
)
def test_a_value_that_a_control_does_not_have_is_refused(
    model: WhatIf, values: dict[str, object], said: str
) -> None:
    with pytest.raises(ControlError) as refused:
        model.answer(values)  # type: ignore[arg-type]
    assert str(refused.value).startswith(said)


@pytest.mark.parametrize(
    ("sets", "said"),
    [
        ({"pools.chat.nods": (1, 2)}, "pools.chat.nods: there is no pools[0].nods; did you mean"),
        ({"pools.chat.cold_start": (1, 2)}, "pools.chat.cold_start: 1 is a bare number; write for"),
        ({"pools.chat.nodes": (9, 3)}, "pools.chat.nodes: 9 is not less than 3; give low, then"),
        ({"pools.chat.nodes": 3}, "pools.chat.nodes: 3 makes no control; give a tuple of two"),
        ({"pools.chatt.router": ["a", "b"]}, "pools.chatt.router: there is no 'chatt'; did you"),
        (
            {"pools.chat.ruter": ["round_robin", "least_loaded"]},
            "pools.chat.ruter: pools[0].ruter: unknown field; did you mean router?",
        ),
        ({"pools": ["a", "b"]}, "pools: pools: must be a list; found 'a'"),
        ({"pools.chat.router": [None, ["a"]]}, "pools.chat.router: [None, ['a']] makes no control"),
        ({"pools.chat.nodes": (None, 2)}, "pools.chat.nodes: (None, 2) makes no control; give a"),
        ({"pools.chat.nodes": (0, math.inf)}, "pools.chat.nodes: (0, inf) makes no control; give"),
        ({"pools.chat.nodes": (0.5, 3)}, "pools.chat.nodes: takes whole numbers only, not 0.5 to"),
        ("pools.chat.nodes", "sets: 'pools.chat.nodes' names no controls; give a dictionary by"),
    ],
)
def test_a_control_that_makes_no_sense_is_refused(sets: object, said: str) -> None:
    with pytest.raises(ControlError) as refused:
        WhatIf(QUICKSTART, sets=sets)  # type: ignore[arg-type]
    assert str(refused.value).startswith(said)


def test_a_menu_of_ones_own_starts_as_the_scenario_says_where_that_is_no_word() -> None:
    drafts = ["null", "{method: n-gram, draft_tokens: 3}", "null"]
    loaded = planner.load_scenario(ROOT / "scenarios" / "techniques" / "speculation.yaml")
    path = f"pools.{loaded.scenario.pools[0].name}.speculation"
    (menu,) = own_controls({path: drafts}, loaded)
    assert isinstance(menu, Menu)
    assert menu.choices == ("as in the scenario", *drafts[:2])


def test_a_slider_of_ones_own_has_the_unit_that_was_written(model: WhatIf) -> None:
    slider = model.control("pools.chat.cold_start")
    assert isinstance(slider, Slider)
    assert (slider.unit, slider.start, slider.low, slider.high) == ("min", 5.0, 1.0, 20.0)
    assert slider.text(2.5) == "2.5 min"


@pytest.mark.compiled
def test_answers_are_compared_in_columns_with_units(model: WhatIf) -> None:
    answers = {"fewer": model.answer({"pools.chat.nodes": 9}), "none": model.answer(
        {"pools.reasoning.weight_dtype": "bf16"}
    )}  # fmt: skip
    frame = model.compare(answers)
    assert list(frame.index) == ["start", "fewer", "none"]
    assert frame["accelerators_at_peak_devices"].tolist()[:2] == [112, 104]
    assert frame.loc["none"].isna().all()
    assert {"p99_ttft_s", "cost_per_hour_usd", "gross_margin_rate"} <= set(frame.columns)


@pytest.mark.compiled
@pytest.mark.parametrize("file", ["day.yaml", "techniques/disaggregation.yaml", "benchmark.yaml"])
def test_other_scenarios_have_controls_that_work(file: str) -> None:
    sets = ["workload.duration=2 min", "workload.warmup=10 s"]
    scenario = planner.load_scenario(ROOT / "scenarios" / file, sets=sets)
    model = WhatIf(scenario)
    pool = scenario.scenario.pools[0].name
    values = {f"pools.{pool}.kv_dtype": "fp8", f"pools.{pool}.price": 1.0}
    answer = model.answer(values)
    if answer.result is not None:
        assert same(
            answer.result,
            planner.run(ROOT / "scenarios" / file, sets=[*sets, *model.options(values)]),
        )


def test_traces_are_read_again(tmp_path: Path) -> None:
    """A trace may have changed between two answers; requests that are drawn cannot."""
    trace = tmp_path / "trace.csv"
    rows = ["arrival_s,input_tokens,output_tokens", *(f"{i},100,20" for i in range(50))]
    trace.write_text("\n".join(rows) + "\n")
    scenario = planner.load_scenario(
        QUICKSTART,
        sets=[
            "workload.duration=2 min", "workload.warmup=0 s",
            "workload.classes.anonymous-chat.rate_limit=null",
            f"workload.classes.anonymous-chat.trace={{file: {trace}}}",
            "workload.classes.anonymous-chat.input=null",
            "workload.classes.anonymous-chat.output=null",
        ],
    )  # fmt: skip
    model = WhatIf(scenario)
    trace.write_text("\n".join(rows[:26]) + "\n")
    answer = model.answer({"pools.chat.nodes": 9})
    assert answer.result is not None, answer.error
    arrived = [each.frames.classes["arrived"].iloc[0] for each in (model.start, answer.result)]
    assert arrived == [50, 25]
