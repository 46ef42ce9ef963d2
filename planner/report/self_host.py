"""Serving oneself against an API: a page, and the same on a terminal."""

from __future__ import annotations

from collections.abc import Iterator
from html import escape
from typing import TYPE_CHECKING, Any, Final

from rich.console import Console, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from planner.report.console import heading, print_parts
from planner.report.figures import Figure, numbers
from planner.report.fragments import Cell, chart, number, panel, section, table, tier_cell, tools
from planner.report.mix import page_tables
from planner.report.page import lead, render_page
from planner.report.self_host_wording import (
    NOTES,
    answer,
    cheaper,
    facts,
    from_where,
    monthly_tokens,
    rate,
    times,
)
from planner.results.formatting import MISSING, count, money, percent, quantity
from planner.version import VERSION

if TYPE_CHECKING:
    from planner.search.self_host import SelfHostCase, Side

_HEAD: Final = (
    "load", "nodes", "busy", "tokens/month", "own/h", "API/h", "own/Mtok", "API/Mtok", "cheaper",
)  # fmt: skip


def _cells(side: Side) -> list[str]:
    return [
        rate(side),
        f"{side.nodes:,}",
        percent(side.utilisation_rate),
        count(monthly_tokens(side)),
        money(side.own_usd_per_hour),
        money(side.api_usd_per_hour),
        money(side.own_usd_per_mtok),
        money(side.api_usd_per_mtok),
        cheaper(side),
    ]


# --- page ----------------------------------------------------------------------------------------


def render_self_host_html(case: SelfHostCase) -> str:
    """Return the report: no network, the same bytes for the same input."""
    figure = _figure(case)
    titles = [("loads", "By load"), ("assumptions", "Assumptions")]
    rows = [side.row() for side in case.sides]
    prices = [vars(each) for each in case.assumptions]
    return render_page(
        f"{case.name}: self-hosting or API · planner",
        titles,
        [_lead(case), _loads(case, figure), _assumptions(case)],
        [figure],
        page_tables({"loads": rows, "prices": prices}),
        f"planner {VERSION} · seed {case.seed}",
    )


def _lead(case: SelfHostCase) -> str:
    own = case.own
    crossing = case.crossing
    pays, where = MISSING, from_where(case)
    if crossing is not None:
        month = count(monthly_tokens(crossing[1]))
        pays = rate(crossing[1])
        where = f"{month} tokens a month, {times(crossing[1].load)} the scenario's load"
    items = [
        (
            "Own, per million tokens",
            money(own.own_usd_per_mtok),
            f"{money(own.own_usd_per_hour)} per hour for {own.accelerators} accelerators",
        ),
        (
            "API, per million tokens",
            money(own.api_usd_per_mtok),
            f"{money(own.api_usd_per_hour)} per hour for the same tokens",
        ),
        ("Self-hosting pays from", pays, where),
    ]
    stands_on = [case.description, facts(case)]
    return lead(f"{case.name}: self-hosting or API", answer(case), stands_on, items)


def _loads(case: SelfHostCase, figure: Figure) -> str:
    rows = [
        [
            Cell(first, small=f"{times(side.load)} the scenario's"),
            *(number(text) for text in others[:-1]),
            Cell(others[-1], tag="good" if side.pays else "plain"),
        ]
        for side in case.sides
        for first, *others in [_cells(side)]
    ]
    head = [_HEAD[0], *(f"#{title}" for title in _HEAD[1:-1]), _HEAD[-1]]
    text = (
        "At each load: the smallest fleet that keeps every promise, found by simulation, with its "
        "spare nodes; its bill, and what the API charges for what it served. US dollars; tokens "
        "are input, cached included, and output."
    )
    shown = panel(tools("Both bills by load", "loads"), table("Loads", head, rows, stacked=True))
    return section("loads", "Both bills by load", text, chart(figure), shown)


def _figure(case: SelfHostCase) -> Figure:
    loads = numbers(side.requests_per_s for side in case.sides)
    lines = (
        ("own", "var:series-1", [side.own_usd_per_mtok for side in case.sides]),
        ("API", "var:series-3", [side.api_usd_per_mtok for side in case.sides]),
    )
    traces: list[dict[str, Any]] = [
        {
            "type": "scatter",
            "mode": "lines+markers",
            "name": name,
            "x": loads,
            "y": numbers(values),
            "line": {"color": colour, "width": 2},
            "hovertemplate": f"%{{x:.3r}} requests/s: $%{{y:.3r}} per Mtok<extra>{name}</extra>",
        }
        for name, colour, values in lines
    ]
    axis = {"type": "log", "automargin": True, "dtick": "D2"}
    layout = {
        "xaxis": axis
        | {"tickformat": "~g", "title": {"text": "requests per second", "standoff": 18}},
        "yaxis": axis | {"title": {"text": "per million tokens"}, "tickformat": "$~g"},
        "hovermode": "closest",
    }
    note = "US dollars per million tokens, input and output, by load; both axes are logarithmic"
    return Figure(
        key="self-host",
        title="What a million tokens cost",
        caption=f"{note}.",
        note=note,
        spec={"data": traces, "layout": layout},
        table="loads",
        height=360,
        legend=tuple((colour, "line", name) for name, colour, _ in lines),
    )


def _assumptions(case: SelfHostCase) -> str:
    rows = [
        [
            Cell(each.name),
            number(quantity(each.value, each.unit)),
            tier_cell(each.tier),
            Cell(each.source, small=each.date),
        ]
        for each in case.assumptions
    ]
    notes = "".join(f"<li>{escape(note)}</li>" for note in NOTES)
    shown = table("Prices", ["price", "#value", "tier", "source"], rows, stacked=True)
    text = f"Prices that hold on {case.date}, in US dollars, and what qualifies the comparison."
    return section(
        "assumptions",
        "Prices and assumptions",
        text,
        f'<ul class="notes">{notes}</ul>',
        panel(tools("Every price and rate", "prices"), shown),
    )


# --- terminal ------------------------------------------------------------------------------------


def print_self_host(case: SelfHostCase, console: Console | None = None) -> None:
    """Print a comparison as a table that fits 100 columns.

    Args:
        case: what to print.
        console: where to; standard output if None.
    """
    print_parts(_parts(case), console)


def _parts(case: SelfHostCase) -> Iterator[RenderableType]:
    yield heading(case.name, "self-hosting or API", facts(case))
    yield Padding(Text(answer(case)), (0, 0, 1, 0))
    shown = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    for index, name in enumerate(_HEAD):
        justify: Any = "left" if index in (0, len(_HEAD) - 1) else "right"
        shown.add_column(name, justify=justify, overflow="fold")
    for side in case.sides:
        shown.add_row(*_cells(side), style="bold" if side is case.own else "")
    yield Padding(shown, (0, 0, 1, 0))
    yield Text("\n".join(NOTES), style="dim")
    yield Text("")
    for each in case.assumptions:
        value = quantity(each.value, each.unit)
        yield Text(f"{each.name}: {value} ({each.tier}; {each.date}; {each.source})", style="dim")
