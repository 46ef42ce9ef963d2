"""What a forecast stands on, and what a reader has to know to read its numbers right."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import chain

from planner.economics.forecast import Outlook
from planner.pricing import SCENARIO
from planner.provenance import plan_assumptions
from planner.results.formatting import count
from planner.results.result import Assumption
from planner.scenario.schema.forecast import Forecast
from planner.search.prospect import Prospect
from planner.search.sampling import Sample


def assumptions(
    stated: Forecast, outlook: Outlook, samples: Sequence[Sample]
) -> tuple[Assumption, ...]:
    """Return every figure behind a forecast once: its own, prices, and those of the samples."""
    found = chain(
        _demand(stated),
        _changes(stated),
        _paths(stated),
        _capacity(stated),
        _prices(stated, outlook),
        (each for sample in samples for each in sample.assumptions),
    )
    return tuple(dict.fromkeys(found))


def _own(name: str, value: float | str, unit: str, source: str, quarter: str) -> Assumption:
    tier = "estimated" if source else "scenario"
    return Assumption(name, value, unit, source or SCENARIO, quarter, tier)


def _demand(stated: Forecast) -> Iterator[Assumption]:
    start = stated.start
    for each in stated.demand:
        if each.start is not None:
            yield _own(f"demand of {each.name}", each.start, "1/s", each.source, start)
        for point in each.path:
            yield _own(f"demand of {each.name}", point.rate, "1/s", each.source, point.quarter)
        if each.growth is not None:
            yield _own(f"growth of {each.name}", each.growth, "1/year", each.source, start)
    yield _own("peak over mean demand", stated.peak_to_mean, "1", stated.peak_source, start)
    if stated.work != 1.0:
        yield _own(
            "work of a request, of that simulated", stated.work, "1", stated.work_source, start
        )
    for shift in stated.shifts:
        name = f"share of {shift.of} that becomes {shift.to} by {shift.end}"
        yield _own(name, shift.share, "1", shift.source, shift.start)


def _changes(stated: Forecast) -> Iterator[Assumption]:
    for upgrade in stated.upgrades:
        changes = ", ".join(f"{path}: {value}" for path, value in upgrade.set.items())
        yield _own(f"upgrade {upgrade.name}", changes, "", upgrade.source, upgrade.quarter)
    for chip in stated.chips:
        name = f"nodes of {chip.pool}: {chip.name}"
        yield _own(name, chip.node, "", chip.source, chip.quarter)


def _paths(stated: Forecast) -> Iterator[Assumption]:
    for path in (*stated.machine_prices, *stated.plan_prices):
        if path.change is not None:
            yield _own(f"price of {path.name}", path.change, "1/year", path.source, stated.start)
        for point in path.path:
            name = f"price of {path.name}, multiple of the first"
            yield _own(name, point.factor, "1", path.source, point.quarter)
    for each in stated.learning:
        by_volume = each.per_doubling is not None
        gain = each.per_doubling if by_volume else each.per_year
        unit = "1/doubling" if by_volume else "1/year"
        yield _own(f"throughput of {each.name}", gain or 0.0, unit, each.source, stated.start)


def _capacity(stated: Forecast) -> Iterator[Assumption]:
    capacity = stated.capacity
    for name, value, unit in (
        ("reserve of nodes", capacity.reserve, "1"),
        ("lead time", float(capacity.lead_quarters), "quarters"),
        ("life of owned nodes", float(capacity.life_quarters), "quarters"),
    ):
        yield _own(name, value, unit, "", stated.start)


def _prices(stated: Forecast, outlook: Outlook) -> Iterator[Assumption]:
    """Yield prices as they begin, those of later days where there are any, and which stay."""
    moving = {path.name for path in (*stated.machine_prices, *stated.plan_prices)}
    still: dict[str, str] = {}
    for (pool, number), rates in outlook.rates.items():
        has_path = outlook.machines[pool, number].node in moving
        for rate in rates[:1] if has_path else dict.fromkeys(rates):
            yield Assumption(
                f"price {rate.name} ({rate.terms}), {pool}",
                rate.per_device_hour_usd,
                "USD/device-hour",
                rate.source,
                rate.date,
                rate.tier,
            )
        if not has_path and len(set(rates)) == 1:
            still[rates[0].name] = rates[0].date
    for plans in outlook.plans.values():
        priced = [plan for plan in plans if plan is not None]
        for plan in priced[:1] if priced and priced[0].name in moving else dict.fromkeys(priced):
            yield from plan_assumptions(plan)
        is_still = len(set(priced)) == 1 and priced[0].name not in moving
        if is_still and any(plan_assumptions(priced[0])):
            still[priced[0].name] = priced[0].date
    for name, date in still.items():
        until = f"that of the first quarter, until {stated.until}"
        yield Assumption(f"price {name} in later quarters", until, "", SCENARIO, date, "scenario")


def notes(prospect: Prospect, stated: Forecast) -> Iterator[str]:
    """Yield what qualifies the numbers: cells, errors, what the band leaves out."""
    outlook = prospect.outlook
    last = outlook.quarters - 1
    for pool in (pool for group in outlook.groups for pool in group.pools):
        cells = prospect.cells(pool, last)
        if cells > 1:
            curve = prospect.curve(pool, last)
            yield (
                f"{pool}: in {outlook.labels[-1]} it is {count(float(f'{cells:.3g}'))} times the "
                f"largest simulated fleet ({curve.top.nodes} nodes): so many cells. From half its "
                "load to all of it, "
                f"nodes per load change by {curve.pooling:+.1%}, where half a node is "
                f"{curve.rounding(curve.top.load_rps):.1%}: so much is left of pooling."
            )
    yield from _above_tolerance(prospect, stated)
    if outlook.last_order < last:
        known = "none of its orders is" if outlook.last_order < 0 else "its orders are"
        until = "" if outlook.last_order < 0 else f" up to {outlook.labels[outlook.last_order]}"
        yield (
            f"The forecast ends with {outlook.labels[last]}, so {known} known{until}: what is "
            "ordered later arrives after it, for a demand that nobody has stated."
        )
    yield (
        "The band is the error of the surface alone, of accelerators, and of spend and margin as "
        "far as they follow from them. Errors of step times, prices and demand come on top of it."
    )
    yield (
        "Utilisation, and with it electricity, counts the batches of the peak: at lower load, "
        "steps carry fewer requests and the same work takes somewhat longer."
    )
    if any(rate < 1 for rate in prospect.quarters["served_rate"]):
        yield "Demand for which there are no nodes is not served, and earns nothing."


def _above_tolerance(prospect: Prospect, stated: Forecast) -> Iterator[str]:
    """Yield why the error of the surface is above its tolerance, where it is."""
    surface = stated.surface
    held = [(q, each) for q in prospect.projection.quarters for each in q.holdings]
    quarter, worst = max(held, key=lambda found: found[1].error_rate)
    if worst.error_rate <= surface.tolerance:
        return
    number = prospect.outlook.labels.index(quarter.label)
    parts = prospect.error_parts(worst.pool, worst.generation, number)
    is_cut_short = prospect.simulations >= surface.simulations
    where = f"{worst.machine.node} of {worst.pool} in {quarter.label}"
    remedy = {
        "rounding": "nodes are whole, and half a node is so much of a fleet as small as this, "
        "which no further simulation makes less",
        "misses": "the curve misses points that are left out by so much; raise "
        f"forecast.surface.{'simulations' if is_cut_short else 'duration'}",
        "pooling": "the fleet is many cells of the largest simulated one, which is still gaining "
        "by its size; raise forecast.surface.largest",
        "mix": "what lies between the two sampled mixes is missed by so much; split the forecast "
        "where the mix shifts most",
    }
    largest = max(parts, key=lambda name: parts[name])
    if largest == "rounding" and prospect.is_beyond(worst.pool, worst.generation, number):
        remedy["rounding"] = (
            "half a node is so much of the largest simulated fleet; raise forecast.surface.largest"
        )
    yield (
        f"The error of the surface, where quarters use it, is up to {worst.error_rate:.1%} "
        f"({where}), above the tolerance of {surface.tolerance:.1%}. Most of it "
        f"({parts[largest]:.1%}): {remedy[largest]}."
    )
