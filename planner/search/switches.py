"""Techniques in one scenario: where each can be switched off, and where it cannot."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from planner.catalog import Catalog
from planner.errors import PlannerError
from planner.lowering.pools import Basis, lower_pool
from planner.scenario.check_pools import check_pool
from planner.scenario.schema import Scenario
from planner.scenario.schema.pools import Pool
from planner.search.techniques import Technique


@dataclass(frozen=True)
class Switch:
    """A technique, and the pools in which it cannot be switched off."""

    technique: Technique
    held: Mapping[str, str]
    """Pool → why."""

    def off(self, scenario: Scenario) -> Scenario:
        """Return the scenario without the technique, wherever it can be switched off."""
        before = {pool.name: pool for pool in scenario.pools}
        changed = self.technique.without(scenario)
        pools = [before[p.name] if p.name in self.held else p for p in changed.pools]
        return changed.model_copy(update={"pools": pools})


def switches(
    scenario: Scenario, techniques: Sequence[Technique], catalog: Catalog, basis: Basis
) -> tuple[Switch, ...]:
    """Return the techniques with the pools that cannot do without them, on top of one another.

    Each is switched off in addition to those before it. What a pool needs most then is every
    technique off, so that all other subsets are possible as well.

    Args:
        scenario: with all of them on.
        techniques: to switch off.
        catalog: models, chips and nodes.
        basis: what step times stand on.
    """
    found = []
    for technique in techniques:
        known = {pool.name: pool for pool in scenario.pools}
        held = {
            pool.name: reason
            for pool in technique.without(scenario).pools
            if pool != known.get(pool.name) and (reason := _obstacle(pool, catalog, basis))
        }
        found.append(Switch(technique, held))
        scenario = found[-1].off(scenario)
    return tuple(found)


def _obstacle(pool: Pool, catalog: Catalog, basis: Basis) -> str:
    """Return why a pool cannot exist; empty if it can."""
    for _, message in check_pool(pool, catalog):
        return message
    try:
        lower_pool(pool, catalog, basis)
    except PlannerError as error:
        return str(error)
    return ""


def with_only(scenario: Scenario, switches: Sequence[Switch], on: Collection[str]) -> Scenario:
    """Return the scenario with only some of its techniques.

    Args:
        scenario: with all of them on.
        switches: of all of them.
        on: names of those that stay on.
    """
    for switch in switches:
        if switch.technique.name not in on:
            scenario = switch.off(scenario)
    return scenario
