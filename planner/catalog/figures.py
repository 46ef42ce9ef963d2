"""A figure never travels without its provenance: value, unit, source, date and tier."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal, get_args

Tier = Literal["official", "measured", "analyst", "estimated", "claimed"]
"""How well a figure is founded.

official: vendor documentation, published configuration, filing or paper; measured: by a third party
with a published method; analyst: report of a non-public figure; estimated: from a secondary or
community source, or arithmetic on named inputs; claimed: a vendor's word on what does not ship.
"""

TIERS: Final[tuple[Tier, ...]] = get_args(Tier)


@dataclass(frozen=True, slots=True)
class Source:
    """Where figures come from."""

    citation: str
    """Short, in our own words."""
    date: str
    """Publication or reading date, YYYY, YYYY-MM or YYYY-MM-DD."""
    tier: Tier


@dataclass(frozen=True, slots=True)
class Figure:
    """A number with its provenance; `float(figure)` is its value.

    >>> figure = Figure(9.89e14, "FLOP/s", "989 TFLOPS", "data sheet", "2023-03", "official")
    >>> float(figure), str(figure)
    (989000000000000.0, '989 TFLOPS')
    """

    value: float
    """In the unit of `unit`, always a base unit of `planner.units`."""
    unit: str
    """Unit of `value`: B, B/s, FLOP/s, W, USD, USD/h, USD/Mtok, parameters."""
    shown: str
    """Value and unit as the catalogue file writes them, for people: `989 TFLOPS`."""
    source: str
    date: str
    """When it held or was read, YYYY, YYYY-MM or YYYY-MM-DD."""
    tier: Tier
    note: str = ""
    """Caveats: contradicting sources, inputs of an estimate."""

    def __float__(self) -> float:
        return self.value

    def __str__(self) -> str:
        return self.shown
