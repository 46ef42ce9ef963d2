"""Fitted curves as one self-contained HTML page: how far off they are, and where."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape
from typing import Final

import numpy as np

from planner.curves.timings import shape_of
from planner.report.figures import Figure, numbers
from planner.report.fit_figures import curve_figures, predictions, thinned
from planner.report.fit_record import (
    FitRecord,
    FittedCurve,
    bounds_text,
    key_text,
    parameter_text,
    range_text,
    short_key,
    standard_errors,
)
from planner.report.fragments import Cell, chart, number, panel, section, table, tier_cell, tools
from planner.report.page import Data, data_table, lead, render_page
from planner.results.formatting import MISSING, percent
from planner.version import VERSION

_LINKED: Final = 6
"""Curves up to which the head of the page names each."""
_REMARKS: Final = 12
"""Remarks on top of the page; each stands at its curve as well."""
_GOOD: Final = 0.06
"""Mean absolute error on unseen shapes up to which a curve needs no remark."""


def render_fit_html(record: FitRecord) -> str:
    """Return the report: no network, plotly.js inline once, the same bytes for the same record."""
    shown = thinned(record.fits)
    figures = [figure for at, fit in enumerate(shown) for figure in curve_figures(at, fit)]
    titles = [("overview", "Overview")]
    if len(record.fits) <= _LINKED:
        titles += [(_key_of(at), short_key(fit.curve.key)) for at, fit in enumerate(record.fits)]
    titles += [("flagged", "Flagged rows"), ("provenance", "Provenance")]
    parts = [_lead(record), _overview(record)]
    parts += [_curve_section(at, fit, figures[2 * at : 2 * at + 2]) for at, fit in enumerate(shown)]
    parts += [_flagged(record), _provenance(record)]
    return render_page(
        f"{_title(record)} · planner",
        titles,
        parts,
        figures,
        _tables(record, shown),
        f"planner {VERSION}",
    )


# --- the lead and the overview --------------------------------------------------------------------


def _title(record: FitRecord) -> str:
    chips = sorted({fit.curve.key.chip for fit in record.fits})
    return f"Fitted curves of {', '.join(chips)}" if chips else "No curve was fitted"


def _lead(record: FitRecord) -> str:
    outs = [fit.curve.mape_out for fit in record.fits if math.isfinite(fit.curve.mape_out)]
    ins = [fit.curve.mape_in for fit in record.fits]
    timings = sum(fit.curve.points for fit in record.fits)
    worst = max(record.fits, key=_rank, default=None)
    cards = (
        ("Curves", f"{len(record.fits):,}", f"{len(record.failed):,} could not be fitted"),
        ("Timings used", f"{timings:,}", f"{len(record.flagged):,} rows flagged"),
        (
            "Error on unseen shapes",
            percent(float(np.median(outs))) if outs else MISSING,
            f"median over curves; {percent(float(np.median(ins)))} on the shapes used"
            if ins
            else "",
        ),
        (
            "Worst curve",
            percent(worst.curve.mape_out) if worst is not None else MISSING,
            short_key(worst.curve.key) if worst is not None else "",
        ),
    )
    sources = ", ".join(each.name for each in record.inputs)
    return lead(_title(record), "", [f"from {sources}"], cards, _status(record))


def _rank(fit: FittedCurve) -> float:
    return fit.curve.mape_out if math.isfinite(fit.curve.mape_out) else math.inf


def _status(record: FitRecord) -> str:
    sentences = [f"{what}: {why}" for what, why in record.failed]
    sentences += [
        f"{key_text(fit.curve.key)}: {warning}"
        for fit in record.fits
        for warning in fit.curve.warnings
    ]
    if not sentences:
        text = "Every parameter is inside its bounds and has a standard error."
        return f'<div class="status good"><b>✓ Sound</b><span>{text}</span></div>'
    title = f"⚠ {len(sentences)} remark{'s' if len(sentences) > 1 else ''}"
    if len(sentences) > _REMARKS:
        hidden = len(sentences) - _REMARKS
        sentences = [*sentences[:_REMARKS], f"and {hidden} more, each at its curve"]
    items = "".join(f"<li>{escape(sentence)}</li>" for sentence in sentences)
    if record.failed:
        return f'<div class="status bad" role="alert"><b>{title}</b><ul>{items}</ul></div>'
    look = "background:var(--warn-wash)"
    tone = "color:var(--warn)"
    return f'<div class="status" style="{look}"><b style="{tone}">{title}</b><ul>{items}</ul></div>'


def _overview(record: FitRecord) -> str:
    rows = []
    for fit in record.fits:
        curve = fit.curve
        loss = "loss" if not curve.mape_out <= _GOOD else ""
        rows.append(
            [
                Cell(short_key(curve.key), small=f"{curve.key.chip} · {curve.key.engine}"),
                number(f"{curve.points:,}"),
                number(percent(curve.mape_in)),
                number(percent(curve.mape_out), loss),
                tier_cell(curve.tier),
                number(str(len(curve.warnings)) if curve.warnings else MISSING),
            ]
        )
    text = (
        "Mean absolute error of the seconds of one operation: on the shapes that were fitted, and "
        "on groups of shapes left out in turn. Marked where the latter exceeds "
        f"{_GOOD:.0%}."
    )
    head = ["curve", "#timings", "#error", "#unseen", "tier", "#remarks"]
    shown = table("Curves and their errors", head, rows)
    return section("overview", "Overview", text, panel(tools("Curves", "curves"), shown))


# --- one curve ------------------------------------------------------------------------------------


def _curve_section(at: int, fit: FittedCurve, figures: Sequence[Figure]) -> str:
    curve = fit.curve
    errors = standard_errors(curve)
    rows = [
        [
            Cell(parameter.name, small=parameter.meaning),
            number(parameter_text(value, error, parameter.unit)),
            number(bounds_text(parameter)),
            Cell(_verdict(parameter.name, curve.warnings)),
        ]
        for parameter, value, error in zip(curve.form.parameters, curve.values, errors, strict=True)
    ]
    head = ["parameter", "#value ± standard error", "#bounds", "remark"]
    peaks = [
        f"{value:.4g} {unit}"
        for value, unit in (
            (curve.peaks.flops, "FLOP/s"),
            (curve.peaks.bandwidth, "B/s memory"),
            (curve.peaks.link, "B/s link"),
        )
        if math.isfinite(value)
    ]
    stored = "" if curve.correction is None else f" × a grid of {len(curve.correction)} ratios"
    facts = (
        ("form", f"{curve.form.name}{stored}"),
        ("peaks", ", ".join(peaks) or MISSING),
        ("measured range", "; ".join(range_text(curve))),
        ("error", f"{percent(curve.mape_in)} on the shapes used, {percent(curve.mape_out)} unseen"),
        ("source", f"{curve.source}; {curve.version or 'no version'}; {curve.date or 'no date'}"),
    )
    words = "".join(f"<dt>{name}</dt><dd>{escape(text)}</dd>" for name, text in facts)
    return section(
        _key_of(at),
        key_text(curve.key),
        f"{curve.points:,} timings.",
        f'<div class="grid">{"".join(chart(figure) for figure in figures)}</div>',
        panel(
            tools("Parameters", f"parameters-{at + 1}"),
            table("Parameters with standard errors", head, rows, stacked=True),
            f'<dl class="words">{words}</dl>',
        ),
    )


def _verdict(name: str, warnings: Sequence[str]) -> str:
    found = [text for text in warnings if text.startswith(f"{name} ") or f" {name}," in text]
    return "; ".join(found)


# --- flagged rows, provenance ---------------------------------------------------------------------


def _flagged(record: FitRecord) -> str:
    if not record.flagged:
        text = "No row of the input was rejected or odd."
        return section("flagged", "Flagged rows", text)
    most = 200
    rows = [
        [Cell(each.place), Cell(each.verdict, tag=_tone(each.verdict)), Cell(each.reason)]
        for each in record.flagged[:most]
    ]
    left = sum(each.verdict == "left out" for each in record.flagged)
    text = f"{left:,} of {len(record.flagged):,} flagged rows were left out of the fit."
    if len(record.flagged) > most:
        text += f" The first {most} are shown; the copy has all."
    shown = table("Flagged rows", ["row", "verdict", "reason"], rows, stacked=True)
    return section("flagged", "Flagged rows", text, panel(tools("Rows", "flagged"), shown))


def _tone(verdict: str) -> str:
    return "bad" if verdict == "left out" else "warn"


def _provenance(record: FitRecord) -> str:
    rows = [
        [Cell(each.name, small=f"sha256 {each.sha256[:16]}" if each.sha256 else ""),
         Cell(each.reader), number(f"{each.rows:,}")]
        for each in record.inputs
    ]  # fmt: skip
    origins = dict.fromkeys(
        (fit.curve.source, fit.curve.version, fit.curve.date, fit.curve.licence)
        for fit in record.fits
    )
    stated = [[Cell(cell or MISSING) for cell in origin] for origin in origins]
    head = ["file", "reader", "#rows"]
    parts = [panel("<h3>Files</h3>", table("Files that were read", head, rows, stacked=True))]
    if stated:
        head = ["source", "version", "date", "licence"]
        shown = table("Sources of the timings", head, stated, stacked=True)
        parts.append(panel("<h3>Sources</h3>", shown))
    return section("provenance", "Provenance", "Where the timings come from.", *parts)


# --- tables behind the page -----------------------------------------------------------------------


def _tables(record: FitRecord, shown: Sequence[FittedCurve]) -> dict[str, Data]:
    flagged = [(each.place, each.verdict, each.reason) for each in record.flagged]
    tables = {
        "curves": _curve_table(record),
        "timings": _timing_table(shown),
        "flagged": data_table(["row", "verdict", "reason"], flagged),
    }
    for at, fit in enumerate(record.fits):
        values, errors = numbers(fit.curve.values), numbers(standard_errors(fit.curve))
        tables[f"parameters-{at + 1}"] = data_table(
            ["parameter", "value", "error", "unit"],
            [
                (parameter.name, value, error, parameter.unit)
                for parameter, value, error in zip(
                    fit.curve.form.parameters, values, errors, strict=True
                )
            ],
        )
    return tables


def _curve_table(record: FitRecord) -> Data:
    labels_of_key = ("operator", "chip", "engine", "dtype", "kv_dtype", "model", "tensor_parallel")
    columns = (*labels_of_key, "form", "timings")
    rows = []
    for fit in record.fits:
        key, curve = fit.curve.key, fit.curve
        errors = numbers([curve.mape_in, curve.mape_out])
        labels = [key.operator, key.chip, key.engine, key.dtype, key.kv_dtype, key.model]
        split = key.tensor_parallel or None  # blank for single operators
        figures = [curve.form.name, curve.points, *errors, curve.tier]
        rows.append([*labels, split, *figures, "; ".join(curve.warnings)])
    return data_table([*columns, "mape_in", "mape_out", "tier", "warnings"], rows)


def _timing_table(shown: Sequence[FittedCurve]) -> Data:
    names = list(dict.fromkeys(name for fit in shown for name in fit.curve.form.shape))
    columns = ["curve", *names, "measured_us", "fitted_us", "error"]
    rows = []
    for at, fit in enumerate(shown):
        shape = shape_of(fit.timings, fit.curve.form)
        fitted, _ = predictions(fit)
        measured = fit.timings.seconds
        blank = np.full(len(measured), np.nan)
        cells = [numbers(shape.get(name, blank)) for name in names]
        cells += [numbers(values) for values in (measured * 1e6, fitted * 1e6)]
        cells.append(numbers(fitted / measured - 1.0))
        rows += [[str(at + 1), *row] for row in zip(*cells, strict=True)]
    return data_table(columns, rows)


def _key_of(at: int) -> str:
    return f"curve-{at + 1}"
