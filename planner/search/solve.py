"""What would have to be true: the growth, price or efficiency that makes a stated number come out.

Solved on the response surface by Brent's method (R. P. Brent, Algorithms for Minimization without
Derivatives, 1973); no simulation is run. Nodes are whole, so that a number is met to a node.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Literal, get_args

from scipy.optimize import brentq

from planner.economics.forecast import Outlook, Projection, Quarter, Response, project
from planner.errors import PlannerError

Unknown = Literal["growth", "efficiency", "price", "demand", "work"]
QUANTITIES: Final = ("spend_usd", "revenue_usd", "gross_profit_usd", "margin_rate", "accelerators")
_WITHOUT_PRICES: Final = ("spend_usd", "accelerators")
"""Quantities that what classes pay does not move."""
MULTIPLES: Final = ("demand", "work")
"""Unknowns that are a factor, not a rate per year."""
_BRACKETS: Final[dict[str, tuple[float, float]]] = {
    "growth": (-0.99, 99.0), "efficiency": (-0.99, 99.0), "price": (-0.99, 99.0),
    "demand": (1e-6, 1e6), "work": (1e-6, 1e6),
}  # fmt: skip
_TARGET: Final = re.compile(r"(?P<name>\w+)=(?P<value>[^@]+)@(?P<period>\d{4}(-Q[1-4])?)")
_FACTORS: Final = (1.05, 1.2, 1.5, 2.0, 3.0, 5.0, 10.0, 30.0, 100.0, 1e3, 1e6)
"""How far a bracket is opened, in steps: the number nearest to what the scenario says is wanted."""
_ITERATIONS: Final = 200


class SolveError(PlannerError):
    """A target is malformed, or nothing makes it true."""


@dataclass(frozen=True)
class Target:
    """A number that is to come out."""

    quantity: str
    value: float
    period: str
    """A year, `2030`, or a quarter, `2030-Q4`."""

    @classmethod
    def parse(cls, text: str) -> Target:
        """Read `revenue_usd=85e9@2030`.

        Raises:
            SolveError: it is malformed.

        >>> Target.parse("spend_usd=85e9@2030")
        Target(quantity='spend_usd', value=85000000000.0, period='2030')
        """
        match = _TARGET.fullmatch(text.strip())
        advice = "write for example spend_usd=85e9@2030 or margin_rate=52%@2026-Q4"
        if match is None:
            raise SolveError(f"{text!r} is no target; {advice}")
        name, number = match["name"], match["value"].strip()
        if name not in QUANTITIES:
            raise SolveError(f"unknown quantity {name!r}; there are {', '.join(QUANTITIES)}")
        try:
            value = float(number.removesuffix("%")) / (100.0 if number.endswith("%") else 1.0)
        except ValueError:
            raise SolveError(f"{number!r} is no number; {advice}") from None
        return cls(name, value, match["period"])

    def quarters(self, labels: Sequence[str]) -> list[int]:
        """Return the quarters that it is about.

        Raises:
            SolveError: they are not all in the forecast.
        """
        found = [index for index, label in enumerate(labels) if label.startswith(self.period)]
        if len(found) != (1 if "Q" in self.period else 4):
            raise SolveError(
                f"{self.period} is not wholly in the forecast, {labels[0]} to {labels[-1]}"
            )
        return found

    def of(self, projection: Projection) -> float:
        """Return the number as the forecast has it: of a year, sums, and the end for devices."""
        labels = [each.label for each in projection.quarters]
        part = [projection.quarters[index] for index in self.quarters(labels)]
        return _VALUES[self.quantity](part)


def margin_rate(quarters: Sequence[Quarter]) -> float:
    """Return the gross margin of several quarters together; NaN without revenue."""
    margins = [each.statement.margin.headline for each in quarters]
    revenue = sum(each.revenue_microusd for each in margins)
    profit = sum(each.gross_profit_microusd for each in margins)
    return profit / revenue if revenue else float("nan")


def margin_error(quarters: Sequence[Quarter]) -> float | None:
    """Return the error of the headline's margin of several quarters; None without revenue.

    Revenue does not hang on the surface, so it is the error of the cost that the margin counts over
    the revenue: as if all quarters erred the same way.
    """
    revenue_usd = sum(each.statement.margin.revenue_usd for each in quarters)
    error_usd = sum(each.counted_error_usd for each in quarters)
    return error_usd / revenue_usd if revenue_usd else None


def gross_profit_usd(quarters: Sequence[Quarter]) -> float:
    """Return the gross profit of several quarters together."""
    return sum(each.statement.margin.headline.gross_profit_microusd for each in quarters) / 1e6


_VALUES: Final[dict[str, Callable[[Sequence[Quarter]], float]]] = {
    "spend_usd": lambda quarters: sum(each.spend_usd for each in quarters),
    "revenue_usd": lambda quarters: sum(each.statement.revenue_usd for each in quarters),
    "gross_profit_usd": gross_profit_usd,
    "margin_rate": margin_rate,
    "accelerators": lambda quarters: float(quarters[-1].devices),
}


@dataclass(frozen=True)
class Solution:
    """What makes a target true."""

    unknown: Unknown
    target: Target
    value: float
    """Per year, or a multiple for `demand` and `work`."""
    reached: float
    """The number that comes out with it."""
    before: float
    """The number without it."""


@dataclass(frozen=True)
class Trade:
    """A gain of efficiency per year, and the growth that then makes the target true."""

    efficiency: float
    growth: float | None
    """None: no growth does."""


def changed(outlook: Outlook, unknown: Unknown, value: float) -> Outlook:
    """Return what is assumed, with the unknown at a value."""
    return {
        "growth": outlook.with_growth,
        "efficiency": outlook.with_efficiency,
        "price": outlook.with_price,
        "demand": outlook.with_demand,
        "work": outlook.with_work,
    }[unknown](value)


def require_solvable(unknowns: Sequence[str], target: Target, labels: Sequence[str]) -> None:
    """Raise where no simulation is needed to tell that a target cannot be solved for.

    Args:
        unknowns: what is to be found.
        target: what is to come out.
        labels: the quarters of the forecast.

    Raises:
        SolveError: an unknown is none, the target does not depend on it, or it lies outside.
    """
    for unknown in unknowns:
        if unknown not in get_args(Unknown):
            raise SolveError(f"cannot solve for {unknown!r}; choose {', '.join(get_args(Unknown))}")
        if unknown == "price" and target.quantity in _WITHOUT_PRICES:
            raise SolveError(f"{target.quantity} does not depend on {unknown}")
    target.quarters(labels)


def solve(outlook: Outlook, response: Response, unknown: Unknown, target: Target) -> Solution:
    """Return the value of the unknown at which the target comes out.

    Raises:
        SolveError: no value does, or the target does not depend on it.
    """
    require_solvable([unknown], target, outlook.labels)
    only = target.quarters(outlook.labels)

    def excess(value: float) -> float:
        return target.of(project(changed(outlook, unknown, value), response, only)) - target.value

    neutral = 1.0 if unknown in MULTIPLES else 0.0
    before = excess(neutral) + target.value
    low, high = _bracket(excess, unknown, neutral)
    if low is None or high is None:
        ends = [excess(end) + target.value for end in (_BRACKETS[unknown][0], neutral)]
        if ends[0] == ends[1]:
            raise SolveError(f"{target.quantity} does not depend on {unknown}")
        raise SolveError(
            f"no {unknown} makes {target.quantity} {target.value:g} in {target.period}; as the "
            f"scenario stands it is {before:.4g}, and far from there it stays on the same side"
        )
    value = float(brentq(excess, low, high, xtol=1e-6, rtol=1e-6, maxiter=_ITERATIONS))
    return Solution(unknown, target, value, excess(value) + target.value, before)


def _bracket(
    excess: Callable[[float], float], unknown: Unknown, neutral: float
) -> tuple[float | None, float | None]:
    """Return two values with the number on either side of the target, near the neutral one."""
    lowest, highest = _BRACKETS[unknown]
    here = excess(neutral)
    if here == 0:
        return neutral, neutral
    shift = 0.0 if unknown in MULTIPLES else 1.0
    up = down = neutral
    for factor in _FACTORS:
        before_up, up = up, min((neutral + shift) * factor - shift, highest)
        if here * _at(excess, up) <= 0:
            return before_up, up
        before_down, down = down, max((neutral + shift) / factor - shift, lowest)
        if here * _at(excess, down) <= 0:
            return down, before_down
    return None, None


def _at(excess: Callable[[float], float], value: float) -> float:
    """Return the excess; NaN, on neither side, where there is more money than books can hold."""
    try:
        return excess(value)
    except ValueError:
        return math.nan


def trades(
    outlook: Outlook, response: Response, target: Target, efficiencies: Sequence[float]
) -> tuple[Trade, ...]:
    """Return the growth that makes a target true, for several gains of efficiency per year."""
    found = []
    for efficiency in efficiencies:
        try:
            growth = solve(outlook.with_efficiency(efficiency), response, "growth", target).value
        except SolveError:
            found.append(Trade(efficiency, None))
        else:
            found.append(Trade(efficiency, growth))
    return tuple(found)
