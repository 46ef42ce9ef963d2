"""A curve: a fitted form with its errors, its valid range, and where it comes from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Literal, Protocol

from planner.curves.forms.base import Array, Form, Peaks, Shape

Tier = Literal["measured", "fitted", "estimated"]
WHOLE_STEPS: Final = ("step_prefill", "step_decode")
"""Operators that are steps of an engine with one model, and not parts of them."""


class Correction(Protocol):
    """Measured over fitted seconds, interpolated over the shape; dimensionless."""

    def ratio(self, shape: Shape) -> Array:
        """Return what to multiply the form's seconds with; beyond the range, as the grid says."""

    def __len__(self) -> int:
        """Return the number of stored ratios."""


@dataclass(frozen=True)
class CurveKey:
    """What a curve was measured on."""

    operator: str
    """gemm, prefill_attention, decode_attention, experts, all_reduce, … as in the timing table."""
    chip: str
    """Name in the catalogue."""
    engine: str
    """vllm, sglang, tensorrt-llm, or generic."""
    dtype: str
    """Format of the arithmetic and weights: bf16, fp8, fp8_block, fp4, int8, int8_wo, int4_wo,
    fp4_wo … (`_wo`: weights only, 16-bit arithmetic). For collectives the format of what moves."""
    kv_dtype: str = ""
    """Format of the cache, for attention."""
    model: str = ""
    """Model whose whole steps were timed; empty for single operators, which any model uses."""
    tensor_parallel: int = 0
    """Devices that each layer of the model was split over; 0: not a whole step."""

    @property
    def is_whole_step(self) -> bool:
        """Whether the curve tells of the steps of one model, and so of nothing else."""
        return self.operator in WHOLE_STEPS

    @property
    def of_model(self) -> str:
        """The model and its split, for messages and titles; empty for single operators."""
        return f"{self.model} TP {self.tensor_parallel}" if self.is_whole_step else ""


@dataclass(frozen=True)
class Curve:
    """Seconds of one operator on one chip as one engine runs it."""

    key: CurveKey
    form: Form
    values: Array
    """Parameters of the form, shape (p,)."""
    covariance: Array
    """Of the parameters, shape (p, p); NaN where the fit could not tell."""
    peaks: Peaks
    valid: Mapping[str, tuple[float, float]]
    """Measured range of each shape column."""
    correction: Correction | None
    """None: the form alone."""
    points: int
    """Timings used."""
    mape_in: float
    """Mean absolute relative error on the timings used (0.05: 5%)."""
    mape_out: float
    """The same on groups of shapes left out of the fit."""
    source: str
    version: str
    """Of the engine or library measured."""
    date: str
    licence: str
    tier: Tier = "fitted"
    warnings: tuple[str, ...] = field(default=())
    """What the fit has to say against itself: parameters at a bound, singular covariance."""

    def seconds(self, shape: Shape) -> Array:
        """Return the seconds of one operation of each shape."""
        time = self.form.seconds(self.values, shape, self.peaks)
        return time if self.correction is None else time * self.correction.ratio(shape)
