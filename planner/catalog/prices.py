"""What machine time costs and what tokens sell for, each price with its date."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal, get_args

from planner.catalog.figures import Figure

Terms = Literal["on_demand", "committed_1y", "committed_3y", "spot", "owned"]
TERMS: Final[tuple[Terms, ...]] = get_args(Terms)


@dataclass(frozen=True, slots=True)
class MachinePrice:
    """Price of one device for one hour.

    Rented terms include power and housing; `owned` is capital and operations only, and power and
    housing are added by the scenario's own prices.
    """

    name: str
    title: str
    chip: str
    terms: Terms
    provider: str
    per_device_hour: Figure
    """USD/h; its date is the first day on which the price holds."""
    reference: bool = False
    """`Catalog.price_for` picks among these; the others show the spread and are chosen by name."""

    @property
    def date(self) -> str:
        """First day on which the price holds."""
        return self.per_device_hour.date


@dataclass(frozen=True, slots=True)
class ApiPrice:
    """List price of a model behind an API, in USD per million tokens."""

    name: str
    title: str
    provider: str
    input: Figure
    cached_input: Figure | None
    """Input tokens found in the prefix cache; None: no discount."""
    output: Figure
    """Output tokens, reasoning included."""
    notes: tuple[str, ...] = ()

    @property
    def date(self) -> str:
        """First day on which the price holds."""
        return self.output.date
