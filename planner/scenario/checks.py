"""What the schema cannot see: references, the workload as a whole, prices.

A check yields (location, message) for what makes the scenario impossible to run. What is only
worth a look (idle devices, a pool that no class uses) comes from `notices`.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from importlib import resources
from pathlib import Path

import yaml

from planner.catalog import Catalog
from planner.errors import Fault, ScenarioError, did_you_mean, shown
from planner.scenario.cache_notices import cache_notices, prefix_notices
from planner.scenario.capacity import longest_in, shortfall
from planner.scenario.check_agents import check_agents
from planner.scenario.check_calibration import check_calibration
from planner.scenario.check_cascade import check_cascade
from planner.scenario.check_forecast import check_forecast, check_variants
from planner.scenario.check_handover import check_handover
from planner.scenario.check_optimise import check_optimise
from planner.scenario.check_pools import check_pool, unknown_entry, unknown_node
from planner.scenario.check_prices import check_prices
from planner.scenario.check_regress import check_regress
from planner.scenario.check_scheduling import check_scheduling, idle_settings
from planner.scenario.check_site import check_site
from planner.scenario.check_uncertainty import check_uncertainty
from planner.scenario.faults import faults_of_tree, place_fault
from planner.scenario.load import Draft, LoadedScenario, draft_scenario, redraft
from planner.scenario.nodes import Location, Node
from planner.scenario.parts import Parts
from planner.scenario.replicas import replicas_of
from planner.scenario.routes import decoders_of, own_pools, pools_reached
from planner.scenario.schema import Scenario
from planner.scenario.schema.pools import Pool
from planner.scenario.schema.workload import Lengths, RequestClass

Finding = tuple[Location, str]
MAXIMUM_REQUESTS = 10_000_000_000
LOW_LATENCY_TOKENS = 256
"""Per device and step: what DeepEP recommends (its README, low-latency kernels)."""


def check_scenario(loaded: LoadedScenario, catalog: Catalog) -> list[Fault]:
    """Return the faults that show only across fields, or against the catalogue, in file order."""
    return _check(loaded.root, catalog)


def load_checked(
    path: str | os.PathLike[str],
    catalog: Catalog,
    *,
    overrides: Sequence[str] = (),
    sets: Sequence[str] = (),
    scenario: str | None = None,
) -> LoadedScenario:
    """Load a scenario and check it, so that every fault of either kind is reported at once.

    Args:
        path: the YAML file.
        catalog: models, chips, nodes and prices that it may name.
        overrides: as for `load_scenario`.
        sets: as for `load_scenario`.
        scenario: as for `load_scenario`.

    Raises:
        ScenarioError: every fault found, each with its place.
    """
    return _checked(
        draft_scenario(path, overrides=overrides, sets=sets, scenario=scenario), catalog
    )


def changed(loaded: LoadedScenario, catalog: Catalog, sets: Sequence[str]) -> LoadedScenario:
    """Return a scenario with other values, checked as `load_checked` does, and read from no file.

    Args:
        loaded: stays as it is.
        catalog: models, chips, nodes and prices that it may name.
        sets: assignments such as `"pools.chat.nodes=3"`.

    Raises:
        ScenarioError: every fault found.
    """
    return _checked(redraft(loaded, sets), catalog)


def _checked(draft: Draft, catalog: Catalog) -> LoadedScenario:
    faults = draft.faults + _check(draft.root, catalog)
    if draft.scenario is None or faults:
        raise ScenarioError(faults)
    return LoadedScenario(
        draft.scenario, draft.path, draft.root, draft.applied, draft.scenario_names
    )


def _check(root: Node, catalog: Catalog) -> list[Fault]:
    """Return the faults of a scenario as it stands; if it has none, those that it will have."""
    parts = Parts.of(root)
    faults = _check_parts(parts, catalog)
    if parts.forecast is None or faults or faults_of_tree(root):
        return faults
    return check_variants(
        root, parts, lambda tree: _check_parts(Parts.of(tree), catalog), faults_of_tree
    )


def _check_parts(parts: Parts, catalog: Catalog) -> list[Fault]:
    checks: Iterable[Callable[[Parts, Catalog], Iterator[Finding]]] = (
        _check_references,
        _check_sources,
        _check_arrivals,
        _check_trace_files,
        check_calibration,
        _check_lengths,
        _check_prefixes,
        _check_shipped_names,
        _check_repeats,
        check_agents,
        check_prices,
        _check_pools,
        check_scheduling,
        check_handover,
        check_cascade,
        check_forecast,
        check_uncertainty,
        check_site,
        check_optimise,
        check_regress,
    )
    findings = [finding for check in checks for finding in check(parts, catalog)]
    return sorted(place_fault(parts.root, location, message) for location, message in findings)


# --- references ----------------------------------------------------------------------------------


def _check_references(parts: Parts, _catalog: Catalog) -> Iterator[Finding]:
    """Yield unknown pools and plans, of classes that have other faults too."""
    pools = parts.names("pools")
    plans = parts.names("prices", "plans")
    for where in parts.items("workload", "classes"):
        tried = list[str]()
        for field in ("pool", "overflow"):
            for place, pool in parts.texts(*where, field):
                if pool not in pools:
                    yield place, _unknown("pool", pool, pools)
                elif pool in tried:
                    yield place, f"{shown(pool)} is tried before already; name each pool once"
                tried.append(pool)
        for place, plan in parts.texts(*where, "plan"):
            if plan not in plans:
                advice = "add it to prices.plans, or leave `plan` out if the class pays nothing"
                yield place, _unknown("plan", plan, plans, advice)


def _unknown(kind: str, name: str, names: Sequence[str], otherwise: str = "") -> str:
    advice = did_you_mean(name, names) or otherwise
    return f"unknown {kind} {shown(name)}{advice and '; '}{advice}"


# --- workload ------------------------------------------------------------------------------------


def _check_sources(parts: Parts, _catalog: Catalog) -> Iterator[Finding]:
    total, used = 0.0, False
    for where, request_class in parts.classes.items():
        own = request_class.open or request_class.closed
        from_shared = own is None and request_class.trace is None
        used |= from_shared
        total += request_class.share or 0.0
        if from_shared and not parts.has_trace:
            if request_class.share is None:
                message = "has no requests; give it open, closed or trace, or add workload.trace"
                yield where, message
            else:
                yield (*where, "share"), "is a share of workload.trace, which is missing; add it"
        if request_class.rate_limit is not None and request_class.visitors is None and own:
            message = "limits each visitor, so it needs their number; add visitors to the class"
            yield (*where, "rate_limit"), message
    if total > 1 + 1e-9:
        message = f"the shares of workload.trace add up to {total:.6g}; at most 1 is possible"
        yield ("workload", "classes"), message
    all_classes_valid = len(parts.classes) == len(parts.names("workload", "classes"))
    if parts.has_trace and not used and all_classes_valid:
        message = "no class uses it; give a class a share, or leave its other sources out"
        yield ("workload", "trace"), message


def _check_arrivals(parts: Parts, _catalog: Catalog) -> Iterator[Finding]:
    """A slip in a unit must not ask for more requests than any machine can simulate."""
    rates = {where: item.open.rate for where, item in parts.classes.items() if item.open}
    requests = sum(rates.values()) * (parts.duration_s or 0.0)
    if requests > MAXIMUM_REQUESTS:
        largest = max(rates, key=lambda where: rates[where])
        message = (
            f"the open-loop classes make {requests:.3g} arrivals in {parts.duration_s:g} s; at "
            f"most {MAXIMUM_REQUESTS:,} can be simulated: check the unit of the rate, or shorten "
            f"workload.duration"
        )
        yield (*largest, "open", "rate"), message


def _check_trace_files(parts: Parts, _catalog: Catalog) -> Iterator[Finding]:
    traces = {(*where, "trace"): item.trace for where, item in parts.classes.items()}
    for where, trace in (traces | {("workload", "trace"): parts.trace}).items():
        if trace is None:
            continue
        node, _ = parts.root.follow((*where, "file"))
        folder = Path(node.place.file).parent if node.place.line else Path()
        path = folder / trace.file
        if not os.path.lexists(path):
            yield (*where, "file"), f"no such file: {path}; paths are relative to this file"
        elif path.is_dir() and trace.format not in ("auto", "servegen"):
            yield (*where, "file"), f"{path} is a folder; name the trace file in it"


def _check_lengths(parts: Parts, catalog: Catalog) -> Iterator[Finding]:
    """Yield classes that no pool can serve, and lighter models that never get a request."""
    longest = {pool.name: longest_in(pool, catalog) for pool in parts.pools.values()}
    decoders = decoders_of(parts.pools.values())
    for where, klass in parts.classes.items():
        prompt, output = _shortest(klass)
        least = f"each has at least {prompt + output:,} tokens"
        faults = [shortfall(name, prompt, output, longest, decoders) for name in own_pools(klass)]
        if all(faults):
            yield where, f"no request can be served: {least}, and {'; '.join(faults)}"
        elif klass.light is not None:
            fault = shortfall(klass.light.pool, prompt, output, longest, decoders)
            if fault:
                yield (
                    (*where, "light", "pool"),
                    f"no request goes there: {least}, and {fault}; raise that, or delete `light`",
                )


def _shortest(klass: RequestClass) -> tuple[int, int]:
    """Return the fewest tokens of a prompt, and of an output."""
    before = 0 if klass.sessions is None else klass.system_prompt
    prompt = before + (0 if klass.input is None else _minimum(klass.input))
    outputs = (klass.output, klass.reasoning)
    return max(prompt, 1), sum(_minimum(each) for each in outputs if each is not None)


def _minimum(lengths: Lengths) -> int:
    low = lengths.fixed if lengths.fixed is not None else 0
    if lengths.uniform is not None:
        low = lengths.uniform[0]
    low = max(int(low * lengths.scale), lengths.minimum)
    return low if lengths.maximum is None else min(low, lengths.maximum)


def _check_prefixes(parts: Parts, _catalog: Catalog) -> Iterator[Finding]:
    """Yield system prompts that no prompt is long enough to hold."""
    for where, request_class in parts.classes.items():
        if request_class.input is None or request_class.sessions is not None:
            continue
        longest = _maximum(request_class.input)
        if longest < request_class.system_prompt:
            yield (
                (*where, "system_prompt"),
                f"is part of input, which has at most {longest:,.0f} tokens; found "
                f"{request_class.system_prompt:,}: raise input by it, or shorten it",
            )


def _maximum(lengths: Lengths) -> float:
    """Return the longest length that is stated; infinity where a distribution has no end."""
    high = math.inf
    if lengths.fixed is not None:
        high = lengths.fixed
    elif lengths.uniform is not None:
        high = lengths.uniform[1]
    elif lengths.quantiles is not None:
        high = max(lengths.quantiles.values())
    high *= lengths.scale
    low = lengths.minimum if lengths.fixed is None else 0
    return max(low, high if lengths.maximum is None else min(high, lengths.maximum))


def _check_shipped_names(parts: Parts, _catalog: Catalog) -> Iterator[Finding]:
    """Yield shapes and length presets that are not shipped."""
    asked: dict[str, list[tuple[Location, str]]] = {}
    for where, kind, name in _names_asked(parts):
        asked.setdefault(kind, []).append((where, name))
    for kind, places in asked.items():
        names = _shipped_names(kind)
        for where, name in places:
            if name not in names:
                advice = "`planner trace synth --list` shows them all"
                yield where, _unknown(kind, name, names, advice)


def _names_asked(parts: Parts) -> Iterator[tuple[Location, str, str]]:
    """Yield place, kind and name of what the classes take from the shipped data."""
    for where, request_class in parts.classes.items():
        shape = request_class.open.shape if request_class.open else None
        if isinstance(shape, str):
            yield (*where, "open", "shape"), "shape", shape
        turns = request_class.sessions.turns if request_class.sessions else None
        calls = request_class.agent.calls if request_class.agent else None
        tools = request_class.agent.tool_tokens if request_class.agent else None
        lengths = {
            ("input",): request_class.input,
            ("output",): request_class.output,
            ("reasoning",): request_class.reasoning,
            ("sessions", "turns"): turns,
            ("agent", "calls"): calls,
            ("agent", "tool_tokens"): tools,
        }
        for field, length in lengths.items():
            if length is not None and length.preset is not None:
                yield (*where, *field, "preset"), "length preset", length.preset


_SHIPPED = {"shape": ("shapes.yaml", "shapes"), "length preset": ("lengths.yaml", "presets")}
"""Where the names are: the data of `planner.trace`, whose code would bring in array libraries."""


def _shipped_names(kind: str) -> list[str]:
    file, section = _SHIPPED[kind]
    text = resources.files("planner").joinpath("trace", "data", file).read_text("utf-8")
    # NOTE: our own file needs no places for faults, and LibYAML reads it a hundred times sooner
    return list(yaml.load(text, getattr(yaml, "CSafeLoader", yaml.SafeLoader))[section])


def _check_repeats(parts: Parts, _catalog: Catalog) -> Iterator[Finding]:
    """A time or a promise that is given twice contradicts itself or says nothing."""
    for where, pool in parts.pools.items():
        times = [entry.at.zfill(5) for entry in pool.schedule]
        for index, time in enumerate(times):
            if time in times[:index]:
                yield (*where, "schedule", index, "at"), f"{time} is scheduled already; keep one"
    for where, request_class in parts.classes.items():
        promises = [(o.metric, o.percentile) for o in request_class.objectives]
        for index, promise in enumerate(promises):
            if promise in promises[:index]:
                message = f"p{promise[1]:g} of {promise[0]} has a limit already; keep one"
                yield (*where, "objectives", index), message


# --- pools ---------------------------------------------------------------------------------------


def _check_pools(parts: Parts, catalog: Catalog) -> Iterator[Finding]:
    for where in parts.items("pools"):
        for place, model in parts.texts(*where, "model"):
            if model not in catalog.models:
                yield place, unknown_entry("model", model, catalog.model)
        for place, node in parts.texts(*where, "node"):
            if node not in catalog.nodes:
                yield place, unknown_node(node, catalog)
    for where, pool in parts.pools.items():
        for steps, message in check_pool(pool, catalog):
            yield (*where, *steps), message


def _parallelism_notices(pool: Pool, catalog: Catalog, nodes: int) -> Iterator[str]:
    """Yield parallelism that works and that nobody would choose."""
    mixture = any(run.ffn.kind == "moe" for run in catalog.model(pool.model).layers)
    if pool.data_parallel > 1 and not mixture:
        yield (
            f"pool {pool.name}: {pool.model} has no experts to share, so its data-parallel groups "
            "gain nothing from one another; replicas of their own do not wait for each other"
        )
    if mixture and pool.data_parallel > 1 and nodes > 1 and pool.expert_exchange == "gather":
        yield (
            f"pool {pool.name}: expert_exchange gather sends every token to all {nodes} nodes; "
            "engines reach experts by expert_exchange: auto"
        )
    if pool.expert_exchange == "low_latency" and pool.engine.token_budget > LOW_LATENCY_TOKENS:
        yield (
            f"pool {pool.name}: kernels for expert_exchange low_latency are made for up to "
            f"{LOW_LATENCY_TOKENS} tokens per device, token_budget is {pool.engine.token_budget}; "
            "use auto, or a pool that only decodes"
        )


def _compared(scenario: Scenario) -> set[str]:
    """Return the pools whose nodes are chosen, or that are only compared."""
    chosen = scenario.optimise.pools if scenario.optimise is not None else []
    own = scenario.own_chip
    return {choice.pool for choice in chosen} | ({own.pool, own.against} if own else set())


def notices(scenario: Scenario, catalog: Catalog) -> list[str]:
    """Return what is possible but worth a look, for a valid scenario."""
    found: list[str] = []
    decoders = decoders_of(scenario.pools)
    routed = {name for c in scenario.workload.classes for name in pools_reached(c, decoders)}
    paying = {c.plan for c in scenario.workload.classes}
    compared = _compared(scenario)
    for pool in scenario.pools:
        node = catalog.node(pool.node)
        fleet = replicas_of(pool, node.devices)
        if pool.name in compared:
            pass  # its nodes are what `optimise` and `breakeven` look for
        elif pool.name not in routed:
            found.append(f"pool {pool.name}: no class uses it; it costs and serves nothing")
        elif not any((pool.nodes, *(entry.nodes for entry in pool.schedule))):
            found.append(f"pool {pool.name}: it never has a node, so what is sent to it is lost")
        found += _parallelism_notices(pool, catalog, fleet.nodes_per_replica)
        if fleet.idle_devices:
            found.append(
                f"pool {pool.name}: {fleet.idle_devices} devices stay idle, since replicas of "
                f"{fleet.devices_per_replica} do not fill nodes of {node.devices}"
            )
        found += [f"pool {pool.name}: {each}" for each in cache_notices(pool, scenario, catalog)]
        if (status := catalog.chip(node.chip).status) != "shipping":
            found.append(f"pool {pool.name}: {node.chip} is {status}, its figures are not measured")
    found += prefix_notices(scenario)
    found += idle_settings(scenario)
    found += [
        f"plan {plan.name}: no class pays it"
        for plan in scenario.prices.plans
        if plan.name not in paying
    ]
    return found
