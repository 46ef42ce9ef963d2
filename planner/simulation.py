"""The one entry point: a scenario goes in, a result comes out."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from planner.billing import LongContextMeter, measure
from planner.catalog import Catalog, load_catalog
from planner.control import Fleet, follow_schedule
from planner.control.fleet import most_nodes_by_window
from planner.emissions import carbon_assumptions, emissions
from planner.engine import Engine
from planner.errors import SimulationError
from planner.kernel.dtypes import FINISHED
from planner.lowering import Lowered, lower
from planner.lowering.pools import LoweredPool
from planner.lowering.recording import Recorder
from planner.lowering.tiers import tier_notes
from planner.lowering.workload import seconds_of_day, turns_of
from planner.pricing import Books, long_thresholds, mix_of, policy_of
from planner.provenance import assumptions
from planner.results.frames import build_frames
from planner.results.impact import Impact
from planner.results.requests import RequestWriter
from planner.results.result import Finance, Result
from planner.scenario import LoadedScenario, load_checked
from planner.scenario.price_tables import with_price_tables
from planner.scenario.routes import pools_tried
from planner.scenario.schema import Scenario
from planner.version import VERSION

if TYPE_CHECKING:
    import simpy

COUNTERS = ("events", "abandoned_turns", "unsent")
"""Sums of the kernel that no table holds."""
Process = Callable[["simpy.Environment", Fleet], "Generator[simpy.Event]"]
"""A control process: a generator function of the environment and the fleet."""


def load_scenario(
    path: str | os.PathLike[str],
    *,
    sets: Sequence[str] = (),
    overrides: Sequence[str] = (),
    named: str | None = None,
) -> LoadedScenario:
    """Load a scenario and check it against the shipped catalogue.

    Args:
        path: the YAML file.
        sets: values to change, as `pools.chat.nodes=3`.
        overrides: named overrides of the file to lay over it.
        named: named scenario of the file.

    Raises:
        ScenarioError: every fault, each with its place.
    """
    return resolve(path, load_catalog(), sets, overrides, named)


def resolve(
    scenario: str | os.PathLike[str] | LoadedScenario,
    catalog: Catalog,
    sets: Sequence[str],
    overrides: Sequence[str],
    named: str | None,
) -> LoadedScenario:
    """Return a scenario that is loaded already as it is, and load and check a file.

    Raises:
        ScenarioError: every fault of the file, each with its place.
    """
    if isinstance(scenario, LoadedScenario):
        return scenario
    return load_checked(
        scenario, catalog, sets=_listed(sets), overrides=_listed(overrides), scenario=named
    )


def opened(
    scenario: str | os.PathLike[str] | LoadedScenario,
    catalog: Catalog | None,
    sets: Sequence[str],
    overrides: Sequence[str],
    named: str | None,
) -> tuple[LoadedScenario, Catalog]:
    """Return a scenario, and the catalogue with the price tables that it names laid over.

    Arguments as for `run`.
    """
    known = catalog or load_catalog()
    loaded = resolve(scenario, known, sets, overrides, named)
    priced, _ = with_price_tables(loaded.root, known)
    return loaded, priced


def _listed(texts: Sequence[str]) -> Sequence[str]:
    """Return a list also where a single text was given, which is a sequence of letters."""
    return [texts] if isinstance(texts, str) else texts


def run(
    scenario: str | os.PathLike[str] | LoadedScenario,
    *,
    sets: Sequence[str] = (),
    overrides: Sequence[str] = (),
    named: str | None = None,
    processes: Process | Iterable[Process] = (),
    requests_to: Path | None = None,
    progress: Callable[[float, float], None] | None = None,
    invariants: bool = False,
    catalog: Catalog | None = None,
    pools: tuple[LoweredPool, ...] | None = None,
) -> Result:
    """Simulate a scenario and return what it needs, keeps and costs.

    Args:
        scenario: a file, or a scenario already loaded.
        sets: values to change, as `pools.chat.nodes=3`; for a file only.
        overrides: named overrides of the file to lay over it.
        named: named scenario of the file.
        processes: one or more control processes of your own, called with the SimPy environment and
            the fleet.
        requests_to: Parquet file for one row per request.
        progress: called with the simulated time and the end of the arrivals [s].
        invariants: check the numbered invariants afterwards, and fail if one does not hold; those
            about single requests only with `requests_to`, whose rows are then kept in memory, too.
        catalog: models, chips, nodes and prices; by default the shipped one.
        pools: step times of an earlier lowering of the same pools, to save computing them again.

    Raises:
        ScenarioError: the scenario has faults.
        TraceError: a trace cannot be read.
        SimulationError: an invariant does not hold.
    """
    loaded, known = opened(scenario, catalog, sets, overrides, named)
    return simulate(
        loaded,
        known,
        processes=processes,
        requests_to=requests_to,
        progress=progress,
        invariants=invariants,
        pools=pools,
    ).result()


@dataclass(frozen=True)
class Finished:
    """A simulation that has ended. No price moves a request, so it can be billed at any prices."""

    loaded: LoadedScenario
    catalog: Catalog
    lowered: Lowered
    engine: Engine
    fleet: Fleet
    books: Books
    """What money is computed from."""

    def result(
        self, loaded: LoadedScenario | None = None, catalog: Catalog | None = None
    ) -> Result:
        """Return the result.

        Args:
            loaded: the same scenario with other `prices`, or pools that pay others; None: as
                simulated.
            catalog: the same catalogue with other prices; None: as simulated.

        Raises:
            CatalogError: a price does not hold on `prices.date`, or is for long contexts that the
                simulation did not count.
        """
        billed = loaded or self.loaded
        pools = tuple(
            replace(book, price=pool.price, mix=mix_of(pool.price_mix))
            for book, pool in zip(self.books.pools, billed.scenario.pools, strict=True)
        )
        books = replace(self.books, pools=pools, prices=_stated_prices(billed))
        return _result(
            billed, catalog or self.catalog, self.lowered, self.engine, self.fleet, books
        )


def _stated_prices(loaded: LoadedScenario) -> dict[str, Any]:
    stated = loaded.data.get("prices")
    return stated if isinstance(stated, dict) else {}


def simulate(
    loaded: LoadedScenario,
    catalog: Catalog,
    *,
    processes: Process | Iterable[Process] = (),
    requests_to: Path | None = None,
    progress: Callable[[float, float], None] | None = None,
    invariants: bool = False,
    pools: tuple[LoweredPool, ...] | None = None,
    recorder: Recorder | None = None,
) -> Finished:
    """Simulate a loaded scenario.

    The arguments are those of `run`, but the catalogue is taken as it is: with `prices.tables`. A
    `recorder` hands out requests that an earlier simulation drew.
    """
    lowered = lower(loaded, catalog, pools, recorder)
    content = loaded.scenario
    names = [klass.name for klass in content.workload.classes]
    writer = (
        nullcontext(None)
        if requests_to is None
        else RequestWriter(
            requests_to,
            names,
            [pool.name for pool in content.pools],
            [pool.request_s for pool in lowered.plan.pools],
            [
                [pool.late_tokens(klass) for klass in range(len(names))]
                for pool in lowered.plan.pools
            ],
        )
    )
    kept: list[NDArray[np.void]] = []
    above = long_thresholds(content.prices, catalog)
    thresholds = [above.get(klass.plan or "") for klass in content.workload.classes]
    meter = LongContextMeter(thresholds, content.workload.duration) if any(thresholds) else None
    with writer as out:

        def take(rows: NDArray[np.void]) -> None:
            if meter is not None:
                meter.take(rows)
            if out is not None:
                out.write(rows)
                if invariants:
                    kept.append(rows)

        # Rows are kept if someone takes them, whatever the scenario itself would have written.
        taken = out is not None or meter is not None
        engine = Engine(replace(lowered.plan, keep_finished=taken), take)
        fleet = _open_fleet(engine, content)
        for process in [processes] if callable(processes) else processes:
            engine.env.process(process(engine.env, fleet))
        duration_s = content.workload.duration
        engine.run(None if progress is None else lambda now_s: progress(now_s, duration_s))
    if invariants:
        finished = None if requests_to is None else np.concatenate([np.zeros(0, FINISHED), *kept])
        _require_invariants(engine, finished)
    books = measure(content, _stated_prices(loaded), engine, fleet, lowered.pools, meter, above)
    return Finished(loaded, catalog, lowered, engine, fleet, books)


def _require_invariants(engine: Engine, finished: NDArray[np.void] | None) -> None:
    from planner.invariants import check_invariants

    violations = check_invariants(engine.world, finished)
    if violations:
        raise SimulationError(
            "invariants do not hold; this is a fault of the simulator, please report it:\n"
            + "\n".join(violations)
        )


def _open_fleet(engine: Engine, scenario: Scenario) -> Fleet:
    fleet = Fleet(engine, {pool.name: pool.cold_start for pool in scenario.pools})
    start_s = seconds_of_day(scenario.workload.start)
    for pool in scenario.pools:
        if pool.schedule:
            timetable = [(seconds_of_day(entry.at), entry.nodes) for entry in pool.schedule]
            engine.env.process(follow_schedule(engine.env, fleet[pool.name], timetable, start_s))
    return fleet


def _result(
    loaded: LoadedScenario,
    catalog: Catalog,
    lowered: Lowered,
    engine: Engine,
    fleet: Fleet,
    books: Books,
) -> Result:
    scenario = loaded.scenario
    workload = scenario.workload
    world = engine.world
    windows, window_s = int(world.state["windows"][0]), lowered.plan.window_s
    held = [
        most_nodes_by_window(fleet[pool.name].held_nodes(engine.now_s), window_s, windows)
        for pool in scenario.pools
    ]
    statement = books.statement(scenario.prices, catalog)
    counters = {name: int(world.state[name][0]) for name in COUNTERS}
    counters["unused_rows"] = lowered.traffic.unused_rows
    content = scenario.model_dump(mode="json", by_alias=True)
    canonical = json.dumps(content, sort_keys=True, ensure_ascii=False)
    return Result(
        name=scenario.name,
        description=scenario.description,
        scenario_sha256=hashlib.sha256(canonical.encode()).hexdigest(),
        seed=scenario.seed,
        version=VERSION,
        window_s=window_s,
        duration_s=workload.duration,
        warmup_s=workload.warmup,
        end_s=engine.now_s,
        start=workload.start,
        weekday=workload.weekday,
        frames=build_frames(
            histograms=world.histograms,
            class_windows=world.class_windows,
            pool_windows=world.pool_windows,
            classes=lowered.classes,
            pools=[pool.meta for pool in lowered.pools],
            nodes=np.stack(held, axis=1),
            window_s=window_s,
            duration_s=workload.duration,
            warmup_s=workload.warmup,
            end_s=engine.now_s,
            reusable_input_rates=lowered.traffic.reusable.rates(),
        ),
        finance=Finance.of(statement),
        impact=Impact.of(emissions(scenario, catalog, statement)),
        books=books.with_entries(scenario.prices, catalog).to_json(),
        assumptions=(
            *assumptions(scenario, catalog, lowered.pools, statement, policy_of(scenario.prices)),
            *carbon_assumptions(scenario, catalog, statement),
        ),
        notes=tuple(_notes(scenario, lowered.pools, counters)),
        counters=counters,
    )


def sample_note(rate: float) -> str:
    """Return what a sample of the traffic shows and what it does not."""
    return (
        f"The traffic is a sample, {rate:.4g} of all. Requests and tokens served, revenue, and "
        f"what follows from them, are counted {1 / rate:,g}-fold; the fleet and its cost are the "
        "whole fleet's. That it serves all traffic is stated, not simulated: latency, utilisation, "
        "and what of the cost is work or idle, are those of the sample."
    )


def _notes(
    scenario: Scenario, pools: tuple[LoweredPool, ...], counters: Mapping[str, int]
) -> Iterator[str]:
    """Yield what a reader has to know to read the numbers right."""
    if scenario.workload.sample < 1.0:
        yield sample_note(scenario.workload.sample)
    estimated = [pool.plan.name for pool in pools if pool.curve.tier == "estimated"]
    if estimated:
        yield (
            f"Step times of {', '.join(estimated)} are estimated from data sheets and default "
            "efficiencies (tier estimated), not measured."
        )
    yield (
        "Cost, revenue and tokens are those of the arrival period; latencies and fates are those "
        "of all requests that arrived in it, also if they ended while the fleet drained."
    )
    if any(pool.engine.name == "tensorrt-llm" for pool in scenario.pools):
        yield (
            "Batches of tensorrt-llm are formed by the rules of vLLM; it differs from it by its "
            "kernels and overheads only."
        )
    grouped = [pool.name for pool in scenario.pools if pool.data_parallel > 1]
    if grouped:
        yield (
            f"In {', '.join(grouped)} all data-parallel groups are one batch with one KV cache, "
            "and a step lasts as long as that of the fullest group."
        )
    talking = {
        name
        for klass in scenario.workload.classes
        if turns_of(klass) is not None
        for name in pools_tried(klass)
    }
    forgetful = [p.name for p in scenario.pools if p.name in talking and not p.prefix_cache]
    if forgetful:
        yield (
            f"Prefix caching is off in {', '.join(forgetful)}: every turn of a session prefills "
            "the whole conversation."
        )
    for lowered in pools:
        yield from tier_notes(lowered.plan)
    tiered = [pool.name for pool in scenario.pools if pool.kv_tiers]
    if tiered:
        yield (
            f"The KV tiers of {', '.join(tiered)} are not in the cost: memory beyond that of the "
            "node as it is sold, disks and remote stores have no price here."
        )
    if counters["unused_rows"]:
        yield (
            "Requests of the shared trace that no class of the scenario takes, by its name or its "
            f"share, are left out: {counters['unused_rows']:,}."
        )
    if counters["unsent"]:
        yield (
            "Follow-up requests (later turns, next requests of closed-loop clients) that were due "
            f"after the end of the arrivals are left out: {counters['unsent']:,}."
        )
    if counters["abandoned_turns"]:
        yield (
            "Later turns that were never sent, because an earlier turn of their session was not "
            f"served: {counters['abandoned_turns']:,}. No fate counts them."
        )
