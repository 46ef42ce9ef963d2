"""What a pool's fields mean for its replicas: their devices, their number, their memory."""

from __future__ import annotations

from dataclasses import dataclass, replace

from planner.catalog import Catalog, Chip, Model
from planner.curves.heads import HEADS, head_model
from planner.curves.layout import Dtypes, ExpertPlan, Parallelism
from planner.curves.memory import (
    MemoryLimits,
    MemoryPlan,
    kept_bytes_per_token,
    memory_plan,
    shared_with,
)
from planner.scenario.schema.pools import KvTier, Pool, Speculation


@dataclass(frozen=True)
class ReplicaLayout:
    """How the replicas of a pool lie on its nodes."""

    devices_per_replica: int
    nodes_per_replica: int
    """1 where a node holds one replica or more."""
    replicas_per_node: int
    """0 where a replica spans several nodes."""
    replicas: int
    idle_devices: int


def replicas_of(pool: Pool, devices_per_node: int, nodes: int | None = None) -> ReplicaLayout:
    """Return how many replicas `nodes` nodes hold (those at the start, if None).

    A replica lies on one node if it fits there; a larger one spans whole nodes.

    Args:
        pool: its parallelism counts.
        devices_per_node: devices of one of its nodes.
        nodes: number of nodes.
    """
    count = pool.nodes if nodes is None else nodes
    devices = pool.tensor_parallel * pool.pipeline_parallel * pool.data_parallel
    per_node = devices_per_node // devices
    spanned = -(-devices // devices_per_node)
    replicas = count * per_node if per_node else count // spanned
    return ReplicaLayout(
        devices_per_replica=devices,
        nodes_per_replica=spanned,
        replicas_per_node=per_node,
        replicas=replicas,
        idle_devices=count * devices_per_node - replicas * devices,
    )


def pool_memory(pool: Pool, model: Model, chip: Chip, draft: Model | None = None) -> MemoryPlan:
    """Return the memory plan of one replica of `pool`, `draft` what drafts for it included."""
    spread, limits = parallelism_of(pool), limits_of(pool)
    plan = memory_plan(model, chip, spread, dtypes_of(pool), **limits)
    if draft is None or pool.speculation is None:
        return plan
    formats = draft_dtypes_of(pool, pool.speculation)
    # What drafts holds the contexts that the model holds, which may be longer than its own.
    limits["context_tokens"] = plan.context_tokens
    beside = memory_plan(draft, chip, replace(spread, pipeline=1), formats, **limits)
    return shared_with(plan, beside, spread, pool.engine.kv_block_tokens)


def kv_blocks_of(pool: Pool, model: Model, chip: Chip, draft: Model | None = None) -> int:
    """Return the KV blocks of one replica: those the scenario states, else those that fit."""
    stated = pool.engine.kv_blocks
    return pool_memory(pool, model, chip, draft).kv_blocks if stated is None else stated


@dataclass(frozen=True)
class TierLayout:
    """What a tier of KV blocks holds, in blocks of its pool."""

    blocks: int
    """Per replica, or of all where the tier is shared."""
    block_bytes: float


def tier_layout(
    pool: Pool, tier: KvTier, model: Model, devices_per_node: int, draft: Model | None = None
) -> TierLayout:
    """Return what a tier of `pool` holds.

    In the memory of a node every device keeps a copy of its own part of a block, as vLLM, LMCache
    and SGLang pin it per worker: what tensor-parallel devices hold twice (MLA, repeated KV heads)
    is kept twice. A store that all share keeps it once. What drafts has a cache of its own beside
    the model's.

    Args:
        pool: its layout and formats.
        tier: one of its tiers.
        model: of the pool.
        devices_per_node: of its nodes.
        draft: what drafts for it.
    """
    shared = tier.scope == "pool"
    spread, context = parallelism_of(pool), pool.engine.context_tokens
    kept_by = Parallelism() if shared else replace(spread, data=1, expert=1)
    token = kept_bytes_per_token(model, kept_by, dtypes_of(pool), context_tokens=context)
    if draft is not None:
        # It holds the contexts that the model holds.
        longest = model.context_tokens if context is None else context
        formats = Dtypes(kv=pool.kv_dtype)
        token += kept_bytes_per_token(
            draft, replace(kept_by, pipeline=1), formats, context_tokens=longest
        )
    # A model without any cache still needs a divisor.
    block = max(token, 1.0) * pool.engine.kv_block_tokens
    layout = replicas_of(pool, devices_per_node)
    nodes = 1.0 if shared else layout.nodes_per_replica / max(layout.replicas_per_node, 1)
    return TierLayout(int(tier.capacity * nodes / block), block)


def draft_of(pool: Pool, model: Model, catalog: Catalog) -> Model | None:
    """Return what drafts for a pool as a model; None: nothing, or a search in the prompt.

    Raises:
        CatalogError: the draft model is unknown.
    """
    speculation = pool.speculation
    if speculation is None or speculation.method == "n-gram":
        return None
    if speculation.draft_model is not None:
        return catalog.model(speculation.draft_model)
    return head_model(
        model,
        HEADS[speculation.method],
        vocabulary=speculation.draft_vocabulary,
        stages=pool.pipeline_parallel,
    )


def draft_dtypes_of(pool: Pool, speculation: Speculation) -> Dtypes:
    """Return the number formats of what drafts for a pool; its cache is of the pool's format."""
    return Dtypes(weight=speculation.weight_dtype(pool.weight_dtype), kv=pool.kv_dtype)


@dataclass(frozen=True)
class StepLimits:
    """What one step of a replica may hold."""

    token_budget: int
    maximum_sequences: int


def step_limits_of(pool: Pool) -> StepLimits:
    """Return the limits of a step of a replica, which are those of its engines together.

    With data-parallel attention each group has a scheduler with limits of its own, as in vLLM and
    SGLang. A pipeline has one scheduler, which fills a batch for every micro-batch in flight; the
    limit on sequences is over all of them.
    """
    engine, spread = pool.engine, parallelism_of(pool)
    return StepLimits(
        token_budget=engine.token_budget * spread.data * spread.batches,
        maximum_sequences=engine.maximum_sequences * spread.data,
    )


def sequence_tokens_of(pool: Pool) -> float:
    """Return the tokens that a decode step of most tokens has, over the most sequences.

    With drafts these are the sequence's own and those verified, where the batch may be full.
    """
    speculation = pool.speculation
    if speculation is None:
        return 1.0
    most = pool.engine.maximum_sequences
    drafting = min(speculation.maximum_sequences or most, most)
    return max(1.0, drafting * (1 + speculation.verified) / most)


def limits_of(pool: Pool) -> MemoryLimits:
    """Return the limits of the engine that decide its memory; a device holds one micro-batch."""
    engine = pool.engine
    return {
        "memory_fraction": engine.memory_fraction,
        "kv_block_tokens": engine.kv_block_tokens,
        "token_budget": engine.token_budget * pool.data_parallel,
        "maximum_sequences": engine.maximum_sequences * pool.data_parallel,
        "context_tokens": engine.context_tokens,
    }


def parallelism_of(pool: Pool) -> Parallelism:
    """Return the parallelism of `pool`; ValueError if expert parallelism does not divide it."""
    return Parallelism(
        tensor=pool.tensor_parallel,
        pipeline=pool.pipeline_parallel,
        expert=pool.expert_parallel,
        data=pool.data_parallel,
        micro_batches=pool.micro_batches,
        experts=ExpertPlan(
            exchange=pool.expert_exchange,
            skew=pool.expert_skew,
            redundant=pool.redundant_experts,
            overlap=pool.two_batch_overlap,
        ),
    )


def dtypes_of(pool: Pool) -> Dtypes:
    """Return the number formats of `pool`."""
    return Dtypes(weight=pool.weight_dtype, activation=pool.activation_dtype, kv=pool.kv_dtype)
