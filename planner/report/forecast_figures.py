"""Figures of a forecast: demand, accelerators and spend by quarter with bands, margin, surface."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

from planner.report.figures import Figure, Spec, numbers, series_colour
from planner.report.wording import DEFINITION_TITLES

if TYPE_CHECKING:
    from planner.search.prospect import Prospect
    from planner.search.segments import Segment
    from planner.search.surface import Curve

_DASHES: Final = ("solid", "dash", "dot")
_DRAWN: Final = 60
"""Loads at which a curve is drawn."""


def figures_of(found: Prospect) -> list[Figure]:
    """Return the figures of the page, in its order; those of the surface come last."""
    shown = [_devices(found), _spend(found), _margin(found), _demand(found)]
    if found.trades:
        shown.append(_trades(found))
    pools = dict.fromkeys(p for group in found.outlook.groups for p in group.pools)
    return [*shown, *(_surface(found, pool) for pool in pools if _curves(found, pool))]


def _quarters(found: Prospect) -> list[str]:
    return list(found.outlook.labels)


def _axes(found: Prospect, title: str, **more: Any) -> Spec:
    labels = _quarters(found)
    years = [label for label in labels if label.endswith("-Q1")] if len(labels) > 8 else labels
    names = [label.partition("-")[0] for label in years] if len(labels) > 8 else years
    return {
        "xaxis": {
            "type": "category",
            "showgrid": False,
            "automargin": True,
            "tickvals": years,
            "ticktext": names,
        },
        "yaxis": {"rangemode": "tozero", "automargin": True, "title": {"text": title}} | more,
        "hovermode": "x unified",
        "barmode": "stack",
        "bargap": 0.25,
    }


def _band(x: list[str], y: list[float], error: list[float]) -> Spec:
    """Return an invisible line with error bars: the band of a stack."""
    return {
        "type": "scatter",
        "mode": "markers",
        "name": "error of the surface",
        "x": x,
        "y": numbers(y),
        "error_y": {
            "type": "data", "array": numbers(error), "color": "var:ink", "thickness": 1.2,
            "width": 3,
        },
        "marker": {"size": 1, "color": "var:ink"},
        "hovertemplate": "%{y:,.4r} ± %{error_y.array:,.3r}<extra>total</extra>",
    }  # fmt: skip


def _devices(found: Prospect) -> Figure:
    x, quarters = _quarters(found), found.projection.quarters
    traces, legend = [], []
    for index, chip in enumerate(found.chips):
        held = [sum(h.devices for h in q.holdings if h.machine.chip == chip) for q in quarters]
        traces.append(
            {
                "type": "bar",
                "name": chip,
                "x": x,
                "y": held,
                "marker": {"color": series_colour(index)},
                "hovertemplate": f"%{{y:,}}<extra>{chip}</extra>",
            }
        )
        legend.append((series_colour(index), "area", chip))
    total = [float(q.devices) for q in quarters]
    traces.append(_band(x, total, [q.devices_error for q in quarters]))
    return Figure(
        key="accelerators",
        title="Accelerators",
        caption="Accelerators held in each quarter, by chip, with the error of the surface.",
        note="Held in each quarter, by chip; the whiskers are the error of the response surface",
        spec={"data": traces, "layout": _axes(found, "accelerators")},
        table="quarters",
        height=300,
        legend=tuple(legend),
    )


def _spend(found: Prospect) -> Figure:
    x, quarters = _quarters(found), found.projection.quarters
    unit, suffix = max(
        each
        for each in ((1.0, ""), (1e6, "M"), (1e9, "B"))
        if each[0] <= max(1.0, *(q.spend_usd for q in quarters))
    )
    spend = [q.spend_usd / unit for q in quarters]
    traces: list[Spec] = [
        {
            "type": "bar",
            "name": "spend",
            "x": x,
            "y": numbers(spend),
            "marker": {"color": "var:series-1"},
            "hovertemplate": f"$%{{y:,.4r}}{suffix}<extra>spend</extra>",
        },
        _band(x, spend, [q.spend_error_usd / unit for q in quarters]),
    ]
    legend = [("var:series-1", "area", "spend on serving")]
    revenue = [q.statement.revenue_usd / unit for q in quarters]
    if any(revenue):
        traces.append(
            {
                "type": "scatter",
                "mode": "lines+markers",
                "name": "revenue",
                "x": x,
                "y": numbers(revenue),
                "line": {"color": "var:series-3", "width": 2},
                "hovertemplate": f"$%{{y:,.4r}}{suffix}<extra>revenue</extra>",
            }
        )
        legend.append(("var:series-3", "line", "revenue"))
    return Figure(
        key="spend",
        title="Spend and revenue",
        caption="US dollars of each quarter: spend on serving with its error, and revenue.",
        note="US dollars per quarter; the whiskers are the error of the response surface",
        spec={"data": traces, "layout": _axes(found, "USD", tickprefix="$", ticksuffix=suffix)},
        table="quarters",
        height=300,
        legend=tuple(legend),
    )


def _margin(found: Prospect) -> Figure:
    x, quarters = _quarters(found), found.projection.quarters
    headline = quarters[0].statement.margin.definition
    names = [headline, *quarters[0].statement.margin.others]
    traces, legend = [], []
    for index, name in enumerate(names):
        rates = [
            q.statement.margin.margin_rate if name == headline else q.statement.margin.others[name]
            for q in quarters
        ]
        colour, title = series_colour(index), DEFINITION_TITLES.get(name, name)
        traces.append(
            {
                "type": "scatter",
                "mode": "lines+markers",
                "name": title,
                "x": x,
                "y": numbers(float("nan") if rate is None else rate for rate in rates),
                "line": {"color": colour, "width": 2.5 if index == 0 else 1.5,
                         "dash": _DASHES[index % len(_DASHES)]},
                "hovertemplate": f"%{{y:.1%}}<extra>{title}</extra>",
            }
        )  # fmt: skip
        if index == 0:
            errors = numbers(q.margin_error_rate or 0.0 for q in quarters)
            traces[-1]["error_y"] = {"type": "data", "array": errors, "thickness": 1.2, "width": 3}
        legend.append((colour, "line" if index == 0 else "dash", title))
    layout = _axes(found, "gross margin", tickformat=".0%")
    layout["yaxis"].pop("rangemode")
    return Figure(
        key="margin",
        title="Gross margin",
        caption="Gross margin of each quarter under each definition; the first is the headline's.",
        note=f"By definition; the headline is {DEFINITION_TITLES.get(headline, headline)}, with "
        "the error of the response surface",
        spec={"data": traces, "layout": layout},
        table="quarters",
        height=260,
        legend=tuple(legend),
    )


def _demand(found: Prospect) -> Figure:
    x, quarters = _quarters(found), found.projection.quarters
    traces, legend = [], []
    for index, name in enumerate(found.outlook.demand):
        colour = series_colour(index)
        traces.append(
            {
                "type": "bar",
                "name": name,
                "x": x,
                "y": numbers(q.demand[name] for q in quarters),
                "marker": {"color": colour},
                "hovertemplate": f"%{{y:,.4s}}/s<extra>{name}</extra>",
            }
        )
        legend.append((colour, "area", name))
    return Figure(
        key="demand",
        title="Demand",
        caption="Mean requests (sessions, tasks) per second of each quarter, by class.",
        note="Mean requests (sessions, tasks) per second, by class",
        spec={"data": traces, "layout": _axes(found, "per second")},
        table="quarters",
        height=260,
        legend=tuple(legend),
    )


def _trades(found: Prospect) -> Figure:
    known = [each for each in found.trades if each.growth is not None]
    trace = {
        "type": "scatter",
        "mode": "lines+markers",
        "x": numbers(each.efficiency for each in known),
        "y": numbers(each.growth or 0.0 for each in known),
        "line": {"color": "var:series-1", "width": 2},
        "hovertemplate": "throughput %{x:+.0%}: demand %{y:+.1%} a year<extra></extra>",
    }
    layout = {
        "xaxis": {
            "tickformat": "+.0%",
            "automargin": True,
            "title": {"text": "throughput, a year"},
        },
        "yaxis": {"tickformat": "+.0%", "automargin": True, "title": {"text": "demand, a year"}},
        "hovermode": "closest",
    }
    text = "Gain of throughput and growth of demand a year that make the number true together."
    return Figure(
        key="trades",
        title="What would have to be true together",
        caption=text,
        note="Both on top of what is assumed",
        spec={"data": [trace], "layout": layout},
        table="trades",
        height=260,
    )


# --- the surface ---------------------------------------------------------------------------------


def _curves(found: Prospect, pool: str) -> list[tuple[Segment, Curve, str]]:
    return [
        (segment, curves[pool], f"{words['from']}, {words['chip']}{suffix}")
        for segment in found.segments
        for words in (found.segment_words(segment, pool),)
        for number, curves in enumerate(segment.curves)
        for suffix in ("" if len(segment.mixes) == 1 else (", first mix", ", last mix")[number],)
        if pool in curves
    ]


def _surface(found: Prospect, pool: str) -> Figure:
    traces: list[Spec] = []
    legend = []
    for index, (segment, curve, title) in enumerate(_curves(found, pool)):
        colour = series_colour(index)
        traces += _curve_traces(segment, curve, pool, title, colour)
        legend.append((colour, "line", title))
    layout = {
        "xaxis": {
            "type": "log",
            "automargin": True,
            "title": {"text": "arrivals per second in one simulated fleet"},
        },
        "yaxis": {
            "rangemode": "tozero",
            "automargin": True,
            "title": {"text": "nodes per 1,000/s"},
        },
        "hovermode": "closest",
    }
    return Figure(
        key=f"surface-{pool}",
        title=f"Response surface of {pool}",
        caption=(
            f"Nodes per thousand arrivals per second of {pool} over load: simulated fleets, the "
            "curve through them and its error. Where it is flat, a larger fleet pools no better."
        ),
        note="Points are simulated fleets, with a line down to the fleet that is too small; the "
        "band is the error of the curve",
        spec={"data": traces, "layout": layout},
        table="surface",
        height=300,
        legend=tuple(legend),
        table_filter=("pool", pool),
    )


def _curve_traces(segment: Segment, curve: Curve, pool: str, title: str, colour: str) -> list[Spec]:
    loads = np.geomspace(curve.bottom.load_rps, curve.top.load_rps, _DRAWN)
    middle = np.array([1000 * curve.nodes(float(load)) / load for load in loads])
    error = np.array([min(segment.error_rate(pool, float(load)), 1.0) for load in loads])
    band = {
        "type": "scatter",
        "mode": "lines",
        "x": numbers([*loads, *loads[::-1]]),
        "y": numbers([*(middle * (1 + error)), *(middle * (1 - error))[::-1]]),
        "fill": "toself",
        "fillcolor": f"{colour}/0.15",
        "line": {"width": 0, "color": colour},
        "hoverinfo": "skip",
    }
    line = {
        "type": "scatter",
        "mode": "lines",
        "x": numbers(loads),
        "y": numbers(middle),
        "line": {"color": colour, "width": 1.8},
        "hoverinfo": "skip",
    }
    points = {
        "type": "scatter",
        "mode": "markers",
        "name": title,
        "x": numbers(point.load_rps for point in curve.points),
        "y": numbers(1000 * point.nodes / point.load_rps for point in curve.points),
        "error_y": {
            "type": "data",
            "symmetric": False,
            "array": [0] * len(curve.points),
            "arrayminus": numbers(1000 * point.stride / point.load_rps for point in curve.points),
            "color": colour,
            "thickness": 1,
            "width": 0,
        },
        "text": [f"{point.nodes:,} nodes" for point in curve.points],
        "hovertemplate": "%{x:,.4s}/s: %{text}<extra>" + title + "</extra>",
        "marker": {"color": colour, "size": 8, "line": {"color": "var:surface", "width": 1}},
    }
    return [band, line, points]
