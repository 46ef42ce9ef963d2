"""A fleet that cannot keep up is called out: every request has a fate, and no average hides it."""

from __future__ import annotations

import io
from pathlib import Path

import pandas as pd
import pytest
from rich.console import Console

import planner
from planner.report.html import render_html
from planner.report.terminal import print_result
from planner.report.wording import cost_per_request
from planner.results.columns import FATES
from planner.results.result import Result
from tests.small import ONE_CLIENT, load

pytestmark = pytest.mark.compiled  # whole runs, far too long in pure Python

FLOOD = "workload.classes.chat.open={rate: 90 /s}"
"""About three times what the two nodes serve."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("overload")


@pytest.fixture(scope="module")
def flooded(folder: Path) -> Result:
    """Return the run of a pool that is far too small and may not finish afterwards."""
    return planner.run(load(folder, FLOOD, "workload.drain=10 s"), invariants=True)


def fates_of(result: Result, name: str = "chat") -> pd.Series[int]:
    return result.to_pandas("fates").set_index("class").loc[name]


def printed(result: Result) -> str:
    console = Console(file=io.StringIO(), width=100)
    print_result(result, console)
    assert isinstance(console.file, io.StringIO)
    return " ".join(console.file.getvalue().replace("│", " ").split())


def assert_one_fate_each(result: Result) -> None:
    fates = result.to_pandas("fates")
    assert (fates[list(FATES)].sum(axis=1) == fates["arrived"]).all()
    assert (fates[list(FATES)] >= 0).all().all()


# --- Growing queues ------------------------------------------------------------------------------


def test_every_request_has_one_fate(flooded: Result) -> None:
    assert_one_fate_each(flooded)
    assert fates_of(flooded)["unfinished"] > 1000
    assert fates_of(flooded, "reasoning")["unfinished"] == 0


def test_the_growing_pool_is_named_and_only_that(flooded: Result) -> None:
    pools = flooded.to_pandas("pools").set_index("pool")
    assert pools["stable"].to_dict() == {"chat": False, "reasoning": True}
    assert pools.loc["chat", "queue_growth_rps"] > 10
    assert flooded.headline["stable"] is False
    assert [s for s in flooded.stability if s.startswith("pool chat: the queue grows by ")]
    assert not [s for s in flooded.stability if "pool reasoning" in s]


def test_terminal_calls_it_out(flooded: Result) -> None:
    text = printed(flooded)
    assert "cannot keep up" in text
    assert "pool chat: the queue grows by" in text
    assert "✗ queue grows" in text
    assert "unfinished" in text


def test_html_calls_it_out(flooded: Result) -> None:
    assert "pool chat: the queue grows by" in render_html(flooded)


def test_percentiles_say_over_which_fates_they_run(flooded: Result) -> None:
    assert "served requests that arrived after the warm-up" in flooded.to_json()
    assert "served requests after the warm-up" in printed(flooded)
    chat = flooded.to_pandas("objectives").query("`class` == 'chat'").set_index("metric")
    assert chat.loc["ttft", "over"] == "served requests"
    assert chat.loc["ttft", "samples"] == fates_of(flooded)["served"]
    assert chat.loc["loss", "samples"] == fates_of(flooded)["arrived"]


def test_cost_per_request_is_of_the_period_that_is_billed(flooded: Result) -> None:
    """What is served after it, while the fleet drains, is not."""
    finance = flooded.finance
    assert finance is not None
    costs = finance.class_costs
    assert costs["requests"].sum() < flooded.frames.fates["served"].sum()
    found = cost_per_request(finance)
    assert costs["cost_per_request_usd"].min() < found < costs["cost_per_request_usd"].max()
    assert found * costs["requests"].sum() == pytest.approx(finance.cost_usd)


def test_loss_breaks_its_own_promise(flooded: Result) -> None:
    objectives = flooded.to_pandas("objectives").set_index(["class", "metric"])
    assert not objectives.loc[("chat", "loss"), "met"]
    assert objectives.loc[("reasoning", "loss"), "met"]
    assert any(s.startswith("class chat: ") and "unfinished" in s for s in flooded.stability)


def test_attainment_counts_what_was_lost(flooded: Result) -> None:
    row = flooded.to_pandas().set_index("class").loc["chat"]
    assert row["slo_attainment_rate"] == pytest.approx(row["measured_good"] / row["arrived"])
    assert row["slo_attainment_rate"] < row["measured_served"] / row["arrived"] < 1


def test_enough_nodes_are_calm(folder: Path) -> None:
    result = planner.run(load(folder, FLOOD, "pools.chat.nodes=16"), invariants=True)
    assert result.stability == ()
    assert result.headline["stable"] is True
    assert fates_of(result)["served"] == fates_of(result)["arrived"]
    assert "cannot keep up" not in printed(result)


# --- Ways to lose a request ----------------------------------------------------------------------


def test_queue_limit_refuses(folder: Path) -> None:
    result = planner.run(load(folder, FLOOD, "pools.chat.engine.queue_limit=20"), invariants=True)
    assert_one_fate_each(result)
    fates = fates_of(result)
    assert fates["refused"] > 1000
    assert fates["unfinished"] == fates["timed_out"] == 0
    pools = result.to_pandas("pools").set_index("pool")
    assert pools.loc["chat", "waiting_max"] <= 2 * 20
    assert pools.loc["chat", "stable"]  # it sheds what it cannot serve, and says so:
    assert any("class chat" in sentence and "refused" in sentence for sentence in result.stability)
    assert "refused" in printed(result)


def test_time_outs(folder: Path) -> None:
    path = folder / "requests.parquet"
    loaded = load(folder, FLOOD, "workload.classes.chat.timeout=3 s")
    result = planner.run(loaded, requests_to=path, invariants=True)
    assert_one_fate_each(result)
    assert fates_of(result)["timed_out"] > 1000
    requests = pd.read_parquet(path)
    served = requests[(requests["class"] == "chat") & (requests["fate"] == "served")]
    assert (served["started_s"] - served["arrival_s"]).max() <= 3.0
    dropped = requests[requests["fate"] == "timed_out"]
    waited = dropped["finish_s"] - dropped["arrival_s"]
    assert waited.to_numpy() == pytest.approx(3.0)
    assert any("timed out" in sentence for sentence in result.stability)


def test_rate_limits_are_the_visitors_own(folder: Path) -> None:
    limit = ["workload.classes.chat.visitors=20", "workload.classes.chat.rate_limit={rate: 6 /min}"]
    result = planner.run(load(folder, *limit), invariants=True)
    assert_one_fate_each(result)
    row = result.to_pandas().set_index("class").loc["chat"]
    # Each of 20 visitors asks every 1.7 s. Full again after 10 s, its bucket waits for the next.
    assert row["measured_served"] == pytest.approx(20 * 180 / (10 + 20 / 12), rel=0.06)
    assert row["measured_rate_limited"] == row["arrived"] - row["measured_served"]
    assert row["measured_lost"] == 0
    assert row["objectives_met"]


def test_too_long_for_the_pool(folder: Path) -> None:
    result = planner.run(load(folder, "pools.chat.engine.context_tokens=800"), invariants=True)
    assert_one_fate_each(result)
    fates = fates_of(result)
    assert 0 < fates["too_long"] < fates["arrived"]
    assert any("too long" in sentence for sentence in result.stability)


def test_no_node_refuses_all(folder: Path) -> None:
    result = planner.run(load(folder, "pools.chat.nodes=0"), invariants=True)
    assert_one_fate_each(result)
    fates = fates_of(result)
    assert fates["refused"] == fates["arrived"] > 0
    assert fates_of(result, "reasoning")["served"] > 0
    assert not result.headline["objectives_met"]


def test_overflow_takes_what_the_first_pool_cannot(folder: Path) -> None:
    overflow = "workload.classes.chat.overflow=[reasoning]"
    flood = "workload.classes.chat.open={rate: 60 /s}"
    alone = planner.run(load(folder, flood), invariants=True)
    helped = planner.run(load(folder, flood, overflow, "pools.reasoning.nodes=2"), invariants=True)
    assert_one_fate_each(helped)
    pools = helped.to_pandas("pools").set_index("pool")
    assert pools.loc["reasoning", "overflowed"] > 0
    assert helped.to_pandas()["ttft_p99_s"][0] < alone.to_pandas()["ttft_p99_s"][0]


# --- Closed loop ---------------------------------------------------------------------------------


@pytest.mark.parametrize("clients", [8, 2000])
def test_closed_loop_never_overloads(folder: Path, clients: int) -> None:
    loaded = load(folder, f"workload.classes.client.closed.clients={clients}", text=ONE_CLIENT)
    result = planner.run(loaded, invariants=True)
    fates = fates_of(result, "client")
    assert fates["served"] == fates["arrived"] >= clients
    pools = result.to_pandas("pools")
    assert pools["stable"].all()
    assert (pools["running"] + pools["waiting"]).item() <= clients * (1 + 1e-9)
    assert not [s for s in result.stability if "grows" in s]
