"""Scheduling, admission and batch classes: what a pool does and what its classes say must agree."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping

from planner.catalog import Catalog
from planner.scenario.nodes import Location
from planner.scenario.parts import Parts
from planner.scenario.routes import decoders_of, pools_reached, pools_tried
from planner.scenario.schema import Scenario
from planner.scenario.schema.pools import Pool
from planner.scenario.schema.workload import RequestClass


def check_scheduling(parts: Parts, _catalog: Catalog) -> Iterator[tuple[Location, str]]:
    """Yield rules of pools that none of their classes gives anything to go by, and the reverse."""
    pools = parts.pools.values()
    decoders = decoders_of(pools)
    shedding = {pool.name for pool in pools if pool.admission and pool.admission.kv_usage}
    for where, klass in parts.classes.items():
        if klass.service == "batch":
            for steps, message in _check_batch(klass):
                yield (*where, *steps), message
        elif klass.sheddable and not shedding.intersection(pools_tried(klass)):
            yield (
                (*where, "sheddable"),
                "no pool of the class sheds by its memory, so nothing is shed; give one "
                "`admission: {kv_usage: 80%}`, or delete this",
            )
    for where, pool in parts.pools.items():
        classes = _classes_of(pool, parts.classes.values(), decoders)
        for steps, message in _check_pool(pool, classes):
            yield (*where, *steps), message


def _check_batch(klass: RequestClass) -> Iterator[tuple[Location, str]]:
    for index, objective in enumerate(klass.objectives):
        if objective.metric in ("ttft", "ttfat"):
            yield (
                ("objectives", index),
                f"a batch class waits for room, so a promise on {objective.metric} cannot hold; "
                "promise e2e, or make the class interactive",
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


def _classes_of(
    pool: Pool, classes: Iterable[RequestClass], decoders: Mapping[str, str]
) -> list[RequestClass]:
    return [klass for klass in classes if pool.name in pools_reached(klass, decoders)]


def idle_settings(scenario: Scenario) -> list[str]:
    """Return settings that change nothing, for a valid scenario."""
    classes = scenario.workload.classes
    decoders = decoders_of(scenario.pools)
    sharing = {pool.name for pool in scenario.pools if pool.engine.scheduler == "weighted"}
    found = [
        f"class {klass.name}: its weight counts only in pools with the scheduler weighted"
        for klass in classes
        if klass.weight != 1.0 and not sharing.intersection(pools_reached(klass, decoders))
    ]
    for pool in scenario.pools:
        batch = any(klass.service == "batch" for klass in _classes_of(pool, classes, decoders))
        if "batch_below" in pool.engine.model_fields_set and not batch:
            found.append(f"pool {pool.name}: batch_below changes nothing, as no class is batch")
    unmeasured = scenario.workload.warmup > 0
    return found + [
        f"class {klass.name}: all its requests come at once, before the warm-up ends, so none is "
        "measured and its promises have no sample; leave workload.warmup out"
        for klass in classes
        if unmeasured
        and klass.closed
        and (klass.closed.requests or math.inf) <= klass.closed.clients
    ]
