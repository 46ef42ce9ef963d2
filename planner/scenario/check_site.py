"""Whether the site is known, and carries the fleet."""

from __future__ import annotations

from collections.abc import Iterator

from planner.catalog import Catalog
from planner.errors import did_you_mean, shown
from planner.scenario.nodes import Location
from planner.scenario.parts import Parts
from planner.scenario.site_power import scheduled_needs

Finding = tuple[Location, str]


def check_site(parts: Parts, catalog: Catalog) -> Iterator[Finding]:
    """Yield (location, message) for an unknown grid, and for a fleet that the power cannot feed."""
    site = parts.site
    if site is None:
        return
    if site.region is not None and site.region not in catalog.grids:
        advice = did_you_mean(site.region, catalog.grids) or "state site.grid_intensity instead"
        message = f"unknown grid {shown(site.region)}; {advice}"
        yield ("site", "region"), f"{message}. `planner catalog list grids` shows all"
    if site.power is None or parts.prices is None or parts.optimise is not None:
        return  # where the fleet is to be found, the limit is one of its conditions
    known = [pool for pool in parts.pools.values() if pool.node in catalog.nodes]
    needs = scheduled_needs(known, catalog, parts.prices.power.pue, site.power)
    worst = max(needs, key=lambda need: need.needed_w)
    if worst.sentence():
        remedy = "lower pools[].nodes, choose nodes that need less, or raise the limit"
        yield ("site", "power"), f"{worst.sentence()}; {remedy}"
