"""`planner check`: every fault of scenario files at once, or a short summary of what they ask."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from planner.cli.completion import variant_names
from planner.cli.options import Overrides, Sets

if TYPE_CHECKING:
    from planner.catalog import Catalog
    from planner.errors import Fault
    from planner.scenario import LoadedScenario
    from planner.scenario.schema.pools import Pool
    from planner.scenario.schema.workload import RequestClass

_SPANS = {"day": 86400.0, "h": 3600.0, "min": 60.0, "s": 1.0, "ms": 1e-3}


def check(
    files: Annotated[list[str], typer.Argument(metavar="FILE...", help="Scenario files.")],
    sets: Sets = None,
    overrides: Overrides = None,
    scenario: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Check only this scenario of the file, not all.",
            autocompletion=variant_names("scenarios"),
        ),
    ] = None,
    only_scenarios: Annotated[
        bool,
        typer.Option(
            "--only-scenarios",
            help="Pass over other YAML: files without schema: planner/… or extends.",
        ),
    ] = False,
) -> None:
    """Check scenario files and print a summary, or every fault with its place (exit code 2).

    Without --scenario, each file is checked as it stands and in every scenario that it names.

    For example:

        planner check scenarios/quickstart.yaml scenarios/day.yaml

        planner check scenarios/quickstart.yaml --set pools.chat.tensor_parallel=1
    """
    from planner.catalog import load_catalog
    from planner.errors import ScenarioError
    from planner.scenario import load_checked

    catalog = load_catalog()
    faults: list[Fault] = []
    for path in dict.fromkeys(files):
        if only_scenarios and _is_other(path):
            typer.echo(f"note: {path} is no scenario and is passed over", err=True)
            continue
        try:
            loaded = load_checked(
                path, catalog, overrides=overrides or (), sets=sets or (), scenario=scenario
            )
        except ScenarioError as error:
            faults += error.faults
            continue
        if scenario is None:
            faults += _faults_of_variants(loaded, catalog, overrides or (), sets or ())
        if not any(fault.file == path for fault in faults):
            typer.echo("\n".join(_summary(loaded, catalog)))
    if faults:
        raise ScenarioError(faults)


def _is_other(path: str) -> bool:
    """Tell whether a file is something else; of one that cannot be read, loading says why."""
    from planner.scenario.source import is_scenario

    try:
        return not is_scenario(Path(path))
    except OSError:
        return False


def _faults_of_variants(
    loaded: LoadedScenario, catalog: Catalog, overrides: Sequence[str], sets: Sequence[str]
) -> Iterator[Fault]:
    """Yield the faults that only a named scenario of the file has."""
    from planner.errors import ScenarioError
    from planner.scenario import load_checked

    for name in loaded.scenario_names:
        try:
            load_checked(loaded.path, catalog, overrides=overrides, sets=sets, scenario=name)
        except ScenarioError as error:
            for fault in error.faults:
                yield replace(fault, message=f"{fault.message} (in scenario {name})")


# --- summary -------------------------------------------------------------------------------------


def _summary(loaded: LoadedScenario, catalog: Catalog) -> Iterator[str]:
    """Yield the lines that say what a valid scenario asks."""
    from planner.scenario import notices

    scenario, workload = loaded.scenario, loaded.scenario.workload
    yield f"{loaded.path}: ok"
    span = f"{_span(workload.duration)} from {workload.weekday} {workload.start}"
    yield f"  {scenario.name}: {span}, seed {scenario.seed}"
    if loaded.scenario_names:
        yield f"  scenarios: {', '.join(loaded.scenario_names)}"
    yield from _table(
        ["class", "requests", "pool", "promises"],
        [[c.name, _source(c), _pools(c), _promises(c)] for c in workload.classes],
    )
    yield from _table(
        ["pool", "model", "machines", "replicas", "KV cache per replica"],
        [_pool_row(pool, catalog) for pool in scenario.pools],
    )
    nodes = sum(pool.nodes for pool in scenario.pools)
    devices = sum(pool.nodes * catalog.node(pool.node).devices for pool in scenario.pools)
    yield f"  {_count(devices, 'device')} in {_count(nodes, 'node')} at the start"
    yield from (f"  note: {notice}" for notice in notices(scenario, catalog))


def _source(request_class: RequestClass) -> str:
    if request_class.open is not None:
        what = "sessions" if request_class.sessions else "requests"
        if request_class.agent:
            what = "tasks"
        return f"open loop, {request_class.open.rate:.4g} {what}/s"
    if request_class.closed is not None:
        return f"closed loop, {request_class.closed.clients:,} clients"
    if request_class.trace is not None:
        return f"trace {request_class.trace.file}"
    if request_class.share is not None:
        return f"{request_class.share:.4g} of the shared trace"
    return "named by the shared trace"


def _pools(request_class: RequestClass) -> str:
    own = " → ".join([request_class.pool, *request_class.overflow])
    light = request_class.light
    if light is None:
        return own
    inputs = "" if light.maximum_input is None else f" up to {light.maximum_input:,} tokens"
    again = f", {light.escalation:.3g} of it again" if light.escalation else ""
    return f"{own} ({light.share:.3g}{inputs} first to {light.pool}{again})"


def _promises(request_class: RequestClass) -> str:
    promises = [
        f"p{promise.percentile:g} {promise.metric} ≤ {_span(promise.limit)}"
        for promise in request_class.objectives
    ]
    return ", ".join(promises) or "none"


def _pool_row(pool: Pool, catalog: Catalog) -> list[str]:
    from planner.scenario import draft_of, pool_memory, replicas_of

    node, model = catalog.node(pool.node), catalog.model(pool.model)
    layout = replicas_of(pool, node.devices)
    devices = layout.devices_per_replica
    plan = pool_memory(pool, model, catalog.chip(node.chip), draft_of(pool, model, catalog))
    if pool.engine.kv_blocks is None:
        gigabytes = f"{plan.weight_bytes / 1e9:.1f} GB weights per device"
        memory = f"{plan.kv_tokens:,} tokens beside {gigabytes}"
    else:
        memory = f"{pool.engine.kv_blocks * pool.engine.kv_block_tokens:,} tokens, as stated"
    return [
        pool.name,
        f"{pool.model} {pool.weight_dtype}",
        f"{pool.nodes} × {pool.node} of {node.devices}",
        f"{layout.replicas} of {_count(devices, 'device')}",
        memory,
    ]


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def _span(seconds: float) -> str:
    """Return a duration in the largest unit of which it has at least one."""
    unit = next((unit for unit, size in _SPANS.items() if seconds >= size), "ms")
    return f"{seconds / _SPANS[unit]:.4g} {unit}"


def _table(header: list[str], rows: list[list[str]]) -> Iterator[str]:
    """Yield the lines of a table with columns as wide as they need to be."""
    widths = [max(map(len, column)) for column in zip(header, *rows, strict=True)]
    for row in (header, *rows):
        cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=True)]
        yield f"  {'  '.join(cells)}".rstrip()
