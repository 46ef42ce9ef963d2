"""A mix, simulated hour by hour: the demand routed as chosen, nodes that come, go and are lost."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

import numpy as np
import pandas as pd

from planner.catalog import Catalog
from planner.control import Fleet
from planner.economics.mix import Mix
from planner.lowering.workload import start_s_of_week
from planner.results.columns import BROKEN, LOST_FATES
from planner.results.result import Result
from planner.scenario import LoadedScenario
from planner.scenario.schema.optimise import Term
from planner.scenario.schema.workload import RequestClass
from planner.search.fleets import failures_of
from planner.simulation import run
from planner.units import HOUR_S

if TYPE_CHECKING:
    import simpy

WEEK_HOURS: Final = 168
Changes = Sequence[tuple[float, int]]
"""When, and by how many nodes."""


@dataclass(frozen=True)
class Proof:
    """What the simulation of a mix has shown."""

    failures: tuple[str, ...]
    """Promises that were broken, one sentence each."""
    weak_hours: tuple[tuple[str, int], ...]
    """Pools and hours in which they were."""
    interruptions: int
    """Nodes that were taken back."""
    result: Result


def prove(
    loaded: LoadedScenario,
    catalog: Catalog,
    mix: Mix,
    progress: Callable[[float, float], None] | None = None,
) -> Proof:
    """Simulate a mix for the whole of the scenario.

    Each class becomes one class per pool that serves it, with the rates that the mix routes there.
    Nodes are ordered a cold start before their hour; nodes that are taken back drain, and come
    again after the recovery time. Which are taken is drawn with the scenario's seed.

    Args:
        loaded: the scenario.
        catalog: models, chips, nodes and prices.
        mix: what was chosen.
        progress: called during the simulation, as by `run`.
    """
    content = loaded.scenario
    classes = [
        part
        for klass in content.workload.classes
        for part in _routed(klass, mix, round(start_s_of_week(content.workload) / HOUR_S))
    ]
    assert content.optimise is not None
    prices = {choice.pool: choice.terms[0].price for choice in content.optimise.pools}
    used = {pool for (pool, _), nodes in mix.nodes.items() if any(nodes)}
    pools = [
        pool.model_copy(
            update={
                "nodes": mix.pool_nodes(pool.name)[0],
                "schedule": [],
                "price": prices[pool.name],
                "price_mix": [],
            }
        )
        for pool in content.pools
        if pool.name in used
    ]
    taken = _taken(loaded, mix)
    changes = {
        pool.name: [*_planned(mix.pool_nodes(pool.name), pool.cold_start), *taken[pool.name]]
        for pool in pools
    }
    workload = content.workload.model_copy(update={"classes": classes})
    scenario = content.model_copy(update={"workload": workload, "pools": pools})
    result = run(
        replace(loaded, scenario=scenario),
        catalog=catalog,
        processes=[_follow(name, rows) for name, rows in changes.items()],
        progress=progress,
    )
    return Proof(
        failures=tuple(failures_of(result)),
        weak_hours=tuple(_weak_hours(result, classes, mix)),
        interruptions=sum(1 for rows in taken.values() for _, by in rows if by < 0),
        result=result,
    )


def _routed(klass: RequestClass, mix: Mix, first_hour: int) -> list[RequestClass]:
    """Return the class once per pool that serves some of it, each with its rates by the hour."""
    assert klass.open is not None
    rows = {
        pool: rates
        for (pool, name), rates in mix.load_rps.items()
        if name == klass.name and any(rates)
    }
    parts = []
    for pool, rates in rows.items():
        shape = [0.0] * (24 if len(rates) <= 24 else WEEK_HOURS)
        for hour, rate in enumerate(rates):
            shape[(first_hour + hour) % len(shape)] = rate
        mean = sum(shape) / len(shape)
        arrivals = klass.open.model_copy(update={"rate": mean, "shape": shape})
        name = klass.name if len(rows) == 1 else f"{klass.name}.{pool}"
        parts.append(
            klass.model_copy(update={"name": name, "pool": pool, "overflow": [], "open": arrivals})
        )
    return parts


def _planned(nodes: Sequence[int], cold_start_s: float) -> Changes:
    """Return the changes of a plan: more nodes are ordered before their hour, fewer leave at it."""
    return [
        (hour * HOUR_S - (cold_start_s if after > before else 0.0), after - before)
        for hour, (before, after) in enumerate(itertools.pairwise(nodes), start=1)
        if after != before
    ]


def _taken(loaded: LoadedScenario, mix: Mix) -> Mapping[str, Changes]:
    """Return by pool when interruptible nodes are taken back, and when they come again."""
    content = loaded.scenario
    assert content.optimise is not None
    generator = np.random.default_rng(np.random.SeedSequence([content.seed, _STREAM]))
    pools = {pool.name: pool for pool in content.pools}
    found: dict[str, list[tuple[float, int]]] = {pool.name: [] for pool in mix.problem.pools}
    for choice in content.optimise.pools:
        early_s = pools[choice.pool].cold_start
        for term in choice.terms:
            nodes = mix.nodes.get((choice.pool, term.name), ())
            for at_s in _interruptions(term, nodes, generator):
                back_s = at_s + max(0.0, term.recovery - early_s)
                found[choice.pool] += [(at_s, -1), (back_s, 1)]
    return found


_STREAM: Final = 0x5707
"""Of interruptions, among the random streams of a seed."""


def _interruptions(term: Term, nodes: Sequence[int], generator: np.random.Generator) -> list[float]:
    """Return when nodes of a term are taken back: a Poisson process in each hour."""
    if term.interruptions is None:
        return []
    times: list[float] = []
    for hour, count in enumerate(nodes):
        events = generator.poisson(term.interruptions * HOUR_S * count)
        times += sorted((hour + generator.random(min(int(events), count))) * HOUR_S)
    return times


def _follow(
    pool: str, changes: Changes
) -> Callable[[simpy.Environment, Fleet], Generator[simpy.Event]]:
    """Return a process that orders and gives back nodes at their times."""

    def process(env: simpy.Environment, fleet: Fleet) -> Generator[simpy.Event]:
        for at_s, by in sorted(changes):
            yield env.timeout(max(0.0, at_s - env.now))
            view = fleet[pool]
            view.set_nodes(max(0, view.nodes + by))

    return process


def _weak_hours(result: Result, classes: Sequence[RequestClass], mix: Mix) -> list[tuple[str, int]]:
    """Return the pools and hours to add a node in: where more requests failed than promises allow.

    Where none stands out, the hour with the most load.
    """
    objectives = result.frames.objectives
    broken = set(objectives.loc[objectives["verdict"] == BROKEN, "class"])
    pools = result.frames.pools
    growing = set(pools.loc[~pools["stable"].astype(bool), "pool"])
    found: set[tuple[str, int]] = set()
    for klass in classes:
        if klass.name not in broken and klass.pool not in growing:
            continue
        windows = result.frames.class_windows
        bad = _bad_rates(windows[windows["class"] == klass.name], mix.problem.hours)
        allowed = min(
            (1.0 - each.percentile / 100.0 for each in klass.objectives),
            default=klass.maximum_loss_rate,
        )
        weak = [hour for hour, rate in enumerate(bad) if rate > allowed]
        found |= {(klass.pool, hour) for hour in weak or [int(np.argmax(bad))]}
    return sorted(found)


def _bad_rates(windows: pd.DataFrame, hours: int) -> list[float]:
    """Return the share of the requests that ended in each hour which kept not all promises."""
    hour = np.minimum(windows["window_start_s"].to_numpy() // HOUR_S, hours - 1).astype(np.int64)
    lost = windows[list(LOST_FATES)].sum(axis=1)
    ended = np.bincount(hour, weights=windows["served"] + lost, minlength=hours)
    good = np.bincount(hour, weights=windows["good"], minlength=hours)
    return [
        1.0 - float(kept) / float(total) if total else 0.0
        for kept, total in zip(good, ended, strict=True)
    ]
