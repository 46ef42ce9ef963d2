"""Quarters and years ahead: the simulator sampled, a surface through it, the books by quarter."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from planner.catalog import Catalog, load_catalog
from planner.economics.forecast import project
from planner.errors import PlannerError
from planner.files import write_whole
from planner.scenario import LoadedScenario
from planner.search.forecast_notes import assumptions, notes
from planner.search.prospect import Prospect
from planner.search.roadmap import Roadmap
from planner.search.sampler import Sampler, read_samples, samples_text
from planner.search.sampling import Sample
from planner.simulation import resolve


def forecast(
    scenario: str | os.PathLike[str] | LoadedScenario,
    *,
    sets: Sequence[str] = (),
    overrides: Sequence[str] = (),
    named: str | None = None,
    maximum_nodes: int = 4096,
    jobs: int = 1,
    samples: Path | None = None,
    progress: Callable[[float, float], None] | None = None,
    catalog: Catalog | None = None,
) -> Prospect:
    """Forecast accelerators, spend and margin by quarter, from the scenario's `forecast`.

    Fleets of several sizes are sized by simulation, for every state of models and chips that the
    quarters go through; between them is interpolated, and the error of that is stated.

    Args:
        scenario: a file, or a scenario already loaded.
        sets: values to change, as for `run`.
        overrides: named overrides, as for `run`.
        named: named scenario, as for `run`.
        maximum_nodes: most nodes of a pool that are tried in one simulated fleet.
        jobs: most processes at a time; a script that asks for several has to be importable.
        samples: file in which simulated fleets are kept: what is there is not simulated again, so
            that an interrupted forecast goes on where it stopped.
        progress: called with the samples done and to do.
        catalog: by default the shipped one.

    Raises:
        ScenarioError: the scenario has faults.
        PlannerError: it has no forecast.
        SimulationError: a load cannot be served by any number of nodes.
    """
    known = catalog or load_catalog()
    loaded = resolve(scenario, known, sets, overrides, named)
    if loaded.scenario.forecast is None:
        raise PlannerError(
            f"{loaded.path} has no section `forecast`; add one with start, until and growth, as in "
            "scenarios/economics/forecast_2030.yaml"
        )
    roadmap = Roadmap(loaded, known)
    outlook = roadmap.outlook()
    kept = {} if samples is None else read_samples(samples)
    sampler = Sampler(roadmap, outlook, jobs, maximum_nodes, kept, _keeper(samples), progress)
    response = sampler.respond()
    used = [sampler.known[key] for key in sorted(sampler.used)]
    stated = loaded.scenario.forecast
    answer = Prospect(
        name=loaded.scenario.name,
        description=loaded.scenario.description,
        seed=loaded.scenario.seed,
        outlook=outlook,
        response=response,
        projection=project(outlook, response),
        simulations=sampler.simulations,
        assumptions=assumptions(stated, outlook, used),
    )
    return replace(answer, notes=tuple(notes(answer, stated)))


def _keeper(path: Path | None) -> Callable[[dict[str, Sample]], None] | None:
    if path is None:
        return None
    return lambda known: write_whole(path, samples_text(known))
