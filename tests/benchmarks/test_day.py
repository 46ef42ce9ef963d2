"""Speed and memory of a day over a thousand replicas, from the scenario file to the result."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from tests.benchmarks.conftest import Say

ROOT = Path(__file__).resolve().parents[2]
MOST_BYTES = 2e9


def run_day(*sets: str) -> dict[str, Any]:
    """Run the day in a fresh process, so that its peak memory is its own."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.benchmarks.day", *sets],
        cwd=ROOT,
        capture_output=True,
        check=True,
        text=True,
    )
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def report(benchmark: BenchmarkFixture, say: Say, found: dict[str, Any]) -> None:
    found["requests_per_s"] = found["requests"] / found["cpu_s"]
    benchmark.extra_info.update(found)
    say(
        f"{found['requests']:,} requests end to end in {found['wall_s']:.1f} s "
        f"({found['cpu_s']:.1f} s of CPU): {found['requests_per_s']:,.0f} requests/s, "
        f"peak memory {found['peak_memory_bytes'] / 1e6:,.0f} MB"
    )
    assert found["served"] == found["requests"]
    assert found["peak_memory_bytes"] < MOST_BYTES


def test_five_million_of_the_day(benchmark: BenchmarkFixture, say: Say) -> None:
    """The same cluster, rate and shape for the 72 minutes in which the morning sets in."""
    found = benchmark.pedantic(
        run_day, args=("workload.duration=72 min", "workload.start=07:56"), rounds=1
    )
    report(benchmark, say, found)


@pytest.mark.skipif(
    "PLANNER_BENCHMARK_DAY" not in os.environ, reason="takes minutes: set PLANNER_BENCHMARK_DAY=1"
)
def test_hundred_million_in_a_day(benchmark: BenchmarkFixture, say: Say) -> None:
    report(benchmark, say, benchmark.pedantic(run_day, rounds=1))
