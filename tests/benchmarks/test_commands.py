"""What a user waits for before anything is simulated: `planner --help` and `planner check`."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from planner.errors import ScenarioError
from planner.scenario import load_scenario
from tests.scenario.samples import large

WriteFile = Callable[[str, str], Path]
RunPlanner = Callable[..., "subprocess.CompletedProcess[str]"]


def test_help(benchmark: BenchmarkFixture, run_planner: RunPlanner) -> None:
    done = benchmark(run_planner, "--help")
    assert done.returncode == 0


def test_check_of_1200_lines(
    benchmark: BenchmarkFixture, write_file: WriteFile, run_planner: RunPlanner
) -> None:
    text = large(120)
    assert text.count("\n") > 1200
    write_file("q.yaml", text)
    done = benchmark(run_planner, "check", "q.yaml")
    assert done.returncode == 0


def test_report_of_120_faults(benchmark: BenchmarkFixture, write_file: WriteFile) -> None:
    path = write_file("q.yaml", large(120).replace("percentile", "percentil"))

    def report() -> ScenarioError:
        with pytest.raises(ScenarioError) as caught:
            load_scenario(path)
        return caught.value

    assert len(benchmark(report).faults) == 120
