"""From inputs that are not known exactly to intervals of the answer, over the simulator itself.

Every draw is served the same requests with the same random numbers (common random numbers), so that
draws differ by their inputs alone; draws that differ by prices alone share a simulation.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

import numpy as np

from planner.catalog import Catalog, load_catalog
from planner.errors import ScenarioError, SimulationError
from planner.scenario import LoadedScenario
from planner.scenario.distributions import z_of
from planner.scenario.price_tables import with_price_tables
from planner.scenario.schema.uncertainty import UncertainInput, Uncertainty
from planner.scenario.uncertain import InputError, resolved
from planner.search.crew import Crew
from planner.search.draws import Drawing, Point
from planner.search.journal import Journal
from planner.search.peak import busiest_part
from planner.search.points import (
    HIGH,
    LOW,
    as_points,
    centre,
    exchanged,
    halves,
    one_at_a_time,
)
from planner.search.quantities import Quantity
from planner.search.risk import Answer, Driver, Risk
from planner.search.sampled import Sample, Task, evaluate, listed_for
from planner.search.sensitivity import Index, indices_of, interval_of, share_of
from planner.simulation import resolve
from planner.version import VERSION

OWN_ERRORS: Final = (
    UncertainInput(
        name="kernels",
        source="curves",
        basis="covariance of the fitted curves, and their error on shapes left out",
    ),
    UncertainInput(name="engines", source="overheads", basis="standard errors of the calibration"),
)
"""What is drawn where a scenario lists nothing: the errors that step times know of themselves."""


def risk(
    scenario: str | os.PathLike[str] | LoadedScenario,
    *,
    sets: Sequence[str] = (),
    overrides: Sequence[str] = (),
    named: str | None = None,
    samples: int | None = None,
    duration_s: float | None = None,
    sized: bool = True,
    sensitivity: bool | None = None,
    maximum_nodes: int = 4096,
    jobs: int = 1,
    resume: Path | None = None,
    progress: Callable[[float, float], None] | None = None,
    catalog: Catalog | None = None,
) -> Risk:
    """Draw the uncertain inputs of a scenario and return its answers as intervals with drivers.

    Args:
        scenario: a file, or a scenario already loaded; without a section `uncertainty` only the
            errors of fitted kernels and engine overheads are drawn.
        sets: values to change, as for `run`.
        overrides: named overrides, as for `run`.
        named: named scenario, as for `run`.
        samples: a power of two; None: as the scenario says.
        duration_s: simulate only the busiest part of this length; None: the busiest hour.
        sized: find the smallest fleet of each draw; else only the scenario's own is looked at.
        sensitivity: compute Sobol indices; None: as the scenario says.
        maximum_nodes: most nodes of a pool that are tried.
        jobs: most processes at a time; a script that asks for several has to be importable.
        resume: file to keep samples in, and to take those from that are there already.
        progress: called with the draws done and to do.
        catalog: by default the shipped one.

    Raises:
        ScenarioError: the scenario has faults.
        SimulationError: not even the medians of all inputs can be simulated.
        OutputError: `resume` is of another search.
    """
    known = catalog or load_catalog()
    loaded = resolve(scenario, known, sets, overrides, named)
    stated = _stated(loaded, samples, sensitivity)
    part = busiest_part(loaded.scenario, duration_s)
    loaded = replace(loaded, scenario=part.scenario)
    try:
        inputs = tuple(resolved(each, part.scenario) for each in stated.inputs)
    except InputError as error:
        raise ScenarioError([loaded.fault(("uncertainty", "inputs"), str(error))]) from None
    known, _ = with_price_tables(loaded.root, known)
    drawing = Drawing.of(loaded, known, inputs)
    journal = None
    if resume is not None:
        journal = Journal(
            resume, _digest(drawing, part.scenario.model_dump_json(), sized, maximum_nodes)
        )
    survey = _Survey(drawing, sized, maximum_nodes, journal, progress)
    plan = _Plan.of(drawing, stated, part.scenario.seed)
    with Crew(jobs, evaluate) as crew:
        survey.measure(plan, crew)
    return _answered(survey, plan, stated, part.words)


def _stated(loaded: LoadedScenario, samples: int | None, sensitivity: bool | None) -> Uncertainty:
    stated = loaded.scenario.uncertainty or Uncertainty(inputs=list(OWN_ERRORS))
    changed = stated.model_dump(exclude_unset=True)
    if samples is not None:
        changed["samples"] = samples
    if sensitivity is not None:
        changed["sensitivity"] = sensitivity
    return Uncertainty.model_validate(changed)


def _digest(drawing: Drawing, scenario: str, sized: bool, maximum_nodes: int) -> str:
    """Return a hash of all that samples follow from."""
    calibration = drawing.loaded.scenario.calibration
    files = [
        drawing.loaded.file_path(("calibration", kind, number)).read_bytes()
        for kind, names in (("curves", calibration.curves), ("overheads", calibration.overheads))
        for number in range(len(names))
    ]
    prices = repr([drawing.catalog.machine_prices, drawing.catalog.api_prices])
    text = json.dumps([VERSION, scenario, sized, maximum_nodes, prices])
    return hashlib.sha256(b"\0".join([text.encode(), *files])).hexdigest()


# --- what to draw ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Plan:
    """The points of a search."""

    centre: Point
    swings: tuple[tuple[Point, Point], ...]
    """By column: it at its low and its high end."""
    first: tuple[Point, ...]
    second: tuple[Point, ...]
    exchanged: tuple[tuple[Point, ...], ...]
    """By column: `first` with this column of `second`; empty without sensitivity."""
    seed: int

    @classmethod
    def of(cls, drawing: Drawing, stated: Uncertainty, seed: int) -> _Plan:
        columns = len(drawing.columns)
        one, two = halves(columns, stated.samples, stated.method, seed)
        mixed = [exchanged(one, two, column) for column in range(columns)]
        return cls(
            centre=centre(columns),
            swings=tuple(one_at_a_time(columns)),
            first=tuple(as_points(one)),
            second=tuple(as_points(two)),
            exchanged=tuple(tuple(as_points(rows)) for rows in mixed if stated.sensitivity),
            seed=seed,
        )

    @property
    def single(self) -> list[Point]:
        """Return the points with one column moved."""
        return [point for pair in self.swings for point in pair]

    @property
    def spread(self) -> list[Point]:
        """Return the points with all columns moved."""
        return [*self.first, *self.second, *(point for rows in self.exchanged for point in rows)]


# --- measuring ------------------------------------------------------------------------------------


@dataclass
class _Survey:
    """What is known of the points of a search."""

    drawing: Drawing
    sized: bool
    maximum_nodes: int
    journal: Journal | None
    progress: Callable[[float, float], None] | None
    samples: dict[Point, Sample] = field(default_factory=dict)
    kept: dict[Point, Sample] = field(default_factory=dict)
    """From an earlier search, by its journal."""

    def measure(self, plan: _Plan, crew: Crew[Task, tuple[Sample, ...]]) -> None:
        """Measure every point: the medians, then one input at a time, then all of them.

        Raises:
            SimulationError: the medians have no answer.
        """
        if self.journal is not None:
            self.kept = self.journal.read()
        wanted = [plan.centre, *plan.single, *plan.spread]
        total = len({self._physical(point) for point in wanted})
        # What costs no simulation of its own goes with the medians.
        self._measure(wanted, {}, crew, total, only=plan.centre)
        medians = self.samples[plan.centre]
        if medians.obstacle and medians.kept is None:
            raise SimulationError(medians.obstacle)
        nodes = dict(medians.nodes or {})
        self._measure(plan.single, dict.fromkeys(plan.single, nodes), crew, total)
        guesses = {point: self._guess(point, plan) for point in plan.spread}
        self._measure(plan.spread, guesses, crew, total)

    @property
    def simulations(self) -> int:
        """Return the number of simulated fleets."""
        each = {self._physical(point): s.simulations for point, s in self.samples.items()}
        return sum(each.values())

    def _physical(self, point: Point) -> Point:
        """Return what of a point moves requests."""
        return tuple(point[column] for column in self.drawing.physical)

    def _measure(
        self,
        points: Iterable[Point],
        guesses: Mapping[Point, Mapping[str, int]],
        crew: Crew[Task, tuple[Sample, ...]],
        total: int,
        only: Point | None = None,
    ) -> None:
        groups: dict[Point, list[Point]] = {}
        for point in dict.fromkeys(points):
            if point in self.kept:
                self.samples[point] = self.kept[point]
            elif point not in self.samples:
                groups.setdefault(self._physical(point), []).append(point)
        if only is not None:
            groups = {key: group for key, group in groups.items() if key == self._physical(only)}
        tasks = [
            Task(
                self.drawing,
                tuple(group),
                guesses.get(group[0], {}),
                self.sized,
                self.maximum_nodes,
            )
            for group in groups.values()
        ]
        done = len({self._physical(point) for point in self.samples})
        for answer in crew.measure(tasks, total - done):
            self.samples |= {sample.point: sample for sample in answer}
            if self.journal is not None:
                self.journal.add(answer)
            done += 1
            if self.progress is not None:
                self.progress(done, total)

    def _guess(self, point: Point, plan: _Plan) -> dict[str, int]:
        """Return nodes to start sizing from: what inputs do one at a time, multiplied."""
        medians = self.samples[plan.centre].nodes or {}
        found = {}
        for pool, nodes in medians.items():
            log = 0.0
            for u, pair in zip(point, plan.swings, strict=True):
                end = self.samples[pair[u > 0.5]].nodes
                if nodes and end is not None and end[pool]:
                    reach = z_of(HIGH if u > 0.5 else LOW)
                    log += math.log(end[pool] / nodes) * z_of(u) / reach
            found[pool] = round(nodes * math.exp(log))
        return found


# --- the answer -----------------------------------------------------------------------------------


def _answered(survey: _Survey, plan: _Plan, stated: Uncertainty, part: str) -> Risk:
    drawing, samples = survey.drawing, survey.samples
    drawn = [samples[point] for point in (*plan.first, *plan.second)]
    judged = [sample.kept for sample in drawn if sample.kept is not None]
    scenario = drawing.loaded.scenario
    found = Risk(
        name=scenario.name,
        seed=scenario.seed,
        part=part,
        confidence=stated.confidence,
        method=stated.method,
        inputs=drawing.inputs,
        columns=drawing.columns,
        answers=tuple(
            _answer(each, survey, plan, stated.confidence)
            for each in listed_for(drawing, sized=survey.sized)
            if samples[plan.centre].values.get((each.name, each.request_class)) is not None
        ),
        kept=share_of(sum(judged), len(judged), stated.confidence) if judged else None,
        nodes={pool.name: pool.nodes for pool in scenario.pools},
        centre=samples[plan.centre],
        samples=tuple(drawn),
        simulations=survey.simulations,
        sized=survey.sized,
    )
    return replace(found, notes=tuple(_notes(found)))


def _answer(quantity: Quantity, survey: _Survey, plan: _Plan, confidence: float) -> Answer:
    key = (quantity.name, quantity.request_class)

    def values(points: Sequence[Point]) -> list[float | None]:
        return [survey.samples[point].values.get(key) for point in points]

    def known(points: Sequence[Point]) -> np.ndarray[tuple[int], np.dtype[np.float64]] | None:
        found = [value for value in values(points) if value is not None]
        return np.array(found) if len(found) == len(points) else None

    found = [value for value in values([*plan.first, *plan.second]) if value is not None]
    interval = interval_of(np.array(found), confidence, plan.seed) if len(found) > 1 else None
    indices: tuple[Index | None, ...] = (None,) * len(plan.swings)
    halves_known = [known(plan.first), known(plan.second), *map(known, plan.exchanged)]
    complete = [each for each in halves_known if each is not None]
    if plan.exchanged and len(complete) == len(halves_known):
        one, two, *mixed = complete
        indices = indices_of(one, two, mixed, confidence, plan.seed) or indices
    middle = survey.samples[plan.centre].values.get(key)
    drivers = []
    for column, pair, index in zip(survey.drawing.columns, plan.swings, indices, strict=True):
        low, high = values(pair)
        drivers.append(Driver(column, low, high, index))
    return Answer(quantity, middle, interval, len(found), tuple(sorted(drivers, key=_weight)))


def _weight(driver: Driver) -> tuple[float, float]:
    """Return what sorts drivers: the larger swing first, then the larger index."""
    ends = [driver.low, driver.high]
    swing = abs(ends[1] - ends[0]) if ends[0] is not None and ends[1] is not None else math.inf
    total = 0.0 if driver.index is None else driver.index.total.value
    return -swing, -total


def _notes(found: Risk) -> Iterable[str]:
    """Yield what a reader has to know to read the numbers right."""
    yield (
        "All draws are served the same requests with the same random numbers; what the traffic "
        "does by chance is not part of the intervals."
    )
    if tuple(each.stated for each in found.inputs) == OWN_ERRORS:
        yield (
            "The scenario lists nothing as uncertain: only errors of step times are drawn. "
            "Traffic, lengths and prices count as certain; a section `uncertainty` draws them too."
        )
    if any(each.stated.source == "curves" for each in found.inputs):
        yield (
            "Fitted kernels are drawn all slower or all faster together, by the error of their "
            "parameters and that on shapes left out of the fit."
        )
    if any(each.stated.source == "overheads" for each in found.inputs):
        yield (
            "Of engine overheads only standard errors are recorded: their numbers are drawn as "
            "independent."
        )
    if found.centre.obstacle:
        yield (
            "With every input at its median no fleet keeps the promises, so nothing is said of the "
            f"smallest: {found.centre.obstacle}"
        )
    failed = [sample for sample in found.samples if sample.obstacle]
    if failed:
        yield (
            f"{len(failed)} of {len(found.samples)} draws have no fleet that keeps the promises, "
            f"and are left out of what is said of the smallest: {failed[0].obstacle}"
        )
