"""What a number format means for bytes and arithmetic, and the peaks of a chip that apply to it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from planner.curves.forms.base import Peaks
from planner.errors import did_you_mean, shown

if TYPE_CHECKING:
    from planner.catalog.hardware import Chip


@dataclass(frozen=True)
class Format:
    """How the operands of a kernel are held, scales included."""

    weight_bytes: float
    """Per weight."""
    activation_bytes: float
    """Per element of the input."""
    arithmetic: tuple[str, ...]
    """Names of chip peaks in the order in which to look for one."""
    unpacked: bool = False
    """Weights are turned into another format before they are multiplied."""


_FP4_SCALE = 1.0 / 16.0
"""NVFP4 has one byte of scale per 16 elements; MXFP4 one per 32."""
_BLOCK_SCALE = 4.0 / 128.0
"""fp8_block: one fp32 per 128 elements of the input; per 128 by 128 of the weights (nothing)."""
_INT4_SCALE = 2.0 / 128.0

FORMATS: Final[Mapping[str, Format]] = {
    "bf16": Format(2.0, 2.0, ("bf16", "fp16")),
    "fp8": Format(1.0, 1.0, ("fp8", "bf16", "fp16")),
    "fp8_block": Format(1.0, 1.0 + _BLOCK_SCALE, ("fp8", "bf16", "fp16")),
    "fp4": Format(0.5 + _FP4_SCALE, 0.5 + _FP4_SCALE, ("fp4", "fp8", "bf16", "fp16")),
    "fp4_fp8": Format(0.5 + 1.0 / 32.0, 1.0 + 1.0 / 32.0, ("fp8", "bf16", "fp16"), unpacked=True),
    "int8": Format(1.0, 1.0, ("int8", "bf16", "fp16")),
    "int8_wo": Format(1.0, 2.0, ("bf16", "fp16"), unpacked=True),
    "int4_wo": Format(0.5 + _INT4_SCALE, 2.0, ("bf16", "fp16"), unpacked=True),
    "fp4_wo": Format(0.5 + 1.0 / 32.0, 2.0, ("bf16", "fp16"), unpacked=True),
    "fp8_wo": Format(1.0, 2.0, ("bf16", "fp16"), unpacked=True),
    "int4_fp8": Format(0.5 + _INT4_SCALE, 1.0, ("fp8", "bf16", "fp16"), unpacked=True),
}
"""By the dtype of the timing table."""


def format_of(dtype: str) -> Format:
    """Return what is known of `dtype`.

    Raises:
        ValueError: an unknown dtype.
    """
    if dtype not in FORMATS:
        advice = did_you_mean(dtype, FORMATS)
        raise ValueError(f"unknown dtype {shown(dtype)}" + (f"; {advice}" if advice else ""))
    return FORMATS[dtype]


def peaks_of(chip: Chip, dtype: str) -> Peaks:
    """Return the data-sheet peaks of `chip` for kernels in `dtype`; NaN for what it has not.

    Where the chip lacks the arithmetic, that of the next wider format counts, as engines do.

    Raises:
        ValueError: an unknown dtype.
    """
    arithmetic = format_of(dtype).arithmetic
    peak = next((chip.peak_flops[name].value for name in arithmetic if name in chip.peak_flops), 0)
    link = chip.scale_up_bandwidth
    return Peaks(
        flops=float(peak) if peak else float("nan"),
        bandwidth=float(chip.memory_bandwidth.value),
        link=float(link.value) if link is not None else float("nan"),
    )
