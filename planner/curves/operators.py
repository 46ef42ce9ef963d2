"""The operators of a transformer: work, traffic and communication, as functions of tokens.

Every number is for one device of a replica and for the whole stack of layers, so that a step is a
plain sum. Pipeline stages are summed as well: `steptime` says what that means for a step. Norm
weights and biases are left out, as in the catalogue (below 0.1% of every model there).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import log
from typing import TYPE_CHECKING, Literal, TypeAlias

from planner.curves.expert_load import PUBLISHED_SKEW, ExpertLoad
from planner.curves.layout import DTYPE_BYTES, Dtypes, Exchange, Parallelism

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from planner.catalog import Attention, Ffn, LayerRun, Model

    Array: TypeAlias = NDArray[np.float64]

Scope = Literal["group", "stage", "sampled"]
"""Which tokens an operator sees. group: those of one data-parallel group; stage: those of all
groups (routed experts); sampled: the positions whose next token is drawn."""

HIDDEN_BYTES = 2.0
"""Residual stream and matrix outputs are held in 16 bits by every serving engine, whatever the
weights."""

SAMPLER_BYTES_PER_LOGIT = 12.0
"""Traffic per vocabulary entry of a sampled position: 32-bit logits written once and read twice."""

FP8_SCALE_BYTES = 4.0 / 128.0
"""One 32-bit scale per 128 numbers that travel in fp8, as in DeepEP's kernels."""

FOUR_BIT = ("fp4", "int4")

ENDS = ("embedding", "output_head", "sampler")
"""Operators that are no layer's."""

EXCHANGES = ("experts.dispatch", "experts.combine")
"""Ways to the experts and back that another half of a batch can hide."""

STATE_UPDATE = "attention.state"
"""Name of the operator that moves the state of linear attention on by a token."""


@dataclass(frozen=True)
class Operator:
    """One kind of work of a step, on one device, over all layers that have it."""

    name: str
    scope: Scope = "group"
    stored_parameters: float = 0.0
    """Weights held in memory."""
    read_parameters: float = 0.0
    """Weights read by a step that needs all of them."""
    weight_dtype: str = "bf16"
    quantised: bool = False
    """Its arithmetic runs in the scenario's activation dtype; otherwise in 16 bits."""
    flops_per_token: float = 0.0
    """With routed experts: under perfectly even routing."""
    activation_bytes_per_token: float = 0.0
    kernels: int = 0
    """Kernel launches per step."""
    inner: int = 0
    """Of one matrix product: length of the sums. 0: not a matrix product. Experts: hidden size."""
    outer: int = 0
    """Of one matrix product: width of the result. Experts: width of one expert's inner vectors."""
    layers: int = 1
    """Layers that have it: how often a step repeats it."""
    experts: int = 0
    """Routed experts of a layer, over all devices; 0: not a mixture."""
    active_experts: int = 0
    expert_groups: int = 1
    """Devices over which whole experts are spread."""
    expert_slices: int = 1
    """Devices that share every expert's matrices."""
    load: ExpertLoad | None = None
    """Of the busiest group; None: that of the measured kernels, else even popularity."""
    scattered: bool = False
    """Whether a device sees the tokens of its own experts only."""

    def hit_share(self, tokens: Array) -> Array:
        """Return the expected share of the weights that `tokens` tokens touch.

        With `experts` E of which each token picks k at random, an expert is missed by one token
        with probability 1 − k/E, so n tokens hit E·(1 − (1 − k/E)ⁿ) of them. Real routers are less
        even, which makes this an upper bound.

        >>> Operator("experts", experts=8, active_experts=2).hit_share(1.0)
        0.25
        """
        if not self.experts:
            return tokens * 0.0 + 1.0
        missed: Array = (1.0 - self.active_experts / self.experts) ** tokens
        return 1.0 - missed

    def weight_reads(self, tokens: Array) -> Array:
        """Return the expected number of weights read by a step of `tokens` tokens."""
        return self.read_parameters * self.hit_share(tokens)

    def busiest_tokens(self, tokens: Array) -> Array:
        """Return the load of the busiest expert group, in tokens evenly routed to all groups.

        m = tokens·k/g choices fall on each of g groups on average, and about
        m + √(2·m·(1 − 1/g)·ln g) on the fullest: the maximum of g binomial counts in the normal
        limit (Raab and Steger 1998). Never more than if all tokens chose only there.
        """
        groups = self.expert_groups
        if groups == 1:
            return tokens
        if self.load is not None:
            return tokens * self.load.factor(tokens)
        excess = (2.0 * (1.0 - 1.0 / groups) * log(groups) * groups / self.active_experts) ** 0.5
        busiest = tokens + excess * tokens**0.5
        most = tokens * (groups * min(1.0, self.experts / groups / self.active_experts))
        least: Array = (busiest + most - abs(busiest - most)) / 2.0
        return least


@dataclass(frozen=True)
class AttentionWork:
    """Attention over cached context, on one device, over all layers of one run."""

    kind: str
    layers: int
    query_heads: float
    """Of one device."""
    kv_heads: float
    """Of one device."""
    head_dim: int
    kv_bytes_per_token: float
    """Bytes of cache per token of context: held by the device and read by each decode step."""
    decode_flops_per_token: float
    """Arithmetic of one decode step per token of context."""
    prefill_flops_per_pair: float
    """Arithmetic of prefill per pair of query and key position."""
    window_tokens: int | None
    """Context beyond it costs nothing."""
    state_bytes_per_sequence: float
    """Recurrent state of linear attention: read and written once per step."""


@dataclass(frozen=True)
class Collective:
    """Communication of a step, on one device, over all layers."""

    name: str
    kind: Literal["all_reduce", "gather", "exchange", "send"]
    scope: Scope
    devices: int
    """Devices that take part."""
    count: int
    """Operations per step."""
    bytes_per_token: float
    """all_reduce: size of the reduced vector; else: bytes that leave a device; per operation."""


@dataclass(frozen=True)
class ExpertExchange(Collective):
    """The way of tokens to their experts, or back, where each device gets its own tokens only."""

    mode: Exchange = "auto"
    choices: int = 1
    """Devices that compute on a token, were they all different."""
    dtype: str = "bf16"
    """Of the vectors on their way."""
    load: ExpertLoad | None = None
    """The exchange ends when the busiest device has its tokens."""


@dataclass(frozen=True)
class Inventory:
    """All that a step does on one device."""

    operators: tuple[Operator, ...]
    attentions: tuple[AttentionWork, ...]
    collectives: tuple[Collective, ...]

    @property
    def layers(self) -> int:
        """Layers of the model."""
        return sum(attention.layers for attention in self.attentions)

    @property
    def stored_parameters(self) -> float:
        """Weights held by one device, were the pipeline one stage long."""
        return sum(operator.stored_parameters for operator in self.operators)

    @property
    def flops_per_token(self) -> float:
        """Matrix arithmetic per token, output head included, attention over context not."""
        return sum(operator.flops_per_token for operator in self.operators)


def inventory(model: Model, parallelism: Parallelism, dtypes: Dtypes) -> Inventory:
    """Return the operators, attention and communication of `model` on one device of a replica.

    In a mixture, 4-bit formats hold the feed-forward matrices only and attention stays in 16 bits,
    as in the published checkpoints (gpt-oss, DeepSeek-R1-FP4). Embedding, output head and router
    are never quantised.
    """
    operators = [*_ends(model, parallelism, dtypes), *_projections(model, parallelism, dtypes)]
    attentions: list[AttentionWork] = []
    collectives: list[Collective] = []
    mixture = any(run.ffn.kind == "moe" for run in model.layers)
    attention_quantised = not (mixture and dtypes.weight in FOUR_BIT)
    for run in model.layers:
        operators += _attention_operators(model, run, parallelism, dtypes, attention_quantised)
        operators += _ffn_operators(model, run, parallelism, dtypes)
        attentions.append(_attention_work(run, parallelism, dtypes))
        collectives += _collectives(model, run, parallelism, dtypes)
    if parallelism.pipeline > 1:
        hidden_bytes = model.hidden_size * HIDDEN_BYTES
        devices, hops = parallelism.devices, parallelism.pipeline - 1
        collectives.append(
            Collective("pipeline.send", "send", "group", devices, hops, hidden_bytes)
        )
    return Inventory(tuple(operators), tuple(attentions), tuple(collectives))


def _wide(dtypes: Dtypes) -> str:
    return "fp32" if dtypes.weight == "fp32" else "bf16"


def _matmul(
    name: str, layers: int, inner: float, outer: float, dtypes: Dtypes, *, quantised: bool = True
) -> Operator:
    parameters = layers * inner * outer
    return Operator(
        name,
        stored_parameters=parameters,
        read_parameters=parameters,
        weight_dtype=dtypes.weight if quantised else _wide(dtypes),
        quantised=quantised,
        flops_per_token=2.0 * parameters,
        activation_bytes_per_token=layers * (inner + outer) * HIDDEN_BYTES,
        kernels=layers,
        inner=round(inner),
        outer=round(outer),
        layers=layers,
    )


def _ends(model: Model, parallelism: Parallelism, dtypes: Dtypes) -> Iterator[Operator]:
    hidden, vocabulary = model.hidden_size, model.vocabulary_size
    table = vocabulary * hidden / parallelism.tensor
    shares_head = model.tied_embeddings or "output_head" in model.borrowed
    yield Operator(
        "embedding",
        stored_parameters=0.0 if "embedding" in model.borrowed else table,
        weight_dtype=_wide(dtypes),
        activation_bytes_per_token=2 * hidden * HIDDEN_BYTES,
        kernels=1,
    )
    yield Operator(
        "output_head",
        scope="sampled",
        stored_parameters=0.0 if shares_head else table,
        read_parameters=table,
        weight_dtype=_wide(dtypes),
        flops_per_token=2.0 * table,
        activation_bytes_per_token=(hidden + vocabulary / parallelism.tensor) * HIDDEN_BYTES,
        kernels=1,
        inner=hidden,
        outer=round(vocabulary / parallelism.tensor),
    )
    yield Operator(
        "sampler",
        scope="sampled",
        activation_bytes_per_token=vocabulary * SAMPLER_BYTES_PER_LOGIT,
        kernels=4,
    )


def _projections(model: Model, parallelism: Parallelism, dtypes: Dtypes) -> Iterator[Operator]:
    for each in model.projections:
        outer = each.outputs / parallelism.tensor if each.split else each.outputs
        yield _matmul(each.name, 1, each.inputs, outer, dtypes)


def _kv_heads(attention: Attention, parallelism: Parallelism) -> float:
    """Return the KV heads of one device: heads are split over devices, then repeated, never cut."""
    return max(attention.kv_heads / parallelism.tensor, 1.0)


def _attention_operators(
    model: Model, run: LayerRun, parallelism: Parallelism, dtypes: Dtypes, quantised: bool
) -> Iterator[Operator]:
    attention, hidden, layers = run.attention, model.hidden_size, run.count
    heads = attention.query_heads / parallelism.tensor
    key, value = attention.head_dim, attention.value_head_dim

    def matmul(name: str, inner: float, outer: float) -> Operator:
        return _matmul(f"attention.{name}", layers, inner, outer, dtypes, quantised=quantised)

    mixed = heads * (key + value)
    output = heads * value
    if attention.kind == "mla":
        latent, rope = attention.kv_lora_rank or 0, attention.qk_rope_head_dim or 0
        rank, nope = attention.q_lora_rank, attention.qk_nope_head_dim or 0
        yield matmul("down", hidden, (rank or 0) + latent + rope)
        yield matmul("query", rank or hidden, heads * key)
        yield matmul("key_value_up", latent, heads * (nope + value))
    elif attention.kind == "linear":
        output = max(attention.kv_heads / parallelism.tensor, 1.0) * value
        gate = output if attention.output_gate else 0.0
        yield matmul("query_key_value", hidden, 2 * heads * key + output + gate)
        yield Operator(STATE_UPDATE, flops_per_token=layers * 6.0 * output * key, kernels=layers)
    else:
        kv_heads = _kv_heads(attention, parallelism)
        gate = output if attention.output_gate else 0.0
        yield matmul("query_key_value", hidden, heads * key + kv_heads * (key + value) + gate)
    yield matmul("output", output, hidden)
    # Two norms, half of whose traffic stays in the last-level cache, and the rotary embedding with
    # the write of the KV cache. Attention itself is two kernels: parts of the context, then merge.
    yield Operator(
        "attention.elementwise",
        activation_bytes_per_token=layers * (4.0 * hidden + 2.0 * mixed) * HIDDEN_BYTES,
        kernels=layers * 5,
    )


def _ffn_operators(
    model: Model, run: LayerRun, parallelism: Parallelism, dtypes: Dtypes
) -> Iterator[Operator]:
    ffn, hidden, layers = run.ffn, model.hidden_size, run.count
    width = ffn.intermediate_size if ffn.kind == "dense" else _shared_width(ffn)
    if width:
        inner = width / parallelism.tensor
        yield _matmul("ffn.gate_up", layers, hidden, 2 * inner, dtypes)
        yield Operator(
            "ffn.activation",
            activation_bytes_per_token=layers * 3.0 * inner * HIDDEN_BYTES,
            kernels=layers,
        )
        yield _matmul("ffn.down", layers, inner, hidden, dtypes)
    if ffn.kind == "moe":
        yield _matmul("moe.router", layers, hidden, ffn.experts, dtypes, quantised=False)
        yield _experts(model, run, parallelism, dtypes)


def _shared_width(ffn: Ffn) -> int:
    return ffn.shared_experts * ffn.shared_intermediate_size


def _expert_load(ffn: Ffn, parallelism: Parallelism) -> ExpertLoad | None:
    plan = parallelism.experts
    if plan.skew is None and plan.redundant is None and not plan.scattered:
        return None
    skew = PUBLISHED_SKEW if plan.skew is None else plan.skew
    groups = parallelism.expert
    return ExpertLoad(ffn.experts, ffn.active_experts, groups, skew, plan.redundant)


def _experts(model: Model, run: LayerRun, parallelism: Parallelism, dtypes: Dtypes) -> Operator:
    ffn, hidden, layers = run.ffn, model.hidden_size, run.count
    devices = parallelism.expert_devices
    expert = layers * ffn.expert_parameters(hidden) / devices
    held = ffn.experts + (parallelism.experts.redundant or 0)
    # Per choice: the hidden vector in, out and summed; the inner ones written, gated and read.
    traffic = 3.0 * hidden + 6.0 * ffn.intermediate_size
    return Operator(
        "moe.experts",
        scope="stage",
        stored_parameters=held * expert,
        read_parameters=held * expert,
        weight_dtype=dtypes.weight,
        quantised=True,
        flops_per_token=2.0 * ffn.active_experts * expert,
        activation_bytes_per_token=layers * ffn.active_experts * traffic / devices * HIDDEN_BYTES,
        kernels=layers * 6,  # top-k, alignment, two grouped products, gate, weighted sum
        inner=hidden,
        outer=ffn.intermediate_size,
        layers=layers,
        experts=held,
        active_experts=ffn.active_experts,
        expert_groups=parallelism.expert,
        expert_slices=devices // parallelism.expert,
        load=_expert_load(ffn, parallelism),
        scattered=parallelism.experts.scattered and parallelism.data > 1,
    )


def _attention_work(run: LayerRun, parallelism: Parallelism, dtypes: Dtypes) -> AttentionWork:
    attention, layers = run.attention, run.count
    heads = attention.query_heads / parallelism.tensor
    state = (attention.state_bytes_per_sequence or 0) / parallelism.tensor
    elements = attention.kv_elements_per_token()
    pair = 2.0 * heads * (attention.head_dim + attention.value_head_dim)
    decode = pair / attention.compression_ratio
    if attention.kind == "mla":
        # Decoding absorbs the up-projections and works on the latent vector itself, which every
        # tensor device holds in full; prefill expands keys and values first.
        latent = attention.kv_lora_rank or 0
        decode = 2.0 * heads * (2 * latent + (attention.qk_rope_head_dim or 0))
    elif attention.kind == "linear":
        pair = decode = 0.0
    else:
        elements *= _kv_heads(attention, parallelism) / attention.kv_heads
    return AttentionWork(
        kind=attention.kind,
        layers=layers,
        query_heads=heads,
        kv_heads=_kv_heads(attention, parallelism),
        head_dim=attention.head_dim,
        kv_bytes_per_token=layers * elements * dtypes.kv_bytes,
        decode_flops_per_token=layers * decode,
        prefill_flops_per_pair=layers * pair / attention.compression_ratio,
        window_tokens=attention.window_tokens,
        state_bytes_per_sequence=layers * state,
    )


def _collectives(
    model: Model, run: LayerRun, parallelism: Parallelism, dtypes: Dtypes
) -> Iterator[Collective]:
    """Yield what the layers of a run exchange.

    Tensor parallelism reduces the hidden vector after attention and after the FFN. Experts of one
    data group see all its tokens already, so their outputs join that reduction; with several data
    groups, tokens travel to their experts and back.
    """
    layers, tensor, data = run.count, parallelism.tensor, parallelism.data
    hidden_bytes = model.hidden_size * HIDDEN_BYTES
    exchange = run.ffn.kind == "moe" and data > 1
    if tensor > 1:
        reductions = layers * (1 if exchange and not _shared_width(run.ffn) else 2)
        yield Collective(
            "tensor.all_reduce", "all_reduce", "group", tensor, reductions, hidden_bytes
        )
    if exchange and parallelism.experts.scattered:
        yield from _exchanges(model, run, parallelism, dtypes)
    elif exchange:
        devices = parallelism.expert_devices
        leaving = (devices - 1) / devices * hidden_bytes
        yield Collective("experts.gather", "gather", "stage", devices, 2 * layers, leaving)


def _exchanges(
    model: Model, run: LayerRun, parallelism: Parallelism, dtypes: Dtypes
) -> Iterator[ExpertExchange]:
    """Yield dispatch and combination: vectors travel as they are multiplied, and back in 16 bits.

    Dispatch is in 8 bits at least, as DeepEP's kernels have it.
    """
    devices = parallelism.expert_devices
    choices = run.ffn.active_experts * devices // parallelism.expert
    narrow = (dtypes.activation or dtypes.weight) in ("fp8", "fp4")
    for name, dtype in (("dispatch", "fp8" if narrow else "bf16"), ("combine", "bf16")):
        vector = model.hidden_size * DTYPE_BYTES[dtype] + (
            model.hidden_size * FP8_SCALE_BYTES if dtype == "fp8" else 0.0
        )
        yield ExpertExchange(
            f"experts.{name}",
            "exchange",
            "stage",
            devices,
            run.count,
            min(choices, devices - 1) / devices * vector,
            mode=parallelism.experts.exchange,
            choices=choices,
            dtype=dtype,
            load=_expert_load(run.ffn, parallelism),
        )
