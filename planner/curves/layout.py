"""How one replica of a model is spread over devices, and in which number formats it is held."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from planner.errors import CatalogError

if TYPE_CHECKING:
    from planner.catalog import Chip

DTYPE_BYTES = {
    "fp32": 4.0,
    "bf16": 2.0,
    "fp16": 2.0,
    "fp8": 1.0,
    "int8": 1.0,
    "fp4": 0.5 + 1 / 32,
    "int4": 0.5 + 2 / 128,
}
"""Bytes per element, scales included: one byte per 32 elements for fp4 (OCP MX specification 1.0,
table 1; NVFP4 has one per 16), one fp16 scale per 128 for int4 (the group size of published AWQ
and GPTQ checkpoints). The scales of fp8 and int8 are per row or per 128 by 128 block: under
0.1%."""

TYPICAL_CONTEXT_TOKENS = 2048.0
"""Context of a typical sequence, where nothing better is known: between the median (1.1 thousand)
and the 99th percentile (4.7 thousand) of the Azure 2023 conversation trace. Matters for sliding
windows and linear attention only."""

WEIGHT_ONLY = ("int4",)
"""Formats that engines unpack before the arithmetic, even where the chip could multiply them."""


Exchange = Literal["gather", "low_latency", "high_throughput", "auto"]
"""How tokens get to the devices of their experts and back, with several data-parallel groups.

gather: every device gets every token, and what the devices computed is summed on the way back (vLLM
`allgather_reducescatter`, its default; SGLang without `--moe-a2a-backend`). low_latency: one copy
of a token per expert, straight to its device (DeepEP's kernels of that name). high_throughput: one
copy per node, spread inside it (DeepEP's normal kernels). auto: the sooner of the two in each step.
"""


@dataclass(frozen=True)
class ExpertPlan:
    """How the routed experts of a replica are placed and reached."""

    exchange: Exchange = "gather"
    skew: float | None = None
    """Standard deviation over mean of the experts' popularity. None: as in the measured kernels,
    and as published where devices get their own tokens only."""
    redundant: int | None = None
    """Copies of popular experts that a balancer adds; None: no balancer."""
    overlap: bool = False
    """Two halves of the batch take turns: one computes while the other travels."""

    @property
    def scattered(self) -> bool:
        """Whether a device gets the tokens of its own experts only."""
        return self.exchange != "gather"


@dataclass(frozen=True)
class Parallelism:
    """Devices of one replica: `tensor · pipeline · data`.

    Attention is split over `tensor` devices and repeated for each of `data` groups, each with its
    own sequences and KV cache. Routed experts are split over all `tensor · data` devices of a
    stage: whole experts over `expert` of them, and every expert's matrices over the remaining
    factor.
    """

    tensor: int = 1
    pipeline: int = 1
    expert: int = 1
    data: int = 1
    micro_batches: int | None = None
    """Batches that are in the pipeline at a time; None: one per stage."""
    experts: ExpertPlan = ExpertPlan()

    def __post_init__(self) -> None:
        for name in ("tensor", "pipeline", "expert", "data"):
            if getattr(self, name) < 1:
                raise ValueError(
                    f"{name} parallelism is {getattr(self, name)}; it must be at least 1"
                )
        if self.expert_devices % self.expert:
            raise ValueError(
                f"expert parallelism {self.expert} does not divide tensor · data = "
                f"{self.expert_devices}; use a divisor of it, or 1"
            )

    @property
    def batches(self) -> int:
        """Batches in the pipeline at a time."""
        return self.pipeline if self.micro_batches is None else self.micro_batches

    @property
    def devices(self) -> int:
        """Devices of one replica."""
        return self.tensor * self.pipeline * self.data

    @property
    def expert_devices(self) -> int:
        """Devices of one pipeline stage, over which the routed experts are spread."""
        return self.tensor * self.data


@dataclass(frozen=True)
class Dtypes:
    """Number formats of weights in memory, of the matrix arithmetic, and of the KV cache."""

    weight: str = "bf16"
    activation: str | None = None
    """None: that of the weights where the chip has it and engines use it, else 16 bits."""
    kv: str = "bf16"

    def __post_init__(self) -> None:
        for name in ("weight", "activation", "kv"):
            value = getattr(self, name)
            if value is not None and value not in DTYPE_BYTES:
                raise ValueError(
                    f"unknown {name} dtype {value!r}; known are {', '.join(DTYPE_BYTES)}"
                )

    @property
    def weight_bytes(self) -> float:
        """Bytes of one quantised weight."""
        return DTYPE_BYTES[self.weight]

    @property
    def kv_bytes(self) -> float:
        """Bytes of one element of the KV cache."""
        return DTYPE_BYTES[self.kv]

    def arithmetic(self, chip: Chip) -> str:
        """Return the format in which matrices are multiplied on `chip`.

        Raises:
            CatalogError: the chip has no peak rate for the format asked for.

        A format that the chip lacks is refused when it was asked for by `activation`, and
        unpacked to 16 bits when only the weights are held in it.

        """
        peaks = chip.peak_flops
        if self.activation is not None:
            if self.activation in peaks:
                return self.activation
            raise CatalogError(
                f"chip {chip.name} has no {self.activation} arithmetic; it has "
                f"{', '.join(peaks)}. Choose one of these as activation dtype"
            )
        if self.weight in peaks and self.weight not in WEIGHT_ONLY:
            return self.weight
        return sixteen_bit(chip)


def sixteen_bit(chip: Chip) -> str:
    """Return the chip's 16-bit format, in which attention and unpacked weights are computed.

    Raises:
        CatalogError: the catalogue gives no 16-bit (nor 8-bit float) peak for the chip.

    """
    for dtype in ("bf16", "fp16", "fp8"):
        if dtype in chip.peak_flops:
            return dtype
    raise CatalogError(
        f"chip {chip.name} has no bf16, fp16 or fp8 peak in the catalogue; it has "
        f"{', '.join(chip.peak_flops) or 'none'}. Add the figure with its source"
    )
