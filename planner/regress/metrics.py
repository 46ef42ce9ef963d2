"""From a result to the metrics that a baseline keeps."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Final

from planner.results.columns import BROKEN
from planner.results.result import Finance, Result
from planner.scenario.watched import BY_CLASS, BY_POOL, WHOLE

Values = dict[str, float | None]
"""By full name of the metric; None: there is nothing to measure it by."""
DIGITS: Final = 6
"""Significant ones that are kept: another machine's last bits are no change."""


def values_of(result: Result) -> Values:
    """Return the metrics of a result, rounded as baselines keep them."""
    frames, impact = result.frames, result.impact
    total = frames.total.iloc[0].to_dict() | result.headline | money_of(result.finance)
    total["promises_broken"] = int((frames.objectives["verdict"] == BROKEN).sum())
    total["energy_per_request_wh"] = None if impact is None else impact.energy_per_request_wh
    found: dict[str, Any] = _named("", _with_shares(total), [each.name for each in WHOLE])
    for row in frames.pools.to_dict("records"):
        found |= _named(f"pools.{row['pool']}.", row, [each.name for each in BY_POOL])
    energy = {} if impact is None else impact.class_footprint.set_index("class").to_dict("index")
    for row in frames.classes.to_dict("records"):
        values = _with_shares(row) | energy.get(row["class"], {})
        found |= _named(f"classes.{row['class']}.", values, [each.name for each in BY_CLASS])
    return {name: rounded(value) for name, value in found.items()}


def money_of(finance: Finance | None) -> dict[str, float | None]:
    """Return the metrics that prices change."""
    if finance is None:
        return {}
    return {
        "cost_per_hour_usd": finance.cost_per_hour_usd,
        "cost_per_million_output_tokens_usd": finance.cost_per_million_output_tokens_usd,
        "gross_margin_rate": finance.gross_margin_rate,
        "revenue_per_hour_usd": finance.revenue_per_hour_usd,
    }


def rounded(value: Any) -> float | None:
    """Return a number with six significant digits; None where it is none.

    >>> rounded(1.23456789), rounded(112), rounded(float("nan"))
    (1.23457, 112, None)
    """
    if value is None or not math.isfinite(value):
        return None
    number = float(f"{value:.{DIGITS}g}")
    return int(number) if number.is_integer() and abs(number) < 10**DIGITS else number


def _named(prefix: str, values: Mapping[Any, Any], names: list[str]) -> dict[str, Any]:
    return {f"{prefix}{name}": values.get(name) for name in names}


def _with_shares(row: Mapping[Any, Any]) -> dict[Any, Any]:
    """Return a row of the table of classes with the shares of what was measured."""
    measured = row["measured"]
    shares = {"served_rate": "measured_served", "rate_limited_rate": "measured_rate_limited"}
    return dict(row) | {
        name: row[column] / measured if measured else None for name, column in shares.items()
    }
