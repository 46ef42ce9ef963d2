"""What contradicts itself in a forecast: names, dates, prices, and what the scenario would become.

The last is checked by making every variant of the scenario that the forecast needs, and checking
it as any scenario is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import pairwise

from planner.catalog import Catalog
from planner.errors import Fault, ScenarioError, did_you_mean, shown
from planner.scenario.faults import place_fault
from planner.scenario.nodes import Location, Node
from planner.scenario.parts import Parts
from planner.scenario.schema.forecast import Demand, Forecast, PricePath
from planner.scenario.variants import generations_by, upgrades_by, varied

Finding = tuple[Location, str]
Check = Callable[[Node], list[Fault]]
AT: Location = ("forecast",)


def check_forecast(parts: Parts, catalog: Catalog) -> Iterator[Finding]:
    """Yield contradictions within the forecast, and between it and the scenario."""
    forecast = parts.forecast
    if forecast is None:
        return
    yield from _names(forecast, parts)
    yield from _dates(forecast)
    yield from _demand(forecast, parts)
    yield from _upgrades(forecast)
    yield from _chips(forecast, catalog)
    yield from _prices(forecast, parts)
    yield from _mixes(parts)


def check_variants(root: Node, parts: Parts, check: Check, schema: Check) -> list[Fault]:
    """Return the faults that the scenario will have once its upgrades and chips are there.

    Args:
        root: the tree of a scenario that has no fault as it stands.
        parts: its valid parts.
        check: finds the faults of a changed tree across fields.
        schema: finds its faults field by field.
    """
    forecast = parts.forecast
    if forecast is None:
        return []
    found: dict[tuple[str, int, int, str], Fault] = {}
    for date, upgrades, generations in states(forecast):
        for fault in _faults_of(root, forecast, upgrades, generations, check, schema):
            key = (fault.file, fault.line, fault.column, fault.message)
            dated = replace(fault, message=f"{fault.message} (from {date} on)")
            found.setdefault(key, dated)
    return sorted(found.values())


def _faults_of(
    root: Node,
    forecast: Forecast,
    upgrades: Sequence[int],
    generations: dict[str, int],
    check: Check,
    schema: Check,
) -> Sequence[Fault]:
    try:
        tree = _without_forecast(varied(root, forecast, upgrades, generations))
    except ScenarioError as error:
        return error.faults
    if faults := schema(tree) or check(tree):
        return faults
    return [place_fault(tree, where, message) for where, message in _mixes(Parts.of(tree))]


def _without_forecast(root: Node) -> Node:
    """Return the scenario of a quarter alone: the forecast is about all of them."""
    assert isinstance(root.value, dict)
    return replace(root, value={k: v for k, v in root.value.items() if k != "forecast"})


def states(forecast: Forecast) -> list[tuple[str, tuple[int, ...], dict[str, int]]]:
    """Return what the scenario becomes when: its upgrades, and the generation then delivered."""
    dates = {each.quarter for each in forecast.upgrades} | {each.quarter for each in forecast.chips}
    return [
        (date, upgrades_by(forecast, date), generations_by(forecast, date))
        for date in sorted(dates)
        if forecast.start <= date <= forecast.until
    ]


# --- names ---------------------------------------------------------------------------------------


def _names(forecast: Forecast, parts: Parts) -> Iterator[Finding]:
    classes, pools = parts.names("workload", "classes"), parts.names("pools")
    for index, demand in enumerate(forecast.demand):
        yield from _known((*AT, "demand", index, "name"), "class", demand.name, classes)
    for index, shift in enumerate(forecast.shifts):
        for field in ("of", "to"):
            name = getattr(shift, field)
            yield from _known((*AT, "shifts", index, field), "class", name, classes)
        if shift.of == shift.to:
            message = f"{shown(shift.to)} is the class that it leaves; name another"
            yield (*AT, "shifts", index, "to"), message
    for index, upgrade in enumerate(forecast.upgrades):
        for place, name in enumerate(upgrade.classes):
            where = (*AT, "upgrades", index, "classes", place)
            yield from _known(where, "class", name, classes)
    for index, chip in enumerate(forecast.chips):
        yield from _known((*AT, "chips", index, "pool"), "pool", chip.pool, pools)
    for index, learning in enumerate(forecast.learning):
        yield from _known((*AT, "learning", index, "name"), "pool", learning.name, pools)
    plans = parts.names("prices", "plans")
    for index, price in enumerate(forecast.plan_prices):
        yield from _known((*AT, "plan_prices", index, "name"), "plan", price.name, plans)


def _known(where: Location, kind: str, name: str, names: Sequence[str]) -> Iterator[Finding]:
    if name not in names:
        advice = did_you_mean(name, names) or f"add it to the scenario; there is no {kind} yet"
        yield where, f"unknown {kind} {shown(name)}; {advice}"


# --- dates ---------------------------------------------------------------------------------------


def _dates(forecast: Forecast) -> Iterator[Finding]:
    dated = [((*AT, "upgrades", i, "quarter"), e.quarter) for i, e in enumerate(forecast.upgrades)]
    dated += [((*AT, "chips", i, "quarter"), e.quarter) for i, e in enumerate(forecast.chips)]
    for where, quarter in dated:
        yield from _within(where, quarter, forecast)
        if quarter == forecast.start:
            yield where, "holds from the first quarter on; write it into the scenario itself"
    for index, shift in enumerate(forecast.shifts):
        yield from _within((*AT, "shifts", index, "start"), shift.start, forecast)
    for index, learning in enumerate(forecast.learning):
        if learning.until is not None:
            yield from _within((*AT, "learning", index, "until"), learning.until, forecast)
    paths: list[tuple[str, int, Demand | PricePath]] = [
        *(("demand", index, each) for index, each in enumerate(forecast.demand)),
        *(("machine_prices", index, each) for index, each in enumerate(forecast.machine_prices)),
        *(("plan_prices", index, each) for index, each in enumerate(forecast.plan_prices)),
    ]
    for section, index, path in paths:
        yield from _path_dates((*AT, section, index, "path"), path, forecast)
    leads = [((*AT, "capacity", "lead_quarters"), forecast.capacity.lead_quarters)]
    leads += [
        ((*AT, "chips", index, "lead_quarters"), chip.lead_quarters or 0)
        for index, chip in enumerate(forecast.chips)
    ]
    for where, lead in leads:
        if lead >= forecast.quarters:
            yield (
                where,
                f"a lead time of {lead} quarters is as long as the forecast of "
                f"{forecast.quarters}: nothing that is ordered in it arrives; extend `until`, or "
                "shorten the lead time",
            )


def _within(where: Location, quarter: str, forecast: Forecast) -> Iterator[Finding]:
    if not forecast.start <= quarter <= forecast.until:
        yield (
            where,
            f"{quarter} is outside the forecast, {forecast.start} to {forecast.until}",
        )


def _path_dates(where: Location, path: Demand | PricePath, forecast: Forecast) -> Iterator[Finding]:
    dates = [point.quarter for point in path.path]
    for index, quarter in enumerate(dates):
        yield from _within((*where, index, "quarter"), quarter, forecast)
        if quarter == forecast.start:
            message = "the first quarter is that of the scenario itself; start later"
            yield (*where, index, "quarter"), message
    for index, (before, after) in enumerate(pairwise(dates)):
        if after <= before:
            message = f"{after} does not follow {before}; put points in order"
            yield (*where, index + 1, "quarter"), message


# --- demand --------------------------------------------------------------------------------------


def _demand(forecast: Forecast, parts: Parts) -> Iterator[Finding]:
    for where, request_class in parts.classes.items():
        if request_class.open is None:
            yield (
                where,
                f"{request_class.name} has no `open` arrivals, and only these can grow in a "
                "forecast; give it a rate, or leave the class out",
            )
    moved: dict[str, float] = {}
    for index, shift in enumerate(forecast.shifts):
        moved[shift.of] = moved.get(shift.of, 0.0) + shift.share
        if moved[shift.of] > 1 + 1e-9:
            message = f"{moved[shift.of]:.0%} of {shift.of} would move; at most all of it can"
            yield (*AT, "shifts", index, "share"), message


# --- chips and prices ----------------------------------------------------------------------------


def _chips(forecast: Forecast, catalog: Catalog) -> Iterator[Finding]:
    dated: dict[tuple[str, str], str] = {}
    for index, chip in enumerate(forecast.chips):
        where = (*AT, "chips", index)
        if chip.node not in catalog.nodes:
            advice = did_you_mean(chip.node, catalog.nodes)
            yield (*where, "node"), f"unknown node {shown(chip.node)}; {advice}"
        for field in ("node", "price", "name"):
            if field in chip.set:
                yield (*where, "set", field), f"state {field} beside `set`, not in it"
        if first := dated.get((chip.pool, chip.quarter)):
            message = f"pool {chip.pool} gets {first} in {chip.quarter} already"
            yield (*where, "quarter"), message
        dated.setdefault((chip.pool, chip.quarter), chip.name)


def _upgrades(forecast: Forecast) -> Iterator[Finding]:
    for index, upgrade in enumerate(forecast.upgrades):
        for path in upgrade.set:
            steps = path.replace("[", ".").replace("]", "").split(".")
            if steps[0] == "pools" and len(steps) == 3 and steps[2] == "node":
                yield (
                    (*AT, "upgrades", index, "set", path),
                    "what becomes of the nodes that are there? State it under `chips`: what is "
                    "delivered from a quarter on; owned nodes stay for their life",
                )


def _prices(forecast: Forecast, parts: Parts) -> Iterator[Finding]:
    used = {pool.node for pool in parts.pools.values()} | {each.node for each in forecast.chips}
    used |= set(_nodes_of_new_pools(forecast))
    for index, price in enumerate(forecast.machine_prices):
        if price.name not in used:
            advice = did_you_mean(price.name, used) or "name the node type of a pool"
            message = f"no pool ever runs on {shown(price.name)}; {advice}"
            yield (*AT, "machine_prices", index, "name"), message


def _mixes(parts: Parts) -> Iterator[Finding]:
    """Yield pools with several prices: their terms say what is ordered when and for how long."""
    for where, pool in parts.pools.items():
        if pool.price_mix:
            yield (
                (*where, "price_mix"),
                f"{pool.name} mixes prices, and a forecast orders the nodes of a pool at one; "
                "state `price` instead, or use two pools",
            )


def _nodes_of_new_pools(forecast: Forecast) -> Iterator[str]:
    """Yield the nodes of pools that upgrades add."""
    for upgrade in forecast.upgrades:
        added = upgrade.set.get("pools")
        for pool in added if isinstance(added, list) else []:
            if isinstance(pool, dict) and isinstance(pool.get("node"), str):
                yield pool["node"]
