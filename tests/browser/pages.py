"""Every kind of page, made from small results: what the browser opens."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import planner
from planner.costing import cost
from planner.report.ablation import render_ablation_html
from planner.report.bridge import render_bridge_html
from planner.report.cost import render_cost_html
from planner.report.curve_fit import render_fit_html
from planner.report.forecast import render_forecast_html
from planner.report.html import Beside, render_html
from planner.report.mix import render_mix_html
from planner.report.own_chip import render_own_chip_html
from planner.report.risk import render_risk_html
from planner.report.validation import render_validation_html
from planner.results.result import Result
from planner.search import mix_content, own_chip_content
from planner.search.account import read_account
from planner.search.breakeven import breakeven
from planner.search.bridge import bridge
from planner.search.forecast import forecast
from planner.search.mix import optimise
from planner.search.prospect import Prospect
from planner.search.stored import StoredForecast
from planner.steps import step_table
from tests.report.test_ablation import ablation
from tests.report.test_curve_fit import fitted, record
from tests.report.test_risk import risk
from tests.report.test_validation import validation
from tests.search.test_forecast import TEXT as AHEAD
from tests.search.test_mix import DAY
from tests.small import load

SHORT = ("workload.duration=60 s",)
HOUR = ("workload.duration=1 h", "workload.classes.chat.open.rate=1 /s")
OTHERS = (
    "ablation", "bridge", "cost", "fit", "forecast", "mix", "own_chip", "risk", "validation",
)  # fmt: skip


class Pages:
    """Writes pages into a folder, each once.

    Args:
        folder: for the pages, and for the scenarios that they are made from.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._results: dict[int, Result] = {}
        self._prospect: Prospect | None = None

    def address(self, name: str) -> str:
        """Return the address of a page: `report`, or one of `OTHERS`."""
        path = self.folder / f"{name}.html"
        if not path.exists():
            path.write_text(getattr(self, name)(), encoding="utf-8")
        return path.as_uri()

    def result(self, nodes: int = 2) -> Result:
        """Return a run of the small scenario."""
        if nodes not in self._results:
            loaded = load(self.folder, *SHORT, f"pools.chat.nodes={nodes}")
            result = planner.run(loaded)
            self._results[nodes] = replace(result, steps=step_table(loaded, result))
        return self._results[nodes]

    def prospect(self) -> Prospect:
        """Return a forecast of two years."""
        if self._prospect is None:
            self._prospect = forecast(load(self.folder, text=AHEAD))
        return self._prospect

    def report(self) -> str:
        """Return the page that holds all that a report can hold."""
        ahead = self.prospect()
        found = bridge(self.result(), self.result(3))
        beside = Beside(
            label="two nodes",
            others=(("three nodes", self.result(3)),),
            ablation=ablation(),
            risk=risk(),
            bridge=read_account(json.loads(found.to_json())),
            forecast=StoredForecast(
                ahead.name,
                tuple(ahead.quarter_rows(ahead.projection)),
                tuple(ahead.year_rows()),
                (),
            ),
        )
        return render_html(self.result(), beside)

    def ablation(self) -> str:
        """Return the page of `planner ablate`."""
        return render_ablation_html(ablation())

    def bridge(self) -> str:
        """Return the page of `planner bridge`."""
        return render_bridge_html(bridge(self.result(), self.result(3)))

    def cost(self) -> str:
        """Return the page of `planner cost`."""
        return render_cost_html(cost(self.result()))

    def fit(self) -> str:
        """Return the page of `planner fit`."""
        return render_fit_html(record(fitted()))

    def forecast(self) -> str:
        """Return the page of `planner forecast`."""
        return render_forecast_html(self.prospect())

    def mix(self) -> str:
        """Return the page of `planner optimise`."""
        found = optimise(load(self.folder, *HOUR, text=DAY))
        tables = {
            "hours": mix_content.hour_rows(found),
            "terms": mix_content.term_rows(found),
            "points": mix_content.point_rows(found.points),
            "alternatives": mix_content.alternative_rows(found),
            "power": mix_content.power_rows(found),
        }
        return render_mix_html(found, tables)

    def own_chip(self) -> str:
        """Return the page of `planner breakeven`."""
        case = breakeven(load(self.folder, *HOUR, text=DAY))
        points = mix_content.point_rows([*case.own_points, *case.bought_points])
        tables = {"curve": own_chip_content.case_rows(case), "points": points}
        return render_own_chip_html(case, tables)

    def risk(self) -> str:
        """Return the page of `planner risk`."""
        return render_risk_html(risk())

    def validation(self) -> str:
        """Return the page of `planner validate`."""
        return render_validation_html(validation())
