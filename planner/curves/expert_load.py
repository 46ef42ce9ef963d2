"""The experts of a mixture layer on the devices that share them.

Plain data: `placement` says how many tokens the busiest device gets.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Array = NDArray[np.float64]

PUBLISHED_SKEW: Final = 164.1 / 128
"""Standard deviation over mean of the tokens of an expert: DeepSeek-R1, 32 devices, 256 requests on
each, a machine translation set, averaged over layers and steps (NVIDIA, "Scaling Expert Parallelism
in TensorRT-LLM", part 1, table 1, 2025-06)."""
PUBLISHED_SOURCE: Final = (
    "DeepSeek-R1 over 32 GB200, tokens by expert: std 164.1, mean 128 (NVIDIA TensorRT-LLM tech "
    "blog 4, table 1)"
)


@dataclass(frozen=True)
class ExpertLoad:
    """The experts of a layer on the devices that share them."""

    experts: int
    """Different ones."""
    active_experts: int
    """Chosen by each token."""
    groups: int
    """Devices, or groups of devices that share every expert's matrices."""
    skew: float = PUBLISHED_SKEW
    """Standard deviation over mean of the experts' popularity; 0: all alike."""
    redundant: int | None = None
    """Copies that a balancer adds; None: no balancer."""

    def factor(self, tokens: Array) -> Array:
        """Return the tokens of the busiest device over the mean, in steps of `tokens` tokens."""
        from planner.curves.placement import busiest_factor

        return busiest_factor(self, tokens)
