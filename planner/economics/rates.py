"""Prices of machine time, and which hours are paid for."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final, Literal, get_args

from planner.economics.checks import require_range

Terms = Literal["on_demand", "committed_1y", "committed_3y", "spot", "owned"]
"""What kind of price: `owned` is capital recovery and operations; power and housing come on top."""

ELASTIC_TERMS: Final[frozenset[Terms]] = frozenset({"on_demand", "spot"})
"""Terms under which a node that is handed back costs nothing more."""

_DATE = re.compile(r"\d{4}(-\d{2}(-\d{2})?)?")


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

    def __post_init__(self) -> None:
        require_range(f"MachineRate({self.name}).per_device_hour_usd", self.per_device_hour_usd)
        if self.terms not in get_args(Terms):
            known = ", ".join(get_args(Terms))
            raise ValueError(
                f"MachineRate({self.name}).terms must be one of {known}, found {self.terms!r}"
            )
        _require_date(f"MachineRate({self.name}).date", self.date)

    @property
    def is_owned(self) -> bool:
        """Whether power and colocation are paid beside it."""
        return self.terms == "owned"


def billed_node_hours(
    terms: Terms, *, node_hours: float, peak_nodes: float, period_hours: float
) -> float:
    """Return the node-hours that are paid for.

    Elastic terms (on demand, spot) are paid while a node is held. Commitments are take-or-pay and
    owned nodes are paid for anyway, so both cost their peak number for the whole period.

    Args:
        terms: kind of price.
        node_hours: hours for which nodes were held, summed over nodes.
        peak_nodes: most nodes held at once.
        period_hours: length of the period, hours.

    >>> billed_node_hours("on_demand", node_hours=18.0, peak_nodes=2, period_hours=12.0)
    18.0
    >>> billed_node_hours("committed_1y", node_hours=18.0, peak_nodes=2, period_hours=12.0)
    24.0
    """
    return node_hours if terms in ELASTIC_TERMS else peak_nodes * period_hours


def _require_date(name: str, date: str) -> None:
    if not _DATE.fullmatch(date):
        raise ValueError(f"{name} must be YYYY-MM-DD (or YYYY-MM, or YYYY), found {date!r}")
