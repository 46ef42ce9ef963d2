"""The what-if notebook in JupyterLab: a slider is moved by hand, and the figures follow."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.browser.conftest import NewPage
from tests.browser.jupyter import jupyter_lab
from tests.conftest import ROOT

if TYPE_CHECKING:
    from playwright.sync_api import Locator, Page

FIGURE = """() => {
  const plot = document.querySelector('.js-plotly-plot');
  const bars = [...plot.querySelectorAll('.barlayer path')].map(bar => bar.getAttribute('d'));
  return {bars: bars, promises: plot.data.find(each => each.name === 'now promises').x.length,
          width: plot.getBoundingClientRect().width};
}"""
CELLS = 4
"""Up to and with that of the panel."""
LONG_MS = 60_000
"""For what waits on a kernel that starts, perhaps beside other work."""


@pytest.fixture
def page(new_page: NewPage) -> Page:
    return new_page(width=1360, height=1300)


def cards(page: Page) -> list[str]:
    return page.locator(".planner-cards b").all_inner_texts()


@pytest.mark.slow
@pytest.mark.compiled
def test_a_moved_slider_changes_numbers_and_figures(
    page: Page, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("jupyterlab")
    shutil.copytree(ROOT / "scenarios", tmp_path / "scenarios")
    notebooks = tmp_path / "notebooks"
    shutil.copytree(ROOT / "notebooks", notebooks)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    settings = tmp_path / "settings"
    settings.mkdir()
    with jupyter_lab(tmp_path, settings) as address:
        page.goto(address.format(path="notebooks/02_what_if.ipynb"))
        run_until_the_panel(page)
        before, figure = cards(page), figure_of(page)
        assert before[0] == "112"
        open_group(page, "Pool chat")
        slider = row(page, "Nodes").get_by_role("slider")
        assert slider.get_attribute("aria-valuenow") == "10.0"
        slider.press("ArrowLeft")
        page.get_by_text("−8 against the start").wait_for(timeout=LONG_MS)
        after, moved = cards(page), figure_of(page)
        assert after[0] == "104"
        assert after[1:] != before[1:]
        assert moved["bars"] != figure["bars"]
        assert moved["promises"] == figure["promises"]
        row(page, "Weights").get_by_role("combobox").select_option("bf16")
        page.get_by_text("of 9 promises broken").wait_for(timeout=LONG_MS)


def run_until_the_panel(page: Page) -> None:
    """Run the cells up to that of the panel, and wait until it stands."""
    page.get_by_text("| Idle").wait_for(timeout=LONG_MS)
    page.locator(".jp-Cell").first.click()
    for _ in range(CELLS):
        page.keyboard.press("Shift+Enter")
    page.locator(".js-plotly-plot .barlayer path").first.wait_for(state="attached", timeout=LONG_MS)
    page.locator(".planner-cards").scroll_into_view_if_needed()


def figure_of(page: Page) -> dict[str, Any]:
    found: dict[str, Any] = page.evaluate(FIGURE)
    return found


def open_group(page: Page, title: str) -> None:
    page.locator(".jupyter-widget-Collapse-header", has_text=title).click()


def row(page: Page, label: str) -> Locator:
    return page.locator(
        ".widget-vbox:visible", has=page.locator(".widget-label", has_text=label)
    ).last
