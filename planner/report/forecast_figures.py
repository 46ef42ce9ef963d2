"""Figures of a forecast that stand on its response surface; those by quarter are apart."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from planner.report.figures import Figure, Spec, numbers, series_colour
from planner.report.forecast_quarters import quarter_figures

if TYPE_CHECKING:
    from planner.search.prospect import Prospect
    from planner.search.segments import Segment
    from planner.search.surface import Curve

_DRAWN: Final = 60
"""Loads at which a curve is drawn."""


def figures_of(found: Prospect) -> list[Figure]:
    """Return the figures of the page, in its order; those of the surface come last."""
    shown = quarter_figures(found.quarter_rows(found.projection))
    if found.trades:
        shown.append(_trades(found))
    pools = dict.fromkeys(p for group in found.outlook.groups for p in group.pools)
    return [*shown, *(_surface(found, pool) for pool in pools if _curves(found, pool))]


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
