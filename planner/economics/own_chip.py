"""From which volume a chip of one's own is cheaper than a bought one.

An own chip costs its engineering once and little per piece; a bought one costs its price for every
hour. With engineering recovered over the life of a generation (capital recovery factor, per year)
the cost of a million tokens at a volume of V million tokens a year is

    own(V) = engineering · CRF(r, n) / V + variable        bought = its cost per million tokens

so that the two meet at V = engineering · CRF(r, n) / (bought − variable), and never if making and
running the own chip costs as much per token as the bought one.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from planner.economics.capital import HOURS_PER_YEAR, capital_recovery_factor
from planner.economics.checks import require_range


@dataclass(frozen=True)
class DeviceHour:
    """What a device costs per hour, USD, by part."""

    machine_usd: float
    """Rent, or what it cost with interest over its life."""
    overhead_usd: float = 0.0
    """Storage, network, control plane and support of rented nodes."""
    operations_usd: float = 0.0
    """Staff, maintenance and software of an own one; those of a bought one are in its price."""
    electricity_usd: float = 0.0
    """In the mean over busy and waiting time, PUE included."""
    housing_usd: float = 0.0
    """For nameplate IT power."""

    @property
    def usd(self) -> float:
        """All of it.

        >>> DeviceHour(2.0, 0.25, 0.25, 0.25, 0.25).usd
        3.0
        """
        return math.fsum(vars(self).values())


@dataclass(frozen=True)
class ChipCost:
    """What a device costs and carries."""

    usd_per_device_hour: float
    """All in: capital or rent, power, housing, overhead."""
    tokens_per_s: float
    """Input and output, at the most load that keeps the promises."""
    utilisation_rate: float = 1.0
    """Mean over that load."""

    def __post_init__(self) -> None:
        require_range("ChipCost.usd_per_device_hour", self.usd_per_device_hour)
        require_range("ChipCost.tokens_per_s", self.tokens_per_s, minimum=1e-9)
        require_range("ChipCost.utilisation_rate", self.utilisation_rate, minimum=1e-6, maximum=1.0)

    @property
    def mtok_per_year(self) -> float:
        """Million tokens of a device in a year, in the mean."""
        return self.tokens_per_s * self.utilisation_rate * 3600.0 * HOURS_PER_YEAR / 1e6

    @property
    def usd_per_mtok(self) -> float:
        """Cost of a million tokens.

        >>> chip = ChipCost(3.6, tokens_per_s=1000.0, utilisation_rate=0.5)
        >>> chip.usd_per_mtok
        2.0
        """
        return self.usd_per_device_hour * HOURS_PER_YEAR / self.mtok_per_year


@dataclass(frozen=True)
class BreakEven:
    """An own chip against a bought one."""

    own: ChipCost
    """Without engineering."""
    bought: ChipCost
    engineering_usd: float
    life_years: float
    cost_of_capital_rate: float

    @property
    def engineering_usd_per_year(self) -> float:
        """Engineering, recovered with interest over the life of a generation."""
        factor = capital_recovery_factor(self.cost_of_capital_rate, self.life_years)
        return self.engineering_usd * factor

    def own_usd_per_mtok(self, mtok_per_year: float) -> float:
        """Return the cost of a million tokens on the own chip at a volume per year."""
        return self.engineering_usd_per_year / mtok_per_year + self.own.usd_per_mtok

    @property
    def mtok_per_year(self) -> float | None:
        """Volume from which the own chip is cheaper; None: never.

        >>> bought, own = ChipCost(7.2, 1000.0), ChipCost(3.6, 1000.0)
        >>> found = BreakEven(own, bought, engineering_usd=400e6, life_years=4,
        ...     cost_of_capital_rate=0.0)
        >>> found.engineering_usd_per_year, round(found.mtok_per_year)
        (100000000.0, 100000000)
        >>> found.own_usd_per_mtok(100e6) == bought.usd_per_mtok
        True
        """
        saved = self.bought.usd_per_mtok - self.own.usd_per_mtok
        return self.engineering_usd_per_year / saved if saved > 0 else None

    @property
    def own_devices(self) -> float | None:
        """Own devices that serve that volume; None: never."""
        volume = self.mtok_per_year
        return None if volume is None else volume / self.own.mtok_per_year

    @property
    def bought_devices(self) -> float | None:
        """Bought devices that serve it; None: never."""
        volume = self.mtok_per_year
        return None if volume is None else volume / self.bought.mtok_per_year


@dataclass(frozen=True)
class Swing:
    """What the break-even does if one figure is larger than assumed."""

    name: str
    change_rate: float | None
    """Of the break-even, as a share; None: there is none any more."""
    share_rate: float | None
    """Its part in the variance of the break-even, if all figures were equally uncertain and
    independent; None where it cannot be said."""


STEP = 0.1
"""By how much each figure is larger, as a share."""


def swings(found: BreakEven, own: DeviceHour, bought: DeviceHour) -> tuple[Swing, ...]:
    """Return what the break-even does if each figure alone is a tenth larger.

    Parts in the variance are those of the logarithm of the volume, by first differences.

    Args:
        found: the break-even.
        own: what makes up the hour of the own device.
        bought: the same of the bought one.
    """
    more = 1.0 + STEP
    making = replace(own, machine_usd=own.machine_usd * more, overhead_usd=own.overhead_usd * more)
    running = replace(
        own,
        operations_usd=own.operations_usd * more,
        electricity_usd=own.electricity_usd * more,
        housing_usd=own.housing_usd * more,
    )
    changed = {
        "engineering": replace(found, engineering_usd=found.engineering_usd * more),
        "making one device": _with_own(found, making.usd, 1.0),
        "operations, electricity and housing of one": _with_own(found, running.usd, 1.0),
        "tokens per second of the own device": _with_own(found, own.usd, more),
        "cost of the bought device": _with_bought(found, bought.usd * more, 1.0),
        "tokens per second of the bought device": _with_bought(found, bought.usd, more),
    }
    before = found.mtok_per_year
    if before is None:
        return tuple(Swing(name, None, None) for name in changed)
    volumes = {name: each.mtok_per_year for name, each in changed.items()}
    logs = {name: math.log(v / before) for name, v in volumes.items() if v is not None}
    whole = math.fsum(log * log for log in logs.values())
    is_known = len(logs) == len(volumes) and whole > 0.0
    return tuple(
        Swing(
            name,
            None if volume is None else volume / before - 1.0,
            logs[name] ** 2 / whole if is_known else None,
        )
        for name, volume in volumes.items()
    )


def _with_own(found: BreakEven, usd: float, faster: float) -> BreakEven:
    return replace(found, own=_chip(found.own, usd, faster))


def _with_bought(found: BreakEven, usd: float, faster: float) -> BreakEven:
    return replace(found, bought=_chip(found.bought, usd, faster))


def _chip(chip: ChipCost, usd: float, faster: float) -> ChipCost:
    return replace(chip, usd_per_device_hour=usd, tokens_per_s=chip.tokens_per_s * faster)
