"""Whether classes can use the lighter models that they name."""

from __future__ import annotations

from collections.abc import Iterator

from planner.catalog import Catalog
from planner.errors import did_you_mean, shown
from planner.scenario.nodes import Location
from planner.scenario.parts import Parts

Finding = tuple[Location, str]


def check_cascade(parts: Parts, _catalog: Catalog) -> Iterator[Finding]:
    """Yield (location, message) for every lighter model that cannot serve its class."""
    names = parts.names("pools")
    decoders = {pool.decode.pool for pool in parts.pools.values() if pool.decode is not None}
    for where in parts.items("workload", "classes"):
        own = [name for field in ("pool", "overflow") for _, name in parts.texts(*where, field)]
        for place, light in parts.texts(*where, "light", "pool"):
            if light not in names:
                advice = did_you_mean(light, names) or "add it to pools, or delete `light`"
                yield place, f"unknown pool {shown(light)}; {advice}"
            elif light in own:
                message = f"a cascade must not come back: {light} is a pool of the class itself"
                yield place, f"{message}; name that of a lighter model, or take it out of the class"
            elif light in decoders:
                message = f"pool {light} decodes what another prefills, and takes no prompts"
                yield place, f"{message}; name the one that prefills"
