"""The words in which a costing is told, on a page and on a terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from planner.economics import HOURS_PER_MONTH
from planner.report.wording import DEFINITION_TITLES
from planner.results.formatting import count, money, percent, span

if TYPE_CHECKING:
    from planner.costing import Costing

UNITS: Final = (
    ("per_request_usd", "request"),
    ("per_conversation_usd", "conversation"),
    ("per_mtok_input_usd", "Mtok input"),
    ("per_mtok_cached_input_usd", "Mtok cached"),
    ("per_mtok_output_usd", "Mtok output"),
    ("all_per_mtok_output_usd", "all / Mtok out"),
    ("per_seat_month_usd", "seat-month"),
)
"""Columns of the unit costs, and what one unit is."""
UNIT_NOTE: Final = (
    "A million input, cached or output tokens cost what they cost by themselves, so they compare "
    "with prices: a pool that only prefills costs input, one that only decodes costs output, and "
    "the cost of a pool that does both is divided by tokens, weighted as the price table says."
)
KINDS: Final = (("workload", "work"), ("idle", "idle"), ("overhead", "overhead"))


def headline(found: Costing) -> list[str]:
    """Return the answer in sentences."""
    finance, statement = found.finance, found.statement
    costs = finance.pool_costs
    total = finance.cost_usd
    shares = {
        word: percent(float(costs[f"{kind}_usd"].sum()) / total if total else None)
        for kind, word in KINDS
    }
    split = (
        f"{shares['work']} for machines at work, {shares['idle']} for idle ones, "
        f"{shares['overhead']} overhead"
    )
    if found.sample_rate < 1.0:
        split = f"{shares['overhead']} of it overhead"
    sentences = [
        f"Serving costs {money(finance.cost_per_hour_usd)} per hour: {split}; "
        f"{money(statement.cost_per_million_output_tokens_usd)} per million output tokens."
    ]
    if finance.revenue_usd:
        name = DEFINITION_TITLES.get(finance.margin_definition, finance.margin_definition)
        sentences.append(
            f"It earns {money(finance.revenue_per_hour_usd)} per hour, a gross margin of "
            f"{percent(finance.gross_margin_rate)} ({name}, {finance.margin_definition}); "
            f"{other_margins(found)}."
        )
        sentences += _break_even(found)
    else:
        sentences.append("It earns nothing.")
    if found.sample_rate < 1.0:
        sentences.append(
            f"Simulated is a sample of the traffic, 1 request in {1 / found.sample_rate:,g}; all "
            "of it is counted. That the fleet serves it is stated, not simulated, and what it is "
            "idle is not known."
        )
    if found.overloaded:
        sentences.append("The fleet breaks promises or cannot keep up: this is not what it takes.")
    return sentences


def other_margins(found: Costing) -> str:
    """Return the margin under the definitions that the headline does not use."""
    margin = found.statement.margin
    if set(margin.others.values()) == {margin.margin_rate}:
        return "the same under every definition"
    return ", ".join(f"{percent(rate)} as {name}" for name, rate in margin.others.items())


def _break_even(found: Costing) -> list[str]:
    share, finance = found.statement.break_even_share, found.finance
    if share is None:
        return []
    requests = float(finance.class_costs["requests"].sum())
    tokens = float(finance.class_costs[["input_tokens", "output_tokens"]].to_numpy().sum())
    per_month = share * tokens / finance.hours * HOURS_PER_MONTH
    rate = share * requests / (finance.hours * 3600)
    return [
        f"This fleet breaks even at {share:.3g} times this traffic: {count(rate)} requests/s, "
        f"{count(per_month)} tokens a month."
    ]


BUSY_NOTE = (
    "A machine is at work while any sequence runs on it, so at low load this share is no load over "
    "capacity."
)


SAMPLE_NOTE = (
    "Work, idle and utilisation are those of the sample that was simulated, not of all traffic; "
    "only the whole bill is that of the fleet."
)


def busy_note(found: Costing) -> str:
    """Return what to know of machines at work."""
    return BUSY_NOTE if found.sample_rate == 1.0 else SAMPLE_NOTE


def amounts_words(found: Costing) -> str:
    """Return for what time the amounts of the tables are."""
    return f"USD for {span(found.finance.hours * 3600)} of arrivals"


def run_words(found: Costing) -> str:
    """Return what the amounts are for."""
    hours = found.finance.hours
    return (
        f"{span(hours * 3600)} of arrivals · prices of {found.prices.date} in USD · "
        f"seed {found.seed} · planner {found.version}"
    )


def unit_price(row: dict[Any, Any]) -> str:
    """Return the unit price of a ledger line: a share of an amount is in percent."""
    price = row["unit_price_usd"]
    return f"{100 * price:g}%" if row["unit"] == "USD" else money(price)


def quantity_of(row: dict[Any, Any]) -> str:
    """Return the quantity of a ledger line with its unit."""
    return f"{count(row['quantity'])} {row['unit']}"


def shown_units(found: Costing) -> list[tuple[str, str]]:
    """Return the units of which there is any."""
    frame = found.statement.unit_frame()
    return [(column, title) for column, title in UNITS if frame[column].notna().any()]


def exact(usd: float) -> str:
    """Return an amount to the cent.

    >>> exact(87072.0), exact(-0.5)
    ('$87,072.00', '−$0.50')
    """
    return f"\u2212${-usd:,.2f}" if usd < 0 else f"${usd:,.2f}"
