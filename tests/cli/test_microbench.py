"""`planner microbench` as a user calls it, on the processor, with a few tiny shapes."""

from __future__ import annotations

import csv
import importlib.util
import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner, Result

from planner.cli.microbench import microbench
from planner.errors import PlannerError

HAS_TORCH = importlib.util.find_spec("torch") is not None
needs_torch = pytest.mark.skipif(not HAS_TORCH, reason="PyTorch is not installed")
SHORT = ("--quick", "--device", "cpu", "--repeats", "3", "--operator", "stream")

Call = Callable[..., Result]


@pytest.fixture
def call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Call:
    """Return `call(*arguments)`: the command in this process, in the test's folder."""
    monkeypatch.chdir(tmp_path)
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    app.command()(microbench)
    return lambda *arguments: CliRunner().invoke(app, list(arguments))


@needs_torch
def test_writes_timings_header_and_log_and_goes_on(call: Call, tmp_path: Path) -> None:
    first = call(*SHORT, "-o", "deep/t.csv", "--operator", "gemm")
    assert first.exit_code == 0, first.output
    assert "next: planner fit deep/t.csv" in first.output
    assert "no chip of the catalogue" in first.output
    folder = tmp_path / "deep"
    assert sorted(path.name for path in folder.iterdir()) == ["t.csv", "t.json", "t.log.csv"]
    with (folder / "t.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert {row["operator"] for row in rows} == {"gemm", "stream"}
    assert all(float(row["time_us"]) > 0 for row in rows)
    header = json.loads((folder / "t.json").read_text(encoding="utf-8"))
    assert header["chip"] == "cpu"
    assert header["version"].startswith("torch ")
    assert header["finished"] >= header["started"]
    again = call(*SHORT, "-o", "deep/t.csv", "--operator", "gemm")
    assert again.exit_code == 0
    assert f"0 measured, {len(rows)} were there already" in again.output


@needs_torch
def test_a_chip_of_the_catalogue_gives_shares_of_its_peak(call: Call, tmp_path: Path) -> None:
    done = call(*SHORT, "--chip", "h100-sxm")
    assert done.exit_code == 0, done.output
    assert "%" in done.output
    with (tmp_path / "timings.csv").open(encoding="utf-8", newline="") as file:
        assert {row["chip"] for row in csv.DictReader(file)} == {"h100-sxm"}


@needs_torch
def test_nothing_measured_is_exit_code_1(call: Call) -> None:
    done = call("--quick", "--device", "cpu", "--operator", "all_reduce")
    assert done.exit_code == 1
    assert "nothing could be measured" in done.output


@pytest.mark.parametrize(
    ("arguments", "advice"),
    [
        (("--operator", "gem"), "did you mean gemm?"),
        (("--dtype", "fp4"), "unknown dtype 'fp4'"),
        (("--model", "llama-3.1-7b"), "did you mean"),
        (("--model", "llama-3.1-8b", "--tensor-parallel", "3"), "cannot be split over 3 devices"),
        (("--device", "gpu"), "unknown --device 'gpu'"),
        (("--device", "cpu", "--chip", "h100-sx"), "did you mean h100-sxm?"),
    ],
)
def test_bad_input_is_refused_with_advice(
    call: Call, arguments: tuple[str, ...], advice: str
) -> None:
    done = call("--quick", *arguments)
    assert isinstance(done.exception, PlannerError)  # exit code 2 under `planner`
    assert advice in str(done.exception)


def test_without_pytorch_it_says_how_to_install_it(
    call: Call, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    done = call("--quick")
    assert "pip install 'planner[microbench]'" in str(done.exception)
    assert not list(tmp_path.iterdir())


@needs_torch
def test_a_file_of_someone_else_is_kept(call: Call, tmp_path: Path) -> None:
    (tmp_path / "timings.csv").write_text("mine\n", encoding="utf-8")
    done = call(*SHORT)
    assert "--force to replace it" in str(done.exception)
    assert (tmp_path / "timings.csv").read_text(encoding="utf-8") == "mine\n"
