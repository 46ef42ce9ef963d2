"""Quarters and years ahead: the simulator sampled, a surface through it, the books by quarter."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from planner.catalog import Catalog, load_catalog
from planner.economics.forecast import Outlook, project
from planner.errors import PlannerError
from planner.results.result import Assumption
from planner.scenario import LoadedScenario
from planner.scenario.schema.forecast import Forecast
from planner.search.prospect import Prospect
from planner.search.roadmap import Roadmap
from planner.search.sampler import Sampler, read_samples, samples_text
from planner.search.sampling import Sample
from planner.simulation import resolve

SCENARIO = "the scenario"


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
            "scenarios/economics/forecast-2030.yaml"
        )
    roadmap = Roadmap(loaded, known)
    outlook = roadmap.outlook()
    kept = {} if samples is None else read_samples(samples)
    sampler = Sampler(roadmap, outlook, jobs, maximum_nodes, kept, _keeper(samples), progress)
    response = sampler.respond()
    used = [sampler.known[key] for key in sorted(sampler.used)]
    stated = loaded.scenario.forecast
    prospect = Prospect(
        name=loaded.scenario.name,
        description=loaded.scenario.description,
        seed=loaded.scenario.seed,
        outlook=outlook,
        response=response,
        projection=project(outlook, response),
        simulations=sampler.simulations,
        tolerance=stated.surface.tolerance,
        assumptions=tuple(dict.fromkeys(_assumptions(stated, outlook, used))),
    )
    object.__setattr__(prospect, "notes", tuple(_notes(prospect, stated)))
    return prospect


def _keeper(path: Path | None) -> Callable[[dict[str, Sample]], None] | None:
    if path is None:
        return None
    target = path

    def keep(known: dict[str, Sample]) -> None:
        part = target.with_name(f"{target.name}.part")
        part.write_text(samples_text(known), encoding="utf-8")
        part.replace(target)

    return keep


# --- what the numbers stand on -------------------------------------------------------------------


def _assumptions(
    stated: Forecast, outlook: Outlook, samples: Sequence[Sample]
) -> Iterator[Assumption]:
    def own(name: str, value: float | str, unit: str, source: str, date: str = "") -> Assumption:
        tier = "scenario" if not source else "estimated"
        return Assumption(name, value, unit, source or SCENARIO, date or stated.start, tier)

    for demand in stated.demand:
        if demand.start is not None:
            name = f"demand of {demand.name}, first quarter"
            yield own(name, demand.start, "1/s", demand.source)
        for point in demand.path:
            name = f"demand of {demand.name}, {point.quarter}"
            yield own(name, point.rate, "1/s", demand.source, point.quarter)
        if demand.growth is not None:
            yield own(f"growth of {demand.name}", demand.growth, "1/year", demand.source)
    yield own("peak over mean demand", stated.peak_to_mean, "1", stated.peak_source)
    for shift in stated.shifts:
        name = f"share of {shift.of} that becomes {shift.to} by {shift.end}"
        yield own(name, shift.share, "1", shift.source, shift.start)
    for upgrade in stated.upgrades:
        changes = ", ".join(f"{path}: {value}" for path, value in upgrade.set.items())
        yield own(f"upgrade {upgrade.name}", changes, "", upgrade.source, upgrade.quarter)
    for chip in stated.chips:
        name = f"chips of {chip.pool}: {chip.name}"
        yield own(name, chip.node, "", chip.source, chip.quarter)
    for kind, paths in (("price of", stated.machine_prices), ("plan", stated.plan_prices)):
        for path in paths:
            if path.change is not None:
                yield own(f"{kind} {path.name}, change", path.change, "1/year", path.source)
            for each in path.path:
                name = f"{kind} {path.name}, × by {each.quarter}"
                yield own(name, each.factor, "1", path.source, each.quarter)
    for learning in stated.learning:
        gain = learning.per_year if learning.per_doubling is None else learning.per_doubling
        unit = "1/year" if learning.per_doubling is None else "1/doubling"
        yield own(f"learning of {learning.name}", gain or 0.0, unit, learning.source)
    capacity = stated.capacity
    yield own("reserve of nodes", capacity.reserve, "1", "")
    yield own("lead time", float(capacity.lead_quarters), "quarters", "")
    yield own("life of owned nodes", float(capacity.life_quarters), "quarters", "")
    for (pool, _), rates in outlook.rates.items():
        rate = rates[0]
        yield Assumption(
            f"price {rate.name} ({rate.terms}), {pool}",
            rate.per_device_hour_usd,
            "USD/device-hour",
            rate.source,
            rate.date,
            rate.tier,
        )
    for sample in samples:
        yield from sample.assumptions


def _notes(prospect: Prospect, stated: Forecast) -> Iterator[str]:
    """Yield what a reader has to know to read the numbers right."""
    outlook, surface = prospect.outlook, prospect.surface
    last = outlook.quarters - 1
    for group in outlook.groups:
        for pool in group.pools:
            cells = prospect.cells(pool, last)
            rows = surface[surface["pool"] == pool]
            if cells > 1 and len(rows):
                flat = rows["pooling_rate"].abs().max()
                nodes = int(rows["nodes"].max())
                yield (
                    f"{pool}: by {outlook.labels[-1]} it is {cells:,.0f} cells of the largest "
                    f"simulated fleet ({nodes} nodes). Over the last step of load, nodes per "
                    f"load still changed by up to {flat:.1%}: what larger cells could save."
                )
    worst = float(surface["error_rate"].max()) if len(surface) else 0.0
    if worst > stated.surface.tolerance:
        yield (
            f"The error of the surface is up to {worst:.1%}, above the tolerance of "
            f"{stated.surface.tolerance:.1%}: half a node is a large part of a small fleet. Raise "
            "forecast.surface.largest for larger cells, or simulations."
        )
    yield (
        "The band is the error of the surface alone. Errors of step times, prices and demand come "
        "on top of it."
    )
    yield (
        "Utilisation, and with it electricity, counts the batches of the peak: at lower load, "
        "steps carry fewer requests and the same work takes somewhat longer."
    )
    if any(rate < 1 for rate in prospect.quarters["served_rate"]):
        yield "Demand for which there are no nodes is not served, and earns nothing."
