from __future__ import annotations

import json
from pathlib import Path

from typer.testing import CliRunner

from planner.cli import app
from planner.scenario import json_schema, json_schema_text

runner = CliRunner()


def test_it_prints_the_schema() -> None:
    done = runner.invoke(app, ["schema"])
    assert done.exit_code == 0
    assert done.stdout == json_schema_text()
    assert json.loads(done.stdout) == json_schema()


def test_a_file_in_sync(tmp_path: Path) -> None:
    path = tmp_path / "s.json"
    path.write_text(json_schema_text(), encoding="utf-8")
    done = runner.invoke(app, ["schema", "--check", str(path)])
    assert (done.exit_code, done.stdout) == (0, f"{path}: in sync\n")


def test_a_file_out_of_date(tmp_path: Path) -> None:
    path = tmp_path / "s.json"
    path.write_text("{}", encoding="utf-8")
    done = runner.invoke(app, ["schema", "--check", str(path)])
    assert done.exit_code == 2
    assert done.stderr == f"error: {path} is out of date; run `planner schema > {path}`\n"


def test_a_missing_file(tmp_path: Path) -> None:
    done = runner.invoke(app, ["schema", "--check", str(tmp_path / "none")])
    assert done.exit_code == 2
    assert done.stderr.endswith("none: No such file or directory\n")
