"""Electricity from what the devices do, never from nameplate alone; PUE is applied once.

A device draws idle power while it waits, and while it is in steps a power that rises with the
arithmetic it does: memory-bound decoding leaves the arithmetic units dark. Between the two bounds
power is linear in the arithmetic attained and saturates well below its peak. The form and its
default figures follow from ML.ENERGY's measurements (arXiv 2601.22076; dense models on H100 and
B200): 0.62 of the design power where no arithmetic counts, 0.94 from 15% of peak arithmetic on,
46 points, median error 5 points. Splitwise (arXiv 2311.18677) shows the same two phases.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from planner.economics.checks import require_range
from planner.economics.usage import PoolUsage

HOURS_PER_MONTH: Final = 730.0
"""8,760 / 12: what cloud and colocation price lists mean by a month."""
JOULES_PER_KWH: Final = 3.6e6


@dataclass(frozen=True)
class PowerTerms:
    """How much power devices draw, and what electricity and housing cost."""

    electricity_usd_per_kwh: float = 0.08
    pue: float = 1.12
    """Power usage effectiveness: energy of the site / energy of its machines."""
    colocation_usd_per_kw_month: float = 130.0
    """Housing, per kW of provisioned IT power."""
    idle_rate: float = 0.12
    """Power of an idle device, as a share of nameplate."""
    loaded_rate: float = 0.80
    """Power of a device that is busy with arithmetic, as a share of nameplate."""
    memory_bound_rate: float = 1.0
    """Power of a busy device that does no arithmetic to speak of, as a share of that. 1: all steps
    draw alike."""
    saturation_rate: float = 0.15
    """Share of peak arithmetic from which on a device draws loaded power."""
    source: str = "planner default"
    """Where these figures come from; it is shown in every ledger line that uses them."""
    date: str = "2026-11"

    def __post_init__(self) -> None:
        require_range("PowerTerms.electricity_usd_per_kwh", self.electricity_usd_per_kwh)
        require_range("PowerTerms.pue", self.pue, minimum=1.0)
        require_range("PowerTerms.colocation_usd_per_kw_month", self.colocation_usd_per_kw_month)
        require_range("PowerTerms.idle_rate", self.idle_rate, maximum=1.0)
        require_range("PowerTerms.loaded_rate", self.loaded_rate, maximum=1.0)
        require_range("PowerTerms.memory_bound_rate", self.memory_bound_rate, maximum=1.0)
        require_range("PowerTerms.saturation_rate", self.saturation_rate, minimum=1e-6, maximum=1.0)
        if self.idle_rate > self.loaded_rate:
            raise ValueError(
                f"PowerTerms.idle_rate {self.idle_rate} is above loaded_rate {self.loaded_rate}; "
                "a device draws at least as much when it works"
            )

    def busy_rate(self, arithmetic_rate: float) -> float:
        """Return the power of a device in a step, as a share of nameplate.

        Args:
            arithmetic_rate: share of peak arithmetic that it attains, 0 to 1.

        >>> terms = PowerTerms(loaded_rate=0.8, memory_bound_rate=0.5, saturation_rate=0.2)
        >>> [round(terms.busy_rate(rate), 3) for rate in (0.0, 0.1, 0.2, 0.6)]
        [0.4, 0.6, 0.8, 0.8]
        """
        attained = min(1.0, arithmetic_rate / self.saturation_rate)
        level = self.memory_bound_rate + (1.0 - self.memory_bound_rate) * attained
        return max(self.idle_rate, self.loaded_rate * level)


@dataclass(frozen=True)
class EnergyUse:
    """Energy of a pool over a period, in kWh."""

    workload_kwh: float
    """Of machines while they work."""
    idle_kwh: float
    """Of machines that are on and wait."""
    facility_kwh: float
    """Of cooling and power conversion: what PUE adds to the energy of the machines."""

    @property
    def total_kwh(self) -> float:
        """At the meter of the site."""
        return self.workload_kwh + self.idle_kwh + self.facility_kwh

    @property
    def total_j(self) -> float:
        """At the meter of the site, joules."""
        return self.total_kwh * JOULES_PER_KWH


def device_power_w(
    nameplate_w: float,
    utilisation_rate: float,
    terms: PowerTerms,
    arithmetic_rate: float = 1.0,
) -> float:
    """Return the mean power of a device that is busy for a share of the time.

    P = nameplate · (idle + (busy − idle) · utilisation), the usual linear power model, with the
    power of a busy device as `PowerTerms.busy_rate` has it.

    Args:
        nameplate_w: nameplate power, watts.
        utilisation_rate: share of the time spent in steps, 0 to 1.
        terms: idle and loaded shares.
        arithmetic_rate: share of peak arithmetic in these steps.

    >>> device_power_w(1000.0, 0.5, PowerTerms(idle_rate=0.1, loaded_rate=0.9))
    500.0
    """
    busy_rate = terms.busy_rate(arithmetic_rate)
    return nameplate_w * (terms.idle_rate + (busy_rate - terms.idle_rate) * utilisation_rate)


def pool_energy(usage: PoolUsage, terms: PowerTerms) -> EnergyUse:
    """Return the energy of a pool: by its arithmetic while busy, idle power while merely on.

    The sum equals `device_power_w` at the measured utilisation × hours × PUE. Nodes that are paid
    for but handed back draw nothing.

    Args:
        usage: hours held, busy and at peak arithmetic, nameplate power per node.
        terms: idle and loaded shares, PUE.

    >>> from planner.economics.rates import MachineRate
    >>> rate = MachineRate("r", "h100", "owned", 1.0, "2026", "example")
    >>> usage = PoolUsage("chat", "hgx", "h100", devices_per_node=8, period_hours=10.0,
    ...     peak_nodes=1, node_hours=10.0, busy_device_hours=40.0, node_power_w=10_000.0, rate=rate)
    >>> pool_energy(usage, PowerTerms(pue=1.5, idle_rate=0.1, loaded_rate=0.9))
    EnergyUse(workload_kwh=45.0, idle_kwh=5.0, facility_kwh=25.0)
    """
    node_kwh = usage.node_power_w / 1000.0 * usage.node_hours
    busy_rate = terms.busy_rate(usage.arithmetic_rate)
    workload_kwh = node_kwh * usage.utilisation_rate * busy_rate
    idle_kwh = node_kwh * (1.0 - usage.utilisation_rate) * terms.idle_rate
    return EnergyUse(workload_kwh, idle_kwh, (terms.pue - 1.0) * (workload_kwh + idle_kwh))
