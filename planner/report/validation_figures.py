"""Figures of a validation: predicted over measured, and errors by group."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Final

import numpy as np

from planner.report.figures import Figure, numbers, series_colour
from planner.validation.score import HEADLINE, THROUGHPUT, Score, errors_of, grouped
from planner.validation.wording import error_text, load_words, words

_MOST_BARS: Final = 40
_BAR_PX: Final = 17
_WIDEST_BAR: Final = 1.0
"""Bars end here: an error above 100% is as bad as can be told apart."""


def scatter_figures(scores: Sequence[Score]) -> list[Figure]:
    """Return one figure per headline metric that was measured."""
    sets = list(grouped(scores, ("set",)))
    colours = {name: series_colour(number) for number, (name,) in enumerate(sets)}
    figures = []
    for metric in HEADLINE:
        used = [score for score in scores if metric in score.pairs]
        if used:
            figures.append(_scatter(metric, used, colours))
    return figures


def _scatter(metric: str, scores: Sequence[Score], colours: dict[str, str]) -> Figure:
    unit, factor = ("tokens/s", 1.0) if metric == THROUGHPUT else ("ms", 1e3)
    by_set = grouped(scores, ("set",))
    values = [v for s in scores for v in (s.pairs[metric].measured, s.pairs[metric].predicted)]
    low, high = min(values) * factor / 1.4, max(values) * factor * 1.4
    lines = [
        _line([low, high], [low * off, high * off], "solid" if off == 1.0 else "dash")
        for off in (1.0, 1.2, 1 / 1.2)
    ]
    dots = [
        _dots(metric, name, members, factor, colours[name]) for (name,), members in by_set.items()
    ]
    ends = numbers([math.log10(low), math.log10(high)])
    axis = {"type": "log", "range": ends, "minor": {"showgrid": False}, "dtick": 1}
    title = words(metric)
    return Figure(
        key=f"scatter-{metric.replace('_', '-')}",
        title=title,
        caption=f"Predicted over measured {title} of {len(scores):,} points on logarithmic axes.",
        note=f"{unit}; {len(scores):,} points.",
        spec={
            "data": [*lines, *dots],
            "layout": {
                "xaxis": axis | {"title": {"text": f"measured, {unit}"}},
                "yaxis": axis | {"title": {"text": f"predicted, {unit}"}},
                "hovermode": "closest",
                "margin": {"l": 62, "t": 8, "b": 42, "r": 12},
            },
        },
        table="points",
        table_filter=("metric", metric),
        height=400,
        legend=tuple((colours[name], "diamond", name) for (name,) in by_set),
    )


def _dots(
    metric: str, name: str, scores: Sequence[Score], factor: float, colour: str
) -> dict[str, Any]:
    pairs = [score.pairs[metric] for score in scores]
    return {
        "type": "scatter",
        "mode": "markers",
        "name": name,
        "x": numbers(np.array([pair.measured * factor for pair in pairs])),
        "y": numbers(np.array([pair.predicted * factor for pair in pairs])),
        "text": [_hover(metric, score) for score in scores],
        "hovertemplate": f"%{{text}}<br>%{{x:.4s}} → %{{y:.4s}}<extra>{name}</extra>",
        "marker": {"color": f"{colour}/0.6", "size": 5},
    }


def _hover(metric: str, score: Score) -> str:
    point = score.point
    parts = (point.group, point.weight_dtype, f"{point.parallelism.devices} devices")
    lengths = f"{point.prompt.mean_tokens:.0f} → {point.output.mean_tokens:.0f} tokens"
    error = error_text(score.error(metric))
    text = f"{', '.join(parts)}<br>{load_words(point)}, {lengths}<br>error {error}"
    return text.replace("&", "&amp;")


def bar_figures(scores: Sequence[Score], by: Sequence[str]) -> list[Figure]:
    """Return the errors of each headline metric by group, the groups with most points first."""
    groups = sorted(grouped(scores, by).items(), key=lambda item: (-len(item[1]), item[0]))
    figures = []
    for metric in HEADLINE:
        bars = [
            (" ".join(values), errors)
            for values, members in groups
            if (errors := errors_of(members, metric)) is not None
        ]
        if bars:
            figures.append(_bars(metric, bars[:_MOST_BARS], len(bars)))
    return figures


def _bars(metric: str, bars: Sequence[tuple[str, Any]], groups: int) -> Figure:
    labels = [f"{label} ({errors.points})" for label, errors in bars]
    medians = [min(errors.median, _WIDEST_BAR) for _, errors in bars]
    biases = [max(-_WIDEST_BAR, min(errors.bias, _WIDEST_BAR)) for _, errors in bars]
    title = f"Error of {words(metric)} by group"
    most = max(0.2, *medians) * 1.05
    shown = "" if groups <= _MOST_BARS else f" The {_MOST_BARS} groups with most points."
    return Figure(
        key=f"bars-{metric.replace('_', '-')}",
        title=title,
        caption=f"{title}: median absolute error as bars, bias as marks.",
        note=f"Bars: median absolute error; marks: bias; both are cut at 100%.{shown}",
        spec={
            "data": [
                {
                    "type": "bar",
                    "orientation": "h",
                    "x": numbers(np.array(medians)),
                    "y": labels,
                    "hovertemplate": "%{y}: %{x:.1%}<extra>median error</extra>",
                    "marker": {"color": "var:series-1/0.7"},
                },
                {
                    "type": "scatter",
                    "mode": "markers",
                    "x": numbers(np.array(biases)),
                    "y": labels,
                    "hovertemplate": "%{y}: %{x:+.1%}<extra>bias</extra>",
                    "marker": {"color": "var:ink", "size": 5, "symbol": "diamond"},
                },
            ],
            "layout": {
                "xaxis": {
                    "tickformat": ".0%",
                    "range": numbers([min(-0.02, *biases) * 1.05, most]),
                },
                "yaxis": {"autorange": "reversed", "automargin": True, "tickfont": {"size": 10}},
                "margin": {"l": 10, "t": 8, "b": 30, "r": 12},
                "bargap": 0.3,
            },
        },
        table="groups",
        height=70 + _BAR_PX * len(bars),
        legend=(
            ("var:series-1/0.7", "area", "median absolute error"),
            ("var:ink", "diamond", "bias"),
        ),
    )


def _line(x: list[float], y: list[float], dash: str) -> dict[str, Any]:
    return {
        "type": "scatter",
        "mode": "lines",
        "x": numbers(x),
        "y": numbers(y),
        "hoverinfo": "skip",
        "line": {"color": "var:quiet", "width": 1, "dash": dash},
    }
