"""`planner ablate` as a user calls it: tables, JSON, files, and what cannot be compared."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from planner.cli import app
from tests.small import SMALL

pytestmark = pytest.mark.compiled  # whole runs, far too long in pure Python

SHORT = (
    *("--set", "workload.duration=60 s", "--set", "workload.classes.chat.open.rate=70 /s"),
    *("--set", "workload.classes.chat.objectives=[{metric: tpot, percentile: 95, limit: 30 ms}]"),
    *("--set", "pools.chat.engine.scheduler=priority", "--jobs", "1"),
)


@pytest.fixture
def call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    """Return `call(*arguments)`: `planner ablate small.yaml …` in this process."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "small.yaml").write_text(SMALL, encoding="utf-8")

    def ablate(*arguments: str) -> Result:
        return CliRunner().invoke(app, ["ablate", "small.yaml", *SHORT, *arguments])

    return ablate


def test_prints_a_headline_and_a_table_per_quantity(call: Callable[..., Result]) -> None:
    done = call()
    assert done.exit_code == 0, done.stderr
    lines = done.stdout.splitlines()
    assert max(map(len, lines)) <= 100
    assert not any(line.endswith(" ") for line in lines)
    assert lines[1] == "small  what each serving technique is worth"
    assert re.match(
        r"All 60 s of arrivals · 4 subsets, \d+ simulated fleets · seed 3 · planner ", lines[2]
    )
    assert re.match(r"With all 2 techniques on, \d+ accelerators keep every promise; ", lines[4])
    assert re.match(r"Their shares: weight quantization −\d+, queue order noth", lines[5])
    start = lines.index(
        "Accelerators needed  smallest fleet that keeps every promise; fewer is better"
    )
    head, none, weights, priority, every = (re.split(r" {2,}", x) for x in lines[start + 1 :][:5])
    assert head == ["technique", "on its own", "if removed", "its share"]
    assert weights[0] == "weight quantization"
    assert weights[1] == weights[3] == weights[2].replace("+", "−")
    assert priority == ["queue order", "0", "0", "0"]
    assert int(every[1]) - int(none[1]) == int(weights[3].replace("−", "-"))
    assert "Time to first token, p99, by class" in done.stdout
    assert re.search(r"\d+ fleets simulated in [\d.]+ s", done.stderr)


def test_the_scenarios_own_fleet_only(call: Callable[..., Result]) -> None:
    done = call("--no-size", "--technique", "weight_quantization")
    assert done.exit_code == 0
    assert "Accelerators needed" not in done.stdout
    assert "queue order" not in done.stdout
    assert done.stdout.splitlines()[4].startswith(
        "With weight quantization on, the time to first token, p99 is "
    )


def test_json_is_the_same_each_time(call: Callable[..., Result]) -> None:
    done = call("--json")
    assert done.exit_code == 0
    content = json.loads(done.stdout, parse_constant=pytest.fail)
    assert [each["name"] for each in content["techniques"]] == [
        "weight quantization",
        "queue order",
    ]
    (needed,) = (each for each in content["quantities"] if each["name"] == "accelerators")
    assert (needed["unit"], needed["fleet"], needed["class"]) == ("accelerators", "smallest", None)
    shares = [effect["share"] for effect in needed["effects"]]
    assert sum(shares) == needed["all"] - needed["none"] < 0
    assert [len(each["on"]) for each in content["subsets"]] == [2, 1, 1, 0]
    assert call("--json").stdout == done.stdout


def test_writes_every_subset_and_a_report(call: Callable[..., Result], tmp_path: Path) -> None:
    files = ("--csv", "subsets.csv", "--html", "ablation.html")
    done = call("--no-size", *files)
    assert done.exit_code == 0
    rows = list(csv.DictReader(io.StringIO((tmp_path / "subsets.csv").read_text("utf-8"))))
    switched = [(row["weight quantization"], row["queue order"]) for row in rows]
    assert switched == [("1", "1"), ("1", "0"), ("0", "1"), ("0", "0")]
    assert all(float(row["ttft_p99_s[chat]"]) > 0 for row in rows)
    html = (tmp_path / "ablation.html").read_text("utf-8")
    assert "small: what each technique is worth" in html
    again = call("--no-size", *files)
    assert again.exit_code == 2
    assert "--force" in again.stderr
    assert call("--no-size", *files, "--force").exit_code == 0
    assert (tmp_path / "ablation.html").read_text("utf-8") == html


def test_no_technique_lists_what_could_be_on(call: Callable[..., Result], tmp_path: Path) -> None:
    plain = [
        *("--set", "pools.chat.weight_dtype=bf16", "--set", "pools.reasoning.weight_dtype=bf16"),
        *("--set", "pools.chat.engine.scheduler=fcfs"),
    ]
    done = call(*plain, "--report", "ablation.html")  # the other spelling of --html
    assert done.exit_code == 0
    assert done.stdout.startswith("small uses no technique that could be switched off.")
    assert re.search(r"KV quantization +pools\[\]\.kv_dtype: fp8", done.stdout)
    assert "no file is written" in done.stderr
    assert not (tmp_path / "ablation.html").exists()
    assert json.loads(call(*plain, "--json").stdout)["techniques"] == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--technique", "wieght-quantization"], "did you mean weight quantization?"),
        (["--technique", "guest rate limits"], "guest rate limits is off in this scenario"),
        (["--duration", "10"], "'10' has no unit"),
        (["--duration", "5 s"], "less than a minute"),
        (["--set", "pools.chat.nodess=3"], "did you mean nodes?"),
        (["--html", "small.yaml"], "small.yaml"),
    ],
)
def test_bad_input(call: Callable[..., Result], arguments: list[str], message: str) -> None:
    done = call(*arguments)
    assert done.exit_code == 2
    assert message in " ".join(done.stderr.replace("│", " ").split())
    assert done.stdout == ""
