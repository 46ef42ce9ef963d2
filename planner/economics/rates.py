"""Prices of machine time, and which hours are paid for."""

from __future__ import annotations

import re
from dataclasses import dataclass
from math import isclose
from typing import Final, Literal, get_args

from planner.economics.checks import require_range
from planner.economics.ledger import COST_KINDS, LineKind

Terms = Literal["on_demand", "committed_1y", "committed_3y", "spot", "capacity_block", "owned"]
"""What kind of price. Commitments and capacity blocks (booked and paid for a span of days) are paid
whether used or not; `owned` is capital recovery and operations, power and housing come on top."""

ELASTIC_TERMS: Final[frozenset[Terms]] = frozenset({"on_demand", "spot"})
"""Terms under which a node that is handed back costs nothing more."""

_DATE = re.compile(r"\d{4}(-\d{2}(-\d{2})?)?")


@dataclass(frozen=True)
class RatePart:
    """One part of the hourly price of a device, with a ledger line of its own."""

    line: str
    """As the ledger calls it, e.g. `capital recovery`."""
    per_device_hour_usd: float
    kind: LineKind | None = None
    """Kind of all of it; None: workload and idle, by the share of the hours worked."""

    def __post_init__(self) -> None:
        require_range(f"{self.line} per device-hour in USD", self.per_device_hour_usd)
        if self.kind is not None and self.kind not in COST_KINDS:
            raise ValueError(f"{self.line} is a cost, and {self.kind} is none")


@dataclass(frozen=True)
class MachineRate:
    """A dated, sourced price of one device for one hour."""

    name: str
    """Name in the catalogue or the scenario."""
    chip: str
    terms: Terms
    per_device_hour_usd: float
    date: str
    """Day from which it holds, `YYYY-MM-DD`; `YYYY-MM` and `YYYY` mean their first day."""
    source: str
    tier: str = "estimated"
    """official, measured, analyst, estimated or claimed."""
    take_or_pay_rate: float = 1.0
    """Under a commitment: share of the committed hours that is paid even if not used."""
    parts: tuple[RatePart, ...] = ()
    """What the price is made of, where that is known; they add up to it."""

    def __post_init__(self) -> None:
        name = f"MachineRate({self.name})"
        require_range(f"{name}.per_device_hour_usd", self.per_device_hour_usd)
        require_range(f"{name}.take_or_pay_rate", self.take_or_pay_rate, maximum=1.0)
        if self.terms not in get_args(Terms):
            known = ", ".join(get_args(Terms))
            raise ValueError(f"{name}.terms must be one of {known}, found {self.terms!r}")
        _require_date(f"{name}.date", self.date)
        total_usd = sum(part.per_device_hour_usd for part in self.parts)
        if self.parts and not isclose(total_usd, self.per_device_hour_usd, rel_tol=1e-9):
            raise ValueError(
                f"{name}.parts add up to {total_usd!r} USD, "
                f"and its price is {self.per_device_hour_usd!r}"
            )

    @property
    def is_owned(self) -> bool:
        """Whether power and colocation are paid beside it."""
        return self.terms == "owned"

    @property
    def all_parts(self) -> tuple[RatePart, ...]:
        """The parts of the price; a price without is one part, the machine time."""
        return self.parts or (RatePart("machine time", self.per_device_hour_usd),)


def billed_node_hours(
    terms: Terms,
    *,
    node_hours: float,
    peak_nodes: float,
    period_hours: float,
    take_or_pay_rate: float = 1.0,
) -> float:
    """Return the node-hours that are paid for.

    Elastic terms (on demand, spot) are paid while a node is held. Commitments and capacity blocks
    are take-or-pay: at least their number for the whole period times `take_or_pay_rate`. Owned
    nodes are paid for anyway.

    Args:
        terms: kind of price.
        node_hours: hours for which nodes were held, summed over nodes.
        peak_nodes: most nodes held at once, which is the number committed to.
        period_hours: length of the period, hours.
        take_or_pay_rate: share of a commitment that is paid even if not used.

    >>> billed_node_hours("on_demand", node_hours=18.0, peak_nodes=2, period_hours=12.0)
    18.0
    >>> billed_node_hours("committed_1y", node_hours=18.0, peak_nodes=2, period_hours=12.0)
    24.0
    >>> billed_node_hours("committed_1y", node_hours=18.0, peak_nodes=2, period_hours=12.0,
    ...                   take_or_pay_rate=0.875)
    21.0
    """
    if terms in ELASTIC_TERMS:
        return node_hours
    provisioned = peak_nodes * period_hours
    return provisioned if terms == "owned" else max(node_hours, take_or_pay_rate * provisioned)


def _require_date(name: str, date: str) -> None:
    if not _DATE.fullmatch(date):
        raise ValueError(f"{name} must be YYYY-MM-DD (or YYYY-MM, or YYYY), found {date!r}")
