"""The time of one engine step: the operators of the model, on the curves of the chip.

::

    step_s = fixed_s + linear_s[n] + decode_s · C + decode_seq_s · b + prefill_s · A

n: tokens of the step; b: decoding sequences, C: their context tokens, summed; A: prefill attention
work, Σ chunk · (prior + chunk/2). n, b, C and A are those of the whole replica.

Operators are timed at some hundred token counts (`token_grid`), and linearly in between. What is
taken as given:

- *Output head*: it works on sampled positions only, the decoding sequences and the prompts that
  end in the step. Of n tokens `min(n, maximum_sequences)` are taken as sampled (with drafts, times
  the tokens of a sequence, all of which are verified): exact for decode steps, and at most so many
  positions too many for a step of prefill.
- *Data and pipeline parallelism*: the largest part of a round sets the pace; `spread` says how
  large it is. Context and attention work enter by their sums and are shared evenly; what the
  fullest group has more of context is in the table, at the typical context. The longest stage is
  the mean one times `slowest_stage`.
- *Experts*: the busiest device sets the pace; `placement` says how busy it is.
- *Overlap* of two half batches hides the exchange of tokens behind the rest of the step, attention
  over a typical context included, or the reverse; each half has kernels of its own.
- *Sliding windows*: a window is charged in full per decoding sequence and per prefill token when
  the typical context is at least as long, and as full attention when it is shorter. Exact on
  either side, except for sequences on the other side of the window than the typical one.
- *Prefill* reads no cached context: that traffic hides behind the arithmetic for chunks beyond some
  two hundred tokens.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from planner.curves.attention import (
    USUAL_CHUNK,
    USUAL_SEQUENCES,
    AttentionTime,
    TypicalLoad,
    attention_time,
    query_conversions,
)
from planner.curves.curve import Tier
from planner.curves.device import Device, Timed, curves_for, lowest_tier
from planner.curves.efficiency import DEFAULT, Efficiency, assumptions
from planner.curves.engines import EngineOverhead, shipped_engines
from planner.curves.expert_load import PUBLISHED_SKEW, PUBLISHED_SOURCE
from planner.curves.layout import TYPICAL_CONTEXT_TOKENS, Dtypes, Parallelism
from planner.curves.library import CurveSet
from planner.curves.operators import ENDS, EXCHANGES, Inventory, Operator, Scope, inventory
from planner.curves.provenance import Provenance
from planner.curves.spread import Spread, slowest_stage

if TYPE_CHECKING:
    from planner.catalog import Chip, Model, Node

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Part:
    """One operator's share of a step."""

    name: str
    kind: str
    """matrix products, experts, element-wise, communication or attention."""
    seconds: Array
    """At each of `DeviceTime.tokens`, all layers together."""
    arithmetic: Array
    """Share that arithmetic has in arithmetic plus memory traffic, both at the chip's peak."""
    tier: Tier
    basis: str


@dataclass(frozen=True)
class DeviceTime:
    """The time of a step on the devices alone, before the engine adds its own."""

    tokens: Array
    """Grid of the tokens of a step."""
    token_budget: int
    parts: tuple[Part, ...]
    attention: AttentionTime
    groups: int
    """Parts of a round: each sees its share of sequences and context."""
    data: int
    """Data-parallel groups, each with host code of its own."""
    compute_s: Array
    """Arithmetic of the parts at the chip's peak, on the grid."""
    memory_s: Array
    """Their memory traffic at the chip's peak, on the grid."""
    tier: str
    notes: tuple[Provenance, ...]
    spread: Spread
    hidden_s: float | None = None
    """Attention per token behind which the exchange of tokens with experts hides as well; None:
    nothing overlaps."""


@dataclass(frozen=True)
class StepTime:
    """Coefficients of the step time of one replica, in the form of the module's docstring."""

    fixed_s: float
    """Host code of the engine that the devices wait for."""
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
    """measured, fitted or estimated: the weakest of what most of the time stands on."""
    notes: tuple[Provenance, ...]
    """What the figures stand on."""
    device: DeviceTime
    host: EngineOverhead

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
    sequence_tokens: float = 1.0,
    engine: str = "vllm",
    typical_context_tokens: float = TYPICAL_CONTEXT_TOKENS,
    efficiency: Efficiency = DEFAULT,
    curves: Sequence[CurveSet] | None = None,
    overhead: EngineOverhead | None = None,
) -> StepTime:
    """Return the step time of one replica of `model`.

    Args:
        model: its shape gives the operators.
        chip: its peaks and bandwidths.
        node: its number of devices bounds the scale-up fabric of chips that share a baseboard.
        parallelism: of one replica.
        dtypes: of weights, arithmetic and cache.
        token_budget: most tokens of one step of the replica; the tables have one entry more.
        maximum_sequences: most sequences of one step.
        sequence_tokens: tokens of a decoding sequence in a step of most tokens: with drafts, those
            that are verified and its own.
        engine: whose kernels and host overhead apply: vllm, sglang, tensorrt-llm or generic.
        typical_context_tokens: context of a typical sequence, which decides how sliding windows are
            charged.
        efficiency: shares of the peaks and fixed costs where there is no curve.
        curves: of the chip, then those it borrows from; None: those shipped.
        overhead: of the engine; None: as shipped.

    Raises:
        CatalogError: the chip lacks a figure that is needed: the peak of the activation dtype, or
            the bandwidth of the fabric that the devices of a replica talk over; or the engine is
            unknown.

    """
    host = shipped_engines().find(engine, chip.name) if overhead is None else overhead
    device = Device(
        model,
        chip,
        node,
        dtypes,
        engine,
        curves_for(chip) if curves is None else curves,
        efficiency,
    )
    return with_overhead(
        device_time(
            inventory(model, parallelism, dtypes),
            device,
            parallelism,
            dtypes,
            token_budget=token_budget,
            maximum_sequences=maximum_sequences,
            sequence_tokens=sequence_tokens,
            typical_context_tokens=typical_context_tokens,
        ),
        host,
    )


def device_time(
    work: Inventory,
    device: Device,
    parallelism: Parallelism,
    dtypes: Dtypes,
    *,
    token_budget: int,
    maximum_sequences: int,
    sequence_tokens: float = 1.0,
    typical_context_tokens: float = TYPICAL_CONTEXT_TOKENS,
) -> DeviceTime:
    """Return the time of a step on the devices; the arguments are those of `step_time`."""
    tokens = token_grid(token_budget)
    spread = Spread.of(
        parallelism,
        token_budget,
        maximum_sequences,
        typical_context_tokens,
        device.engine,
        sequence_tokens,
    )
    groups, halves = spread.parts, 2.0 if parallelism.experts.overlap else 1.0
    share: dict[Scope, Array] = {
        "group": spread.group(tokens),
        "stage": spread.stage(tokens),
        "sampled": spread.sampled(tokens),
    }
    longest = slowest_stage(work.layers, parallelism.pipeline)
    compute, memory = np.zeros_like(tokens), np.zeros_like(tokens)
    parts = []
    for operator in (*work.operators, *query_conversions(work.attentions, device, dtypes)):
        each = share[operator.scope] / halves
        repeats = spread.pace * halves * (1.0 if operator.name in ENDS else longest)
        arithmetic, traffic = device.roofline.ideal(operator, each)
        if not device.is_in_attention(operator):
            timed = device.operator(operator, each)
            ratio = arithmetic / np.maximum(arithmetic + traffic, np.finfo(np.float64).tiny)
            parts.append(_part(operator.name, kind_of(operator), timed, repeats, ratio))
        compute += repeats * arithmetic
        memory += repeats * traffic
    for collective in work.collectives:
        timed = device.collective(collective, share[collective.scope] / halves)
        none = np.zeros_like(tokens)
        parts.append(_part(collective.name, "communication", timed, spread.pace * halves, none))
    load = TypicalLoad(
        typical_context_tokens,
        sequences=max(1.0, min(maximum_sequences / groups, USUAL_SEQUENCES)),
        chunk_tokens=max(1.0, min(token_budget / groups, USUAL_CHUNK)),
    )
    attention = attention_time(work.attentions, device, dtypes, load).times(longest)
    by_token = attention.token_s * spread.pace * share["group"]
    ahead = attention.decode_s * typical_context_tokens * spread.longest_context(tokens)
    at_every_step = attention.floor_s * spread.pace * halves + by_token + ahead
    ratio = by_token / np.maximum(at_every_step, np.finfo(np.float64).tiny)
    parts.append(
        Part("attention", "attention", at_every_step, ratio, attention.tier, attention.basis)
    )
    compute += attention.token_compute_s * spread.pace * share["group"]
    least = min(attention.decode_s, attention.prefill_s / 2.0)
    return DeviceTime(
        tokens=tokens,
        token_budget=token_budget,
        parts=tuple(parts),
        attention=attention,
        groups=groups,
        data=parallelism.data,
        compute_s=compute,
        memory_s=memory,
        tier=_tier(parts, load.sequences * load.context_tokens * attention.decode_s),
        notes=device.roofline.figures()
        + device.notes()
        + _efficiencies(parts, device)
        + tuple(_loads(work, tokens)),
        spread=spread,
        hidden_s=least * typical_context_tokens / groups if parallelism.experts.overlap else None,
    )


def with_overhead(device: DeviceTime, host: EngineOverhead) -> StepTime:
    """Return the step time of an engine: what it attains of the devices' speed, and its own time.

    See `part_seconds` for how the rates apply to an operator.
    """
    total = sum(attained_seconds(device, host), np.zeros_like(device.tokens))
    # However well an engine overlaps its kernels, no memory is faster than its data sheet.
    linear = rising(np.maximum(total, device.memory_s))
    attention = device.attention
    return StepTime(
        fixed_s=host.step_s,
        linear_s=_table(device, linear),
        compute_s=_table(device, np.minimum(device.compute_s, linear)),
        memory_s=_table(device, np.minimum(device.memory_s, linear)),
        decode_s=max(attention.decode_s / host.bandwidth_rate, attention.decode_memory_s)
        / device.groups,
        decode_seq_s=host.sequence_s / device.data
        # a decoded token is in the table as well, where it was charged as a prefilled one
        + max(
            attention.decode_seq_s / host.bandwidth_rate - attention.token_s / host.compute_rate,
            0.0,
        )
        / device.groups,
        prefill_s=attention.prefill_s / host.compute_rate / device.groups,
        decode_memory_s=attention.decode_memory_s / device.groups,
        prefill_compute_s=attention.prefill_compute_s / device.groups,
        tier=device.tier,
        notes=device.notes + host.notes(),
        device=device,
        host=host,
    )


def attained_seconds(device: DeviceTime, host: EngineOverhead) -> list[Array]:
    """Return the seconds of every part as an engine attains them, on the grid.

    Where two half batches overlap, the exchange with experts counts with what the rest of the step
    does not hide.
    """
    seconds = [part_seconds(part, host) for part in device.parts]
    if device.hidden_s is None:
        return seconds
    none = np.zeros_like(device.tokens)
    travelling = [part.name in EXCHANGES for part in device.parts]
    travel = sum((s for s, away in zip(seconds, travelling, strict=True) if away), none)
    stay = sum((s for s, away in zip(seconds, travelling, strict=True) if not away), none)
    hidden = np.minimum(travel, stay + device.hidden_s * device.tokens)
    shown = 1.0 - hidden / np.maximum(travel, np.finfo(np.float64).tiny)
    return [s * shown if away else s for s, away in zip(seconds, travelling, strict=True)]


def rising(values: Array) -> Array:
    """Return the rising sequence closest to `values` in squares (pooling of adjacent violators).

    Measured kernels are not monotone in the number of tokens, by a few percent and sometimes more,
    since libraries choose among kernels imperfectly; a step with one more token is never quicker.

    >>> [float(value) for value in rising(np.array([1.0, 4.0, 2.0, 5.0]))]
    [1.0, 3.0, 3.0, 5.0]
    """
    levels: list[tuple[float, int]] = []
    for value in values.tolist():
        level, count = value, 1
        while levels and levels[-1][0] > level:
            other, weight = levels.pop()
            level = (other * weight + level * count) / (weight + count)
            count += weight
        levels.append((level, count))
    return np.repeat([level for level, _ in levels], [count for _, count in levels])


def token_grid(token_budget: int) -> Array:
    """Return the numbers of tokens at which operators are timed, 1 to `token_budget`.

    Every number up to 32, then steps of about 6%, besides the multiples of 64 up to 512, where
    tiles and kernels change.

    >>> [int(n) for n in token_grid(40)[-3:]]
    [34, 37, 40]
    """
    fine = np.arange(1, min(token_budget, 32) + 1)
    count = max(2, int(np.log(max(token_budget, 33) / 32) / np.log(1.06)) + 1)
    coarse = np.geomspace(32, max(token_budget, 32), count)
    edges = np.concatenate([np.arange(64, 513, 64), np.arange(64, 513, 64) + 1])
    every = np.unique(np.concatenate([fine, np.round(coarse), edges]))
    grid: Array = every[every <= token_budget].astype(np.float64)
    return grid


def kind_of(operator: Operator) -> str:
    """Return the kind of work that an operator is, for people."""
    if operator.experts:
        return "experts"
    return "matrix products" if operator.outer else "element-wise"


def part_seconds(part: Part, host: EngineOverhead) -> Array:
    """Return the seconds of a part as an engine attains them, on the grid.

    A part is divided by the rate of what bounds it, and near the ridge of the roofline, where
    arithmetic and traffic take equally long, by a mean of both: they weigh as their squares.
    Launches count as traffic, for what an engine saves on one it mostly saves on the other.
    """
    if part.kind == "communication":
        return part.seconds / host.link_rate
    compute_rate = host.compute_rate
    if part.kind == "experts":
        compute_rate = compute_rate * host.experts_rate
    arithmetic, traffic = part.arithmetic**2, (1.0 - part.arithmetic) ** 2
    attained: Array = (
        part.seconds
        * (arithmetic / compute_rate + traffic / host.bandwidth_rate)
        / (arithmetic + traffic)
    )
    return attained


def _part(name: str, kind: str, timed: Timed, repeats: float, arithmetic: Array) -> Part:
    return Part(name, kind, repeats * timed.seconds, arithmetic, timed.tier, timed.basis)


def _loads(work: Inventory, tokens: Array) -> Iterator[Provenance]:
    """Yield how busy the busiest device of each mixture is, where that is not the kernels' own."""
    for operator in work.operators:
        load = operator.load
        if load is None:
            continue
        busiest = float(load.factor(tokens[-1:])[0])
        if load.skew == PUBLISHED_SKEW:
            source, date, tier = PUBLISHED_SOURCE, "2025-06", "estimated"
        else:
            source, date, tier = "the scenario", "", "estimated"
        balancer = "no balancer" if load.redundant is None else f"{load.redundant} copies"
        yield Provenance("experts.skew", load.skew, "std/mean", source, date, tier)
        what = f"largest steps over {load.groups} devices, {balancer}"
        yield Provenance("experts.busiest", busiest, "of the mean", what, "", tier)
        return


def _efficiencies(parts: Iterable[Part], device: Device) -> tuple[Provenance, ...]:
    """Return the efficiencies of the roofline, if any part stands on it."""
    if all(part.tier != "estimated" for part in parts):
        return ()
    return assumptions(device.roofline.efficiency)


def _tier(parts: Sequence[Part], reading_s: float) -> Tier:
    """Return the weakest tier of what makes up nine tenths of a middling decode step.

    Args:
        parts: with their times on the grid.
        reading_s: what attention takes to read the contexts of such a step.
    """
    middle = [float(part.seconds[len(part.seconds) // 2]) for part in parts]
    weights = [
        seconds + (reading_s if part.kind == "attention" else 0.0)
        for part, seconds in zip(parts, middle, strict=True)
    ]
    order = sorted(range(len(parts)), key=lambda at: -weights[at])
    covered, tiers = 0.0, []
    for at in order:
        if covered < 0.9 * sum(weights):
            tiers.append(parts[at].tier)
        covered += weights[at]
    return lowest_tier(tiers)


def _table(device: DeviceTime, values: Array) -> Array:
    """Return values on the grid as a read-only table over 0 … token budget, 0 at 0."""
    table = np.interp(np.arange(device.token_budget + 1), device.tokens, values)
    table[0] = 0.0
    table.flags.writeable = False
    return table
