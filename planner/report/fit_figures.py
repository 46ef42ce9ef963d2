"""Figures of a fitted curve: measured against fitted, and what is left over."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np

from planner.curves.curve import Curve
from planner.curves.forms.base import Array
from planner.curves.timings import Timings, shape_of
from planner.report.figures import Figure, numbers
from planner.report.fit_record import FittedCurve, size_text

POINTS_AT_MOST: Final = 1200
"""Timings drawn of one curve; the page holds no more than `_PAGE_POINTS` in all."""
_PAGE_POINTS: Final = 24_000
_PRINCIPAL: Final[Mapping[str, str]] = {
    "gemm": "m",
    "prefill_attention": "new_tokens",
    "mla_prefill_attention": "new_tokens",
    "decode_attention": "context_tokens",
    "mla_decode_attention": "context_tokens",
    "experts": "tokens",
    "step_prefill": "new_tokens",
    "step_decode": "sequences",
}
"""What the residuals of an operator are drawn over."""


def thinned(fits: Sequence[FittedCurve]) -> list[FittedCurve]:
    """Return the fits with the timings that are drawn, the same ones each time."""
    most = min(POINTS_AT_MOST, max(100, _PAGE_POINTS // max(len(fits), 1)))
    shown = []
    for fit in fits:
        rows = len(fit.timings)
        timings = fit.timings
        if rows > most:
            keep = np.random.default_rng(rows).choice(rows, most, replace=False)
            timings = timings.rows(np.sort(keep))
        shown.append(FittedCurve(fit.curve, timings))
    return shown


def curve_figures(at: int, fit: FittedCurve) -> list[Figure]:
    """Return both figures of a curve, whose timings may be part of those used.

    Args:
        at: number of the curve on the page, from 0.
        fit: with the timings to draw.
    """
    drawn, used = len(fit.timings), fit.curve.points
    part = f" {drawn:,} of {used:,} timings, drawn at random." if drawn < used else ""
    fitted, alone = predictions(fit)
    measured = fit.timings.seconds
    hover = _hover(fit.timings, fit.curve)
    common: dict[str, Any] = {"table": "timings", "table_filter": ("curve", str(at + 1))}
    return [
        Figure(
            key=f"fit-{at + 1}",
            title="Measured against fitted",
            caption="Fitted over measured time of each shape, on logarithmic axes.",
            note=f"µs of one operation; dashed: 10% off.{part}",
            spec=_against_spec(measured, fitted, hover),
            height=340,
            legend=(("var:series-1", "diamond", "curve"),),
            **common,
        ),
        Figure(
            key=f"residual-{at + 1}",
            title="Residuals",
            caption="Fitted over measured time, less one, over the size of the operation.",
            note=f"Fitted over measured, less one, by {_principal(fit)}.{part}",
            spec=_residual_spec(fit, fitted / measured - 1.0, alone / measured - 1.0, hover),
            height=340,
            legend=_legend(fit.curve),
            **common,
        ),
    ]


def _legend(curve: Curve) -> tuple[tuple[str, str, str], ...]:
    dots = (("var:series-1", "diamond", "curve"),)
    if curve.correction is None:
        return dots
    return (*dots, ("var:quiet", "diamond", "form without its grid"))


def predictions(fit: FittedCurve) -> tuple[Array, Array]:
    """Return the seconds of the curve, and those of its form alone."""
    shape = shape_of(fit.timings, fit.curve.form)
    alone = fit.curve.form.seconds(fit.curve.values, shape, fit.curve.peaks)
    return fit.curve.seconds(shape), alone


def _against_spec(measured: Array, fitted: Array, hover: Sequence[str]) -> dict[str, Any]:
    microseconds = measured * 1e6
    low = float(min(microseconds.min(), fitted.min() * 1e6)) / 1.3
    high = float(max(microseconds.max(), fitted.max() * 1e6)) * 1.3
    lines = [
        _line([low, high], [low * factor, high * factor], "solid" if factor == 1 else "dash")
        for factor in (1.0, 1.1, 1.0 / 1.1)
    ]
    ends = numbers([math.log10(low), math.log10(high)])
    axis = {"type": "log", "range": ends, "minor": {"showgrid": False}, "dtick": 1}
    return {
        "data": [*lines, _dots(microseconds, fitted * 1e6, hover, "var:series-1", "curve")],
        "layout": {
            "xaxis": axis | {"title": {"text": "measured, µs"}},
            "yaxis": axis | {"title": {"text": "fitted, µs"}},
            "hovermode": "closest",
            "margin": {"l": 62, "t": 8, "b": 42, "r": 12},
        },
    }


def _residual_spec(
    fit: FittedCurve, error: Array, alone: Array, hover: Sequence[str]
) -> dict[str, Any]:
    column = _principal(fit)
    sizes = np.broadcast_to(shape_of(fit.timings, fit.curve.form)[column], error.shape)
    sizes = np.maximum(sizes, 0.5)  # no context has no place on a logarithmic axis
    low, high = float(sizes.min()) / 1.3, float(sizes.max()) * 1.3
    traces = [_line([low, high], [0.0, 0.0], "solid")]
    traces += [_line([low, high], [edge, edge], "dash") for edge in (-0.1, 0.1)]
    if fit.curve.correction is not None:
        traces.append(_dots(sizes, alone, hover, "var:quiet", "form without its grid"))
    traces.append(_dots(sizes, error, hover, "var:series-1", "curve"))
    most = float(np.quantile(np.abs(error), 0.995)) if len(error) else 0.1
    reach = min(max(1.15 * most, 0.15), 3.0)
    return {
        "data": traces,
        "layout": {
            "xaxis": {
                "type": "log",
                "range": numbers([math.log10(low), math.log10(high)]),
                "title": {"text": column},
                "dtick": 1,
                "minor": {"showgrid": False},
            },
            "yaxis": {"tickformat": "+.0%", "range": numbers([max(-reach, -1.0), reach])},
            "hovermode": "closest",
            "margin": {"l": 56, "t": 8, "b": 42, "r": 12},
        },
    }


def _dots(x: Array, y: Array, hover: Sequence[str], colour: str, name: str) -> dict[str, Any]:
    return {
        "type": "scatter",
        "mode": "markers",
        "name": name,
        "x": numbers(x),
        "y": numbers(y),
        "text": list(hover),
        "hovertemplate": f"%{{text}}<extra>{name}</extra>",
        "marker": {"color": f"{colour}/0.55", "size": 5},
    }


def _line(x: list[float], y: list[float], dash: str) -> dict[str, Any]:
    return {
        "type": "scatter",
        "mode": "lines",
        "x": numbers(x),
        "y": numbers(y),
        "hoverinfo": "skip",
        "line": {"color": "var:quiet", "width": 1, "dash": dash},
    }


def _hover(timings: Timings, curve: Curve) -> list[str]:
    shape = shape_of(timings, curve.form)
    varying = [name for name in shape if np.ptp(shape[name]) > 0] or list(shape)
    rows = zip(*(shape[name] for name in varying), strict=True)
    return [
        " ".join(f"{name}={size_text(value)}" for name, value in zip(varying, row, strict=True))
        for row in rows
    ]


def _principal(fit: FittedCurve) -> str:
    shape = fit.curve.form.shape
    wanted = _PRINCIPAL.get(fit.curve.key.operator, "bytes")
    if wanted in shape:
        return wanted
    columns = shape_of(fit.timings, fit.curve.form)
    return max(shape, key=lambda name: len(np.unique(columns[name])))
