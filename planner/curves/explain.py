"""Where the time of a step goes: operator by operator, and what each figure stands on.

Takes a `StepTime` apart again. Its seconds are those of the simulation, so the parts of a step add
up to the step; arithmetic and traffic are counted anew from the model, for the place of every
operator on the roofline (Williams, Waterman and Patterson 2009)::

    intensity = FLOP / byte        ridge = peak FLOP/s / peak byte/s

Left of the ridge memory sets the pace, right of it arithmetic.

An engine attains a share of the speed of separately measured kernels, which
`steptime.part_seconds` charges to each operator by what bounds it. Where `steptime.with_overhead`
then makes the whole rise with the number of tokens, all operators are scaled alike.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import nan
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from planner.curves.anatomy import (
    HOST,
    KINDS,
    OperatorTime,
    ReplicaAnatomy,
    StepAnatomy,
    StepLoad,
)
from planner.curves.curve import Curve
from planner.curves.device import Device, curves_for, lowest_tier
from planner.curves.efficiency import DEFAULT
from planner.curves.explain_curves import attention_curves, curve_uses
from planner.curves.layout import Dtypes, Parallelism
from planner.curves.library import CurveSet
from planner.curves.operators import AttentionWork, Collective, Inventory, Operator, inventory
from planner.curves.steptime import Part, StepTime, attained_seconds, device_time

if TYPE_CHECKING:
    from planner.catalog import Chip, Model, Node

Array = NDArray[np.float64]

_NO_CURVE: Final = ("roofline", "link figures")
"""Bases of parts that no curve serves."""


def explain_replica(
    time: StepTime,
    loads: Sequence[StepLoad],
    model: Model,
    chip: Chip,
    node: Node,
    parallelism: Parallelism,
    dtypes: Dtypes,
    *,
    maximum_sequences: int,
    engine: str,
    curves: Sequence[CurveSet] | None = None,
) -> ReplicaAnatomy:
    """Take steps of one replica apart.

    Args:
        time: of the replica, as simulated.
        loads: the steps; their tokens are within the token budget of `time`.
        model: of the replica.
        chip: of the replica.
        node: of the replica.
        parallelism: of the replica.
        dtypes: of weights, arithmetic and cache.
        maximum_sequences: most sequences of one step.
        engine: that `time` was made for.
        curves: that `time` was made with, in their order; None: those shipped.

    Raises:
        CatalogError: the chip lacks a figure that is needed.

    """
    library = curves_for(chip) if curves is None else curves
    device = Device(model, chip, node, dtypes, engine, library, DEFAULT)
    work = inventory(model, parallelism, dtypes)
    device_time(  # as for `time`: notes on the device which curves serve and where they end
        work,
        device,
        parallelism,
        dtypes,
        token_budget=time.device.token_budget,
        maximum_sequences=maximum_sequences,
    )
    replica = _Replica(time, work, device)
    groups = time.device.groups
    return ReplicaAnatomy(
        steps=tuple(replica.step(load) for load in loads),
        curves=curve_uses(device, work.attentions, loads, groups),
        ridges={
            dtype: peak / device.roofline.bandwidth for dtype, peak in device.roofline.peak.items()
        },
    )


# --- one step ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Counted:
    """What operators of one name do in a step, on one device."""

    flops: float = 0.0
    bytes: float = 0.0
    flops_peak: float = nan
    """Of the chip in their format [FLOP/s]; NaN: they move data between devices."""
    errors: tuple[float, ...] = ()


class _Replica:
    def __init__(self, time: StepTime, work: Inventory, device: Device) -> None:
        self._time = time
        self._work = work
        self._device = device
        self._attained = attained_seconds(time.device, time.host)

    def step(self, load: StepLoad) -> StepAnatomy:
        """Take one step apart."""
        time, host = self._time, self._time.host
        total_s = time.step_s(load.tokens, load.sequences, load.context_tokens, load.work)
        grid = [self._at(load, part.seconds) for part in time.device.parts]
        attained = [self._at(load, seconds) for seconds in self._attained]
        linear_s = float(time.linear_s[load.tokens])
        lift = linear_s / sum(attained)
        kernels_on, attained_on = self._context_s(load)
        by_name: dict[str, tuple[list[Part], float, float]] = {}
        for part, kernel_s, seconds in zip(time.device.parts, grid, attained, strict=True):
            parts, before_s, after_s = by_name.get(part.name, ([], 0.0, 0.0))
            if part.kind == "attention" and not parts:
                before_s, after_s = kernels_on, attained_on
            by_name[part.name] = ([*parts, part], before_s + kernel_s, after_s + lift * seconds)
        operators = [
            self._operator(parts, kernel_s, seconds, total_s, load)
            for parts, kernel_s, seconds in by_name.values()
        ]
        sequences_s = host.sequence_s / time.device.data * load.sequences
        kinds = {kind: sum(o.seconds for o in operators if o.kind == kind) for kind in KINDS}
        kinds[HOST] = time.fixed_s + sequences_s
        kernels_s = sum(grid) + kernels_on
        return StepAnatomy(
            load=load,
            total_s=total_s,
            kinds=kinds,
            operators=tuple(sorted(operators, key=lambda o: -o.seconds)),
            kernels_s=kernels_s,
            attained_s=sum(attained) + attained_on - kernels_s,
            raised_s=linear_s - sum(attained),
            host_step_s=time.fixed_s,
            host_sequences_s=sequences_s,
        )

    def _at(self, load: StepLoad, seconds: Array) -> float:
        return float(np.interp(load.tokens, self._time.device.tokens, seconds))

    def _context_s(self, load: StepLoad) -> tuple[float, float]:
        """Return the time of attention over context: of the kernels, and as the engine runs it."""
        time, attention = self._time, self._time.device.attention
        kernels_s = (
            attention.decode_s * load.context_tokens
            + max(attention.decode_seq_s - attention.token_s, 0.0) * load.sequences
            + attention.prefill_s * load.work
        ) / time.device.groups
        device_seq_s = time.decode_seq_s - time.host.sequence_s / time.device.data
        attained_s = (
            time.decode_s * load.context_tokens
            + device_seq_s * load.sequences
            + time.prefill_s * load.work
        )
        return kernels_s, attained_s

    def _operator(
        self, parts: list[Part], kernel_s: float, seconds: float, total_s: float, load: StepLoad
    ) -> OperatorTime:
        counted = self._counted(parts, load)
        bandwidth = self._device.roofline.bandwidth
        ridge = counted.flops_peak / bandwidth
        # With a NaN as peak, as for communication, neither comparison holds.
        arithmetic_s, traffic_s = counted.flops / counted.flops_peak, counted.bytes / bandwidth
        bound = "links" if np.isnan(ridge) else "memory"
        if arithmetic_s > traffic_s:
            bound = "compute"
        ideal_s = nan if np.isnan(ridge) else max(arithmetic_s, traffic_s)
        return OperatorTime(
            name=parts[0].name,
            kind=parts[0].kind,
            seconds=seconds,
            share=seconds / total_s,
            kernel_s=kernel_s,
            flops=counted.flops,
            bytes=counted.bytes,
            intensity=counted.flops / counted.bytes if counted.bytes else nan,
            ridge=ridge,
            bound=bound,
            peak_share=ideal_s / seconds if seconds else nan,
            tier=lowest_tier(part.tier for part in parts),
            basis="; ".join(dict.fromkeys(part.basis for part in parts)),
            error=max(counted.errors, default=nan),
        )

    def _counted(self, parts: list[Part], load: StepLoad) -> _Counted:
        name = parts[0].name
        served = any(part.basis not in _NO_CURVE for part in parts)
        operators = [operator for operator in self._work.operators if operator.name == name]
        if operators:
            return self._of_operators(operators, load, served)
        collectives = [each for each in self._work.collectives if each.name == name]
        if collectives:
            return self._of_collectives(collectives, load, served)
        found = attention_curves(self._device, self._work.attentions, load.phase) if served else ()
        flops, traffic = self._of_attention(load)
        within = [each for each in self._work.operators if self._device.is_in_attention(each)]
        flops += self._of_operators(within, load, served).flops
        peak = self._device.roofline.peak[self._device.roofline.wide]
        return _Counted(flops, traffic, peak, _errors(found))

    def _of_operators(
        self, operators: Iterable[Operator], load: StepLoad, served: bool
    ) -> _Counted:
        roofline = self._device.roofline
        flops = traffic = 0.0
        peak, found = nan, []
        for operator in operators:
            share = np.array([self._share(operator.scope, load)])
            peak = roofline.peak[roofline.narrow if operator.quantised else roofline.wide]
            arithmetic_s, traffic_s = roofline.ideal(operator, share)
            flops += float(arithmetic_s[0]) * peak
            traffic += float(traffic_s[0]) * roofline.bandwidth
            found.append(_curve_of(self._device, operator) if served else None)
        return _Counted(flops, traffic, peak, _errors(found))

    def _of_collectives(
        self, collectives: Iterable[Collective], load: StepLoad, served: bool
    ) -> _Counted:
        sent, found = 0.0, []
        for each in collectives:
            size = each.bytes_per_token * max(self._share(each.scope, load), 1.0)
            # The least that an all-reduce can send (Patarasuk and Yuan 2009).
            factor = 2 * (each.devices - 1) / each.devices if each.kind == "all_reduce" else 1.0
            sent += each.count * factor * size
            found.append(self._device.collective_curve(each) if served else None)
        return _Counted(bytes=sent, errors=_errors(found))

    def _of_attention(self, load: StepLoad) -> tuple[float, float]:
        """Return FLOP and bytes of attention proper: the cache is read once, windows count."""
        flops = traffic = 0.0
        groups = self._time.device.groups
        for work in self._work.attentions:
            length = load.typical_tokens
            if load.phase == "decode":
                seen = load.sequences * _seen_at_end(work, length) / groups
                flops += work.decode_flops_per_token * seen
                traffic += work.kv_bytes_per_token * seen
                traffic += 2.0 * work.state_bytes_per_sequence * load.sequences / groups
            else:
                pairs = load.tokens * _seen_on_average(work, length) / groups
                flops += work.prefill_flops_per_pair * pairs
                traffic += work.kv_bytes_per_token * load.tokens / groups
        return flops, traffic

    def _share(self, scope: str, load: StepLoad) -> float:
        """Return the tokens that a device works on."""
        spread = self._time.device.spread
        of = {"stage": spread.stage, "sampled": spread.sampled, "group": spread.group}[scope]
        return float(of(np.array([float(load.tokens)]))[0])


def _seen_at_end(work: AttentionWork, length: int) -> float:
    """Return the positions that the last of `length` tokens attends to."""
    return length if work.window_tokens is None else min(length, work.window_tokens)


def _seen_on_average(work: AttentionWork, length: int) -> float:
    """Return the positions that a token of a prompt of `length` tokens attends to on average."""
    window = work.window_tokens
    if window is None or window >= length:
        return length / 2.0
    return window - window**2 / (2.0 * length)


def _curve_of(device: Device, operator: Operator) -> Curve | None:
    if operator.experts:
        return device.curve("experts", device.format_of(operator))
    if operator.outer:
        return device.curve("gemm", device.format_of(operator))
    return device.curve("stream", "bf16")


def _errors(curves: Iterable[Curve | None]) -> tuple[float, ...]:
    found = [curve.mape_out for curve in curves if curve is not None]
    return tuple(error for error in found if not np.isnan(error))
