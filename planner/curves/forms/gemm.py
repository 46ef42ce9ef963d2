"""Matrix multiplication of m tokens with a k × n weight matrix.

The seconds are those of three stages, one after the other::

    launch                  a kernel's fixed time
    prepare                 input to a narrower format: m rows, m·k elements read and written
    multiply                smooth maximum of arithmetic and traffic, plus the loop over k

Arithmetic works on whole tiles, so that m counts with what is added to fill the last tile, and k
with the start and end of a tile's pipeline; n is cut finely enough to need nothing. Traffic is
weights, input and output once. A single tile walks along k in turn, however idle the rest of the
chip is: that is `loop`. Weights held in another format than they are multiplied in are unpacked as
they arrive: `unpack`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Final

from planner.curves.forms.base import Array, Form, Parameter, Peaks, Shape, smooth_maximum
from planner.curves.peaks import format_of

_OUTPUT_BYTES = 2.0
"""Results leave in 16 bits."""


_SHARED: Final = (
    Parameter("launch", "s", 4e-6, 5e-7, 3e-4, "fixed time of the kernels of one product"),
    Parameter("compute", "", 0.7, 0.02, 1.2, "share of the peak that large products attain"),
    Parameter("traffic", "", 0.8, 0.05, 1.3, "share of the bandwidth that streams attain"),
    Parameter("fill_m", "rows", 48.0, 0.5, 1000.0, "rows added to fill tiles"),
    Parameter("fill_k", "", 200.0, 0.5, 8000.0, "depth added by start and end of a tile"),
    Parameter("loop", "s", 3e-10, 1e-12, 2e-8, "time of a tile per step of k"),
    Parameter("sharpness", "", 2.5, 1.0, 12.0, "how well arithmetic and traffic overlap"),
)
_SHARED_COUNT: Final = len(_SHARED)
_PREPARATION: Final = (
    Parameter("prepare_row", "s", 2e-10, 1e-13, 5e-8, "preparation of the input, per row"),
    Parameter("prepare", "", 0.3, 0.02, 3.0, "share of the bandwidth that preparation attains"),
)
_UNPACKING: Final = (
    Parameter("unpack", "", 0.5, 0.02, 20.0, "unpacked weights per second, over bandwidth"),
)


@dataclass(frozen=True)
class Gemm(Form):
    """Operands in 16 bits."""

    dtype: str = "bf16"
    kv_dtype: str = ""

    name: ClassVar[str] = "gemm"
    operators: ClassVar[tuple[str, ...]] = ("gemm",)
    shape: ClassVar[tuple[str, ...]] = ("m", "n", "k")
    parameters: ClassVar[tuple[Parameter, ...]] = _SHARED

    def seconds(self, values: Array, shape: Shape, peaks: Peaks) -> Array:
        """Return launch + multiply; see the module's text."""
        return self._multiply(values, shape, peaks, 0.0)

    def _multiply(
        self, values: Array, shape: Shape, peaks: Peaks, unpacking: Array | float
    ) -> Array:
        launch, compute, traffic, fill_m, fill_k, loop, sharpness = values[:_SHARED_COUNT]
        held = format_of(self.dtype)
        m, n, k = shape["m"], shape["n"], shape["k"]
        arithmetic = 2.0 * (m + fill_m) * n * (k + fill_k) / (peaks.flops * compute)
        moved = n * k * held.weight_bytes + m * k * held.activation_bytes + m * n * _OUTPUT_BYTES
        streamed = moved / (peaks.bandwidth * traffic) + unpacking
        time: Array = launch + smooth_maximum(arithmetic, streamed, sharpness) + k * loop
        return time

    def _prepare(
        self, row: Array | float, share: Array | float, shape: Shape, peaks: Peaks
    ) -> Array:
        moved = shape["m"] * shape["k"] * (2.0 + format_of(self.dtype).activation_bytes)
        time: Array = shape["m"] * row + moved / (peaks.bandwidth * share)
        return time


@dataclass(frozen=True)
class QuantisedGemm(Gemm):
    """Both operands in a narrow format: the input is converted first."""

    name: ClassVar[str] = "gemm_quantised"
    parameters: ClassVar[tuple[Parameter, ...]] = (*_SHARED, *_PREPARATION)

    def seconds(self, values: Array, shape: Shape, peaks: Peaks) -> Array:
        """Return launch + prepare + multiply; see the module's text."""
        multiply = self._multiply(values, shape, peaks, 0.0)
        row, share = values[_SHARED_COUNT:]
        return multiply + self._prepare(row, share, shape, peaks)


@dataclass(frozen=True)
class UnpackedGemm(Gemm):
    """Weights in a narrow format, multiplied in a wider one."""

    name: ClassVar[str] = "gemm_unpacked"
    parameters: ClassVar[tuple[Parameter, ...]] = (*_SHARED, *_UNPACKING)

    def seconds(self, values: Array, shape: Shape, peaks: Peaks) -> Array:
        """Return launch + multiply with unpacking; see the module's text."""
        unpacking = shape["n"] * shape["k"] / (peaks.bandwidth * values[_SHARED_COUNT])
        return self._multiply(values, shape, peaks, unpacking)


def gemm_form(dtype: str) -> Gemm:
    """Return the form for products in `dtype`.

    Raises:
        ValueError: an unknown dtype.
    """
    held = format_of(dtype)
    if held.unpacked:
        return UnpackedGemm(dtype)
    return QuantisedGemm(dtype) if held.activation_bytes < 2.0 else Gemm(dtype)
