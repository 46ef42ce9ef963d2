"""`planner calibrate` as a user calls it: a known overhead comes back from benchmark results."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner, Result

from planner.catalog import load_catalog
from planner.cli.calibrate import calibrate
from planner.curves.engines import SCALARS, EngineTable, read_overheads, shipped_engines
from planner.curves.layout import Parallelism
from planner.errors import PlannerError
from planner.measurements import ClosedLoop, Fixed
from planner.validation.deployment import deployment_of
from planner.validation.replay import replay
from tests.measurements.samples import point
from tests.validation.simulated import TRUE

CATALOG = load_catalog()
LOADS = [(1, 256), (8, 256), (64, 256), (1, 2048), (8, 2048), (32, 2048)]
FLAGS = ["--model", "llama-3.1-8b", "--chip", "h100-sxm", "--engine", "vllm"]
HEADER = "prompt_tokens,output_tokens,concurrency,requests,ttft_ms,tpot_ms"
Call = Callable[..., Result]


@pytest.fixture
def call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Call:
    """Return `call(*arguments)`: the command in this process, in the test's folder."""
    monkeypatch.chdir(tmp_path)
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    app.command()(calibrate)
    return lambda *arguments: CliRunner().invoke(app, [str(each) for each in arguments])


def lines(host: object = TRUE) -> list[str]:
    """Return rows of a CSV whose results are replays."""
    rows = []
    for clients, tokens in LOADS:
        blank = point(
            parallelism=Parallelism(),
            protocol=ClosedLoop(clients, 4 * clients),
            prompt=Fixed(tokens),
            output=Fixed(64),
        )
        found = replay(deployment_of(blank, CATALOG), host, seed=3).metrics  # type: ignore[arg-type]
        times = (found["ttft_mean_s"] * 1e3, found["tpot_mean_s"] * 1e3)
        numbers = (tokens, 64, clients, 4 * clients, *(f"{value:.6g}" for value in times))
        rows.append(",".join(map(str, numbers)))
    return rows


def write(path: Path, rows: list[str], header: str = HEADER) -> Path:
    path.write_text("\n".join([header, *rows]) + "\n", encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def rows() -> list[str]:
    return lines()


def test_a_known_overhead_comes_back(call: Call, tmp_path: Path, rows: list[str]) -> None:
    write(tmp_path / "r.csv", rows)
    done = call("r.csv", *FLAGS, "--engine-version", "0.11", "--date", "2026-01-05")
    assert done.exit_code == 0, done.output
    (found,) = read_overheads(tmp_path / "calibration.json").values()
    assert (found.engine, found.chip, found.version) == ("vllm", "h100-sxm", "0.11")
    assert (found.date, found.points, found.tier) == ("2026-01-05", len(rows), "fitted")
    assert "llama-3.1-8b on 1 × h100-sxm" in found.source
    for name in SCALARS:
        value = getattr(found, name)  # errors are those of logarithms, times the value
        off = abs(math.log(value / getattr(TRUE, name)))
        assert off < 3 * found.errors[name] / value + 0.02, name
    assert EngineTable({}).with_file(tmp_path / "calibration.json").find("vllm", "h100-sxm")
    for name in SCALARS:
        assert name in done.output
    assert "median error of TPOT mean" in done.output
    assert "link_rate is not determined" in done.output


def test_two_calls_write_the_same_bytes(call: Call, tmp_path: Path, rows: list[str]) -> None:
    write(tmp_path / "r.csv", rows)
    for name in ("a.json", "b.json"):
        assert call("r.csv", *FLAGS, "-o", name).exit_code == 0
    assert (tmp_path / "a.json").read_bytes() == (tmp_path / "b.json").read_bytes()
    assert not list(tmp_path.glob(".*"))


def test_results_kept_out_are_scored(call: Call, tmp_path: Path) -> None:
    """Four results move an overhead that is not far from the shipped one to where it belongs."""
    known = shipped_engines().find("vllm", "h100-sxm")
    slower = {"step_s": 1.5 * known.step_s, "bandwidth_rate": 0.9 * known.bandwidth_rate}
    write(tmp_path / "r.csv", lines(replace(known, **slower)))
    done = call("r.csv", *FLAGS, "--hold-out", "0.25", "--json")
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    assert len(found["unseen"]) == 2
    assert found["overhead"]["points"] == 4
    kept_out = {each["id"] for each in found["unseen"]}
    assert not kept_out & {each["id"] for each in found["points"]}
    assert all(abs(each["tpot_mean_s"]) < 0.05 for each in found["unseen"])


def test_an_error_above_the_limit_ends_with_1(call: Call, tmp_path: Path) -> None:
    wild = replace(TRUE, step_s=2e-3)
    odd = lines(wild)
    odd = [row if number % 2 else row + "0" for number, row in enumerate(odd)]
    write(tmp_path / "r.csv", odd)
    done = call("r.csv", *FLAGS, "--max-error", "0.000001")
    assert done.exit_code == 1
    assert "at most" in done.output


def test_results_of_another_system_are_no_calibration(
    call: Call, tmp_path: Path, rows: list[str]
) -> None:
    fields = [row.split(",") for row in rows]
    in_us = [",".join([*row[:-2], f"{float(row[-2]) * 1e3:g}", row[-1]]) for row in fields]
    write(tmp_path / "r.csv", in_us)
    done = call("r.csv", *FLAGS)
    assert done.exit_code == 1
    assert "ttft_mean_s is off by a factor of" in done.output
    assert "lengths and units" in done.output
    assert not (tmp_path / "calibration.json").exists()


def test_an_input_is_never_overwritten(call: Call, tmp_path: Path, rows: list[str]) -> None:
    path = write(tmp_path / "r.csv", rows)
    before = path.read_bytes()
    done = call("r.csv", *FLAGS, "-o", "./r.csv", "--force")
    assert "r.csv: is read, and would be overwritten" in str(done.exception)
    assert path.read_bytes() == before


def test_names_are_checked_all_at_once(call: Call, tmp_path: Path, rows: list[str]) -> None:
    write(tmp_path / "r.csv", rows)
    wrong = ["--model", "lama-3.1-8b", "--chip", "h100-sx", "--engine", "vlm", "--kv-dtype", "fp9"]
    done = call("r.csv", *wrong)
    assert isinstance(done.exception, PlannerError)
    message = str(done.exception)
    for near in ("llama-3.1-8b", "h100-sxm", "vllm", "fp8"):
        assert near in message
    assert message.count("\n") == 3


def test_too_few_points_get_numbered_advice(call: Call, tmp_path: Path, rows: list[str]) -> None:
    write(tmp_path / "r.csv", rows[:2])
    done = call("r.csv", *FLAGS)
    assert isinstance(done.exception, PlannerError)
    message = str(done.exception)
    assert "2 usable operating points; at least 3" in message
    assert [line[:2] for line in message.splitlines()[1:]] == ["1.", "2.", "3."]
    write(tmp_path / "r.csv", rows[:4])
    done = call("r.csv", *FLAGS, "--hold-out", "0.5")
    assert "leaves 2 of 4 points" in str(done.exception)


def test_results_without_a_usable_metric(call: Call, tmp_path: Path) -> None:
    header = "prompt_tokens,output_tokens,concurrency,e2e_ms"
    write(tmp_path / "r.csv", ["256,64,1,500"] * 3, header)
    done = call("r.csv", *FLAGS)
    assert "none of 3 results has a mean TTFT" in str(done.exception)


@pytest.mark.parametrize(
    "text",
    ["", "{", "\0", HEADER, HEADER + "\n1,2", HEADER + "\n256,64,1,4,-1,nan", "[]", '{"a": 1}'],
)
def test_hostile_files_are_refused_by_name(call: Call, tmp_path: Path, text: str) -> None:
    (tmp_path / "bad.csv").write_text(text, encoding="utf-8")
    done = call("bad.csv", "absent.json", *FLAGS)
    assert isinstance(done.exception, PlannerError)
    assert "bad.csv" in str(done.exception)
    assert "absent.json" in str(done.exception)  # faults of all files at once
    assert not (tmp_path / "calibration.json").exists()


@pytest.mark.parametrize(
    "wrong",
    [
        ["--hold-out", "1.5"],
        ["--hold-out", "nan"],
        ["--memory-fraction", "0"],
        ["--tensor-parallel", "0"],
        ["--tensor-parallel", "2", "--expert-parallel", "3"],
        ["--date", "yesterday"],
    ],
)
def test_impossible_options(call: Call, tmp_path: Path, rows: list[str], wrong: list[str]) -> None:
    write(tmp_path / "r.csv", rows)
    assert call("r.csv", *FLAGS, *wrong).exit_code == 2


def test_a_file_that_is_there_stays(call: Call, tmp_path: Path, rows: list[str]) -> None:
    write(tmp_path / "r.csv", rows)
    (tmp_path / "calibration.json").write_text("mine", encoding="utf-8")
    done = call("r.csv", *FLAGS)
    assert "--force" in str(done.exception)
    assert (tmp_path / "calibration.json").read_text(encoding="utf-8") == "mine"
