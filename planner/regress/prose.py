"""What differs between two forecasts, in sentences."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from planner.regress.compare import Comparison
from planner.regress.row import Mark
from planner.regress.wording import said_beside, sentence

_HEADINGS: Final = (
    ("Worse", (Mark.FAILED, Mark.WORSE)),
    ("Better", (Mark.BETTER,)),
    ("Moved by prices, or not to be compared", (Mark.NOT_COMPARABLE,)),
    ("Changed, and no way is better", (Mark.NEITHER,)),
    ("Within noise and tolerance", (Mark.NOISE,)),
)


def prose(before: str, after: str, comparison: Comparison) -> Iterator[str]:
    """Yield the lines of a comparison of two things.

    Args:
        before: label of the first.
        after: label of the second.
        comparison: from the first to the second.
    """
    yield f"From {before} to {after}:"
    yield from (f"  {line}" for line in said_beside(comparison))
    if comparison.obstacles:
        return
    if not comparison.differing:
        yield f"  all {len(comparison.rows)} metrics are the same"
        return
    for heading, marks in _HEADINGS:
        rows = comparison.marked(*marks)
        if rows:
            yield f"\n{heading}:"
            yield from (f"  {sentence(row)}" for row in rows)
