"""Tables of money that several pages show."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pandas as pd

from planner.report.fragments import Cell, number, table
from planner.report.wording import DEFINITION_TITLES, cost_per_request
from planner.results.formatting import count, money, percent
from planner.results.result import Finance


def class_cost_table(finance: Finance) -> str:
    """Return revenue, cost and margin of each class per hour, and of all."""
    head = [
        "class", "plan", "#revenue", "#cost", "#gross profit", "#margin", "#per 1M output tokens",
        "#per request",
    ]  # fmt: skip

    def cells(row: dict[Any, Any], rate: Callable[[float], str]) -> list[Cell]:
        names = ("revenue_usd", "cost_usd", "gross_profit_usd")
        return [
            Cell(row["class"]),
            Cell(row["plan"]),
            *(number(rate(row[name])) for name in names),
            number(percent(row["margin_rate"])),
            number(money(row["cost_per_million_output_tokens_usd"])),
            number(money(row["cost_per_request_usd"])),
        ]

    def per_hour(usd: float) -> str:
        return money(usd / finance.hours)

    total = {
        "class": "all",
        "plan": "",
        "revenue_usd": finance.revenue_usd,
        "cost_usd": finance.cost_usd,
        "gross_profit_usd": float(finance.class_costs["gross_profit_usd"].sum()),
        "margin_rate": finance.gross_margin_rate,
        "cost_per_million_output_tokens_usd": finance.cost_per_million_output_tokens_usd,
        "cost_per_request_usd": cost_per_request(finance),
    }
    rows = [cells(row, per_hour) for row in finance.class_costs.to_dict("records")]
    return table("Money by class", head, rows, total=cells(total, per_hour))


def margin_table(finance: Finance) -> str:
    """Return the margin under every definition, in amounts per hour."""
    rows = []
    for row in finance.margins.to_dict("records"):
        name = DEFINITION_TITLES.get(row["definition"], row["definition"])
        amounts = (
            row["revenue_usd"],
            row["cost_of_revenue_usd"],
            row["partner_share_deducted_usd"],
            row["gross_profit_usd"],
        )
        rows.append(
            [
                Cell(name, small=row["definition"]),
                Cell("headline", tag="good") if row["headline"] else Cell(""),
                *(number(money(amount / finance.hours)) for amount in amounts),
                number(percent(row["margin_rate"])),
            ]
        )
    head = [
        "definition",
        "role",
        "#revenue",
        "#cost counted",
        "#to a partner",
        "#gross profit",
        "#margin",
    ]
    return table("Gross margin by definition", head, rows)


def ledger_table(ledger: pd.DataFrame) -> str:
    """Return every line of a ledger."""
    rows = [
        [
            Cell(row["line"], small=row["pool"] or row["class"]),
            Cell(row["kind"].replace("_", " ")),
            number(f"{count(row['quantity'])} {row['unit']}"),
            number(_unit_price(row)),
            number(f"${row['amount_usd']:,.2f}"),
            Cell(row["price"], small=" · ".join(x for x in (row["source"], row["date"]) if x)),
        ]
        for row in ledger.to_dict("records")
    ]
    head = ["line", "kind", "#quantity", "#unit price", "#amount", "price and source"]
    return table("Ledger", head, rows)


def _unit_price(row: dict[Any, Any]) -> str:
    price = row["unit_price_usd"]
    return f"{100 * price:g}%" if row["unit"] == "USD" else money(price)
