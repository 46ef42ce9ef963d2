"""`planner forecast` as a user calls it: tables, JSON, files, targets, and what it refuses."""

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

TEXT = (
    SMALL.replace("name: small", "name: ahead", 1)
    .replace("duration: 3 min", "duration: 1 min")
    .replace("rate: 12 /s", "rate: 100 /s")
    .replace("rate: 1 /s", "rate: 10 /s")
    + """\
forecast:
  start: 2026-Q1
  until: 2027-Q4
  demand:
    - {name: chat, start: 300 /s, growth: 50%, source: a guess}
  capacity: {lead_quarters: 1}
  surface: {tolerance: 50%, largest: 1, duration: 60 s}
"""
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    found = tmp_path_factory.mktemp("forecast-cli")
    (found / "ahead.yaml").write_text(TEXT, encoding="utf-8")
    (found / "small.yaml").write_text(SMALL, encoding="utf-8")
    return found


@pytest.fixture
def call(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    """Return `call(*arguments)`: `planner forecast ahead.yaml …` in this process."""
    monkeypatch.chdir(folder)

    def forecast(*arguments: str, file: str = "ahead.yaml") -> Result:
        fixed = ("--samples", "samples.json", "--jobs", "1")
        return CliRunner().invoke(app, ["forecast", file, *fixed, *arguments])

    return forecast


def test_prints_the_answer_and_its_tables(call: Callable[..., Result]) -> None:
    done = call()
    assert done.exit_code == 0, done.stderr
    lines = done.stdout.splitlines()
    assert max(map(len, lines)) <= 100
    assert not any(line.endswith(" ") for line in lines)
    assert lines[1] == "ahead  forecast"
    assert re.match(r"2026-Q1 to 2027-Q4 · \d+ simulated fleets, \d+ points of 2 curves", lines[2])
    assert lines[4].startswith("From 2026 to 2027, spend on serving goes from $")
    start = next(index for index, line in enumerate(lines) if line.startswith("quarter"))
    assert re.split(r" {2,}", lines[start]) == [
        *("quarter", "accelerators", "ordered", "spend", "revenue", "margin", "served"),
    ]
    assert [line[:7] for line in lines[start + 1 : start + 9]] == [
        f"{year}-Q{quarter}" for year in (2026, 2027) for quarter in (1, 2, 3, 4)
    ]
    assert "paying users only" in done.stdout
    assert "so much is left of pooling" in " ".join(lines)
    assert re.search(r"\d+ fleets behind it, in [\d.]+ s", done.stderr)


def test_says_what_would_have_to_be_true(call: Callable[..., Result]) -> None:
    target = ("--target", "spend_usd=50e6@2027")
    done = call("--solve", "growth", "--solve", "efficiency", *target)
    assert done.exit_code == 0, done.stderr
    text = " ".join(done.stdout.split())
    assert "For spend of $50.0M in 2027, all demand would have to grow by +" in text
    assert "For spend of $50.0M in 2027, throughput would have to change by −" in text
    assert "What would have to be true together" in text


def test_json_csv_and_report(call: Callable[..., Result], folder: Path) -> None:
    files = ("--csv", "quarters.csv", "--html", "forecast.html")
    target = ("--solve", "growth", "--target", "accelerators=2000@2027-Q4")
    done = call("--json", *files, *target)
    assert done.exit_code == 0, done.stderr
    content = json.loads(done.stdout, parse_constant=pytest.fail)
    assert content["quarters"][0]["quarter"] == "2026-Q1"
    assert content["solutions"][0]["unknown"] == "growth"
    assert {"name", "value", "source", "date", "tier"} <= content["assumptions"][0].keys()
    rows = list(csv.DictReader(io.StringIO((folder / "quarters.csv").read_text("utf-8"))))
    assert float(rows[0]["demand_rps[chat]"]) == 300.0
    assert float(rows[4]["demand_rps[chat]"]) == pytest.approx(450.0)
    assert float(rows[0]["margin_rate[paid_only]"]) < 1
    html = (folder / "forecast.html").read_text("utf-8")
    for text in ("ahead: forecast", "Response surface of chat", "What would have to be true",
                 "a guess", "Copy as CSV"):  # fmt: skip
        assert text in html, text
    again = call("--json", *files, *target)
    assert again.exit_code == 2
    assert "--force" in again.stderr
    assert call("--json", *files, *target, "--force").stdout == done.stdout
    assert (folder / "forecast.html").read_text("utf-8") == html


@pytest.mark.parametrize(
    ("arguments", "file", "message"),
    [
        (("--solve", "growth"), "ahead.yaml", "go together"),
        (("--solve", "growth", "--target", "spend=1"), "ahead.yaml", "is no target"),
        (("--solve", "weather", "--target", "spend_usd=1@2027"), "ahead.yaml", "cannot solve for"),
        (("--solve", "price", "--target", "spend_usd=1e9@2027"), "ahead.yaml", "does not depend"),
        (("--solve", "growth", "--target", "spend_usd=1@2035"), "ahead.yaml", "2035 is not wholly"),
        ((), "small.yaml", "has no section `forecast`"),
    ],
)
def test_refuses_what_makes_no_sense(
    call: Callable[..., Result],
    arguments: tuple[str, ...],
    file: str,
    message: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def no(_: object) -> None:
        raise AssertionError("simulated before the question was checked")

    monkeypatch.setattr("planner.search.sampler.take_sample", no)
    done = call(*arguments, file=file)
    assert done.exit_code == 2
    assert message in " ".join(done.stderr.split())
