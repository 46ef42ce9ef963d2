"""The smallest fleet that keeps every promise: bracket, then bisect, one pool at a time."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import pandas as pd

from planner.catalog import Catalog, load_catalog
from planner.errors import PlannerError
from planner.lowering.pools import LoweredPool, lower_pool
from planner.results.result import Result
from planner.scenario import LoadedScenario, load_checked, replicas_of
from planner.simulation import run

Nodes = tuple[int, ...]


class SizingError(PlannerError):
    """No number of nodes within the limit keeps the promises."""


@dataclass(frozen=True)
class Trial:
    """One simulated fleet."""

    number: int
    nodes: dict[str, int]
    """By pool."""
    passed: bool
    failures: tuple[str, ...]
    """What was not kept, one sentence each."""
    bottlenecks: dict[str, str]
    """By pool: compute, memory_bandwidth, kv_capacity, queueing or none."""
    cost_per_hour_usd: float | None


@dataclass(frozen=True)
class Sizing:
    """The answer of a search."""

    nodes: dict[str, int]
    """Fewest nodes by pool."""
    accelerators: dict[str, int]
    """Devices of these nodes by pool."""
    limits: dict[str, str]
    """By pool: what the fleet runs out of with one step fewer, and which promise breaks."""
    result: Result
    """The run with these nodes."""
    trials: tuple[Trial, ...]
    """Every fleet that was simulated, in order."""

    def to_pandas(self) -> pd.DataFrame:
        """Return one row per pool: nodes, accelerators, limit."""
        return pd.DataFrame(
            {
                "pool": list(self.nodes),
                "nodes": list(self.nodes.values()),
                "accelerators": list(self.accelerators.values()),
                "limit": [self.limits[name] for name in self.nodes],
            }
        )


class Search:
    """A search over the numbers of nodes; every fleet is simulated once, with the same random numbers.

    Args:
        loaded: the scenario; schedules of its pools are left out, since it is sized for its peak.
        catalog: models, chips, nodes and prices.
        maximum_nodes: most nodes of a pool that are tried.
        on_trial: called after each simulation.
    """

    def __init__(
        self,
        loaded: LoadedScenario,
        catalog: Catalog,
        maximum_nodes: int,
        on_trial: Callable[[Trial], None] | None,
    ) -> None:
        self.loaded = loaded
        self.catalog = catalog
        self.maximum_nodes = maximum_nodes
        self.on_trial = on_trial
        self.pools = loaded.scenario.pools
        self.names = [pool.name for pool in self.pools]
        self.lowered: tuple[LoweredPool, ...] = tuple(
            lower_pool(pool, catalog) for pool in self.pools
        )
        self.strides = [
            replicas_of(pool, catalog.node(pool.node).devices).nodes_per_replica
            for pool in self.pools
        ]
        """Nodes by which each pool grows: those of one replica if it spans several."""
        self.results: dict[Nodes, Result] = {}
        self.trials: dict[Nodes, Trial] = {}

    def simulate(self, nodes: Nodes) -> Trial:
        """Return the trial of a fleet, simulating it unless that has been done."""
        if nodes in self.trials:
            return self.trials[nodes]
        pools = [
            pool.model_copy(update={"nodes": count, "schedule": []})
            for pool, count in zip(self.pools, nodes, strict=True)
        ]
        scenario = self.loaded.scenario.model_copy(update={"pools": pools})
        result = run(
            replace(self.loaded, scenario=scenario), catalog=self.catalog, pools=self.lowered
        )
        failures = tuple(_failures(result))
        found = result.frames.pools.set_index("pool")["bottleneck"]
        trial = Trial(
            number=len(self.trials) + 1,
            nodes=dict(zip(self.names, nodes, strict=True)),
            passed=not failures,
            failures=failures,
            bottlenecks={str(name): str(value) for name, value in found.items()},
            cost_per_hour_usd=None if result.finance is None else result.finance.cost_per_hour_usd,
        )
        self.trials[nodes] = trial
        self.results[nodes] = result
        if self.on_trial is not None:
            self.on_trial(trial)
        return trial

    def bracket(self) -> Nodes:
        """Return a fleet that keeps every promise, doubling the pools that fail."""
        nodes = tuple(
            max(-(-pool.nodes // stride), 1) * stride
            for pool, stride in zip(self.pools, self.strides, strict=True)
        )
        while True:
            trial = self.simulate(nodes)
            if trial.passed:
                return nodes
            failing = self._failing_pools(nodes)
            grown = tuple(
                count * 2 if name in failing else count
                for name, count in zip(self.names, nodes, strict=True)
            )
            for name, count in zip(self.names, grown, strict=True):
                if count > self.maximum_nodes:
                    raise SizingError(
                        f"pool {name}: not even {nodes[self.names.index(name)]} nodes keep the "
                        f"promises, and {count} are above the limit of {self.maximum_nodes}; "
                        f"{trial.failures[0]}; loosen the objective, change the engine or the "
                        "chip, or raise --max-nodes"
                    )
            nodes = grown

    def _failing_pools(self, nodes: Nodes) -> set[str]:
        """Return the pools behind what failed; all, if it cannot be told."""
        frames = self.results[nodes].frames
        broken = set(frames.objectives.loc[~frames.objectives["met"].astype(bool), "class"])
        classes = self.loaded.scenario.workload.classes
        pools = {klass.pool for klass in classes if klass.name in broken}
        unstable = frames.pools.loc[~frames.pools["stable"].astype(bool), "pool"]
        return (pools | set(unstable)) or set(self.names)

    def shrink(self, nodes: Nodes, index: int) -> Nodes:
        """Return the fleet with the fewest nodes in one pool that still keeps every promise."""
        stride = self.strides[index]
        failing, passing = 0, nodes[index] // stride
        while passing - failing > 1:
            middle = (failing + passing) // 2
            if self.simulate(_with(nodes, index, middle * stride)).passed:
                passing = middle
            else:
                failing = middle
        return _with(nodes, index, passing * stride)

    def minimum(self) -> Nodes:
        """Return a fleet from which no pool can give back a step of nodes."""
        nodes = self.bracket()
        while True:
            before = nodes
            for index in range(len(nodes)):
                nodes = self.shrink(nodes, index)
            if nodes == before or len(nodes) == 1:
                return nodes

    def limit_of(self, nodes: Nodes, index: int) -> str:
        """Return what stops the pool from being one step smaller."""
        smaller = nodes[index] - self.strides[index]
        if smaller <= 0:
            return "the smallest possible pool"
        trial = self.simulate(_with(nodes, index, smaller))
        bottleneck = trial.bottlenecks[self.names[index]].replace("_", " ")
        return f"{bottleneck}; with {smaller} nodes: {trial.failures[0]}"


def size(
    scenario: str | os.PathLike[str] | LoadedScenario,
    *,
    sets: Sequence[str] = (),
    overrides: Sequence[str] = (),
    named: str | None = None,
    maximum_nodes: int = 4096,
    on_trial: Callable[[Trial], None] | None = None,
    catalog: Catalog | None = None,
) -> Sizing:
    """Find the fewest nodes per pool that keep every class's objectives and losses within limits.

    The scenario's own numbers of nodes are where the search starts. All fleets see the same requests and the
    same random numbers, so that they differ by their nodes alone.

    Args:
        scenario: a file, or a scenario already loaded.
        sets: values to change, as for `run`.
        overrides: named overrides, as for `run`.
        named: named scenario, as for `run`.
        maximum_nodes: most nodes of a pool that are tried.
        on_trial: called after each simulation.
        catalog: by default the shipped one.

    Raises:
        ScenarioError: the scenario has faults.
        SizingError: the promises cannot be kept within the limit.
    """
    known = catalog or load_catalog()
    if isinstance(scenario, LoadedScenario):
        loaded = scenario
    else:
        loaded = load_checked(scenario, known, sets=sets, overrides=overrides, scenario=named)
    search = Search(loaded, known, maximum_nodes, on_trial)
    nodes = search.minimum()
    limits = {
        name: search.limit_of(nodes, index) for index, name in enumerate(search.names)
    }
    return Sizing(
        nodes=dict(zip(search.names, nodes, strict=True)),
        accelerators={
            pool.name: count * known.node(pool.node).devices
            for pool, count in zip(search.pools, nodes, strict=True)
        },
        limits=limits,
        result=search.results[nodes],
        trials=tuple(search.trials.values()),
    )


def _with(nodes: Nodes, index: int, count: int) -> Nodes:
    return (*nodes[:index], count, *nodes[index + 1 :])


def _failures(result: Result) -> list[str]:
    """Return a sentence for every promise that was broken and every queue that grows."""
    objectives = result.frames.objectives
    broken = objectives.loc[~objectives["met"].astype(bool)]
    sentences = [_sentence(row) for row in broken.to_dict("records")]
    pools = result.frames.pools
    growing = pools.loc[~pools["stable"].astype(bool), "pool"]
    return sentences + [f"the queue of pool {name} grows" for name in growing]


def _sentence(row: dict[str, object]) -> str:
    value, limit = row["value"], row["limit"]
    if row["metric"] == "loss":
        return f"{row['class']} loses {value:.2%} of its requests (limit {limit:.2%})"
    metric = str(row["metric"]).upper()
    return f"{row['class']} p{row['percentile']:g} {metric} {value:.3g} s (limit {limit:g} s)"
