"""What a scenario is worth with a subset of its techniques."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from planner.catalog import Catalog
from planner.errors import PlannerError
from planner.results.columns import BROKEN
from planner.results.result import Result
from planner.scenario import LoadedScenario
from planner.search.fleets import Nodes, SizingError, unknown_classes
from planner.search.near import NearSearch
from planner.search.quantities import quantities

Key = tuple[str, str]
"""A quantity and its class."""


@dataclass(frozen=True)
class Task:
    """A scenario to measure. It goes to another process, so it holds plain data only."""

    on: frozenset[str]
    loaded: LoadedScenario
    catalog: Catalog
    guess: Mapping[str, int] | None
    """Nodes by pool to start sizing from; None: no sizing."""
    maximum_nodes: int


@dataclass(frozen=True)
class Measured:
    """What a scenario is worth with a subset of its techniques."""

    on: frozenset[str]
    values: Mapping[Key, float | None]
    """By quantity and class; None where there is no such number."""
    nodes: Mapping[str, int] | None = None
    """Of the smallest fleet by pool; None: there is none, or it was not looked for."""
    obstacle: str = ""
    """Why no fleet keeps the promises, or why the scenario cannot be simulated."""
    broken: tuple[str, ...] = ()
    """What the scenario's own fleet does not keep, one sentence each."""
    near_miss: float | None = None
    """How far a smaller fleet is from keeping its worst promise, value / limit: the nearest one."""
    simulations: int = 0


def measure(task: Task) -> Measured:
    """Simulate the scenario's own fleet and, if asked for, find the smallest.

    Nothing that a scenario can do raises: that a subset cannot be served is an answer as well.
    """
    values: dict[Key, float | None] = {}
    nodes: dict[str, int] | None = None
    near_miss: float | None = None
    obstacle = ""
    sized = task.guess is not None
    listed = quantities(task.loaded.scenario, sized=sized)

    def take(result: Result | None, fleet: str) -> None:
        for each in listed:
            if each.fleet == fleet:
                key = (each.name, each.request_class)
                values[key] = None if result is None else each.value(result)

    take(None, "smallest")
    take(None, "own")
    search = own = None
    try:
        search = NearSearch(task.loaded, task.catalog, task.maximum_nodes, None, None)
        own = search.own()
        take(own, "own")
        if task.guess is not None:
            fleet = search.smallest(task.guess)
            take(search.results[fleet], "smallest")
            nodes = dict(zip(search.names, fleet, strict=True))
            near_miss = _nearest_miss(search, fleet)
    except SizingError as error:
        obstacle = str(error)
    except PlannerError as error:
        obstacle = f"it cannot be simulated: {error}"
    return Measured(
        on=task.on,
        values=values,
        nodes=nodes,
        obstacle=obstacle,
        broken=() if own is None else broken_promises(own),
        near_miss=near_miss,
        simulations=0 if search is None else len(search.log) + search.is_scheduled,
    )


def _nearest_miss(search: NearSearch, fleet: Nodes) -> float | None:
    strains = [
        trial.strain
        for nodes, trial in search.trials.items()
        if not trial.passed and all(few <= n for few, n in zip(nodes, fleet, strict=True))
    ]
    return min(strains, default=None)


def broken_promises(result: Result) -> tuple[str, ...]:
    """Return what a fleet does not keep, in the words of sizing."""
    if not result.has_evidence:
        return ("no requests were measured",)
    objectives = result.frames.objectives
    classes = objectives.loc[objectives["verdict"] == BROKEN, "class"].unique()
    pools = result.frames.pools
    growing = pools.loc[~pools["stable"].astype(bool), "pool"]
    return (
        *(f"{name} breaks a promise" for name in classes),
        *(f"the queue of pool {name} grows" for name in growing),
        *(f"{name} has no sample of a promise" for name in unknown_classes(result)),
    )
