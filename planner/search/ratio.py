"""How many nodes to prefill for how many to decode: the frontier between two pools in a chain.

Fewer nodes to prefill can be made up for by more to decode only up to a point, and the other way
round. The fleets that keep every promise and from which neither pool can give back a step form a
staircase; the cheapest of them is the answer, and its neighbours show what another ratio costs.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from planner.search.fleets import Nodes, Search, Trial

DEARER: Final = 2
"""Corners in a row that cost more than the best, after which the staircase is left."""


@dataclass(frozen=True)
class Ratio:
    """The best ratio between a pool that prefills and the one that decodes for it."""

    prefill: str
    decode: str
    best: Trial
    frontier: tuple[Trial, ...]
    """The staircase around it, from the fewest nodes that prefill to the most."""
    tried: tuple[Trial, ...]
    """All numbers of nodes of the two that were simulated, with those of the other pools as in the
    best; among them the fleets in which the best has a step moved from one to the other."""


def best_ratios(search: Search, nodes: Nodes) -> tuple[Nodes, tuple[Ratio, ...]]:
    """Return the cheapest fleet along the frontier of each chain, and these frontiers.

    Args:
        search: that found a fleet.
        nodes: the fleet; from it no pool can give back a step.
    """
    chains = list(_chains(search))
    frontiers: dict[tuple[int, int], list[Nodes]] = {}
    pending = list(chains)
    while pending:
        chain = pending.pop(0)
        frontiers[chain] = _frontier(search, nodes, *chain)
        best = min(frontiers[chain], key=lambda fleet: (_cost(search, fleet), fleet))
        if best != nodes:  # chains that share a pool or a class have to be looked at again
            pending = [each for each in chains if each != chain]
        nodes = best
    return nodes, tuple(_ratio(search, nodes, *chain, frontiers[chain]) for chain in chains)


def _frontier(search: Search, nodes: Nodes, prefill: int, decode: int) -> list[Nodes]:
    """Return the staircase around a fleet, from the fewest nodes that prefill to the most."""
    fewer = list(_walk(search, nodes, decode, prefill))
    return [*reversed(fewer), nodes, *_walk(search, nodes, prefill, decode)]


def _ratio(search: Search, nodes: Nodes, prefill: int, decode: int, frontier: list[Nodes]) -> Ratio:
    for giver, taker in ((prefill, decode), (decode, prefill)):
        if (moved := _moved(search, nodes, giver, taker)) is not None:
            search.simulate(moved)
    others = [index for index in range(len(nodes)) if index not in (prefill, decode)]
    tried = sorted(
        fleet for fleet in search.trials if all(fleet[index] == nodes[index] for index in others)
    )
    return Ratio(
        prefill=search.names[prefill],
        decode=search.names[decode],
        best=search.trials[nodes],
        frontier=tuple(search.trials[fleet] for fleet in frontier),
        tried=tuple(search.trials[fleet] for fleet in tried),
    )


def _chains(search: Search) -> Iterator[tuple[int, int]]:
    """Yield the indices of each pool that prefills and of the one that decodes for it."""
    for index, pool in enumerate(search.pools):
        if pool.decode is not None:
            yield index, search.names.index(pool.decode.pool)


def _walk(search: Search, fleet: Nodes, more: int, fewer: int) -> Iterator[Nodes]:
    """Yield the corners with more steps of one pool and fewer of another, while it may pay."""
    least_usd, dearer = _cost(search, fleet), 0
    while dearer < DEARER and (corner := _next_corner(search, fleet, more, fewer)) is not None:
        yield corner
        fleet = corner
        dearer = dearer + 1 if _cost(search, fleet) > least_usd else 0
        least_usd = min(least_usd, _cost(search, fleet))


def _next_corner(search: Search, fleet: Nodes, more: int, fewer: int) -> Nodes | None:
    """Return the fleet with the fewest steps more of one pool that lets the other give one back.

    None where even twice the nodes do not.
    """
    less = search.smaller(fleet, fewer)
    most = min(2 * fleet[more], search.most[more])
    if less is None:
        return None
    wide = tuple(most if index == more else nodes for index, nodes in enumerate(less))
    if not search.simulate(wide).passed:
        return None
    corner = search.shrink(wide, more)
    while (smaller := search.smaller(corner, fewer)) and search.simulate(smaller).passed:
        corner = smaller
    return corner


def _moved(search: Search, fleet: Nodes, giver: int, taker: int) -> Nodes | None:
    """Return the fleet with a step moved from one pool to another; None if that is impossible."""
    less = search.smaller(fleet, giver)
    count = fleet[taker] + search.strides[taker]
    if less is None or count > search.most[taker]:
        return None
    return tuple(count if index == taker else nodes for index, nodes in enumerate(less))


def _cost(search: Search, fleet: Nodes) -> float:
    return search.trials[fleet].cost_per_hour_usd or float(sum(fleet))
