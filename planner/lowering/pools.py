"""From a pool of the scenario to its plan: step times, memory, limits, and what they stand on."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from planner.catalog import Catalog, Chip, Model, Node
from planner.curves import StepTime, step_time
from planner.curves.device import curves_for
from planner.curves.engines import EngineTable, shipped_engines
from planner.curves.library import CurveSet
from planner.curves.provenance import Provenance
from planner.errors import SimulationError
from planner.kernel.enums import Router, Scheduler
from planner.kernel.plan import UNLIMITED, PoolPlan
from planner.lowering.drafts import LoweredDraft, acceptance_of, lower_draft
from planner.lowering.handover import with_link
from planner.lowering.tiers import lower_tiers
from planner.results.meta import PoolMeta
from planner.scenario import (
    LoadedScenario,
    draft_of,
    dtypes_of,
    kv_blocks_of,
    parallelism_of,
    pool_memory,
    replicas_of,
    sequence_tokens_of,
    step_limits_of,
)
from planner.scenario.capacity import context_of
from planner.scenario.routes import decoders_of, pools_reached
from planner.scenario.schema.pools import CacheAffinity, Pool
from planner.scenario.schema.workload import RequestClass


@dataclass(frozen=True)
class Basis:
    """What step times stand on besides the catalogue."""

    engines: EngineTable
    curve_files: tuple[Path, ...] = ()
    """The user's; later ones win over earlier ones, and all over those that ship."""
    classes: tuple[RequestClass, ...] = ()
    """Those of the scenario: what is accepted of drafts is up to them."""
    decoders: Mapping[str, str] = field(default_factory=dict)
    """By pool that only prefills, the one that decodes for it."""

    def curves(self, chip: Chip) -> tuple[CurveSet, ...]:
        """Return the curves of a chip."""
        return curves_for(chip, self.curve_files)


def basis_of(loaded: LoadedScenario) -> Basis:
    """Return what the step times of a scenario stand on.

    Raises:
        CatalogError: a calibration file has faults.
    """
    calibration = loaded.scenario.calibration
    engines = shipped_engines()
    for number in range(len(calibration.overheads)):
        path = loaded.file_path(("calibration", "overheads", number))
        engines = engines.with_file(path)
    files = [
        loaded.file_path(("calibration", "curves", number))
        for number in range(len(calibration.curves))
    ]
    scenario = loaded.scenario
    classes = tuple(scenario.workload.classes)
    return Basis(engines, tuple(files), classes, decoders_of(scenario.pools))


@dataclass(frozen=True)
class LoweredPool:
    """A pool in plain numbers, and where they come from."""

    plan: PoolPlan
    meta: PoolMeta
    chip: Chip
    node: Node
    curve: StepTime
    notes: tuple[Provenance, ...]
    basis: Basis
    draft: LoweredDraft | None = None
    """How it drafts; None: not at all."""


def lower_pool(pool: Pool, catalog: Catalog, basis: Basis | None = None) -> LoweredPool:
    """Return the plan of a pool.

    Raises:
        CatalogError: the chip lacks a figure that the step time needs.
    """
    model = catalog.model(pool.model)
    node = catalog.node(pool.node)
    chip = catalog.chip(node.chip)
    limits = step_limits_of(pool)
    basis = basis or Basis(shipped_engines())
    accepted = acceptance_of(pool, model, basis)
    drafts = accepted is not None and accepted.is_enough
    curve = step_time(
        model,
        chip,
        node,
        parallelism_of(pool),
        dtypes_of(pool),
        token_budget=limits.token_budget,
        maximum_sequences=limits.maximum_sequences,
        sequence_tokens=sequence_tokens_of(pool) if drafts else 1.0,
        engine=pool.engine.name,
        curves=basis.curves(chip),
        overhead=basis.engines.find(pool.engine.name, chip.name),
    )
    # What is never used is not loaded.
    drafter = draft_of(pool, model, catalog) if drafts else None
    draft = lower_draft(pool, accepted, model, chip, node, drafter, curve, basis)
    memory = pool_memory(pool, model, chip, drafter)
    blocks = kv_blocks_of(pool, model, chip, drafter)
    if blocks < 1:
        raise SimulationError(f"pool {pool.name}: {memory.describe()}")
    tiers, tier_notes = lower_tiers(pool, node, model, drafter)
    plan = with_scheduling(_plan(pool, node, model, curve, blocks), pool, basis)
    plan = with_link(replace(plan, tiers=tiers), pool, catalog)
    meta = _meta(pool, node, model, chip, curve, blocks)
    if draft is not None and draft.plan is not None:
        plan = draft.within(plan)
        # Passes and searches of the host are estimates.
        meta = replace(meta, tier="estimated", acceptance=draft.lengths)
    return LoweredPool(
        plan=plan,
        meta=meta,
        chip=chip,
        node=node,
        curve=curve,
        notes=curve.notes + memory.notes + (() if draft is None else draft.notes) + tier_notes,
        basis=basis,
        draft=draft,
    )


def with_nodes(lowered: LoweredPool, nodes: int) -> LoweredPool:
    """Return the same pool with another number of nodes."""
    return replace(lowered, plan=replace(lowered.plan, nodes=nodes))


def _plan(pool: Pool, node: Node, model: Model, curve: StepTime, blocks: int) -> PoolPlan:
    engine, limits = pool.engine, step_limits_of(pool)
    layout = replicas_of(pool, node.devices)
    affinity = pool.affinity or CacheAffinity()
    return PoolPlan(
        name=pool.name,
        fixed_s=curve.fixed_s,
        linear_s=curve.linear_s,
        decode_s=curve.decode_s,
        decode_seq_s=curve.decode_seq_s,
        prefill_s=curve.prefill_s,
        compute_s=curve.compute_s,
        memory_s=curve.memory_s,
        decode_memory_s=curve.decode_memory_s,
        prefill_compute_s=curve.prefill_compute_s,
        token_budget=limits.token_budget,
        maximum_sequences=limits.maximum_sequences,
        kv_blocks=blocks,
        kv_block_tokens=engine.kv_block_tokens,
        context_tokens=context_of(pool, model),
        queue_limit=UNLIMITED if engine.queue_limit is None else engine.queue_limit,
        overflow_waiting=pool.overflow_waiting,
        request_s=curve.host.request_s,
        late_steps=curve.host.late_steps,
        prefill_first=engine.name == "sglang"
        if engine.prefill_first is None
        else engine.prefill_first,
        poll_steps=engine.poll_steps,
        router=Router[pool.router.upper()],
        scheduler=Scheduler[engine.scheduler.upper()],
        priority_step_s=engine.priority_step or 0.0,
        prefix_cache=pool.prefix_cache,
        swap=engine.preemption == "swap",
        affinity_share=affinity.share,
        affinity_slack=affinity.slack,
        affinity_ratio=affinity.ratio,
        nodes=pool.nodes,
        replicas_per_node=max(layout.replicas_per_node, 1),
        nodes_per_replica=layout.nodes_per_replica,
    )


def with_scheduling(plan: PoolPlan, pool: Pool, basis: Basis) -> PoolPlan:
    """Return the plan with what it keeps from batch classes, if it has any, and what it sheds."""
    batch = [klass for klass in basis.classes if klass.service == "batch"]
    if any(pool.name in pools_reached(klass, basis.decoders) for klass in batch):
        share = pool.engine.batch_below
        plan = replace(
            plan,
            batch_sequences=max(1, int(share * plan.maximum_sequences)),
            batch_blocks=int(share * plan.kv_blocks),
        )
    if pool.admission is None:
        return plan
    rules = pool.admission
    tokens, usage, late = rules.waiting_tokens, rules.kv_usage, rules.predicted_ttft
    return replace(
        plan,
        shed_tokens=UNLIMITED if tokens is None else tokens,
        shed_blocks=UNLIMITED if usage is None else math.ceil(usage * plan.kv_blocks),
        shed_ttft=math.inf if late is None else late,
    )


def _meta(
    pool: Pool, node: Node, model: Model, chip: Chip, curve: StepTime, blocks: int
) -> PoolMeta:
    layout = replicas_of(pool, node.devices)
    degrees = {
        "TP": pool.tensor_parallel,
        "PP": pool.pipeline_parallel,
        "EP": pool.expert_parallel,
        "DP": pool.data_parallel,
    }
    return PoolMeta(
        name=pool.name,
        model=model.name,
        chip=chip.name,
        node=node.name,
        devices_per_node=node.devices,
        devices_per_replica=layout.devices_per_replica,
        kv_blocks=blocks,
        kv_block_tokens=pool.engine.kv_block_tokens,
        maximum_sequences=step_limits_of(pool).maximum_sequences,
        parallelism=" · ".join(f"{name} {n}" for name, n in degrees.items() if n > 1) or "TP 1",
        weight_dtype=pool.weight_dtype,
        tier=curve.tier,
        prefix_cache=pool.prefix_cache,
        kv_tiers=tuple(tier.name for tier in pool.kv_tiers),
        decode_pool="" if pool.decode is None else pool.decode.pool,
    )
