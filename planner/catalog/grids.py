"""Electricity grids, by the carbon of a kilowatt-hour."""

from __future__ import annotations

from dataclasses import dataclass

from planner.catalog.figures import Figure


@dataclass(frozen=True, slots=True)
class Grid:
    """A grid, or a region of one."""

    name: str
    title: str
    intensity: Figure
    """Mean over a year, gCO2e per kWh: location-based."""
    notes: tuple[str, ...] = ()
