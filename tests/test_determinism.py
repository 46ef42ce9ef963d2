"""The same scenario gives the same bytes, whatever the process."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.small import SMALL

pytestmark = pytest.mark.compiled  # whole runs, far too long in pure Python

COMMAND = "from planner.cli import main; main()"
Files = dict[str, bytes]


def run_in_process(folder: Path, environment: dict[str, str], *arguments: str) -> tuple[str, Files]:
    """Run the scenario in a process of its own; return what it prints and writes."""
    folder.mkdir()
    (folder / "small.yaml").write_text(SMALL, encoding="utf-8")
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            "from planner.cli import main; main()",
            "run",
            "small.yaml",
            "-o",
            "out",
            *arguments,
        ],
        cwd=folder,
        capture_output=True,
        check=True,
        env={**os.environ, "PYTHONIOENCODING": "utf-8", "COLUMNS": "100", **environment},
    )
    out = folder / "out"
    files = {str(path.relative_to(out)): path.read_bytes() for path in out.rglob("*.*")}
    return done.stdout.decode().partition("written to")[0], files


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("determinism")


@pytest.fixture(scope="module")
def first(folder: Path) -> tuple[str, Files]:
    return run_in_process(folder / "first", {"PYTHONHASHSEED": "1"}, "--requests")


def test_two_processes_write_the_same_bytes(folder: Path, first: tuple[str, Files]) -> None:
    elsewhere = {"PYTHONHASHSEED": "2", "TZ": "Asia/Tokyo", "LC_ALL": "C", "NUMBA_NUM_THREADS": "1"}
    printed, files = run_in_process(folder / "second", elsewhere, "--requests")
    assert printed == first[0]
    assert sorted(files) == sorted(first[1])
    assert {"result.json", "report.html", "requests.parquet"} <= set(files)
    assert {f"tables/{name}.parquet" for name in ("classes", "pool_windows", "ledger")} <= set(
        files
    )
    assert [name for name in files if files[name] != first[1][name]] == []


def test_nothing_carries_the_day_or_the_machine(folder: Path, first: tuple[str, Files]) -> None:
    found = [
        name
        for name, content in first[1].items()
        for trace in (str(folder).encode(), os.uname().nodename.encode())
        if len(trace) > 4 and trace in content
    ]
    assert found == []


def test_per_request_output_changes_nothing_else(folder: Path, first: tuple[str, Files]) -> None:
    _, files = run_in_process(folder / "without", {}, "--no-report")
    assert set(first[1]) - set(files) == {"requests.parquet", "report.html"}
    assert [name for name in files if files[name] != first[1][name]] == []


def test_another_seed_writes_other_bytes(folder: Path, first: tuple[str, Files]) -> None:
    _, files = run_in_process(folder / "seed", {}, "--set", "seed=4", "--no-report")
    assert files["result.json"] != first[1]["result.json"]
    assert files["tables/classes.parquet"] != first[1]["tables/classes.parquet"]
    # What does not depend on chance stays: the columns, the figures behind the run.
    assert files["tables/columns.csv"] == first[1]["tables/columns.csv"]
    assert files["tables/assumptions.csv"] == first[1]["tables/assumptions.csv"]
