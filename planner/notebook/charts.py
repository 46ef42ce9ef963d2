"""The figures beside the controls: drawn once, then their numbers change in place.

Three views of a run, each beside where it started: how near every promise is to its limit, where
the money of an hour goes, and how full the memory of each pool is over time.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from html import escape
from importlib.resources import files
from typing import Any, Final

import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from planner.report.figures import SERIES, numbers, thin
from planner.report.wording import METRIC_SHORT
from planner.results.columns import BROKEN
from planner.results.formatting import duration, money, percent, percentile
from planner.results.result import Result

INK: Final = "#6f7683"
"""Grey of text and lines: readable on the light and on the dark page of a notebook."""
_GRID: Final = "rgba(128,132,144,0.22)"
_START: Final = "rgba(128,132,144,0.45)"
_TITLES: Final = (
    "Promises: found, as a share of the limit (grey: at the start)",
    "US dollars per hour",
    "Share of KV memory in use",
)
_HEIGHT: Final = 660
_MOST_OVER: Final = 2.0
"""Promises missed by more than this times their limit end at the edge of the chart."""


def palette() -> Mapping[str, str]:
    """Return the colours of the report's light theme by name, as `series-1` or `bad`."""
    text = (files("planner.report") / "style.css").read_text(encoding="utf-8")
    light = text[: text.index("}")]
    return dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6})", light))


class Charts:
    """The figures of one start and of what is compared with it.

    Args:
        start: shown in grey throughout.
        live: make a `FigureWidget`, which a notebook updates in place; else a plain figure.
    """

    def __init__(self, start: Result, *, live: bool = True) -> None:
        self._colours = palette()
        plain = make_subplots(
            rows=3, cols=1, vertical_spacing=0.1, row_heights=[0.40, 0.28, 0.32],
            subplot_titles=(*_TITLES[:2], self._memory_title(start)),
        )  # fmt: skip
        self.figure: Any = go.FigureWidget(plain) if live else plain
        if live:  # as wide as its column, and nothing over it
            self.figure._config = {"responsive": True, "displayModeBar": False}
        self._draw(start)
        self._style(start)
        self.show(start)

    def show(self, result: Result) -> None:
        """Put the numbers of a result into the figures."""
        traces = {trace.name: trace for trace in self.figure.data}
        with self.figure.batch_update():
            for name, content in self._contents(result).items():
                traces[name].update(content)

    def _memory_title(self, start: Result) -> str:
        """Return the title of the last figure, which names the pools in their colours."""
        named = (
            f'<span style="color:{self._colour(number)}">{escape(str(name))}</span>'
            for number, name in enumerate(start.frames.pools["pool"])
        )
        return f"{_TITLES[2]}: {', '.join(named)}"

    def _colour(self, number: int) -> str:
        return self._colours[f"series-{number % SERIES + 1}"]

    def _draw(self, start: Result) -> None:
        """Add every series, with the start's numbers where they stay."""
        for row, (kind, contents) in enumerate(
            (("bar", _promises(start)), ("bar", _money(start)), ("scatter", _memory(start))), 1
        ):
            for name, content in contents.items():
                was = name.replace("now", "start", 1)
                self.figure.add_trace(_series(kind, was, content, self._faint(kind)), row, 1)
                self.figure.add_trace(_series(kind, name, content, {}), row, 1)

    def _faint(self, kind: str) -> dict[str, Any]:
        if kind == "bar":
            return {"marker": {"color": _START}}
        return {"line": {"color": _START, "width": 1.5, "dash": "dot"}}

    def _contents(self, result: Result) -> dict[str, dict[str, Any]]:
        """Return what changes of every series, by its name."""
        broken = result.frames.objectives["verdict"].eq(BROKEN).iloc[::-1]
        good, bad = self._colours["good"], self._colours["bad"]
        contents = {
            "now promises": _promises(result)["now promises"]
            | {"marker": {"color": [bad if each else good for each in broken]}}
        }
        bars = _money(result)["now money"]
        tones = [good if bar == "revenue" else self._colours["series-1"] for bar in bars["y"]]
        last = good if bars["x"][0] is None or bars["x"][0] >= 0 else bad
        contents["now money"] = bars | {"marker": {"color": [last, *tones[1:]]}}
        for number, (name, lines) in enumerate(_memory(result).items()):
            contents[name] = lines | {"line": {"color": self._colour(number), "width": 2}}
        return contents

    def _style(self, start: Result) -> None:
        axis = {"gridcolor": _GRID, "zerolinecolor": _GRID, "linecolor": _GRID}
        self.figure.update_layout(
            height=_HEIGHT,
            autosize=True,
            margin={"l": 8, "r": 12, "t": 30, "b": 36},
            barmode="group",
            bargap=0.28,
            bargroupgap=0.08,
            showlegend=False,
            paper_bgcolor="rgba(0,0,0,0)",
            plot_bgcolor="rgba(0,0,0,0)",
            font={"color": INK, "size": 12},
            hoverlabel={"namelength": -1},
        )
        self.figure.update_traces(marker_line_width=0, selector={"type": "bar"})
        self.figure.update_xaxes(**axis)
        self.figure.update_yaxes(automargin=True, **axis)
        self.figure.update_xaxes(tickformat=".0%", range=[0, _MOST_OVER], row=1, col=1, dtick=0.5)
        self.figure.update_xaxes(tickprefix="$", row=2, col=1)
        self.figure.update_xaxes(title="minutes since the start", title_standoff=6, row=3, col=1)
        self.figure.update_yaxes(tickformat=".0%", range=[0, 1.02], row=3, col=1)
        self.figure.add_vline(
            x=1.0, line={"color": INK, "width": 1.2, "dash": "dash"}, row=1, col=1
        )
        # Titles stand over their figures, flush left.
        self.figure.update_annotations(
            x=0, xanchor="left", font={"size": 13, "color": INK}, selector={"xref": "paper"}
        )


def _series(kind: str, name: str, content: dict[str, Any], style: dict[str, Any]) -> Any:
    if kind == "bar":
        return go.Bar(name=name, orientation="h", textposition="none", **(content | style))
    return go.Scatter(name=name, mode="lines", **(content | style))


def _promises(result: Result) -> dict[str, dict[str, Any]]:
    """Return one bar per promise, the first on top."""
    promises = result.frames.objectives.iloc[::-1]
    shares = (promises["value"] / promises["limit"]).clip(upper=_MOST_OVER)
    return {
        "now promises": {
            "x": numbers(shares),
            "y": [_title(row) for row in promises.to_dict("records")],
            "customdata": [_found(row) for row in promises.to_dict("records")],
            "hovertemplate": "%{y}<br>%{customdata}<extra></extra>",
        }
    }


def _title(row: Mapping[Any, Any]) -> str:
    if row["metric"] == "loss":
        return f"{row['class']} · lost"
    return f"{row['class']} · {METRIC_SHORT[row['metric']]} {percentile(row['percentile'])}"


def _found(row: Mapping[Any, Any]) -> str:
    show = percent if row["unit"] == "1" else duration
    return f"{show(row['value'])}, promised {show(row['limit'])}: {row['verdict']}"


def _money(result: Result) -> dict[str, dict[str, Any]]:
    """Return what comes in, what each pool and the partner take, and what is left, per hour."""
    finance = result.finance
    assert finance is not None, "every scenario has prices"
    hours = finance.hours
    headline = finance.margins[finance.margins["headline"]].iloc[0]
    bars = {"gross profit": headline["gross_profit_usd"]}
    if headline["partner_share_deducted_usd"]:
        bars["partner's share"] = headline["partner_share_deducted_usd"]
    for row in finance.pool_costs.iloc[::-1].to_dict("records"):
        name = f"cost of {row['pool']}"
        bars[name] = bars.get(name, 0.0) + row["cost_usd"]
    bars["revenue"] = headline["revenue_usd"]
    per_hour = pd.Series(bars) / hours
    return {
        "now money": {
            "x": numbers(per_hour),
            "y": list(bars),
            "customdata": [money(amount) for amount in per_hour],
            "hovertemplate": "%{y}: %{customdata} per hour<extra></extra>",
        }
    }


def _memory(result: Result) -> dict[str, dict[str, Any]]:
    """Return the share of KV memory in use over time, by pool."""
    return {
        f"now {name}": {
            "x": numbers(rows["window_start_s"] / 60.0),
            "y": numbers(rows["kv_usage_rate"]),
            "hovertemplate": f"{name}: %{{y:.0%}} at minute %{{x:.0f}}<extra></extra>",
        }
        for name, rows in thin(result.frames.pool_windows, "pool")
    }
