"""One assumption of a curve or a memory plan, with where it comes from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from planner.catalog import Figure


@dataclass(frozen=True)
class Provenance:
    """One assumption, with where it comes from."""

    name: str
    value: float | str
    unit: str
    source: str
    date: str
    tier: str


def of_figure(name: str, figure: Figure) -> Provenance:
    """Return a catalogue figure as an assumption called `name`."""
    return Provenance(name, figure.value, figure.unit, figure.source, figure.date, figure.tier)
