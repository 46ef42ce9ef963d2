"""Results as JSON and on disk: the same bytes each time, the old folder or the new one."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from planner.errors import OutputError
from planner.jsonable import plain
from planner.kernel.dtypes import CLASS_WINDOW
from planner.results import ClassMeta, Result, columns
from planner.results.storage import check_output_folder
from tests.conftest import ROOT
from tests.results.synthetic import make_result, make_run


@pytest.fixture(scope="module")
def result() -> Result:
    return make_result()


def test_headline(result: Result) -> None:
    assert result.headline["accelerators_at_peak"] == 296
    assert result.headline["nodes_at_peak"] == 37
    assert result.headline["gross_margin_definition"] == "all_users_in_cogs"
    assert result.headline["objectives_met"] is True
    assert result.headline["stable"] is True
    assert make_result(money=False).headline["gross_margin_rate"] is None


def test_json_is_sorted_and_has_only_json_numbers(result: Result) -> None:
    text = result.to_json()
    content = json.loads(text, parse_constant=pytest.fail)
    assert text.endswith("}\n")
    again = json.dumps(content, indent=1, sort_keys=True, ensure_ascii=False) + "\n"
    assert text == again
    assert content["classes"][0]["class"] == "anonymous-chat"
    assert content["finance"]["cost_usd"] == pytest.approx(result.finance.cost_usd)  # type: ignore[union-attr]
    assert "after the warm-up" in content["percentiles_over"]


def test_json_has_the_same_bytes_in_another_process(result: Result) -> None:
    statement = (
        "import sys; from tests.results.synthetic import make_result; "
        "sys.stdout.buffer.write(make_result().to_json().encode())"
    )
    finished = subprocess.run(
        [sys.executable, "-c", statement],
        cwd=ROOT,
        capture_output=True,
        check=True,
        env={**os.environ, "PYTHONHASHSEED": "7"},
    )
    assert finished.stdout == result.to_json().encode()


def test_plain_values() -> None:
    value = {"a": np.float64("nan"), "b": [np.int64(3), (np.bool_(True),)], "c": float("inf")}
    assert plain(value) == {"a": None, "b": [3, [True]], "c": None}


def test_tables_are_described_and_copied(result: Result) -> None:
    for name, frame in result.tables().items():
        assert frame.columns.tolist() == columns.names(name), name
    copy = result.to_pandas()
    copy.loc[0, "arrived"] = -1
    assert result.to_pandas("classes")["arrived"].min() > 0
    with pytest.raises(KeyError, match="no table 'class'; there are classes, total"):
        result.to_pandas("class")


@pytest.mark.parametrize("money", [True, False])
def test_a_result_survives_the_disk(tmp_path: Path, money: bool) -> None:
    result = make_result(money=money)
    folder = result.write(tmp_path / "out", html="<!doctype html>")
    again = Result.read(folder)
    assert again.to_json() == result.to_json()
    for name, frame in result.tables().items():
        pd.testing.assert_frame_equal(again.to_pandas(name), frame, check_dtype=False)
    assert {path.name for path in folder.iterdir()} == {"result.json", "report.html", "tables"}


def test_files_have_the_same_bytes_each_time(tmp_path: Path) -> None:
    first = make_result().write(tmp_path / "first")
    second = make_result().write(tmp_path / "second")
    names = sorted(path.relative_to(first) for path in first.rglob("*") if path.is_file())
    assert len(names) > 20
    for name in names:
        assert (first / name).read_bytes() == (second / name).read_bytes(), name
        assert str(tmp_path).encode() not in (first / name).read_bytes()


def test_csv_and_parquet_say_the_same(tmp_path: Path, result: Result) -> None:
    tables = result.write(tmp_path / "out") / "tables"
    parquet = pd.read_parquet(tables / "pool_windows.parquet")
    pd.testing.assert_frame_equal(pd.read_csv(tables / "pool_windows.csv"), parquet)
    described = pd.read_csv(tables / "columns.csv")
    assert set(described["table"]) == set(columns.TABLES)


def test_a_previous_result_is_replaced_as_a_whole(tmp_path: Path, result: Result) -> None:
    folder = result.write(tmp_path / "out", html="old")
    replace(result, seed=43).write(folder)
    assert Result.read(folder).seed == 43
    assert not (folder / "report.html").exists()
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_requests_are_moved_into_the_folder(tmp_path: Path, result: Result) -> None:
    requests = tmp_path / "elsewhere.parquet"
    requests.write_bytes(b"rows")
    folder = result.write(tmp_path / "out", requests=requests)
    assert (folder / "requests.parquet").read_bytes() == b"rows"
    assert not requests.exists()


def test_an_empty_folder_is_taken(tmp_path: Path, result: Result) -> None:
    (tmp_path / "out").mkdir()
    assert (result.write(tmp_path / "out") / "result.json").is_file()


@pytest.mark.parametrize("name", ["notes.md", "result.json"])
def test_something_else_is_not_overwritten(tmp_path: Path, result: Result, name: str) -> None:
    folder = tmp_path / "out"
    folder.mkdir()
    (folder / name).write_text("mine")
    with pytest.raises(OutputError, match=r"not a result of planner .*--force"):
        result.write(folder)
    assert (folder / name).read_text() == "mine"
    result.write(folder, force=True)
    assert Result.read(folder).name == "quickstart"


def test_a_result_with_the_users_own_files_is_not_overwritten(
    tmp_path: Path, result: Result
) -> None:
    folder = result.write(tmp_path / "out")
    (folder / "notes.md").write_text("mine")
    with pytest.raises(OutputError, match=r"notes\.md"):
        result.write(folder)


@pytest.mark.parametrize("place", [".", "..", "inside"])
def test_the_working_folder_is_never_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    (tmp_path / "inside" / "deeper").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "inside" / "deeper")
    folder = tmp_path / "inside" if place == "inside" else Path(place)
    with pytest.raises(OutputError, match="working folder"):
        check_output_folder(folder, force=True)


def test_a_file_in_the_way_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("")
    with pytest.raises(OutputError, match="is a file"):
        check_output_folder(tmp_path / "out", force=True)


def test_a_failed_write_keeps_the_old_result(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, result: Result
) -> None:
    folder = result.write(tmp_path / "out")
    before = (folder / "result.json").read_bytes()

    def full_disk(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(pd.DataFrame, "to_csv", full_disk)
    with pytest.raises(OutputError, match="could not be written: No space left on device"):
        replace(result, seed=43).write(folder)
    assert (folder / "result.json").read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_reading_what_is_not_a_result(tmp_path: Path, result: Result) -> None:
    with pytest.raises(OutputError, match="no such file; name a folder that planner run wrote"):
        Result.read(tmp_path)
    (tmp_path / "result.json").write_text("{")
    with pytest.raises(OutputError, match="cannot be read"):
        Result.read(tmp_path)
    (tmp_path / "result.json").write_text('{"schema": "other"}')
    with pytest.raises(OutputError, match="is not a result of this version"):
        Result.read(tmp_path)
    folder = result.write(tmp_path / "out")
    (folder / "tables" / "pools.parquet").unlink()
    with pytest.raises(OutputError, match="damaged"):
        Result.read(folder)


def test_notebook_view_escapes_names() -> None:
    run = make_run()
    run.classes = (ClassMeta("<b>x</b>", "chat"), *run.classes[1:])
    html = make_result(name="<i>", frames=run.frames())._repr_html_()
    assert "&lt;b&gt;x&lt;/b&gt;" in html
    assert "<i>" not in html
    assert "accelerators at peak" in html


def test_a_run_that_measured_nothing_fails_a_search_with_that_reason() -> None:
    from planner.search.fleets import failures_of

    run = make_run()
    run.class_windows[:] = np.zeros((), dtype=CLASS_WINDOW)
    run.histograms[:] = 0
    result = make_result(frames=run.frames(), money=False)
    assert not result.has_evidence
    assert not result.overloaded
    assert failures_of(result) == ["no requests were measured"]
    assert make_result().has_evidence
    assert make_result(overload=2.0).overloaded
