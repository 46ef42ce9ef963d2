"""From one scenario or result to another: which cause changed cost and margin by how much."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Final

from planner.catalog import Catalog, load_catalog
from planner.economics.attribution import whole_parts
from planner.economics.bridge import Change, Quantity, attribute
from planner.economics.drivers import BEHAVIOUR, FACTORS, Drivers
from planner.scenario import LoadedScenario
from planner.search.bridge_notes import differing_figures, notes
from planner.search.bridge_techniques import Game, Techniques, differing
from planner.search.bridged import CATALOGUE, SPARE, Bridge, Part
from planner.search.sides import (
    Side,
    Source,
    drivers_of,
    open_source,
    require_same_currency,
    same_figures,
    side_of,
    with_figures_of,
)
from planner.search.techniques import TECHNIQUES, Technique
from planner.simulation import run

USUAL_PAIRS: Final = 5
"""Pairs of orders that shares are estimated from where there are many techniques."""

Shares = Mapping[Quantity, Mapping[str, float]]
"""By quantity and factor, not yet rounded."""


def bridge(
    before: Source,
    after: Source,
    *,
    sets: Sequence[str] = (),
    techniques: bool = True,
    sized: bool = True,
    maximum_nodes: int = 4096,
    pairs: int = USUAL_PAIRS,
    jobs: int = 1,
    progress: Callable[[float, float], None] | None = None,
    catalog: Catalog | None = None,
    catalog_before: Catalog | None = None,
    registry: tuple[Technique, ...] = TECHNIQUES,
) -> Bridge:
    """Attribute every change of cost and margin between two sides to its causes.

    The parts (demand, mix, request size, cache hits, throughput, utilisation, machine prices,
    purchase terms, power, revenue prices, the partner's share) are Shapley shares, which no order
    decides; they add up to the change exactly. Between two scenarios, the serving techniques that
    they do not use alike get their shares of cache hits, throughput and utilisation by simulating
    every subset of them, and changes of the catalogue are told apart by simulating each side with
    the other's.

    Args:
        before: a scenario file (`FILE@NAME` for a named scenario of it), one already loaded, the
            folder of a result, or a result.
        after: the same.
        sets: values to change in both scenarios, as for `run`.
        techniques: simulate subsets to tell what single techniques did.
        sized: compare the smallest fleets of the subsets that keep every promise, not the
            scenarios' own, which have as many nodes with a technique as without.
        maximum_nodes: most nodes of a pool that are tried.
        pairs: of an order and its reverse, to sample where there are many techniques.
        jobs: most processes at a time; a script that asks for several has to be importable.
        progress: called with the subsets done and to do.
        catalog: of the second side, and of the first unless that has its own; by default the
            shipped one.
        catalog_before: of the first side.
        registry: the techniques that are known.

    Raises:
        ScenarioError: a scenario has faults.
        OutputError: a folder holds no result.
        BridgeError: the sides cannot be compared.
    """
    known = catalog or load_catalog()
    known_before = catalog_before or known
    opened = (open_source(before, known_before, sets), open_source(after, known, sets))
    if opened[0].label == opened[1].label:
        opened = (
            replace(opened[0], label=f"{opened[0].label} (before)"),
            replace(opened[1], label=f"{opened[1].label} (after)"),
        )
    first, second = side_of(opened[0], known_before), side_of(opened[1], known)
    require_same_currency(first, second)
    direct = attribute(first.drivers, second.drivers)
    shares, met = _apart_from_catalogue(first, second, direct)
    found = None
    if techniques and met is not None and second.loaded is not None:
        unlike = differing(met.scenario, second.loaded.scenario, registry)
        game = Game((met, second.loaded), known, sized, maximum_nodes, pairs, progress)
        found = game.play(unlike, jobs) if unlike else None
    ends = {key: (change.before, change.after) for key, change in direct.items()}
    answer = Bridge(
        before=first,
        after=second,
        ends=ends,
        parts=_parts(shares, ends, found),
        techniques=found,
        figures=differing_figures(first.result, second.result),
    )
    return replace(answer, notes=tuple(notes(answer)))


def _apart_from_catalogue(
    before: Side, after: Side, direct: Mapping[Quantity, Change]
) -> tuple[Shares, LoadedScenario | None]:
    """Return the shares with the catalogue's own, and the first scenario with the second's figures.

    Where the sides stand on different figures, each is simulated with the other's as well. The
    catalogue's share is the mean of what it changes on the first side and on the second; the other
    shares are the mean of the bridges on the one set of figures and on the other.
    """
    shares: Shares = {key: change.shares for key, change in direct.items()}
    if before.loaded is None or after.loaded is None:
        return shares, None
    assert before.catalog is not None
    assert after.catalog is not None
    if before.catalog == after.catalog and same_figures(before.loaded, after.loaded):
        return shares, before.loaded
    met = with_figures_of(before.loaded, after.loaded)
    first_new = _drivers(met, after.catalog, before.label)
    second_old = _drivers(with_figures_of(after.loaded, before.loaded), before.catalog, after.label)
    old, new = attribute(before.drivers, second_old), attribute(first_new, after.drivers)
    moved = attribute(before.drivers, first_new), attribute(second_old, after.drivers)
    both = [key for key in direct if all(key in each for each in (old, new, *moved))]
    return {
        key: {name: (old[key].shares[name] + new[key].shares[name]) / 2 for name in FACTORS}
        | {CATALOGUE: sum(each[key].change for each in moved) / 2}
        for key in both
    }, met


def _drivers(loaded: LoadedScenario, catalog: Catalog, label: str) -> Drivers:
    return drivers_of(run(loaded, catalog=catalog), label)


def _parts(
    shares: Shares, ends: Mapping[Quantity, tuple[int, int]], found: Techniques | None
) -> tuple[Part, ...]:
    """Return the parts in whole units, which add up to the change of every quantity."""
    causes = [(factor, "") for factor in FACTORS]
    if found is not None:
        names = (*found.shares, SPARE) if found.sized else tuple(found.shares)
        causes += [(factor, name) for factor in BEHAVIOUR for name in names]
    causes.append((CATALOGUE, ""))
    amounts: dict[tuple[str, str], dict[Quantity, int]] = {cause: {} for cause in causes}
    errors: dict[tuple[str, str], dict[Quantity, float]] = {cause: {} for cause in causes}
    samples: dict[tuple[str, str], dict[Quantity, tuple[float, ...]]]
    samples = {cause: {} for cause in causes}
    for key, (before, after) in ends.items():
        own = dict.fromkeys(causes, 0.0)
        own |= {(factor, ""): value for factor, value in shares.get(key, {}).items()}
        if found is not None:
            own |= _divided(own, key, found)
        for cause, amount in zip(
            causes, whole_parts(after - before, list(own.values())), strict=True
        ):
            amounts[cause][key] = amount
        for factor, name in causes if found is not None else ():
            share = found.shares.get(name, {}).get((factor, key)) if found is not None else None
            if share is not None and share.error is not None and math.isfinite(share.error):
                errors[factor, name][key] = share.error
                samples[factor, name][key] = share.samples
    return tuple(Part(*cause, amounts[cause], errors[cause], samples[cause]) for cause in causes)


def _divided(
    own: Mapping[tuple[str, str], float], key: Quantity, found: Techniques
) -> dict[tuple[str, str], float]:
    """Return the behaviour of a quantity by technique, spare capacity, and what is left."""
    parts: dict[tuple[str, str], float] = {}
    for factor in BEHAVIOUR:
        rest = own[factor, ""]
        for name, shares in found.shares.items():
            if (factor, key) in shares:
                parts[factor, name] = shares[factor, key].value
                rest -= shares[factor, key].value
        if found.sized and (factor, key) in found.smallest:
            parts[factor, SPARE] = own[factor, ""] - found.smallest[factor, key]
            rest -= parts[factor, SPARE]
        parts[factor, ""] = rest
    return parts
