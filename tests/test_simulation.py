"""A whole run as the library does it: what goes in, what comes out, and what depends on what."""

from __future__ import annotations

import json
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import planner
from planner.calibration.store import calibration_text
from planner.catalog import load_catalog
from planner.control import Fleet
from planner.curves.engines import EngineOverhead
from planner.errors import ScenarioError
from planner.lowering.pools import basis_of, lower_pool
from planner.results.result import Result
from tests.conftest import ROOT
from tests.small import ONE_CLIENT, SMALL, load

pytestmark = pytest.mark.compiled  # whole runs, far too long in pure Python

QUICKSTART = ROOT / "scenarios" / "quickstart.yaml"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("simulation")


@pytest.fixture(scope="module")
def small(folder: Path) -> tuple[Result, pd.DataFrame]:
    """Return the result and the requests of the small scenario."""
    return run_requests(folder, "small")


def run_requests(
    folder: Path, name: str, *sets: str, text: str = SMALL
) -> tuple[Result, pd.DataFrame]:
    path = folder / f"{name}.parquet"
    result = planner.run(load(folder, *sets, text=text), requests_to=path, invariants=True)
    return result, pd.read_parquet(path)


# --- What comes out ------------------------------------------------------------------------------


def test_every_request_is_written_with_one_fate(small: tuple[Result, pd.DataFrame]) -> None:
    result, requests = small
    fates = result.to_pandas("fates").set_index("class")
    assert len(requests) == fates["arrived"].sum() > 2000
    found = requests.groupby(["class", "fate"], observed=True).size()
    for name, row in fates.iterrows():
        assert found[name].to_dict() == {f: n for f, n in row.items() if n and f != "arrived"}


@pytest.fixture(scope="module")
def drafting(folder: Path) -> tuple[Result, pd.DataFrame]:
    """Return the same where one pool drafts, so that several tokens pass while one is sent."""
    speculation = "{method: eagle3, draft_tokens: 3, acceptance: [0.8, 0.7, 0.6]}"
    return run_requests(folder, "drafting", f"pools.chat.speculation={speculation}")


@pytest.mark.parametrize("run", ["small", "drafting"])
def test_requests_agree_with_the_tables(run: str, request: pytest.FixtureRequest) -> None:
    result, requests = request.getfixturevalue(run)
    requests = requests.copy()
    requests["ttft"] = requests["first_token_s"] - requests["arrival_s"]
    requests["e2e"] = requests["finish_s"] - requests["arrival_s"]
    spread = requests["finish_s"] - requests["first_token_s"]
    requests["tpot"] = spread / (requests["output_tokens"] - 1)
    for row in result.to_pandas("classes").to_dict("records"):
        mine = requests[requests["class"] == row["class"]]
        assert row["input_tokens"] == mine["input_tokens"].sum()
        assert row["output_tokens"] == mine["output_tokens"].sum()
        for metric in ("ttft", "tpot", "e2e"):
            for column, share in (("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("p99_9", 0.999)):
                exact = np.quantile(mine[metric], share, method="inverted_cdf")
                assert row[f"{metric}_{column}_s"] == pytest.approx(exact, rel=0.0051)


def test_objectives_are_judged_over_the_requests(small: tuple[Result, pd.DataFrame]) -> None:
    result, requests = small
    mine = requests[requests["class"] == "chat"]
    ttft = mine["first_token_s"] - mine["arrival_s"]
    tpot = (mine["finish_s"] - mine["first_token_s"]) / (mine["output_tokens"] - 1)
    good = int(((ttft <= 1.0) & (tpot <= 0.050)).sum())
    assert result.to_pandas("classes").set_index("class").loc["chat", "measured_good"] == good


def test_result_is_complete(small: tuple[Result, pd.DataFrame], tmp_path: Path) -> None:
    result, _ = small
    content = json.loads(result.to_json())
    assert content["headline"]["accelerators_at_peak"] == 24
    assert content["headline"]["objectives_met"] is True
    assert content["seed"] == 3
    assert {assumption["tier"] for assumption in content["assumptions"]} >= {"official"}
    assert {pool["tier"] for pool in content["pools"]} <= {"measured", "fitted"}
    assert not any("data sheets" in note for note in content["notes"])
    result.write(tmp_path / "out")
    assert Result.read(tmp_path / "out").to_json() == result.to_json()
    assert "<table" in result._repr_html_()


def test_estimated_step_times_are_named(folder: Path) -> None:
    """Of two pools, one is on a chip that nobody measured."""
    result = planner.run(load(folder, "workload.duration=20 s", "pools.chat.node=mi300x-8"))
    tiers = result.to_pandas("pools").set_index("pool")["tier"]
    assert tiers["chat"] == "estimated"
    assert tiers["reasoning"] in ("measured", "fitted")
    (note,) = [note for note in result.notes if "data sheets" in note]
    assert note.startswith("Step times of chat are estimated ")


def test_bill_is_the_nodes_times_their_price(small: tuple[Result, pd.DataFrame]) -> None:
    result, _ = small
    finance = result.finance
    assert finance is not None
    ledger = finance.ledger
    costs = ledger[ledger["kind"].isin(["workload", "idle", "overhead"])]
    assert costs["amount_microusd"].sum() == round(finance.cost_usd * 1e6)
    prices = finance.pool_costs.set_index("pool")["per_device_hour_usd"]
    machines = 16 * prices["chat"] + 8 * prices["reasoning"]
    assert finance.cost_per_hour_usd == pytest.approx(machines * 1.10, rel=1e-6)


OWN_OVERHEAD = EngineOverhead("vllm", step_s=2e-3, request_s=0.0125, late_steps=3.0)


def test_one_client_sees_step_times_and_what_the_engine_adds(folder: Path) -> None:
    """TTFT = the prefill + request_s + late_steps gaps of its own; E2E = the steps + request_s."""
    (folder / "own.json").write_text(calibration_text([OWN_OVERHEAD]), encoding="utf-8")
    text = ONE_CLIENT + "calibration: {overheads: [own.json]}\n"
    _, requests = run_requests(folder, "one-client", text=text)
    loaded = load(folder, text=text)
    plan = lower_pool(loaded.scenario.pools[0], load_catalog(), basis_of(loaded)).plan
    assert plan.fixed_s == 2e-3
    first_s = plan.fixed_s + plan.linear_s[512] + plan.prefill_s * 512 * 512 / 2
    contexts = np.arange(513, 513 + 127)
    rest_s = plan.fixed_s + plan.linear_s[1] + plan.decode_seq_s + plan.decode_s * contexts
    late_s = 3.0 * rest_s.mean()
    ttft = requests["first_token_s"] - requests["arrival_s"]
    e2e = requests["finish_s"] - requests["arrival_s"]
    assert ttft.to_numpy() == pytest.approx(first_s + late_s + 0.0125, rel=1e-9)
    assert e2e.to_numpy() == pytest.approx(first_s + rest_s.sum() + 0.0125, rel=1e-9)
    gaps = requests["arrival_s"].to_numpy()[1:] - requests["finish_s"].to_numpy()[:-1]
    assert gaps == pytest.approx(0.0, abs=1e-9)


def test_quickstart_needs_what_it_says(tmp_path: Path) -> None:
    scenario = planner.load_scenario(QUICKSTART, sets=["workload.duration=3 min"])
    result = planner.run(scenario, invariants=True)
    assert list(result.to_pandas()["class"]) == [
        "anonymous-chat",
        "logged-in-chat",
        "logged-in-reasoning",
    ]
    pools = result.to_pandas("pools").set_index("pool")
    assert pools["accelerators_at_peak"].to_dict() == {"chat": 80, "reasoning": 32}
    assert any("Follow-up requests" in note for note in result.notes)


TALK = "workload.classes.chat.sessions={turns: {fixed: 2}, think_median: 5 s}"
SLOW = "{name: tape, capacity: 1 TB, bandwidth: 1 MB/s}"


def test_what_is_not_cached_or_never_fetched_is_said(folder: Path) -> None:
    short = ["workload.duration=10 s", "workload.classes.chat.open.rate=1 /s", TALK]
    (note,) = [n for n in planner.run(load(folder, *short)).notes if "Prefix caching" in n]
    assert note.startswith("Prefix caching is off in chat: every turn of a session")
    cached = ["pools.chat.prefix_cache=true", f"pools.chat.kv_tiers=[{SLOW}]"]
    notes = planner.run(load(folder, *short, *cached)).notes
    assert not any("Prefix caching" in note for note in notes)
    (note,) = [note for note in notes if "tape" in note]
    assert note.startswith("Nothing is ever fetched from the KV tier tape of chat")


def test_only_known_tables(small: tuple[Result, pd.DataFrame]) -> None:
    with pytest.raises(KeyError, match="there are classes, total, fates"):
        small[0].to_pandas("clases")


# --- What goes in --------------------------------------------------------------------------------


def test_file_and_loaded_scenario_are_the_same(folder: Path) -> None:
    loaded = load(folder, "workload.duration=30 s")
    by_path = planner.run(folder / "small.yaml", sets=["workload.duration=30 s"])
    assert planner.run(loaded).to_json() == by_path.to_json()


def test_progress_reaches_the_end(folder: Path) -> None:
    seen: list[tuple[float, float]] = []
    planner.run(
        load(folder, "workload.duration=60 s"), progress=lambda now, end: seen.append((now, end))
    )
    times = [now for now, _ in seen]
    assert times == sorted(times)
    assert times[-1] >= 60.0
    assert {end for _, end in seen} == {60.0}


def test_faults_come_before_the_run(folder: Path) -> None:
    load(folder)
    with pytest.raises(ScenarioError, match=r"unknown model .llama-3\.1-70c.; did you mean"):
        planner.run(folder / "small.yaml", sets=["pools.chat.model=llama-3.1-70c"])


def test_own_process_watches_and_changes_the_fleet(folder: Path) -> None:
    seen: list[tuple[float, int, int]] = []

    def lose_one(env: Any, fleet: Fleet) -> Generator[Any]:
        pool = fleet["chat"]
        yield env.timeout(60)
        seen.append((env.now, pool.nodes, pool.replicas_active))
        pool.lose_node()
        yield env.timeout(60)
        seen.append((env.now, pool.nodes, pool.replicas_active))
        pool.add_nodes(2)
        yield env.timeout(40)
        seen.append((env.now, pool.nodes, pool.replicas_active))

    result = planner.run(
        load(folder, "pools.chat.cold_start=30 s"), processes=[lose_one], invariants=True
    )
    assert seen == [(60.0, 2, 2), (120.0, 1, 1), (160.0, 3, 3)]
    fates = result.to_pandas("fates").set_index("class")
    assert fates.loc["chat", "failed"] > 0
    assert fates.loc["reasoning", "failed"] == 0
    assert result.to_pandas("pools").set_index("pool").loc["chat", "nodes_at_peak"] == 3


def test_schedule_drains_and_adds(folder: Path) -> None:
    schedule = "[{at: '19:01', nodes: 1}, {at: '19:02', nodes: 3}]"
    result = planner.run(
        load(folder, f"pools.chat.schedule={schedule}", "pools.chat.cold_start=20 s"),
        invariants=True,
    )
    windows = result.to_pandas("pool_windows")
    replicas = windows[windows["pool"] == "chat"].set_index("window_start_s")["replicas"]
    assert replicas.loc[50] == 2
    assert replicas.loc[80] == 1
    assert 1 < replicas.loc[60:80].max() <= 2
    assert replicas.loc[130] == 1
    assert replicas.loc[150] == 3
    fates = result.to_pandas("fates").set_index("class").loc["chat"]
    assert fates["served"] == fates["arrived"]


# --- Common random numbers -----------------------------------------------------------------------


def arrivals(requests: pd.DataFrame, name: str, *columns: str) -> pd.DataFrame:
    mine = requests[requests["class"] == name].sort_values("arrival_s")
    return mine[["arrival_s", *columns]].reset_index(drop=True)


@pytest.fixture(scope="module", params=["lengths", "rate", "source", "fleet"])
def changed(request: pytest.FixtureRequest, folder: Path) -> Iterator[tuple[str, pd.DataFrame]]:
    """Return the requests of a run in which something of `reasoning` or of the fleet differs."""
    sets = {
        "lengths": ["workload.classes.reasoning.output={uniform: [10, 20]}"],
        "rate": ["workload.classes.reasoning.open={rate: 3 /s, burstiness: {kind: gamma, cv: 2}}"],
        "source": ["workload.classes.reasoning.closed={clients: 3}"],
        "fleet": ["pools.chat.nodes=3", "pools.chat.router=round_robin"],
    }[request.param]
    return request.param, run_requests(folder, f"changed-{request.param}", *sets)[1]


def test_what_one_class_does_leaves_the_others_alone(
    small: tuple[Result, pd.DataFrame], changed: tuple[str, pd.DataFrame]
) -> None:
    _, after = changed
    columns = ("input_tokens", "output_tokens", "reasoning_tokens")
    before = arrivals(small[1], "chat", *columns)
    pd.testing.assert_frame_equal(before, arrivals(after, "chat", *columns))


def test_other_lengths_arrive_at_the_same_times(
    small: tuple[Result, pd.DataFrame], folder: Path
) -> None:
    sets = ["workload.classes.chat.output={fixed: 50}"]
    _, after = run_requests(folder, "other-lengths", *sets)
    columns = ["input_tokens"]
    before = arrivals(small[1], "chat", *columns)
    pd.testing.assert_frame_equal(before, arrivals(after, "chat", *columns))


def test_another_seed_is_another_run(small: tuple[Result, pd.DataFrame], folder: Path) -> None:
    result, requests = run_requests(folder, "another-seed", "seed=4")
    assert result.to_json() != small[0].to_json()
    before = arrivals(small[1], "chat")["arrival_s"].to_numpy()
    after = arrivals(requests, "chat")["arrival_s"].to_numpy()
    assert len(np.intersect1d(before, after)) == 0


def test_changed_scenario_has_another_hash(
    small: tuple[Result, pd.DataFrame], folder: Path
) -> None:
    same = planner.run(load(folder, "pools.chat.nodes=2"))
    other = planner.run(load(folder, "pools.chat.nodes=3"))
    assert same.scenario_sha256 == small[0].scenario_sha256 != other.scenario_sha256


def test_one_process_and_one_change_need_no_list(folder: Path) -> None:
    def watch(env: Any, fleet: Fleet) -> Generator[Any]:
        yield env.timeout(1.0)
        seen.extend(pool.nodes for pool in fleet)

    seen: list[int] = []
    path = folder / "one.yaml"
    path.write_text(SMALL, encoding="utf-8")
    result = planner.run(path, sets="seed=3", processes=watch)
    assert result.seed == 3
    assert seen == [pool.nodes for pool in planner.load_scenario(path).scenario.pools]
