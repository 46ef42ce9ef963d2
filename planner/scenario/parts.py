"""The valid parts of a scenario that may have faults elsewhere.

A misspelt unit in one class must not hide an unknown model in a pool. So the checks across fields
work on those pools, classes and plans that are valid by themselves, and on the names of all.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypeVar

from pydantic import ValidationError

from planner.scenario.nodes import Location, Node
from planner.scenario.schema.fields import Part
from planner.scenario.schema.forecast import Forecast
from planner.scenario.schema.money import NodePrice, Plan, Prices
from planner.scenario.schema.optimise import Optimise, SelfHost
from planner.scenario.schema.pools import Pool
from planner.scenario.schema.regress import Regress
from planner.scenario.schema.site import Site
from planner.scenario.schema.workload import RequestClass, TraceInput
from planner.units import parse_quantity

_AnyPart = TypeVar("_AnyPart", bound=Part)


@dataclass(frozen=True)
class Parts:
    """What the checks look at; the keys are locations."""

    root: Node
    classes: dict[Location, RequestClass]
    pools: dict[Location, Pool]
    node_prices: dict[Location, NodePrice]
    plans: dict[Location, Plan]
    prices: Prices | None
    """None if any of the prices has a fault."""
    forecast: Forecast | None
    """None if there is none, or any of it has a fault."""
    site: Site | None
    """None if it has a fault."""
    optimise: Optimise | None
    """None if it is absent or has a fault."""
    regress: Regress | None
    """None if it is absent or has a fault."""
    self_host: SelfHost | None
    """None if it is absent or has a fault."""
    trace: TraceInput | None
    duration_s: float | None
    """`workload.duration`; None if it is missing or has a fault."""
    has_trace: bool
    """Whether `workload.trace` is written, valid or not."""

    @classmethod
    def of(cls, root: Node) -> Parts:
        """Return the valid parts of the tree `root`."""
        return cls(
            root=root,
            classes=_items(root, ("workload", "classes"), RequestClass),
            pools=_items(root, ("pools",), Pool),
            node_prices=_items(root, ("prices", "nodes"), NodePrice),
            plans=_items(root, ("prices", "plans"), Plan),
            prices=_valid(_at(root, ("prices",)), Prices, absent=Prices()),
            forecast=_valid(_at(root, ("forecast",)), Forecast),
            site=_valid(_at(root, ("site",)), Site, absent=Site()),
            optimise=_valid(_at(root, ("optimise",)), Optimise),
            regress=_valid(_at(root, ("regress",)), Regress),
            self_host=_valid(_at(root, ("self_host",)), SelfHost),
            trace=_valid(_at(root, ("workload", "trace")), TraceInput),
            duration_s=_duration_s(_at(root, ("workload", "duration"))),
            has_trace=_at(root, ("workload", "trace")) is not None,
        )

    def names(self, *location: str) -> list[str]:
        """Return the names in a list, those of faulty items too."""
        places = self.items(*location)
        return [name for place in places for _, name in self.texts(*place, "name")]

    def texts(self, *location: str | int) -> Iterator[tuple[Location, str]]:
        """Yield the text at `location`, or each text of a list there, in faulty items too."""
        node = _at(self.root, location)
        if node and isinstance(node.value, str):
            yield location, node.value
        elif node and isinstance(node.value, list):
            for index in range(len(node.value)):
                yield from self.texts(*location, index)

    def items(self, *location: str) -> list[Location]:
        """Return the locations of the items of a list, of faulty ones too."""
        node = _at(self.root, location)
        count = len(node.value) if node and isinstance(node.value, list) else 0
        return [(*location, index) for index in range(count)]


def _at(root: Node, location: Location) -> Node | None:
    """Return what is written at `location`; null counts as not written."""
    node, taken = root.follow(location)
    return node if taken == len(location) and node.value is not None else None


def _duration_s(node: Node | None) -> float | None:
    try:
        return parse_quantity(node.value, "duration") if node else None
    except ValueError:
        return None


def _items(root: Node, location: Location, model: type[_AnyPart]) -> dict[Location, _AnyPart]:
    node = _at(root, location)
    items = node.value if node and isinstance(node.value, list) else []
    parts = {(*location, index): _valid(item, model) for index, item in enumerate(items)}
    return {key: part for key, part in parts.items() if part is not None}


def _valid(
    node: Node | None, model: type[_AnyPart], absent: _AnyPart | None = None
) -> _AnyPart | None:
    if node is None:
        return absent
    try:
        return model.model_validate(node.plain())
    except ValidationError:
        return None
