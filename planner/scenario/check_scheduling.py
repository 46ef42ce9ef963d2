"""Scheduling, admission and batch classes: what a pool does and what its classes say must agree."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from planner.catalog import Catalog
from planner.scenario.nodes import Location
from planner.scenario.parts import Parts
from planner.scenario.schema import Scenario
from planner.scenario.schema.pools import Pool
from planner.scenario.schema.workload import RequestClass


def check_scheduling(parts: Parts, _catalog: Catalog) -> Iterator[tuple[Location, str]]:
    """Yield rules of pools that none of their classes gives anything to go by, and the reverse."""
    for where, klass in parts.classes.items():
        if klass.service == "batch":
            for steps, message in _check_batch(klass):
                yield (*where, *steps), message
    for where, pool in parts.pools.items():
        classes = _classes_of(pool, parts.classes.values())
        for steps, message in _check_pool(pool, classes):
            yield (*where, *steps), message


def _check_batch(klass: RequestClass) -> Iterator[tuple[Location, str]]:
    for index, objective in enumerate(klass.objectives):
        if objective.metric == "ttft":
            yield (
                ("objectives", index),
                "a batch class waits for room, so a promise on ttft cannot hold; promise e2e, or "
                "make the class interactive",
            )
    if klass.sheddable:
        yield ("sheddable",), "a batch class waits instead of being shed; delete this"


def _check_pool(pool: Pool, classes: list[RequestClass]) -> Iterator[tuple[Location, str]]:
    promised = any(promise.metric == "ttft" for klass in classes for promise in klass.objectives)
    if pool.engine.scheduler == "deadline" and not promised:
        yield (
            ("engine", "scheduler"),
            f"no class of pool {pool.name} is promised a ttft, so nothing is ever due; give "
            "one an objective on ttft, or use another scheduler",
        )
    if pool.admission is None:
        return
    if pool.admission.predicted_ttft is not None and not promised:
        yield (
            ("admission", "predicted_ttft"),
            f"no class of pool {pool.name} is promised a ttft, so nothing is ever late; give one "
            "an objective on ttft, or use waiting_tokens",
        )
    if pool.admission.kv_usage is not None and not any(klass.sheddable for klass in classes):
        yield (
            ("admission", "kv_usage"),
            f"no class of pool {pool.name} is sheddable, so nothing is shed; give one `sheddable: "
            "true`, or delete this",
        )


def _classes_of(pool: Pool, classes: Iterable[RequestClass]) -> list[RequestClass]:
    return [klass for klass in classes if pool.name in (klass.pool, *klass.overflow)]


def idle_settings(scenario: Scenario) -> list[str]:
    """Return settings that change nothing, for a valid scenario."""
    classes = scenario.workload.classes
    sharing = {pool.name for pool in scenario.pools if pool.engine.scheduler == "weighted"}
    found = [
        f"class {klass.name}: its weight counts only in pools with the scheduler weighted"
        for klass in classes
        if klass.weight != 1.0 and not sharing.intersection((klass.pool, *klass.overflow))
    ]
    for pool in scenario.pools:
        batch = any(klass.service == "batch" for klass in _classes_of(pool, classes))
        if "batch_below" in pool.engine.model_fields_set and not batch:
            found.append(f"pool {pool.name}: batch_below changes nothing, as no class is batch")
    return found
