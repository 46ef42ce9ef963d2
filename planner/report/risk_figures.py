"""Figures of a risk analysis: how often each answer comes out, and a tornado of what moves it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from planner.report.figures import Figure, label_axis, numbers, unmarked
from planner.report.risk_wording import (
    between,
    explained_words,
    fleet_of,
    index_words,
    title_of,
)
from planner.results.formatting import level, share

if TYPE_CHECKING:
    from planner.search.quantities import Unit
    from planner.search.risk import Answer, Driver, Risk

LOW_COLOUR: Final = "var:series-2"
HIGH_COLOUR: Final = "var:series-3"
TORNADO_LEGEND: Final = (
    (LOW_COLOUR, "area", "input at its p10"),
    (HIGH_COLOUR, "area", "input at its p90"),
)
_MOST_BARS: Final = 24
_SCALES: Final[dict[str, tuple[float, str, str]]] = {
    "accelerators": (1.0, "", ""),
    "rate": (100.0, "", "%"),
    "s": (1.0, "", " s"),
    "usd/h": (1.0, "$", ""),
    "usd/Mtok": (1.0, "$", ""),
}
"""Unit → factor, prefix and suffix on an axis."""


def distribution_figures(found: Risk) -> list[Figure]:
    """Return a histogram per headline."""
    return [_distribution(found, answer) for answer in found.headlines if answer.interval]


def tornado_figures(found: Risk) -> list[Figure]:
    """Return a tornado per headline."""
    return [_tornado(answer) for answer in found.headlines if answer.centre is not None]


def _distribution(found: Risk, answer: Answer) -> Figure:
    assert answer.interval is not None
    unit = answer.quantity.unit
    factor = _SCALES[unit][0]
    values = np.array([v for s in found.samples if (v := s.values.get(answer.key)) is not None])
    centres, counts, width = _bins(values)
    ends = (answer.interval.low.value, answer.interval.high.value)
    inside = [ends[0] - width / 2 <= x <= ends[1] + width / 2 for x in centres.tolist()]
    bars = {
        "type": "bar",
        "x": numbers(centres * factor),
        "y": counts.tolist(),
        "width": numbers([width * factor])[0],
        "text": [level(unit, x) for x in centres.tolist()],
        "textposition": "none",
        "hovertemplate": "about %{text}: %{y} draws<extra></extra>",
        "marker": {
            "color": ["var:series-1" if within else "var:quiet" for within in inside],
            "line": {"color": "var:surface", "width": 1},
        },
    }
    most = float(counts.max())
    lines = [
        _line(answer.interval.median.value * factor, most, "median", "var:ink"),
        *(_line(end * factor, most, "end of the interval", "var:soft") for end in ends),
    ]
    title = title_of(answer)
    note = (
        f"{fleet_of(answer)[0].upper()}{fleet_of(answer)[1:]}; "
        f"{share(found.confidence)} interval {between(answer)}, median "
        f"{level(unit, answer.interval.median.value)}."
    )
    layout = {
        "xaxis": _axis(unit, [centres[0] - width / 2, centres[-1] + width / 2, *ends]),
        "yaxis": {"title": {"text": "draws"}, "rangemode": "tozero"},
        "bargap": 0.0,
        "margin": {"l": 44, "r": 12, "t": 4, "b": 28},
        "hovermode": "closest",
    }
    return Figure(
        key=f"distribution-{answer.quantity.name}",
        title=title,
        caption=f"How often {title} comes out at which value. {note}",
        spec={"data": [bars, *lines], "layout": layout},
        table="draws",
        height=240,
        legend=(
            ("var:series-1", "area", "inside the interval"),
            ("var:quiet", "area", "outside"),
            ("var:ink", "line", "median"),
        ),
        note=note,
    )


def _bins(
    values: np.ndarray[Any, np.dtype[np.float64]],
) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any], float]:
    """Return centres, counts and width of bars: one per value where there are few."""
    distinct, counts = np.unique(values, return_counts=True)
    if len(distinct) == 1:
        return distinct, counts, max(abs(float(distinct[0])) * 0.02, 1e-9)
    step = float(np.diff(distinct).min())
    places = (distinct[-1] - distinct[0]) / step
    if places <= _MOST_BARS and np.allclose(
        np.rint(np.diff(distinct) / step) * step, np.diff(distinct)
    ):
        return distinct, counts, step * 0.9
    found, edges = np.histogram(values, bins=min(_MOST_BARS, 4 + len(values) // 8))
    return (edges[:-1] + edges[1:]) / 2, found, float(edges[1] - edges[0])


def _line(x: float, top: float, name: str, colour: str) -> dict[str, Any]:
    return {
        "type": "scatter",
        "mode": "lines",
        "x": numbers([x, x]),
        "y": numbers([0.0, top * 1.08]),
        "line": {"color": colour, "width": 1.5, "dash": "solid" if name == "median" else "dot"},
        "hovertemplate": f"{name}<extra></extra>",
    }


def _tornado(answer: Answer) -> Figure:
    unit, centre = answer.quantity.unit, answer.centre
    assert centre is not None
    factor = _SCALES[unit][0]
    drivers = answer.drivers
    rows = list(range(len(drivers)))
    data = [
        _bars(answer, [driver.low for driver in drivers], "p10", LOW_COLOUR),
        _bars(answer, [driver.high for driver in drivers], "p90", HIGH_COLOUR),
    ]
    edges = [centre, *(v for d in drivers for v in (d.low, d.high) if v is not None)]
    title = title_of(answer)
    note = (
        f"{fleet_of(answer)[0].upper()}{fleet_of(answer)[1:]}: {level(unit, centre)} with every "
        f"input at its median. {explained_words(answer)}"
    )
    layout = {
        "xaxis": _axis(unit, edges, room=0.2),
        "yaxis": label_axis([_label(driver) for driver in drivers]),
        "shapes": [
            {
                "type": "line",
                **dict.fromkeys(("x0", "x1"), numbers([centre * factor])[0]),
                "y0": -0.6,
                "y1": len(rows) - 0.4,
                "line": {"color": "var:ink", "width": 1},
            }
        ],
        "barmode": "overlay",
        "bargap": 0.35,
        "margin": {"l": 8, "r": 12, "t": 4, "b": 28},
        "hovermode": "closest",
    }
    return Figure(
        key=f"tornado-{answer.quantity.name}",
        title=title,
        caption=f"What moves {title}, one input at a time. {note}",
        spec={"data": data, "layout": layout},
        table="drivers",
        table_filter=("answer", answer.quantity.name),
        height=56 + 44 * len(rows),
        legend=TORNADO_LEGEND,
        note=note.strip(),
    )


def _bars(answer: Answer, values: Sequence[float | None], name: str, colour: str) -> dict[str, Any]:
    unit, centre = answer.quantity.unit, answer.centre or 0.0
    factor = _SCALES[unit][0]
    swings = [0.0 if value is None else value - centre for value in values]
    return {
        "type": "bar",
        "orientation": "h",
        "name": name,
        "y": list(range(len(values))),
        "base": [numbers([centre * factor])[0]] * len(values),
        "x": numbers([swing * factor for swing in swings]),
        "text": [
            level(unit, value) if swing else "" for value, swing in zip(values, swings, strict=True)
        ],
        "textposition": "outside",
        "cliponaxis": False,
        "hovertemplate": f"input at {name}: %{{text}}<extra></extra>",
        "marker": {"color": colour},
    }


def _label(driver: Driver) -> str:
    name = unmarked(driver.column)
    if driver.index is None:
        return name
    total = index_words(driver.index.total).partition(" ")[0]
    return f"{name}<br><sub>{total} of variance, in all</sub>"


def _axis(unit: Unit, edges: Sequence[float], room: float = 0.06) -> dict[str, Any]:
    factor, prefix, suffix = _SCALES[unit]
    low, high = min(edges) * factor, max(edges) * factor
    margin = room * (high - low) if high > low else max(abs(high) * 0.05, 1e-9)
    return {
        "range": numbers([low - margin, high + margin]),
        "tickprefix": prefix,
        "ticksuffix": suffix,
        "nticks": 5,
    }
