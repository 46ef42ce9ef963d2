"""The answer of a forecast: quarters, the surface that they stand on, and what was solved for."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any, Final

import pandas as pd

from planner.economics.forecast import Outlook, Projection, Quarter
from planner.jsonable import json_text
from planner.results.formatting import money, percent
from planner.results.notebook import Shown, Summary
from planner.results.result import Assumption
from planner.search.segments import SampledResponse, Segment
from planner.search.solve import (
    Solution,
    Target,
    Trade,
    Unknown,
    gross_profit_usd,
    margin_error,
    margin_rate,
    solve,
    trades,
)
from planner.search.surface import Curve, Point
from planner.version import VERSION

SCHEMA: Final = "planner-forecast/v1"


@dataclass(frozen=True, repr=False)
class Prospect(Shown):
    """Quarters and years ahead; `quarters`, `surface` and `years` are its tables."""

    name: str
    description: str
    seed: int
    outlook: Outlook
    response: SampledResponse
    projection: Projection
    simulations: int
    """Simulated fleets behind the surface."""
    assumptions: tuple[Assumption, ...]
    notes: tuple[str, ...] = ()
    """What a reader has to know to read the numbers right."""
    solutions: tuple[Solution, ...] = ()
    trades: tuple[Trade, ...] = ()

    # --- what would have to be true --------------------------------------------------------------

    def solve(self, unknown: Unknown, target: str | Target) -> Solution:
        """Return the value of an unknown at which a target comes out.

        Args:
            unknown: growth, efficiency or price, per year; or a multiple of all demand, or of the
                work of a request.
            target: as `spend_usd=85e9@2030`.

        Raises:
            SolveError: the target is malformed, or no value makes it true.
        """
        wanted = Target.parse(target) if isinstance(target, str) else target
        return solve(self.outlook, self.response, unknown, wanted)

    def trades_for(self, target: str | Target, *efficiencies: float) -> tuple[Trade, ...]:
        """Return the growth that makes a target true, by gain of efficiency per year."""
        wanted = Target.parse(target) if isinstance(target, str) else target
        return trades(self.outlook, self.response, wanted, efficiencies)

    # --- tables ----------------------------------------------------------------------------------

    @cached_property
    def quarters(self) -> pd.DataFrame:
        """One row per quarter: demand by class, accelerators by chip, spend, revenue, margin."""
        rows = self.quarter_rows(self.projection)
        ordered = [row["ordered_accelerators"] for row in rows]
        known = pd.Series(ordered, dtype=object)  # whole, or None
        return pd.DataFrame(rows).assign(ordered_accelerators=known)

    @cached_property
    def years(self) -> pd.DataFrame:
        """One row per calendar year that is wholly in the forecast."""
        return pd.DataFrame(self.year_rows())

    @cached_property
    def surface(self) -> pd.DataFrame:
        """One row per simulated load and pool, with the error of the curve there."""
        return pd.DataFrame(self.surface_rows())

    @property
    def chips(self) -> tuple[str, ...]:
        """Chips that are ever held, in order of their appearance."""
        held = (each.machine.chip for q in self.projection.quarters for each in q.holdings)
        return tuple(dict.fromkeys(held))

    def to_pandas(self) -> pd.DataFrame:
        """Return one row per quarter."""
        return self.quarters.copy()

    def summary(self) -> Summary:
        """Return where the forecast ends, and its quarters."""
        first, last = self.quarters.iloc[0], self.quarters.iloc[-1]
        devices = f"{first['accelerators']:,.0f} → {last['accelerators']:,.0f}"
        cards = (
            (devices, f"accelerators, {first['quarter']} to {last['quarter']}"),
            (money(self.quarters["spend_usd"].sum()), "spend in all quarters"),
            (
                percent(last["margin_rate"]),
                f"gross margin at the end ({last['margin_definition']})",
            ),
        )
        columns = [
            *("quarter", "accelerators", "ordered_accelerators", "spend_usd", "revenue_usd"),
            *("gross_profit_usd", "margin_rate", "served_rate"),
        ]
        detail = f"{self.simulations} fleets simulated"
        return Summary(self.name, detail, cards, self.quarters[columns])

    def quarter_rows(self, projection: Projection) -> list[dict[str, Any]]:
        """Return flat rows, one per quarter."""
        rows = []
        for each in projection.quarters:
            margin = each.statement.margin
            row: dict[str, Any] = {"quarter": each.label}
            row |= {f"demand_rps[{name}]": value for name, value in each.demand.items()}
            row |= {f"accelerators[{chip}]": _devices(each, chip) for chip in self.chips}
            row |= {
                "accelerators": each.devices,
                "accelerators_error": each.devices_error,
                "ordered_accelerators": self.ordered_devices(each),
                "spend_usd": each.spend_usd,
                "spend_error_usd": each.spend_error_usd,
                "revenue_usd": each.statement.revenue_usd,
                "gross_profit_usd": gross_profit_usd([each]),
                "margin_definition": margin.definition,
                "margin_rate": margin.margin_rate,
                "margin_error": margin_error([each]),
            }
            row |= {f"margin_rate[{name}]": rate for name, rate in margin.others.items()}
            row["served_rate"] = min(each.served_rates.values(), default=1.0)
            rows.append(row)
        return rows

    def ordered_devices(self, quarter: Quarter) -> int | None:
        """Return the devices that are ordered in a quarter; None where that is not known.

        What is ordered for the time after the forecast is not.
        """
        if not quarter.orders_are_known:
            return None
        machines = self.outlook.machines
        return sum(nodes * machines[kind].devices for kind, nodes in quarter.ordered.items())

    def year_rows(self) -> list[dict[str, Any]]:
        """Return flat rows, one per whole year."""
        by_year: dict[str, list[Quarter]] = {}
        for each in self.projection.quarters:
            by_year.setdefault(each.label[:4], []).append(each)
        rows = []
        for year, part in by_year.items():
            if len(part) == 4:
                rows.append(
                    {
                        "year": year,
                        "demand_rps": sum(sum(q.demand.values()) for q in part) / 4,
                        "accelerators": part[-1].devices,
                        "accelerators_error": part[-1].devices_error,
                        "spend_usd": sum(q.spend_usd for q in part),
                        "spend_error_usd": sum(q.spend_error_usd for q in part),
                        "revenue_usd": sum(q.statement.revenue_usd for q in part),
                        "gross_profit_usd": gross_profit_usd(part),
                        "margin_rate": margin_rate(part),
                        "margin_error": margin_error(part),
                    }
                )
        return rows

    def surface_rows(self) -> list[dict[str, Any]]:
        """Return flat rows, one per sampled point of a pool."""
        return [
            {
                "segment": number,
                "pool": pool,
                **self.segment_words(segment, pool),
                "mix": mix_words(segment, mix),
                "load_rps": point.load_rps,
                "nodes": point.nodes,
                "nodes_per_1000_rps": 1000 * point.nodes / point.load_rps,
                "busy_devices": point.busy_devices,
                "checks": point.checks,
                "error_rate": segment.error_rate(pool, point.load_rps),
            }
            for number, segment in enumerate(self.segments, start=1)
            for mix, curves in zip(segment.mixes, segment.curves, strict=True)
            for pool, curve in curves.items()
            for point in curve.points
        ]

    def curve_rows(self) -> list[dict[str, Any]]:
        """Return flat rows, one per curve: its largest fleet, its error there, how flat it is."""
        return [
            {
                "pool": pool,
                **self.segment_words(segment, pool),
                "mix": mix_words(segment, mix),
                "points": len(curve.points),
                "load_rps": curve.top.load_rps,
                "nodes": curve.top.nodes,
                "nodes_per_1000_rps": 1000 * curve.top.nodes / curve.top.load_rps,
                "error_rate": segment.error_rate(pool, curve.top.load_rps),
                "pooling_rate": curve.pooling,
            }
            for segment in self.segments
            for mix, curves in zip(segment.mixes, segment.curves, strict=True)
            for pool, curve in curves.items()
        ]

    @property
    def segments(self) -> list[Segment]:
        """The parts of the surface, by group and first quarter."""
        return sorted(
            self.response.segments.values(),
            key=lambda each: (each.key.group, each.quarters[0], each.key.numbers),
        )

    def segment_words(self, segment: Segment, pool: str) -> dict[str, str]:
        """Return what a pool is in a segment: quarters and node."""
        labels = [self.outlook.labels[quarter] for quarter in sorted(segment.quarters)]
        number = dict(segment.key.numbers).get(pool, 0)
        machine = self.outlook.machines[pool, number]
        return {"from": labels[0], "until": labels[-1], "node": machine.node, "chip": machine.chip}

    def curve(self, pool: str, quarter: int) -> Curve:
        """Return the curve of what a pool is delivered in a quarter; of its last mix."""
        group = next(i for i, g in enumerate(self.outlook.groups) if pool in g.pools)
        segment = self.response.segments[self.response.newest[group, quarter]]
        known = [curves[pool] for curves in segment.curves if pool in curves]
        return known[-1] if known else Curve((Point(1.0, 0, 1, 0.0),))

    def cells(self, pool: str, quarter: int) -> float:
        """Return of how many of the largest simulated fleets a pool consists in a quarter."""
        asked = self._asked_rps(pool, quarter)
        curve = self.curve(pool, quarter)
        return asked / curve.top.load_rps if curve.top.nodes else 0.0

    def _asked_rps(self, pool: str, quarter: int) -> float:
        """Return the load of a pool in terms of what the surface knows."""
        load = self.outlook.load(next(g for g in self.outlook.groups if pool in g.pools))
        return load[quarter] / self.outlook.throughput(pool, load)[quarter]

    def error_parts(self, pool: str, generation: int, quarter: int) -> dict[str, float]:
        """Return what the error of the nodes is made of: rounding, misses, pooling, mix."""
        segment = self.response.segment(pool, generation, quarter)
        return segment.error_parts(pool, self._asked_rps(pool, quarter))

    def is_beyond(self, pool: str, generation: int, quarter: int) -> bool:
        """Tell whether a pool is larger than any fleet that was simulated."""
        segment = self.response.segment(pool, generation, quarter)
        return segment.is_beyond(pool, self._asked_rps(pool, quarter))

    def to_json(self) -> str:
        """Return everything as JSON: sorted keys, the same bytes each time."""
        content = {
            "schema": SCHEMA,
            "planner": VERSION,
            "scenario": self.name,
            "seed": self.seed,
            "simulations": self.simulations,
            "quarters": self.quarter_rows(self.projection),
            "years": self.year_rows(),
            "surface": self.surface_rows(),
            "solutions": [
                {
                    "unknown": each.unknown,
                    "value": each.value,
                    "target": asdict(each.target),
                    "reached": each.reached,
                    "before": each.before,
                }
                for each in self.solutions
            ],
            "trades": [asdict(each) for each in self.trades],
            "assumptions": [asdict(each) for each in self.assumptions],
            "notes": list(self.notes),
        }
        return json_text(content)


def _devices(quarter: Quarter, chip: str) -> int:
    return sum(each.devices for each in quarter.holdings if each.machine.chip == chip)


def mix_words(segment: Segment, mix: tuple[float, ...]) -> str:
    """Return the mix of a group in words; of a single class, its name."""
    if len(segment.group.classes) == 1:
        return segment.group.classes[0]
    named = zip(segment.group.classes, mix, strict=True)
    return ", ".join(f"{name} {share:.0%}" for name, share in named)
