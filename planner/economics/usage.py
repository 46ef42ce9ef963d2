"""What money is computed from: machine time held and used by pool, work done by class."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from planner.economics.checks import require_range
from planner.economics.plans import Plan, is_paying
from planner.economics.rates import MachineRate, billed_node_hours

_ROUNDING = 1e-6
"""Relative slack: hours arrive as sums of many floats."""


@dataclass(frozen=True)
class PoolUsage:
    """Machine time of one pool at one price, over one period.

    A pool that mixes prices (committed base, on-demand peak) is several of these with one name.
    """

    pool: str
    node: str
    """Node type in the catalogue."""
    chip: str
    devices_per_node: int
    period_hours: float
    """Length of the period that is billed; the same for every pool."""
    peak_nodes: float
    """Most nodes held at once."""
    node_hours: float
    """Hours for which nodes were held, start-up and draining included, summed over nodes."""
    busy_device_hours: float
    """Hours devices spent in steps: busy time of the replicas times devices per replica."""
    node_power_w: float
    """Nameplate IT power of a node, host included."""
    rate: MachineRate
    peak_arithmetic_device_hours: float | None = None
    """Hours that the arithmetic of the busy ones would take at peak; None: not known."""

    def __post_init__(self) -> None:
        name = f"PoolUsage({self.pool})"
        require_range(f"{name}.devices_per_node", self.devices_per_node, minimum=1)
        require_range(f"{name}.period_hours", self.period_hours)
        require_range(f"{name}.peak_nodes", self.peak_nodes)
        require_range(f"{name}.node_power_w", self.node_power_w)
        most_node_hours = self.peak_nodes * self.period_hours
        require_range(
            f"{name}.node_hours", self.node_hours, maximum=most_node_hours * (1 + _ROUNDING)
        )
        require_range(
            f"{name}.busy_device_hours",
            self.busy_device_hours,
            maximum=self.device_hours * (1 + _ROUNDING),
        )
        if self.rate.chip != self.chip:
            raise ValueError(
                f"{name}.rate prices {self.rate.chip}, but the pool runs on {self.chip}; "
                "use a price of that chip"
            )

    @property
    def device_hours(self) -> float:
        """Device-hours held."""
        return self.node_hours * self.devices_per_node

    @property
    def billed_device_hours(self) -> float:
        """Device-hours paid for under the terms of the rate."""
        billed = billed_node_hours(
            self.rate.terms,
            node_hours=self.node_hours,
            peak_nodes=self.peak_nodes,
            period_hours=self.period_hours,
        )
        return billed * self.devices_per_node

    @property
    def utilisation_rate(self) -> float:
        """Share of the device-hours held that was spent in steps, 0 to 1."""
        return min(1.0, self.busy_device_hours / self.device_hours) if self.device_hours else 0.0

    @property
    def arithmetic_rate(self) -> float:
        """Share of peak arithmetic attained in steps, 0 to 1; 1 where it is not known."""
        if self.peak_arithmetic_device_hours is None or not self.busy_device_hours:
            return 1.0
        return min(1.0, self.peak_arithmetic_device_hours / self.busy_device_hours)


@dataclass(frozen=True)
class ClassUsage:
    """What one request class got in the period; only requests served count."""

    name: str
    plan: Plan | None
    """What it pays; None earns nothing."""
    requests: int
    input_tokens: int
    """Prompt tokens, cached ones included."""
    output_tokens: int
    """Output tokens, reasoning included."""
    cached_input_tokens: int = 0
    """Of the input, found in the prefix cache."""
    reasoning_tokens: int = 0
    """Of the output, not shown to the user; billed as output."""
    tasks: int = 0
    """Sessions that finished."""
    pool_weights: Mapping[str, float] = field(default_factory=dict)
    """By pool: the class's claim on the pool's cost, in one unit per pool: seconds of step time, or
    `token_weight`. A class without weight in a pool bears none of its cost."""

    def __post_init__(self) -> None:
        name = f"ClassUsage({self.name})"
        for count in ("requests", "input_tokens", "output_tokens", "tasks"):
            require_range(f"{name}.{count}", getattr(self, count))
        require_range(
            f"{name}.cached_input_tokens", self.cached_input_tokens, maximum=self.input_tokens
        )
        require_range(f"{name}.reasoning_tokens", self.reasoning_tokens, maximum=self.output_tokens)
        for pool, weight in self.pool_weights.items():
            require_range(f"{name}.pool_weights[{pool}]", weight)
        object.__setattr__(self, "pool_weights", dict(self.pool_weights))

    @property
    def is_paying(self) -> bool:
        """Whether the class is a paying one in the margin definitions."""
        return is_paying(self.plan)


def token_weight(
    *,
    input_tokens: float,
    output_tokens: float,
    cached_input_tokens: float = 0.0,
    output_token_weight: float = 5.0,
    cached_token_weight: float = 0.1,
) -> float:
    """Return the tokens of a class in uncached input tokens, to divide a pool's cost by.

    For a pool whose step time is not known by class. The default weights are what list prices say
    of relative cost: output is priced at 4 to 8 times input, cached reads at a tenth.

    Args:
        input_tokens: prompt tokens, cached ones included.
        output_tokens: output tokens, reasoning included.
        cached_input_tokens: of the input, those found in the prefix cache.
        output_token_weight: an output token, in uncached input tokens.
        cached_token_weight: a cached input token, in uncached input tokens.

    >>> token_weight(input_tokens=1000, output_tokens=200, cached_input_tokens=400)
    1640.0
    """
    uncached = input_tokens - cached_input_tokens
    return (
        uncached + cached_token_weight * cached_input_tokens + output_token_weight * output_tokens
    )
