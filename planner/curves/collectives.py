"""Time of the communication between the devices of a replica.

The exchange of tokens with their experts over several nodes is bound by the network or by the links
inside a node, whichever takes longer; both are used at a time. Copies of a token, with k experts
chosen among d devices on N nodes::

                      over the network                inside the node
    low_latency       k (N - 1) / N                   k / N
    high_throughput   nodes hit · (N - 1) / N         devices hit
    gather            N - 1                           d - 1

of which n places out of N are hit by k choices in N·(1 − (1 − 1/N)^k) cases. Models that route to a
limited number of nodes (DeepSeek-V3: four) hit fewer of more nodes: not counted. Against DeepEP on
2, 4 and 8 nodes of 8 H100 (aiconfigurator kernel tables, SGLang 0.5.6), from 8 tokens per device
on: low_latency takes 0.99 to 1.31 of the measured time (median 1.12), high_throughput 0.65 to 1.32
on 2 and 4 nodes. On 8 nodes it takes 0.52 to 0.65, where that table is at half of the 51 GB/s that
DeepEP's README has of 64 devices.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from planner.curves.efficiency import Efficiency
from planner.curves.operators import Collective, ExpertExchange
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
        if isinstance(collective, ExpertExchange):
            return self._exchange(collective, tokens)
        devices = collective.devices
        if collective.kind == "gather" and not self.holds(collective):
            return self._gather(collective, tokens)
        bandwidth, latency_s = self._link(collective)
        size = collective.bytes_per_token * np.maximum(tokens, 1.0)
        if collective.kind == "all_reduce":
            # One-shot: everyone sends everything to everyone. Two-shot: reduce-scatter, then
            # all-gather, which moves least (Thakur, Rabenseifner and Gropp 2005) but waits twice.
            one_shot = latency_s + (devices - 1) * size / bandwidth
            two_shot = 2.0 * latency_s + 2.0 * (devices - 1) / devices * size / bandwidth
            return collective.count * np.minimum(one_shot, two_shot)
        return collective.count * (latency_s + size / bandwidth)

    def _gather(self, collective: Collective, tokens: Array) -> Array:
        """Return the time of an all-gather over nodes, or of its reverse."""
        network, network_s = self._link(collective)
        inside, _ = self._inside(collective)
        each = collective.bytes_per_token * np.maximum(tokens, 1.0) / (collective.devices - 1)
        nodes = -(-collective.devices // self.domain)
        over = (nodes - 1) * each / network
        within = (collective.devices - 1) * each / inside
        return collective.count * (network_s + np.maximum(over, within))

    def _exchange(self, exchange: ExpertExchange, tokens: Array) -> Array:
        """Return the time of a dispatch or combination; see the module's text."""
        devices = exchange.devices
        leaving = min(exchange.choices, devices - 1)
        each = exchange.bytes_per_token / leaving * np.maximum(tokens, 1.0)
        if exchange.load is not None:
            each = each * exchange.load.factor(tokens)
        inside, inside_s = self._inside(exchange)
        if self.holds(exchange):
            return exchange.count * (inside_s + leaving * each / inside)
        network, network_s = self._link(exchange)
        nodes = -(-devices // self.domain)
        remote = (nodes - 1) / nodes
        direct = network_s + each * np.maximum(
            exchange.choices * remote / network, exchange.choices / nodes / inside
        )
        spread = (
            network_s
            + self.efficiency.exchange_setup_s
            + each
            * np.maximum(
                places_hit(nodes, exchange.choices) * remote / network,
                places_hit(devices, exchange.choices) / inside,
            )
        )
        ways = {
            "low_latency": direct,
            "high_throughput": spread,
            "auto": np.minimum(direct, spread),
        }
        seconds: Array = exchange.count * ways[exchange.mode]
        return seconds

    def _inside(self, collective: Collective) -> tuple[float, float]:
        """Return bandwidth and latency of the links inside a node."""
        figure = self._figure("scale_up_bandwidth", collective) if self.domain > 1 else np.inf
        return figure * self.efficiency.collective_bandwidth_rate, self.efficiency.collective_s

    def _link(self, collective: Collective) -> tuple[float, float]:
        if self.holds(collective):
            return self._inside(collective)
        figure = self._figure("scale_out_bandwidth", collective)
        return figure * self.efficiency.collective_bandwidth_rate, self.efficiency.network_s

    def _figure(self, name: str, collective: Collective) -> float:
        figure = getattr(self.chip, name)
        if figure is None:
            raise CatalogError(
                f"chip {self.chip.name} has no {name} in the catalogue, which {collective.name} "
                f"over {collective.devices} devices needs; use fewer devices per replica, or add "
                "the figure with its source"
            )
        return float(figure)


def places_hit(places: int, choices: int) -> float:
    """Return the expected number of different places among as many equally likely choices.

    >>> places_hit(2, 2)
    1.5
    """
    return float(places * (1.0 - (1.0 - 1.0 / places) ** choices))
