"""Several results side by side: what differs from the first, and how the latencies lie."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import pandas as pd

from planner.report.figures import Figure, distribution, latency_axis, nines_axis, series_colour
from planner.report.fragments import Cell, chart, legend, number, panel, section, table, tools
from planner.report.page import Chapter, data_table, rounded
from planner.report.wording import METRIC_SHORT
from planner.results.columns import METRIC_TITLES
from planner.results.formatting import MINUS, MISSING, count, duration, money, percent
from planner.results.result import Result

Labelled = tuple[str, Result]
_DASHES: Final = (("solid", "line"), ("dash", "dash"), ("dot", "dot"), ("dashdot", "dash"))
"""Of the results in turn: how plotly draws the line, and the legend its mark."""
_NOTABLE: Final = 0.01
"""Smaller differences, relative or of a rate, are called neither better nor worse."""
_METRICS: Final = ("ttft", "tpot", "e2e")


@dataclass(frozen=True)
class Measure:
    """One number that results are compared by."""

    title: str
    unit: str
    show: Callable[[float], str]
    less_is_better: bool | None
    """None: neither way is better in itself."""
    values: tuple[float | None, ...]
    request_class: str = ""

    def change(self, at: int) -> Cell:
        """Return the difference of a result from the first."""
        first, found = self.values[0], self.values[at]
        if first is None or found is None:
            return number(MISSING)
        change = found - first
        if change == 0:
            return number("same", "zero")
        sign = "+" if change > 0 else MINUS
        if self.unit == "1":
            text = f"{sign}{abs(change) * 100:.1f} pp"
        elif first:
            text = f"{sign}{abs(change / first):.1%}"
        else:
            text = f"{sign}{self.show(abs(change))}"
        relative = abs(change) if self.unit == "1" else abs(change / first) if first else 1.0
        if self.less_is_better is None or relative < _NOTABLE:
            return number(text)
        return number(text, "gain" if (change < 0) == self.less_is_better else "loss")


def comparison_chapter(results: Sequence[Labelled]) -> Chapter:
    """Return the comparison of results with the first of them.

    Args:
        results: at least two, each with a label of its own.
    """
    listed = [*_overall([each for _, each in results]), *_by_class([r for _, r in results])]
    figures = tuple(_distribution(metric, results) for metric in _METRICS)
    labels = [label for label, _ in results]
    text = (
        f"Differences are from “{labels[0]}”, which the rest of this page shows. Curves: the share "
        "of requests at or below a latency; colours are classes, strokes are results."
    )
    classes = _classes(results)
    marks = [(series_colour(at), "line", name) for at, name in enumerate(classes)]
    marks += [("var:ink", _stroke(at)[1], label) for at, label in enumerate(labels)]
    body = section(
        "comparison",
        "Side by side",
        text,
        panel(tools("Results compared", "comparison"), _table(labels, listed)),
        legend(marks),
        f'<div class="grid three">{"".join(map(chart, figures))}</div>',
    )
    rows = [[m.title, m.request_class, m.unit, *rounded(m.values)] for m in listed]
    return Chapter(
        sections=(("comparison", "Side by side"),),
        body=(body,),
        figures=figures,
        tables={
            "comparison": data_table(["measure", "class", "unit", *labels], rows),
            "compared_quantiles": data_table(
                ["result", "class", "metric", "percentile", ("value_s", "s", "")],
                [
                    [label, *rounded([row.klass, row.metric, row.percentile, row.value_s])]
                    for label, result in results
                    for row in result.frames.quantiles.rename(
                        columns={"class": "klass"}
                    ).itertuples(index=False)
                    if row.metric in _METRICS
                ],
            ),
        },
    )


def _table(labels: Sequence[str], listed: Sequence[Measure]) -> str:
    head = ["measure", f"#{labels[0]}"]
    for label in labels[1:]:
        head += [f"#{label}", "#difference"]
    rows = []
    for each in listed:
        cells = [Cell(each.title, small=each.request_class), _value(each, 0)]
        for at in range(1, len(labels)):
            cells += [_value(each, at), each.change(at)]
        rows.append(cells)
    return table("Results compared", head, rows)


def _value(each: Measure, at: int) -> Cell:
    found = each.values[at]
    return number(MISSING if found is None else each.show(found))


def _overall(results: Sequence[Result]) -> list[Measure]:
    heads = [result.headline for result in results]
    definitions = list(dict.fromkeys(head["gross_margin_definition"] for head in heads))
    named = ", ".join(filter(None, definitions)) or "no prices"
    stated: list[tuple[str, str, str, Callable[[float], str], bool | None]] = [
        ("accelerators_at_peak", "accelerators at peak", "devices", count, True),
        ("p99_ttft_s", "p99 time to first token", "s", duration, True),
        ("slo_attainment_rate", "requests within all promises", "1", percent, False),
        ("goodput_rps", "goodput, requests/s", "1/s", count, False),
        ("cost_per_hour_usd", "cost per hour", "USD/h", money, True),
        ("cost_per_million_output_tokens_usd", "cost per 1M output tokens", "USD", money, True),
        ("gross_margin_rate", f"gross margin, {named}", "1", percent, False),
    ]
    found = [
        Measure(title, unit, show, less, tuple(head[name] for head in heads))
        for name, title, unit, show, less in stated
    ]
    arriving = tuple(float(r.frames.classes["arrival_rps"].sum()) for r in results)
    found.insert(0, Measure("demand, requests/s", "1/s", count, None, arriving))
    energy = tuple(
        None if result.impact is None else result.impact.energy_per_request_wh for result in results
    )
    carbon = tuple(
        None if result.impact is None else result.impact.sci_per_request_g for result in results
    )
    found.append(Measure("energy per request, Wh", "Wh", count, True, energy))
    found.append(Measure("carbon per request (SCI), g", "g", count, True, carbon))
    return [each for each in found if any(value is not None for value in each.values)]


def _by_class(results: Sequence[Result]) -> list[Measure]:
    stated: tuple[tuple[str, str, str, Callable[[float], str], bool], ...] = (
        ("ttft_p99_s", "p99 time to first token", "s", duration, True),
        ("tpot_p99_s", "p99 time per output token", "s", duration, True),
        ("slo_attainment_rate", "requests within all promises", "1", percent, False),
    )
    frames = [result.frames.classes.set_index("class") for result in results]
    names = dict.fromkeys(str(name) for frame in frames for name in frame.index)
    return [
        Measure(title, unit, show, less, tuple(_of(f, name, column) for f in frames), name)
        for name in names
        for column, title, unit, show, less in stated
    ]


def _of(frame: pd.DataFrame, name: str, column: str) -> float | None:
    if name not in frame.index:
        return None
    value = float(frame.loc[[name], column].iloc[0])
    return value if math.isfinite(value) else None


# --- figures --------------------------------------------------------------------------------------


def _classes(results: Sequence[Labelled]) -> list[str]:
    named = (str(name) for _, result in results for name in result.frames.classes["class"])
    return list(dict.fromkeys(named))


def _stroke(at: int) -> tuple[str, str]:
    return _DASHES[at % len(_DASHES)]


def _distribution(metric: str, results: Sequence[Labelled]) -> Figure:
    classes = _classes(results)
    traces = [
        _curve(rows, label, name, series_colour(classes.index(name)), _stroke(at)[0])
        for at, (label, result) in enumerate(results)
        for name in classes
        for rows in [result.frames.quantiles]
        for rows in [rows[(rows["metric"] == metric) & (rows["class"] == name)]]
    ]
    return Figure(
        key=f"compared-{metric}",
        title=f"{METRIC_TITLES[metric].capitalize()} ({METRIC_SHORT[metric]})",
        caption=f"Share of requests at or below each {METRIC_TITLES[metric]}, by class and result.",
        note="Share of requests at or below",
        spec={
            "data": traces,
            "layout": {
                "xaxis": latency_axis([value for trace in traces for value in trace["x"]]),
                "yaxis": nines_axis(),
                "hovermode": "closest",
                "margin": {"l": 56, "t": 6, "b": 30, "r": 12},
            },
        },
        table="compared_quantiles",
        height=290,
        table_filter=("metric", metric),
    )


def _curve(rows: pd.DataFrame, label: str, name: str, colour: str, dash: str) -> dict[str, Any]:
    """Return the line of a class in a result; the legend switches it by either."""
    line = {"color": colour, "width": 2, "dash": dash}
    return distribution(rows, f"{name}, {label}", colour, name=label, legendgroup=name, line=line)
