"""Fixtures that every test may use."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

ROOT = Path(__file__).resolve().parent.parent

# NOTE: no deadline, because the first example of a test may have to compile the kernel.
settings.register_profile("local", deadline=None)
settings.register_profile(
    "ci",
    deadline=None,
    derandomize=True,  # the same commit gets the same verdict
    database=None,
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("local")


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the option that accepts what commands print now."""
    parser.addoption(
        "--update-golden", action="store_true", help="write the texts of tests/cli/golden anew"
    )


WriteFile = Callable[[str, str], Path]
RunPlanner = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Return the folder of original traces and measurements, which is not part of the project."""
    folder = Path(os.environ.get("PLANNER_SHARED_DATA") or ROOT.parent / "shared" / "data")
    if not folder.is_dir():
        pytest.skip(f"original data not found in {folder}; set PLANNER_SHARED_DATA")
    return folder.resolve()


@pytest.fixture
def write_file(tmp_path: Path) -> WriteFile:
    """Return `write(name, text)`: a file in the test's folder, UTF-8, whose path comes back."""

    def write(name: str, text: str) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        return path

    return write


@pytest.fixture
def run_planner(tmp_path: Path) -> RunPlanner:
    """Return `run(*arguments)`: the command line in its own process, in the test's folder."""

    def run(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-c", "from planner.cli import main; main()", *map(str, arguments)],
            cwd=tmp_path,
            capture_output=True,
            check=False,
            text=True,
            encoding="utf-8",
            env={**os.environ, "PYTHONIOENCODING": "utf-8", "COLUMNS": "100"},
        )

    return run
