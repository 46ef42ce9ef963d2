"""What a reader of a bridge has to know to read its numbers right, and which figures differ."""

from __future__ import annotations

from collections.abc import Iterator

import pandas as pd

from planner.results.formatting import span
from planner.results.result import Assumption, Result
from planner.search.bridged import CATALOGUE, Bridge, Figure
from planner.search.sides import Side
from planner.search.subsets import broken_promises

_SCENARIO = "scenario"
_LISTED = 3


def differing_figures(before: Result, after: Result) -> tuple[Figure, ...]:
    """Return the figures that both results stand on, are no scenario's own, and differ."""
    first, second = _figures(before), _figures(after)
    return tuple(
        Figure(
            name,
            f"{first[name].value} {first[name].unit}".strip(),
            f"{second[name].value} {second[name].unit}".strip(),
            _origin(first[name]),
            _origin(second[name]),
        )
        for name in first
        if name in second and first[name].value != second[name].value
    )


def _figures(result: Result) -> dict[str, Assumption]:
    return {each.name: each for each in result.assumptions if each.tier != _SCENARIO}


def _origin(figure: Assumption) -> str:
    return ", ".join(text for text in (figure.source, figure.date, figure.tier) if text)


def notes(found: Bridge) -> Iterator[str]:
    """Yield one sentence or two for everything that qualifies the numbers.

    Args:
        found: the answer, its notes apart.
    """
    yield (
        "Every part is a Shapley share: what changing that alone does, averaged over all orders in "
        "which things could have changed. Parts are divided in whole micro-dollars per hour and "
        "billionths of a margin rate, and add up exactly."
    )
    yield from _sides(found.before, found.after)
    yield from _margins(found)
    yield from _pools(found.before, found.after)
    yield from _techniques(found)
    if found.figures and not any(
        part.factor == CATALOGUE and any(part.amounts.values()) for part in found.parts
    ):
        listed = [figure.name for figure in found.figures[:_LISTED]]
        listed += [f"{len(found.figures) - _LISTED} more"] if len(found.figures) > _LISTED else []
        yield (
            f"The sides stand on figures that differ ({', '.join(listed)}): prices are in parts "
            "of their own, all others in throughput and power."
        )


def _sides(before: Side, after: Side) -> Iterator[str]:
    first, second = before.result, after.result
    assert first.finance is not None
    assert second.finance is not None
    if first.finance.hours != second.finance.hours:
        lengths = [span(finance.hours * 3600) for finance in (first.finance, second.finance)]
        yield (
            f"All amounts are scaled to one hour: {before.label} covers {lengths[0]}, "
            f"{after.label} {lengths[1]}. "
            "If one is a peak and the other a whole day, the part of demand says so."
        )
    elif (first.weekday, first.start) != (second.weekday, second.start):
        yield (
            f"{before.label} begins {first.weekday} {first.start}, {after.label} {second.weekday} "
            f"{second.start}: different hours of the week are compared."
        )
    if first.seed != second.seed:
        yield f"Seeds differ ({first.seed}, {second.seed}), so that chance is in every part."
    if first.version != second.version:
        yield (
            f"{before.label} is of planner {first.version}, {after.label} of {second.version}: "
            "what that changed in the simulation is in the part of throughput."
        )
    for side in (before, after):
        if broken := broken_promises(side.result):
            yield (
                f"{side.label} does not keep its promises ({'; '.join(broken[:_LISTED])}): it is "
                "cheaper than a fleet that would."
            )


def _margins(found: Bridge) -> Iterator[str]:
    first, second = found.before.result.finance, found.after.result.finance
    assert first is not None
    assert second is not None
    if first.margin_definition != second.margin_definition:
        yield (
            f"{found.before.label} states its margin as {first.margin_definition}, "
            f"{found.after.label} as {second.margin_definition}; both are shown under the latter."
        )
    if not found.definitions:
        yield "No margin is divided: a side, or a mixture of both, has (almost) no revenue."


def _pools(before: Side, after: Side) -> Iterator[str]:
    """Yield where price and throughput changed together: another chip, another model."""
    first, second = (side.result.frames.pools.set_index("pool") for side in (before, after))
    for name in first.index.intersection(second.index):
        for column, words in (
            ("chip", "its price and its throughput changed together"),
            ("model", "what the other model takes is throughput"),
        ):
            was, now = first.loc[name, column], second.loc[name, column]
            if was != now:
                yield f"Pool {name} went from {was} to {now}: {words}."
    for one, other, side in ((first, second, before), (second, first, after)):
        if alone := _alone(one, other):
            yield (
                f"Only {side.label} has {alone}: what moves there is in throughput, at the pool's "
                "own price."
            )


def _alone(one: pd.DataFrame, other: pd.DataFrame) -> str:
    names = [str(name) for name in one.index.difference(other.index)]
    return f"pool {names[0]}" if len(names) == 1 else f"pools {', '.join(names)}" if names else ""


def _techniques(found: Bridge) -> Iterator[str]:
    stored = [side.label for side in (found.before, found.after) if side.loaded is None]
    techniques = found.techniques
    if techniques is None:
        if stored:
            yield (
                f"{' and '.join(stored)} cannot be simulated again, being no scenario, so "
                "throughput and utilisation are not divided by technique."
            )
        return
    if techniques.sized:
        yield (
            "Techniques are compared between the smallest fleets that keep every promise, by whole "
            "nodes; spare capacity is what the scenarios' own fleets have beyond these."
        )
    if techniques.orders is not None:
        yield (
            f"{len(techniques.players)} techniques are too many for all subsets: shares are means "
            f"over {techniques.orders} orders, with their standard errors."
        )
    for name, why in techniques.held.items():
        yield f"{name} differs but cannot be switched off: {why}."
    if techniques.needed:
        broken = next(fleet.obstacle for fleet in techniques.fleets if fleet.obstacle)
        yield (
            f"Without {' and '.join(techniques.needed)} some fleet cannot be ({broken}), so it is "
            "not divided off and its part is in the other throughput."
        )
    elif techniques.players and not techniques.shares:
        broken = next(fleet.obstacle for fleet in techniques.fleets if fleet.obstacle)
        yield f"Nothing is divided by technique, since not even with all of them {broken}."
