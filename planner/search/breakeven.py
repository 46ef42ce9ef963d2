"""An own chip against a bought one: both simulated, then the volume at which they cost the same."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import pandas as pd

from planner.catalog import Catalog
from planner.economics.capital import capital_recovery_per_hour_usd
from planner.economics.cost import Policy
from planner.economics.energy import HOURS_PER_MONTH
from planner.economics.own_chip import BreakEven, ChipCost, DeviceHour, Swing, swings
from planner.economics.rates import MachineRate
from planner.errors import PlannerError
from planner.pricing import policy_of, rate_of
from planner.results.formatting import count
from planner.results.notebook import Shown, Summary
from planner.scenario import LoadedScenario
from planner.scenario.schema import Scenario
from planner.scenario.schema.optimise import OwnChip
from planner.scenario.schema.pools import Pool
from planner.search.operating import OperatingPoint, Probe
from planner.simulation import opened
from planner.units import YEAR_S

DECADES: Final = 1.5
"""Of volume that the chart shows on either side of the break-even."""
STEPS: Final = 61


class BreakEvenError(PlannerError):
    """The two chips cannot be compared."""


@dataclass(frozen=True, repr=False)
class OwnChipCase(Shown):
    """The answer of `breakeven`."""

    name: str
    description: str
    terms: OwnChip
    own_points: tuple[OperatingPoint, ...]
    bought_points: tuple[OperatingPoint, ...]
    bought_price: MachineRate
    policy: Policy
    """Overhead and power prices of both."""
    own_hour: DeviceHour
    """What an own device costs, without engineering."""
    bought_hour: DeviceHour
    found: BreakEven
    swings: tuple[Swing, ...]
    """What the break-even does if a figure is larger."""
    relative_efficiency_rate: float
    """Tokens per second and device of the own chip over the bought one."""
    curve: tuple[tuple[float, float, float], ...]
    """Million tokens a year, cost of a million on the own chip and on the bought one, USD."""
    seed: int

    def to_pandas(self) -> pd.DataFrame:
        """Return what a million tokens cost on both chips, by volume."""
        from planner.search.own_chip_content import case_rows

        return pd.DataFrame(case_rows(self))

    def summary(self) -> Summary:
        """Return the volume from which the own chip pays, and the costs around it."""
        volume = self.found.mtok_per_year
        pays = "never" if volume is None else f"{count(volume * 1e6)} tokens a year"
        cards = ((pays, "from which the own chip is cheaper"),)
        return Summary(self.name, self.description, cards, self.to_pandas())


def breakeven(
    scenario: str | os.PathLike[str] | LoadedScenario,
    *,
    sets: Sequence[str] = (),
    overrides: Sequence[str] = (),
    named: str | None = None,
    on_trial: Callable[[str], None] | None = None,
    catalog: Catalog | None = None,
) -> OwnChipCase:
    """Find the volume from which a chip of one's own costs less per token than a bought one.

    Args:
        scenario: a file, or a scenario already loaded, with a section `own_chip`.
        sets: values to change, as for `run`.
        overrides: named overrides, as for `run`.
        named: named scenario, as for `run`.
        on_trial: called with a sentence after each simulation.
        catalog: by default the shipped one.

    Raises:
        ScenarioError: the scenario has faults.
        BreakEvenError: one of the chips cannot keep the promises of a class.
    """
    loaded, known = opened(scenario, catalog, sets, overrides, named)
    content = loaded.scenario
    terms = content.own_chip
    if terms is None:
        raise BreakEvenError(
            f"{content.name} has no section `own_chip`, which states what the chip costs (see "
            "scenarios/economics/own_chip.yaml), nor `self_host`, which compares a fleet with an "
            "API (scenarios/economics/self_host_or_api.yaml)"
        )
    pools = {pool.name: pool for pool in content.pools}
    probe = Probe(loaded, known, terms.operating_time, on_trial)
    own_points = _points(content, probe, pools[terms.pool])
    bought_points = _points(content, probe, pools[terms.against])
    price = rate_of(
        pools[terms.against].price,
        known.node(pools[terms.against].node).chip,
        content.prices,
        known,
    )
    own_hour, own = _own(content, known, terms, pools[terms.pool], own_points, price)
    bought_hour, bought = _bought(content, known, terms, pools[terms.against], bought_points, price)
    found = BreakEven(
        own=own,
        bought=bought,
        engineering_usd=terms.engineering,
        life_years=terms.life / YEAR_S,
        cost_of_capital_rate=terms.cost_of_capital,
    )
    return OwnChipCase(
        name=content.name,
        description=content.description,
        terms=terms,
        own_points=own_points,
        bought_points=bought_points,
        bought_price=price,
        policy=policy_of(content.prices),
        own_hour=own_hour,
        bought_hour=bought_hour,
        found=found,
        swings=swings(found, own_hour, bought_hour),
        relative_efficiency_rate=found.own.tokens_per_s / found.bought.tokens_per_s,
        curve=_curve(found),
        seed=content.seed,
    )


def _points(scenario: Scenario, probe: Probe, pool: Pool) -> tuple[OperatingPoint, ...]:
    points = tuple(
        probe.point(pool, klass, klass.open.rate if klass.open else 0.0)
        for klass in scenario.workload.classes
    )
    for point in points:
        if not point.per_node_rps:
            raise BreakEvenError(
                f"pool {pool.name} keeps the promises of {point.request_class} at no load "
                f"({point.binding}); loosen them, or change its parallelism or limits"
            )
    return points


def _tokens_per_s(
    scenario: Scenario, points: Sequence[OperatingPoint], devices: int
) -> tuple[float, float]:
    """Return tokens per second and device at the mix of the classes, and mean power of a node [W].

    Classes that share nodes take shares of them in proportion to their rate over what a node
    carries of them.
    """
    rates = {k.name: k.open.rate for k in scenario.workload.classes if k.open is not None}
    nodes = {p.request_class: rates[p.request_class] / p.per_node_rps for p in points}
    total = math.fsum(nodes.values())
    tokens = math.fsum(rates[p.request_class] * p.tokens_per_request for p in points)
    power_w = math.fsum(nodes[p.request_class] * p.node_power_w for p in points) / total
    return tokens / (total * devices), power_w


def _own(
    scenario: Scenario,
    catalog: Catalog,
    terms: OwnChip,
    pool: Pool,
    points: Sequence[OperatingPoint],
    against: MachineRate,
) -> tuple[DeviceHour, ChipCost]:
    node = catalog.node(pool.node)
    policy = policy_of(scenario.prices)
    tokens_per_s, power_w = _tokens_per_s(scenario, points, node.devices)
    capital_usd = capital_recovery_per_hour_usd(
        terms.unit_cost,
        life_years=terms.life / YEAR_S,
        cost_of_capital_rate=terms.cost_of_capital,
    )
    loaded_kw = (terms.unit_power or power_w / node.devices * policy.power.pue) / 1e3
    hour = own_device_hour(
        capital_usd,
        policy,
        overhead=not against.is_owned,
        operations_usd=terms.operations,
        provisioned_kw=float(node.power_w) / node.devices / 1e3,
        mean_kw=_mean_kw(loaded_kw, float(node.power_w) / node.devices, terms, policy),
    )
    return hour, ChipCost(hour.usd, tokens_per_s, terms.utilisation)


def _mean_kw(loaded_kw: float, nameplate_w: float, terms: OwnChip, policy: Policy) -> float:
    """Return what a device draws in the mean: loaded for the share used, else as it waits.

    Args:
        loaded_kw: PUE included, at the most load that keeps the promises.
        nameplate_w: IT power of the device.
        terms: share used.
        policy: power of a device that waits, PUE.
    """
    waiting_kw = nameplate_w / 1e3 * policy.power.idle_rate * policy.power.pue
    return terms.utilisation * loaded_kw + (1.0 - terms.utilisation) * waiting_kw


def own_device_hour(
    capital_usd: float,
    policy: Policy,
    *,
    overhead: bool,
    operations_usd: float = 0.0,
    provisioned_kw: float,
    mean_kw: float,
) -> DeviceHour:
    """Return what an own device costs per hour: capital, overhead, electricity, housing.

    It is housed by nameplate IT power, as the ledger has it. Where the bought chip is rented, with
    the overhead of nodes (storage, network, control plane, support) on its price, the own one needs
    the same and bears it at the same rate; against an owned chip neither does.

    Args:
        capital_usd: of the device, per hour.
        policy: overhead and power prices.
        overhead: whether the bought chip bears the overhead of nodes.
        operations_usd: staff, maintenance and software, per hour.
        provisioned_kw: nameplate IT power of the device.
        mean_kw: drawn in the mean, PUE included.
    """
    power = policy.power
    return DeviceHour(
        machine_usd=capital_usd,
        overhead_usd=capital_usd * policy.node_overhead_rate * overhead,
        operations_usd=operations_usd,
        electricity_usd=mean_kw * power.electricity_usd_per_kwh,
        housing_usd=provisioned_kw * power.colocation_usd_per_kw_month / HOURS_PER_MONTH,
    )


def _bought(
    scenario: Scenario,
    catalog: Catalog,
    terms: OwnChip,
    pool: Pool,
    points: Sequence[OperatingPoint],
    rate: MachineRate,
) -> tuple[DeviceHour, ChipCost]:
    node = catalog.node(pool.node)
    policy = policy_of(scenario.prices)
    tokens_per_s, power_w = _tokens_per_s(scenario, points, node.devices)
    hour = DeviceHour(
        rate.per_device_hour_usd, rate.per_device_hour_usd * policy.node_overhead_rate
    )
    if rate.is_owned:
        nameplate_w = float(node.power_w) / node.devices
        loaded_kw = power_w / node.devices / 1e3 * policy.power.pue
        hour = own_device_hour(
            rate.per_device_hour_usd,
            policy,
            overhead=False,
            provisioned_kw=nameplate_w / 1e3,
            mean_kw=_mean_kw(loaded_kw, nameplate_w, terms, policy),
        )
    return hour, ChipCost(hour.usd, tokens_per_s, terms.utilisation)


def _curve(found: BreakEven) -> tuple[tuple[float, float, float], ...]:
    """Return cost against volume, around the break-even or, without one, around a large fleet."""
    middle = found.mtok_per_year or 1e5 * found.own.mtok_per_year
    steps = [DECADES * (2 * step / (STEPS - 1) - 1) for step in range(STEPS)]
    volumes = [middle * 10**step for step in steps]
    return tuple(
        (volume, found.own_usd_per_mtok(volume), found.bought.usd_per_mtok) for volume in volumes
    )
