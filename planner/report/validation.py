"""Predictions beside published measurements as one self-contained HTML page."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Any, Final

from planner.report.figures import numbers
from planner.report.fragments import Cell, chart, number, panel, section, table, tools
from planner.report.page import Data, data_table, lead, render_page, rounded
from planner.report.validation_figures import bar_figures, scatter_figures
from planner.results.formatting import MISSING
from planner.validation.record import Target, Validation
from planner.validation.score import (
    BASES,
    HEADLINE,
    KEYS,
    Score,
    Statistics,
    errors_of,
    grouped,
    headline,
)
from planner.validation.wording import error_text, load_words, signed, words
from planner.version import VERSION

_TONES: Final = {"reached": "good", "short": "bad"}
_MOST_NOTES: Final = 60


def render_validation_html(found: Validation) -> str:
    """Return the report: no network, plotly.js inline once, the same bytes for the same input."""
    kept = headline(found.scores)
    scatters, bars = scatter_figures(kept), bar_figures(kept, found.by)
    titles = [("targets", "Targets"), ("sets", "Sets"), ("points", "Points"), ("groups", "Groups")]
    parts = [_lead(found), _targets(found.targets), _sets(found)]
    text = (
        "One mark is one measurement. On the solid line the prediction is right; dashed: 20% off."
    )
    parts.append(section("points", "Points", text, _grid(scatters)))
    parts.append(_groups(found, kept, _grid(bars)))
    if found.held is not None:
        titles.append(("held", "Unseen"))
        parts.append(_held(found))
    if found.regimes or found.capacities:
        titles.append(("loops", "Open loops"))
        parts.append(_open_loops(found))
    titles.append(("assumptions", "Assumptions"))
    parts.append(_assumptions(found))
    return render_page(
        "Predicted and measured · planner",
        titles,
        parts,
        [*scatters, *bars],
        _tables(found, kept),
        f"planner {VERSION}",
    )


# --- sections -------------------------------------------------------------------------------------


def _lead(found: Validation) -> str:
    kept = headline(found.scores)
    cards = [("Points replayed", f"{len(found.scores):,}", _aside_words(found))]
    for metric in HEADLINE:
        errors = errors_of(kept, metric)
        value = error_text(errors.median) if errors else MISSING
        note = f"median error, bias {signed(errors.bias)}" if errors else "not measured"
        cards.append((words(metric), value, note))
    fitted = (
        "The overheads in use were fitted to some of these very points; the targets count groups "
        "that they were not fitted to."
        if found.held is not None
        else "The overheads in use may have been fitted to some of these very points; --hold-out "
        "scores groups that they were not fitted to."
    )
    facts = f"{found.source[:1].upper() + found.source[1:]}. {fitted}"
    return lead("Predicted and measured", "", [facts], cards)


def _aside_words(found: Validation) -> str:
    aside = sum(bool(score.aside) for score in found.scores)
    return f"{aside:,} of them set aside; {sum(found.unusable.values()):,} not replayed"


def _targets(rows: Sequence[Target]) -> str:
    cells = [
        [
            Cell(row.on),
            Cell(row.measure),
            number(f"≤ {row.reach:.0%}" if row.reach else "none"),
            number(error_text(row.found)),
            number(f"{row.points:,}"),
            Cell(row.verdict, tag=_TONES.get(row.verdict, "plain")),
        ]
        for row in rows
    ]
    text = "Median absolute relative errors, except where the measure says otherwise."
    head = ["on", "measure", "#reach", "#found", "#points", "verdict"]
    shown = table("Accuracy to reach, and found", head, cells, stacked=True)
    return section("targets", "Accuracy to reach", text, panel(tools("Targets", "targets"), shown))


def _sets(found: Validation) -> str:
    rows = []
    for name, aside, scores in found.lines():
        cells = [Cell(name, small=f"set aside: {aside}" if aside else "")]
        cells += [number(f"{len(scores):,}")]
        rows.append(cells + [_full(errors_of(scores, metric)) for metric in HEADLINE])
    counts = [f"{b} {sum(s.basis == b for s in found.scores):,}" for b in BASES]
    text = (
        "Bias (signed median), and below it median, mean and 90th percentile of the absolute "
        f"error. Throughput: {', '.join(counts)}; implied ones follow on both sides from the "
        "latencies of a closed loop by Little's law. Points with a doubt that the simulation "
        "leaves out are set aside on lines of their own."
    )
    head = ["set", "#points", *(f"#{words(metric)}" for metric in HEADLINE)]
    parts = [panel(tools("Sets", "sets"), table("Errors by set", head, rows, stacked=True))]
    more = [name for name in found.measured_metrics() if name not in HEADLINE]
    lines = [
        (name, scores)
        for name, aside, scores in found.lines()
        if not aside and any(metric in score.pairs for score in scores for metric in more)
    ]
    others = [
        [Cell(words(metric)), *(_full(errors_of(scores, metric)) for _, scores in lines)]
        for metric in more
    ]
    if others:
        head = ["metric", *(f"#{name}" for name, _ in lines)]
        shown = table("Errors of the other metrics by set", head, others, stacked=True)
        parts.append(panel("<h3>Percentiles and other metrics</h3>", shown))
    return section("sets", "By set", text, *parts)


def _groups(found: Validation, kept: Sequence[Score], charts: str) -> str:
    text = f"By {' × '.join(found.by)}, without the points that are set aside: bias and median."
    shown = _group_table(kept, found.by)
    return section("groups", "By group", text, charts, panel(tools("Groups", "groups"), shown))


def _group_table(scores: Sequence[Score], by: Sequence[str]) -> str:
    rows = []
    for values, members in grouped(scores, by).items():
        cells = [Cell(values[0], small=" · ".join(values[1:])), number(f"{len(members):,}")]
        rows.append(cells + [_short(errors_of(members, metric)) for metric in HEADLINE])
    head = [by[0], "#points", *(f"#{words(metric)}" for metric in HEADLINE)]
    return table(f"Errors by {', '.join(by)}", head, rows, stacked=True)


def _held(found: Validation) -> str:
    held = found.held
    assert held is not None
    parts = [
        panel(f"<h3>{title}</h3>", _group_table(headline(scores), found.by))
        for title, scores in (
            ("Group unseen: overheads fitted to other groups of the engine", held.unseen),
            ("Calibrated on a quarter of the group, scored on the rest", held.calibrated),
            (
                "Static batches on other vendors' chips, calibrated on each model in turn",
                held.one_model,
            ),
        )
        if scores
    ]
    text = (
        "A group is a model on a chip with an engine. Every score is a replay with overheads that "
        f"were fitted without the point. {'; '.join(held.notes)}."
    )
    return section("held", "Points that the overheads were not fitted to", text, *parts)


def _open_loops(found: Validation) -> str:
    rows = []
    capacities = {id(each.point): each for each in found.capacities}
    for each in found.regimes:
        most = capacities.get(id(each.point))
        rows.append(
            [
                Cell(each.point.id),
                number(f"{each.offered_rps:,.4g}"),
                number(f"{each.measured_rps:,.4g}"),
                number(f"{each.predicted_rps:,.4g}"),
                number(MISSING if most is None else f"{most.predicted_rps:,.4g}"),
                number(MISSING if most is None else signed(most.error)),
                Cell("right" if each.right else "wrong", tag="good" if each.right else "bad"),
            ]
        )
    text = (
        "Requests per second offered, completed as measured and as replayed, and the most that is "
        "predicted to be served within the objectives of the run, which the submitter chose the "
        "offered rate by."
    )
    head = ["run", "#offered", "#measured", "#replayed", "#most", "#most / offered", "regime"]
    shown = table("Open loops", head, rows, stacked=True)
    return section("loops", "Open loops", text, panel(shown))


def _assumptions(found: Validation) -> str:
    parts = []
    for title, reasons in (("Not replayed", found.unusable), ("Not read", found.skipped)):
        if reasons:
            ordered = sorted(reasons.items(), key=lambda item: (-item[1], item[0]))
            rows = [[Cell(reason), number(f"{count:,}")] for reason, count in ordered]
            shown = table(title, ["reason", "#rows"], rows, stacked=True)
            parts.append(panel(f"<h3>{title}</h3>", shown))
    if found.notes:
        items = "".join(f"<li>{escape(note)}</li>" for note in found.notes[:_MOST_NOTES])
        parts.append(panel("<h3>Filled in where a source is silent</h3>", f"<ul>{items}</ul>"))
    text = "What was left out, and what the sources do not say and was assumed."
    return section("assumptions", "Left out and assumed", text, *parts)


def _full(found: Statistics | None) -> Cell:
    if found is None:
        return number(MISSING)
    sizes = " / ".join(error_text(value) for value in (found.median, found.mean, found.p90))
    return Cell(signed(found.bias), "n", small=sizes)


def _short(found: Statistics | None) -> Cell:
    if found is None:
        return number(MISSING)
    return Cell(error_text(found.median), "n", small=signed(found.bias))


def _grid(figures: Sequence[Any]) -> str:
    return f'<div class="grid">{"".join(chart(figure) for figure in figures)}</div>'


# --- tables behind the page -----------------------------------------------------------------------


def _tables(found: Validation, kept: Sequence[Score]) -> dict[str, Data]:
    columns = ["metric", "set", "id", *(key for key in KEYS if key != "set")]
    rows = []
    for metric in HEADLINE:
        for score in kept:
            if metric in score.pairs:
                pair = score.pairs[metric]
                labels = [KEYS[key](score.point) for key in KEYS if key != "set"]
                values = numbers([pair.measured, pair.predicted, pair.error])
                load = load_words(score.point)
                rows.append([metric, score.point.source, score.point.id, *labels, load, *values])
    return {
        "points": data_table([*columns, "load", "measured", "predicted", "error"], rows),
        "groups": _statistics(found.by, grouped(kept, found.by)),
        "sets": _statistics(
            ("set", "aside"), {(name, aside): scores for name, aside, scores in found.lines()}
        ),
        "targets": data_table(
            ["on", "measure", "reach", "found", "verdict"],
            [
                rounded([row.on, row.measure, row.reach, row.found, row.verdict])
                for row in found.targets
            ],
        ),
    }


def _statistics(by: Sequence[str], groups: dict[tuple[str, ...], list[Score]]) -> Data:
    names = [
        f"{metric} {name}" for metric in HEADLINE for name in ("bias", "median", "mean", "p90")
    ]
    rows = []
    for values, members in groups.items():
        row: list[Any] = [*values, len(members)]
        for metric in HEADLINE:
            errors = errors_of(members, metric)
            row += (
                [None] * 4
                if errors is None
                else numbers([errors.bias, errors.median, errors.mean, errors.p90])
            )
        rows.append(row)
    return data_table([*by, "points", *names], rows)
