"""The one entry point: a scenario goes in, a result comes out."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from planner.billing import bill
from planner.catalog import Catalog, load_catalog
from planner.control import Fleet, follow_schedule
from planner.control.fleet import most_nodes_by_window
from planner.economics import Statement
from planner.engine import Engine
from planner.errors import SimulationError
from planner.lowering import Lowered, lower
from planner.lowering.pools import LoweredPool
from planner.lowering.workload import seconds_of_day
from planner.results.frames import build_frames
from planner.results.requests import RequestWriter
from planner.results.result import Assumption, Finance, Result
from planner.scenario import LoadedScenario, load_checked
from planner.scenario.schema import Scenario
from planner.version import VERSION

if TYPE_CHECKING:
    import simpy

Process = Callable[["simpy.Environment", Fleet], Iterator["simpy.Event"]]
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
    return load_checked(path, load_catalog(), sets=sets, overrides=overrides, scenario=named)


def run(
    scenario: str | os.PathLike[str] | LoadedScenario,
    *,
    sets: Sequence[str] = (),
    overrides: Sequence[str] = (),
    named: str | None = None,
    processes: Iterable[Process] = (),
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
        processes: control processes of your own, called with the SimPy environment and the fleet.
        requests_to: Parquet file for one row per request.
        progress: called with the simulated time and the end of the arrivals [s].
        invariants: check the numbered invariants afterwards, and fail if one does not hold.
        catalog: models, chips, nodes and prices; by default the shipped one.
        pools: step times of an earlier lowering of the same pools, to save computing them again.

    Raises:
        ScenarioError: the scenario has faults.
        TraceError: a trace cannot be read.
        SimulationError: an invariant does not hold.
    """
    known = catalog or load_catalog()
    if isinstance(scenario, LoadedScenario):
        loaded = scenario
    else:
        loaded = load_checked(
            scenario, known, sets=sets, overrides=overrides, scenario=named
        )
    lowered = lower(loaded, known, pools)
    content = loaded.scenario
    names = [klass.name for klass in content.workload.classes]
    writer = (
        nullcontext(None)
        if requests_to is None
        else RequestWriter(requests_to, names, [pool.name for pool in content.pools])
    )
    with writer as out:
        engine = Engine(lowered.plan, None if out is None else out.write)
        fleet = _open_fleet(engine, content)
        for process in processes:
            engine.env.process(process(engine.env, fleet))
        duration_s = content.workload.duration
        engine.run(None if progress is None else lambda now_s: progress(now_s, duration_s))
    if invariants:
        from planner.invariants import check_invariants

        violations = check_invariants(engine.world)
        if violations:
            raise SimulationError(
                "invariants do not hold; this is a fault of the simulator, please report it:\n"
                + "\n".join(violations)
            )
    return _result(loaded, known, lowered, engine, fleet)


def _open_fleet(engine: Engine, scenario: Scenario) -> Fleet:
    fleet = Fleet(engine, {pool.name: pool.cold_start for pool in scenario.pools})
    start_s = seconds_of_day(scenario.workload.start)
    for pool in scenario.pools:
        if pool.schedule:
            timetable = [(seconds_of_day(entry.at), entry.nodes) for entry in pool.schedule]
            engine.env.process(
                follow_schedule(engine.env, fleet[pool.name], timetable, start_s)
            )
    return fleet


def _result(
    loaded: LoadedScenario, catalog: Catalog, lowered: Lowered, engine: Engine, fleet: Fleet
) -> Result:
    scenario = loaded.scenario
    workload = scenario.workload
    world = engine.world
    windows = int(world.state["windows"][0])
    held = [
        most_nodes_by_window(
            fleet[pool.name].held_nodes(engine.now_s), workload.window, windows
        )
        for pool in scenario.pools
    ]
    statement = bill(scenario, catalog, engine, fleet, lowered.pools)
    content = scenario.model_dump(mode="json", by_alias=True)
    canonical = json.dumps(content, sort_keys=True, ensure_ascii=False)
    return Result(
        name=scenario.name,
        description=scenario.description,
        scenario_sha256=hashlib.sha256(canonical.encode()).hexdigest(),
        seed=scenario.seed,
        version=VERSION,
        window_s=workload.window,
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
            window_s=workload.window,
            duration_s=workload.duration,
            warmup_s=workload.warmup,
            end_s=engine.now_s,
        ),
        finance=finance_of(statement),
        assumptions=tuple(_assumptions(lowered.pools, statement)),
        notes=tuple(_notes(lowered.pools)),
        counters={
            name: int(world.state[name][0]) for name in ("events", "abandoned_turns", "unsent")
        },
    )


def finance_of(statement: Statement) -> Finance:
    """Return the money side of a result."""
    return Finance(
        hours=statement.period_hours,
        cost_usd=statement.cost_usd,
        revenue_usd=statement.revenue_usd,
        partner_share_usd=statement.margin.partner_share_usd,
        cost_per_hour_usd=statement.cost_per_hour_usd,
        revenue_per_hour_usd=statement.revenue_per_hour_usd,
        cost_per_million_output_tokens_usd=statement.cost_per_million_output_tokens_usd,
        energy_kwh=statement.energy_kwh,
        margin_definition=statement.margin.definition,
        gross_margin_rate=statement.margin.margin_rate,
        ledger=statement.ledger.to_frame(),
        margins=statement.margin.to_frame(),
        class_costs=statement.class_frame(),
        pool_costs=statement.pool_frame(),
    )


def _assumptions(pools: tuple[LoweredPool, ...], statement: Statement) -> Iterator[Assumption]:
    """Yield every figure that the result stands on, once."""
    seen: set[Any] = set()
    for pool in statement.pools:
        rate = pool.usage.rate
        found = Assumption(
            name=f"price {rate.name} ({rate.terms})",
            value=rate.per_device_hour_usd,
            unit="USD/device-hour",
            source=rate.source,
            date=rate.date,
            tier=rate.tier,
        )
        if found not in seen:
            seen.add(found)
            yield found
    for lowered in pools:
        for note in lowered.notes:
            found = Assumption(
                name=note.name,
                value=note.value,
                unit=note.unit,
                source=note.source,
                date=note.date,
                tier=note.tier,
            )
            if found not in seen:
                seen.add(found)
                yield found


def _notes(pools: tuple[LoweredPool, ...]) -> Iterator[str]:
    estimated = [pool.plan.name for pool in pools if pool.curve.tier == "estimated"]
    if estimated:
        yield (
            f"Step times of {', '.join(estimated)} are estimated from data sheets and default "
            "efficiencies (tier estimated), not measured."
        )
    yield (
        "Cost covers the arrival period; revenue and tokens are those of all requests that arrived "
        "in it, those served while the fleet drained included."
    )
