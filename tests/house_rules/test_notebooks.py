"""Rules on notebooks: what is in git is what a reader runs, and nothing that a run left behind."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.house_rules.sources import ROOT

NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
NAMES = [
    "01_quickstart", "02_what_if", "03_calibrate", "04_margin_and_forecast", "05_autoscaler",
]  # fmt: skip
REMEDY = "strip it: nbstripout notebooks/*.ipynb"


def content_of(path: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return content


def test_these_are_the_notebooks() -> None:
    assert [path.stem for path in NOTEBOOKS] == NAMES


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_holds_no_output(path: Path) -> None:
    for number, cell in enumerate(content_of(path)["cells"], start=1):
        if cell["cell_type"] == "code":
            assert cell["outputs"] == [], f"cell {number} has outputs; {REMEDY}"
            assert cell["execution_count"] is None, f"cell {number} has a number; {REMEDY}"
        assert not cell["metadata"], f"cell {number} has metadata; {REMEDY}"


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs_on_any_python_3(path: Path) -> None:
    metadata = content_of(path)["metadata"]
    assert metadata["kernelspec"]["name"] == "python3"
    assert set(metadata) == {"kernelspec", "language_info"}
    assert set(metadata["language_info"]) == {"name"}, f"names one Python; {REMEDY}"


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_begins_with_a_title_and_ends_with_what_to_try_next(path: Path) -> None:
    first, *_, last = content_of(path)["cells"]
    assert first["cell_type"] == last["cell_type"] == "markdown"
    assert first["source"][0].startswith("# ")
    assert last["source"][0].strip() == "## Next"
