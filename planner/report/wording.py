"""What a report says, whatever it is shown on: titles, sentences, the four numbers."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from planner.results.columns import FATES, METRIC_TITLES
from planner.results.formatting import count, duration, money, percent, percentile, span
from planner.results.result import Result

FATE_TITLES: Final = {fate: fate.replace("_", " ") for fate in FATES}
METRIC_SHORT: Final = {"ttft": "TTFT", "tpot": "TPOT", "itl": "ITL", "e2e": "E2E", "queue": "queue"}
DEFINITION_TITLES: Final = {
    "paid_only": "paying users only",
    "all_users_in_cogs": "all users in cost of revenue",
    "free_in_marketing": "free users in marketing",
}
_WEEKDAYS: Final = {
    "mon": "Monday", "tue": "Tuesday", "wed": "Wednesday", "thu": "Thursday", "fri": "Friday",
    "sat": "Saturday", "sun": "Sunday",
}  # fmt: skip


@dataclass(frozen=True)
class Card:
    """One of the four numbers."""

    value: str
    label: str
    note: str
    alarm: bool = False
    """The number is bad news: a promise is broken, or money is lost."""


def headline_cards(result: Result) -> tuple[Card, Card, Card, Card]:
    """Return accelerators at peak, p99 TTFT, cost per million output tokens, gross margin."""
    headline, frames = result.headline, result.frames
    nodes = headline["nodes_at_peak"]
    pools = len(frames.pools)
    kept = "all promises kept" if headline["objectives_met"] else _broken(result)
    definition = headline["gross_margin_definition"]
    margin = headline["gross_margin_rate"]
    per_hour = headline["cost_per_hour_usd"]
    return (
        Card(
            count(headline["accelerators_at_peak"]),
            "accelerators at peak",
            f"{_plural(nodes, 'node')}, {_plural(pools, 'pool')}"
            if headline["stable"]
            else f"{_plural(nodes, 'node')}: not enough",
            alarm=not headline["stable"],
        ),
        Card(
            duration(_nan(headline["p99_ttft_s"])),
            "p99 time to first token",
            kept,
            alarm=not headline["objectives_met"],
        ),
        Card(
            money(headline["cost_per_million_output_tokens_usd"]),
            "per 1M output tokens",
            "no prices" if per_hour is None else f"{money(per_hour)} per hour",
        ),
        Card(
            percent(margin),
            "gross margin",
            definition or "no prices",
            alarm=margin is not None and margin < 0,
        ),
    )


def _broken(result: Result) -> str:
    objectives = result.frames.objectives
    broken = int((~objectives["met"].astype(bool)).sum())
    return f"{broken} of {_plural(len(objectives), 'promise')} broken"


def _plural(number: int, noun: str) -> str:
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def _nan(value: float | None) -> float:
    return math.nan if value is None else value


def run_facts(result: Result) -> str:
    """Return one line: when, how long, which seed."""
    facts = [
        f"{_WEEKDAYS.get(result.weekday, result.weekday)} {result.start}",
        f"{span(result.duration_s)} of arrivals",
    ]
    if result.warmup_s:
        facts.append(f"{span(result.warmup_s)} warm-up")
    return " · ".join([*facts, f"seed {result.seed}", f"planner {result.version}"])


def promise_title(promise: Mapping[Any, Any]) -> str:
    """Return what is promised, as in `p99 time to first token`."""
    if promise["metric"] == "loss":
        return "requests lost"
    return f"{percentile(promise['percentile'])} {METRIC_TITLES[promise['metric']]}"


def promise_found(promise: Mapping[Any, Any]) -> str:
    """Return the value that was found."""
    if promise["metric"] == "loss":
        return percent(promise["value"], 2)
    return duration(promise["value"])


def promise_limit(promise: Mapping[Any, Any]) -> str:
    """Return the limit as the scenario states it."""
    if promise["metric"] == "loss":
        return f"{100 * promise['limit']:g}%"
    return span(promise["limit"])


def margin_sentence(result: Result) -> str:
    """Return the gross margin under every definition, the headline's first."""
    finance = result.finance
    if finance is None:
        return ""
    rows = sorted(finance.margins.to_dict("records"), key=lambda row: not row["headline"])
    parts = [f"{percent(row['margin_rate'])} ({row['definition']})" for row in rows]
    sentence = f"Gross margin is {parts[0]}; under other definitions {', '.join(parts[1:])}."
    if finance.partner_share_usd:
        share = money(finance.partner_share_usd / finance.hours)
        sentence += f" A partner gets {share} of the revenue per hour."
    return sentence
