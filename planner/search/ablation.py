"""The answer of an ablation: what was measured, and what follows for each technique."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import pandas as pd

from planner.jsonable import json_text
from planner.results.notebook import Shown, Summary
from planner.search.quantities import Quantity
from planner.search.subsets import Key, Measured
from planner.search.switches import Switch
from planner.search.techniques import TECHNIQUES
from planner.version import VERSION

SCHEMA: Final = "planner-ablation/v1"
_ERROR: Final = "standard_error"


@dataclass(frozen=True)
class Effect:
    """What one technique does to one quantity; None where it cannot be known."""

    technique: str
    alone: float | None
    """Change when it alone is switched on, and all others are off."""
    removed: float | None
    """Change when it alone is switched off, and all others are on."""
    share: float | None
    """Shapley share of the change from none to all."""
    error: float | None = None
    """Standard error of the share, where it is estimated from some of the orders."""


@dataclass(frozen=True)
class Decomposition:
    """One quantity, from none of the techniques to all of them."""

    quantity: Quantity
    none: float | None
    """With none of the techniques but `needed`."""
    all: float | None
    effects: tuple[Effect, ...]
    """In the order of the techniques. The shares add up to `all` − `none`."""
    needed: tuple[str, ...] = ()
    """Techniques without which some subset has no such number: they are on throughout."""

    @property
    def change(self) -> float | None:
        """Return the change from none to all."""
        return None if self.none is None or self.all is None else self.all - self.none


@dataclass(frozen=True, repr=False)
class Ablation(Shown):
    """What the techniques of a scenario are worth."""

    name: str
    seed: int
    part: str
    """Which part of the scenario was simulated."""
    whole: bool
    """Whether that is all of it."""
    start: str
    weekday: str
    duration_s: float
    switches: tuple[Switch, ...]
    """The techniques that were switched off and on."""
    fixed: Mapping[str, str]
    """Techniques that are on but cannot be switched off → why."""
    decompositions: tuple[Decomposition, ...]
    subsets: tuple[Measured, ...]
    """In order of size, the largest first."""
    orders: int | None
    """Orders of switching on that the shares are estimated from; None: all, so they are exact."""
    sized: bool
    notes: tuple[str, ...] = ()
    """What a reader has to know to read the numbers right."""

    @property
    def techniques(self) -> tuple[str, ...]:
        """Names of the techniques that were switched off and on."""
        return tuple(switch.technique.name for switch in self.switches)

    @property
    def simulations(self) -> int:
        """Number of simulated fleets."""
        return sum(each.simulations for each in self.subsets)

    def of(self, name: str, request_class: str = "") -> Decomposition:
        """Return the decomposition of a quantity.

        Raises:
            KeyError: it was not measured.
        """
        for each in self.decompositions:
            if (each.quantity.name, each.quantity.request_class) == (name, request_class):
                return each
        raise KeyError(name)

    def measured(self, on: frozenset[str]) -> Measured | None:
        """Return what was found with exactly these techniques on; None if it was not looked at."""
        return next((each for each in self.subsets if each.on == on), None)

    def rows(self) -> list[dict[str, Any]]:
        """Return one row per subset, flat: techniques as 1 or 0, then its numbers."""
        keys = [(d.quantity.name, d.quantity.request_class) for d in self.decompositions]
        return [
            {name: int(name in each.on) for name in self.techniques}
            | {_column(key): each.values.get(key) for key in keys}
            | {"nodes": _nodes(each), "obstacle": each.obstacle, "broken": "; ".join(each.broken)}
            for each in self.subsets
        ]

    def to_pandas(self) -> pd.DataFrame:
        """Return one row per quantity and technique: what it does alone, removed, and its share.

        Amounts are in the `unit` of their row.
        """
        return pd.DataFrame(
            [
                {
                    "quantity": each.quantity.name,
                    "class": each.quantity.request_class,
                    "unit": each.quantity.unit,
                    "technique": effect.technique,
                    "alone": effect.alone,
                    "removed": effect.removed,
                    "share": effect.share,
                    "standard_error": effect.error,
                }
                for each in self.decompositions
                for effect in each.effects
            ]
        )

    def summary(self) -> Summary:
        """Return what all techniques do together, and the share of each in the cost."""
        overall = [each for each in self.decompositions if not each.quantity.request_class]
        cards = tuple(
            (
                f"{each.quantity.written(each.none)} → {each.quantity.written(each.all)}",
                f"{each.quantity.title}, without and with all",
            )
            for each in overall[:4]
        )
        rows = [
            {"technique": name}
            | {
                f"{each.quantity.title}": each.quantity.written(effect.share)
                for each in overall[:4]
                for effect in each.effects
                if effect.technique == name
            }
            for name in self.techniques
        ]
        detail = "each technique's share of the change"
        return Summary(self.name, detail, cards, pd.DataFrame(rows))

    def to_json(self) -> str:
        """Return everything as JSON: sorted keys, the same bytes each time."""
        content = {
            "schema": SCHEMA,
            "planner": VERSION,
            "scenario": self.name,
            "seed": self.seed,
            "part": {
                "words": self.part,
                "whole": self.whole,
                "start": self.start,
                "weekday": self.weekday,
                "duration_s": self.duration_s,
            },
            "techniques": [
                {
                    "name": switch.technique.name,
                    "meaning": switch.technique.meaning,
                    "instead": switch.technique.instead,
                    "stays_on_in": dict(switch.held),
                }
                for switch in self.switches
            ],
            "cannot_be_switched_off": dict(self.fixed),
            "could_be_switched_on": {} if self.switches or self.fixed else settings(),
            "orders": self.orders,
            "sized": self.sized,
            "quantities": [_decomposition(each) for each in self.decompositions],
            "subsets": [
                {
                    "on": [name for name in self.techniques if name in each.on],
                    "values": {_column(key): value for key, value in each.values.items()},
                    "nodes": None if each.nodes is None else dict(each.nodes),
                    "obstacle": each.obstacle,
                    "broken": list(each.broken),
                    "near_miss": each.near_miss,
                    "simulations": each.simulations,
                }
                for each in self.subsets
            ],
            "notes": list(self.notes),
        }
        return json_text(content)


def read_ablation(content: Mapping[str, Any]) -> Ablation:
    """Return the ablation that `Ablation.to_json` wrote.

    Raises:
        KeyError, TypeError: it is of another version, or damaged.
    """
    known = {technique.name: technique for technique in TECHNIQUES}
    part = content["part"]
    decompositions = tuple(map(_read_decomposition, content["quantities"]))
    keys = {_column(key): key for each in decompositions for key in [_key(each)]}
    return Ablation(
        name=content["scenario"],
        seed=content["seed"],
        part=part["words"],
        **{name: part[name] for name in ("whole", "start", "weekday", "duration_s")},
        switches=tuple(
            Switch(known[each["name"]], each["stays_on_in"]) for each in content["techniques"]
        ),
        fixed=content["cannot_be_switched_off"],
        decompositions=decompositions,
        subsets=tuple(
            Measured(
                on=frozenset(each["on"]),
                values={
                    keys[name]: value for name, value in each["values"].items() if name in keys
                },
                broken=tuple(each["broken"]),
                **{name: each[name] for name in ("nodes", "obstacle", "near_miss", "simulations")},
            )
            for each in content["subsets"]
        ),
        orders=content["orders"],
        sized=content["sized"],
        notes=tuple(content["notes"]),
    )


def _read_decomposition(content: Mapping[str, Any]) -> Decomposition:
    stated = ("name", "title", "unit", "fleet", "less_is_better")
    return Decomposition(
        quantity=Quantity(
            **{name: content[name] for name in stated}, request_class=content["class"] or ""
        ),
        none=content["none"],
        all=content["all"],
        effects=tuple(
            Effect(*(each[name] for name in ("technique", "alone", "removed", "share", _ERROR)))
            for each in content["effects"]
        ),
        needed=tuple(content["needed"]),
    )


def _key(each: Decomposition) -> Key:
    return each.quantity.name, each.quantity.request_class


def settings() -> dict[str, str]:
    """Return every technique → what switches it on."""
    return {technique.name: technique.setting for technique in TECHNIQUES}


def _column(key: Key) -> str:
    name, request_class = key
    return f"{name}[{request_class}]" if request_class else name


def _nodes(measured: Measured) -> str:
    return ", ".join(f"{name} {count}" for name, count in (measured.nodes or {}).items())


def _decomposition(each: Decomposition) -> dict[str, Any]:
    quantity = each.quantity
    return {
        "name": quantity.name,
        "class": quantity.request_class or None,
        "title": quantity.title,
        "unit": quantity.unit,
        "fleet": quantity.fleet,
        "less_is_better": quantity.less_is_better,
        "none": each.none,
        "all": each.all,
        "change": each.change,
        "needed": list(each.needed),
        "effects": [
            {
                "technique": effect.technique,
                "alone": effect.alone,
                "removed": effect.removed,
                "share": effect.share,
                _ERROR: effect.error,
            }
            for effect in each.effects
        ],
    }
