"""What a forecast stands on, and what a reader has to know to read its numbers right."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import chain

from planner.economics.forecast import Outlook
from planner.pricing import SCENARIO
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
        _prices(outlook),
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


def _prices(outlook: Outlook) -> Iterator[Assumption]:
    for (pool, _), rates in outlook.rates.items():
        rate = rates[0]
        yield Assumption(
            f"price {rate.name} ({rate.terms}), {pool}",
            rate.per_device_hour_usd,
            "USD/device-hour",
            rate.source,
            rate.date,
            rate.tier,
        )


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
    worst = max(e.error_rate for q in prospect.projection.quarters for e in q.holdings)
    if worst > stated.surface.tolerance:
        yield (
            f"The error of the surface, where quarters use it, is up to {worst:.1%}, above the "
            f"tolerance of {stated.surface.tolerance:.1%}. Raise forecast.surface.largest, so that "
            "half a node is less of a cell, or forecast.surface.simulations."
        )
    yield (
        "The band is the error of the surface alone. Errors of step times, prices and demand come "
        "on top of it."
    )
    yield (
        "Utilisation, and with it electricity, counts the batches of the peak: at lower load, "
        "steps carry fewer requests and the same work takes somewhat longer."
    )
    if any(rate < 1 for rate in prospect.quarters["served_rate"]):
        yield "Demand for which there are no nodes is not served, and earns nothing."
