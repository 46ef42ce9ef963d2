"""What a risk analysis says, whatever it is shown on: levels, intervals, the headline."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from planner.results.formatting import MISSING, level, share
from planner.version import VERSION

if TYPE_CHECKING:
    from planner.scenario.uncertain import ResolvedInput
    from planner.search.risk import Answer, Driver, Risk
    from planner.search.sensitivity import Estimate

SOURCES: Final = {
    "demand": "arrivals of {of}",
    "curves": "fitted kernel times: {of}",
    "overheads": "calibrated engine overheads of {of}",
    "step_times": "step times of {of}",
    "acceptance": "drafted tokens accepted in {of}",
    "machine_prices": "price of the machines of {of}",
    "plans": "what is paid under {of}",
}
WORDS: Final = (
    ("interval", "the middle draws: as many are below it as above"),
    ("by chance", "where an end of the interval would be with other draws"),
    ("p10, p90", "the answer with this input at its p10 or p90, all others at their medians"),
    ("alone", "first-order Sobol index: share of the variance that goes if it alone were known"),
    ("in all", "total Sobol index: share that stays if all others were known"),
)
_MOST_NAMES: Final = 4
_HEADLINES: Final = (
    "accelerators",
    "ttft_p99_s",
    "cost_per_million_output_tokens_usd",
    "gross_margin_rate",
)
"""Answers in the order of the four numbers of a result."""


def title_of(answer: Answer) -> str:
    """Return the title of an answer, and of its class if it has one."""
    quantity = answer.quantity
    title = quantity.title[0].upper() + quantity.title[1:]
    return f"{title}, {quantity.request_class}" if quantity.request_class else title


def fleet_of(answer: Answer) -> str:
    """Return of which fleet an answer is."""
    smallest = answer.quantity.fleet == "smallest"
    return "smallest fleet of each draw" if smallest else "the scenario's own fleet in each draw"


def headline_intervals(found: Risk) -> tuple[str, ...]:
    """Return the interval of each of the four numbers of a result, or why there is none."""
    known = {answer.quantity.name: answer for answer in found.headlines}
    return tuple(_interval_of(found, known.get(name)) for name in _HEADLINES)


def _interval_of(found: Risk, answer: Answer | None) -> str:
    if answer is None:
        return "no interval" if found.sized else "no interval: the fleet was given"
    if answer.interval is None:
        return "no interval: too few draws have one"
    of = ", smallest fleet of each draw" if answer.quantity.fleet == "smallest" else ""
    return f"{share(found.confidence)} interval {between(answer)}{of}"


def between(answer: Answer) -> str:
    """Return an interval: low to high."""
    if answer.interval is None:
        return MISSING
    unit = answer.quantity.unit
    low, high = answer.interval.low.value, answer.interval.high.value
    return f"{level(unit, low)} to {level(unit, high)}"


def end_error(answer: Answer, end: str) -> str:
    """Return where an end of an interval would be with other draws."""
    if answer.interval is None:
        return MISSING
    found: Estimate = getattr(answer.interval, end)
    unit = answer.quantity.unit
    return f"{level(unit, found.low)} to {level(unit, found.high)}"


def index_words(estimate: Estimate | None) -> str:
    """Return a Sobol index with its confidence interval; below zero is noise around none."""
    if estimate is None:
        return MISSING
    low, high = max(estimate.low, 0.0), max(estimate.high, 0.0)
    return f"{max(estimate.value, 0.0):.2f} ({low:.2f} to {high:.2f})"


def swing_words(answer: Answer, driver: Driver) -> str:
    """Return from where to where an answer goes with one input."""
    unit = answer.quantity.unit
    return f"{level(unit, driver.low)} to {level(unit, driver.high)}"


def moves(each: ResolvedInput) -> str:
    """Return what an input moves."""
    stated = each.stated
    if stated.path is not None:
        return stated.path
    names = ", ".join(each.of[:_MOST_NAMES]) + (" …" if len(each.of) > _MOST_NAMES else "")
    return SOURCES[str(stated.source)].format(of=names if stated.of else "all")


def spread_words(each: ResolvedInput) -> str:
    """Return the distribution of an input as the scenario states it."""
    stated = each.stated
    shape = stated.factor if stated.factor is not None else stated.value
    if shape is None:
        return "its own error"
    found = shape.model_dump(exclude_none=True)
    texts = []
    for form, content in found.items():
        if isinstance(content, dict):
            inner = ", ".join(f"{key} {_amount(value)}" for key, value in content.items())
        elif isinstance(content, (list, tuple)):
            inner = ", ".join(map(_amount, content))
        else:
            inner = _amount(content)
        texts.append(f"{form} {inner}")
    return f"{'× ' if stated.factor is not None else ''}{'; '.join(texts)}"


def _amount(value: object) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def run_words(found: Risk) -> str:
    """Return one line: what was simulated, how often, with which seed."""
    facts = [
        found.part,
        f"{len(found.samples):,} draws ({found.method.replace('_', ' ')})",
        f"{found.simulations:,} simulated fleets",
        f"seed {found.seed}",
        f"planner {VERSION}",
    ]
    text = " · ".join(facts)
    return text[0].upper() + text[1:]


def headline(found: Risk) -> list[str]:
    """Return the answer in a few sentences."""
    sentences = []
    wanted = {answer.quantity.name: answer for answer in found.headlines}
    if needed := wanted.get("accelerators"):
        sentences.append(_sentence(found, needed, "accelerators keep every promise"))
    money_words = [
        f"{words} {_interval(found, wanted[name])}"
        for name, words in (
            ("cost_per_million_output_tokens_usd", "1M output tokens cost"),
            ("gross_margin_rate", "the gross margin is"),
        )
        if name in wanted
    ]
    if money_words:
        text = "; ".join(money_words)
        sentences.append(f"{text[0].upper()}{text[1:]}.")
    if found.kept is not None:
        kept = found.kept
        own = wanted.get("ttft_p99_s")
        late = f"; its p99 TTFT is {_interval(found, own)}" if own else ""
        sentences.append(
            f"The scenario's own fleet ({', '.join(f'{p} {n}' for p, n in found.nodes.items())} "
            f"nodes) keeps every promise in {share(kept.value)} of the draws "
            f"({share(kept.low)} to {share(kept.high)}){late}."
        )
    first = next(iter(found.headlines), None)
    if first is not None and first.drivers:
        sentences.append(_driver_sentence(first))
    return sentences


def _sentence(found: Risk, answer: Answer, what: str) -> str:
    if answer.interval is None:
        return f"No draw has an answer for {answer.quantity.title}."
    median = level(answer.quantity.unit, answer.interval.median.value)
    return f"{median} {what}, {found.confidence:.4g} interval {between(answer)}.".replace(
        f"{found.confidence:.4g} interval", f"{share(found.confidence)} interval"
    )


def _interval(found: Risk, answer: Answer) -> str:
    if answer.interval is None:
        return MISSING
    median = level(answer.quantity.unit, answer.interval.median.value)
    return f"{median} ({share(found.confidence)} interval {between(answer)})"


def _driver_sentence(answer: Answer) -> str:
    first = answer.drivers[0]
    index = "" if first.index is None else f", {index_words(first.index.total)} of the variance"
    return (
        f"{title_of(answer)}: moved most by {first.column}, {swing_words(answer, first)} from its "
        f"p10 to its p90{index}."
    )


def explained_words(answer: Answer) -> str:
    """Return how much of the variance single inputs explain; empty where that is not known."""
    found = answer.explained
    if found is None:
        return ""
    if found >= 1:
        return "Inputs one by one explain all of the variance, within what so few draws can tell."
    return (
        f"Inputs one by one explain {share(max(found, 0.0))} of the variance; the other "
        f"{share(1 - max(found, 0.0))} is their interplay, and what so few draws leave open."
    )
