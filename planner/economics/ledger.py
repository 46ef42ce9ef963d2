"""The ledger: every amount is a quantity at a unit price, and a bill is the sum of its lines.

Amounts are whole micro-dollars and positive; the kind of a line says on which side it stands. Sums
are integer sums, so a bill and its lines agree to the micro-dollar however they are grouped.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

import pandas as pd

from planner.economics.checks import require_range
from planner.economics.money import CURRENCY, to_microusd, to_usd


class LineKind(StrEnum):
    """Side and role of a line; costs follow OpenCost: total = workload + idle + overhead."""

    WORKLOAD = "workload"
    """Cost of machines while they work."""
    IDLE = "idle"
    """Cost of machines that are paid for and do not work: spares, starting, handed back."""
    OVERHEAD = "overhead"
    """Cost beside the machines: node overhead, cooling and power conversion."""
    REVENUE = "revenue"
    """Earned from users."""
    PARTNER_SHARE = "partner_share"
    """Share of revenue owed to a partner."""


LARGEST_MICROUSD: Final = 2**63 - 1
"""An int64 column holds no more; sums beyond it would wrap silently."""

COST_KINDS: Final = (LineKind.WORKLOAD, LineKind.IDLE, LineKind.OVERHEAD)

LEDGER_COLUMNS: Final = (
    "line", "kind", "pool", "class", "price", "quantity", "unit",
    "unit_price_usd", "amount_usd", "amount_microusd", "currency", "source", "date",
)  # fmt: skip


@dataclass(frozen=True)
class LedgerLine:
    """One line: `quantity` of `unit` at `unit_price_usd`."""

    line: str
    """What it is for, e.g. `machine time`."""
    kind: LineKind
    quantity: float
    unit: str
    """device-hour, kWh, kW-month, Mtok, seat-month, message, or USD for a share of an amount."""
    unit_price_usd: float
    price: str
    """Name of the price, plan or policy that sets the unit price."""
    source: str
    date: str
    """Date of the price."""
    pool: str = ""
    """Pool that a cost belongs to."""
    class_name: str = ""
    """Class that revenue comes from."""

    def __post_init__(self) -> None:
        place = self.pool or self.class_name
        require_range(f"quantity of {self.line} ({place})", self.quantity)
        require_range(f"unit price of {self.line} ({place}) in USD", self.unit_price_usd)

    @property
    def amount_microusd(self) -> int:
        """Quantity × unit price, rounded to the micro-dollar."""
        return to_microusd(self.quantity, self.unit_price_usd)

    @property
    def amount_usd(self) -> float:
        """The amount, for showing."""
        return to_usd(self.amount_microusd)


@dataclass(frozen=True)
class Ledger:
    """All lines of a period, costs first."""

    lines: tuple[LedgerLine, ...]

    def __post_init__(self) -> None:
        total = self.total_microusd()
        if total > LARGEST_MICROUSD:
            raise ValueError(
                f"the ledger adds up to {to_usd(total):.3g} USD, more than the "
                f"{to_usd(LARGEST_MICROUSD):.3g} USD that an exact table can hold; "
                "check the units of prices and of the numbers of requests and tokens"
            )

    def total_microusd(
        self, *kinds: LineKind, pool: str | None = None, class_name: str | None = None
    ) -> int:
        """Return the exact sum of the lines of these kinds, in micro-dollars.

        Args:
            kinds: kinds to add; none means all of them.
            pool: only lines of this pool.
            class_name: only lines of this class.

        >>> kind = LineKind.IDLE
        >>> line = LedgerLine("machine time", kind, 2.0, "device-hour", 1.5, "x", "y", "2026")
        >>> Ledger((line, line)).total_microusd(*COST_KINDS)
        6000000
        """
        return sum(
            line.amount_microusd
            for line in self.lines
            if (not kinds or line.kind in kinds)
            and (pool is None or line.pool == pool)
            and (class_name is None or line.class_name == class_name)
        )

    @property
    def cost_microusd(self) -> int:
        """The bill: workload + idle + overhead, exactly. The partner's share is not in it."""
        return self.total_microusd(*COST_KINDS)

    @property
    def revenue_microusd(self) -> int:
        """All revenue, before the partner's share."""
        return self.total_microusd(LineKind.REVENUE)

    @property
    def partner_share_microusd(self) -> int:
        """What is owed to the partner."""
        return self.total_microusd(LineKind.PARTNER_SHARE)

    def to_frame(self) -> pd.DataFrame:
        """Return one row per line with the columns `LEDGER_COLUMNS`.

        `amount_microusd` is int64 and adds up exactly; `amount_usd` is the same in dollars.
        """
        rows = [
            (
                line.line, line.kind.value, line.pool, line.class_name, line.price, line.quantity,
                line.unit, line.unit_price_usd, line.amount_usd, line.amount_microusd, CURRENCY,
                line.source, line.date,
            )
            for line in self.lines
        ]  # fmt: skip
        frame = pd.DataFrame(rows, columns=list(LEDGER_COLUMNS))
        numbers = ["quantity", "unit_price_usd", "amount_usd"]
        return frame.astype(dict.fromkeys(numbers, "float64") | {"amount_microusd": "int64"})


def drop_empty(lines: Iterable[LedgerLine]) -> tuple[LedgerLine, ...]:
    """Return the lines with a quantity; a bill does not list what was not used.

    >>> none = LedgerLine("cached input", LineKind.REVENUE, 0.0, "Mtok", 0.14, "x", "y", "2026")
    >>> drop_empty([none])
    ()
    """
    return tuple(line for line in lines if line.quantity > 0)
