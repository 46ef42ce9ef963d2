"""From which volume a chip of one's own is cheaper than a bought one.

An own chip costs its engineering once and little per piece; a bought one costs its price for every
hour. With engineering recovered over the life of a generation (capital recovery factor, per year)
the cost of a million tokens at a volume of V million tokens a year is

    own(V) = engineering · CRF(r, n) / V + variable        bought = its cost per million tokens

so that the two meet at V = engineering · CRF(r, n) / (bought − variable), and never if making and
running the own chip costs as much per token as the bought one.
"""

from __future__ import annotations

from dataclasses import dataclass

from planner.economics.capital import HOURS_PER_YEAR, capital_recovery_factor
from planner.economics.checks import require_range


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
