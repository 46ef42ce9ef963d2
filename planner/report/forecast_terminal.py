"""A forecast on a terminal, and the same in a pipe."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Final

from rich.console import Console, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from planner.report.console import heading, print_parts, titled
from planner.report.forecast_wording import (
    change,
    devices_words,
    headline,
    margin_title,
    margin_words,
    money_words,
    ordered_words,
    run_words,
    target_words,
)
from planner.report.wording import DEFINITION_TITLES
from planner.results.formatting import MISSING, count, money, percent

if TYPE_CHECKING:
    from planner.search.prospect import Prospect

MOST_COLUMNS: Final = 7
"""Classes and chips up to which each has a column; the files hold those of all."""


def print_forecast(found: Prospect, console: Console | None = None) -> None:
    """Print a forecast as tables that fit 100 columns; plain text where the output is piped.

    Args:
        found: what to print.
        console: where to; standard output if None.
    """
    print_parts(_parts(found), console)


def _parts(found: Prospect) -> Iterator[RenderableType]:
    yield heading(found.name, "forecast", run_words(found))
    yield Padding(Text("\n".join(headline(found))), (0, 0, 1, 0))
    yield _quarters(found)
    yield _demand(found)
    yield _margins(found)
    if found.trades:
        yield _trades(found)
    yield _surface(found)
    yield Text("\n".join(found.notes), style="dim")


def _quarters(found: Prospect) -> RenderableType:
    head = ("quarter", "accelerators", "ordered", "spend", "revenue", "margin", "served")
    rows = []
    for each in found.projection.quarters:
        served = min(each.served_rates.values(), default=1.0)
        rows.append(
            (
                each.label,
                devices_words(each.devices, each.devices_error),
                ordered_words(found, each),
                money_words(each.spend_usd, each.spend_error_usd),
                money(each.statement.revenue_usd),
                margin_words(each.statement.margin.margin_rate, each.margin_error_rate),
                percent(served),
            )
        )
    note = f"± error of the response surface, of margins in points; margin {margin_title(found)}"
    return titled("Quarters", note, _table(head, rows))


def _demand(found: Prospect) -> RenderableType:
    classes = list(found.outlook.demand)[:MOST_COLUMNS]
    chips = list(found.chips)[: max(MOST_COLUMNS - len(classes), 1)]
    rows = []
    for each in found.projection.quarters:
        held = [sum(h.devices for h in each.holdings if h.machine.chip == chip) for chip in chips]
        rows.append(
            (
                each.label,
                *(_rate(each.demand[name]) for name in classes),
                *(count(devices) for devices in held),
            )
        )
    note = "mean demand per second by class; accelerators by chip"
    return titled("Demand and chips", note, _table(("quarter", *classes, *chips), rows))


def _rate(per_s: float) -> str:
    return f"{per_s:,.0f}" if per_s >= 1000 else f"{per_s:,.4g}"


def _margins(found: Prospect) -> RenderableType:
    quarters = found.projection.quarters
    names = [quarters[0].statement.margin.definition, *quarters[0].statement.margin.others]
    rows = [
        (
            each.label,
            percent(each.statement.margin.margin_rate),
            *(percent(rate) for rate in each.statement.margin.others.values()),
        )
        for each in (quarters[0], quarters[-1])
    ]
    head = ("quarter", *(DEFINITION_TITLES.get(name, name) for name in names))
    return titled("Gross margin by definition", "the first is the headline's", _table(head, rows))


def _trades(found: Prospect) -> RenderableType:
    target = found.solutions[0].target
    rows = [
        (
            change(each.efficiency),
            MISSING if each.growth is None else change(each.growth),
        )
        for each in found.trades
    ]
    head = ("throughput a year", "demand a year")
    note = f"{target_words(target)}; both on top of what is assumed"
    return titled("What would have to be true together", note, _table(head, rows))


def _surface(found: Prospect) -> RenderableType:
    rows = [
        (
            f"{row['pool']}, from {row['from']}",
            row["chip"],
            row["mix"],
            f"{row['points']}",
            f"{row['load_rps']:,.4g}",
            f"{row['nodes']:,}",
            change(row["pooling_rate"]),
            percent(row["error_rate"]),
        )
        for row in found.curve_rows()
    ]
    head = ("pool", "chip", "mix", "points", "load /s", "nodes", "from half", "error")
    note = "largest simulated fleet of each curve; nodes per load against half of it; error there"
    return titled("Response surface", note, _table(head, rows))


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    for index, title in enumerate(head):
        numeric = index > 0 and title not in ("chip", "mix")
        table.add_column(title, justify="right" if numeric else "left", overflow="fold")
    for row in rows:
        table.add_row(*row)
    return table
