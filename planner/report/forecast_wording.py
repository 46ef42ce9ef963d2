"""A forecast in sentences: what happens from first to last, and what was solved for."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final

from planner.report.wording import DEFINITION_TITLES
from planner.results.formatting import MINUS, MISSING, count, money, percent

if TYPE_CHECKING:
    from planner.economics.forecast import Quarter
    from planner.search.prospect import Prospect
    from planner.search.solve import Solution, Target

QUANTITY_TITLES: Final = {
    "spend_usd": "spend",
    "revenue_usd": "revenue",
    "gross_profit_usd": "gross profit",
    "margin_rate": "gross margin",
    "accelerators": "accelerators",
}


def change(rate: float) -> str:
    """Return a change per year with its sign.

    >>> change(0.256), change(-0.04), change(0.0)
    ('+25.6%', '−4.0%', '0%')
    """
    if rate == 0:
        return "0%"
    return f"{'+' if rate > 0 else MINUS}{abs(rate):.1%}"


def plus_minus(text: str, error: float, shown: str) -> str:
    """Return a value with its error, as in `9,120 ± 400`; without, where there is none."""
    return f"{text} ± {shown}" if error > 0 else text


def devices_words(devices: float, error: float) -> str:
    """Return accelerators with their error."""
    return plus_minus(count(devices), error, count(math.ceil(error)))


def money_words(usd: float, error: float) -> str:
    """Return an amount with its error."""
    return plus_minus(money(usd), error, money(error))


def margin_words(rate: float | None, error: float | None) -> str:
    """Return a margin with its error, in points.

    >>> margin_words(0.735, 0.041), margin_words(None, None)
    ('73.5% ± 4.1', '–')
    """
    return plus_minus(percent(rate), error or 0.0, f"{100 * (error or 0.0):.1f}")


def ordered_words(found: Prospect, quarter: Quarter) -> str:
    """Return the accelerators ordered in a quarter; a dash where that is not known."""
    devices = found.ordered_devices(quarter)
    return MISSING if devices is None else count(devices)


def margin_title(found: Prospect) -> str:
    """Return the definition of gross margin that the headline uses, in words."""
    definition = found.projection.quarters[0].statement.margin.definition
    return DEFINITION_TITLES.get(definition, definition)


def run_words(found: Prospect) -> str:
    """Return what was done, in one line."""
    labels = found.outlook.labels
    points = len(found.surface_rows())
    return (
        f"{labels[0]} to {labels[-1]} · {found.simulations:,} simulated fleets, {points:,} points "
        f"of {len(found.segments)} curves · seed {found.seed}"
    )


def headline(found: Prospect) -> list[str]:
    """Return the answer: the first and the last year, and what was solved for."""
    rows: list[tuple[str, dict[str, Any]]] = [(r["year"], r) for r in found.year_rows()]
    span = "a year"
    if len(rows) < 2:
        rows = [(r["quarter"], r) for r in found.quarter_rows(found.projection)]
        span = "a quarter"
    (first, before), (last, after) = rows[0], rows[-1]
    sentences = [
        f"From {first} to {last}, spend on serving goes from {_spend(before)} to {_spend(after)} "
        f"{span}, and accelerators from {_fleet(before)} to {_fleet(after)}."
    ]
    if before["revenue_usd"] or after["revenue_usd"]:
        sentences.append(
            f"Revenue goes from {money(before['revenue_usd'])} to {money(after['revenue_usd'])}, "
            f"gross margin ({margin_title(found)}) from {_margin(before)} to "
            f"{_margin(after)}."
        )
    return sentences + [solution_sentence(found, each) for each in found.solutions]


def _spend(row: dict[str, Any]) -> str:
    return money_words(row["spend_usd"], row["spend_error_usd"])


def _margin(row: dict[str, Any]) -> str:
    return margin_words(row["margin_rate"], row["margin_error"])


def _fleet(row: dict[str, Any]) -> str:
    return devices_words(row["accelerators"], row["accelerators_error"])


def value_words(quantity: str, value: float) -> str:
    """Return a quantity of a target as a person reads it."""
    if quantity == "margin_rate":
        return percent(value)
    return count(round(value)) if quantity == "accelerators" else money(value)


def target_words(target: Target) -> str:
    """Return a target as a noun phrase."""
    title = QUANTITY_TITLES[target.quantity]
    return f"{title} of {value_words(target.quantity, target.value)} in {target.period}"


def solution_sentence(found: Prospect, solution: Solution) -> str:
    """Return what would have to be true."""
    before = value_words(solution.target.quantity, solution.before)
    needed = {
        "growth": f"all demand would have to grow by {change(solution.value)} a year on top of "
        f"what is assumed ({_growth_words(found, solution)})",
        "efficiency": f"throughput would have to change by {change(solution.value)} a year in "
        "every pool, on top of what is assumed",
        "price": f"all plan prices would have to change by {change(solution.value)} a year, on "
        "top of what is assumed",
        "demand": f"all demand would have to be {solution.value:.4g} times what is assumed",
        "work": f"every request would have to be {solution.value:.4g} times the work that is "
        "assumed",
    }[solution.unknown]
    return f"For {target_words(solution.target)}, {needed}; as assumed, it is {before}."


def _growth_words(found: Prospect, solution: Solution) -> str:
    own = demand_growth(found)
    total = (1 + own) * (1 + solution.value) - 1
    return f"{change(total)} in all, instead of {change(own)}"


def demand_growth(found: Prospect) -> float:
    """Return the growth per year of all requests, from the first quarter to the last."""
    quarters = found.projection.quarters
    first, last = (sum(each.demand.values()) for each in (quarters[0], quarters[-1]))
    years = (len(quarters) - 1) / 4
    return float((last / first) ** (1 / years) - 1) if first > 0 and years > 0 else 0.0
