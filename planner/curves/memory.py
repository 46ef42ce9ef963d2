"""Memory of one replica: weights, working space, and what is left for the KV cache.

The plan follows what vLLM does at start-up: of `memory_fraction` of the device, weights, the peak
of a dummy step and fixed costs are taken off, and the rest becomes KV blocks. Byte figures are
those of the fullest device; `kv_blocks` counts for the whole replica. Plain Python, no arrays.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from math import ceil
from typing import TYPE_CHECKING, TypedDict, Unpack

from planner.curves.layout import (
    DTYPE_BYTES,
    TYPICAL_CONTEXT_TOKENS,
    Dtypes,
    Parallelism,
)
from planner.curves.operators import HIDDEN_BYTES, AttentionWork, Operator, inventory
from planner.curves.provenance import Provenance

if TYPE_CHECKING:
    from planner.catalog import Chip, Model

RESERVE_BYTES = 0.5e9
"""Device context, library workspaces and captured graphs."""
RESERVE_SOURCE = (
    "estimate: vLLM 0.19 with Llama-3.1-8B on an RTX 4090 keeps 1.24 GB besides weights and KV "
    "cache (LLMServingSim request logs), of which the sampler explains 0.72 GB"
)

COMMUNICATION_BYTES = 0.5e9
"""Collective buffers of a device that is not alone in its replica."""
COMMUNICATION_SOURCE = "estimate: buffers of NCCL and of custom all-reduce kernels"

LOGIT_BYTES = 22.0
"""Peak working space of the sampler, per vocabulary entry of a sampled position."""
LOGIT_SOURCE = (
    "arithmetic: 16-bit and 32-bit logits, sorted values with 64-bit indices, probabilities "
    "(2 + 4 + 4 + 8 + 4)"
)

SHORTEST_CONTEXT_TOKENS = 1024
"""A shorter context is not offered as a remedy."""


class MemoryLimits(TypedDict, total=False):
    """The limits of the engine that decide its memory; see `memory_plan`."""

    memory_fraction: float
    kv_block_tokens: int
    token_budget: int
    maximum_sequences: int
    context_tokens: int | None
    typical_context_tokens: float


@dataclass(frozen=True)
class MemoryPlan:
    """Where the memory of the fullest device goes, and the KV capacity of the whole replica."""

    memory_bytes: float
    """Memory of the device."""
    budget_bytes: float
    """What the engine may use of it."""
    weight_bytes: float
    activation_bytes: float
    """Peak of a step's working space: the widest layer, or the sampler."""
    reserve_bytes: float
    """Device context, captured graphs and communication buffers."""
    kv_bytes: float
    """Left for the KV cache; zero when nothing is."""
    kv_bytes_per_token: float
    """Cache of one token at the typical context, windows and recurrent states spread over it."""
    sequence_bytes: float
    """Cache of one sequence of full length."""
    context_tokens: int
    """That length."""
    kv_blocks: int
    """Blocks of the replica: those of one data-parallel group times the groups."""
    kv_tokens: int
    """Tokens they hold."""
    notes: tuple[Provenance, ...]
    """What the reserve and the working space stand on."""
    missing_bytes: float
    """Lacking for weights, working space, reserve and one sequence of full length; zero when they
    fit."""

    @property
    def fits(self) -> bool:
        """Whether the replica can serve a sequence of full length."""
        return self.missing_bytes <= 0.0

    def describe(self) -> str:
        """Return one sentence with every part and what is missing, per device."""
        parts = [
            f"{_gb(self.weight_bytes)} weights",
            f"{_gb(self.activation_bytes)} activations",
            f"{_gb(self.reserve_bytes)} reserve",
            f"{_gb(self.sequence_bytes)} KV cache of one sequence of {self.context_tokens} tokens",
        ]
        verdict = f"{_gb(self.missing_bytes)} are missing" if not self.fits else "fits"
        return (
            f"per device {' + '.join(parts)}, of {_gb(self.budget_bytes)} that the engine may use "
            f"of {_gb(self.memory_bytes)}: {verdict}"
        )


def memory_plan(
    model: Model,
    chip: Chip,
    parallelism: Parallelism,
    dtypes: Dtypes,
    *,
    memory_fraction: float = 0.9,
    kv_block_tokens: int = 16,
    token_budget: int = 8192,
    maximum_sequences: int = 256,
    context_tokens: int | None = None,
    typical_context_tokens: float = TYPICAL_CONTEXT_TOKENS,
) -> MemoryPlan:
    """Return the memory plan of one replica; a plan that does not fit has `missing_bytes` > 0.

    Args:
        model: its shape gives weights and cache.
        chip: its memory is divided up.
        parallelism: of one replica.
        dtypes: of weights and cache.
        memory_fraction: share of the device that the engine may use, in (0, 1].
        kv_block_tokens: tokens per KV block.
        token_budget: most tokens of one step of the replica.
        maximum_sequences: most sequences of one step of the replica.
        context_tokens: longest prompt + output; None: that of the model.
        typical_context_tokens: over which sliding windows and recurrent states are spread, since
            the KV cache is counted in tokens: a sequence holds `min(context, window)` tokens in a
            layer with a window.

    MLA caches one latent vector that every tensor-parallel device holds in full; KV heads are
    split over devices and repeated beyond their number.

    """
    work = inventory(model, parallelism, dtypes)
    layers, stages = model.layer_count, parallelism.pipeline
    stage = ceil(layers / stages) / layers
    longest = model.context_tokens if context_tokens is None else context_tokens
    typical = max(min(typical_context_tokens, float(longest)), 1.0)
    weights = _weight_bytes(work.operators, stage, parallelism.pipeline)
    activations = _activation_bytes(model, parallelism, token_budget, maximum_sequences)
    reserve = RESERVE_BYTES + (COMMUNICATION_BYTES if parallelism.devices > 1 else 0.0)
    # A model without any cache still needs a divisor.
    per_token = max(stage * _sequence_bytes(work.attentions, typical) / typical, 1.0)
    sequence = stage * _sequence_bytes(work.attentions, float(longest))
    memory = float(chip.memory_bytes)
    budget = memory_fraction * memory
    left = budget - weights - activations - reserve
    blocks = int(max(left, 0.0) / (per_token * kv_block_tokens)) * parallelism.data
    return MemoryPlan(
        memory_bytes=memory,
        budget_bytes=budget,
        weight_bytes=weights,
        activation_bytes=activations,
        reserve_bytes=reserve,
        kv_bytes=max(left, 0.0),
        kv_bytes_per_token=per_token,
        sequence_bytes=sequence,
        context_tokens=longest,
        kv_blocks=blocks,
        kv_tokens=blocks * kv_block_tokens,
        notes=_notes(parallelism),
        missing_bytes=max(sequence - left, 0.0),
    )


def shared_with(
    plan: MemoryPlan, draft: MemoryPlan, parallelism: Parallelism, kv_block_tokens: int
) -> MemoryPlan:
    """Return the plan of a replica that also holds the model which drafts for it.

    Its weights are beside the model's own, and every token is in both caches.

    Args:
        plan: of the model alone.
        draft: of what drafts, on the same devices under the same limits.
        parallelism: of the replica.
        kv_block_tokens: tokens per KV block.
    """
    left = plan.kv_bytes - draft.weight_bytes
    per_token = plan.kv_bytes_per_token + draft.kv_bytes_per_token
    blocks = int(max(left, 0.0) / (per_token * kv_block_tokens)) * parallelism.data
    sequence = plan.sequence_bytes + draft.sequence_bytes
    return replace(
        plan,
        weight_bytes=plan.weight_bytes + draft.weight_bytes,
        kv_bytes=max(left, 0.0),
        kv_bytes_per_token=per_token,
        sequence_bytes=sequence,
        kv_blocks=blocks,
        kv_tokens=blocks * kv_block_tokens,
        missing_bytes=max(sequence - left, 0.0),
    )


def kept_bytes_per_token(
    model: Model,
    parallelism: Parallelism,
    dtypes: Dtypes,
    *,
    context_tokens: int | None = None,
    typical_context_tokens: float = TYPICAL_CONTEXT_TOKENS,
) -> float:
    """Return the KV cache of one token on all devices that hold it, all layers and stages.

    MLA and KV heads that are repeated count once per tensor-parallel device, as each has its own
    copy; with `Parallelism()` for `parallelism` they count once.

    Args:
        model: as for `memory_plan`, as are the others.
        parallelism: of one replica; a token is held by one data-parallel group of it.
        dtypes: of the cache.
        context_tokens: longest prompt + output; None: that of the model.
        typical_context_tokens: over which windows and recurrent states are spread.
    """
    longest = model.context_tokens if context_tokens is None else context_tokens
    typical = max(min(typical_context_tokens, float(longest)), 1.0)
    attentions = inventory(model, parallelism, dtypes).attentions
    return parallelism.tensor * _sequence_bytes(attentions, typical) / typical


def _notes(parallelism: Parallelism) -> tuple[Provenance, ...]:
    """Return the estimates of the plan, with their sources."""
    date, tier = "2026-11", "estimated"
    rows = [
        Provenance("memory.reserve", RESERVE_BYTES, "B", RESERVE_SOURCE, date, tier),
        Provenance("memory.logit", LOGIT_BYTES, "B", LOGIT_SOURCE, date, tier),
    ]
    if parallelism.devices > 1:
        rows.append(
            Provenance(
                "memory.communication", COMMUNICATION_BYTES, "B", COMMUNICATION_SOURCE, date, tier
            )
        )
    return tuple(rows)


def _weight_bytes(operators: Iterable[Operator], stage: float, stages: int) -> float:
    """Return the weights of the fullest device: its layers, and one end of the model."""
    ends, layers = [0.0], 0.0
    for operator in operators:
        size = operator.stored_parameters * DTYPE_BYTES[operator.weight_dtype]
        if operator.name in ("embedding", "output_head"):
            ends.append(size)
        else:
            layers += size
    return stage * layers + (sum(ends) if stages == 1 else max(ends))


def _activation_bytes(
    model: Model, parallelism: Parallelism, token_budget: int, maximum_sequences: int
) -> float:
    """Return the peak working space: forward pass and sampler come one after the other."""
    hidden, tensor = model.hidden_size, parallelism.tensor
    widest = 0.0
    for run in model.layers:
        attention, ffn = run.attention, run.ffn
        heads = (attention.query_heads + 2 * attention.kv_heads) / tensor
        widest = max(widest, heads * attention.head_dim + hidden)
        width = ffn.intermediate_size / tensor
        if ffn.kind == "dense":
            widest = max(widest, 3.0 * width)
        else:
            # Each choice of an expert has its inner vectors and its output, where it is computed.
            spread = parallelism.expert_devices / parallelism.data
            widest = max(
                widest, ffn.active_experts * (3.0 * ffn.intermediate_size + hidden) / spread
            )
    # The residual stream and the input of the layer live along.
    forward = token_budget / parallelism.data * (2.0 * hidden + widest) * HIDDEN_BYTES
    sampler = maximum_sequences / parallelism.data * model.vocabulary_size * LOGIT_BYTES
    return max(forward, sampler)


def _sequence_bytes(attentions: Iterable[AttentionWork], context_tokens: float) -> float:
    """Return the cache of one sequence of `context_tokens` on one device, all layers."""
    total = 0.0
    for attention in attentions:
        held = min(context_tokens, attention.window_tokens or context_tokens)
        total += held * attention.kv_bytes_per_token + attention.state_bytes_per_sequence
    return total


def fitting_options(
    model: Model,
    chip: Chip,
    parallelism: Parallelism,
    dtypes: Dtypes,
    *,
    chips: Iterable[Chip] = (),
    **limits: Unpack[MemoryLimits],
) -> tuple[str, ...]:
    """Return changes that would each make the replica fit, in the words of a scenario.

    Args:
        model: as for `memory_plan`.
        chip: as for `memory_plan`.
        parallelism: as for `memory_plan`.
        dtypes: as for `memory_plan`.
        chips: others to consider; the smallest three that fit are named.
        limits: as for `memory_plan`.

    """
    options: list[str] = []

    def fits(changed: Parallelism, formats: Dtypes) -> bool:
        return memory_plan(model, chip, changed, formats, **limits).fits

    plan = memory_plan(model, chip, parallelism, dtypes, **limits)
    room = plan.kv_bytes / max(plan.sequence_bytes, 1.0) * plan.context_tokens
    shorter: MemoryLimits = {**limits, "context_tokens": int(room) // 1024 * 1024}
    if (
        room >= SHORTEST_CONTEXT_TOKENS
        and memory_plan(model, chip, parallelism, dtypes, **shorter).fits
    ):
        options.append(f"engine.context_tokens: {shorter['context_tokens']}")
    smaller = list(_smaller_dtypes(chip, dtypes))
    wider = list(_more_tensor(model, chip, parallelism))
    options += [name for name, formats in smaller if fits(parallelism, formats)][:1]
    options += [f"tensor_parallel: {more.tensor}" for more in wider if fits(more, dtypes)][:1]
    if not options:
        options += [
            f"{name} with tensor_parallel: {more.tensor}"
            for more in wider
            for name, formats in smaller
            if fits(more, formats)
        ][:1]
    larger = [
        other
        for other in chips
        if float(other.memory_bytes) > float(chip.memory_bytes)
        and memory_plan(model, other, parallelism, dtypes, **limits).fits
    ]
    larger.sort(key=lambda other: (float(other.memory_bytes), other.name))
    options += [f"a node with {other.name}" for other in larger[:3]]
    return tuple(options)


def misfit_message(
    model: Model,
    chip: Chip,
    parallelism: Parallelism,
    dtypes: Dtypes,
    *,
    chips: Iterable[Chip] = (),
    **limits: Unpack[MemoryLimits],
) -> str | None:
    """Return why a replica does not fit, what is missing and what would fit; None when it fits."""
    plan = memory_plan(model, chip, parallelism, dtypes, **limits)
    if plan.fits:
        return None
    options = fitting_options(model, chip, parallelism, dtypes, chips=chips, **limits)
    remedy = f"; would fit: {', or '.join(options)}" if options else "; use a larger node"
    over = f"{parallelism.devices} x {chip.name}" if parallelism.devices > 1 else f"one {chip.name}"
    return f"{model.name} in {dtypes.weight} does not fit on {over}: {plan.describe()}{remedy}"


def _smaller_dtypes(chip: Chip, dtypes: Dtypes) -> Iterator[tuple[str, Dtypes]]:
    if DTYPE_BYTES[dtypes.kv] > 1:
        yield "kv_dtype: fp8", replace(dtypes, kv="fp8")
    for weight in ("fp8", "int8", "fp4", "int4"):
        if DTYPE_BYTES[weight] >= dtypes.weight_bytes:
            continue
        if weight not in chip.peak_flops and weight != "int4":
            continue
        yield f"weight_dtype: {weight}", replace(dtypes, weight=weight, activation=None)


def _more_tensor(model: Model, chip: Chip, parallelism: Parallelism) -> Iterator[Parallelism]:
    heads = [run.attention.query_heads for run in model.layers]
    factor = 2
    while parallelism.devices * factor <= chip.scale_up_domain:
        wider = replace(parallelism, tensor=parallelism.tensor * factor)
        if all(count % wider.tensor == 0 for count in heads):
            yield wider
        factor *= 2


def _gb(size: float) -> str:
    return f"{size / 1e9:.1f} GB"
