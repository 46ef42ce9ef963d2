"""Which curves a replica stands on, how good they are, and where the replica leaves them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from planner.curves.anatomy import CurveUse, StepLoad
from planner.curves.curve import Curve
from planner.curves.device import Device
from planner.curves.operators import AttentionWork


def curve_uses(
    device: Device,
    works: Sequence[AttentionWork],
    loads: Sequence[StepLoad],
    groups: int,
) -> tuple[CurveUse, ...]:
    """Return the curves in use, in the order of their names.

    Args:
        device: that has timed the replica's operators.
        works: attention of the replica.
        loads: steps looked at; they say which contexts and batches attention sees.
        groups: into which tokens, sequences and context are divided.
    """
    curves = dict(device.used)
    for phase in ("decode", "prefill"):
        for curve in attention_curves(device, works, phase):
            curves.setdefault(device.uses(curve), curve)
    outside = {name: set[str]() for name in curves}
    for name, column in (text.split(": ", 1) for text in device.outside):
        outside.setdefault(name, set()).add(column)
    for name, curve in curves.items():
        outside[name] |= set(_left_by_attention(curve, works, loads, groups))
    return tuple(
        CurveUse(
            operator=curve.key.operator,
            dtype=curve.key.dtype,
            kv_dtype=curve.key.kv_dtype,
            engine=curve.key.engine,
            chip=curve.key.chip,
            version=curve.version,
            date=curve.date,
            source=curve.source,
            tier=curve.tier,
            points=curve.points,
            mape_in=curve.mape_in,
            mape_out=curve.mape_out,
            valid={column: (low, high) for column, (low, high) in curve.valid.items()},
            outside=tuple(sorted(outside[name])),
            warnings=curve.warnings,
        )
        for name, curve in sorted(curves.items())
    )


def attention_curves(
    device: Device, works: Iterable[AttentionWork], phase: str
) -> tuple[Curve, ...]:
    """Return the curves that serve attention in `phase`: decode or prefill."""
    found: dict[str, Curve] = {}
    for work in works:
        operator = _operator_of(work, phase)
        curve = next((used for used in device.used.values() if used.key.operator == operator), None)
        if curve is None and work.kind == "linear":  # taken without a note
            curve = device.curve(operator, "bf16")
        if curve is not None:
            found[operator] = curve
    return tuple(found.values())


def _operator_of(work: AttentionWork, phase: str) -> str:
    if work.kind == "linear":
        return f"linear_{phase}"
    return f"mla_{phase}_attention" if work.kind == "mla" else f"{phase}_attention"


def _left_by_attention(
    curve: Curve, works: Iterable[AttentionWork], loads: Iterable[StepLoad], groups: int
) -> Iterator[str]:
    """Yield the columns of an attention curve that some layer or step takes out of its range."""
    phase = "decode" if "decode" in curve.key.operator else "prefill"
    for work in works:
        if _operator_of(work, phase) != curve.key.operator:
            continue
        for column, (low, high) in curve.valid.items():
            values = _attention_columns(work, phase, loads, groups).get(column, ())
            if any(not low <= value <= high for value in values):
                yield column


def _attention_columns(
    work: AttentionWork, phase: str, loads: Iterable[StepLoad], groups: int
) -> dict[str, tuple[float, ...]]:
    steps = [load for load in loads if load.phase == phase]
    columns: dict[str, tuple[float, ...]] = {"head_dim": (float(work.head_dim),)}
    linear = work.kind == "linear"
    columns["key_heads" if linear else "query_heads"] = (work.query_heads,)
    columns["value_heads" if linear else "kv_heads"] = (work.kv_heads,)
    if work.window_tokens is not None:
        columns["window_tokens"] = (float(work.window_tokens),)
    if phase == "decode":
        columns["sequences"] = tuple(max(load.sequences / groups, 1.0) for load in steps)
        columns["context_tokens"] = tuple(float(load.typical_tokens) for load in steps)
    else:
        columns["new_tokens"] = tuple(
            min(load.tokens / groups, float(load.typical_tokens)) for load in steps
        )
    return columns
