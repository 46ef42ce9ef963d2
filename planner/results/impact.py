"""What a result keeps of energy and carbon."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import pandas as pd

if TYPE_CHECKING:
    from planner.economics.carbon import Footprint


@dataclass(frozen=True)
class Impact:
    """The energy and carbon side of a result."""

    hours: float
    """Length of the time that all amounts are for."""
    energy_kwh: float
    """At the meter, PUE included."""
    energy_per_request_wh: float | None
    """None where no request was served."""
    energy_per_output_token_j: float | None
    """None where no output token was served."""
    location_kg: float
    """CO2e of the energy, by the local grid."""
    market_kg: float
    """The same by contracts; never added to it."""
    embodied_kg: float
    """Share of making the machines."""
    sci_per_request_g: float | None
    """Software Carbon Intensity: (energy at the grid's intensity + embodied) / requests."""
    class_footprint: pd.DataFrame
    """One row per class, and one for what no class bears."""
    pool_footprint: pd.DataFrame
    """One row per pool and price."""

    @classmethod
    def of(cls, found: Footprint) -> Impact:
        """Return what a result keeps of a footprint."""
        total = found.total
        return cls(
            hours=found.pools[0].usage.period_hours,
            energy_kwh=total.emissions.energy_kwh,
            energy_per_request_wh=total.energy_per_request_wh,
            energy_per_output_token_j=total.energy_per_output_token_j,
            location_kg=total.emissions.location_kg,
            market_kg=total.emissions.market_kg,
            embodied_kg=total.emissions.embodied_kg,
            sci_per_request_g=total.sci_per_request_g,
            class_footprint=found.class_frame(),
            pool_footprint=found.pool_frame(),
        )
