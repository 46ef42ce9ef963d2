"""Scheduling: what each order gives to whom, what admission control sheds, what batch jobs fill."""

from __future__ import annotations

import functools
from pathlib import Path

import pandas as pd
import pytest

import planner
from planner.catalog import load_catalog
from planner.errors import ScenarioError
from planner.kernel.dtypes import OUTPUT_COST
from planner.scenario import load_checked
from planner.scenario.checks import notices
from planner.scenario.schema.pools import Engine

SCENARIO = Path(__file__).resolve().parents[2] / "scenarios" / "techniques" / "scheduling.yaml"
CATALOG = load_catalog()


@functools.cache
def result(scenario: str, *sets: str) -> planner.Result:
    return planner.run(planner.load_scenario(SCENARIO, named=scenario, sets=sets))


def classes(scenario: str, *sets: str) -> pd.DataFrame:
    return result(scenario, *sets).to_pandas("classes").set_index("class")


def cost_per_mtok_usd(scenario: str) -> float:
    costs = result(scenario).to_pandas("class_costs")
    return 1e6 * float(costs["cost_usd"].sum() / costs["output_tokens"].sum())


def ttft_s(scenario: str, klass: str, percentile: str = "p99") -> float:
    return float(classes(scenario).loc[klass, f"ttft_{percentile}_s"])


def test_reasoning_raises_the_tail_of_chat_and_priority_lowers_it() -> None:
    alone, together = ttft_s("chat-alone", "chat"), ttft_s("fcfs", "chat")
    urgent = ttft_s("priority", "chat")
    assert together > 10 * alone
    assert urgent < 0.3 * together


def test_what_priority_gives_it_takes() -> None:
    assert ttft_s("priority", "reasoning") > 1.5 * ttft_s("fcfs", "reasoning")


def test_every_order_serves_the_same_requests() -> None:
    served = {
        name: classes(name)["measured_served"].to_dict()
        for name in ("fcfs", "priority", "shortest")
    }
    assert served["fcfs"] == served["priority"] == served["shortest"]


@pytest.mark.parametrize("klass", ["chat", "reasoning"])
def test_ageing_is_between_arrival_and_priority(klass: str) -> None:
    low, high = sorted([ttft_s("fcfs", klass), ttft_s("priority", klass)])
    assert low < ttft_s("ageing", klass) < high


def test_deadlines_keep_what_can_be_kept() -> None:
    assert ttft_s("deadline", "chat") < 0.3 * ttft_s("fcfs", "chat")
    assert ttft_s("deadline", "reasoning") < 30.0


def test_the_shortest_prompt_first_helps_the_median_and_starves_the_longest() -> None:
    assert ttft_s("shortest", "chat", "p50") < 0.5 * ttft_s("fcfs", "chat", "p50")
    assert ttft_s("shortest", "reasoning") > 3 * ttft_s("fcfs", "reasoning")


def test_ageing_needs_the_worth_of_a_step() -> None:
    assert Engine(scheduler="ageing", priority_step="5 s").priority_step == 5.0
    with pytest.raises(ValueError, match="needs a priority_step"):
        Engine(scheduler="ageing")
    with pytest.raises(ValueError, match="only for the scheduler ageing"):
        Engine(scheduler="priority", priority_step="5 s")


def test_deadlines_need_a_promise() -> None:
    none = [f"workload.classes.{name}.objectives=[]" for name in ("chat", "reasoning")]
    with pytest.raises(ScenarioError, match="no class of pool shared is promised a ttft"):
        load_checked(SCENARIO, CATALOG, scenario="deadline", sets=none)
    assert load_checked(SCENARIO, CATALOG, scenario="deadline", sets=none[:1])


# --- sharing by weight ---------------------------------------------------------------------------

BOTH_BACKLOGGED = (
    "pools.shared.engine.scheduler=weighted",
    "workload.classes.reasoning.open.rate=8 /s",
)


@pytest.mark.parametrize("weight", [1.0, 3.0])
def test_classes_that_always_wait_are_served_by_weight(weight: float) -> None:
    """VTC bounds how far service may drift apart; over half an hour that is a few per cent."""
    table = classes("overload", *BOTH_BACKLOGGED, f"workload.classes.chat.weight={weight}")
    served = table["input_tokens"] + OUTPUT_COST * table["output_tokens"]
    assert served["chat"] / served["reasoning"] == pytest.approx(weight, rel=0.1)


def test_a_weight_protects_without_starving() -> None:
    assert ttft_s("weighted", "chat") < 0.3 * ttft_s("fcfs", "chat")
    assert ttft_s("weighted", "reasoning") <= ttft_s("priority", "reasoning")


# --- admission control ---------------------------------------------------------------------------


def test_overload_without_admission_control_is_a_queue_of_minutes() -> None:
    assert ttft_s("overload", "chat") > 600.0
    assert classes("overload")["measured_good"].sum() == 0


@pytest.mark.parametrize("rule", ["shed-by-tokens", "shed-late"])
def test_admission_control_turns_overload_into_refusals(rule: str) -> None:
    assert ttft_s(rule, "chat") < 3.0
    fates = result(rule).to_pandas("fates").set_index("class")
    assert fates.loc["chat", "shed"] > 0.3 * fates.loc["chat", "arrived"]
    assert not fates[["refused", "timed_out", "unfinished"]].to_numpy().any()
    assert result(rule).to_pandas("pools")["stable"].all()


def test_what_would_be_late_is_shed_by_its_own_promise() -> None:
    """Reasoning is promised 30 s, and so all of it may wait; half the queue does not help chat."""
    fates = result("shed-late").to_pandas("fates").set_index("class")
    assert fates.loc["reasoning", "shed"] == 0
    late, tokens = classes("shed-late").loc["chat"], classes("shed-by-tokens").loc["chat"]
    assert late["goodput_rps"] > 2 * tokens["goodput_rps"]


def test_sheddable_classes_leave_the_memory_to_the_others() -> None:
    crowded, spared = result("memory"), result("shed-reasoning")
    assert crowded.to_pandas("pools")["preemptions"].sum() > 1000
    assert spared.to_pandas("pools")["preemptions"].sum() == 0
    assert ttft_s("shed-reasoning", "chat") < 0.01 * ttft_s("memory", "chat")
    fates = spared.to_pandas("fates").set_index("class")
    assert fates.loc["chat", "shed"] == 0
    assert fates.loc["reasoning", "shed"] > 0


# --- batch classes -------------------------------------------------------------------------------


def test_batch_fills_the_trough_and_leaves_chat_alone() -> None:
    alone, filled = classes("night").loc["chat"], classes("night-batch").loc["chat"]
    assert filled["ttft_p99_s"] == pytest.approx(alone["ttft_p99_s"], rel=0.05)
    assert filled["tpot_p99_s"] == pytest.approx(alone["tpot_p99_s"], rel=0.05)
    jobs = classes("night-batch").loc["jobs"]
    assert jobs["measured_served"] == 60_000
    assert jobs["objectives_met"]
    assert cost_per_mtok_usd("night-batch") < 0.7 * cost_per_mtok_usd("night")


def test_the_same_jobs_in_one_queue_ruin_chat() -> None:
    assert ttft_s("night-mixed", "chat") > 1000 * ttft_s("night-batch", "chat")


def test_waiting_jobs_are_no_queue_of_the_pool() -> None:
    (pool,) = result("night-batch").to_pandas("pools").to_dict("records")
    assert pool["waiting"] < 1.0
    assert pool["batch_waiting"] > 1000.0
    assert pool["stable"]


# --- settings ------------------------------------------------------------------------------------


NO_PROMISES = [f"workload.classes.{name}.objectives=[]" for name in ("chat", "reasoning")]


@pytest.mark.parametrize(
    ("scenario", "sets", "message"),
    [
        ("shed-late", NO_PROMISES, "nothing is ever late"),
        ("shed-reasoning", ["workload.classes.reasoning.sheddable=false"], "nothing is shed"),
        ("fcfs", ["workload.classes.chat.service=batch"], "waits for room"),
        ("night-batch", ["workload.classes.jobs.sheddable=true"], "instead of being shed"),
        ("fcfs", ["pools.shared.admission={}"], "needs a rule"),
    ],
)
def test_settings_that_contradict_each_other(scenario: str, sets: list[str], message: str) -> None:
    with pytest.raises(ScenarioError, match=message):
        load_checked(SCENARIO, CATALOG, scenario=scenario, sets=sets)


@pytest.mark.parametrize(
    ("sets", "message"),
    [
        (["workload.classes.chat.weight=3"], "counts only in pools with the scheduler weighted"),
        (["pools.shared.engine.batch_below=50%"], "no class is batch"),
    ],
)
def test_settings_that_change_nothing_are_named(sets: list[str], message: str) -> None:
    loaded = load_checked(SCENARIO, CATALOG, sets=sets)
    assert any(message in notice for notice in notices(loaded.scenario, CATALOG))
