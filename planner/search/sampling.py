"""One sample of the response surface: a load, the smallest fleet for it, and what it does."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from planner.catalog import Catalog
from planner.economics.forecast import Served
from planner.errors import PlannerError
from planner.pricing import Books
from planner.results.result import Assumption, Result
from planner.scenario import LoadedScenario
from planner.scenario.schema import Scenario
from planner.scenario.schema.workload import RequestClass
from planner.search.fleets import SizingError
from planner.search.near import NearSearch
from planner.search.peak import busiest_part
from planner.version import VERSION


@dataclass(frozen=True)
class SampleTask:
    """A load to size a fleet for. It goes to another process, so it holds plain data only."""

    key: str
    loaded: LoadedScenario
    catalog: Catalog
    guess: Mapping[str, int]
    """Nodes by pool to start from."""
    maximum_nodes: int


@dataclass(frozen=True)
class Sample:
    """The smallest fleet for a load."""

    key: str
    nodes: Mapping[str, int]
    """By pool."""
    strides: Mapping[str, int]
    """By pool: by how many nodes it grows."""
    busy_devices: Mapping[str, float]
    """By pool: devices in steps, on average over the arrivals."""
    served: Mapping[str, Served]
    """By class: what each request (session, task) that arrives becomes."""
    simulations: int
    assumptions: tuple[Assumption, ...] = ()
    """Figures behind its step times and traffic; prices are the forecast's own."""
    obstacle: str = ""
    """Why there is no fleet."""

    def to_plain(self) -> dict[str, Any]:
        """Return it as JSON can hold it."""
        return asdict(self)

    @classmethod
    def from_plain(cls, content: Mapping[str, Any]) -> Sample:
        """Return what `to_plain` was made of."""
        served = {name: Served(**each) for name, each in content["served"].items()}
        figures = tuple(Assumption(**each) for each in content["assumptions"])
        return cls(**{**content, "served": served, "assumptions": figures})


def sub_scenario(
    loaded: LoadedScenario,
    classes: Iterable[str],
    rates_rps: Mapping[str, float],
    duration_s: float | None,
) -> LoadedScenario:
    """Return a scenario of some classes at other rates, with the pools that they reach.

    Visitors grow with the rate, so that each sends as much as before. Classes nobody uses are left
    out.

    Args:
        loaded: the scenario.
        classes: of it.
        rates_rps: arrivals per second, by class.
        duration_s: length of the busiest part to simulate; None: an hour.
    """
    scenario = loaded.scenario
    wanted = set(classes)
    kept = [
        _at_rate(each, rates_rps[each.name])
        for each in scenario.workload.classes
        if each.name in wanted and rates_rps[each.name] > 0
    ]
    reached = pools_of(scenario, kept)
    pools = [
        pool.model_copy(update={"schedule": []}) for pool in scenario.pools if pool.name in reached
    ]
    workload = scenario.workload.model_copy(update={"classes": kept})
    changed = scenario.model_copy(
        update={
            "workload": workload,
            "pools": pools,
            "forecast": None,
            "uncertainty": None,
            "description": "",
        }
    )
    return replace(loaded, scenario=busiest_part(changed, duration_s).scenario)


def _at_rate(request_class: RequestClass, rate_rps: float) -> RequestClass:
    assert request_class.open is not None
    arrivals = request_class.open.model_copy(update={"rate": rate_rps})
    visitors = request_class.visitors
    if visitors is not None:
        visitors = max(round(visitors * rate_rps / request_class.open.rate), 1)
    return request_class.model_copy(update={"open": arrivals, "visitors": visitors})


def pools_of(scenario: Scenario, classes: Sequence[RequestClass]) -> set[str]:
    """Return the pools that classes reach, those that decode for others included."""
    reached = {name for each in classes for name in (each.pool, *each.overflow)}
    reached |= {each.light.pool for each in classes if each.light is not None}
    decoders = {pool.name: pool.decode.pool for pool in scenario.pools if pool.decode}
    return reached | {decoders[name] for name in reached if name in decoders}


def kind_of(request_class: RequestClass) -> str:
    """Return what the requests of a class are like to a fleet: all but its name, rate and price."""
    content = request_class.model_dump(
        mode="json", exclude={"name": True, "plan": True, "visitors": True, "open": {"rate": True}}
    )
    return json.dumps(content, sort_keys=True)


def key_of(loaded: LoadedScenario) -> str:
    """Return what identifies a sample: everything that its answer depends on."""
    content = loaded.scenario.model_dump(mode="json", by_alias=True)
    text = json.dumps([VERSION, content], sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()


def take_sample(task: SampleTask) -> Sample:
    """Find the smallest fleet for a load; that there is none is an answer as well."""
    search = None
    try:
        search = NearSearch(task.loaded, task.catalog, task.maximum_nodes, None, None)
        fleet = search.smallest(task.guess)
    except PlannerError as error:
        what = "" if isinstance(error, SizingError) else "it cannot be simulated: "
        tried = 0 if search is None else len(search.log)
        return Sample(task.key, {}, {}, {}, {}, tried, (), f"{what}{error}")
    result = search.results[fleet]
    return Sample(
        key=task.key,
        nodes=dict(zip(search.names, fleet, strict=True)),
        strides=dict(zip(search.names, search.strides, strict=True)),
        busy_devices=_busy_devices(result, task.loaded.scenario),
        served=_served(result, task.loaded.scenario),
        simulations=len(search.log),
        assumptions=tuple(
            each for each in result.assumptions if not each.name.startswith(("price ", "plan "))
        ),
    )


def _busy_devices(result: Result, scenario: Scenario) -> dict[str, float]:
    """Return by pool the devices in steps at the mean rates of the classes.

    What is simulated is the busiest part of a shape, with as many arrivals as chance gave it: the
    time that a class takes is divided by its arrivals there over those of its mean rate.
    """
    assert result.finance is not None
    counted, mean = _arrivals(result), _mean_arrivals(result, scenario)
    busy: dict[str, float] = {}
    for row in result.finance.class_pools.to_dict("records"):
        name, pool = str(row["class"]), str(row["pool"])
        if counted[name]:
            hours = float(row["busy_device_hours"]) * mean[name] / counted[name]
            busy[pool] = busy.get(pool, 0.0) + hours / result.finance.hours
    return busy


def _arrivals(result: Result) -> dict[str, float]:
    """Return by class the arrivals after the warm-up: of sessions, those that began."""
    measured = result.frames.classes.set_index("class")["measured"]
    begun = result.frames.tasks.set_index("class")["begun"]
    return {str(name): float(n) for name, n in {**measured, **begun}.items()}


def _mean_arrivals(result: Result, scenario: Scenario) -> dict[str, float]:
    """Return by class what would arrive in the same time at its mean rate."""
    measured_s = result.duration_s - result.warmup_s
    classes = scenario.workload.classes
    return {each.name: each.open.rate * measured_s for each in classes if each.open is not None}


def _served(result: Result, scenario: Scenario) -> dict[str, Served]:
    """Return what an arrival becomes.

    Tokens and cost are those per request of the arrival period; how many requests come of an
    arrival is counted after the warm-up, when sessions are in full swing, over the arrivals of that
    time: neither the shape of the day nor chance makes more of a request than it is.
    """
    assert result.finance is not None
    assert result.books is not None
    costs = result.finance.class_costs.set_index("class")["cost_usd"]
    usages = {book.usage.name: book.usage for book in Books.of_json(result.books).classes}
    counts = result.frames.classes.set_index("class")["measured_served"]
    arrivals = _arrivals(result)
    found = {}
    for each in scenario.workload.classes:
        usage, long = usages[each.name], usages[each.name].long_context
        per_arrival = float(counts[each.name]) / max(arrivals[each.name], 1.0)
        share = per_arrival / max(usage.requests, 1)
        found[each.name] = Served(
            requests=per_arrival,
            input_tokens=share * usage.input_tokens,
            output_tokens=share * usage.output_tokens,
            cached_input_tokens=share * usage.cached_input_tokens,
            reasoning_tokens=share * usage.reasoning_tokens,
            long_input_tokens=share * long.input,
            long_cached_input_tokens=share * long.cached_input,
            long_output_tokens=share * long.output,
            tasks=share * usage.tasks,
            weight=share * float(costs[each.name]),
        )
    return found
