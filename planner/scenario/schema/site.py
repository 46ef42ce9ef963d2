"""Where the fleet stands: how much power there is, and what it emits."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import Field, model_validator

from planner.scenario.schema.fields import Part
from planner.units import CarbonIntensity, Fraction, Mass, PositiveDuration, Power


class Site(Part):
    """Power of the site and carbon of its electricity and machines."""

    power: Annotated[Power, Field(gt=0)] | None = None
    """Limit at the meter, as `2 MW`: the nameplate power of all nodes held at one time, times
    `prices.power.pue`, may not exceed it. Absent: no limit."""
    region: str | None = None
    """Grid in the catalogue (`planner catalog list grids`), for location-based carbon. Absent, and
    without `grid_intensity`: 400 g/kWh."""
    grid_intensity: CarbonIntensity | None = None
    """Your own figure instead of `region`: mean gCO2e of a kWh from the local grid."""
    contracted: Fraction = 0.0
    """Share of the energy that contracts cover, for market-based carbon; the rest counts as the
    grid's."""
    contracted_intensity: CarbonIntensity = 0.0
    """Intensity of that share."""
    embodied: Mass | None = None
    """CO2e of making one node, of every pool, as `1300 kg`. Absent: that of the chip in the
    catalogue times its devices; for chips without a figure, that of an H100."""
    life: PositiveDuration = 5 * 365 * 86400.0
    """Life of a node, over which its embodied carbon is spread."""

    @model_validator(mode="after")
    def _one_intensity(self) -> Self:
        if self.region is not None and self.grid_intensity is not None:
            raise ValueError("region and grid_intensity say the same thing; delete one of them")
        return self
