"""Whether the power of the site carries a fleet, and how many nodes too many there are."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from planner.catalog import Catalog
from planner.scenario.schema.pools import Pool


@dataclass(frozen=True)
class PowerNeed:
    """Provisioned power of a fleet: nameplate of all nodes held at once, times PUE."""

    needed_w: float
    limit_w: float | None
    """None: the scenario states none."""
    nodes: Mapping[str, int]
    """By pool."""
    node_w: Mapping[str, float]
    """Of one node at the meter, by pool."""

    @property
    def excess_w(self) -> float:
        """By how much it exceeds the limit; 0 if it does not."""
        over_w = 0.0 if self.limit_w is None else self.needed_w - self.limit_w
        return over_w if over_w > 1e-9 * self.needed_w else 0.0

    @property
    def excess_nodes(self) -> dict[str, int]:
        """Nodes that would have to go, if one pool gave them all."""
        return {
            name: math.ceil(self.excess_w / self.node_w[name] - 1e-9)
            for name, count in self.nodes.items()
            if count and self.excess_w
        }

    def sentence(self) -> str:
        """Return what is wrong; empty if nothing is."""
        if not self.excess_w or self.limit_w is None:
            return ""
        many = " or ".join(
            f"{count:,} of the {self.nodes[name]:,} nodes of pool {name}"
            if count <= self.nodes[name]
            else f"more than all {self.nodes[name]:,} nodes of pool {name}"
            for name, count in self.excess_nodes.items()
        )
        return (
            f"the fleet needs {megawatts(self.needed_w)} at the meter (nameplate and PUE), "
            f"{megawatts(self.excess_w)} more than the site's {megawatts(self.limit_w)}: "
            f"{many} too many"
        )


def megawatts(watts: float) -> str:
    """Return a power as people write it.

    >>> megawatts(2.34e6), megawatts(81_600.0)
    ('2.34 MW', '81.6 kW')
    """
    return f"{watts / 1e6:.3g} MW" if watts >= 1e6 else f"{watts / 1e3:.3g} kW"


def power_need(
    pools: Sequence[Pool],
    nodes: Mapping[str, int],
    catalog: Catalog,
    pue: float,
    limit_w: float | None,
) -> PowerNeed:
    """Return what so many nodes of each pool need."""
    node_w = {pool.name: float(catalog.node(pool.node).power_w) * pue for pool in pools}
    needed_w = sum(nodes[name] * watts for name, watts in node_w.items())
    return PowerNeed(needed_w, limit_w, dict(nodes), node_w)


def scheduled_needs(
    pools: Sequence[Pool], catalog: Catalog, pue: float, limit_w: float | None
) -> Iterator[PowerNeed]:
    """Yield the need at the start and whenever a schedule changes the number of nodes."""
    yield power_need(pools, {pool.name: pool.nodes for pool in pools}, catalog, pue, limit_w)
    for time in sorted({entry.at.zfill(5) for pool in pools for entry in pool.schedule}):
        nodes = {pool.name: _in_force(pool, time) for pool in pools}
        yield power_need(pools, nodes, catalog, pue, limit_w)


def _in_force(pool: Pool, time: str) -> int:
    """Return the nodes that a schedule gives at a time of any day but the first."""
    entries = sorted((entry.at.zfill(5), entry.nodes) for entry in pool.schedule)
    passed = [nodes for at, nodes in entries if at <= time]
    return (passed or [nodes for _, nodes in entries] or [pool.nodes])[-1]
