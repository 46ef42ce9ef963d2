"""Which change of what a forecast stands on is told, and which is none."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from planner.regress.compare import Verdict
from planner.regress.identity import Identity, identity_of
from planner.regress.row import Mark
from planner.simulation import load_scenario
from tests.regress.forecasts import COST, compared, forecast
from tests.small import SMALL

TRACE = "time_s,input_tokens,output_tokens\n0,100,20\n1,200,30\n"


def identity(folder: Path, text: str = SMALL, trace: str = TRACE) -> Identity:
    (folder / "t.csv").write_text(trace, encoding="utf-8")
    text = text.replace("open: {rate: 1 /s}", "trace: {file: t.csv}")
    text = text.replace("      input: {uniform: [50, 400]}\n", "")
    text = text.replace("      output: {uniform: [50, 300]}\n", "")
    text = text.replace("      reasoning: {uniform: [200, 800]}\n", "")
    (folder / "small.yaml").write_text(text, encoding="utf-8")
    return identity_of(load_scenario(folder / "small.yaml"))


def test_what_changes_which_hash(tmp_path: Path) -> None:
    usual = identity(tmp_path)
    assert dict(usual.traces).keys() == {"workload.classes.reasoning.trace"}
    same = SMALL.replace("duration: 3 min", "duration: 180 s # as before")
    gated = "regress: {gates: [{metric: cost_per_hour_usd, fail: 1%}]}\n"
    assert identity(tmp_path, same + gated) == usual
    fewer = identity(tmp_path, SMALL.replace("nodes: 2", "nodes: 1"))
    assert fewer == replace(usual, scenario=fewer.scenario) != usual
    other = identity(tmp_path, trace=TRACE + "2,300,40\n")
    assert other == replace(usual, traces=other.traces) != usual
    assert identity(tmp_path, SMALL.replace("seed: 3", "seed: 4")) == replace(usual, seed=4)


def test_calibration_files_count_as_curves(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usual = identity(tmp_path)
    file = tmp_path / "mine.json"
    file.write_text("{}", encoding="utf-8")
    monkeypatch.setattr("planner.regress.identity._calibration", lambda _: [file])
    assert identity(tmp_path).curves != usual.curves


def test_money_that_cannot_be_priced_again_is_not_comparable() -> None:
    entry = {
        "name": "h100",
        "chip": "h",
        "terms": "spot",
        "reference": True,
        "per_device_hour": {"value": 2.0, "unit": "USD/h"},
    }
    old = {"section": {}, "machine_prices": [entry], "api_prices": []}
    dearer = entry | {"per_device_hour": {"value": 3.0, "unit": "USD/h"}}
    new = old | {"machine_prices": [dearer]}
    before = replace(forecast(), prices=old)
    after = replace(forecast(cost_per_hour_usd=150.0), prices=new)
    found = compared(after, before, at_old_prices=None)
    row = found.rows[0]
    assert (row.name, row.mark) == (COST, Mark.NOT_COMPARABLE)
    assert row.note == "its share of prices is unknown"
    assert found.notes == (
        "prices changed, and what this forecast would cost at the old ones cannot be told; run "
        "planner baseline update on its scenario",
    )
    assert found.verdict == Verdict.NOT_COMPARABLE
    assert found.changed == ("prices (h100 2 → 3 USD/h)",)
    unmoved = compared(replace(forecast(), prices=new), before, at_old_prices=None)
    assert (unmoved.rows[0].mark, unmoved.verdict) == (Mark.SAME, Verdict.PASSED)
