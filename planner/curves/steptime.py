"""The time of one engine step, from a roofline over the operators (tier `estimated`).

::

    step_s = fixed_s + linear_s[n] + decode_s · C + decode_seq_s · b + prefill_s · A

n: tokens of the step; b: decoding sequences, C: their context tokens, summed; A: prefill attention
work, Σ chunk · (prior + chunk/2). n, b, C and A are those of the whole replica.

What the roofline takes as given:

- *Output head*: it works on sampled positions only, the decoding sequences and the prompts that
  end in the step. Of n tokens `min(n, maximum_sequences)` are taken as sampled: exact for decode
  steps, and at most `maximum_sequences` positions too many for a step of prefill.
- *Data parallelism*: tokens, sequences and context are spread evenly over the groups.
- *Pipeline parallelism*: the batch is cut into as many micro-batches as there are stages, and the
  pipeline is full. One step, in which every sequence advances, then takes the time of the whole
  stack of layers at n / stages tokens. Throughput is right at load; the latency of a lone prompt
  is too low, as its chunk is treated as if it were cut too.
- *Sliding windows*: a window is charged in full per decoding sequence and per prefill token when
  the typical context is at least as long, and as full attention when it is shorter. Exact on
  either side, except for sequences on the other side of the window than the typical one.
- *Prefill* reads no cached context: that traffic hides behind the arithmetic for chunks beyond some
  two hundred tokens.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from planner.curves.collectives import Fabric
from planner.curves.efficiency import (
    DEFAULT,
    Efficiency,
    Provenance,
    assumptions,
    engine_overhead,
)
from planner.curves.layout import (
    DTYPE_BYTES,
    TYPICAL_CONTEXT_TOKENS,
    Dtypes,
    Parallelism,
    sixteen_bit,
)
from planner.curves.operators import AttentionWork, Inventory, Operator, Scope, inventory

if TYPE_CHECKING:
    from planner.catalog import Chip, Model, Node

Array = NDArray[np.float64]


@dataclass(frozen=True)
class StepTime:
    """Coefficients of the step time of one replica, in the form of the module's docstring."""

    fixed_s: float
    """Host code of the engine, and kernel launches."""
    linear_s: Array
    """Everything that depends on the number of tokens only; entry n for n = 0 … token budget,
    entry 0 is 0."""
    compute_s: Array
    """The arithmetic in `linear_s`, had it run at the chip's peak."""
    memory_s: Array
    """The memory traffic in `linear_s`, had it run at the chip's peak."""
    decode_s: float
    """Per context token of the decoding sequences."""
    decode_seq_s: float
    """Per decoding sequence."""
    prefill_s: float
    """Per token² of prefill attention work."""
    decode_memory_s: float
    """The memory traffic in `decode_s`, had it run at the chip's peak."""
    prefill_compute_s: float
    """The arithmetic in `prefill_s`, had it run at the chip's peak."""
    tier: str
    """measured, fitted or estimated."""
    notes: tuple[Provenance, ...]
    """What the figures stand on."""

    def step_s(
        self, tokens: int, sequences: int = 0, context: float = 0.0, work: float = 0.0
    ) -> float:
        """Return the time of one step.

        Args:
            tokens: n, at most the token budget.
            sequences: b, decoding sequences.
            context: C, context tokens of these, summed.
            work: A, Σ chunk · (prior + chunk/2), tokens².

        """
        return float(
            self.fixed_s
            + self.linear_s[tokens]
            + self.decode_s * context
            + self.decode_seq_s * sequences
            + self.prefill_s * work
        )


def step_time(
    model: Model,
    chip: Chip,
    node: Node,
    parallelism: Parallelism,
    dtypes: Dtypes,
    *,
    token_budget: int,
    maximum_sequences: int = 256,
    engine: str = "vllm",
    typical_context_tokens: float = TYPICAL_CONTEXT_TOKENS,
    efficiency: Efficiency = DEFAULT,
) -> StepTime:
    """Return the step time of one replica of `model`, estimated from data sheets.

    Args:
        model: its shape gives the operators.
        chip: its peaks and bandwidths.
        node: its number of devices bounds the scale-up fabric of chips that share a baseboard.
        parallelism: of one replica.
        dtypes: of weights, arithmetic and cache.
        token_budget: most tokens of one step of the replica; the tables have one entry more.
        maximum_sequences: most sequences of one step.
        engine: whose host overhead applies: vllm, sglang, tensorrt-llm or generic.
        typical_context_tokens: context of a typical sequence, which decides how sliding windows are
            charged.
        efficiency: shares of the peaks and fixed costs.

    Raises:
        CatalogError: the chip lacks a figure that is needed: the peak of the activation dtype, or
            the bandwidth of the fabric that the devices of a replica talk over; or the engine is
            unknown.

    Source: the roofline model (Williams, Waterman and Patterson 2009) per operator, with a smooth
    maximum.

    """
    work = inventory(model, parallelism, dtypes)
    machine = _Machine(chip, dtypes, efficiency)
    tokens = np.arange(token_budget + 1, dtype=np.float64)
    groups = float(parallelism.data * parallelism.pipeline)
    share: dict[Scope, Array] = {
        "group": tokens / groups,
        "stage": tokens / parallelism.pipeline,
        "sampled": np.minimum(tokens, maximum_sequences) / groups,
    }
    linear, compute, memory = (np.zeros(token_budget + 1) for _ in range(3))
    for operator in work.operators:
        duration, arithmetic, traffic = machine.operator(operator, share[operator.scope])
        linear += duration
        compute += arithmetic
        memory += traffic
    fabric = Fabric(chip, node, efficiency)
    for collective in work.collectives:
        linear += fabric.time(collective, share[collective.scope])
    attention = _attention(work, machine, typical_context_tokens)
    linear += attention.window_token_s * share["group"]
    compute += attention.window_token_ideal_s * share["group"]
    for table in (linear, compute, memory):
        table[0] = 0.0
        table.flags.writeable = False
    host = engine_overhead(engine)
    return StepTime(
        fixed_s=host.step_s + efficiency.kernel_s * sum(op.kernels for op in work.operators),
        linear_s=linear,
        compute_s=compute,
        memory_s=memory,
        decode_s=attention.decode_s / groups,
        decode_seq_s=host.sequence_s / parallelism.data + attention.decode_seq_s / groups,
        prefill_s=attention.prefill_s / groups,
        decode_memory_s=attention.decode_memory_s / groups,
        prefill_compute_s=attention.prefill_compute_s / groups,
        tier="estimated",
        notes=machine.figures() + assumptions(efficiency, engine),
    )


class _Machine:
    """One device: seconds for arithmetic and traffic."""

    def __init__(self, chip: Chip, dtypes: Dtypes, efficiency: Efficiency) -> None:
        self.efficiency = efficiency
        self.bandwidth = float(chip.memory_bandwidth)
        self.wide = sixteen_bit(chip)
        self.narrow = dtypes.arithmetic(chip)
        self.peak = {dtype: float(chip.peak_flops[dtype]) for dtype in (self.wide, self.narrow)}
        self.chip = chip

    def figures(self) -> tuple[Provenance, ...]:
        """Return the data-sheet figures used."""
        used = {f"peak_flops.{dtype}": self.chip.peak_flops[dtype] for dtype in self.peak}
        used["memory_bandwidth"] = self.chip.memory_bandwidth
        return tuple(
            Provenance(
                f"chip.{self.chip.name}.{name}",
                figure.value,
                figure.unit,
                figure.source,
                figure.date,
                figure.tier,
            )
            for name, figure in used.items()
        )

    def operator(self, operator: Operator, share: Array) -> tuple[Array, Array, Array]:
        """Return an operator's expected time, its arithmetic at peak and its traffic at peak."""
        efficiency = self.efficiency
        dtype = self.narrow if operator.quantised else self.wide
        packed = DTYPE_BYTES[operator.weight_dtype] < DTYPE_BYTES[dtype]
        # A group without a token still takes part in the step, with a dummy one.
        tokens = np.maximum(share, 1.0)
        weights = operator.weight_reads(tokens)
        traffic = weights * DTYPE_BYTES[operator.weight_dtype]
        traffic += operator.activation_bytes_per_token * tokens
        arithmetic = operator.flops_per_token * share
        # The waste of the last tile occurs once per matrix, so once per expert hit.
        padded = operator.flops_per_token * operator.busiest_tokens(tokens)
        padded += 2.0 * weights * efficiency.tile_tokens
        rate = self.peak[dtype] * efficiency.compute_rate(dtype)
        if packed:
            rate *= efficiency.unpack_compute_rate
        unpack = efficiency.unpack_bytes * weights if packed else 0.0
        duration = self.smooth_maximum(
            padded / rate, (traffic + unpack) / (self.bandwidth * efficiency.bandwidth_rate)
        )
        return duration, arithmetic / self.peak[dtype], traffic / self.bandwidth

    def smooth_maximum(self, x: Array, y: Array) -> Array:
        """Return (xᵖ + yᵖ)^(1/p), scaled so that powers of small times do not underflow."""
        p = self.efficiency.sharpness
        larger = np.maximum(np.maximum(x, y), np.finfo(np.float64).tiny)
        total: Array = larger * ((x / larger) ** p + (y / larger) ** p) ** (1.0 / p)
        return total


@dataclass(frozen=True)
class _AttentionTime:
    decode_s: float = 0.0
    decode_seq_s: float = 0.0
    prefill_s: float = 0.0
    decode_memory_s: float = 0.0
    prefill_compute_s: float = 0.0
    window_token_s: float = 0.0
    window_token_ideal_s: float = 0.0


def _attention(work: Inventory, machine: _Machine, typical_context_tokens: float) -> _AttentionTime:
    """Sum the attention over context, by what it is proportional to."""
    decode_s = decode_seq_s = prefill_s = window_s = window_ideal_s = 0.0
    decode_memory_s = prefill_compute_s = 0.0
    peak = machine.peak[machine.wide]
    for attention in work.attentions:
        token_s, pair_s, state_s = _attention_seconds(attention, machine)
        decode_seq_s += state_s
        window = attention.window_tokens
        if window is None or typical_context_tokens < window:
            decode_s += token_s
            prefill_s += pair_s
            decode_memory_s += attention.kv_bytes_per_token / machine.bandwidth
            prefill_compute_s += attention.prefill_flops_per_pair / peak
        else:
            decode_seq_s += token_s * window
            window_s += pair_s * window
            window_ideal_s += attention.prefill_flops_per_pair * window / peak
    return _AttentionTime(
        decode_s,
        decode_seq_s,
        prefill_s,
        decode_memory_s,
        prefill_compute_s,
        window_s,
        window_ideal_s,
    )


def _attention_seconds(attention: AttentionWork, machine: _Machine) -> tuple[float, float, float]:
    """Return seconds per decode context token, per prefill pair, and per sequence for its state."""
    efficiency = machine.efficiency
    rate = machine.peak[machine.wide] * efficiency.attention_compute_rate
    bandwidth = machine.bandwidth * efficiency.attention_bandwidth_rate
    token = machine.smooth_maximum(
        np.array([attention.decode_flops_per_token / rate]),
        np.array([attention.kv_bytes_per_token / bandwidth]),
    )
    state_s = 2.0 * attention.state_bytes_per_sequence / bandwidth
    return float(token[0]), attention.prefill_flops_per_pair / rate, state_s
