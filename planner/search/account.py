"""A bridge as its JSON tells it: ends and bars, without the two results that it stands on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from planner.economics import DEFINITIONS
from planner.economics.bridge import Quantity
from planner.search.bridged import Row


@dataclass(frozen=True)
class Account:
    """From the cost and margin of one side to those of the other, as far as a page draws it."""

    labels: tuple[str, str]
    """Of the two sides."""
    definition: str
    """Definition of margin that the headline uses."""
    ends: Mapping[Quantity, tuple[int, int]]
    """As those of `Bridge`."""
    bars: Mapping[Quantity, tuple[Row, ...]]
    """Those that are nothing included."""
    notes: tuple[str, ...]

    @property
    def definitions(self) -> tuple[str, ...]:
        """Definitions under which both sides have a margin, the headline's first."""
        known = [each for each in DEFINITIONS if ("margin", each) in self.ends]
        return tuple(sorted(known, key=lambda each: each != self.definition))

    def change(self, quantity: str, definition: str = "") -> int:
        """Return the change of a quantity in its units."""
        before, after = self.ends[quantity, definition]
        return after - before

    def rows(self, quantity: str, definition: str = "", *, every: bool = False) -> list[Row]:
        """Return the bars of a waterfall; see `Bridge.rows`."""
        return [row for row in self.bars[quantity, definition] if row.amount or every]


def read_account(content: Mapping[str, Any]) -> Account:
    """Return what `Bridge.to_json` wrote, as far as a page draws it.

    Raises:
        KeyError, TypeError: it is of another version, or damaged.
    """
    listed = {(each["quantity"], each["definition"] or ""): each for each in content["quantities"]}
    return Account(
        labels=(content["before"]["label"], content["after"]["label"]),
        definition=content["definition"],
        ends={key: (each["before"], each["after"]) for key, each in listed.items()},
        bars={key: tuple(Row(**row) for row in each["bars"]) for key, each in listed.items()},
        notes=tuple(content["notes"]),
    )
