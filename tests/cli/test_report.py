"""`planner report`: stored answers on one page, and what it refuses."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from planner.report.page import plotly_script
from tests.conftest import RunPlanner
from tests.report.test_ablation import ablation
from tests.report.test_html import Page
from tests.report.test_risk import risk
from tests.results.synthetic import make_result


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    """Return two results; the second costs the same and is of another seed."""
    first = make_result(name="small").write(tmp_path / "one")
    second = make_result(name="small", overload=1.0, seed=43).write(tmp_path / "two")
    return first, second


def test_everything_is_on_one_page(
    folders: tuple[Path, Path], tmp_path: Path, run_planner: RunPlanner
) -> None:
    risks, techniques, page = (tmp_path / name for name in ("r.json", "a.json", "page.html"))
    risks.write_text(risk().to_json(), encoding="utf-8")
    techniques.write_text(ablation().to_json(), encoding="utf-8")
    done = run_planner("report", *folders, "--risk", risks, "--ablation", techniques, "-o", page)
    assert done.returncode == 0, done.stderr
    text = page.read_text(encoding="utf-8").replace(plotly_script(), "")
    read = Page(text)
    ids = set(read.values("id"))
    assert {"comparison", "worth", "answers", "drivers", "money", "assumptions"} <= ids
    assert {"bridge", "quarters"}.isdisjoint(ids), "nothing was given for these"
    assert "90% interval 296 to 331, smallest fleet of each draw" in text
    assert "No intervals" not in text
    assert "Not on this page: why cost and margin changed (planner bridge)" in text
    assert len(page.read_bytes()) < 6_000_000
    columns = json.loads(read.scripts["tables"])["comparison"]["columns"]
    assert [name for name, *_ in columns] == ["measure", "class", "unit", "one", "two"]


def test_a_result_alone_says_what_is_missing(
    folders: tuple[Path, Path], tmp_path: Path, run_planner: RunPlanner
) -> None:
    page = tmp_path / "page.html"
    assert run_planner("report", folders[0], "--html", page).returncode == 0
    text = page.read_text(encoding="utf-8")
    assert "No intervals: run planner risk." in text
    assert "other results side by side" in text


def test_what_does_not_belong_together_is_refused(
    folders: tuple[Path, Path], tmp_path: Path, run_planner: RunPlanner
) -> None:
    first, _ = folders
    risks, page = tmp_path / "risk.json", tmp_path / "page.html"
    risks.write_text(risk(name="another").to_json(), encoding="utf-8")
    done = run_planner("report", first, "--risk", risks, "-o", page)
    assert done.returncode == 2
    assert done.stderr == (
        f"error: {risks}: is about another, and {first} about small; intervals stand under the "
        "numbers of their own scenario: name a result of that, or leave --risk out\n"
    )
    done = run_planner("report", first, first, "-o", page)
    assert done.stderr == f"error: {first}: is named twice; name each result once\n"
    assert not page.exists()
