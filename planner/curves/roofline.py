"""Time of an operator from the chip's data sheet alone: the tier `estimated`.

The roofline model (Williams, Waterman and Patterson 2009) per operator, with a smooth maximum and
the efficiencies of `efficiency.py`. It stands in where no curve was fitted, and gives the ideal
time on which utilisation is based.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from planner.curves.efficiency import Efficiency
from planner.curves.layout import DTYPE_BYTES, Dtypes, sixteen_bit
from planner.curves.operators import AttentionWork, Operator
from planner.curves.provenance import Provenance, of_figure

if TYPE_CHECKING:
    from planner.catalog import Chip

Array = NDArray[np.float64]


class Roofline:
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
            of_figure(f"chip.{self.chip.name}.{name}", figure) for name, figure in used.items()
        )

    def ideal(self, operator: Operator, share: Array) -> tuple[Array, Array]:
        """Return an operator's arithmetic and its traffic, both at the chip's peak [s]."""
        arithmetic = operator.flops_per_token * share / self.peak[self._dtype(operator)]
        return arithmetic, self._traffic(operator, share) / self.bandwidth

    def operator(self, operator: Operator, share: Array) -> Array:
        """Return an operator's expected time, its launches included [s]."""
        efficiency = self.efficiency
        dtype = self._dtype(operator)
        packed = DTYPE_BYTES[operator.weight_dtype] < DTYPE_BYTES[dtype]
        # A group without a token still takes part in the step, with a dummy one.
        tokens = np.maximum(share, 1.0)
        weights = operator.weight_reads(tokens)
        # The waste of the last tile occurs once per matrix, so once per expert hit.
        padded = operator.flops_per_token * operator.busiest_tokens(tokens)
        padded += 2.0 * weights * efficiency.tile_tokens
        rate = self.peak[dtype] * self._compute_rate(dtype)
        if packed:
            rate *= efficiency.unpack_compute_rate
        unpack = efficiency.unpack_bytes * weights if packed else 0.0
        traffic = self._traffic(operator, share) + unpack
        launches_s = efficiency.kernel_s * operator.kernels
        return launches_s + self.smooth_maximum(
            padded / rate, traffic / (self.bandwidth * efficiency.bandwidth_rate)
        )

    def attention(self, attention: AttentionWork) -> tuple[float, float, float]:
        """Return seconds per decode context token, per prefill pair, per sequence for its state."""
        efficiency = self.efficiency
        rate = self.peak[self.wide] * efficiency.attention_compute_rate
        bandwidth = self.bandwidth * efficiency.attention_bandwidth_rate
        token = self.smooth_maximum(
            np.array([attention.decode_flops_per_token / rate]),
            np.array([attention.kv_bytes_per_token / bandwidth]),
        )
        state_s = 2.0 * attention.state_bytes_per_sequence / bandwidth
        return float(token[0]), attention.prefill_flops_per_pair / rate, state_s

    def smooth_maximum(self, x: Array, y: Array) -> Array:
        """Return (xᵖ + yᵖ)^(1/p), scaled so that powers of small times do not underflow."""
        p = self.efficiency.sharpness
        larger = np.maximum(np.maximum(x, y), np.finfo(np.float64).tiny)
        total: Array = larger * ((x / larger) ** p + (y / larger) ** p) ** (1.0 / p)
        return total

    def _compute_rate(self, dtype: str) -> float:
        """Return the share of the peak that large matrix products reach in `dtype`.

        The shares of narrow formats are lower because their peaks are harder to feed. A chip with
        one peak for both (fp8 on TPU v5p and v6e) widens the numbers first, and loses nothing.
        """
        same = self.peak[dtype] == self.peak[self.wide]
        return self.efficiency.compute_rate(self.wide if same else dtype)

    def _dtype(self, operator: Operator) -> str:
        return self.narrow if operator.quantised else self.wide

    def _traffic(self, operator: Operator, share: Array) -> Array:
        tokens = np.maximum(share, 1.0)
        traffic = operator.weight_reads(tokens) * DTYPE_BYTES[operator.weight_dtype]
        return traffic + operator.activation_bytes_per_token * tokens
