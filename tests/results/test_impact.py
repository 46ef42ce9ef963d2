"""Energy and carbon of a run: what the site says, what is stored, and what is shown."""

from __future__ import annotations

import io
from pathlib import Path

import pandas as pd
import pytest
from rich.console import Console

import planner
from planner.report.energy import energy_section, energy_sentence
from planner.report.html import render_html
from planner.report.terminal import print_result
from planner.results.columns import names
from planner.results.result import Result
from tests.report.test_html import Page
from tests.small import SMALL, load

pytestmark = pytest.mark.compiled  # whole runs, far too long in pure Python
SITE = "site: {region: france, contracted: 60%, embodied: 2000 kg, life: 4 year}\n"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("impact")


@pytest.fixture(scope="module")
def result(folder: Path) -> Result:
    return planner.run(load(folder, text=SMALL + SITE))


def test_accounts_follow_the_site(result: Result) -> None:
    impact = result.impact
    assert impact is not None
    assert impact.location_kg == pytest.approx(impact.energy_kwh * 0.050)
    assert impact.market_kg == pytest.approx(impact.energy_kwh * 0.020)
    # three nodes held for three minutes of four years
    assert impact.embodied_kg == pytest.approx(3 * 2000 * (3 / 60) / (4 * 8760))
    assert result.finance is not None
    assert impact.energy_kwh == pytest.approx(result.finance.energy_kwh)


def test_power_lies_between_idle_and_loaded(result: Result) -> None:
    pools = result.to_pandas("pool_footprint").set_index("pool")
    assert list(pools.columns) == names("pool_footprint")[1:]
    assert pools["node_power_kw"].between(0.12 * 10.2, 0.80 * 10.2).all()
    assert (pools["provisioned_kw"] == [20.4, 10.2]).all()
    classes = result.to_pandas("class_footprint")
    assert classes["energy_kwh"].sum() == pytest.approx(pools["energy_kwh"].sum())
    assert (classes["energy_per_request_wh"] > 0).all()


def test_assumptions_name_grid_and_machines(result: Result) -> None:
    found = {each.name: each for each in result.assumptions}
    assert found["grid intensity, france"].tier == "estimated"
    assert found["embodied carbon of a node"].tier == "scenario"
    assert found["energy covered by contracts"].value == 0.6


def test_defaults_are_stated(folder: Path) -> None:
    found = {each.name: each for each in planner.run(load(folder)).assumptions}
    assert found["grid intensity"].value == 400.0
    assert found["grid intensity"].source == "planner default"
    assert found["embodied carbon of h100-sxm"].value == 164.0
    assert "no figure of its own" in found["embodied carbon of h200-sxm"].note
    own = planner.run(load(folder, 'site={grid_intensity: "30 g/kWh"}'))
    assert own.impact is not None
    assert own.impact.location_kg == pytest.approx(own.impact.energy_kwh * 0.030)


def test_what_is_stored_comes_back(result: Result, folder: Path) -> None:
    again = Result.read(result.write(folder / "out"))
    assert again.impact is not None
    assert result.impact is not None
    pd.testing.assert_frame_equal(again.impact.class_footprint, result.impact.class_footprint)
    assert again.impact.sci_per_request_g == result.impact.sci_per_request_g


def test_reports_state_both_accounts(result: Result) -> None:
    assert result.impact is not None
    sentence = energy_sentence(result.impact)
    text = io.StringIO()
    print_result(result, Console(file=text, width=100))
    assert sentence in " ".join(text.getvalue().split())
    page = Page(render_html(result))
    assert "energy" in page.values("id")
    assert "market-based" in energy_section(result)
