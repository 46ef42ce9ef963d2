"""The whole of lowering: a scenario becomes a plan for the engine and facts for the report."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace

from planner.catalog import Catalog
from planner.kernel.plan import UNLIMITED, ClassPlan, Plan
from planner.lowering.handover import with_decode_pools
from planner.lowering.pools import LoweredPool, basis_of, lower_pool, with_nodes
from planner.lowering.recording import Recorder
from planner.lowering.traffic import Traffic
from planner.lowering.workload import window_s_of
from planner.results.meta import ClassMeta, ObjectiveMeta
from planner.scenario import LoadedScenario
from planner.scenario.capacity import longest_in, longest_served
from planner.scenario.routes import decoders_of, own_pools, pools_tried
from planner.scenario.schema.workload import Objective, RequestClass
from planner.trace.table import HASH_BLOCK_TOKENS


@dataclass(frozen=True)
class Lowered:
    """A scenario in plain numbers."""

    plan: Plan
    """For the engine. Its streams can be read once: lower again to run again."""
    pools: tuple[LoweredPool, ...]
    classes: tuple[ClassMeta, ...]
    traffic: Traffic
    """What the plan's streams are read from."""


def lower(
    loaded: LoadedScenario,
    catalog: Catalog,
    pools: tuple[LoweredPool, ...] | None = None,
    recorder: Recorder | None = None,
) -> Lowered:
    """Return the plan of a scenario.

    Args:
        loaded: a scenario without faults.
        catalog: models, chips and nodes.
        pools: of an earlier lowering, to save computing step times when only nodes differ.
        recorder: hands out requests that were drawn before; None: they are drawn.

    Raises:
        CatalogError: a step time needs a figure that the catalogue does not have.
    """
    scenario = loaded.scenario
    if pools is None:
        basis = basis_of(loaded)
        lowered = tuple(lower_pool(pool, catalog, basis) for pool in scenario.pools)
    else:
        lowered = tuple(
            with_nodes(old, pool.nodes) for old, pool in zip(pools, scenario.pools, strict=True)
        )
    by_name = {pool.name: index for index, pool in enumerate(scenario.pools)}
    workload, decoders = scenario.workload, decoders_of(scenario.pools)
    longest = {pool.name: longest_in(pool, catalog) for pool in scenario.pools}
    contexts = [longest_served(klass, longest, decoders) for klass in workload.classes]
    caching = {pool.name for pool in scenario.pools if pool.prefix_cache}
    cached = [not caching.isdisjoint(pools_tried(klass)) for klass in workload.classes]
    traffic = Traffic(loaded, contexts, cached)
    plan = Plan(
        pools=with_decode_pools([pool.plan for pool in lowered], scenario.pools),
        classes=tuple(_class_plan(klass, by_name) for klass in workload.classes),
        blocks=traffic.open_blocks()
        if recorder is None
        else recorder.blocks(traffic, loaded, contexts),
        closed=traffic.closed_streams(),
        hashes=traffic.prefix_ids if traffic.has_prefixes else None,
        hash_tokens=HASH_BLOCK_TOKENS,
        visitors=traffic.visitors,
        duration_s=workload.duration,
        warmup_s=workload.warmup,
        drain_s=workload.drain,
        window_s=window_s_of(workload),
        seed=traffic.kernel_seed,
        keep_finished=scenario.output.requests,
    )
    metas = tuple(_class_meta(klass) for klass in workload.classes)
    return Lowered(plan, lowered, metas, traffic)


def _class_plan(klass: RequestClass, pools: dict[str, int]) -> ClassPlan:
    limit, light = klass.rate_limit, klass.light
    plan = ClassPlan(
        name=klass.name,
        pools=tuple(pools[name] for name in own_pools(klass)),
        priority=klass.priority,
        weight=klass.weight,
        batch=klass.service == "batch",
        sheddable=klass.sheddable,
        timeout_s=math.inf if klass.timeout is None else klass.timeout,
        ttft_limit_s=_tightest(klass.objectives, "ttft"),
        ttfat_limit_s=_tightest(klass.objectives, "ttfat"),
        tpot_limit_s=_tightest(klass.objectives, "tpot"),
        e2e_limit_s=_tightest(klass.objectives, "e2e"),
        bucket_interval_s=0.0 if limit is None else 1.0 / limit.rate,
        bucket_burst=1 if limit is None else limit.burst,
        system_tokens=klass.system_prompt,
        keeps_reasoning=klass.reasoning_kept,
    )
    if light is None:
        return plan
    longest = light.maximum_input
    return replace(
        plan,
        light_pool=pools[light.pool],
        light_share=light.share,
        light_input_tokens=UNLIMITED if longest is None else longest,
        escalation=light.escalation,
    )


def _tightest(objectives: Iterable[Objective], metric: str) -> float:
    return min((o.limit for o in objectives if o.metric == metric), default=math.inf)


def _class_meta(klass: RequestClass) -> ClassMeta:
    return ClassMeta(
        name=klass.name,
        pool=klass.pool,
        overflow=tuple(klass.overflow),
        priority=klass.priority,
        service=klass.service,
        objectives=tuple(ObjectiveMeta(o.metric, o.percentile, o.limit) for o in klass.objectives),
        maximum_loss_rate=klass.maximum_loss_rate,
        plan=klass.plan,
        light_quality=None if klass.light is None else klass.light.quality,
    )
