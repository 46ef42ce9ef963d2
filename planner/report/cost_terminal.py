"""A costing on a terminal, and the same in a pipe."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from rich.console import Console, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from planner.report.console import heading, print_parts, titled
from planner.report.cost_wording import (
    KINDS,
    UNIT_NOTE,
    amounts_words,
    busy_note,
    exact,
    headline,
    quantity_of,
    run_words,
    shown_units,
    unit_price,
)
from planner.report.wording import DEFINITION_TITLES
from planner.results.formatting import MISSING, money, percent, quantity

if TYPE_CHECKING:
    from planner.costing import Costing


def print_costing(found: Costing, console: Console | None = None) -> None:
    """Print a costing as tables that fit 100 columns; plain text where the output is piped.

    Args:
        found: what to print.
        console: where to; standard output if None.
    """
    print_parts(_parts(found), console)


def _parts(found: Costing) -> Iterator[RenderableType]:
    yield heading(found.name, "what it costs and earns", run_words(found))
    yield Padding(Text("\n".join(headline(found))), (0, 0, 1, 0))
    yield _bill(found)
    yield _units(found)
    if found.finance.revenue_usd:
        yield _revenue(found)
    yield _margins(found)
    yield _prices(found)
    if found.notes:
        yield Text("\n".join(found.notes), style="dim")


def _bill(found: Costing) -> RenderableType:
    pools, classes = found.finance.pool_costs, found.finance.class_costs
    table = _table("", "work", "idle", "overhead", "cost", "utilisation")
    for row in pools.to_dict("records"):
        name = f"{row['pool']}  {row['price']} ({row['terms']})"
        table.add_row(name, *_kinds(row), percent(row["utilisation_rate"]))
    for row in classes.to_dict("records"):
        table.add_row(f"class {row['class']}", *_kinds(row), "", style="dim")
    sums = {name: float(pools[name].sum()) for name in (*_kind_columns(), "cost_usd")}
    table.add_row("the bill", *_kinds(sums), "", style="bold")
    what = f"{amounts_words(found)}: machines at work, idle ones, and overhead"
    return titled("The bill", what, table, busy_note(found))


def _kind_columns() -> list[str]:
    return [f"{kind}_usd" for kind, _ in KINDS]


def _kinds(row: dict[Any, Any] | dict[str, float]) -> list[str]:
    return [exact(row[name]) for name in (*_kind_columns(), "cost_usd")]


def _units(found: Costing) -> RenderableType:
    units = shown_units(found)
    table = _table("class", *(title for _, title in units))
    rows = found.statement.unit_frame().to_dict("records")
    for row in rows if len(rows) > 2 else rows[:1]:
        style = "bold" if row is rows[-1] else ""
        table.add_row(row["class"], *(money(row[column]) for column, _ in units), style=style)
    return titled("What one unit costs", "USD", table, UNIT_NOTE)


def _revenue(found: Costing) -> RenderableType:
    table = _table("plan and line", "quantity", "unit price", "amount")
    for row in found.statement.revenue_frame().to_dict("records"):
        name = f"{row['price']}  {row['line']}"
        table.add_row(name, quantity_of(row), unit_price(row), exact(row["amount_usd"]))
    share_usd = found.finance.partner_share_usd
    table.add_row("all revenue", "", "", exact(found.finance.revenue_usd), style="bold")
    if share_usd:
        table.add_row("of which the partner's share", "", "", exact(share_usd))
    return titled("Revenue", f"{amounts_words(found)}, by plan and price line", table)


def _margins(found: Costing) -> RenderableType:
    table = _table("definition", "revenue", "cost counted", "to a partner", "profit", "margin")
    notes = []
    for row in found.finance.margins.to_dict("records"):
        name = DEFINITION_TITLES.get(row["definition"], row["definition"])
        table.add_row(
            name,
            exact(row["revenue_usd"]),
            exact(row["cost_of_revenue_usd"]),
            exact(row["partner_share_deducted_usd"]),
            exact(row["gross_profit_usd"]),
            percent(row["margin_rate"]),
            style="bold" if row["headline"] else "",
        )
        notes.append(f"{name} ({row['definition']}): {row['meaning']}.")
    what = f"{amounts_words(found)}; the headline's definition is bold"
    return titled("Gross margin", what, table, "\n".join(notes))


def _prices(found: Costing) -> RenderableType:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    for title in ("price", "value", "tier", "date", "source"):
        justify: Any = "right" if title == "value" else "left"
        table.add_column(title, justify=justify, overflow="fold")
    for each in found.assumptions:
        table.add_row(
            each.name, quantity(each.value, each.unit), each.tier, each.date or MISSING, each.source
        )
    return titled("Prices", "each with its date and source; amounts in USD", table)


def _table(first: str, *columns: str) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    table.add_column(first, overflow="fold")
    for column in columns:
        table.add_column(column, justify="right", overflow="fold")
    return table
