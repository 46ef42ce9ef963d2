"""Default efficiencies of the estimated tier: value, reason and source of each.

None of them is fitted to end-to-end results. They hold for any chip until measured or fitted curves
replace them.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

from planner.curves.provenance import Provenance


@dataclass(frozen=True)
class Efficiency:
    """Shares of the data-sheet peaks that kernels reach, and what does not scale with work."""

    bandwidth_rate: float = 0.8
    """Share of the memory bandwidth that weight and activation traffic reaches."""
    attention_bandwidth_rate: float = 0.7
    """Share of it that reading the paged KV cache reaches."""
    compute_16bit_rate: float = 0.7
    """Share of the peak that large matrix products reach in bf16 or fp16."""
    compute_8bit_rate: float = 0.55
    """The same in fp8 or int8."""
    compute_4bit_rate: float = 0.45
    """The same in fp4 or int4."""
    attention_compute_rate: float = 0.55
    """Share of the 16-bit peak that attention kernels reach."""
    tile_tokens: float = 32.0
    """Rows wasted in the last tile of a matrix product."""
    unpack_bytes: float = 0.4
    """Cost of unpacking one weight to the arithmetic format, as bytes of memory traffic."""
    unpack_compute_rate: float = 0.95
    """Speed of large matrix products with packed weights, relative to unpacked ones."""
    kernel_s: float = 2.5e-6
    """Launch and tail of one kernel inside a captured graph."""
    collective_bandwidth_rate: float = 0.8
    """Share of the link bandwidth that large collectives reach."""
    collective_s: float = 8e-6
    """Latency of a collective inside the scale-up domain."""
    network_s: float = 25e-6
    """Latency of a collective that leaves the scale-up domain."""
    exchange_setup_s: float = 50e-6
    """Counts and layout that go ahead of tokens which are spread inside the nodes they reach."""
    sharpness: float = 4.0
    """Exponent p of the smooth maximum (xᵖ + yᵖ)^(1/p) of arithmetic and traffic."""

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if field.name.endswith("_rate") and not 0.0 < value <= 1.0:
                raise ValueError(f"{field.name} is {value:g}; a share of a peak is in (0, 1]")
            if not value >= 0.0:
                raise ValueError(f"{field.name} is {value:g}; it must not be negative")
        if self.sharpness < 1.0:
            raise ValueError(f"sharpness is {self.sharpness:g}; it must be at least 1")

    def compute_rate(self, dtype: str) -> float:
        """Return the share of the peak that large matrix products reach in `dtype`."""
        if dtype in ("fp8", "int8"):
            return self.compute_8bit_rate
        return self.compute_4bit_rate if dtype in ("fp4", "int4") else self.compute_16bit_rate


DEFAULT = Efficiency()

_PROFILES = "LLMServingSim layer profiles"
_KERNELS = "aiconfigurator kernel tables"

_REASONS: dict[str, tuple[str, str, str, str]] = {
    "bandwidth_rate": (
        "1",
        "aiconfigurator system files: empirical scaling factor of HBM",
        "2026-11",
        "measured",
    ),
    "attention_bandwidth_rate": (
        "1",
        f"estimate: below streaming on HBM; 0.82 to 0.92 on GDDR ({_PROFILES})",
        "2026-11",
        "estimated",
    ),
    "compute_16bit_rate": (
        "1",
        f"estimate: 0.67 to 0.78 at 512 to 2048 rows on H100 ({_PROFILES}), less if power-limited",
        "2026-11",
        "estimated",
    ),
    "compute_8bit_rate": (
        "1",
        f"estimate: fp8 is 1.25 to 1.84 times bf16 at 8192 rows on H100 and H200 ({_KERNELS})",
        "2026-11",
        "estimated",
    ),
    "compute_4bit_rate": (
        "1",
        f"estimate: nvfp4 is 2.1 to 2.9 times bf16 at 8192 rows on B200 and GB200 ({_KERNELS})",
        "2026-11",
        "estimated",
    ),
    "attention_compute_rate": (
        "1",
        "estimate: FlashAttention-3 (arXiv 2407.08608) reaches 0.45 to 0.7 of the H100 peak",
        "2024-07",
        "estimated",
    ),
    "tile_tokens": (
        "tokens",
        "arithmetic: mean waste of tiles of 64 rows, the height of a Hopper matrix instruction",
        "2026-11",
        "estimated",
    ),
    "unpack_bytes": (
        "B",
        "estimate: at one row weight-only int8 is 1.4 to 1.6 times and int4 2.0 times bf16 on "
        f"A100 and H100 ({_KERNELS})",
        "2026-11",
        "estimated",
    ),
    "unpack_compute_rate": (
        "1",
        f"estimate: weight-only products run at 0.92 to 1.07 of bf16 above 1024 rows ({_KERNELS})",
        "2026-11",
        "estimated",
    ),
    "kernel_s": (
        "s",
        f"smallest element-wise kernels take 1.9 to 3.2 µs ({_PROFILES})",
        "2026-11",
        "measured",
    ),
    "collective_bandwidth_rate": (
        "1",
        "64 MiB reduced over 8 H100 in 0.32 ms: 0.81 of 450 GB/s as a ring (Vidur profiles)",
        "2026-11",
        "measured",
    ),
    "collective_s": (
        "s",
        "estimate: one-shot all-reduce kernels of serving engines take 5 to 10 µs",
        "2026-11",
        "estimated",
    ),
    "network_s": (
        "s",
        "estimate: NCCL over 400 Gbit/s RDMA takes 20 to 40 µs",
        "2026-11",
        "estimated",
    ),
    "exchange_setup_s": (
        "s",
        "DeepEP's normal kernels at 2 tokens per device on 2 to 8 nodes of H100: 57 to 149 µs, of "
        f"which the network takes 25 ({_KERNELS})",
        "2026-11",
        "measured",
    ),
    "sharpness": (
        "1",
        "estimate: 19% above the larger term where both are equal",
        "2026-11",
        "estimated",
    ),
}
"""Unit, source, date and tier of every default."""


def assumptions(efficiency: Efficiency) -> tuple[Provenance, ...]:
    """Return every efficiency of the roofline, with its source."""
    rows = []
    for field in fields(efficiency):
        value = getattr(efficiency, field.name)
        unit, source, date, tier = _REASONS[field.name]
        if value != field.default:
            source, date, tier = "set by the caller", "", "estimated"
        rows.append(Provenance(f"efficiency.{field.name}", value, unit, source, date, tier))
    return tuple(rows)
