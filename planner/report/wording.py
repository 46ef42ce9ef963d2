"""What a report says, whatever it is shown on: titles, sentences, the four numbers."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from planner.lowering.workload import WEEKDAY_NAMES
from planner.results.columns import (
    BROKEN,
    FATES,
    METRIC_TITLES,
    NO_SAMPLE,
    REQUEST_METRICS,
    TASK_METRIC,
)
from planner.results.formatting import count, duration, money, percent, percentile, span
from planner.results.metrics import divide
from planner.results.result import Finance, Result

FATE_TITLES: Final = {fate: fate.replace("_", " ") for fate in FATES}
METRIC_SHORT: Final = {
    "ttft": "TTFT", "ttfat": "TTFAT", "tpot": "TPOT", "itl": "ITL", "e2e": "E2E", "queue": "queue",
    "task_latency": "task",
}  # fmt: skip
DEFINITION_TITLES: Final = {
    "paid_only": "paying users only",
    "all_users_in_cogs": "all users in cost of revenue",
    "free_in_marketing": "free users in marketing",
}
NOTABLE_LIMITED_RATE: Final = 0.01
"""Share of a class's requests refused by rate limits above which its SLO figure says so."""


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
    per_token = headline["cost_per_million_output_tokens_usd"]
    definition = headline["gross_margin_definition"]
    margin = headline["gross_margin_rate"]
    no_margin = "no prices" if result.finance is None else "no revenue"
    per_hour = headline["cost_per_hour_usd"]
    overload = _overload(result)
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
            _kept(result),
            alarm=headline["objectives_met"] is False,
        ),
        Card(
            money(per_token),
            "per 1M output tokens",
            "no prices" if per_hour is None else f"{money(per_hour)} per hour{overload}",
            alarm=bool(overload) and per_token is not None,
        ),
        Card(
            percent(margin),
            "gross margin",
            no_margin if margin is None else f"{definition}{overload}",
            alarm=margin is not None and (margin < 0 or bool(overload)),
        ),
    )


def handover_words(row: Mapping[Any, Any]) -> str:
    """Return how busy a pool's part in a hand-over between pools is; empty where it has none.

    Args:
        row: of the table of pools.
    """
    words = []
    if row["link_rate"] > 0:
        words.append(f"links {percent(row['link_rate'])} in use")
    if row["landing"] > 0:
        words.append(f"{count(row['landing'])} requests landing")
    if words:
        words.append(f"{percent(row['kv_parked_rate'])} of KV between pools")
    return ", ".join(words)


def _overload(result: Result) -> str:
    """Return what puts the money in question: an overloaded fleet always looks cheap."""
    if not result.overloaded:
        return ""
    broken = result.headline["objectives_met"] is False
    return ", with promises broken" if broken else ", with a growing queue"


def _kept(result: Result) -> str:
    if not result.has_evidence:
        return NO_SAMPLE
    if result.headline["objectives_met"]:
        return "all promises kept"
    verdicts = result.frames.objectives["verdict"]
    promises = _plural(len(verdicts), "promise")
    if broken := int((verdicts == BROKEN).sum()):
        return f"{broken} of {promises} broken"
    return f"{int((verdicts == NO_SAMPLE).sum())} of {promises} without a sample"


def unknown_promises(result: Result) -> str:
    """Return which promises nothing is known of; empty if there is none."""
    objectives = result.frames.objectives
    unknown = objectives[objectives["verdict"] == NO_SAMPLE].to_dict("records")
    listed = ", ".join(f"{row['class']}: {promise_title(row)}" for row in unknown)
    return f"No sample tells whether these promises are kept: {listed}." if listed else ""


def _plural(number: int, noun: str) -> str:
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def _nan(value: float | None) -> float:
    return math.nan if value is None else value


def run_facts(result: Result) -> str:
    """Return one line: when, how long, which seed."""
    facts = [
        f"{WEEKDAY_NAMES.get(result.weekday, result.weekday)} {result.start}",
        f"{span(result.duration_s)} of arrivals",
    ]
    if result.warmup_s:
        facts.append(f"{span(result.warmup_s)} warm-up")
    return " · ".join([*facts, f"seed {result.seed}", f"planner {result.version}"])


def shown_metrics(reasoning_tokens: int) -> tuple[str, ...]:
    """Return the latencies of requests that are worth a line, in order.

    Args:
        reasoning_tokens: of the requests; without any, the answer begins with the first token.
    """
    return tuple(m for m in REQUEST_METRICS if m != "ttfat" or reasoning_tokens > 0)


def task_money(result: Result, name: str) -> tuple[float, float]:
    """Return cost and revenue of a class per task finished [USD]; NaN where there is none."""
    if result.finance is None:
        return math.nan, math.nan
    costs = result.finance.class_costs
    row = costs[costs["class"] == name].iloc[0]
    return float(row["cost_per_task_usd"]), float(row["revenue_per_task_usd"])


def cost_per_request(finance: Finance) -> float:
    """Return all cost over all requests served in the period that is billed [USD]; NaN if none."""
    return divide(finance.cost_usd, float(finance.class_costs["requests"].sum()))


def task_sentence(row: Mapping[Any, Any]) -> str:
    """Return what the times of tasks leave out, if anything.

    Args:
        row: of the table of tasks.
    """
    parts = []
    if row["abandoned"]:
        parts.append(f"{_plural(row['abandoned'], 'task')} given up, as a call was not served")
    if row["under_way"]:
        parts.append(
            f"{_plural(row['under_way'], 'task')} under way at the end, which leaves long ones out "
            "of the times"
        )
    return f"{row['class']}: {'; '.join(parts)}." if parts else ""


def promise_title(promise: Mapping[Any, Any]) -> str:
    """Return what is promised, as in `p99 time to first token`."""
    if promise["metric"] == "loss":
        return "requests lost"
    return f"{percentile(promise['percentile'])} {METRIC_TITLES[promise['metric']]}"


def promise_found(promise: Mapping[Any, Any]) -> str:
    """Return the value that was found."""
    if promise["verdict"] == NO_SAMPLE:
        return NO_SAMPLE
    if math.isnan(promise["value"]):
        return "none finished" if promise["metric"] == TASK_METRIC else "none served"
    if promise["metric"] == "loss":
        return percent(promise["value"], 2)
    return duration(promise["value"])


def promise_limit(promise: Mapping[Any, Any]) -> str:
    """Return the limit as the scenario states it."""
    if promise["metric"] == "loss":
        return f"{100 * promise['limit']:g}%"
    return span(promise["limit"])


def rate_limit_sentence(row: Mapping[Any, Any]) -> str:
    """Return what the SLO figure of a class leaves out, if it is notable.

    Args:
        row: of the table of classes.
    """
    measured, limited = row["measured"], row["measured_rate_limited"]
    if limited <= NOTABLE_LIMITED_RATE * measured:
        return ""
    return f"{percent(limited / measured)} of arrivals refused by the rate limit, not counted"


def light_sentence(row: Mapping[Any, Any]) -> str:
    """Return how many answers are those of a lighter model, and what that leaves of the quality.

    Args:
        row: of the table of classes.
    """
    if not row["light_rate"] + row["escalated_rate"] > 0.0:
        return ""
    quality = row["quality_rate"]
    kept = "quality not stated" if math.isnan(quality) else f"quality {percent(quality)}"
    again = f", {percent(row['escalated_rate'])} by it and then by the own model"
    return f"{percent(row['light_rate'])} answered by the lighter model{again}; {kept}"


def trouble_title(result: Result) -> str:
    """Return the title over the warnings of a result."""
    return "cannot keep up" if result.overloaded else "not known to keep up"


def other_margins(result: Result) -> tuple[tuple[str, str], ...]:
    """Return title and gross margin of each definition but the headline's."""
    if result.finance is None or result.finance.gross_margin_rate is None:
        return ()
    return tuple(
        (DEFINITION_TITLES.get(row["definition"], row["definition"]), percent(row["margin_rate"]))
        for row in result.finance.margins.to_dict("records")
        if not row["headline"]
    )


def margin_sentence(result: Result) -> str:
    """Return the gross margin under every definition, the headline's first.

    Definitions that all agree are not repeated.
    """
    finance = result.finance
    if finance is None:
        return ""
    rows = sorted(finance.margins.to_dict("records"), key=lambda row: not row["headline"])
    if finance.gross_margin_rate is None:
        return "There is no revenue, hence no gross margin."
    shown = [percent(row["margin_rate"]) for row in rows]
    sentence = f"Gross margin is {shown[0]} ({rows[0]['definition']})"
    if len(set(shown)) == 1:
        sentence += ", the same under every definition."
    else:
        others = zip(shown[1:], rows[1:], strict=True)
        parts = [f"{rate} ({row['definition']})" for rate, row in others]
        sentence += f"; under other definitions {', '.join(parts)}."
    if finance.partner_share_usd:
        share = money(finance.partner_share_usd / finance.hours)
        sentence += f" A partner gets {share} of the revenue per hour."
    return sentence
