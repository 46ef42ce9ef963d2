"""The order of the queue: what each scheduler gives to whom, and what is refused."""

from __future__ import annotations

import functools
from pathlib import Path

import pandas as pd
import pytest

import planner
from planner.catalog import load_catalog
from planner.errors import ScenarioError
from planner.scenario import load_checked
from planner.scenario.schema.pools import Engine

SCENARIO = Path(__file__).resolve().parents[2] / "scenarios" / "techniques" / "scheduling.yaml"
CATALOG = load_catalog()


@functools.cache
def classes(scenario: str) -> pd.DataFrame:
    result = planner.run(planner.load_scenario(SCENARIO, named=scenario))
    return result.to_pandas("classes").set_index("class")


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
