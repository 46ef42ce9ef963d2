"""How sure an answer is and what it hangs on, as one self-contained HTML page."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING, Any

from planner.report.fragments import Cell, chart, notes, number, panel, section, table, tools
from planner.report.page import Chapter, Data, data_table, lead, render_page, rounded
from planner.report.risk_figures import distribution_figures, tornado_figures
from planner.report.risk_wording import (
    WORDS,
    between,
    end_error,
    fleet_of,
    headline,
    index_words,
    moves,
    run_words,
    spread_words,
    title_of,
)
from planner.results.formatting import MISSING, level, share
from planner.version import VERSION

if TYPE_CHECKING:
    from planner.search.risk import Answer, Risk


def render_risk_html(found: Risk) -> str:
    """Return the report: no network, plotly.js inline once, the same bytes for the same input."""
    figures = [*distribution_figures(found), *tornado_figures(found)]
    titles = [("answers", "Answers"), ("drivers", "Drivers"), ("inputs", "Inputs")]
    titles += [("assumptions", "Assumptions")]
    parts = [_lead(found), _answers(found), _drivers(found), _inputs(found), _assumptions(found)]
    return render_page(
        f"{found.name}: how sure the answer is · planner",
        titles,
        parts,
        figures,
        _tables(found),
        f"planner {VERSION} · seed {found.seed}",
    )


def risk_chapter(found: Risk) -> Chapter:
    """Return what a page of several answers shows of a risk analysis."""
    return Chapter(
        sections=(("answers", "Intervals"), ("drivers", "Drivers")),
        body=(_answers(found), _drivers(found), _inputs(found)),
        figures=(*distribution_figures(found), *tornado_figures(found)),
        tables=_tables(found),
    )


def _lead(found: Risk) -> str:
    cards = []
    for answer in found.headlines:
        middle = None if answer.interval is None else answer.interval.median.value
        note = f"{share(found.confidence)} interval {between(answer)}"
        cards.append((answer.quantity.title, level(answer.quantity.unit, middle), note))
    title = f"{found.name}: how sure the answer is"
    return lead(title, " ".join(headline(found)), [run_words(found)], cards)


def _answers(found: Risk) -> str:
    text = (
        "What comes out in the draws, each served the same requests. Numbers of the smallest fleet "
        "are of the one that keeps every promise in that draw."
    )
    grid = "".join(chart(figure) for figure in distribution_figures(found))
    head = ["answer", "#median", f"#{share(found.confidence)} interval", "#low end, by chance"]
    head += ["#high end, by chance", "#all medians"]
    rows = [_answer_row(answer) for answer in found.answers]
    shown = table("Answers", head, rows)
    caption = (
        "Low and high end, by chance: where they would be with other draws (bootstrap, same "
        "confidence)."
    )
    below = panel(
        tools("Every answer", "answers"), f'<p class="caption">{escape(caption)}</p>', shown
    )
    return section(
        "answers", "How sure the answer is", text, f'<div class="grid">{grid}</div>', below
    )


def _answer_row(answer: Answer) -> list[Cell]:
    unit, found = answer.quantity.unit, answer.interval
    of_fleet = Cell(title_of(answer), small=fleet_of(answer))
    if found is None:
        return [of_fleet, *[number(MISSING)] * 4, number(level(unit, answer.centre))]
    return [
        of_fleet,
        number(level(unit, found.median.value)),
        number(between(answer)),
        number(end_error(answer, "low")),
        number(end_error(answer, "high")),
        number(level(unit, answer.centre)),
    ]


def _drivers(found: Risk) -> str:
    text = (
        "Bars show how far an answer moves with one input, from its p10 to its p90, all others at "
        "their medians; Sobol indices say how much of the variance it makes over all draws, alone "
        "and in all."
    )
    words = "".join(f"<dt>{escape(name)}</dt><dd>{escape(text)}</dd>" for name, text in WORDS)
    grid = "".join(chart(figure) for figure in tornado_figures(found))
    panels = "".join(
        panel(f"<h3>{escape(title_of(answer))}</h3>", _driver_table(answer))
        for answer in found.headlines
    )
    listed = panel(tools("Words", "drivers"), f'<dl class="words">{words}</dl>')
    charts = f'<div class="grid">{grid}</div>'
    return section(
        "drivers",
        "What the answer hangs on",
        text,
        charts,
        listed,
        f'<div class="grid">{panels}</div>',
    )


def _driver_table(answer: Answer) -> str:
    unit = answer.quantity.unit
    rows = [
        [
            Cell(driver.column),
            number(level(unit, driver.low)),
            number(level(unit, driver.high)),
            number(index_words(None if driver.index is None else driver.index.first)),
            number(index_words(None if driver.index is None else driver.index.total)),
        ]
        for driver in answer.drivers
    ]
    head = ["input", "#p10", "#p90", "#alone", "#in all"]
    return table(f"What moves {title_of(answer)}", head, rows)


def _inputs(found: Risk) -> str:
    rows = [
        [
            Cell(
                each.name,
                small=f"moves with group {each.stated.group}" if each.stated.group else "",
            ),
            Cell(moves(each)),
            Cell(spread_words(each)),
            Cell(each.stated.basis or MISSING),
        ]
        for each in found.inputs
    ]
    shown = table("Inputs", ["input", "moves", "distribution", "basis"], rows, stacked=True)
    text = "What is not known exactly. All inputs but those of one group are independent."
    return section("inputs", "Inputs", text, panel(tools("Inputs", "inputs"), shown))


def _assumptions(found: Risk) -> str:
    text = "What qualifies the numbers."
    return section("assumptions", "Assumptions", text, notes(found.notes))


# --- tables behind the page -----------------------------------------------------------------------


def _tables(found: Risk) -> dict[str, Data]:
    draws = found.rows()
    columns = list(draws[0])
    answers = [
        [
            answer.quantity.name,
            answer.quantity.request_class,
            answer.quantity.unit,
            *rounded(_numbers_of(answer)),
        ]
        for answer in found.answers
    ]
    drivers = [
        rounded(
            [
                *(answer.quantity.name, answer.quantity.unit, driver.column),
                *(driver.low, driver.high, *_indices(driver.index)),
            ]
        )
        for answer in found.answers
        if not answer.quantity.request_class
        for driver in answer.drivers
    ]
    inputs = [
        [each.name, moves(each), spread_words(each), each.stated.group or "", each.stated.basis]
        for each in found.inputs
    ]
    ends = ("value", "by_chance_low", "by_chance_high")
    return {
        "draws": data_table(columns, [rounded(row[name] for name in columns) for row in draws]),
        "answers": data_table(
            ["answer", "class", "unit", "all_medians"]
            + [f"{name}.{end}" for name in ("low", "median", "high") for end in ends]
            + ["mean", "deviation"],
            answers,
        ),
        "drivers": data_table(
            ["answer", "unit", "input", "p10", "p90"]
            + [f"{name}.{end}" for name in ("alone", "in_all") for end in ends],
            drivers,
        ),
        "inputs": data_table(["input", "moves", "distribution", "group", "basis"], inputs),
    }


def _numbers_of(answer: Answer) -> list[float | None]:
    found = answer.interval
    if found is None:
        return [answer.centre, *[None] * 11]
    ends = [x for e in (found.low, found.median, found.high) for x in (e.value, e.low, e.high)]
    return [answer.centre, *ends, found.mean, found.deviation]


def _indices(index: Any) -> list[float | None]:
    if index is None:
        return [None] * 6
    return [x for e in (index.first, index.total) for x in (e.value, e.low, e.high)]
