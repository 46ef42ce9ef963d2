"""`planner doctor`: ready or not, with remedies."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from io import BytesIO, TextIOWrapper
from pathlib import Path

import pytest
from typer.testing import CliRunner

from planner.cli import app, doctor_checks
from planner.errors import CatalogError

runner = CliRunner()


def by_name(text: str) -> dict[str, dict[str, str]]:
    return {each["check"]: each for each in json.loads(text)["checks"]}


def test_the_small_simulation_gives_the_stored_answer() -> None:
    found = doctor_checks.simulation()
    assert found.verdict == "ok", found


def test_a_wrong_answer_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    stored = {"accelerators_at_peak": 8, "p99_ttft_s": 0.1422}
    monkeypatch.setattr(doctor_checks, "HEADLINE", stored)
    found = doctor_checks.simulation()
    assert found.verdict == "fail"
    assert "p99_ttft_s 0.1422137" in found.found
    assert "stored 0.1422" in found.found
    assert "accelerators" not in found.found


def test_a_machine_that_is_ready() -> None:
    done = runner.invoke(app, ["doctor", "--quick", "--json"])
    content = json.loads(done.stdout)
    assert (done.exit_code, content["ready"]) == (0, True), content
    checks = by_name(done.stdout)
    assert list(checks)[:4] == ["Python", "packages", "data files", "cache folder"]
    assert all(each["remedy"] for each in checks.values() if each["verdict"] != "ok")
    assert checks["Python"]["found"].startswith(sys.version.split()[0])


def test_the_table_has_verdict_and_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor_checks, "LEAST_MEMORY_BYTES", 1e18)
    done = runner.invoke(app, ["doctor", "--quick"])
    assert done.exit_code == 0
    assert "warn  memory" in done.stdout
    assert "→ close other programs, or use --jobs 1 in searches" in done.stdout


def test_a_failure_is_exit_code_1_and_does_not_stop_the_rest(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def broken() -> None:
        raise CatalogError("chips.yaml: no figure")

    monkeypatch.setattr("planner.catalog.load_catalog", broken)
    done = runner.invoke(app, ["doctor", "--quick"])
    assert done.exit_code == 1
    assert "FAIL  data files    CatalogError: chips.yaml: no figure" in done.stdout
    assert "→ install planner anew" in done.stdout
    assert "memory" in done.stdout


@pytest.mark.parametrize(
    ("check", "arrange", "verdict", "words"),
    [
        (doctor_checks.python, lambda p: p.setattr(sys, "version_info", (3, 10)), "fail",
         "use Python 3.11"),
        (doctor_checks.packages,
         lambda p: p.setattr("importlib.metadata.requires", lambda _: ["numpy>=99.0", "nix>=1"]),
         "fail", "pip install 'numpy>=99.0' 'nix>=1'"),
        (doctor_checks.memory, lambda p: p.setattr(doctor_checks, "_free_bytes", lambda: None),
         "ok", ""),
        (doctor_checks.results_folder, lambda p: p.setattr(os, "access", lambda *_: False), "warn",
         "--output"),
        (doctor_checks.terminal,
         lambda p: p.setattr(sys, "stdout", TextIOWrapper(BytesIO(), "ascii")), "warn",
         "PYTHONIOENCODING=utf-8"),
    ],
    ids=["old python", "old package", "memory unknown", "read-only folder", "ascii"],
)  # fmt: skip
def test_what_can_be_wrong(
    monkeypatch: pytest.MonkeyPatch,
    check: Callable[[], doctor_checks.Finding],
    arrange: Callable[[pytest.MonkeyPatch], None],
    verdict: str,
    words: str,
) -> None:
    with monkeypatch.context() as patch:
        arrange(patch)
        found = check()
    assert found.verdict == verdict
    assert words in found.remedy


def test_a_cache_folder_that_cannot_be_written(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setattr("planner.kernel.jit.CACHE_FOLDER", tmp_path / "file" / "kernel")
    found = doctor_checks.cache_folder()
    assert found.verdict == "warn"
    assert "PLANNER_CACHE_DIR" in found.remedy
