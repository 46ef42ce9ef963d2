"""What serving costs and earns, as one self-contained HTML page."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING, Any, Final

from planner.report import figures
from planner.report.cost_wording import (
    KINDS,
    UNIT_NOTE,
    amounts_words,
    busy_note,
    exact,
    headline,
    other_margins,
    quantity_of,
    run_words,
    shown_units,
    unit_price,
)
from planner.report.figures import Figure
from planner.report.fragments import (
    Cell,
    chart,
    notes,
    number,
    panel,
    section,
    table,
    tools,
)
from planner.report.money import ledger_table, margin_table
from planner.report.page import frame_data, lead, render_page
from planner.report.sections import assumption_table
from planner.report.wording import DEFINITION_TITLES
from planner.results.columns import TABLES
from planner.results.formatting import money, percent

if TYPE_CHECKING:
    from planner.costing import Costing

_SECTIONS: Final = (
    ("bill", "Bill"),
    ("units", "Unit costs"),
    ("revenue", "Revenue"),
    ("margin", "Margin"),
    ("prices", "Prices"),
    ("ledger", "Ledger"),
)


def render_cost_html(found: Costing) -> str:
    """Return the report: no network, plotly.js inline once, the same bytes for the same input."""
    drawn = [figures.cost_figure(found.finance)]
    if found.finance.revenue_usd:
        drawn.append(figures.waterfall_figure(found.finance))
    parts = (
        _lead(found),
        _bill(found, drawn[0]),
        _units(found),
        _revenue(found),
        _margin(found, drawn[1:]),
        _prices(found),
        _ledger(found),
    )
    tables = {name: frame_data(f, TABLES.get(name, ())) for name, f in found.tables().items()}
    return render_page(
        f"{found.name}: what it costs and earns · planner",
        _SECTIONS,
        parts,
        drawn,
        tables,
        f"planner {found.version} · seed {found.seed}",
    )


def _lead(found: Costing) -> str:
    finance = found.finance
    title = DEFINITION_TITLES.get(finance.margin_definition, finance.margin_definition)
    cards = (
        ("cost per hour", money(finance.cost_per_hour_usd), f"{exact(finance.cost_usd)} in all"),
        (
            "per 1M output tokens",
            money(finance.cost_per_million_output_tokens_usd),
            "all cost over output",
        ),
        (
            "revenue per hour",
            money(finance.revenue_per_hour_usd),
            f"{exact(finance.revenue_usd)} in all",
        ),
        ("gross margin", percent(finance.gross_margin_rate), f"{title}; {other_margins(found)}"),
    )
    title = f"{found.name}: what it costs and earns"
    return lead(title, " ".join(headline(found)), [run_words(found)], cards)


def _bill(found: Costing, figure: Figure) -> str:
    finance = found.finance
    pools = [
        [
            Cell(row["pool"], small=f"{row['price']}, {row['terms'].replace('_', ' ')}"),
            *_kind_cells(row),
            number(percent(row["utilisation_rate"])),
        ]
        for row in finance.pool_costs.to_dict("records")
    ]
    classes = [
        [Cell(row["class"], small=row["plan"]), *_kind_cells(row)]
        for row in finance.class_costs.to_dict("records")
    ]
    head = [*(f"#{word}" for _, word in KINDS), "#cost"]
    sums = {f"{kind}_usd": finance.pool_costs[f"{kind}_usd"].sum() for kind, _ in KINDS}
    total = [Cell("the bill"), *_kind_cells(sums | {"cost_usd": finance.cost_usd})]
    text = (
        "Total = workload + idle + overhead, as OpenCost divides it. Idle machines are those held "
        "or committed to that did no step; overhead is what comes beside the machines. "
        f"{busy_note(found)} The chart is per hour, the tables are {amounts_words(found)}."
    )
    by_pool = table(
        "Bill by pool", ["pool", *head, "#utilisation"], pools, total=[*total, number("")]
    )
    by_class = table("Bill by class", ["class", *head], classes, total=total)
    return section(
        "bill",
        "The bill",
        text,
        chart(figure),
        panel(tools(f"By pool and price, {amounts_words(found)}", "pool_costs"), by_pool),
        panel(tools(f"By class, {amounts_words(found)}", "class_costs"), by_class),
    )


def _kind_cells(row: dict[Any, Any]) -> list[Cell]:
    return [number(exact(row[f"{kind}_usd"])) for kind, _ in KINDS] + [
        number(exact(row["cost_usd"]))
    ]


def _units(found: Costing) -> str:
    units = shown_units(found)
    *rows, last = [
        [Cell(row["class"]), *(number(money(row[column])) for column, _ in units)]
        for row in found.statement.unit_frame().to_dict("records")
    ]
    shown = table("Unit costs", ["class", *(f"#{title}" for _, title in units)], rows, total=last)
    return section(
        "units",
        "What one unit costs",
        UNIT_NOTE,
        panel(tools("By class, USD per unit", "unit_costs"), shown),
    )


def _revenue(found: Costing) -> str:
    finance = found.finance
    rows = [
        [
            Cell(row["line"], small=row["price"]),
            number(quantity_of(row)),
            number(unit_price(row)),
            number(exact(row["amount_usd"])),
            Cell(row["source"], small=row["date"]),
        ]
        for row in found.statement.revenue_frame().to_dict("records")
    ]
    blank = number("")
    total = [Cell("all"), blank, blank, number(exact(finance.revenue_usd)), Cell("")]
    head = ["line", "#quantity", "#unit price", "#amount", "source and date"]
    text = (
        f"What users and advertisers pay, in {amounts_words(found)}, by plan and price line, "
        "before a partner's share."
    )
    if finance.partner_share_usd:
        text += f" {exact(finance.partner_share_usd)} of it go to the partner."
    shown = panel(
        tools(f"By price line, {amounts_words(found)}", "revenue"),
        table("Revenue", head, rows, total=total),
    )
    return section(
        "revenue", "Revenue", text if rows else "Nothing is earned.", shown if rows else ""
    )


def _margin(found: Costing, drawn: list[Figure]) -> str:
    meanings = "".join(
        f"<dt>{escape(DEFINITION_TITLES.get(row['definition'], row['definition']))}</dt>"
        f"<dd>{escape(row['meaning'])}</dd>"
        for row in found.finance.margins.to_dict("records")
    )
    return section(
        "margin",
        "Gross margin",
        "Public figures mix three definitions; all are here, of the same amounts, per hour.",
        *(chart(figure) for figure in drawn),
        panel(tools("By definition, USD per hour", "margins"), margin_table(found.finance)),
        panel("<h3>Definitions</h3>", f'<dl class="words">{meanings}</dl>'),
    )


def _prices(found: Costing) -> str:
    text = f"Prices that hold on {found.prices.date}, in US dollars, and how well each is founded."
    return section(
        "prices",
        "Prices and assumptions",
        text,
        panel(
            tools("Every price and rate", "prices"),
            assumption_table("Prices", "price", found.assumptions),
        ),
        notes(found.notes) if found.notes else "",
    )


def _ledger(found: Costing) -> str:
    shown = ledger_table(found.finance.ledger)
    text = "Every line of the bill and of the revenue, exact to a millionth of a dollar."
    return section(
        "ledger",
        "Ledger",
        text,
        panel(tools(f"Every line, {amounts_words(found)}", "ledger"), shown),
    )
