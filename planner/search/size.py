"""The smallest fleet that keeps every promise, and what it runs out of with one node fewer."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import pandas as pd

from planner.catalog import Catalog, load_catalog
from planner.results.notebook import Shown, Summary
from planner.results.result import Result
from planner.scenario import LoadedScenario
from planner.scenario.site_power import PowerNeed, power_need
from planner.search.fleets import Search, Trial
from planner.search.ratio import Ratio, best_ratios
from planner.simulation import resolve


@dataclass(frozen=True, repr=False)
class Sizing(Shown):
    """The answer of a search."""

    nodes: dict[str, int]
    """Fewest nodes by pool."""
    accelerators: dict[str, int]
    """Devices of these nodes by pool."""
    bottlenecks: dict[str, str]
    """By pool: what the fleet with one step fewer runs out of: compute, memory_bandwidth,
    kv_link, kv_capacity or queueing (limits of the engine); none for the smallest possible pool."""
    limits: dict[str, str]
    """By pool: the number of nodes that is too few, and the promise that it breaks."""
    result: Result
    """The run with these nodes."""
    trials: tuple[Trial, ...]
    """Every fleet that was simulated, in order."""
    ratios: tuple[Ratio, ...] = ()
    """Of each pool that prefills for another: the best number of nodes of both, and the frontier
    around it."""
    power: PowerNeed | None = None
    """What the fleet needs at the meter, against the power of the site."""

    def to_pandas(self) -> pd.DataFrame:
        """Return one row per pool: nodes, accelerators, bottleneck, limit."""
        return pd.DataFrame(
            {
                "pool": list(self.nodes),
                "nodes": list(self.nodes.values()),
                "accelerators": list(self.accelerators.values()),
                "bottleneck": [self.bottlenecks[name] for name in self.nodes],
                "limit": [self.limits[name] for name in self.nodes],
            }
        )

    def summary(self) -> Summary:
        """Return the four numbers of the smallest fleet, and what limits each pool."""
        detail = f"smallest fleet that keeps every promise, of {len(self.trials)} simulated"
        return Summary(self.result.name, detail, self.result.cards(), self.to_pandas())


def size(
    scenario: str | os.PathLike[str] | LoadedScenario,
    *,
    sets: Sequence[str] = (),
    overrides: Sequence[str] = (),
    named: str | None = None,
    maximum_nodes: int = 4096,
    on_trial: Callable[[Trial], None] | None = None,
    progress: Callable[[float, float], None] | None = None,
    catalog: Catalog | None = None,
) -> Sizing:
    """Find the fewest nodes per pool that keep every class's objectives and losses within limits.

    The scenario's own numbers of nodes are where the search starts. All fleets see the same
    requests and the same random numbers, so that they differ by their nodes alone. What each pool
    runs out of is found by lifting one limit at a time in the fleet that is one step too small.

    Args:
        scenario: a file, or a scenario already loaded.
        sets: values to change, as for `run`.
        overrides: named overrides, as for `run`.
        named: named scenario, as for `run`.
        maximum_nodes: most nodes of a pool that are tried.
        on_trial: called after each simulation.
        progress: called during each simulation, as by `run`.
        catalog: by default the shipped one.

    Raises:
        ScenarioError: the scenario has faults.
        SizingError: the promises cannot be kept within the limit.
    """
    known = catalog or load_catalog()
    loaded = resolve(scenario, known, sets, overrides, named)
    search = Search(loaded, known, maximum_nodes, on_trial, progress)
    nodes, ratios = best_ratios(search, search.minimum())
    reasons = {name: search.bottleneck(nodes, index) for index, name in enumerate(search.names)}
    return Sizing(
        nodes=dict(zip(search.names, nodes, strict=True)),
        accelerators={
            pool.name: count * known.node(pool.node).devices
            for pool, count in zip(search.pools, nodes, strict=True)
        },
        bottlenecks={name: bottleneck for name, (bottleneck, _) in reasons.items()},
        limits={name: limit for name, (_, limit) in reasons.items()},
        result=search.results[nodes],
        trials=tuple(search.log),
        ratios=ratios,
        power=power_need(
            search.pools,
            dict(zip(search.names, nodes, strict=True)),
            known,
            loaded.scenario.prices.power.pue,
            loaded.scenario.site.power,
        ),
    )
