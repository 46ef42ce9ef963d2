"""`planner risk` as a user calls it: tables, JSON, files, and what cannot be drawn."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from planner.cli import app
from tests.small import SMALL

pytestmark = pytest.mark.compiled  # whole runs, far too long in pure Python

INPUTS = (
    "uncertainty={samples: 8, confidence: 50%, sensitivity: false, inputs: ["
    "{name: traffic, source: demand, factor: {uniform: [0.8, 1.2]}, basis: a guess}]}"
)
SHORT = ("--set", "workload.duration=60 s", "--set", INPUTS, "--jobs", "1", "--no-size")


@pytest.fixture
def call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    """Return `call(*arguments)`: `planner risk small.yaml …` in this process."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "small.yaml").write_text(SMALL, encoding="utf-8")

    def risk(*arguments: str) -> Result:
        return CliRunner().invoke(app, ["risk", "small.yaml", *arguments])

    return risk


def test_prints_tables_and_writes_files(call: Callable[..., Result], tmp_path: Path) -> None:
    outputs = ("--html", "risk.html", "--csv", "draws.csv", "--resume", "draws.jsonl")
    done = call(*SHORT, *outputs)
    assert done.exit_code == 0, done.stderr
    lines = done.stdout.splitlines()
    assert max(map(len, lines)) <= 100
    assert lines[1] == "small  how sure the answer is, and what it hangs on"
    assert lines[2].startswith("All 60 s of arrivals · 8 draws (sobol) · 11 simulated fleets · ")
    assert any(line.startswith("The scenario's own fleet (chat 2, reasoning 1") for line in lines)
    assert any("a guess" in line for line in lines)
    rows = list(csv.DictReader(io.StringIO((tmp_path / "draws.csv").read_text())))
    assert len(rows) == 8
    assert all(0 < float(row["input.traffic"]) < 1 for row in rows)
    assert "how sure the answer is" in (tmp_path / "risk.html").read_text(encoding="utf-8")
    again = call(*SHORT, *outputs, "--force", "--json")
    assert again.exit_code == 0, again.stderr
    content = json.loads(again.stdout, parse_constant=pytest.fail)
    assert content["schema"] == "planner-risk/v1"
    assert len(content["samples"]) == 8
    assert call(*SHORT, *outputs).exit_code == 2  # files that are there are not replaced


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((*SHORT, "--samples", "12"), "must be a power of two, as 8 or 16"),
        ((*SHORT, "--duration", "5 s"), "is less than a minute"),
    ],
)
def test_what_cannot_be_asked(
    call: Callable[..., Result], arguments: tuple[str, ...], message: str
) -> None:
    done = call(*arguments)
    assert done.exit_code == 2
    assert message in " ".join(done.stderr.replace("│", " ").split())
