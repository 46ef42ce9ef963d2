"""The panel without a browser: what it shows follows its controls, and stays where it is."""

from __future__ import annotations

import subprocess
import sys
from html import unescape
from pathlib import Path

import pytest

import planner
from planner.notebook.charts import palette
from planner.notebook.widget import Panel
from tests.conftest import ROOT

pytestmark = pytest.mark.compiled
STALE = 'class="planner-cards planner-stale"'


@pytest.fixture(scope="module")
def panel() -> Panel:
    pytest.importorskip("ipywidgets")
    pytest.importorskip("anywidget")
    sets = ["workload.duration=2 min", "workload.warmup=20 s"]
    return planner.whatif(planner.load_scenario(ROOT / "scenarios" / "quickstart.yaml", sets=sets))


@pytest.fixture
def fresh(panel: Panel) -> Panel:
    panel.reset()
    return panel


def numbers(panel: Panel, name: str) -> tuple[object, ...]:
    """Return the numbers of a series of the figures."""
    (trace,) = (trace for trace in panel.figure.data if trace.name == name)
    return tuple(trace.x)


def test_it_starts_where_the_scenario_is(fresh: Panel) -> None:
    assert fresh.result is not None
    assert fresh.cards.count("as at the start") == 4
    assert "gross margin" in fresh.cards
    assert "all_users_in_cogs" in fresh.cards
    assert numbers(fresh, "now promises") == numbers(fresh, "start promises")


def test_a_moved_control_changes_numbers_and_figures_in_place(fresh: Panel) -> None:
    figure = fresh.figure
    before = numbers(fresh, "now money")
    fresh.move("pools.chat.nodes", 9)
    assert fresh.figure is figure
    assert numbers(fresh, "now money") != before == numbers(fresh, "start money")
    assert "−8 against the start" in fresh.cards
    assert "--set pools.chat.nodes=9" in fresh.message
    assert "--set 'workload.duration=2 min'" in unescape(fresh.message)  # as it was loaded
    fresh.reset()
    assert numbers(fresh, "now money") == before


def test_a_bill_at_other_prices_says_that_nothing_was_simulated(fresh: Panel) -> None:
    fresh.move("prices.margin", "paid_only")
    assert "Billed again" in fresh.message
    assert "paid_only" in fresh.cards


def test_what_cannot_be_is_said_and_the_last_numbers_fade(fresh: Panel) -> None:
    before = numbers(fresh, "now promises")
    fresh.move("pools.reasoning.weight_dtype", "bf16")
    assert fresh.result is None
    assert "Not possible." in fresh.message
    assert "does not fit on 8 x h200-sxm" in fresh.message
    assert "Traceback" not in fresh.message
    assert STALE in fresh.cards
    assert numbers(fresh, "now promises") == before
    fresh.move("pools.reasoning.weight_dtype", "fp8")
    assert fresh.result is not None
    assert STALE not in fresh.cards


def test_the_price_moves_along_with_the_machines_until_it_is_moved(fresh: Panel) -> None:
    stated = fresh.values()["pools.chat.price"]
    fresh.move("pools.chat.node", "hgx-b200")
    listed = fresh.values()["pools.chat.price"]
    assert listed == fresh.model.control("pools.chat.price").versions["hgx-b200"].start != stated
    assert set(fresh.answer.values) == {"pools.chat.node"}
    assert "what-if-chat" not in fresh.message
    fresh.move("pools.chat.price", stated)  # the machines' own price, no longer where it started
    assert "what-if-chat" in fresh.message
    fresh.move("pools.chat.node", "hgx-h200")
    assert fresh.values()["pools.chat.price"] == stated
    assert "what-if-chat" in fresh.message
    fresh.reset()
    assert fresh.values()["pools.chat.price"] == stated
    assert not fresh.answer.values


def test_broken_promises_are_red(fresh: Panel) -> None:
    fresh.move("pools.chat.nodes", 3)
    (bars,) = (trace for trace in fresh.figure.data if trace.name == "now promises")
    assert palette()["bad"] in bars.marker.color
    assert palette()["good"] in bars.marker.color


def test_a_notebook_shows_it_as_a_widget(fresh: Panel) -> None:
    bundle = fresh._repr_mimebundle_()
    assert "application/vnd.jupyter.widget-view+json" in bundle


def test_without_widgets_the_remedy_is_named(tmp_path: Path) -> None:
    (tmp_path / "ipywidgets.py").write_text("raise ModuleNotFoundError('no ipywidgets here')")
    code = (
        f"import sys; sys.path.insert(0, {str(tmp_path)!r}); import planner\n"
        "try:\n"
        "    planner.whatif('scenarios/quickstart.yaml')\n"
        "except planner.PlannerError as error:\n"
        "    print(error)"
    )
    said = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, check=True, text=True
    )
    assert said.stdout == (
        "no ipywidgets here; install what notebooks need: pip install 'planner[notebook]'\n"
    )
