"""A break-even step by step: every amount in between, so that a reader can compute it again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from planner.economics.capital import HOURS_PER_YEAR, capital_recovery_factor
from planner.economics.own_chip import STEP
from planner.report.forecast_wording import change
from planner.results.formatting import MISSING, count, money, percent

if TYPE_CHECKING:
    from planner.search.breakeven import OwnChipCase

SWING_NOTE: Final = (
    f"What the break-even does if one figure alone is {STEP:.0%} larger, and the figure's part in "
    "its uncertainty if all were equally and independently uncertain."
)


class Step(NamedTuple):
    """One line of the computation."""

    what: str
    formula: str
    own: str
    bought: str = ""


def steps(case: OwnChipCase) -> list[Step]:
    """Return the computation, from prices and simulated tokens to the volume."""
    found, terms = case.found, case.terms
    own, bought = case.own_hour, case.bought_hour
    rate, years = found.cost_of_capital_rate, found.life_years
    factor = capital_recovery_factor(rate, years)
    saved = found.bought.usd_per_mtok - found.own.usd_per_mtok
    volume = found.mtok_per_year
    return [
        Step("CRF", f"r / (1 - (1 + r)^-n), r = {rate:.3g}, n = {years:.3g}", f"{factor:.4f}"),
        Step(
            "machine, per hour",
            f"own: {money(terms.unit_cost)} × CRF / {HOURS_PER_YEAR:,.0f} h; bought: its price",
            money(own.machine_usd),
            money(bought.machine_usd),
        ),
        Step(
            "+ overhead of nodes",
            "a share of the machine",
            money(own.overhead_usd),
            money(bought.overhead_usd),
        ),
        Step(
            "+ operations",
            "staff, maintenance, software; of the bought one in its price",
            money(own.operations_usd),
            money(bought.operations_usd),
        ),
        Step(
            "+ electricity",
            "mean power × PUE × price; of a rented one in its price",
            money(own.electricity_usd),
            money(bought.electricity_usd),
        ),
        Step(
            "+ housing",
            "nameplate power × price; of a rented one in its price",
            money(own.housing_usd),
            money(bought.housing_usd),
        ),
        Step("= a device-hour", "the sum", money(own.usd), money(bought.usd)),
        Step(
            "tokens/s of a device",
            "simulated: the most within the promises",
            count(found.own.tokens_per_s),
            count(found.bought.tokens_per_s),
        ),
        Step(
            "tokens a year of a device",
            f"tokens/s × {percent(terms.utilisation)} × 3,600 × {HOURS_PER_YEAR:,.0f}",
            count(found.own.mtok_per_year * 1e6),
            count(found.bought.mtok_per_year * 1e6),
        ),
        Step(
            "a million tokens",
            f"device-hour × {HOURS_PER_YEAR:,.0f} / million tokens a year",
            money(found.own.usd_per_mtok),
            money(found.bought.usd_per_mtok),
        ),
        Step(
            "engineering a year",
            f"{money(terms.engineering)} × CRF",
            money(found.engineering_usd_per_year),
        ),
        Step(
            "break-even, tokens a year",
            f"engineering a year / (bought - own = {money(saved)} per million)",
            MISSING if volume is None else count(volume * 1e6),
        ),
    ]


def swing_rows(case: OwnChipCase) -> list[tuple[str, str, str]]:
    """Return figure, change of the break-even, and its part in the uncertainty."""
    return [
        (
            each.name,
            "never pays" if each.change_rate is None else change(each.change_rate),
            percent(each.share_rate),
        )
        for each in case.swings
    ]
