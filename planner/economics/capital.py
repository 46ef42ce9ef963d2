"""Cost of owned machines per hour: capital, power, colocation, operations.

Capital is charged by recovery or in a straight line. Recovery uses the capital recovery factor
CRF(r, n) = r(1+r)ⁿ / ((1+r)ⁿ − 1), the constant yearly payment that pays back 1 with interest r in
n years (any text on engineering economics).
"""

from __future__ import annotations

from dataclasses import dataclass
from math import exp, expm1, log1p
from typing import Final, Literal

from planner.economics.checks import require_range
from planner.economics.energy import HOURS_PER_MONTH
from planner.economics.ledger import LineKind
from planner.economics.rates import RatePart

HOURS_PER_YEAR: Final = 8760.0
_NEGLIGIBLE_RATE: Final = 1e-12
"""Interest below this changes the answer by less than floats show over any life of a machine."""

Recovery = Literal["capital_recovery", "straight_line"]
"""capital_recovery: economic, with the cost of capital; straight_line: accounting, without it."""


def capital_recovery_factor(cost_of_capital_rate: float, life_years: float) -> float:
    """Return the yearly payment that recovers 1 over `life_years` with interest.

    Args:
        cost_of_capital_rate: per year; 0 gives 1 / life.
        life_years: years, greater than 0.

    Raises:
        ValueError: the rate is negative or the life is not positive.

    >>> round(capital_recovery_factor(0.10, 5), 6)
    0.263797
    >>> capital_recovery_factor(0.0, 4)
    0.25
    """
    require_range("cost of capital", cost_of_capital_rate)
    _require_positive("life in years", life_years)
    if cost_of_capital_rate < _NEGLIGIBLE_RATE:
        return 1.0 / life_years
    # 1 − (1+r)⁻ⁿ, without the cancellation that would spoil it at small rates
    return cost_of_capital_rate / -expm1(-life_years * log1p(cost_of_capital_rate))


def capital_recovery_per_hour_usd(
    capex_usd: float,
    *,
    life_years: float,
    cost_of_capital_rate: float,
    residual_usd: float = 0.0,
    availability_rate: float = 1.0,
) -> float:
    """Return the economic cost of capital per available hour, USD.

    (capex − residual / (1+r)ⁿ) · CRF(r, n) / (8760 · availability).

    Args:
        capex_usd: price of the machine with its share of network and installation.
        life_years: years until it is sold or scrapped.
        cost_of_capital_rate: per year.
        residual_usd: what it fetches then.
        availability_rate: share of hours in which it can be used, above 0.

    >>> round(capital_recovery_per_hour_usd(33_750, life_years=5, cost_of_capital_rate=0.10), 4)
    1.0163
    >>> capital_recovery_per_hour_usd(
    ...     87_600, life_years=5, cost_of_capital_rate=0, residual_usd=43_800
    ... )
    1.0
    """
    _require_asset(capex_usd, residual_usd, availability_rate)
    factor = capital_recovery_factor(cost_of_capital_rate, life_years)
    residual_now_usd = residual_usd * exp(-life_years * log1p(cost_of_capital_rate))
    return (capex_usd - residual_now_usd) * factor / (HOURS_PER_YEAR * availability_rate)


def straight_line_per_hour_usd(
    capex_usd: float,
    *,
    life_years: float,
    residual_usd: float = 0.0,
    availability_rate: float = 1.0,
) -> float:
    """Return the accounting depreciation per available hour, USD: (capex − residual) / hours.

    Args: as `capital_recovery_per_hour_usd`.

    >>> straight_line_per_hour_usd(43_800, life_years=5)
    1.0
    """
    _require_asset(capex_usd, residual_usd, availability_rate)
    _require_positive("life in years", life_years)
    return (capex_usd - residual_usd) / (life_years * HOURS_PER_YEAR * availability_rate)


@dataclass(frozen=True)
class OwnedAsset:
    """What a device of one's own costs to buy and to keep, power and housing apart."""

    capex_usd: float
    """Price of the device with its share of host and installation."""
    network_usd: float = 0.0
    """Price of its share of the cluster's network and storage."""
    residual_rate: float = 0.0
    """Value at the end of its life, as a share of both prices."""
    life_years: float = 5.0
    cost_of_capital_rate: float = 0.10
    """Per year; unused by `straight_line`."""
    availability_rate: float = 1.0
    """Share of the hours in which it can be used, above 0."""
    operations_usd_per_hour: float = 0.0
    """Staff, software, support, tax."""
    spares_rate: float = 0.0
    """Devices kept in reserve, as a share of those in use: they cost capital and do not work."""
    recovery: Recovery = "capital_recovery"

    def __post_init__(self) -> None:
        require_range("OwnedAsset.network_usd", self.network_usd)
        require_range("OwnedAsset.residual_rate", self.residual_rate, maximum=1.0)
        require_range("OwnedAsset.operations_usd_per_hour", self.operations_usd_per_hour)
        require_range("OwnedAsset.spares_rate", self.spares_rate, maximum=1.0)
        self.per_hour_usd(self.capex_usd)  # checks the rest

    def per_hour_usd(self, price_usd: float) -> float:
        """Return what an asset of this life and residual value costs per available hour, USD."""
        common = {
            "life_years": self.life_years,
            "residual_usd": self.residual_rate * price_usd,
            "availability_rate": self.availability_rate,
        }
        if self.recovery == "straight_line":
            return straight_line_per_hour_usd(price_usd, **common)
        return capital_recovery_per_hour_usd(
            price_usd, cost_of_capital_rate=self.cost_of_capital_rate, **common
        )

    def parts(self) -> tuple[RatePart, ...]:
        """Return the parts of its hourly price, as ledger lines name them.

        The device and its network are worked or wait; spares are idle; operations are overhead, as
        the node overhead of rented machines is.

        >>> asset = OwnedAsset(43_800, network_usd=4_380, recovery="straight_line", spares_rate=0.1,
        ...                    operations_usd_per_hour=0.2)
        >>> for part in asset.parts():
        ...     print(part.line, round(part.per_device_hour_usd, 4), part.kind)
        depreciation 1.0 None
        depreciation of the network 0.1 None
        spares 0.11 idle
        operations 0.2 overhead
        """
        word = "depreciation" if self.recovery == "straight_line" else "capital recovery"
        device_usd = self.per_hour_usd(self.capex_usd)
        network_usd = self.per_hour_usd(self.network_usd)
        parts = (
            RatePart(word, device_usd),
            RatePart(f"{word} of the network", network_usd),
            RatePart("spares", self.spares_rate * (device_usd + network_usd), LineKind.IDLE),
            RatePart("operations", self.operations_usd_per_hour, LineKind.OVERHEAD),
        )
        return tuple(part for part in parts if part.per_device_hour_usd > 0)


@dataclass(frozen=True)
class OwnedCost:
    """Cost of an owned device per hour, by component, USD."""

    recovery: Recovery
    capital_usd: float
    operations_usd: float
    power_usd: float
    colocation_usd: float

    @property
    def price_usd(self) -> float:
        """Capital and operations: what a `MachineRate` with terms `owned` states."""
        return self.capital_usd + self.operations_usd

    @property
    def total_usd(self) -> float:
        """All of it: what a rented price is compared with."""
        return self.price_usd + self.power_usd + self.colocation_usd


def owned_cost_per_hour(
    capex_usd: float,
    *,
    life_years: float,
    cost_of_capital_rate: float,
    power_kw: float,
    electricity_usd_per_kwh: float,
    colocation_usd_per_kw_month: float,
    operations_usd_per_hour: float = 0.0,
    residual_usd: float = 0.0,
    availability_rate: float = 1.0,
    recovery: Recovery = "capital_recovery",
) -> OwnedCost:
    """Return what an owned device costs per hour at a constant power.

    Args:
        capex_usd: price of the device with its share of host, network and installation.
        life_years: years of use.
        cost_of_capital_rate: per year; unused by `straight_line`.
        power_kw: mean all-in power of the device, PUE included.
        electricity_usd_per_kwh: price of electricity.
        colocation_usd_per_kw_month: price of housing.
        operations_usd_per_hour: staff, spares, software, support, tax.
        residual_usd: value at the end of life.
        availability_rate: share of hours in which it can be used, above 0.
        recovery: how capital is charged.

    >>> cost = owned_cost_per_hour(33_750, life_years=5, cost_of_capital_rate=0.10, power_kw=1.73,
    ...     electricity_usd_per_kwh=0.08, colocation_usd_per_kw_month=130)
    >>> round(cost.capital_usd, 3), round(cost.power_usd, 3), round(cost.colocation_usd, 3)
    (1.016, 0.138, 0.308)
    >>> round(cost.total_usd, 3)
    1.463
    """
    require_range("power in kW", power_kw)
    require_range("electricity price", electricity_usd_per_kwh)
    require_range("colocation price", colocation_usd_per_kw_month)
    require_range("operations per hour", operations_usd_per_hour)
    asset = OwnedAsset(
        capex_usd,
        residual_rate=residual_usd / capex_usd if capex_usd else 0.0,
        life_years=life_years,
        cost_of_capital_rate=cost_of_capital_rate,
        availability_rate=availability_rate,
        recovery=recovery,
    )
    return OwnedCost(
        recovery,
        capital_usd=asset.per_hour_usd(capex_usd),
        operations_usd=operations_usd_per_hour,
        power_usd=power_kw * electricity_usd_per_kwh,
        colocation_usd=power_kw * colocation_usd_per_kw_month / HOURS_PER_MONTH,
    )


def _require_asset(capex_usd: float, residual_usd: float, availability_rate: float) -> None:
    require_range("capex in USD", capex_usd)
    require_range("residual value in USD", residual_usd, maximum=capex_usd)
    require_range("availability", availability_rate, maximum=1.0)
    _require_positive("availability", availability_rate)


def _require_positive(name: str, value: float) -> None:
    require_range(name, value)
    if value == 0:
        raise ValueError(f"{name} must be greater than 0, found 0")
