"""Time of the communication between the devices of a replica."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from planner.curves.efficiency import Efficiency
from planner.curves.operators import Collective
from planner.errors import CatalogError

if TYPE_CHECKING:
    from planner.catalog import Chip, Node

Array = NDArray[np.float64]
BASEBOARD_DEVICES = 8
"""Scale-up fabrics up to this size live on a baseboard; larger ones (NVL72, tori) join machines."""


class Fabric:
    """The links of one device: scale-up up to the size of its domain, the network beyond."""

    def __init__(self, chip: Chip, node: Node, efficiency: Efficiency) -> None:
        self.chip = chip
        self.efficiency = efficiency
        self.domain = chip.scale_up_domain
        if self.domain <= BASEBOARD_DEVICES:
            self.domain = min(self.domain, node.devices)

    def holds(self, collective: Collective) -> bool:
        """Tell whether all devices of a collective are joined by the scale-up fabric."""
        return collective.devices <= self.domain

    def time(self, collective: Collective, tokens: Array) -> Array:
        """Return the seconds of all repetitions of a collective, for each number of tokens."""
        devices = collective.devices
        bandwidth, latency_s = self._link(collective)
        size = collective.bytes_per_token * np.maximum(tokens, 1.0)
        if collective.kind == "all_reduce":
            # One-shot: everyone sends everything to everyone. Two-shot: reduce-scatter, then
            # all-gather, which moves least (Thakur, Rabenseifner and Gropp 2005) but waits twice.
            one_shot = latency_s + (devices - 1) * size / bandwidth
            two_shot = 2.0 * latency_s + 2.0 * (devices - 1) / devices * size / bandwidth
            return collective.count * np.minimum(one_shot, two_shot)
        return collective.count * (latency_s + size / bandwidth)

    def _link(self, collective: Collective) -> tuple[float, float]:
        inside = collective.devices <= self.domain
        name = "scale_up_bandwidth" if inside else "scale_out_bandwidth"
        figure = getattr(self.chip, name)
        if figure is None:
            raise CatalogError(
                f"chip {self.chip.name} has no {name} in the catalogue, which {collective.name} "
                f"over {collective.devices} devices needs; use fewer devices per replica, or add "
                "the figure with its source"
            )
        latency_s = self.efficiency.collective_s if inside else self.efficiency.network_s
        return float(figure) * self.efficiency.collective_bandwidth_rate, latency_s
