"""What money is computed from: machine time held and used by pool, work done by class."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass, field, replace
from math import isclose
from typing import Literal

from planner.economics.checks import require_range
from planner.economics.plans import Plan, is_paying
from planner.economics.rates import ELASTIC_TERMS, MachineRate, billed_node_hours

_ROUNDING = 1e-6
"""Relative slack: hours arrive as sums of many floats."""


PoolRole = Literal["both", "prefill", "decode"]
"""What a pool does: prompts and answers, or one of them for another pool."""


@dataclass(frozen=True)
class PriceLayer:
    """A price for some of the nodes of a pool: layers are stacked, the first at the bottom."""

    rate: MachineRate
    nodes: float | None = None
    """How many nodes it is for; None: all that the layers below do not cover."""


@dataclass(frozen=True)
class PoolTime:
    """Machine time of one pool over one period, before prices."""

    pool: str
    node: str
    """Node type in the catalogue."""
    chip: str
    devices_per_node: int
    period_hours: float
    """Length of the period that is billed."""
    held: tuple[tuple[float, float], ...]
    """(hours, nodes): for so long so many nodes were held, one after the other."""
    busy_device_hours: float
    """Hours devices spent in steps: busy time of the replicas times devices per replica."""
    node_power_w: float
    """Nameplate IT power of a node, host included."""
    role: PoolRole = "both"
    peak_arithmetic_device_hours: float | None = None
    """Hours that the arithmetic of the busy ones would take at peak; None: not known."""

    def __post_init__(self) -> None:
        for hours, nodes in self.held:
            require_range(f"PoolTime({self.pool}).held hours", hours)
            require_range(f"PoolTime({self.pool}).held nodes", nodes)
        total = sum(hours for hours, _ in self.held)
        if not isclose(total, self.period_hours, rel_tol=_ROUNDING):
            raise ValueError(
                f"PoolTime({self.pool}).held adds up to {total!r} h, and the period is "
                f"{self.period_hours!r} h"
            )

    @property
    def peak_nodes(self) -> float:
        """Most nodes held at once."""
        return max((nodes for _, nodes in self.held), default=0.0)

    @property
    def node_hours(self) -> float:
        """Hours for which nodes were held, summed over nodes."""
        return sum(hours * nodes for hours, nodes in self.held)

    def priced(self, layers: Sequence[PriceLayer]) -> tuple[PoolUsage, ...]:
        """Return the time at each of the prices, the layer at the bottom first.

        Nodes are taken from the bottom up: a commitment at the bottom is used first, and what is
        above it is used at peaks only. A layer's devices are busy as the pool's are while they are
        held. A layer with a number of nodes is that many, held or not.

        Args:
            layers: with numbers of nodes, but for the last, which has none.

        Raises:
            ValueError: there is no layer, or not the last, and it alone, takes the rest.

        >>> rate = MachineRate("list", "h100", "on_demand", 2.0, "2026-11", "example")
        >>> base = MachineRate("base", "h100", "committed_1y", 1.0, "2026-11", "example")
        >>> time = PoolTime("chat", "hgx", "h100", 8, 24.0, held=((6.0, 2), (18.0, 5)),
        ...                 busy_device_hours=408.0, node_power_w=10_200.0)
        >>> for usage in time.priced([PriceLayer(base, 3), PriceLayer(rate)]):
        ...     print(usage.rate.name, usage.peak_nodes, usage.node_hours, usage.busy_device_hours)
        base 3 66.0 264.0
        list 2 36.0 144.0
        """
        if [layer.nodes is None for layer in layers] != [False] * (len(layers) - 1) + [True]:
            raise ValueError(
                f"PoolTime({self.pool}): only the last layer, and that one, takes the nodes that "
                "no other covers; leave its number of nodes out"
            )
        below: float = 0
        usages = []
        for layer in layers:
            top = float("inf") if layer.nodes is None else below + layer.nodes
            hours = sum(h * max(0, min(nodes, top) - below) for h, nodes in self.held)
            peak = max(0, self.peak_nodes - below) if layer.nodes is None else layer.nodes
            usages.append(
                PoolUsage(
                    pool=self.pool, node=self.node, chip=self.chip,
                    devices_per_node=self.devices_per_node, period_hours=self.period_hours,
                    peak_nodes=peak, node_hours=hours,
                    busy_device_hours=self._part(self.busy_device_hours, hours),
                    node_power_w=self.node_power_w, rate=layer.rate, role=self.role,
                    peak_arithmetic_device_hours=self._arithmetic(hours),
                )
            )  # fmt: skip
            below = top
        return tuple(usages)

    def _part(self, whole: float, node_hours: float) -> float:
        """Return what some of the node-hours held have of something that all have alike."""
        return whole * node_hours / self.node_hours if self.node_hours else 0.0

    def _arithmetic(self, node_hours: float) -> float | None:
        whole = self.peak_arithmetic_device_hours
        return None if whole is None else self._part(whole, node_hours)


@dataclass(frozen=True)
class Tokens:
    """Tokens of some requests."""

    input: int = 0
    """Prompt tokens, cached ones included."""
    cached_input: int = 0
    """Of the input, found in the prefix cache."""
    output: int = 0
    """Output tokens, reasoning included."""


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
    role: PoolRole = "both"
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
    def standing_node_hours(self) -> float:
        """Node-hours for which machines stand there for this pool, whatever is paid for them.

        Nodes on elastic terms go to others when they are handed back; committed and owned ones
        stay.
        """
        if self.rate.terms in ELASTIC_TERMS:
            return self.node_hours
        return max(self.node_hours, self.peak_nodes * self.period_hours)

    @property
    def billed_device_hours(self) -> float:
        """Device-hours paid for under the terms of the rate."""
        billed = billed_node_hours(
            self.rate.terms,
            node_hours=self.node_hours,
            peak_nodes=self.peak_nodes,
            period_hours=self.period_hours,
            take_or_pay_rate=self.rate.take_or_pay_rate,
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
    tasks: float = 0.0
    """Sessions that its tokens would do from beginning to end. Those that finished are fewer: what
    others have cost when the period ends would be charged to them."""
    pool_weights: Mapping[str, float] = field(default_factory=dict)
    """By pool: the class's claim on the pool's cost, in one unit per pool: seconds of step time, or
    `token_weight`. A class without weight in a pool bears none of its cost."""
    long_context: Tokens = Tokens()
    """Of its tokens, those of requests longer than the threshold of its plan."""

    def __post_init__(self) -> None:
        name = f"ClassUsage({self.name})"
        for count in ("requests", "input_tokens", "output_tokens", "tasks"):
            require_range(f"{name}.{count}", getattr(self, count))
        require_range(
            f"{name}.cached_input_tokens", self.cached_input_tokens, maximum=self.input_tokens
        )
        require_range(f"{name}.reasoning_tokens", self.reasoning_tokens, maximum=self.output_tokens)
        for part, whole in (
            ("input", self.input_tokens),
            ("cached_input", self.cached_input_tokens),
            ("output", self.output_tokens),
        ):
            tokens = getattr(self.long_context, part)
            require_range(f"{name}.long_context.{part}", tokens, maximum=whole)
        for pool, weight in self.pool_weights.items():
            require_range(f"{name}.pool_weights[{pool}]", weight)
        object.__setattr__(self, "pool_weights", dict(self.pool_weights))

    def times(self, factor: float) -> ClassUsage:
        """Return so many times what the class got: a sample of its traffic counted as all of it.

        >>> sample = ClassUsage("chat", None, requests=3, input_tokens=20, output_tokens=5)
        >>> all_of = sample.times(1e3)
        >>> all_of.requests, all_of.input_tokens, all_of.output_tokens
        (3000, 20000, 5000)
        """
        if factor == 1.0:
            return self
        counts = {
            name: round(getattr(self, name) * factor)
            for name in (
                "requests", "input_tokens", "output_tokens", "cached_input_tokens",
                "reasoning_tokens",
            )
        }  # fmt: skip
        long = Tokens(*(round(tokens * factor) for tokens in astuple(self.long_context)))
        return replace(self, **counts, tasks=self.tasks * factor, long_context=long)

    @property
    def is_paying(self) -> bool:
        """Whether the class is a paying one in the margin definitions."""
        return is_paying(self.plan)

    @property
    def tokens(self) -> Tokens:
        """All its tokens."""
        return Tokens(self.input_tokens, self.cached_input_tokens, self.output_tokens)


@dataclass(frozen=True)
class TokenWeights:
    """What tokens cost where one pool computes all kinds, in uncached input tokens.

    The defaults are what list prices say of relative cost: output is priced at 4 to 8 times input,
    cached reads at a tenth.
    """

    output: float = 5.0
    cached_input: float = 0.1
    source: str = "planner default"
    date: str = "2026-11"

    def __post_init__(self) -> None:
        require_range("TokenWeights.output", self.output)
        require_range("TokenWeights.cached_input", self.cached_input)

    def of(self, tokens: Tokens) -> tuple[float, float, float]:
        """Return the weights of the uncached input, the cached input and the output.

        >>> TokenWeights().of(Tokens(input=1000, cached_input=400, output=200))
        (600.0, 40.0, 1000.0)
        """
        uncached = float(tokens.input - tokens.cached_input)
        return uncached, self.cached_input * tokens.cached_input, self.output * tokens.output
