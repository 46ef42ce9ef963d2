"""What a user wants to plan, every blank filled."""

from __future__ import annotations

from dataclasses import dataclass

from planner.catalog import Catalog, Model, Node
from planner.errors import CatalogError

MODEL = "llama-3.1-70b"
"""Dense, well measured, and of the size that assistants serve."""
CHIP = "h100-sxm"
"""The chip with most measurements behind its curves."""
REQUESTS_PER_SECOND = "20"
LENGTHS = "azure-2023-conversation"
"""The best known public trace of a chat service."""
TTFT = "2 s"
"""Promised p99 of the time to first token: that of the quickstart's guests."""
TPOT = "60 ms"
"""Promised p99 of the time per output token: that of the quickstart's chats."""


@dataclass(frozen=True)
class Wishes:
    """The serving side of a scenario: model, machines, promises, prices.

    Args:
        name: of the scenario.
        model, node: in the catalogue.
        weight_dtype: of the model's weights.
        ttft_s, tpot_s: promised p99.
        price: of machine time, in the catalogue or in the scenario.
        own_price: with unit; None: `price` is in the catalogue.
        api_price: what the traffic pays, in the catalogue; None: it pays nothing.
        tensor_parallel: devices of a replica; None: chosen.
        nodes: None: estimated.
    """

    name: str
    model: Model
    node: Node
    weight_dtype: str
    ttft_s: float
    tpot_s: float
    price: str
    own_price: str | None = None
    api_price: str | None = None
    tensor_parallel: int | None = None
    nodes: int | None = None


def node_with(catalog: Catalog, name: str) -> Node:
    """Return the node called `name`, or the first one with the chip of that name.

    Raises:
        CatalogError: there is neither; or the chip is in no node of the catalogue.
    """
    if name in catalog.nodes:
        return catalog.nodes[name]
    chip = catalog.chip(name)
    nodes = [node for node in catalog.nodes.values() if node.chip == chip.name]
    if not nodes:
        sold = sorted({node.chip for node in catalog.nodes.values()})
        raise CatalogError(
            f"{name} is in no node of the catalogue, so nobody sells it by the machine; choose "
            f"one of {', '.join(sold)}"
        )
    return nodes[0]


def usual_price(catalog: Catalog, chip: str) -> str | None:
    """Return the name of the reference price of a chip: on demand, else whatever there is."""
    of_chip = [p for p in catalog.machine_prices.values() if p.chip == chip and p.reference]
    of_chip.sort(key=lambda price: price.terms != "on_demand")
    return of_chip[0].name if of_chip else None
