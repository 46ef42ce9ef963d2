"""`planner optimise` and `planner breakeven` as a user calls them."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from planner.cli import app
from tests.search.test_mix import DAY
from tests.small import SMALL

pytestmark = pytest.mark.compiled  # whole runs, far too long in pure Python
SHORT = ("--set", "workload.duration=1 h", "--set", "workload.classes.chat.open.rate=15 /s")
ONE = ("--set", "optimise.pools=[{pool: small, terms: [{name: peak, price: h100-sxm-spot}]}]")
NODE = ("--set", "workload.classes.chat.open.rate=14 /s", "--set", "own_chip.operating_time=1 min")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "day.yaml").write_text(DAY, encoding="utf-8")
    (tmp_path / "small.yaml").write_text(SMALL, encoding="utf-8")
    return tmp_path


def call(*arguments: str) -> Result:
    return CliRunner().invoke(app, list(arguments))


def test_optimise_writes_what_is_asked_for(folder: Path) -> None:
    files = ("--html", "mix.html", "--csv", "mix.csv")
    done = call("optimise", "day.yaml", *SHORT, *ONE, *files, "--json")
    assert done.exit_code == 0, done.output
    content = json.loads(done.stdout)
    assert content["simulation"]["kept"] is True
    rows = list(csv.DictReader(io.StringIO((folder / "mix.csv").read_text("utf-8"))))
    assert len(rows) == len(content["hours"]) == 1
    assert "the cheapest mix" in (folder / "mix.html").read_text("utf-8")
    assert "keeps every promise" in done.stderr
    again = call("optimise", "day.yaml", *SHORT, *files)
    assert again.exit_code == 2
    assert "exists already" in again.output


def test_breakeven_writes_what_is_asked_for(folder: Path) -> None:
    done = call("breakeven", "day.yaml", *NODE, "--html", "own.html", "--csv", "own.csv")
    assert done.exit_code == 0, done.output
    assert "pays from" in done.stdout
    assert "mtok_per_year" in (folder / "own.csv").read_text("utf-8")
    page = (folder / "own.html").read_text("utf-8")
    assert "own chip or bought" in page
    assert "How it is computed" in page
    assert max(map(len, done.stdout.splitlines())) <= 100


def test_a_reader_can_compute_the_break_even_again(folder: Path) -> None:
    operations = ("--set", "own_chip.operations=0.05 USD/h")
    done = call("breakeven", "day.yaml", *NODE, *operations, "--json")
    assert done.exit_code == 0, done.output
    content = json.loads(done.stdout)
    own, bought, inputs = content["own"], content["bought"], content["inputs"]
    rate, years = inputs["cost_of_capital"], content["life_years"]
    factor = rate / (1 - (1 + rate) ** -years)
    assert own["hour"]["machine_usd"] == pytest.approx(inputs["unit_cost"] * factor / 8760)
    assert own["hour"]["operations_usd"] == 0.05
    for each in (own, bought):
        assert sum(each["hour"].values()) == pytest.approx(each["usd_per_device_hour"])
        yearly = each["tokens_per_s"] * inputs["utilisation"] * 3600 * 8760 / 1e6
        assert each["usd_per_mtok"] == pytest.approx(each["usd_per_device_hour"] * 8760 / yearly)
    saved = bought["usd_per_mtok"] - own["usd_per_mtok"]
    volume = inputs["engineering"] * factor / saved
    assert content["break_even_mtok_per_year"] == pytest.approx(volume)
    swings = {each["name"]: each for each in content["swings"]}
    assert swings["engineering"]["change_rate"] == pytest.approx(0.1)
    assert sum(each["share_rate"] for each in swings.values()) == pytest.approx(1.0)


def test_a_scenario_without_the_section_is_told_so(folder: Path) -> None:
    for command, section in (("optimise", "optimise"), ("breakeven", "own_chip")):
        done = call(command, "small.yaml")
        assert done.exit_code == 2
        assert f"no section `{section}`" in done.output
