"""Carbon of serving: operation by two accounts, embodied by use, and the SCI of a request.

Location-based emissions take the mean intensity of the local grid; market-based ones what is
contracted (GHG Protocol, Scope 2 Guidance). Both are stated, never mixed. Embodied carbon is
amortised over the life of a machine by the hours it stands there for this fleet, whatever is paid.
The Software Carbon Intensity (Green Software Foundation, ISO/IEC 21031:2024) is ((E · I) + M) / R:
energy at the location's intensity and the embodied share, per unit of work; contracts do not lower
it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import pandas as pd

from planner.economics.allocation import UNALLOCATED
from planner.economics.capital import HOURS_PER_YEAR
from planner.economics.checks import require_range
from planner.economics.energy import JOULES_PER_KWH, EnergyUse, PowerTerms, pool_energy
from planner.economics.money import ratio
from planner.economics.usage import ClassUsage, PoolUsage

G_PER_KG: Final = 1000.0
WH_PER_KWH: Final = 1000.0


@dataclass(frozen=True)
class CarbonTerms:
    """What a kilowatt-hour and a machine are charged with."""

    location_g_per_kwh: float = 400.0
    """Mean intensity of the grid that the site is on, gCO2e per kWh."""
    contracted_rate: float = 0.0
    """Share of the energy that contracts (power purchase agreements, certificates) cover."""
    contracted_g_per_kwh: float = 0.0
    """Intensity of that share."""
    life_years: float = 5.0
    """Over which embodied carbon is amortised."""

    def __post_init__(self) -> None:
        require_range("CarbonTerms.location_g_per_kwh", self.location_g_per_kwh)
        require_range("CarbonTerms.contracted_rate", self.contracted_rate, maximum=1.0)
        require_range("CarbonTerms.contracted_g_per_kwh", self.contracted_g_per_kwh)
        require_range("CarbonTerms.life_years", self.life_years, minimum=0.1)

    @property
    def market_g_per_kwh(self) -> float:
        """Intensity by contracts; what they do not cover counts as the grid's.

        >>> CarbonTerms(location_g_per_kwh=400.0, contracted_rate=0.75).market_g_per_kwh
        100.0
        """
        rest = (1.0 - self.contracted_rate) * self.location_g_per_kwh
        return self.contracted_rate * self.contracted_g_per_kwh + rest


@dataclass(frozen=True)
class Emissions:
    """Energy at the meter, kWh, and what it and the machines emit, kg of CO2e."""

    energy_kwh: float = 0.0
    location_kg: float = 0.0
    """Operation, by the grid's intensity."""
    market_kg: float = 0.0
    """Operation, by contracts."""
    embodied_kg: float = 0.0
    """Share of what making the machines emitted."""

    @property
    def sci_kg(self) -> float:
        """E · I + M: the numerator of the Software Carbon Intensity."""
        return self.location_kg + self.embodied_kg

    def part(self, share_rate: float) -> Emissions:
        """Return a share of it."""
        return Emissions(
            self.energy_kwh * share_rate,
            self.location_kg * share_rate,
            self.market_kg * share_rate,
            self.embodied_kg * share_rate,
        )

    def __add__(self, other: Emissions) -> Emissions:
        return Emissions(
            self.energy_kwh + other.energy_kwh,
            self.location_kg + other.location_kg,
            self.market_kg + other.market_kg,
            self.embodied_kg + other.embodied_kg,
        )


@dataclass(frozen=True)
class ClassFootprint:
    """What serving one class used and emitted."""

    name: str
    emissions: Emissions
    requests: int
    output_tokens: int

    @property
    def energy_per_request_wh(self) -> float | None:
        """Energy at the meter per request served; None if there was none."""
        return ratio(self.emissions.energy_kwh * WH_PER_KWH, self.requests)

    @property
    def energy_per_output_token_j(self) -> float | None:
        """The same per output token, reasoning included, its prompt's share too."""
        return ratio(self.emissions.energy_kwh * JOULES_PER_KWH, self.output_tokens)

    @property
    def sci_per_request_g(self) -> float | None:
        """Software Carbon Intensity with R = one request, gCO2e."""
        return ratio(self.emissions.sci_kg * G_PER_KG, self.requests)

    def row(self) -> dict[str, object]:
        """Return the columns of a table."""
        found = self.emissions
        return {
            "class": self.name,
            "requests": self.requests,
            "output_tokens": self.output_tokens,
            "energy_kwh": found.energy_kwh,
            "energy_per_request_wh": self.energy_per_request_wh,
            "energy_per_output_token_j": self.energy_per_output_token_j,
            "location_kg": found.location_kg,
            "market_kg": found.market_kg,
            "embodied_kg": found.embodied_kg,
            "sci_per_request_g": self.sci_per_request_g,
        }


@dataclass(frozen=True)
class PoolFootprint:
    """What one pool used and emitted."""

    usage: PoolUsage
    energy: EnergyUse
    emissions: Emissions

    def row(self) -> dict[str, object]:
        """Return the columns of a table."""
        usage, energy = self.usage, self.energy
        hours = usage.node_hours
        it_kwh = energy.workload_kwh + energy.idle_kwh
        return {
            "pool": usage.pool,
            "node": usage.node,
            "provisioned_kw": usage.peak_nodes * usage.node_power_w / 1000.0,
            "utilisation_rate": usage.utilisation_rate,
            "arithmetic_rate": usage.arithmetic_rate,
            "node_power_kw": ratio(it_kwh, hours),
            "workload_kwh": energy.workload_kwh,
            "idle_kwh": energy.idle_kwh,
            "facility_kwh": energy.facility_kwh,
            "energy_kwh": energy.total_kwh,
            "location_kg": self.emissions.location_kg,
            "market_kg": self.emissions.market_kg,
            "embodied_kg": self.emissions.embodied_kg,
        }


@dataclass(frozen=True)
class Footprint:
    """Energy and carbon of a period."""

    pools: tuple[PoolFootprint, ...]
    classes: tuple[ClassFootprint, ...]
    """In their order; the last one bears what pools used that served no class."""
    terms: CarbonTerms

    @property
    def total(self) -> ClassFootprint:
        """All classes together."""
        return ClassFootprint(
            "all",
            sum((each.emissions for each in self.pools), Emissions()),
            sum(each.requests for each in self.classes),
            sum(each.output_tokens for each in self.classes),
        )

    def class_frame(self) -> pd.DataFrame:
        """Return one row per class; one more for what nobody bears, if there is any."""
        *named, nobody = self.classes
        shown = [*named, *([nobody] if nobody.emissions.energy_kwh else [])]
        return _frame([each.row() for each in shown], list(nobody.row()), 3)

    def pool_frame(self) -> pd.DataFrame:
        """Return one row per pool and price."""
        rows = [each.row() for each in self.pools]
        return _frame(rows, list(rows[0]), 2)


def footprint(
    pools: Sequence[PoolUsage],
    classes: Sequence[ClassUsage],
    power: PowerTerms,
    terms: CarbonTerms,
    embodied_kg: Mapping[str, float],
) -> Footprint:
    """Return energy and carbon by pool and by class; classes bear it as they bear cost.

    Args:
        pools: machine time held and used, at least one.
        classes: what was served, with their weights by pool.
        power: what devices draw, and PUE.
        terms: intensities and life.
        embodied_kg: by pool: what making one of its nodes emitted, kg of CO2e.

    >>> from planner.economics.rates import MachineRate
    >>> rate = MachineRate("r", "h100", "on_demand", 1.0, "2026", "example")
    >>> pool = PoolUsage("chat", "hgx", "h100", devices_per_node=8, period_hours=10.0, peak_nodes=1,
    ...     node_hours=10.0, busy_device_hours=40.0, node_power_w=10_000.0, rate=rate)
    >>> users = ClassUsage("users", None, 1000, 0, 75_000, pool_weights={"chat": 2.0})
    >>> found = footprint([pool], [users], PowerTerms(pue=1.5, idle_rate=0.1, loaded_rate=0.9),
    ...     CarbonTerms(400.0, contracted_rate=0.5, life_years=1.0), {"chat": 876.0})
    >>> users = found.classes[0]
    >>> users.energy_per_request_wh, users.energy_per_output_token_j
    (75.0, 3600.0)
    >>> users.emissions.location_kg, users.emissions.market_kg, users.emissions.embodied_kg
    (30.0, 15.0, 1.0)
    >>> users.sci_per_request_g
    31.0
    """
    found = [_pool(usage, power, terms, embodied_kg[usage.pool]) for usage in pools]
    shares = [_class(usage, found, classes) for usage in classes]
    nobody = sum((each.emissions for each in found if not _weight(each, classes)), Emissions())
    return Footprint(tuple(found), (*shares, ClassFootprint(UNALLOCATED, nobody, 0, 0)), terms)


def _pool(
    usage: PoolUsage, power: PowerTerms, terms: CarbonTerms, embodied_kg: float
) -> PoolFootprint:
    energy = pool_energy(usage, power)
    emissions = Emissions(
        energy.total_kwh,
        energy.total_kwh * terms.location_g_per_kwh / G_PER_KG,
        energy.total_kwh * terms.market_g_per_kwh / G_PER_KG,
        embodied_kg * usage.standing_node_hours / (terms.life_years * HOURS_PER_YEAR),
    )
    return PoolFootprint(usage, energy, emissions)


def _weight(pool: PoolFootprint, classes: Sequence[ClassUsage]) -> float:
    return sum(usage.pool_weights.get(pool.usage.pool, 0.0) for usage in classes)


def _class(
    usage: ClassUsage, pools: Sequence[PoolFootprint], classes: Sequence[ClassUsage]
) -> ClassFootprint:
    total = Emissions()
    for pool in pools:
        own = usage.pool_weights.get(pool.usage.pool, 0.0)
        if own:
            total += pool.emissions.part(own / _weight(pool, classes))
    return ClassFootprint(usage.name, total, usage.requests, usage.output_tokens)


def _frame(rows: list[dict[str, object]], names: list[str], labels: int) -> pd.DataFrame:
    frame = pd.DataFrame(rows, columns=names)
    return frame.astype(dict.fromkeys(names[labels:], "float64"))
