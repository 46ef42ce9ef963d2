"""What a reader of an ablation has to know to read its numbers right."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Final

from planner.catalog import Catalog
from planner.scenario.schema import Scenario
from planner.search.ablation import Ablation
from planner.search.subsets import Measured

NEAR: Final = 1.03
"""A promise missed by less is nearly kept."""


def notes(found: Ablation, scenario: Scenario, catalog: Catalog) -> Iterator[str]:
    """Yield one sentence or two for everything that qualifies the numbers.

    Args:
        found: the answer, its notes apart.
        scenario: the part that was simulated.
        catalog: knows the nodes.
    """
    if not found.switches:
        return
    if not found.whole:
        yield (
            f"Simulated is only a part of the scenario, {found.part}. `--duration all` takes the "
            "whole."
        )
    yield (
        "All subsets of techniques see the same requests and the same random numbers, and step "
        "times as the curves have them; what a technique costs in quality is not counted."
    )
    bare = [klass.name for klass in scenario.workload.classes if not klass.objectives]
    if found.sized and bare:
        yield f"No objectives are set for {', '.join(bare)}: only losses limit that fleet."
    if found.sized:
        steps = [f"{pool.name} by {catalog.node(pool.node).devices}" for pool in scenario.pools]
        yield (
            f"Fleets grow by whole nodes ({', '.join(steps)} accelerators), so that a difference "
            "of one node can be chance; shares are averages, and so need not be whole nodes."
        )
        if close := [each for each in found.subsets if (each.near_miss or math.inf) < NEAR]:
            yield (
                f"In {_counted(found, close)} a smaller fleet misses its worst promise by less "
                f"than {NEAR - 1:.0%}: there chance decides over nodes, and a slight change of "
                "promise or traffic would, too."
            )
    yield from _latency_notes(found)
    for each in found.decompositions:
        if each.needed and each.quantity.name == "accelerators":
            yield _needed_note(found, each.needed)
    full = found.measured(frozenset(found.techniques))
    if found.sized and full is not None and full.nodes is None:
        yield f"No fleets are compared, since even with every technique on {full.obstacle}."
    if found.orders is not None:
        yield (
            f"Shares are estimated from {found.orders} of all orders of switching on, each beside "
            f"its reverse, and {len(found.subsets)} of {2 ** len(found.techniques)} subsets; ± is "
            "their standard error. Their sum is exact."
        )


def _latency_notes(found: Ablation) -> Iterator[str]:
    growing = [each for each in found.subsets if any("grows" in text for text in each.broken)]
    broken = [each for each in found.subsets if each.broken]
    yield (
        "Latencies and kept promises are those of the scenario's own fleet, since a fleet that is "
        "sized to its limits has latencies at its limits."
        + ("" if found.sized else " So is the money.")
    )
    if growing:
        yield (
            f"With {_counted(found, growing)} a queue of that fleet grows without end: "
            "its latencies depend on how long it is simulated, and so do the shares."
        )
    elif broken:
        yield f"With {_counted(found, broken)} that fleet breaks promises."


def _counted(found: Ablation, some: list[Measured]) -> str:
    return f"{len(some)} of the {len(found.subsets)} subsets"


def _needed_note(found: Ablation, needed: tuple[str, ...]) -> str:
    unsized = next(each for each in reversed(found.subsets) if each.nodes is None)
    on = " and ".join(name for name in found.techniques if name in unsized.on)
    return (
        f"No fleet can be compared without {' and '.join(needed)}: with "
        f"{f'only {on} on' if on else 'every technique off'}, {unsized.obstacle}. So "
        f"{'it stays' if len(needed) == 1 else 'they stay'} on for numbers of sized fleets, and "
        "the other techniques share the change that is left."
    )
