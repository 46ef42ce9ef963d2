"""Operating points: how much of a class a pool carries while it keeps the class's promises.

One class alone, at a constant rate, on a pool of two sizes: by bisection on the rate. Two sizes
tell how much better a larger pool shares its load: capacity = slope · (nodes − fixed).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final

from planner.catalog import Catalog
from planner.lowering.pools import LoweredPool, basis_of, lower_pool
from planner.results.result import Result
from planner.scenario import LoadedScenario, replicas_of
from planner.scenario.schema.pools import Pool
from planner.scenario.schema.workload import RequestClass
from planner.search.fleets import failures_of, require_all_traffic
from planner.simulation import run

SAME_LOAD: Final = 0.03
"""Relative: the bisection ends when the rate is known so well."""
LARGE_POOL: Final = 4
"""Units of the larger pool: in larger ones still, sharing gains little more."""
FEWEST_REQUESTS: Final = 200
"""A rate at which fewer arrive in the time simulated says nothing of tails."""
WARMUP_RATE: Final = 0.2
"""Of the simulated time: until the pool is as full as it will be."""


@dataclass(frozen=True)
class OperatingPoint:
    """What a pool carries of one class."""

    pool: str
    request_class: str
    chip: str
    tier: str
    """Of the step times: measured, fitted or estimated."""
    unit_nodes: int
    """Nodes of the smallest pool."""
    unit_rps: float
    """What it carries; 0: the promises cannot be kept on it at all."""
    large_nodes: int
    large_rps: float
    tokens_per_request: float
    """Input and output, at that load."""
    output_tokens_per_request: float
    node_power_w: float
    """Mean power of a node at that load, without PUE."""
    binding: str
    """What a little more load breaks first."""
    simulations: int

    @property
    def per_node_rps(self) -> float:
        """What one more node of a larger pool carries: the slope between the two sizes."""
        if self.large_nodes == self.unit_nodes:
            return self.unit_rps / self.unit_nodes
        return (self.large_rps - self.unit_rps) / (self.large_nodes - self.unit_nodes)

    @property
    def fixed_nodes(self) -> float:
        """Nodes that a pool needs before the first request: what small pools share less well."""
        if not self.per_node_rps:
            return 0.0
        return max(0.0, self.large_nodes - self.large_rps / self.per_node_rps)


class Probe:
    """Finds operating points of a scenario's pools.

    Args:
        loaded: the scenario.
        catalog: models, chips, nodes and prices.
        time_s: simulated time per trial.
        on_trial: called after each simulation with one sentence.
    """

    def __init__(
        self,
        loaded: LoadedScenario,
        catalog: Catalog,
        time_s: float,
        on_trial: Callable[[str], None] | None = None,
    ) -> None:
        require_all_traffic(loaded)
        self.loaded = loaded
        self.catalog = catalog
        self.time_s = time_s
        self.on_trial = on_trial
        self._lowered: dict[str, LoweredPool] = {}

    def point(self, pool: Pool, klass: RequestClass, peak_rps: float) -> OperatingPoint:
        """Return what a pool carries of a class.

        Args:
            pool: its number of nodes is left out of account.
            klass: with an open loop.
            peak_rps: the most that is asked for; a pool is not made larger than that needs.
        """
        stride = replicas_of(pool, self.catalog.node(pool.node).devices).nodes_per_replica
        small = self._capacity(pool, klass, stride, peak_rps)
        units = 1
        if small.rate_rps:
            units = min(LARGE_POOL, max(1, math.ceil(peak_rps / small.rate_rps)))
        large = small
        if units > 1:
            large = self._capacity(pool, klass, units * stride, units * small.rate_rps)
        found = large if large.rate_rps >= small.rate_rps else small
        lowered = self._lowered[pool.name]
        return OperatingPoint(
            pool=pool.name,
            request_class=klass.name,
            chip=lowered.chip.name,
            tier=lowered.meta.tier,
            unit_nodes=stride,
            unit_rps=small.rate_rps,
            large_nodes=stride if found is small else units * stride,
            large_rps=found.rate_rps,
            **_work(found.result),
            binding=found.broken,
            simulations=small.simulations + (0 if large is small else large.simulations),
        )

    def _capacity(self, pool: Pool, klass: RequestClass, nodes: int, guess_rps: float) -> _Capacity:
        least_rps = FEWEST_REQUESTS / self.time_s
        passing, failing = _Trial(0.0), _Trial(math.inf)
        rate_rps, count = max(guess_rps, least_rps), 0
        while failing.rate_rps > passing.rate_rps * (1 + SAME_LOAD):
            trial = self._try(pool, klass, nodes, rate_rps)
            count += 1
            if trial.broken:
                failing = trial
            else:
                passing = trial
            if passing.rate_rps == 0.0:
                if rate_rps <= least_rps:
                    break
                rate_rps = max(rate_rps / 2, least_rps)
            elif math.isinf(failing.rate_rps):
                rate_rps *= 2
            else:
                rate_rps = math.sqrt(passing.rate_rps * failing.rate_rps)
        return _Capacity(passing.rate_rps, passing.result, failing.broken, count)

    def _try(self, pool: Pool, klass: RequestClass, nodes: int, rate_rps: float) -> _Trial:
        assert klass.open is not None
        steady = klass.open.model_copy(update={"rate": rate_rps, "shape": None})
        alone = klass.model_copy(
            update={"pool": pool.name, "overflow": [], "open": steady, "share": None}
        )
        content = self.loaded.scenario
        workload = content.workload.model_copy(
            update={
                "classes": [alone],
                "trace": None,
                "duration": self.time_s,
                "warmup": WARMUP_RATE * self.time_s,
                "window": self.time_s / 20,
            }
        )
        sized = pool.model_copy(update={"nodes": nodes, "schedule": []})
        scenario = content.model_copy(update={"workload": workload, "pools": [sized]})
        loaded = replace(self.loaded, scenario=scenario)
        if pool.name not in self._lowered:
            self._lowered[pool.name] = lower_pool(pool, self.catalog, basis_of(self.loaded))
        result = run(loaded, catalog=self.catalog, pools=(self._lowered[pool.name],))
        failures = failures_of(result)
        if self.on_trial is not None:
            verdict = failures[0] if failures else "keeps every promise"
            counted = f"{nodes} node{'s' if nodes > 1 else ''}"
            self.on_trial(f"{klass.name} on {counted} of {pool.name}, {rate_rps:.3g}/s: {verdict}")
        return _Trial(rate_rps, failures[0] if failures else "", result)


@dataclass(frozen=True)
class _Trial:
    rate_rps: float
    broken: str = ""
    result: Result | None = None


@dataclass(frozen=True)
class _Capacity:
    rate_rps: float
    result: Result | None
    """At that rate; None where no rate keeps the promises."""
    broken: str
    simulations: int


def _work(result: Result | None) -> dict[str, float]:
    """Return what a request and a node did in a run."""
    if result is None or result.impact is None:
        return dict.fromkeys(
            ("tokens_per_request", "output_tokens_per_request", "node_power_w"), 0.0
        )
    served = result.impact.class_footprint.iloc[0]
    tokens = result.frames.classes.iloc[0]
    requests = max(1.0, float(served["requests"]))
    output = float(tokens["output_tokens"]) / requests
    return {
        "tokens_per_request": float(tokens["input_tokens"]) / requests + output,
        "output_tokens_per_request": output,
        "node_power_w": 1e3 * float(result.impact.pool_footprint.iloc[0]["node_power_kw"]),
    }
