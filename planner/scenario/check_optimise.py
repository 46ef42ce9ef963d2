"""Whether what `planner optimise` and `planner breakeven` are to compare can be compared."""

from __future__ import annotations

from collections.abc import Iterator

from planner.catalog import Catalog
from planner.errors import did_you_mean, shown
from planner.scenario.check_prices import check_machine_price
from planner.scenario.nodes import Location
from planner.scenario.parts import Parts
from planner.scenario.price_tables import with_price_tables
from planner.scenario.schema.optimise import Choice, Term
from planner.units import HOUR_S

Finding = tuple[Location, str]
MOST_HOURS = 168


def check_optimise(parts: Parts, catalog: Catalog) -> Iterator[Finding]:
    """Yield (location, message) for pools, prices and classes that cannot be optimised."""
    yield from _own_chip(parts)
    yield from _self_host(parts)
    if parts.optimise is None:
        return
    yield from _workload(parts)
    catalog, _ = with_price_tables(parts.root, catalog)
    names = parts.names("pools")
    chips = {
        pool.name: catalog.nodes[pool.node].chip
        for pool in parts.pools.values()
        if pool.node in catalog.nodes
    }
    seen: set[str] = set()
    for index, choice in enumerate(parts.optimise.pools):
        where: Location = ("optimise", "pools", index)
        if choice.pool not in names:
            advice = did_you_mean(choice.pool, names) or "add it to pools"
            yield (*where, "pool"), f"unknown pool {shown(choice.pool)}; {advice}"
        elif choice.pool in seen:
            message = f"{shown(choice.pool)} is listed already; give all its terms there"
            yield (*where, "pool"), message
        else:
            yield from _pool(parts, where, choice)
        seen.add(choice.pool)
        yield from _terms(parts, catalog, where, choice, chips.get(choice.pool))
    yield from _classes(parts, seen)


def _workload(parts: Parts) -> Iterator[Finding]:
    hours = (parts.duration_s or HOUR_S) / HOUR_S
    if hours != round(hours) or hours > MOST_HOURS:
        yield (
            ("workload", "duration"),
            f"optimise plans by the hour, for 1 to {MOST_HOURS} hours; found {hours:g}: state "
            "whole hours, as 24 h",
        )
    for place, start in parts.texts("workload", "start"):
        if not start.endswith(":00"):
            message = "optimise plans by the hour, so the workload starts on one"
            yield place, f"{message}; found {start}"
    if parts.has_trace:
        message = "optimise needs rates by the hour; describe the trace as open-loop classes with"
        yield ("workload", "trace"), f"{message} a shape (`planner trace describe` shows them)"


def _classes(parts: Parts, offered: set[str]) -> Iterator[Finding]:
    for where, klass in parts.classes.items():
        if klass.open is None:
            message = "optimise needs its rate by the hour; give it open"
            yield where, f"{message}, in place of another source"
        if not offered.intersection((klass.pool, *klass.overflow)):
            yield (
                (*where, "pool"),
                f"none of the pools of {klass.name} is in optimise.pools, so nothing serves it; "
                "add one there, or name one of those in overflow",
            )
        if klass.light is not None:
            message = "optimise routes by itself and knows no lighter model"
            yield (*where, "light"), f"{message}; delete it, or make it a class of its own"


def _pool(parts: Parts, where: Location, choice: Choice) -> Iterator[Finding]:
    pool = next((pool for pool in parts.pools.values() if pool.name == choice.pool), None)
    if pool is not None and pool.decode is not None:
        message = f"pool {pool.name} hands over to {pool.decode.pool}, and optimise sizes each pool"
        yield (*where, "pool"), f"{message} alone; offer pools that do both"


def _terms(
    parts: Parts, catalog: Catalog, where: Location, choice: Choice, chip: str | None
) -> Iterator[Finding]:
    own = parts.names("prices", "nodes")
    date = None if parts.prices is None else parts.prices.date
    lax = {each.name for each in parts.node_prices.values() if each.take_or_pay < 1}
    names: set[str] = set()
    for number, term in enumerate(choice.terms):
        place = (*where, "terms", number)
        if term.name in names:
            yield (*place, "name"), f"{shown(term.name)} is a term already; names are unique"
        names.add(term.name)
        if chip is not None:
            yield from check_machine_price((*place, "price"), term.price, chip, catalog, date, own)
        if term.price in lax:
            message = "optimise keeps committed nodes for the whole time, used or not; delete"
            yield (*place, "price"), f"{message} take_or_pay of {term.price}, or offer another"
        yield from _lead_time(parts, place, term)
    if choice.terms and all(term.maximum_share < 1 for term in choice.terms):
        total = sum(term.maximum_share for term in choice.terms)
        if total < 1:
            message = f"the shares of all terms add up to {total:.0%}, so no node can be had"
            yield (*where, "terms"), f"{message}; leave maximum_share out of one"


def _lead_time(parts: Parts, place: Location, term: Term) -> Iterator[Finding]:
    assert parts.optimise is not None
    needed_s = parts.optimise.needed_in
    every = [each for choice in parts.optimise.pools for each in choice.terms]
    if needed_s is None or term.lead_time <= needed_s:
        return
    if all(each.lead_time > needed_s for each in every):
        yield (
            (*place, "lead_time"),
            f"is longer than optimise.needed_in, as that of every term, so nothing can be had; "
            f"offer one that comes within {needed_s / 86400:g} days",
        )


def _self_host(parts: Parts) -> Iterator[Finding]:
    """Yield classes whose tokens nobody could buy, or whose load cannot be changed."""
    if parts.self_host is None:
        return
    plans = {plan.name: plan.kind for plan in parts.plans.values()}
    for where, klass in parts.classes.items():
        if klass.open is None:
            yield where, "self_host changes rates; give the class open, not another source"
        if plans.get(klass.plan or "") != "api":
            yield (
                where,
                f"self_host compares with the price of an API, and {klass.name} pays none; give it "
                "a plan of kind api",
            )


def _own_chip(parts: Parts) -> Iterator[Finding]:
    names = parts.names("pools")
    found = []
    for field in ("pool", "against"):
        for place, name in parts.texts("own_chip", field):
            found.append(name)
            if name not in names:
                advice = did_you_mean(name, names) or "add it to pools"
                yield place, f"unknown pool {shown(name)}; {advice}"
    if len(found) == 2 and found[0] == found[1]:
        message = "compares a pool with itself; name the pool with the bought chip"
        yield ("own_chip", "against"), message
    for where, pool in parts.pools.items():
        if pool.price_mix and pool.name in found[1:]:
            message = "own_chip compares with one price; state price in place of price_mix"
            yield (*where, "price_mix"), message
    if found:
        for where, klass in parts.classes.items():
            if klass.open is None:
                yield where, "own_chip compares rates; give the class open, not another source"
