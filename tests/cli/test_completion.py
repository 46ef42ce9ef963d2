"""The shell's tab key: names of commands, options, the catalogue and the scenario on the line."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from planner.cli import app
from tests.conftest import ROOT


def completed(line: str, **environment: str) -> list[str]:
    """Return what bash is offered at the end of a line."""
    words = {"COMP_WORDS": line, "COMP_CWORD": str(line.count(" "))}
    given = {"_PLANNER_COMPLETE": "complete_bash", **words, **environment}
    done = CliRunner().invoke(app, [], prog_name="planner", env=given)
    assert (done.exit_code, done.stderr) == (0, "")
    return done.stdout.split()


@pytest.fixture(autouse=True)
def in_checkout(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)


@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("planner bre", ["breakeven"]),
        ("planner run --ov", ["--override"]),
        ("planner init --model llama-3.1-7", ["llama-3.1-70b"]),
        ("planner init --chip hgx-h", ["hgx-h100", "hgx-h200"]),
        ("planner init --lengths mooncake", ["mooncake-conversation"]),
        ("planner init --price b300-sxm-s", ["b300-sxm-spot"]),
        ("planner catalog show norw", ["norway"]),
        ("planner calibrate c1.json --chip gb3", ["gb300"]),
        ("planner run scenarios/replay.yaml --override az", ["azure-2023"]),
        ("planner check scenarios/benchmark.yaml --scenario concurrency-2", ["concurrency-256"]),
        ("planner run none.yaml --override ", []),
        ("planner run pyproject.toml --override ", []),
    ],
)
def test_names_are_offered(line: str, offered: list[str]) -> None:
    assert completed(line) == offered


def test_zsh_is_offered_the_same() -> None:
    offered = completed(
        "",
        _PLANNER_COMPLETE="complete_zsh",
        _TYPER_COMPLETE_ARGS="planner run scenarios/replay.yaml --override moon",
    )
    assert "mooncake" in " ".join(offered)


def test_a_broken_scenario_offers_nothing(tmp_path: Path) -> None:
    path = tmp_path / "broken.yaml"
    path.write_text("overrides: [", encoding="utf-8")
    assert completed(f"planner run {path} --override ") == []


def test_a_name_of_the_catalogue_loads_nothing_heavy() -> None:
    code = (
        "import sys\nfrom planner.cli.completion import catalog_names, length_families\n"
        "assert catalog_names('chips')('h100') and length_families('azure')\n"
        "print([m for m in ('numba', 'scipy', 'plotly', 'simpy') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
