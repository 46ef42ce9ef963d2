"""`planner validate` as a user calls it, on the table of results that ships."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner, Result

from planner.cli.validate import validate
from planner.curves.engines import SCALARS
from planner.errors import PlannerError
from planner.measurements import published

Call = Callable[..., Result]
FEW = ["--set", "trtllm-overview", "--set", "nvidia-silicon"]


@pytest.fixture
def call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Call:
    """Return `call(*arguments)`: the command in this process, in the test's folder."""
    monkeypatch.chdir(tmp_path)
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    app.command()(validate)
    return lambda *arguments: CliRunner().invoke(app, [str(each) for each in arguments])


def test_the_shipped_table_is_replayed(call: Call, tmp_path: Path) -> None:
    done = call("--csv", "points.csv")
    assert done.exit_code == 0, done.output
    for word in ("inferencex", "mlperf", "TTFT p99", "Accuracy to reach", "implied by", "unseen"):
        assert word in done.stdout
    with (tmp_path / "points.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    known = {point.id: point for point in published().points}
    assert {row["id"] for row in rows} <= set(known)
    assert len({row["id"] for row in rows}) > 0.9 * len(known)
    for row in rows:
        measured, predicted = float(row["measured"]), float(row["predicted"])
        assert float(row["error"]) == pytest.approx(predicted / measured - 1, abs=2e-5, rel=1e-4)
        if row["metric"] in known[row["id"]].metrics:
            assert measured == pytest.approx(known[row["id"]].metrics[row["metric"]], rel=1e-6)


def test_two_runs_write_the_same_bytes(call: Call, tmp_path: Path) -> None:
    texts = []
    for number in (1, 2):
        done = call(*FEW, "--json", "--csv", f"{number}.csv", "--html", f"{number}.html")
        assert done.exit_code == 0, done.output
        files = [(tmp_path / f"{number}.{kind}").read_bytes() for kind in ("csv", "html")]
        texts.append((done.stdout, *files))
    assert texts[0] == texts[1]


def test_json_holds_what_the_tables_do(call: Call) -> None:
    found = json.loads(call(*FEW, "--json", "--by", "chip,engine").stdout)
    assert {row["set"] for row in found["sets"]} == {"trtllm-overview", "nvidia-silicon"}
    assert {"chip", "engine", "points", "throughput"} <= set(found["groups"][0])
    assert sum(row["points"] for row in found["groups"]) == sum(
        row["points"] for row in found["sets"] if not row["aside"]
    )
    assert {"needs --hold-out", "not replayed yet"} <= {row["verdict"] for row in found["targets"]}
    assert found["hold_out"] is None


def test_hold_out_scores_groups_unseen(call: Call) -> None:
    done = call("--set", "inferencex", "--hold-out", "--json")
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    assert found["hold_out"]["unseen"]
    verdicts = {row["measure"]: row["verdict"] for row in found["targets"][:3]}
    assert set(verdicts.values()) <= {"reached", "short"}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--set", "inferencx"], "inferencex"),
        (["--by", "modell"], "did you mean model"),
        (["--data", "nowhere"], "holds no set"),
        (["--calibration", "nowhere.json"], "nowhere.json"),
    ],
)
def test_wrong_names_are_refused_with_advice(
    call: Call, arguments: list[str], message: str
) -> None:
    done = call(*arguments)
    assert isinstance(done.exception, PlannerError)
    assert message in str(done.exception)


def test_files_that_are_there_stay(call: Call, tmp_path: Path) -> None:
    (tmp_path / "mine.csv").write_text("mine", encoding="utf-8")
    done = call("--csv", "mine.csv")
    assert "--force" in str(done.exception)
    assert (tmp_path / "mine.csv").read_text(encoding="utf-8") == "mine"


def test_a_calibration_file_changes_the_predictions(call: Call, tmp_path: Path) -> None:
    plain = call("--set", "trtllm-overview", "--json")
    entry = {"engine": "tensorrt-llm", "chip": "h100-sxm", **dict.fromkeys(SCALARS, 0.3)}
    (tmp_path / "own.json").write_text(json.dumps({"engines": [entry]}), encoding="utf-8")
    changed = call("--set", "trtllm-overview", "--json", "--calibration", "own.json")
    assert changed.exit_code == 0, changed.output
    assert changed.stdout != plain.stdout


def test_full_sets_are_read_from_a_folder(call: Call, shared_data: Path) -> None:
    done = call("--data", shared_data, "--set", "vllm-requests", "--json")
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    assert [row["points"] for row in found["sets"]] == [3]
    assert found["sets"][0]["e2e_p99_s"]["points"] == 3
    assert str(shared_data) not in done.stdout
