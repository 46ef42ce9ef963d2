"""The search behind sizing: bracket, then bisect, one pool at a time, each fleet simulated once."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from planner.catalog import Catalog
from planner.errors import PlannerError
from planner.lowering.pools import LoweredPool, basis_of, lower_pool
from planner.results.columns import BROKEN, NO_SAMPLE
from planner.results.formatting import duration, percent, percentile, span
from planner.results.result import Result
from planner.scenario import LoadedScenario, replicas_of
from planner.search.bottleneck import CAPACITIES, LIFTS, binding, strain
from planner.simulation import run

Nodes = tuple[int, ...]
"""A fleet: the nodes of each pool, in the order of the scenario."""
SAME_RATE: Final = 0.005
"""Latencies are known to half a percent: a smaller change is none."""
IDLE_WAITING_RATE: Final = 0.01
"""Waiting requests per running one below which waiting is not what takes time."""


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
    strain: float
    """Of the worst promise, value / limit."""
    cost_per_hour_usd: float | None
    lifted: str = ""
    """What was lifted to find the bottleneck, as in `chat without KV limit`; else empty."""


class Search:
    """A search over numbers of nodes; all fleets see the same requests and random numbers.

    Args:
        loaded: the scenario; schedules of its pools are left out, since it is sized for its peak.
        catalog: models, chips, nodes and prices.
        maximum_nodes: most nodes of a pool that are tried.
        on_trial: called after each simulation.
        progress: called during each simulation, as by `run`.
        lowered: the pools in plain numbers, in their order; None: as the scenario has them.
    """

    def __init__(
        self,
        loaded: LoadedScenario,
        catalog: Catalog,
        maximum_nodes: int,
        on_trial: Callable[[Trial], None] | None,
        progress: Callable[[float, float], None] | None,
        lowered: tuple[LoweredPool, ...] | None = None,
    ) -> None:
        require_all_traffic(loaded)
        self.loaded = loaded
        self.catalog = catalog
        self.on_trial = on_trial
        self.progress = progress
        self.pools = loaded.scenario.pools
        self.names = [pool.name for pool in self.pools]
        if lowered is None:
            basis = basis_of(loaded)
            lowered = tuple(lower_pool(pool, catalog, basis) for pool in self.pools)
        self.lowered = lowered
        self.strides = [
            replicas_of(pool, catalog.node(pool.node).devices).nodes_per_replica
            for pool in self.pools
        ]
        """Nodes by which each pool grows: those of one replica if it spans several."""
        classes = loaded.scenario.workload.classes
        self.decoders = {pool.name: pool.decode.pool for pool in self.pools if pool.decode}
        """Pool that prefills → pool that decodes for it."""
        preferred = {klass.pool for klass in classes}
        preferred |= {klass.light.pool for klass in classes if klass.light is not None}
        preferred |= {self.decoders[name] for name in preferred if name in self.decoders}
        self.fewest = [
            stride if name in preferred else 0
            for name, stride in zip(self.names, self.strides, strict=True)
        ]
        """A pool that only takes the overflow of others may turn out not to be needed."""
        self.most = [max(maximum_nodes // stride, 1) * stride for stride in self.strides]
        self.overflows = any(klass.overflow or klass.light for klass in classes)
        self.results: dict[Nodes, Result] = {}
        self.trials: dict[Nodes, Trial] = {}
        self.log: list[Trial] = []

    @property
    def is_scheduled(self) -> bool:
        """Whether the scenario's own fleet follows a schedule: those of a search have none."""
        return any(pool.schedule for pool in self.pools)

    @property
    def own_nodes(self) -> Nodes:
        """Nodes of the scenario's own fleet."""
        return tuple(pool.nodes for pool in self.pools)

    def own(self) -> Result:
        """Return the run of the scenario's own fleet, which the search may have use for as well."""
        if self.is_scheduled:
            return self._run(self.loaded, self.own_nodes, self.lowered)
        self.simulate(self.own_nodes)
        return self.results[self.own_nodes]

    # --- trials ----------------------------------------------------------------------------------

    def simulate(self, nodes: Nodes) -> Trial:
        """Return the trial of a fleet, simulating it unless that has been done."""
        if nodes not in self.trials:
            self.trials[nodes], self.results[nodes] = self._try(nodes, self.lowered)
        return self.trials[nodes]

    def lift(self, nodes: Nodes, index: int, resource: str) -> Trial:
        """Return the trial of a fleet in which one pool has more of a resource."""
        words, lifted = LIFTS[resource]
        pools = list(self.lowered)
        pools[index] = lifted(self.pools[index], pools[index], self.catalog)
        return self._try(nodes, tuple(pools), f"{self.names[index]} {words}")[0]

    def _try(
        self, nodes: Nodes, lowered: tuple[LoweredPool, ...], lifted: str = ""
    ) -> tuple[Trial, Result]:
        pools = [
            pool.model_copy(update={"nodes": count, "schedule": []})
            for pool, count in zip(self.pools, nodes, strict=True)
        ]
        scenario = self.loaded.scenario.model_copy(update={"pools": pools})
        result = self._run(replace(self.loaded, scenario=scenario), nodes, lowered)
        failures = tuple(failures_of(result))
        trial = Trial(
            number=len(self.log) + 1,
            nodes=dict(zip(self.names, nodes, strict=True)),
            passed=not failures,
            failures=failures,
            strain=strain(result),
            cost_per_hour_usd=None if result.finance is None else result.finance.cost_per_hour_usd,
            lifted=lifted,
        )
        self.log.append(trial)
        if self.on_trial is not None:
            self.on_trial(trial)
        return trial, result

    def _run(
        self, loaded: LoadedScenario, _nodes: Nodes, lowered: tuple[LoweredPool, ...]
    ) -> Result:
        return run(loaded, catalog=self.catalog, pools=lowered, progress=self.progress)

    # --- search ----------------------------------------------------------------------------------

    def bracket(self) -> Nodes:
        """Return a fleet that keeps every promise, doubling the pools that fail."""
        nodes = tuple(
            min(max(-(-pool.nodes // stride), 1) * stride, most)
            for pool, stride, most in zip(self.pools, self.strides, self.most, strict=True)
        )
        before = nodes
        while not self.simulate(nodes).passed:
            failing = self._failing_pools(nodes)
            self.require_failing(nodes, failing)
            grown = tuple(
                min(count * 2, most) if name in failing else count
                for name, count, most in zip(self.names, nodes, self.most, strict=True)
            )
            if grown == nodes or (before != nodes and self._in_vain(before, nodes, failing)):
                raise SizingError(self._too_few(nodes, failing, at_limit=grown == nodes))
            before, nodes = nodes, grown
        return nodes

    def require_failing(self, nodes: Nodes, failing: set[str]) -> None:
        """Raise if a fleet fails and more nodes would change nothing: there are no samples."""
        if not failing:
            raise SizingError("; ".join(self.trials[nodes].failures))

    def _in_vain(self, before: Nodes, nodes: Nodes, failing: set[str]) -> bool:
        """Tell whether more nodes have changed nothing and nothing waits for still more."""
        pools = self.results[nodes].frames.pools.set_index("pool").loc[sorted(failing)]
        idle = pools["waiting"] <= IDLE_WAITING_RATE * pools["running"]
        unchanged = self.trials[nodes].strain >= (1 - SAME_RATE) * self.trials[before].strain
        return bool(idle.all() and unchanged)

    def _failing_pools(self, nodes: Nodes) -> set[str]:
        """Return the pools behind what failed."""
        frames = self.results[nodes].frames
        broken = set(frames.objectives.loc[frames.objectives["verdict"] == BROKEN, "class"])
        classes = self.loaded.scenario.workload.classes
        unstable = frames.pools.loc[~frames.pools["stable"].astype(bool), "pool"]
        behind = {
            name
            for klass in classes
            if klass.name in broken
            for name in (klass.pool, *([klass.light.pool] if klass.light else []))
        }
        # Either of two pools in a chain can be why a promise is broken, or the other cannot go on.
        behind |= set(unstable) | {
            first for first in self.decoders if self.decoders[first] in unstable
        }
        return behind | {self.decoders[name] for name in behind if name in self.decoders}

    def _too_few(self, nodes: Nodes, failing: set[str], at_limit: bool) -> str:
        tried = ", ".join(
            f"{count} nodes of pool {name}"
            for name, count in zip(self.names, nodes, strict=True)
            if name in failing
        )
        why = "--max-nodes allows no more" if at_limit else "half of them did as well"
        return (
            f"not even {tried} keep the promises, and {why}: "
            f"{'; '.join(self.trials[nodes].failures)}. "
            "Loosen the objective, or change the model, chip, parallelism or engine limits"
            + (", or raise --max-nodes" if at_limit else "")
        )

    def shrink(self, nodes: Nodes, index: int) -> Nodes:
        """Return the fleet with the fewest nodes in one pool that still keeps every promise."""
        stride = self.strides[index]
        failing, passing = self.fewest[index] // stride - 1, nodes[index] // stride
        while passing - failing > 1:
            middle = (failing + passing) // 2
            if self.simulate(_with(nodes, index, middle * stride)).passed:
                passing = middle
            else:
                failing = middle
        return _with(nodes, index, passing * stride)

    def minimum(self) -> Nodes:
        """Return a fleet from which no pool can give back a step of nodes.

        Pools that share no class do not influence each other: one pass finds the only such fleet.
        Where classes overflow, one pool can stand in for another; then each pool is shrunk first
        once, and the cheapest fleet is taken.
        """
        start, count = self.bracket(), len(self.pools)
        orders = [[(first + step) % count for step in range(count)] for first in range(count)]
        found = {self._shrunk(start, order) for order in (orders if self.overflows else orders[:1])}
        return min(found, key=lambda nodes: (self.trials[nodes].cost_per_hour_usd or 0.0, nodes))

    def _shrunk(self, nodes: Nodes, order: Sequence[int]) -> Nodes:
        for index in order:
            nodes = self.shrink(nodes, index)
        while (spare := self._spare_pool(nodes)) is not None:
            nodes = self.shrink(nodes, spare)
        return nodes

    def _spare_pool(self, nodes: Nodes) -> int | None:
        """Return a pool that can give back a step after all; chance can make it so."""
        for index in range(len(nodes)):
            smaller = self.smaller(nodes, index)
            if smaller is not None and self.simulate(smaller).passed:
                return index
        return None

    def smaller(self, nodes: Nodes, index: int) -> Nodes | None:
        """Return the fleet with one step less of a pool; None if it is the smallest possible."""
        count = nodes[index] - self.strides[index]
        return None if count < self.fewest[index] else _with(nodes, index, count)

    # --- reasons ---------------------------------------------------------------------------------

    def bottleneck(self, nodes: Nodes, index: int) -> tuple[str, str]:
        """Return what a pool with one step fewer runs out of, and the promise that it breaks."""
        smaller = self.smaller(nodes, index)
        if smaller is None:
            return "none", "the smallest possible pool"
        trial = self.simulate(smaller)
        broken = f"with {smaller[index]} nodes: {trial.failures[0]}"
        if smaller[index] == 0:
            return "queueing", broken
        passed, strains = {}, {}
        for resource in LIFTS:
            if resource == "kv_link" and self.names[index] not in self.decoders:
                continue
            lifted = self.lift(smaller, index, resource)
            passed[resource], strains[resource] = lifted.passed, lifted.strain
            if lifted.passed and resource in CAPACITIES:
                break
        pools = self.results[smaller].frames.pools
        return binding(passed, strains, str(pools["busiest_resource"].iloc[index])), broken


def _with(nodes: Nodes, index: int, count: int) -> Nodes:
    return (*nodes[:index], count, *nodes[index + 1 :])


def require_all_traffic(loaded: LoadedScenario) -> None:
    """Refuse a scenario whose traffic is a sample.

    Raises:
        SizingError: it is.
    """
    rate = loaded.scenario.workload.sample
    if rate < 1.0:
        raise SizingError(
            f"{loaded.path}: workload.sample is {rate:.4g}: a fleet that serves a sample says "
            "nothing of all traffic, so none can be sized by it; state the rates of all traffic "
            "and leave `sample` out, if need be for a shorter time"
        )


def failures_of(result: Result) -> list[str]:
    """Return a sentence for every promise that was broken and every queue that grows.

    A promise without samples is none that was kept: only of a class to which nothing came is
    nothing asked.
    """
    if not result.has_evidence:
        return ["no requests were measured"]
    objectives = result.frames.objectives
    broken = objectives.loc[objectives["verdict"] == BROKEN]
    sentences = [_sentence(row) for row in broken.to_dict("records")]
    pools = result.frames.pools
    growing = pools.loc[~pools["stable"].astype(bool), "pool"]
    sentences += [f"the queue of pool {name} grows" for name in growing]
    return sentences + [unknown_sentence(name) for name in unknown_classes(result)]


def unknown_classes(result: Result) -> list[str]:
    """Return the classes that requests came from, and of a promise to which nothing is known."""
    frames = result.frames
    used = set(frames.classes.loc[frames.classes["arrived"] > 0, "class"])
    unknown = frames.objectives.loc[frames.objectives["verdict"] == NO_SAMPLE, "class"]
    return [str(name) for name in unknown.unique() if name in used]


def unknown_sentence(name: str) -> str:
    """Return what a class lacks whose promises have no samples, and the remedy."""
    return (
        f"{name} has no sample of what it is promised, so no fleet is known to keep it; lengthen "
        "workload.duration, shorten workload.warmup, or delete what cannot be measured"
    )


def _sentence(row: dict[Hashable, Any]) -> str:
    value, limit = float(row["value"]), float(row["limit"])
    if row["metric"] == "loss":
        return f"{row['class']} loses {percent(value)} of its requests (allowed {percent(limit)})"
    found = f"{percentile(row['percentile'])} {row['metric'].upper()} {duration(value)}"
    return f"{row['class']} has {found} (promised {span(limit)})"
