"""The answer of a bridge: two sides, and the parts that lead from one to the other."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Final

import pandas as pd

from planner.economics import DEFINITION_TEXT, DEFINITIONS
from planner.economics.bridge import QUANTITIES, RATE_UNITS, Quantity
from planner.economics.drivers import BEHAVIOUR, FACTOR_TEXT, FACTORS
from planner.jsonable import json_text
from planner.results.formatting import money, percent
from planner.results.notebook import Shown, Summary
from planner.search.bridge_techniques import Techniques
from planner.search.shapley import standard_error
from planner.search.sides import Side
from planner.version import VERSION

SCHEMA: Final = "planner-bridge/v1"
CATALOGUE: Final = "catalogue"
SPARE: Final = "spare capacity"
GROUPS: Final[Mapping[str, str]] = {
    **dict.fromkeys(("demand", "mix", "request size"), "traffic"),
    **dict.fromkeys(BEHAVIOUR, "behaviour"),
    **dict.fromkeys(("machine prices", "purchase terms", "power"), "prices"),
    **dict.fromkeys(("revenue prices", "partner's share"), "revenue terms"),
    CATALOGUE: "catalogue",
}
"""Factor → what kind of change it is."""
GROUP_ORDER: Final = ("traffic", "techniques", "behaviour", "prices", "revenue terms", "catalogue")
MEANING: Final[Mapping[str, str]] = {
    **FACTOR_TEXT,
    CATALOGUE: "prices, chips, models and step-time curves of the catalogue itself, with the same "
    "scenario",
    SPARE: "nodes beyond the smallest fleet that keeps the promises, and what they do to batches "
    "and idle time",
}


@dataclass(frozen=True)
class Part:
    """What one cause did."""

    factor: str
    """Of `planner.economics.drivers.FACTORS`, or `catalogue`."""
    cause: str = ""
    """The technique by which the factor changed, `spare capacity`, or empty: anything else."""
    amounts: Mapping[Quantity, int] = field(default_factory=dict)
    """Micro-dollars per hour, or billionths of a margin rate; they add up to the change."""
    errors: Mapping[Quantity, float] = field(default_factory=dict)
    """Standard errors in the same units, where techniques are sampled."""
    samples: Mapping[Quantity, tuple[float, ...]] = field(default_factory=dict)
    """Of each pair of orders, in the same units; pairs are the same for all parts."""


@dataclass(frozen=True)
class Row:
    """One bar of a waterfall."""

    label: str
    group: str
    """traffic, techniques, behaviour, prices, revenue terms or catalogue."""
    amount: int
    """Micro-dollars per hour, or billionths of a margin rate."""
    error: float | None = None
    meaning: str = ""


@dataclass(frozen=True)
class Figure:
    """A figure that both sides stand on, and that differs between them."""

    name: str
    before: str
    after: str
    source_before: str
    source_after: str


@dataclass(frozen=True, repr=False)
class Bridge(Shown):
    """From the cost and margin of one side to those of the other."""

    before: Side
    after: Side
    ends: Mapping[Quantity, tuple[int, int]]
    """By quantity: micro-dollars per hour, or billionths of a margin rate, on both sides."""
    parts: tuple[Part, ...]
    techniques: Techniques | None
    """None: the behaviour is not divided by technique."""
    figures: tuple[Figure, ...]
    """Those not of the scenarios themselves that differ."""
    notes: tuple[str, ...] = ()
    """What a reader has to know to read the numbers right."""

    @property
    def labels(self) -> tuple[str, str]:
        """Labels of the two sides."""
        return self.before.label, self.after.label

    @property
    def definition(self) -> str:
        """Definition of margin that the headline uses: the second side's."""
        assert self.after.result.finance is not None
        return self.after.result.finance.margin_definition

    @property
    def definitions(self) -> tuple[str, ...]:
        """Definitions under which both sides have a margin, the headline's first."""
        known = [each for each in DEFINITIONS if ("margin", each) in self.ends]
        return tuple(sorted(known, key=lambda each: each != self.definition))

    @property
    def simulations(self) -> int:
        """Fleets simulated to divide the behaviour by technique."""
        fleets = () if self.techniques is None else self.techniques.fleets
        return sum(fleet.simulations for fleet in fleets)

    def change(self, quantity: str, definition: str = "") -> int:
        """Return the change of a quantity in its units.

        Raises:
            KeyError: a side has no such quantity.
        """
        before, after = self.ends[quantity, definition]
        return after - before

    def rows(self, quantity: str, definition: str = "", *, every: bool = False) -> list[Row]:
        """Return the bars of a waterfall, by group; their amounts add up to the change exactly.

        Args:
            quantity: cost, revenue, profit or margin.
            definition: of margin, for the last two.
            every: also those that are nothing.

        Raises:
            KeyError: a side has no such quantity.
        """
        key = (quantity, definition)
        if key not in self.ends:
            raise KeyError(key)
        amounts: dict[tuple[str, str], int] = {}
        samples: dict[tuple[str, str], list[tuple[float, ...]]] = {}
        for part in self.parts:
            row = self._row_of(part)
            amounts[row] = amounts.get(row, 0) + part.amounts[key]
            if key in part.samples:
                samples.setdefault(row, []).append(part.samples[key])
        return [
            Row(
                label,
                group,
                amount,
                error_of_sum(samples[group, label]) if (group, label) in samples else None,
                self._meaning(group, label),
            )
            for (group, label), amount in sorted(
                amounts.items(), key=lambda each: GROUP_ORDER.index(each[0][0])
            )
            if amount or every
        ]

    def _row_of(self, part: Part) -> tuple[str, str]:
        if part.cause == SPARE:
            return "behaviour", SPARE
        if part.cause:
            return "techniques", part.cause
        divided = self.techniques is not None and part.factor in BEHAVIOUR
        return GROUPS[part.factor], f"{part.factor}, other" if divided else part.factor

    def _meaning(self, group: str, label: str) -> str:
        if group == "techniques" and self.techniques is not None:
            return self.techniques.meanings.get(label, "")
        text = MEANING[label.removesuffix(", other")]
        return f"{text}; not by a technique" if label.endswith(", other") else text

    def to_pandas(self) -> pd.DataFrame:
        """Return one row per part and quantity: group, factor, cause, amounts in whole units.

        `unit` says of what: µUSD/h, or 1e-9 of a margin rate.
        """
        rows = [
            {
                "quantity": quantity,
                "definition": definition,
                "group": self._row_of(part)[0],
                "factor": part.factor,
                "cause": part.cause,
                "amount": part.amounts[quantity, definition],
                "standard_error": part.errors.get((quantity, definition)),
                "unit": "1e-9" if quantity == "margin" else "µUSD/h",
            }
            for quantity, definition in QUANTITIES
            if (quantity, definition) in self.ends
            for part in self.parts
        ]
        names = ["quantity", "definition", "group", "factor", "cause", "amount", "standard_error"]
        frame = pd.DataFrame(rows, columns=[*names, "unit"])
        return frame.astype({"amount": "int64", "standard_error": "float64"})

    def summary(self) -> Summary:
        """Return cost and margin of both sides, and what each cause did to them per hour."""
        cost, margin = self.ends["cost", ""], self.ends.get(("margin", self.definition))
        cards = [(f"{money(cost[0] / 1e6)} → {money(cost[1] / 1e6)}", "cost per hour")]
        if margin is not None:
            text = f"{percent(margin[0] / 1e9)} → {percent(margin[1] / 1e9)}"
            cards.append((text, f"gross margin ({self.definition})"))
        by_cause: dict[tuple[str, str], dict[str, float]] = {}
        for (quantity, definition), column, size in (
            (("cost", ""), "cost_per_hour_usd", 1e6),
            (("revenue", ""), "revenue_per_hour_usd", 1e6),
            (("margin", self.definition), "margin_points", 1e7),
        ):
            known = (quantity, definition) in self.ends
            for row in self.rows(quantity, definition) if known else ():
                by_cause.setdefault((row.group, row.label), {})[column] = row.amount / size
        rows = [{"group": g, "cause": cause} | found for (g, cause), found in by_cause.items()]
        title = f"{self.before.label} → {self.after.label}"
        return Summary(title, "each cause's share of the change", tuple(cards), pd.DataFrame(rows))

    def to_json(self) -> str:
        """Return everything as JSON: sorted keys, the same bytes each time."""
        content = {
            "schema": SCHEMA,
            "planner": VERSION,
            "before": _side(self.before),
            "after": _side(self.after),
            "definition": self.definition,
            "definitions": {name: DEFINITION_TEXT[name] for name in DEFINITIONS},
            "units": {"money": "µUSD/h", "margin": f"1/{RATE_UNITS}"},
            "quantities": [
                {
                    "quantity": quantity,
                    "definition": definition or None,
                    "before": before,
                    "after": after,
                    "change": after - before,
                    "parts": [
                        {
                            "group": self._row_of(part)[0],
                            "factor": part.factor,
                            "cause": part.cause or None,
                            "amount": part.amounts[quantity, definition],
                            "standard_error": part.errors.get((quantity, definition)),
                        }
                        for part in self.parts
                    ],
                    "bars": [asdict(row) for row in self.rows(quantity, definition, every=True)],
                }
                for (quantity, definition), (before, after) in self.ends.items()
            ],
            "factors": {name: MEANING[name] for name in (*FACTORS, CATALOGUE, SPARE)},
            "techniques": None if self.techniques is None else _techniques(self.techniques),
            "figures_that_differ": [vars(figure) for figure in self.figures],
            "notes": list(self.notes),
        }
        return json_text(content)


def error_of_sum(samples: Sequence[tuple[float, ...]]) -> float:
    """Return the standard error of a sum whose summands come from the same pairs of orders."""
    return standard_error([math.fsum(pair) for pair in zip(*samples, strict=True)])


def _side(side: Side) -> dict[str, Any]:
    result = side.result
    assert result.finance is not None
    return {
        "label": side.label,
        "simulated": side.loaded is not None,
        "scenario": result.name,
        "scenario_sha256": result.scenario_sha256,
        "planner": result.version,
        "seed": result.seed,
        "hours": result.finance.hours,
        "accelerators_at_peak": result.headline["accelerators_at_peak"],
        "margin_definition": result.finance.margin_definition,
    }


def _techniques(found: Techniques) -> dict[str, Any]:
    return {
        "players": list(found.players),
        "needed": list(found.needed),
        "cannot_be_switched_off": dict(found.held),
        "orders": found.orders,
        "smallest_fleets": found.sized,
        "fleets": [
            {
                "side": ("before", "after")[fleet.side],
                "on": sorted(fleet.on),
                "nodes": None if fleet.nodes is None else dict(fleet.nodes),
                "cost_per_hour_usd": fleet.cost_per_hour_usd,
                "obstacle": fleet.obstacle,
            }
            for fleet in found.fleets
        ],
    }
