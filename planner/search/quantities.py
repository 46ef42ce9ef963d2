"""What a technique can be worth: quantities of a result that differ with and without it."""

from __future__ import annotations

import math
from collections.abc import Callable
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
    of: Callable[[Result], float | None]
    """None where the result has no such number."""
    request_class: str = ""
    """Of which class; empty: of all requests."""

    def value(self, result: Result) -> float | None:
        """Return the number; None where there is none."""
        found = self.of(result)
        return None if found is None or not math.isfinite(found) else float(found)

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
        Quantity(
            "cost_per_hour_usd", "cost per hour", "usd/h", fleet, True, _of("cost_per_hour_usd")
        ),
        Quantity(
            *("cost_per_million_output_tokens_usd", "cost per 1M output tokens", "usd/Mtok", fleet),
            *(True, _of("cost_per_million_output_tokens_usd")),
        ),
        Quantity(
            "gross_margin_rate", "gross margin", "rate", fleet, False, _of("gross_margin_rate")
        ),
        *(_latency(metric) for metric in _LATENCIES),
        Quantity(
            *("slo_attainment_rate", "requests within all promises", "rate", "own", False),
            _of("slo_attainment_rate"),
        ),
    ]
    if sized:
        accelerators = _of("accelerators_at_peak")
        needed = Quantity(
            "accelerators", "accelerators needed", "accelerators", "smallest", True, accelerators
        )
        found.insert(0, needed)
    if len(names) > 1:
        found += [_latency(metric, name) for metric in _LATENCIES for name in names]
    return tuple(found)


_LATENCIES: Final = {"ttft": "time to first token, p99", "tpot": "time per output token, p99"}


def _of(key: str) -> Callable[[Result], float | None]:
    def value(result: Result) -> float | None:
        found: float | None = result.headline[key]
        return found

    return value


def _latency(metric: str, request_class: str = "") -> Quantity:
    column = f"{metric}_p99_s"

    def value(result: Result) -> float | None:
        if not request_class:
            return float(result.frames.total[column].iloc[0])
        classes = result.frames.classes
        return float(classes.loc[classes["class"] == request_class, column].iloc[0])

    return Quantity(column, _LATENCIES[metric], "s", "own", True, value, request_class)
