"""A forecast as one self-contained HTML page."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import TYPE_CHECKING

import pandas as pd

from planner.report.figures import Figure
from planner.report.forecast_figures import figures_of
from planner.report.forecast_quarters import quarter_figures, quarters_section
from planner.report.forecast_wording import (
    change,
    headline,
    margin_title,
    run_words,
    solution_sentence,
)
from planner.report.fragments import (
    Cell,
    chart,
    notes,
    number,
    panel,
    section,
    table,
    tier_cell,
    tools,
)
from planner.report.page import Chapter, Data, data_table, lead, render_page, rounded
from planner.results.formatting import MISSING, count, money, percent, quantity
from planner.version import VERSION

if TYPE_CHECKING:
    from planner.search.prospect import Prospect
    from planner.search.stored import StoredForecast

_SURFACE = "surface-"


def render_forecast_html(found: Prospect) -> str:
    """Return the report: no network, plotly.js inline once, the same bytes for the same input."""
    figures = figures_of(found)
    titles = [("quarters", "Quarters")]
    titles += [("target", "What would have to be true")] if found.solutions else []
    titles += [("changes", "Orders"), ("surface", "Response surface")]
    titles += [("assumptions", "Assumptions")]
    parts = [
        _lead(found),
        quarters_section(found.quarter_rows(found.projection), found.year_rows()),
        _target(found, figures) if found.solutions else "",
        _orders(found),
        _surface(found, figures),
        _assumptions(found),
    ]
    return render_page(
        f"{found.name}: forecast · planner",
        titles,
        parts,
        figures,
        _tables(found),
        f"planner {VERSION} · seed {found.seed}",
    )


# --- sections -------------------------------------------------------------------------------------


def _lead(found: Prospect) -> str:
    first, last = found.projection.quarters[0], found.projection.quarters[-1]
    margin = last.statement.margin
    cards = [
        (
            f"accelerators, {last.label}",
            count(last.devices),
            f"± {count(math.ceil(last.devices_error))}; {count(first.devices)} in {first.label}",
        ),
        (
            f"spend, {last.label}",
            money(last.spend_usd),
            f"± {money(last.spend_error_usd)}; {money(first.spend_usd)} in {first.label}",
        ),
        (
            f"revenue, {last.label}",
            money(last.statement.revenue_usd),
            f"{money(first.statement.revenue_usd)} in {first.label}",
        ),
        (
            f"gross margin, {last.label}",
            percent(margin.margin_rate),
            f"± {100 * (last.margin_error_rate or 0.0):.1f} points; {margin_title(found)}; "
            f"{percent(first.statement.margin.margin_rate)} in {first.label}",
        ),
    ]
    facts = (found.description, run_words(found))
    return lead(f"{found.name}: forecast", " ".join(headline(found)), facts, cards)


def _target(found: Prospect, figures: Iterable[Figure]) -> str:
    parts = [notes(solution_sentence(found, each) for each in found.solutions)]
    if found.trades:
        rows = [
            [
                Cell(change(each.efficiency)),
                number(MISSING if each.growth is None else change(each.growth)),
            ]
            for each in found.trades
        ]
        listed = table("Growth by efficiency", ["throughput a year", "#demand a year"], rows)
        drawn = next(figure for figure in figures if figure.key == "trades")
        beside = panel(tools("Both on top of what is assumed", "trades"), listed)
        parts.append(f'<div class="grid">{chart(drawn)}{beside}</div>')
    text = "Solved on the response surface, with everything else as assumed."
    return section("target", "What would have to be true", text, *parts)


def _orders(found: Prospect) -> str:
    machines = found.outlook.machines
    rows = [
        [
            Cell(quarter.label),
            Cell(pool),
            Cell(machines[pool, kind].node),
            number(count(nodes)),
            number(count(nodes * machines[pool, kind].devices)),
        ]
        for quarter in found.projection.quarters
        for (pool, kind), nodes in quarter.ordered.items()
    ]
    text = (
        "Nodes ordered in each quarter; they arrive after the lead time. Of nodes on demand or "
        "spot: those added."
    )
    unknown = [q.label for q in found.projection.quarters if not q.orders_are_known]
    if unknown:
        text += (
            f" From {unknown[0]} on orders are not known: what then is ordered arrives after "
            f"{found.outlook.labels[-1]}, the end of the forecast."
        )
    head = ["ordered in", "pool", "node", "#nodes", "#accelerators"]
    shown = table("Orders", head, rows) if rows else "<p>Nothing is ordered.</p>"
    return section("changes", "Orders", text, panel(tools("Orders", "orders"), shown))


def _surface(found: Prospect, figures: Iterable[Figure]) -> str:
    shown = [figure for figure in figures if figure.key.startswith(_SURFACE)]
    grid = f'<div class="grid">{"".join(chart(figure) for figure in shown)}</div>'
    rows = [
        [
            Cell(row["pool"]),
            Cell(f"{row['from']} to {row['until']}"),
            Cell(row["node"]),
            Cell(row["mix"]),
            number(str(row["points"])),
            number(f"{row['load_rps']:,.4g}"),
            number(f"{row['nodes']:,}"),
            number(change(row["pooling_rate"])),
            number(percent(row["error_rate"])),
        ]
        for row in found.curve_rows()
    ]
    head = ["pool", "quarters", "node", "mix", "#points", "#largest load /s", "#nodes"]
    listed = table("Curves", [*head, "#from half", "#error there"], rows)
    text = (
        "Each point is the smallest fleet, found by simulation, that keeps every promise at a "
        "load. Between points is interpolated; a fleet beyond the largest is so many cells of its "
        "size. The error is how far the curve misses points nearby when they are left out, and "
        "half a node. From half: how nodes per load differ from those at half the load."
    )
    return section(
        "surface", "Response surface", text, grid, panel(tools("Curves", "curves"), listed)
    )


def _assumptions(found: Prospect) -> str:
    rows = [
        [
            Cell(each.name, small=each.note),
            number(_value(each.value, each.unit)),
            Cell(each.date or MISSING),
            tier_cell(each.tier),
            Cell(each.source),
        ]
        for each in found.assumptions
    ]
    listed = table("Assumptions", ["what", "#value", "date", "tier", "source"], rows, stacked=True)
    return section(
        "assumptions",
        "Assumptions",
        "What the numbers stand on, and what qualifies them.",
        notes(found.notes),
        panel(tools("Assumptions", "assumptions"), listed),
    )


def _value(value: float | str, unit: str) -> str:
    if isinstance(value, float) and unit in ("1/year", "1/doubling"):
        return f"{change(value)} per {unit.removeprefix('1/')}"
    return quantity(value, unit)


# --- tables behind the page -----------------------------------------------------------------------


def stored_forecast_chapter(found: StoredForecast) -> Chapter:
    """Return what a page of several answers shows of a forecast that was kept."""
    frames = {"quarters": pd.DataFrame(found.quarters), "years": pd.DataFrame(found.years)}
    more = f"Of the scenario {found.name}; planner forecast --html shows the surface behind it."
    return Chapter(
        sections=(("quarters", "Quarters ahead"),),
        body=(quarters_section(found.quarters, found.years, more),),
        figures=tuple(quarter_figures(found.quarters)),
        tables={name: _data(frame) for name, frame in frames.items()},
    )


def _data(frame: pd.DataFrame) -> Data:
    return data_table(map(str, frame.columns), map(rounded, frame.itertuples(index=False)))


def _tables(found: Prospect) -> dict[str, Data]:
    orders = [
        {"quarter": q.label, "pool": pool, "generation": kind, "nodes": nodes}
        for q in found.projection.quarters
        for (pool, kind), nodes in q.ordered.items()
    ]
    tables = {
        "quarters": found.quarters,
        "years": found.years,
        "surface": found.surface,
        "curves": pd.DataFrame(found.curve_rows()),
        "orders": pd.DataFrame(orders),
        "trades": pd.DataFrame([vars(each) for each in found.trades]),
        "assumptions": pd.DataFrame([vars(each) for each in found.assumptions]),
    }
    return {name: _data(frame) for name, frame in tables.items()}
