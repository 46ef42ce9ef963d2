"""Figures as plain plotly specifications: dictionaries that `Plotly.newPlot` takes as they are.

plotly's own Python classes validate what tests can check as well, and take a second to import.
Colours are names such as `var:series-1`; the page replaces them by those of its theme.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import pandas as pd

from planner.economics import UNALLOCATED
from planner.report.wording import DEFINITION_TITLES, METRIC_SHORT, shown_metrics
from planner.results.columns import BROKEN, FATES, METRIC_TITLES
from planner.results.formatting import duration, money, percentile
from planner.results.result import Finance, Result

MOST_WINDOWS: Final = 1500
"""Longer time series are averaged down to at most this many points."""
SERIES: Final = 8
"""Colours of the palette; further series repeat them."""
_MONDAY_MS: Final = 978_307_200_000
"""2001-01-01T00:00Z, a Monday: only the weekday and the time of day are shown."""
_WEEKDAYS: Final = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_HIGHEST_NINES: Final = 4.0
"""The vertical axis of a latency distribution ends at 99.99%."""

Spec = dict[str, Any]


@dataclass(frozen=True)
class Figure:
    """One chart, and what a reader needs beside it."""

    key: str
    """Identifies the element on the page."""
    title: str
    caption: str
    """What the chart shows, for those who cannot see it."""
    spec: Spec
    table: str
    """Table behind the chart."""
    height: int
    """Pixels."""
    legend: tuple[tuple[str, str, str], ...] = ()
    """Colour, kind of mark (`area`, `line`, `dash`, `diamond`) and label of each series."""
    note: str = ""
    """What a reader should know to read it, under the title."""
    table_filter: tuple[str, str] | None = None
    """Column and value of the rows of the table that the chart shows; None: all."""
    more_tables: tuple[str, ...] = ()
    """Further tables behind the chart, each as a whole."""


def series_colour(number: int) -> str:
    """Return the name of the colour of a series, counted from 0."""
    return f"var:series-{number % SERIES + 1}"


def demand_figure(result: Result) -> Figure:
    """Return requests per second by class, over accelerators in service and what they attain."""
    classes = thin(result.frames.class_windows, "class")
    pools = thin(_with_attained(result.frames.pool_windows), "pool")
    traces: list[Spec] = []
    legend = []
    for number, (name, rows) in enumerate(classes):
        colour = series_colour(number)
        traces.append(
            _steps(result, rows, "arrival_rps", name, "%{y:.3s}/s")
            | {"stackgroup": "demand", "fillcolor": f"{colour}/0.75", "line": _thin_line(colour)}
        )
        legend.append((colour, "area", name))
    served = pd.concat([rows for _, rows in classes]).groupby("window_start_s", as_index=False)
    good = served.agg({"window_end_s": "first", "goodput_rps": "sum"})
    traces.append(
        _steps(result, good, "goodput_rps", "goodput", "%{y:.3s}/s")
        | {"line": {"color": "var:ink", "width": 1.5, "shape": "hv"}}
    )
    legend.append(("var:ink", "line", "goodput"))
    traces += _capacity_traces(result, pools)
    offset = len(classes)
    legend += [
        (series_colour(offset + number), "area", f"{name} attained")
        for number, (name, _) in enumerate(pools)
    ]
    legend.append(("var:ink", "dash", "accelerators in service"))
    layout = {
        "xaxis": _time_axis(result) | {"anchor": "y2"},
        "yaxis": {"domain": [0.56, 1.0], "title": {"text": "requests/s"}, "rangemode": "tozero"},
        "yaxis2": {"domain": [0.0, 0.46], "title": {"text": "accelerators"}, "rangemode": "tozero"},
        "hovermode": "x unified",
    }
    note = (
        "Top: requests that arrive per second, by class, and those served within all promises. "
        "Bottom: accelerators in service and, by pool, how many of them running at their peak "
        "would do the same work: the larger of the shares of peak arithmetic and peak memory "
        "bandwidth, times the accelerators. Even an engine that is "
        "always busy attains less than its peak."
    )
    return Figure(
        key="demand",
        title="Demand against capacity",
        caption=f"Demand and capacity over time. {note}",
        note=note,
        spec={"data": traces, "layout": layout},
        table="class_windows",
        more_tables=("pool_windows",),
        height=520,
        legend=tuple(legend),
    )


def _with_attained(windows: pd.DataFrame) -> pd.DataFrame:
    """Return the windows of pools with the accelerators that would do the same work at peak."""
    rate = windows[["compute_rate", "memory_rate"]].max(axis=1).fillna(0.0)
    return windows.assign(attained=rate * windows["accelerators"])


def _capacity_traces(result: Result, pools: Sequence[tuple[str, pd.DataFrame]]) -> list[Spec]:
    traces = []
    offset = len(result.frames.classes)
    for number, (name, rows) in enumerate(pools):
        colour = series_colour(offset + number)
        traces.append(
            _steps(result, rows, "attained", f"{name} attained", "%{y:.1f}")
            | {
                "yaxis": "y2",
                "stackgroup": "attained",
                "fillcolor": f"{colour}/0.75",
                "line": _thin_line(colour),
            }
        )
    every = pd.concat([rows for _, rows in pools]).groupby("window_start_s", as_index=False)
    total = every.agg({"window_end_s": "first", "accelerators": "sum"})
    traces.append(
        _steps(result, total, "accelerators", "accelerators in service", "%{y:.0f}")
        | {"yaxis": "y2", "line": {"color": "var:ink", "width": 1.5, "dash": "dash", "shape": "hv"}}
    )
    return traces


def latency_figures(result: Result) -> list[Figure]:
    """Return one distribution per metric: all classes, with the promises marked."""
    figures = []
    names = [str(name) for name in result.frames.classes["class"]]
    quantiles = result.frames.quantiles
    reasoning_tokens = int(result.frames.total["reasoning_tokens"].iloc[0])
    for metric in shown_metrics(reasoning_tokens)[:-1]:  # the last is the queue, of no promise
        rows = quantiles[quantiles["metric"] == metric]
        traces = [
            distribution(rows[rows["class"] == name], name, series_colour(number))
            for number, name in enumerate(names)
        ]
        promises = result.frames.objectives
        promises = promises[promises["metric"] == metric]
        traces += [_promise(row, names) for row in promises.to_dict("records")]
        shown = [value for trace in traces for value in trace["x"]]
        layout = {
            "xaxis": latency_axis(shown),
            "yaxis": nines_axis(),
            "hovermode": "closest",
            "margin": {"l": 56, "t": 6, "b": 30, "r": 12},
        }
        over = "token gaps" if metric == "itl" else "requests"
        figures.append(
            Figure(
                key=f"latency-{metric}",
                title=f"{METRIC_TITLES[metric].capitalize()} ({METRIC_SHORT[metric]})",
                caption=f"Share of {over} at or below each {METRIC_TITLES[metric]}, by class.",
                note=f"Share of {over} at or below",
                spec={"data": traces, "layout": layout},
                table="quantiles",
                height=290,
                table_filter=("metric", metric),
            )
        )
    return figures


def distribution(rows: pd.DataFrame, title: str, colour: str, **more: Any) -> Spec:
    """Return the line of a latency distribution.

    Args:
        rows: of the table of quantiles, of one class and metric.
        title: what it is called where the mouse is over it.
        colour: of the line.
        more: entries of the trace that differ.
    """
    kept = rows[(rows["percentile"] < 100) & (rows["value_s"] > 0)]
    kept = kept.drop_duplicates("value_s", keep="last")  # neighbours in one bin make no stairs
    return {
        "type": "scatter",
        "mode": "lines",
        "name": title,
        "x": numbers(kept["value_s"]),
        "y": numbers(nines(p) for p in kept["percentile"]),
        "text": [
            f"{percentile(p)} {duration(v)}"
            for p, v in zip(kept["percentile"], kept["value_s"], strict=True)
        ],
        "hovertemplate": f"%{{text}}<extra>{title}</extra>",
        "line": {"color": colour, "width": 2},
    } | more


def _promise(row: dict[Any, Any], names: Sequence[str]) -> Spec:
    verdict = row["verdict"]
    broken = verdict == BROKEN
    colour = "var:bad" if broken else series_colour(names.index(row["class"]))
    height = min(nines(row["percentile"]), _HIGHEST_NINES)
    text = f"{percentile(row['percentile'])} ≤ {duration(row['limit'])}: {verdict}"
    return {
        "type": "scatter",
        "mode": "lines+markers",
        "name": f"promise of {row['class']}",
        "legendgroup": row["class"],
        "x": numbers([row["limit"], row["limit"]]),
        "y": numbers([0.0, height]),
        "text": [text, text],
        "hovertemplate": f"%{{text}}<extra>{row['class']}</extra>",
        "line": {"color": colour, "width": 1, "dash": "dot"},
        "marker": {
            "symbol": "x" if broken else "diamond",
            "size": [0, 11],
            "color": colour,
            "opacity": [0, 1],
            "line": {"color": "var:surface", "width": 1.5},
        },
    }


def nines(percent: float) -> float:
    """Return the number of nines: 90% is 1, 99% is 2; 50% is 0.3.

    >>> nines(99.9).__round__(6), nines(0.0)
    (3.0, 0.0)
    """
    return -math.log10(1.0 - percent / 100.0) if percent else 0.0


def nines_axis() -> Spec:
    """Return the vertical axis of a latency distribution: as far from 99 to 99.9% as from 90."""
    marks = (0.0, 50.0, 90.0, 99.0, 99.9, 99.99)
    return {
        "tickvals": numbers(nines(p) for p in marks),
        "ticktext": [f"{p:g}%" for p in marks],
        "range": [0, _HIGHEST_NINES + 0.15],
    }


def latency_axis(values: Sequence[float]) -> Spec:
    """Return the logarithmic axis over which latencies lie [s], with marks in words."""
    positive = [value for value in values if value > 0]
    low, high = (min(positive), max(positive)) if positive else (0.01, 1.0)
    low, high = low / 1.15, high * 1.15
    decades = math.log10(high / low)
    steps = (1, 2, 5) if decades < 1.8 else (1, 3) if decades < 3 else (1,)
    exponents = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    marks = [step * 10.0**exponent for exponent in exponents for step in steps]
    marks = [mark for mark in marks if low <= mark <= high]
    return {
        "type": "log",
        "range": numbers([math.log10(low), math.log10(high)]),
        "tickvals": numbers(marks),
        "ticktext": [_short_duration(mark) for mark in marks],
        "minor": {"showgrid": False},
    }


def _short_duration(seconds: float) -> str:
    if seconds >= 0.9995:
        return f"{seconds:,.6g} s"
    if seconds >= 0.9995e-3:
        return f"{seconds * 1e3:.6g} ms"
    return f"{seconds * 1e6:.6g} µs"


def pool_figures(result: Result) -> list[Figure]:
    """Return utilisation and queue over time, one figure per pool."""
    rates = (
        ("busy_rate", "busy", "var:ink", "dot"),
        ("compute_rate", "compute", "var:series-1", "solid"),
        ("memory_rate", "memory bandwidth", "var:series-2", "solid"),
        ("kv_usage_rate", "KV memory", "var:series-4", "solid"),
    )
    layout = {
        "xaxis": _time_axis(result) | {"anchor": "y2"},
        "yaxis": {"domain": [0.50, 1.0], "tickformat": ".0%", "range": [0, 1.04]},
        "yaxis2": {"domain": [0.0, 0.38], "rangemode": "tozero", "title": {"text": "requests"}},
        "hovermode": "x unified",
    }
    figures = []
    for name, rows in thin(result.frames.pool_windows, "pool"):
        traces = [
            _steps(result, rows, column, label, "%{y:.0%}")
            | {"line": {"color": colour, "width": 1.8, "dash": dash, "shape": "hv"}}
            for column, label, colour, dash in rates
        ]
        per_replica = rows.assign(
            batch=rows["running"] / rows["replicas"].where(rows["replicas"] > 0),
            queue=rows["waiting"] / rows["replicas"].where(rows["replicas"] > 0),
        )
        traces += [
            _steps(result, per_replica, column, label, "%{y:.3s} per replica")
            | {
                "yaxis": "y2",
                "fill": "tozeroy",
                "fillcolor": f"{colour}/0.25",
                "line": {"color": colour, "width": 1.4, "shape": "hv"},
            }
            for column, label, colour in (
                ("batch", "batch size", "var:series-7"),
                ("queue", "waiting requests", "var:series-3"),
            )
        ]
        figures.append(
            Figure(
                key=f"pool-{name}",
                title=name,
                caption=(
                    f"Pool {name} over time: shares of busy time, arithmetic, memory bandwidth and "
                    "KV memory in use; below, requests that run and that wait, per replica."
                ),
                note="Shares in use; below, requests per replica that run (batch size) and wait",
                spec={"data": traces, "layout": layout},
                table="pool_windows",
                height=380,
                table_filter=("pool", name),
            )
        )
    return figures


POOL_LEGEND: Final = (
    ("var:ink", "dot", "busy"),
    ("var:series-1", "line", "compute"),
    ("var:series-2", "line", "memory bandwidth"),
    ("var:series-4", "line", "KV memory"),
    ("var:series-7", "area", "batch size"),
    ("var:series-3", "area", "waiting requests"),
)


def losses_figure(result: Result) -> Figure | None:
    """Return lost and refused requests over time by fate; None where every request was served."""
    windows = result.frames.class_windows
    fates = FATES[1:]
    shown = [fate for fate in fates if windows[fate].sum()]
    if not shown:
        return None
    sums = windows.groupby("window_start_s", as_index=False).agg(
        {"window_end_s": "first"} | dict.fromkeys(shown, "sum")
    )
    width_s = sums["window_end_s"] - sums["window_start_s"]
    for fate in shown:
        sums[fate] = np.where(width_s > 0, sums[fate] / width_s.where(width_s > 0, 1.0), 0.0)
    sums = _average(sums)
    traces, legend = [], []
    for fate in shown:
        colour = "var:quiet" if fate == "rate_limited" else series_colour(fates.index(fate) + 1)
        label = fate.replace("_", " ")
        traces.append(
            _steps(result, sums, fate, label, "%{y:.3s}/s")
            | {"stackgroup": "lost", "fillcolor": f"{colour}/0.7", "line": _thin_line(colour)}
        )
        legend.append((colour, "area", label))
    layout = {
        "xaxis": _time_axis(result),
        "yaxis": {"rangemode": "tozero", "title": {"text": "requests/s"}},
        "hovermode": "x unified",
    }
    return Figure(
        key="losses",
        title="Requests that were not served",
        caption="Requests per second that were not served, by fate, over time.",
        note="Requests per second by fate, in the window in which they ended",
        spec={"data": traces, "layout": layout},
        table="class_windows",
        height=220,
        legend=tuple(legend),
    )


def waterfall_figure(finance: Finance) -> Figure:
    """Return the way from revenue to gross profit per hour, under the headline's definition."""
    steps = _waterfall_steps(finance)
    ends = np.cumsum([0.0, *(value for _, value in steps)])
    ends[-1] = 0.0  # the last bar is the sum of the others, and starts at zero
    values = [value for _, value in steps]
    starts = np.append(ends[:-2], 0.0)
    low = np.minimum(starts, starts + values)
    most = float(max(starts.max(), (low + np.abs(values)).max()))
    least = min(0.0, float(low.min()))
    last = "var:good" if values[-1] >= 0 else "var:bad"
    trace = {
        "type": "bar",
        "orientation": "h",
        "y": list(range(len(steps))),
        "base": numbers(low),
        "x": numbers(np.abs(values)),
        "text": [money(value) for value in values],
        "textposition": "outside",
        "cliponaxis": False,
        "hovertext": [label for label, _ in steps],
        "hovertemplate": "%{hovertext}: %{text} per hour<extra></extra>",
        "marker": {"color": ["var:series-1", *["var:series-3"] * (len(steps) - 2), last]},
    }
    layout = {
        "xaxis": {
            "tickprefix": "$",
            "tickformat": "~s",
            "range": numbers([least * 1.05, most * 1.02]),
            "nticks": 5,
        },
        "yaxis": {
            "tickvals": list(range(len(steps))),  # by number: a class may be named "revenue"
            "ticktext": [label for label, _ in steps],
            "automargin": True,
            "autorange": "reversed",
            "showgrid": False,
        },
        "margin": {"l": 8, "r": 62, "t": 4, "b": 28},
        "bargap": 0.3,
    }
    definition = DEFINITION_TITLES.get(finance.margin_definition, finance.margin_definition)
    return Figure(
        key="waterfall",
        title="From revenue, less serving each class, to gross profit",
        caption=f"Revenue, costs and gross profit in US dollars per hour, {definition}.",
        note=f"US dollars per hour, {definition} ({finance.margin_definition})",
        spec={"data": [trace], "layout": layout},
        table="margins",
        height=70 + 34 * len(steps),
    )


def _waterfall_steps(finance: Finance) -> list[tuple[str, float]]:
    """Return label and US dollars per hour: revenue, costs (negative), gross profit."""
    margin = finance.margins[finance.margins["headline"].astype(bool)].to_dict("records")[0]
    counts_free = finance.margin_definition == "all_users_in_cogs"
    costs = [
        (str(row["class"]), -row["cost_usd"])
        for row in finance.class_costs.to_dict("records")
        if row["paying"] or counts_free or row["class"] == UNALLOCATED
    ]
    if margin["partner_share_deducted_usd"]:
        costs.append(("partner's share", -margin["partner_share_deducted_usd"]))
    profit = ("gross profit", margin["gross_profit_usd"])
    steps = [("revenue", margin["revenue_usd"]), *costs, profit]
    return [(label, value / finance.hours) for label, value in steps]


def cost_figure(finance: Finance) -> Figure:
    """Return cost per hour of each pool: work, idle, overhead."""
    costs = finance.pool_costs.groupby("pool", sort=False, as_index=False).sum(numeric_only=True)
    kinds = (
        ("workload_usd", "work", "var:series-1"),
        ("idle_usd", "idle", "var:series-1/0.35"),
        ("overhead_usd", "overhead", "var:quiet"),
    )
    traces = [
        {
            "type": "bar",
            "orientation": "h",
            "name": label,
            "y": [str(pool) for pool in costs["pool"]],
            "x": numbers(costs[column] / finance.hours),
            "text": [money(value / finance.hours) for value in costs[column]],
            "hovertemplate": f"{label}: %{{text}} per hour<extra>%{{y}}</extra>",
            "textposition": "none",
            "marker": {"color": colour},
        }
        for column, label, colour in kinds
    ]
    layout = {
        "barmode": "stack",
        "bargap": 0.35,
        "xaxis": {"tickprefix": "$", "tickformat": "~s", "rangemode": "tozero"},
        "yaxis": {"automargin": True, "autorange": "reversed", "showgrid": False},
        "margin": {"l": 8, "r": 16, "t": 4, "b": 30},
    }
    return Figure(
        key="cost",
        title="What the machines cost",
        caption="Cost of each pool in US dollars per hour: work, idle and overhead.",
        note="US dollars per hour by pool",
        spec={"data": traces, "layout": layout},
        table="pool_costs",
        height=60 + 46 * len(costs),
        legend=tuple((colour, "area", label) for _, label, colour in kinds),
    )


# --- shared --------------------------------------------------------------------------------------


def thin(frame: pd.DataFrame, key: str) -> list[tuple[str, pd.DataFrame]]:
    """Return the time series of each class or pool, averaged to at most `MOST_WINDOWS` points.

    Args:
        frame: a table by window.
        key: `class` or `pool`.
    """
    parts = frame.groupby(key, sort=False)
    return [(str(name), _average(rows.reset_index(drop=True))) for name, rows in parts]


def _average(rows: pd.DataFrame) -> pd.DataFrame:
    block = math.ceil(len(rows) / MOST_WINDOWS)
    if block <= 1:
        return rows
    aggregation = {
        name: "first" if name == "window_start_s" else "last" if name == "window_end_s" else "mean"
        for name in rows.columns
        if pd.api.types.is_numeric_dtype(rows[name])
    }
    return rows.groupby(np.arange(len(rows)) // block).agg(aggregation)


def _steps(result: Result, rows: pd.DataFrame, column: str, name: str, value: str) -> Spec:
    """Return a step line over the windows; the last window is closed by a point at its end."""
    values = numbers(rows[column])
    times = [*rows["window_start_s"], rows["window_end_s"].iloc[-1]]
    return {
        "type": "scatter",
        "mode": "lines",
        "name": name,
        "x": [_instant_ms(result, float(time)) for time in times],
        "y": [*values, values[-1]],
        "line": {"shape": "hv"},
        "hovertemplate": f"{value}<extra>{name}</extra>",
    }


def _thin_line(colour: str) -> Spec:
    return {"color": colour, "width": 0.5, "shape": "hv"}


def _instant_ms(result: Result, time_s: float) -> int:
    hours, minutes = (int(part) for part in result.start.split(":"))
    day = _WEEKDAYS.index(result.weekday)
    start_s = (day * 24 + hours) * 3600 + minutes * 60
    return _MONDAY_MS + round((start_s + time_s) * 1000)


def _time_axis(result: Result) -> Spec:
    long = result.end_s > 86_400
    short = result.end_s < 600
    return {
        "type": "date",
        "tickformat": "%a %H:%M" if long else "%H:%M:%S" if short else "%H:%M",
        "hoverformat": "%a %H:%M:%S",
        "showgrid": False,
        "nticks": 9,
    }


def numbers(values: Iterable[float]) -> list[float | int | None]:
    """Return values with six significant digits, as JSON can hold them; NaN becomes None."""
    return [_number(float(value)) for value in values]


def _number(value: float) -> float | int | None:
    if not math.isfinite(value):
        return None
    rounded = float(f"{value:.6g}")
    return int(rounded) if rounded.is_integer() and abs(rounded) < 1e15 else rounded


def unmarked(text: str) -> str:
    """Return a text in which plotly finds no markup."""
    return text.replace("&", "&amp;").replace("<", "&lt;")


def label_axis(labels: Sequence[str]) -> Spec:
    """Return the vertical axis of bars that lie below each other, with the label of each.

    Args:
        labels: in plotly's markup: texts from outside pass `unmarked`.
    """
    return {
        "tickvals": list(range(len(labels))),
        "ticktext": list(labels),
        "automargin": True,
        "range": [len(labels) - 0.4, -0.6],
        "showgrid": False,
        "zeroline": False,
    }
