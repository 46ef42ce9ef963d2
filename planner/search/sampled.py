"""What a scenario is worth at points of its uncertain inputs: simulated once, billed many times."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from planner.catalog import Catalog
from planner.errors import PlannerError
from planner.lowering.pools import LoweredPool
from planner.results.result import Result
from planner.scenario import LoadedScenario
from planner.search.draws import Drawing, Point
from planner.search.fleets import Nodes, SizingError
from planner.search.near import NearSearch
from planner.search.quantities import Quantity, quantities
from planner.search.subsets import Key
from planner.simulation import Finished, simulate


@dataclass(frozen=True)
class Task:
    """Points that differ by prices only. It goes to another process, so it holds plain data."""

    drawing: Drawing
    points: tuple[Point, ...]
    guess: Mapping[str, int]
    """Nodes by pool to start sizing from."""
    sized: bool
    maximum_nodes: int


@dataclass(frozen=True)
class Sample:
    """What one draw came to."""

    point: Point
    values: Mapping[Key, float | None]
    """By quantity and class; None where there is no such number."""
    nodes: Mapping[str, int] | None = None
    """Of the smallest fleet by pool; None: there is none, or it was not looked for."""
    kept: bool | None = None
    """Whether the scenario's own fleet keeps every promise; None: it could not be simulated."""
    obstacle: str = ""
    """Why no fleet keeps the promises, or why the scenario cannot be simulated."""
    simulations: int = 0
    """Of the task; points that differ by prices alone share them."""


@dataclass(frozen=True)
class _Remembered:
    """A simulation, and its result at the prices that it ran with."""

    finished: Finished
    result: Result

    def billed(self, drawing: Drawing, point: Point) -> Result:
        """Return the result at the prices of a point."""
        drawn, simulated = drawing.scenario(point), self.finished.loaded.scenario
        scenario = simulated.model_copy(update={"prices": drawn.scenario.prices})
        priced = replace(drawn, scenario=scenario)
        return self.finished.result(priced, drawing.prices(point))


class _Remembering(NearSearch):
    """A search that remembers simulations, to bill them again."""

    def __init__(
        self,
        loaded: LoadedScenario,
        catalog: Catalog,
        maximum_nodes: int,
        lowered: tuple[LoweredPool, ...],
    ) -> None:
        super().__init__(loaded, catalog, maximum_nodes, None, None, lowered)
        self.finished: dict[Nodes, Finished] = {}

    def remembered(self, nodes: Nodes) -> _Remembered:
        """Return the simulation of a fleet that has been tried."""
        return _Remembered(self.finished[nodes], self.results[nodes])

    def _run(
        self, loaded: LoadedScenario, nodes: Nodes, lowered: tuple[LoweredPool, ...]
    ) -> Result:
        self.finished[nodes] = simulate(loaded, self.catalog, pools=lowered)
        return self.finished[nodes].result()


def evaluate(task: Task) -> tuple[Sample, ...]:
    """Simulate the scenario's own fleet and the smallest at one draw, and bill it at each point.

    Nothing that a draw can do raises: that it cannot be served is an answer as well.
    """
    drawing, first = task.drawing, task.points[0]
    own = smallest = None
    nodes: dict[str, int] | None = None
    kept: bool | None = None
    simulations, obstacle = 0, ""
    try:
        loaded = drawing.scenario(first)
        lowered = drawing.lowered(loaded, first)
        search = _Remembering(loaded, drawing.prices(first), task.maximum_nodes, lowered)
        try:
            own, kept = _own(search)
            if task.sized:
                fleet = search.smallest(task.guess)
                smallest = search.remembered(fleet)
                nodes = dict(zip(search.names, fleet, strict=True))
        except SizingError as error:
            obstacle = str(error)
        simulations = len(search.log) + search.is_scheduled
    except PlannerError as error:
        obstacle = f"it cannot be simulated: {error}"
    return tuple(
        Sample(
            point,
            dict(_values(task, own, smallest, point)),
            nodes,
            kept,
            obstacle,
            simulations,
        )
        for point in task.points
    )


def _own(search: _Remembering) -> tuple[_Remembered, bool]:
    """Return the run of the scenario's own fleet, and whether it keeps every promise."""
    nodes, result = search.own_nodes, search.own()
    own = _Remembered(search.finished[nodes], result)
    if search.is_scheduled:
        return own, result.headline["objectives_met"] is True and not result.stability
    return own, search.simulate(nodes).passed


def _values(
    task: Task, own: _Remembered | None, smallest: _Remembered | None, point: Point
) -> Iterator[tuple[Key, float | None]]:
    """Yield every quantity at a point, whose prices may differ from those of the simulation."""
    results: dict[str, Result | None] = {}
    for name, fleet in (("own", own), ("smallest", smallest)):
        results[name] = None
        if fleet is not None:
            is_first = point == task.points[0]
            results[name] = fleet.result if is_first else fleet.billed(task.drawing, point)
    for each in listed_for(task.drawing, sized=task.sized):
        result = results[each.fleet]
        yield (each.name, each.request_class), None if result is None else each.value(result)


def listed_for(drawing: Drawing, *, sized: bool) -> tuple[Quantity, ...]:
    """Return the quantities that samples hold."""
    return quantities(drawing.loaded.scenario, sized=sized)
