"""How much faster narrow formats multiply matrices, as measured; for reports and explanations.

The step time itself uses curves fitted to kernel timings; this table says what to expect of them.
Speed-ups are far from the ratio of the peaks: FP8 on H100 is 1.2 to 1.5 times bf16 rather than 2,
as scaling, conversion and the shape of the matrices take their share; weight-only INT4 pays at a
few tokens, when reading the weights takes all the time, and costs at a few hundred, when unpacking
them adds to the arithmetic.

Shipped rows are medians over some hundred matrix shapes by number of tokens, for the newest version
of the engine that was measured, with the range over versions. Between token counts the logarithm
of the speed-up is linear in that of the tokens.
"""

from __future__ import annotations

import itertools
import math
import statistics
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from planner.curves.efficiency import DEFAULT, Efficiency
from planner.curves.layout import DTYPE_BYTES, sixteen_bit
from planner.curves.tables import read_table
from planner.errors import CatalogError, did_you_mean, shown

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from planner.catalog import Chip

    Array: TypeAlias = NDArray[np.float64]

ENGINES = ("vllm", "sglang", "tensorrt-llm", "generic")
FORMATS = {
    "fp8": ("fp8", "fp8"),
    "fp8_block": ("fp8", "fp8"),
    "fp4": ("fp4", "fp4"),
    "fp4_fp8": ("fp4", "fp8"),
    "int8": ("int8", "int8"),
    "int4_fp8": ("int4", "fp8"),
    "fp8_wo": ("fp8", ""),
    "int8_wo": ("int8", ""),
    "fp4_wo": ("fp4", ""),
    "int4_wo": ("int4", ""),
}
"""Format of a product → those of its weights and of its arithmetic; empty: 16 bits."""

_TABLE = "quantization_gemm.csv"
_WIDTH = 8192
"""Rows and columns of the matrix that stands for all, where nothing is measured."""


@dataclass(frozen=True)
class Speedup:
    """Time of a matrix product in bf16 over that in a narrow format; above 1 is faster."""

    value: float
    low: float
    """Over the versions of the engine, over engines, or over assumptions: see `matched`."""
    high: float
    tier: str
    """measured, or estimated."""
    matched: str
    """engine: measured; chip: mean of the other engines on that chip; peaks: roofline on data
    sheet figures, from default efficiencies to none."""
    tokens: tuple[int, int]
    """Range of tokens measured; beyond it the nearest value is held. (0, 0) without measurement."""
    source: str
    note: str = ""

    def is_extrapolated(self, tokens: float) -> bool:
        """Tell whether `tokens` lies outside the measured range."""
        return not self.tokens[0] <= tokens <= self.tokens[1]


@dataclass(frozen=True)
class SpeedupTable:
    """The measured speed-ups, read once."""

    series: Mapping[tuple[str, str, str], Sequence[Mapping[str, str]]]
    """Rows by chip, engine and format, tokens rising."""

    @classmethod
    def load(cls) -> SpeedupTable:
        """Read the shipped table."""
        series: dict[tuple[str, str, str], list[Mapping[str, str]]] = {}
        for row in read_table(_TABLE):
            series.setdefault((row["chip"], row["engine"], row["dtype"]), []).append(row)
        return cls(series)

    def speedup(self, chip: Chip, engine: str, dtype: str, tokens: float) -> Speedup:
        """Return the speed-up; arguments as for `speedup`."""
        _check(engine, dtype, tokens)
        if dtype in DTYPE_BYTES and dtype not in FORMATS:
            return Speedup(1.0, 1.0, 1.0, "measured", "engine", (0, sys.maxsize), "by definition")
        if rows := self.series.get((chip.name, engine, dtype)):
            return _interpolated(rows, tokens)
        others = [
            _interpolated(rows, tokens)
            for (name, _, kind), rows in self.series.items()
            if (name, kind) == (chip.name, dtype)
        ]
        return _mean(others, chip.name) if others else _from_peaks(chip, dtype, tokens)

    def measured_on(self, chips: Sequence[str], dtype: str) -> Sequence[Mapping[str, str]] | None:
        """Return the rows of the first of `chips` on which a format was measured; None: on none.

        TensorRT-LLM's kernels come first. Rows with a note are of stand-in kernels that no engine
        would choose, and are left out.
        """
        for chip in chips:
            for engine in ("tensorrt-llm", "sglang", "vllm"):
                rows = self.series.get((chip, engine, dtype))
                if rows and not any(row["note"] for row in rows):
                    return rows
        return None


def ratio_at(rows: Sequence[Mapping[str, str]], tokens: Array) -> Array:
    """Return measured speed-ups, interpolated in the logarithm of tokens and held at the ends."""
    import numpy as np

    known = np.log([float(row["tokens"]) for row in rows])
    ratios = np.log([float(row["speedup"]) for row in rows])
    found: Array = np.exp(np.interp(np.log(tokens), known, ratios))
    return found


def speedup(chip: Chip, engine: str, dtype: str, tokens: float) -> Speedup:
    """Return how much faster a matrix product is than in bf16.

    Args:
        chip: of the catalogue.
        engine: vllm, sglang, tensorrt-llm or generic.
        dtype: a format of `FORMATS` (`_wo`: weights only, 16-bit arithmetic), or bf16.
        tokens: rows of the product: tokens of a step.

    Raises:
        CatalogError: unknown engine or format.
        ValueError: tokens is not a positive number.

    What was measured with this engine comes first; then the mean of the other engines on the chip;
    then a roofline on the chip's data sheet. A format for which the chip has no peak is unpacked to
    16 bits.

    """
    return SpeedupTable.load().speedup(chip, engine, dtype, tokens)


def kv_bytes(dtype: str) -> float:
    """Return the bytes of one cached number, scales included.

    Raises:
        CatalogError: unknown format.

    >>> [kv_bytes(dtype) for dtype in ("bf16", "fp8")]
    [2.0, 1.0]
    """
    if dtype not in DTYPE_BYTES:
        advice = did_you_mean(dtype, DTYPE_BYTES)
        raise CatalogError(f"unknown KV dtype {shown(dtype)}{advice and '; '}{advice}")
    return DTYPE_BYTES[dtype]


def _check(engine: str, dtype: str, tokens: float) -> None:
    if engine not in ENGINES:
        advice = did_you_mean(engine, ENGINES)
        raise CatalogError(f"unknown engine {shown(engine)}{advice and '; '}{advice}")
    if dtype not in (formats := (*FORMATS, "bf16", "fp16")):
        advice = did_you_mean(dtype, formats)
        raise CatalogError(f"unknown format {shown(dtype)}{advice and '; '}{advice}")
    if not (tokens > 0 and math.isfinite(tokens)):
        raise ValueError(f"tokens must be a positive number; found {shown(tokens)}")


def _interpolated(rows: Sequence[Mapping[str, str]], tokens: float) -> Speedup:
    grid = [int(row["tokens"]) for row in rows]
    held = min(max(tokens, grid[0]), grid[-1])
    value, low, high = (
        _log_interpolated(held, grid, [float(row[column]) for row in rows])
        for column in ("speedup", "low", "high")
    )
    notes = dict.fromkeys(row["note"] for row in rows if row["note"])
    return Speedup(
        value=value,
        low=min(low, value),
        high=max(high, value),
        tier=rows[0]["tier"],
        matched="engine",
        tokens=(grid[0], grid[-1]),
        source=f"{rows[0]['engine']} {rows[0]['version']}: {rows[0]['source']}",
        note="; ".join(notes),
    )


def _log_interpolated(at: float, grid: Sequence[int], values: Sequence[float]) -> float:
    for (left, a), (right, b) in itertools.pairwise(zip(grid, values, strict=True)):
        if left <= at <= right:
            share = math.log(at / left) / math.log(right / left)
            return math.exp((1.0 - share) * math.log(a) + share * math.log(b))
    return values[0]


def _mean(others: Sequence[Speedup], chip: str) -> Speedup:
    """Return the geometric mean over engines."""
    return Speedup(
        value=statistics.geometric_mean(other.value for other in others),
        low=min(other.low for other in others),
        high=max(other.high for other in others),
        tier="estimated",
        matched="chip",
        tokens=(max(o.tokens[0] for o in others), min(o.tokens[1] for o in others)),
        source="; ".join(other.source for other in others),
        note=f"mean of the engines measured on {chip}",
    )


def _from_peaks(chip: Chip, dtype: str, tokens: float) -> Speedup:
    """Return the ratio of two rooflines: max(arithmetic / peak, traffic / bandwidth) each."""
    weight, arithmetic = FORMATS[dtype]
    wide, note = sixteen_bit(chip), ""
    if arithmetic and arithmetic not in chip.peak_flops:
        note = f"{chip.name} has no {arithmetic} arithmetic: unpacked to {wide}"
    narrow = arithmetic if arithmetic in chip.peak_flops else wide
    ideal = Efficiency(
        bandwidth_rate=1.0,
        compute_16bit_rate=1.0,
        compute_8bit_rate=1.0,
        compute_4bit_rate=1.0,
        unpack_bytes=0.0,
        unpack_compute_rate=1.0,
    )
    value, bound = (
        _product_s(chip, wide, wide, tokens, rates)
        / _product_s(chip, weight, narrow, tokens, rates)
        for rates in (DEFAULT, ideal)
    )
    return Speedup(
        value=value,
        low=min(value, bound),
        high=max(value, bound),
        tier="estimated",
        matched="peaks",
        tokens=(0, 0),
        source=f"roofline on the data sheet of {chip.name}",
        note=note,
    )


def _product_s(chip: Chip, weight: str, arithmetic: str, tokens: float, rates: Efficiency) -> float:
    """Return the seconds of tokens × 8192 times 8192 × 8192, without launch."""
    weights = float(_WIDTH * _WIDTH)
    traffic = weights * DTYPE_BYTES[weight]
    traffic += tokens * _WIDTH * (DTYPE_BYTES[arithmetic] + 2.0)
    rate = float(chip.peak_flops[arithmetic]) * rates.compute_rate(arithmetic)
    if DTYPE_BYTES[weight] < DTYPE_BYTES[arithmetic]:
        traffic += rates.unpack_bytes * weights
        rate *= rates.unpack_compute_rate
    bandwidth = float(chip.memory_bandwidth) * rates.bandwidth_rate
    return max(2.0 * tokens * weights / rate, traffic / bandwidth)
