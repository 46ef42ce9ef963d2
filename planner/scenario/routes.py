"""Which pools the requests of a class come to."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from planner.scenario.schema.pools import Pool
from planner.scenario.schema.workload import RequestClass


def own_pools(klass: RequestClass) -> list[str]:
    """Return the pools that can serve every request of a class, in the order of their turns."""
    return [klass.pool, *klass.overflow]


def pools_tried(klass: RequestClass) -> list[str]:
    """Return the pools that requests of a class arrive at, in the order in which they are tried."""
    light = [] if klass.light is None else [klass.light.pool]
    return [*light, *own_pools(klass)]


def decoders_of(pools: Iterable[Pool]) -> dict[str, str]:
    """Return, by pool that only prefills, the one that decodes for it."""
    return {pool.name: pool.decode.pool for pool in pools if pool.decode is not None}


def pools_reached(klass: RequestClass, decoders: Mapping[str, str]) -> set[str]:
    """Return all pools that serve requests of a class, those that only decode them included."""
    tried = pools_tried(klass)
    return {*tried, *(decoders[name] for name in tried if name in decoders)}
