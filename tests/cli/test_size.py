"""`planner size` as a user calls it: the search as it goes, the answer, and what cannot be."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from planner.cli import app
from tests.small import SMALL

pytestmark = pytest.mark.compiled  # whole runs, far too long in pure Python

SHORT = ("--set", "workload.duration=60 s", "--set", "workload.classes.chat.open.rate=60 /s")


@pytest.fixture
def call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    """Return `call(*arguments)`: `planner size small.yaml …` in this process."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "small.yaml").write_text(SMALL, encoding="utf-8")

    def size(*arguments: str) -> Result:
        return CliRunner().invoke(app, ["size", "small.yaml", *SHORT, *arguments])

    return size


def test_prints_the_search_as_it_goes(call: Callable[..., Result]) -> None:
    done = call()
    assert done.exit_code == 0
    # The first command of a version compiles, and says so.
    lines = [line for line in done.stderr.splitlines() if not line.startswith("compiling")]
    assert lines[0] == "sizing small"
    pattern = r" +(\d+)  chat (\d+), reasoning (\d+)( \((chat|reasoning) with\w* .+\))?: (.+)"
    trials = [re.fullmatch(pattern, line) for line in lines[1:]]
    assert all(trials), done.stderr
    assert [int(trial[1]) for trial in trials if trial] == list(range(1, len(trials) + 1))
    said = {trial[6] for trial in trials if trial}
    assert "keeps every promise" in said
    assert any(re.match(r"chat has p\d+ \w+ [\d.]+ m?s \(promised .+\)", text) for text in said)


def test_prints_the_answer(call: Callable[..., Result]) -> None:
    text = " ".join(call().stdout.split())
    assert text.startswith("Smallest fleet pool nodes accelerators bottleneck one step fewer chat ")
    assert re.search(
        r"chat (\d+) (\d+) (compute|memory bandwidth|KV capacity|queueing) with (\d+) nodes: ", text
    )
    assert "reasoning 1 8 none the smallest possible pool" in text
    assert re.search(r"\d+ accelerators in \d+ nodes; [\d.]+ USD/h; [\d.]+ USD per Mtok", text)
    assert re.search(r"gross margin -?[\d.]+% \(all_users_in_cogs\)", text)


def test_json_holds_the_answer_and_the_search(call: Callable[..., Result]) -> None:
    done = call("--json")
    content = json.loads(done.stdout, parse_constant=pytest.fail)
    keys = (
        "nodes",
        "accelerators",
        "bottlenecks",
        "limits",
        "ratios",
        "headline",
        "power",
        "trials",
    )
    assert set(content) == set(keys)
    assert content["accelerators"] == {name: 8 * n for name, n in content["nodes"].items()}
    assert content["headline"]["nodes_at_peak"] == sum(content["nodes"].values())
    assert len(content["trials"]) == len(done.stderr.splitlines()) - 1
    for trial in content["trials"]:
        assert trial["passed"] is not bool(trial["failures"])


def test_too_much_power_is_named_with_its_nodes(call: Callable[..., Result]) -> None:
    """Nodes of 10.2 kW at PUE 1.12: one of each pool needs 22.8 kW."""
    limit = ("--set", "pools.chat.nodes=1")
    needed_w = json.loads(call("--json", *limit).stdout)["power"]["needed_w"]
    nodes = needed_w / (10_200 * 1.12)
    assert nodes == pytest.approx(round(nodes))
    enough = call(*limit, "--set", "site.power=1 MW").stdout
    assert f"{needed_w / 1e3:.3g} kW at the meter, of the site's 1 MW" in enough
    short = call(*limit, "--set", f"site.power={needed_w / 1e3 - 5} kW")
    if short.exit_code == 0:  # the fleet it starts from fits, the one that is needed does not
        assert "too much power: the fleet needs" in " ".join(short.stdout.split())
        assert "1 of the" in " ".join(short.stdout.split())
    else:
        assert "site.power" in short.output


def test_writes_the_run_of_the_answer(call: Callable[..., Result], tmp_path: Path) -> None:
    done = call("--json", "-o", "out")
    content = json.loads(done.stdout)
    result = json.loads((tmp_path / "out" / "result.json").read_text(encoding="utf-8"))
    assert result["headline"] == content["headline"]
    assert {row["pool"]: row["nodes_at_peak"] for row in result["pools"]} == content["nodes"]
    assert (tmp_path / "out" / "report.html").exists()


def test_foreign_folder_is_refused_before_the_search(
    call: Callable[..., Result], tmp_path: Path
) -> None:
    (tmp_path / "foreign").mkdir()
    (tmp_path / "foreign" / "notes.txt").touch()
    done = call("-o", "foreign")
    assert done.exit_code == 2
    assert "not a result of planner (notes.txt)" in done.stderr
    assert "keeps every promise" not in done.stderr


def test_impossible_promise_is_a_message(call: Callable[..., Result]) -> None:
    promise = "workload.classes.chat.objectives=[{metric: ttft, percentile: 99, limit: 1 ms}]"
    done = call("--set", promise)
    assert done.exit_code == 2
    assert done.stdout == ""
    assert "error: not even " in done.stderr
    assert "(promised 1 ms)" in done.stderr
    assert "Traceback" not in done.stderr


def test_limit_of_nodes(call: Callable[..., Result]) -> None:
    done = call("--max-nodes", "1")
    assert done.exit_code == 2
    assert "--max-nodes allows no more" in done.stderr


def test_faults_of_the_scenario(call: Callable[..., Result]) -> None:
    done = call("--set", "pools.chat.nodess=3")
    assert done.exit_code == 2
    assert "did you mean nodes?" in done.stderr
    assert "sizing" not in done.stderr
