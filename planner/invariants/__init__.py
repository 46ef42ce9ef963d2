"""What must hold after every simulation, numbered, whatever the scenario.

Each invariant is a function that yields one line per violation. `check_invariants` applies them all
to the arrays of a simulation between two advances or after its end; with the per-request rows it
checks those, too. The numbers are stable: a new invariant takes the next one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

from planner.invariants.memory import caches_consistent, free_lists_complete
from planner.invariants.progress import answers_planned, handovers_conserved, tasks_conserved
from planner.invariants.replicas import (
    batches_counted,
    calendar_agrees,
    kv_blocks_conserved,
    stopped_replicas_are_empty,
)
from planner.invariants.requests import measured_conserved, requests_conserved, routing_conserved
from planner.invariants.rows import causality, littles_law, rows_agree_with_counts, tokens_of_rows
from planner.invariants.shared import Records
from planner.invariants.times import times_are_consistent
from planner.invariants.tokens import histograms_complete, token_gaps_counted, tokens_conserved
from planner.kernel.world import World


def check_invariants(world: World, finished: Records | None = None) -> list[str]:
    """Return every violation of an invariant, one line each; an empty list if all hold.

    Args:
        world: the arrays of a simulation whose books are settled (as at its end).
        finished: the `FINISHED` rows of all requests that have ended, in order of their ends, if
            they were kept.
    """
    found = [
        f"{_name(invariant)}: {violation}"
        for invariant in INVARIANTS
        for violation in invariant(world)
    ]
    if finished is not None:
        found += [
            f"{_name(row_invariant)}: {violation}"
            for row_invariant in ROW_INVARIANTS
            for violation in row_invariant(world, finished)
        ]
    return found


def _name(invariant: Callable[..., Iterator[str]]) -> str:
    """Return number and title from the first line of the docstring."""
    return (invariant.__doc__ or "").partition(".")[0]


INVARIANTS: Final[tuple[Callable[[World], Iterator[str]], ...]] = (
    requests_conserved,
    measured_conserved,
    routing_conserved,
    tokens_conserved,
    token_gaps_counted,
    histograms_complete,
    kv_blocks_conserved,
    batches_counted,
    stopped_replicas_are_empty,
    calendar_agrees,
    free_lists_complete,
    times_are_consistent,
    answers_planned,
    tasks_conserved,
    caches_consistent,
    handovers_conserved,
)
ROW_INVARIANTS: Final[tuple[Callable[[World, Records], Iterator[str]], ...]] = (
    rows_agree_with_counts,
    causality,
    tokens_of_rows,
    littles_law,
)
