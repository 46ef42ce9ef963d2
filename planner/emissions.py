"""Energy and carbon of a finished simulation: the site's terms, applied to its machine time."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from planner.catalog import Catalog, Figure
from planner.economics import Statement
from planner.economics.carbon import CarbonTerms, Footprint, footprint
from planner.pricing import SCENARIO, policy_of
from planner.results.result import Assumption
from planner.scenario.schema import Scenario
from planner.scenario.schema.site import Site
from planner.units import YEAR_S

DEFAULT_G_PER_KWH: Final = CarbonTerms().location_g_per_kwh
REFERENCE_CHIP: Final = "h100-sxm"
"""Whose embodied carbon stands in for that of chips without a figure."""


def emissions(scenario: Scenario, catalog: Catalog, statement: Statement) -> Footprint:
    """Return what the machine time of a statement used and emitted.

    Args:
        scenario: its `site` and its power.
        catalog: grids, and the embodied carbon of chips.
        statement: what pools held and classes were served.
    """
    usages = [pool.usage for pool in statement.pools]
    return footprint(
        usages,
        [each.usage for each in statement.classes],
        policy_of(scenario.prices).power,
        carbon_terms(scenario.site, catalog),
        {
            usage.pool: node_embodied_kg(scenario.site, catalog, usage.chip, usage.devices_per_node)
            for usage in usages
        },
    )


def carbon_terms(site: Site, catalog: Catalog) -> CarbonTerms:
    """Return the intensities and the life that a scenario states."""
    location = DEFAULT_G_PER_KWH
    if site.grid_intensity is not None:
        location = site.grid_intensity
    elif site.region is not None:
        location = catalog.grid(site.region).intensity.value
    return CarbonTerms(location, site.contracted, site.contracted_intensity, site.life / YEAR_S)


def node_embodied_kg(site: Site, catalog: Catalog, chip: str, devices: int) -> float:
    """Return what making a node emitted, kg of CO2e."""
    if site.embodied is not None:
        return site.embodied
    return _embodied(catalog, chip).value * devices


def _embodied(catalog: Catalog, chip: str) -> Figure:
    own = catalog.chip(chip).embodied_kg
    figure = catalog.chip(REFERENCE_CHIP).embodied_kg if own is None else own
    assert figure is not None
    return figure


def carbon_assumptions(
    scenario: Scenario, catalog: Catalog, statement: Statement
) -> Iterator[Assumption]:
    """Yield the figures behind the footprint."""
    site, day = scenario.site, scenario.prices.date
    if site.grid_intensity is not None:
        yield Assumption("grid intensity", site.grid_intensity, "g/kWh", SCENARIO, day, "scenario")
    elif site.region is not None:
        figure = catalog.grid(site.region).intensity
        name = f"grid intensity, {site.region}"
        yield Assumption(
            name, figure.value, figure.unit, figure.source, figure.date, figure.tier, figure.note
        )
    else:
        note = "state site.region or site.grid_intensity"
        yield Assumption(
            "grid intensity", DEFAULT_G_PER_KWH, "g/kWh", "planner default", "2026-11",
            "estimated", note,
        )  # fmt: skip
    if site.contracted:
        yield Assumption(
            "energy covered by contracts", site.contracted, "1", SCENARIO, day, "scenario"
        )
    yield Assumption("life of embodied carbon", site.life / YEAR_S, "years", *_said(site, day))
    if site.embodied is not None:
        yield Assumption(
            "embodied carbon of a node", site.embodied, "kg", SCENARIO, day, "scenario"
        )
        return
    for chip in dict.fromkeys(pool.usage.chip for pool in statement.pools):
        figure = _embodied(catalog, chip)
        own = catalog.chip(chip).embodied_kg is not None
        yield Assumption(
            f"embodied carbon of {chip}", figure.value, figure.unit, figure.source, figure.date,
            figure.tier if own else "estimated",
            figure.note if own else f"as {REFERENCE_CHIP}; no figure of its own was found",
        )  # fmt: skip


def _said(site: Site, day: str) -> tuple[str, str, str]:
    if "life" in site.model_fields_set:
        return SCENARIO, day, "scenario"
    return "planner default", "2026-11", "estimated"
