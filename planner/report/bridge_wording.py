"""What a bridge says, whatever it is shown on: amounts, titles, the headline."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from planner.economics import DEFINITION_TEXT
from planner.economics.bridge import RATE_UNITS
from planner.economics.energy import HOURS_PER_MONTH
from planner.results.formatting import MINUS, MISSING
from planner.version import VERSION

if TYPE_CHECKING:
    from collections.abc import Sequence

    from planner.search.account import Account
    from planner.search.bridged import Bridge, Row
    from planner.search.sides import Side

HOURS: Final = {"hour": 1.0, "month": HOURS_PER_MONTH}
"""Length of what money is stated for, hours."""
GROUP_WORDS: Final = (
    ("traffic", "who asks, how much and how long"),
    ("techniques", "how requests are served, by serving technique"),
    ("behaviour", "how requests are served, otherwise: fleet, load, model, chips"),
    ("prices", "what machines, power and housing cost"),
    ("revenue terms", "what classes pay, and what a partner takes"),
    ("catalogue", "figures of the catalogue and curves that changed under the same scenario"),
)
NOTHING: Final = "≈ 0"
"""Said of a part that is there but too small for its column."""
_HEADLINE_PARTS: Final = 3


@dataclass(frozen=True)
class Scale:
    """How the amounts of one quantity are written, so that they can be compared and added."""

    factor: float
    """What one unit is."""
    decimals: int
    prefix: str = ""
    unit: str = ""
    change_unit: str = ""

    def level(self, amount: int) -> str:
        """Return an amount."""
        return f"{MINUS if amount < 0 else ''}{self._text(amount)}{self.unit}"

    def change(self, amount: int) -> str:
        """Return a change with its sign."""
        if amount == 0:
            return "0"
        if self.is_negligible(amount):
            return NOTHING
        return f"{MINUS if amount < 0 else '+'}{self._text(amount)}{self.change_unit}"

    def part(self, row: Row) -> str:
        """Return the change of a row, with its error if it is estimated."""
        text = self.change(row.amount)
        if row.error is None:
            return text
        return f"{text} ± {row.error * self.factor:,.{self.decimals}f}"

    def is_negligible(self, amount: int) -> bool:
        """Tell whether nothing is left of an amount when it is written."""
        return float(f"{abs(amount) * self.factor:.{self.decimals}f}") == 0

    def _text(self, amount: int) -> str:
        return f"{self.prefix}{abs(amount) * self.factor:,.{self.decimals}f}"


def scale_of(
    found: Bridge | Account, quantity: str, definition: str = "", per: str = "hour"
) -> Scale:
    """Return how the amounts of a quantity are written."""
    if quantity == "margin":
        return Scale(100 / RATE_UNITS, 1, "", "%", " pp")
    factor = HOURS[per] / 1e6
    most = max(map(abs, found.ends[quantity, definition]), default=0) * factor
    return Scale(factor, 0 if most >= 10_000 else 2 if most >= 1 else 4, "$")


def title_of(quantity: str, definition: str = "", per: str = "hour") -> str:
    """Return the title of a quantity."""
    return {
        "cost": f"Cost per {per}",
        "revenue": f"Revenue per {per}",
        "profit": f"Gross profit per {per}, {definition}",
        "margin": f"Gross margin, {definition}",
    }[quantity]


def brief_title_of(quantity: str, per: str) -> str:
    """Return the title of a quantity for the head of a column."""
    return "margin" if quantity == "margin" else f"{quantity}/{per}"


def is_better(quantity: str, amount: int) -> bool | None:
    """Tell whether a change is for the better; None where it is none."""
    return None if amount == 0 else (amount < 0) == (quantity == "cost")


def shown(found: Bridge | Account) -> list[tuple[str, str]]:
    """Return the quantities that are shown first, the margin as the headline has it."""
    keys = [("cost", ""), ("revenue", "")]
    if ("margin", found.definition) in found.ends:
        return [("margin", found.definition), *keys, ("profit", found.definition)]
    return [*keys, ("profit", found.definition)]


def headline(found: Bridge | Account, per: str = "hour") -> list[str]:
    """Return the answer in a few sentences with its numbers."""
    sentences = []
    for quantity, definition in shown(found)[:2]:
        scale = scale_of(found, quantity, definition, per)
        before, after = found.ends[quantity, definition]
        what = "Gross margin" if quantity == "margin" else title_of(quantity, "", per)
        named = f" ({definition})" if definition else ""
        if before == after:
            sentences.append(f"{what}{named} stays at {scale.level(after)}.")
            continue
        verb = "rises" if after > before else "falls"
        size = scale.change(after - before).lstrip("+" + MINUS)
        causes = _largest(found, quantity, definition, scale)
        sentences.append(
            f"{what}{named} {verb} from {scale.level(before)} to {scale.level(after)}, by {size}: "
            f"{causes}."
        )
    return sentences


def _largest(found: Bridge | Account, quantity: str, definition: str, scale: Scale) -> str:
    rows = sorted(found.rows(quantity, definition), key=lambda row: -abs(row.amount))
    named = rows[:_HEADLINE_PARTS]
    rest = sum(row.amount for row in rows[_HEADLINE_PARTS:])
    parts = [f"{row.label} {scale.change(row.amount)}" for row in named]
    if len(rows) > _HEADLINE_PARTS:
        parts.append(f"all else {scale.change(rest)}")
    return ", ".join(parts)


def run_words(found: Bridge, per: str = "hour") -> str:
    """Return one line: what is compared."""
    facts = [f"{_side(found.before)} → {_side(found.after)}"]
    if found.simulations:
        facts.append(f"{found.simulations:,} simulated fleets for the techniques")
    if per == "month":
        facts.append(f"a month is {HOURS_PER_MONTH:g} hours like those simulated")
    return " · ".join([*facts, f"planner {VERSION}"])


def _side(side: Side) -> str:
    kind = "simulated" if side.loaded is not None else "stored result"
    return f"{side.label} ({kind}, seed {side.result.seed})"


def margin_rows(found: Bridge) -> list[tuple[str, str, str, str, str]]:
    """Return each definition of margin with both margins, the change and its meaning."""
    rows: list[tuple[str, str, str, str, str]] = []
    ordered = sorted(DEFINITION_TEXT.items(), key=lambda each: each[0] != found.definition)
    for definition, meaning in ordered:
        ends = found.ends.get(("margin", definition))
        if ends is None:
            texts = (MISSING, MISSING, MISSING)
        else:
            scale = scale_of(found, "margin", definition)
            texts = (scale.level(ends[0]), scale.level(ends[1]), scale.change(ends[1] - ends[0]))
        rows.append((definition, *texts, meaning))
    return rows


def group_words(rows: Sequence[Row]) -> list[tuple[str, str]]:
    """Return what the groups of some rows mean, in their order."""
    present = {row.group for row in rows}
    return [(name, text) for name, text in GROUP_WORDS if name in present]
