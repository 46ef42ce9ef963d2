"""The cost lines of a pool: machine time, node overhead, electricity, colocation.

Rented prices include power and housing; storage, network, control plane and support come on top
as `node overhead`. Owned prices are capital recovery, spares and operations; electricity and
colocation come on top. Asset costs are split into the part that worked and the part that waited.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from planner.economics.checks import require_range
from planner.economics.energy import HOURS_PER_MONTH, PowerTerms, pool_energy
from planner.economics.ledger import LedgerLine, LineKind, drop_empty
from planner.economics.margin import DEFINITIONS, Definition
from planner.economics.money import to_usd
from planner.economics.usage import PoolUsage, TokenWeights


@dataclass(frozen=True)
class Policy:
    """What applies to the whole scenario beside the prices of its machines and plans."""

    node_overhead_rate: float = 0.10
    """Of the machine time of rented nodes: storage, network, control plane, support."""
    power: PowerTerms = field(default_factory=PowerTerms)
    partner_revenue_share_rate: float = 0.0
    """Share of revenue that goes to a partner."""
    definition: Definition = "all_users_in_cogs"
    """Gross margin of the headline."""
    source: str = "planner default"
    """Where the node overhead comes from."""
    date: str = "2026-11"
    partner_source: str = "planner default"
    """Where the partner's share comes from."""
    partner_date: str = "2026-11"
    token_weights: TokenWeights = field(default_factory=TokenWeights)

    def __post_init__(self) -> None:
        # Some overheads exceed the machine price; 10 times it is a percentage written as a number.
        require_range("Policy.node_overhead_rate", self.node_overhead_rate, maximum=10.0)
        require_range(
            "Policy.partner_revenue_share_rate", self.partner_revenue_share_rate, maximum=1.0
        )
        if self.definition not in DEFINITIONS:
            known = ", ".join(DEFINITIONS)
            raise ValueError(f"Policy.definition must be one of {known}, found {self.definition!r}")


def pool_cost_lines(usage: PoolUsage, policy: Policy) -> tuple[LedgerLine, ...]:
    """Return the cost lines of one pool at one price.

    Args:
        usage: hours held and busy, price, power.
        policy: overhead and power prices.

    >>> from planner.economics.rates import MachineRate
    >>> rate = MachineRate("list", "h100", "on_demand", 2.0, "2026-11", "example")
    >>> usage = PoolUsage("chat", "hgx", "h100", devices_per_node=8, period_hours=1.0, peak_nodes=1,
    ...                   node_hours=1.0, busy_device_hours=6.0, node_power_w=10_200.0, rate=rate)
    >>> for line in pool_cost_lines(usage, Policy(node_overhead_rate=0.1)):
    ...     print(line.line, line.kind.value, line.quantity, line.unit, line.amount_usd)
    machine time workload 6.0 device-hour 12.0
    machine time idle 2.0 device-hour 4.0
    node overhead overhead 16.0 USD 1.6
    """
    lines = _machine_lines(usage)
    if usage.rate.is_owned:
        lines += _electricity_lines(usage, policy.power) + _colocation_lines(usage, policy.power)
    else:
        lines += (_node_overhead_line(usage, lines, policy),)
    return drop_empty(lines)


def node_hour_usd(
    per_device_hour_usd: float,
    devices: int,
    policy: Policy,
    *,
    owned: bool,
    provisioned_kw: float = 0.0,
    mean_kw: float = 0.0,
) -> float:
    """Return what a node costs per hour, as `pool_cost_lines` would charge it, but for rounding.

    Args:
        per_device_hour_usd: price of one device.
        devices: of the node.
        policy: overhead and power prices.
        owned: power and housing come on top; else the overhead of rented nodes does.
        provisioned_kw: nameplate power, which is housed.
        mean_kw: drawn in the mean, PUE included.

    >>> node_hour_usd(2.0, 8, Policy(node_overhead_rate=0.1), owned=False)
    17.6
    >>> power = PowerTerms(electricity_usd_per_kwh=0.1, colocation_usd_per_kw_month=146.0)
    >>> terms = Policy(power=power)
    >>> round(node_hour_usd(1.0, 8, terms, owned=True, provisioned_kw=10.0, mean_kw=6.0), 6)
    10.6
    """
    machine_usd = per_device_hour_usd * devices
    if not owned:
        return machine_usd * (1.0 + policy.node_overhead_rate)
    power = policy.power
    housing_usd = provisioned_kw * (power.colocation_usd_per_kw_month / HOURS_PER_MONTH)
    return machine_usd + (mean_kw * power.electricity_usd_per_kwh + housing_usd)


def _machine_lines(usage: PoolUsage) -> tuple[LedgerLine, ...]:
    rate = usage.rate
    hours = usage.billed_device_hours
    return tuple(
        LedgerLine(
            part.line, kind, quantity, "device-hour", part.per_device_hour_usd,
            price=rate.name, source=rate.source, date=rate.date, pool=usage.pool,
        )
        for part in rate.all_parts
        for kind, quantity in (
            _worked_and_waited(usage, hours) if part.kind is None else ((part.kind, hours),)
        )
    )  # fmt: skip


def _node_overhead_line(
    usage: PoolUsage, machine_lines: tuple[LedgerLine, ...], policy: Policy
) -> LedgerLine:
    machine_usd = to_usd(sum(line.amount_microusd for line in machine_lines))
    return LedgerLine(
        "node overhead", LineKind.OVERHEAD, machine_usd, "USD", policy.node_overhead_rate,
        price="node_overhead", source=policy.source, date=policy.date, pool=usage.pool,
    )  # fmt: skip


def _electricity_lines(usage: PoolUsage, power: PowerTerms) -> tuple[LedgerLine, ...]:
    energy = pool_energy(usage, power)
    parts = (
        ("electricity", LineKind.WORKLOAD, energy.workload_kwh),
        ("electricity", LineKind.IDLE, energy.idle_kwh),
        ("electricity of the facility (PUE)", LineKind.OVERHEAD, energy.facility_kwh),
    )
    return tuple(
        LedgerLine(
            line, kind, kwh, "kWh", power.electricity_usd_per_kwh,
            price="electricity", source=power.source, date=power.date, pool=usage.pool,
        )
        for line, kind, kwh in parts
    )  # fmt: skip


def _colocation_lines(usage: PoolUsage, power: PowerTerms) -> tuple[LedgerLine, ...]:
    """Housing is paid for provisioned power: the nameplate of the most nodes held, on or off."""
    provisioned_kw = usage.peak_nodes * usage.node_power_w / 1000.0
    kw_months = provisioned_kw * usage.period_hours / HOURS_PER_MONTH
    return tuple(
        LedgerLine(
            "colocation", kind, part, "kW-month", power.colocation_usd_per_kw_month,
            price="colocation", source=power.source, date=power.date, pool=usage.pool,
        )
        for kind, part in _worked_and_waited(usage, kw_months)
    )  # fmt: skip


def _worked_and_waited(usage: PoolUsage, quantity: float) -> tuple[tuple[LineKind, float], ...]:
    """Split what is paid for by the share of the billed device-hours that was spent in steps."""
    billed = usage.billed_device_hours
    worked_rate = min(1.0, usage.busy_device_hours / billed) if billed else 0.0
    worked = quantity * worked_rate
    return (LineKind.WORKLOAD, worked), (LineKind.IDLE, quantity - worked)
