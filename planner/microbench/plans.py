"""Which shapes a measurement covers, from what the user asked for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from planner.catalog import Catalog
from planner.errors import did_you_mean, shown
from planner.microbench import models
from planner.microbench.cases import (
    DTYPES,
    OPERATORS,
    REDUCED_BYTES,
    STREAM_ARRAY_BYTES,
    TOKENS,
    Heads,
    Limits,
    Plan,
    thinned,
)
from planner.microbench.timing import MicrobenchError

_QUICK_CPU = Limits(flops=1e8, moved_bytes=4 * 2**20)
_QUICK_POINTS = 8
_QUICK_MESSAGES = 14
_SMALL = Plan(
    matrices=((256, 256), (768, 256), (256, 768), (1024, 1024), (2048, 1024)),
    heads=(Heads(8, 2, 64), Heads(8, 8, 64)),
    tokens=TOKENS[:15],
    contexts=(64, 256, 1024, 4096),
    sequences=(1, 4, 16),
    chunks=(32, 128, 512),
    array_bytes=STREAM_ARRAY_BYTES[:10],
    reduced_bytes=REDUCED_BYTES[:10],
)
"""What a processor does in reasonable time."""


def plan_of(
    catalog: Catalog,
    model_names: Sequence[str],
    *,
    tensor_parallel: int = 1,
    operators: Sequence[str] = (),
    dtypes: Sequence[str] = (),
    devices: int = 1,
    small: bool = False,
    quick: bool = False,
) -> Plan:
    """Return the plan of a measurement.

    Args:
        catalog: where models are looked up.
        model_names: whose shapes to measure; none: a set that spans dense models.
        tensor_parallel: devices over which each model is split.
        operators: of `OPERATORS`; none: all.
        dtypes: of `DTYPES`; none: bf16.
        devices: on this machine; all-reduces run over 2, 4, … of them.
        small: a processor is to be measured, on shapes of its size unless models are named.
        quick: a few of the shapes.

    Raises:
        MicrobenchError: an unknown operator or format, or both 16-bit formats.
        CatalogError: an unknown model, or one that does not split evenly.
    """
    _require_known("operator", operators, OPERATORS)
    _require_known("dtype", dtypes, DTYPES)
    if {"bf16", "fp16"} <= set(dtypes):
        raise MicrobenchError(
            "bf16 and fp16 are one format in the table of timings; measure one of them, or two "
            "files with different --output"
        )
    found = [catalog.model(name) for name in model_names]
    matrices = [pair for model in found for pair in models.matrices(model, tensor_parallel)]
    heads = [each for model in found for each in models.heads(model, tensor_parallel)]
    base = _SMALL if small else Plan(matrices=models.DEFAULT_MATRICES, heads=models.DEFAULT_HEADS)
    plan = replace(
        base,
        operators=tuple(operators) or OPERATORS,
        dtypes=tuple(dict.fromkeys(dtypes)) or ("bf16",),
        matrices=tuple(dict.fromkeys(matrices)) if found else base.matrices,
        heads=tuple(dict.fromkeys(heads)) if found else base.heads,
        devices=group_sizes(devices),
    )
    return shortened(plan) if quick else plan


def shortened(plan: Plan) -> Plan:
    """Return a plan with a few values of every shape column; enough for the forms of curves."""
    return replace(
        plan,
        matrices=thinned(plan.matrices, 4),
        heads=thinned(plan.heads, 2),
        tokens=thinned(plan.tokens, _QUICK_POINTS),
        contexts=thinned(plan.contexts, 4),
        sequences=thinned(plan.sequences, 4),
        chunks=thinned(plan.chunks, 4),
        array_bytes=thinned(plan.array_bytes, _QUICK_POINTS),
        reduced_bytes=thinned(plan.reduced_bytes, _QUICK_MESSAGES),
        devices=plan.devices[-1:],
    )


def limits_of(flops: float, moved_bytes: float, *, kind: str, quick: bool) -> Limits:
    """Return the largest case that a device of a kind should be given."""
    if kind == "cpu" and quick:
        return _QUICK_CPU
    return Limits(flops, moved_bytes)


def group_sizes(devices: int) -> tuple[int, ...]:
    """Return the numbers of devices to reduce over: powers of two, and all of them.

    >>> group_sizes(1), group_sizes(6), group_sizes(8)
    ((), (2, 4, 6), (2, 4, 8))
    """
    sizes = [2**power for power in range(1, devices.bit_length()) if 2**power <= devices]
    return tuple(dict.fromkeys([*sizes, *([devices] if devices > 1 else [])]))


def _require_known(what: str, names: Sequence[str], choices: Sequence[str]) -> None:
    unknown = [name for name in names if name not in choices]
    if unknown:
        faults = (
            f"unknown {what} {shown(name)}; {did_you_mean(name, choices)}" for name in unknown
        )
        raise MicrobenchError("\n".join(faults))
