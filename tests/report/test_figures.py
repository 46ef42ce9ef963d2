"""Figures: valid plotly, and the numbers of the tables."""

from __future__ import annotations

import json
import re
from typing import Any

import numpy as np
import pandas as pd
import pytest

from planner.report import figures
from planner.report.html import all_figures
from planner.results import Result
from tests.results.synthetic import make_result


@pytest.fixture(scope="module")
def result() -> Result:
    return make_result()


def in_black(value: Any) -> Any:
    """Replace the names of the page's colours."""
    return json.loads(re.sub(r'"var:[a-z0-9-]+(/[0-9.]+)?"', '"#000000"', json.dumps(value)))


@pytest.mark.parametrize("overload", [0.0, 2.0])
def test_every_figure_is_valid_plotly(overload: float) -> None:
    import plotly.graph_objects as go

    shown = all_figures(make_result(overload=overload))
    assert len(shown) == 11
    for figure in shown:
        go.Figure(in_black(figure.spec))  # raises on unknown attributes and wrong values


def test_keys_are_unique_and_tables_exist(result: Result) -> None:
    shown = all_figures(result)
    assert len({figure.key for figure in shown}) == len(shown)
    tables = result.tables()
    for figure in shown:
        assert figure.table in tables
        assert figure.caption
        if figure.table_filter:
            column, value = figure.table_filter
            assert (tables[figure.table][column] == value).any()


def test_demand_shows_arrivals_and_capacity(result: Result) -> None:
    traces = {trace["name"]: trace for trace in figures.demand_figure(result).spec["data"]}
    windows = result.to_pandas("class_windows")
    chat = windows[windows["class"] == "anonymous-chat"]
    np.testing.assert_allclose(traces["anonymous-chat"]["y"][:-1], chat["arrival_rps"], rtol=1e-5)
    pools = result.to_pandas("pool_windows").groupby("window_start_s")["accelerators"].sum()
    np.testing.assert_allclose(traces["accelerators in service"]["y"][:-1], pools, rtol=1e-5)
    windows = result.to_pandas("pool_windows").query("pool == 'reasoning'")
    attained = windows["memory_rate"] * windows["accelerators"]  # its compute rate is lower
    np.testing.assert_allclose(traces["reasoning attained"]["y"][:-1], attained, rtol=1e-5)


def test_time_starts_at_the_scenarios_day_and_hour(result: Result) -> None:
    first = figures.demand_figure(result).spec["data"][0]["x"][0]
    assert pd.Timestamp(first, unit="ms").strftime("%a %H:%M") == "Tue 19:00"


def test_distributions_rise_and_promises_stand_at_their_percentile(result: Result) -> None:
    ttft = figures.latency_figures(result)[0].spec["data"]
    curve = ttft[0]
    assert np.all(np.diff(curve["x"]) > 0)
    assert np.all(np.diff(curve["y"]) > 0)
    promise = next(trace for trace in ttft if trace["name"] == "promise of anonymous-chat")
    assert promise["x"] == [3, 3]
    assert promise["y"][1] == pytest.approx(2.0)  # two nines


def test_a_broken_promise_looks_different() -> None:
    ttft = figures.latency_figures(make_result(overload=2.0))[0].spec["data"]
    symbols = [trace["marker"]["symbol"] for trace in ttft if "marker" in trace]
    assert symbols == ["x", "x", "diamond"]


@pytest.mark.parametrize("definition", ["all_users_in_cogs", "paid_only", "free_in_marketing"])
def test_the_waterfall_adds_up_under_every_definition(result: Result, definition: str) -> None:
    from dataclasses import replace

    assert result.finance is not None
    margins = result.finance.margins.assign(
        headline=result.finance.margins["definition"] == definition
    )
    finance = replace(result.finance, margins=margins, margin_definition=definition)
    steps = figures._waterfall_steps(finance)
    assert sum(value for _, value in steps[:-1]) == pytest.approx(steps[-1][1])


def test_the_bars_of_cost_add_up_to_the_bill(result: Result) -> None:
    assert result.finance is not None
    figure = figures.cost_figure(result.finance)
    total = sum(sum(trace["x"]) for trace in figure.spec["data"])
    assert total == pytest.approx(result.finance.cost_per_hour_usd, rel=1e-5)


def test_without_losses_there_is_no_figure() -> None:
    result = make_result(money=False)
    result.frames.class_windows.loc[:, ["rate_limited", "timed_out"]] = 0
    assert figures.losses_figure(result) is None


def test_long_runs_are_averaged() -> None:
    windows = 10_080
    frame = pd.DataFrame(
        {
            "window_start_s": np.arange(windows) * 60.0,
            "window_end_s": np.arange(1, windows + 1) * 60.0,
            "class": "a",
            "arrival_rps": np.arange(windows, dtype=float),
        }
    )
    ((name, rows),) = figures.thin(frame, "class")
    assert name == "a"
    assert len(rows) <= figures.MOST_WINDOWS
    assert rows["window_end_s"].iloc[-1] == windows * 60.0
    assert rows["arrival_rps"].mean() == pytest.approx(frame["arrival_rps"].mean(), rel=1e-3)


def test_missing_values_become_gaps() -> None:
    assert figures.numbers([1.0, float("nan"), 1.23456789, 2e20]) == [1, None, 1.23457, 2e20]
