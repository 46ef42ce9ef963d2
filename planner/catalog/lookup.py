"""The loaded catalogue: find an entry by name, or the price that holds on a day."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import TypeVar

from planner.catalog.grids import Grid
from planner.catalog.hardware import Chip, Node
from planner.catalog.models import Model
from planner.catalog.prices import ApiPrice, MachinePrice, holds
from planner.errors import CatalogError, did_you_mean, shown

Entry = Model | Chip | Node | MachinePrice | ApiPrice | Grid
_Found = TypeVar("_Found")
_Price = TypeVar("_Price", MachinePrice, ApiPrice)


@dataclass(frozen=True)
class Catalog:
    """Models, chips, nodes, prices and grids by name; a name is unique over all six kinds."""

    models: Mapping[str, Model] = field(hash=False)
    chips: Mapping[str, Chip] = field(hash=False)
    nodes: Mapping[str, Node] = field(hash=False)
    machine_prices: Mapping[str, MachinePrice] = field(hash=False)
    api_prices: Mapping[str, ApiPrice] = field(hash=False)
    grids: Mapping[str, Grid] = field(hash=False)

    def model(self, name: str) -> Model:
        """Return the model called `name`; CatalogError with the nearest names if there is none."""
        return _find(self.models, name, "model", "models")

    def chip(self, name: str) -> Chip:
        """Return the chip called `name`; CatalogError with the nearest names if there is none."""
        return _find(self.chips, name, "chip", "chips")

    def node(self, name: str) -> Node:
        """Return the node called `name`; CatalogError with the nearest names if there is none."""
        return _find(self.nodes, name, "node", "nodes")

    def machine_price(self, name: str) -> MachinePrice:
        """Return the price of machine time called `name`; CatalogError if there is none."""
        return _find(self.machine_prices, name, "machine price", "prices")

    def api_price(self, name: str) -> ApiPrice:
        """Return the API price called `name`; CatalogError if there is none."""
        return _find(self.api_prices, name, "API price", "api")

    def grid(self, name: str) -> Grid:
        """Return the grid called `name`; CatalogError with the nearest names if there is none."""
        return _find(self.grids, name, "grid", "grids")

    def machine_price_on(self, name: str, date: str) -> MachinePrice:
        """Return the price of machine time, or of the series, called `name` that holds on a day.

        Raises:
            CatalogError: there is none of that name, or none on that day.
        """
        return _on_day(self.machine_prices, name, date, self.machine_price)

    def api_price_on(self, name: str, date: str) -> ApiPrice:
        """Return the API price, or that of the series, called `name` that holds on a day.

        Raises:
            CatalogError: there is none of that name, or none on that day.
        """
        return _on_day(self.api_prices, name, date, self.api_price)

    def with_prices(
        self,
        machine_prices: Iterable[MachinePrice] = (),
        api_prices: Iterable[ApiPrice] = (),
        *,
        whole_series: bool = True,
    ) -> Catalog:
        """Return a catalogue with more prices; they replace those of the same name.

        Args:
            machine_prices: of machine time.
            api_prices: of tokens.
            whole_series: replace all of a series that one of them belongs to.
        """
        return replace(
            self,
            machine_prices=_with(self.machine_prices, machine_prices, whole_series),
            api_prices=_with(self.api_prices, api_prices, whole_series),
        )

    def entry(self, name: str) -> Entry:
        """Return the entry called `name` of whichever kind; CatalogError if there is none."""
        everything: dict[str, Entry] = {
            **self.models,
            **self.chips,
            **self.nodes,
            **self.machine_prices,
            **self.api_prices,
            **self.grids,
        }
        return _find(everything, name, "entry", "")

    def price_for(self, chip: str, terms: str, date: str) -> MachinePrice:
        """Return the reference price of `chip` under `terms` that holds on `date`.

        Args:
            chip: name of a chip in the catalogue.
            terms: on_demand, committed_1y, committed_3y, spot, capacity_block or owned.
            date: YYYY-MM-DD; the latest price that is not later is taken.

        Raises:
            CatalogError: unknown chip, or no such price yet; the message lists what there is.
        """
        self.chip(chip)
        of_chip = [p for p in self.machine_prices.values() if p.chip == chip and p.reference]
        fitting = [p for p in of_chip if p.terms == terms and holds(p, date)]
        if fitting:  # of two from one day the later one read, which is the user's own
            return max(reversed(fitting), key=lambda price: price.date)
        known = ", ".join(f"{p.terms} from {p.date}" for p in of_chip) or "no price of that chip"
        raise CatalogError(
            f"no {terms} price for {chip} on {date}; the catalogue has {known}. "
            "State one under prices.nodes and name it in pools[].price"
        )


def _on_day(
    prices: Mapping[str, _Price], name: str, date: str, find: Callable[[str], _Price]
) -> _Price:
    """Return the price of the series `name`, or else the price `name`, that holds on `date`."""
    candidates = [p for p in prices.values() if p.series == name] or [find(name)]
    fitting = [price for price in candidates if holds(price, date)]
    if fitting:
        return max(fitting, key=lambda price: price.date)
    known = ", ".join(_days(price) for price in sorted(candidates, key=lambda p: p.date))
    raise CatalogError(
        f"no price {name} on {date}: it holds {known}; choose another price, or another day"
    )


def _days(price: MachinePrice | ApiPrice) -> str:
    return f"from {price.date}" + (f" until {price.until}" if price.until else "")


def _with(
    prices: Mapping[str, _Price], more: Iterable[_Price], whole_series: bool
) -> dict[str, _Price]:
    added = {price.name: price for price in more}
    taken = set(added)
    if whole_series:
        taken |= {price.series for price in added.values() if price.series}
    kept = {
        name: price
        for name, price in prices.items()
        if name not in taken and not (whole_series and price.series in taken)
    }
    return kept | added


def _find(entries: Mapping[str, _Found], name: str, kind: str, listing: str) -> _Found:
    if name in entries:
        return entries[name]
    partial = [entry for entry in entries if name.lower() in entry] if name else []
    nearest = sorted(partial, key=len)[:3]
    advice = f"did you mean {' or '.join(nearest)}?" if nearest else did_you_mean(name, entries)
    command = f"`planner catalog list {listing}`".replace(" `", "`")
    raise CatalogError(
        f"unknown {kind} {shown(name)}; {advice} {command} shows all".replace("  ", " ")
    )
