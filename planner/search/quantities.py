"""What a technique can be worth: quantities of a result that differ with and without it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final, Literal

from planner.results.formatting import level
from planner.results.result import Result
from planner.scenario.schema import Scenario

Unit = Literal["accelerators", "usd/h", "usd/Mtok", "rate", "s"]


@dataclass(frozen=True)
class Quantity:
    """One number of a result."""

    name: str
    title: str
    unit: Unit
    fleet: Literal["smallest", "own"]
    """Of which fleet: the smallest that keeps every promise, or the scenario's own."""
    less_is_better: bool
    request_class: str = ""
    """Of which class; empty: of all requests."""

    def value(self, result: Result) -> float | None:
        """Return the number; None where there is none."""
        found = self._found(result)
        return None if found is None or not math.isfinite(found) else float(found)

    def _found(self, result: Result) -> float | None:
        if self.unit != "s":
            named: float | None = result.headline[_HEADLINES.get(self.name, self.name)]
            return named
        if not self.request_class:
            return float(result.frames.total[self.name].iloc[0])
        classes = result.frames.classes
        return float(classes.loc[classes["class"] == self.request_class, self.name].iloc[0])

    def written(self, value: float | None) -> str:
        """Return an amount of it as a person reads it."""
        return level(self.unit, value)


def quantities(scenario: Scenario, *, sized: bool) -> tuple[Quantity, ...]:
    """Return what is compared.

    Args:
        scenario: its classes are looked at one by one if there are several.
        sized: whether fleets are sized; without that, money is that of the scenario's own fleet.
    """
    fleet: Literal["smallest", "own"] = "smallest" if sized else "own"
    names = [klass.name for klass in scenario.workload.classes]
    found = [
        Quantity("cost_per_hour_usd", "cost per hour", "usd/h", fleet, True),
        Quantity(
            name="cost_per_million_output_tokens_usd",
            title="cost per 1M output tokens",
            unit="usd/Mtok",
            fleet=fleet,
            less_is_better=True,
        ),
        Quantity("gross_margin_rate", "gross margin", "rate", fleet, False),
        *(_latency(metric) for metric in _LATENCIES),
        Quantity("slo_attainment_rate", "requests within all promises", "rate", "own", False),
    ]
    if sized:
        title = "accelerators needed"
        found.insert(0, Quantity("accelerators", title, "accelerators", "smallest", True))
    if len(names) > 1:
        found += [_latency(metric, name) for metric in _LATENCIES for name in names]
    return tuple(found)


_LATENCIES: Final = {"ttft": "time to first token, p99", "tpot": "time per output token, p99"}
_HEADLINES: Final = {"accelerators": "accelerators_at_peak"}
"""Quantities that the headline of a result calls otherwise."""


def _latency(metric: str, request_class: str = "") -> Quantity:
    return Quantity(f"{metric}_p99_s", _LATENCIES[metric], "s", "own", True, request_class)
