"""One metric on both sides of a comparison: how far it moved, and what that amounts to."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final

from planner.regress.baseline import same
from planner.regress.gates import Limits
from planner.scenario.watched import Watched

_POINT: Final = 1e-9
"""Of a tolerance: 5% of 112 devices must not hang on the last bit of a float."""


class Mark(StrEnum):
    """What became of a metric."""

    WORSE = "+"
    BETTER = "-"
    NOISE = "~"
    NOT_COMPARABLE = "x"
    FAILED = "!"
    NEITHER = " "
    """It changed, and no way is better."""
    SAME = "="


MARK_TEXT: Final[Mapping[Mark, str]] = {
    Mark.WORSE: "worse",
    Mark.BETTER: "better",
    Mark.NOISE: "noise",
    Mark.NOT_COMPARABLE: "not comparable",
    Mark.FAILED: "failed",
}


@dataclass(frozen=True)
class Row:
    """A metric on both sides."""

    name: str
    metric: Watched
    before: float | None
    after: float | None
    mark: Mark
    at_old_prices: float | None = None
    """Of money: what `after` would be at the prices of the baseline."""
    noise: float = 0.0
    seeds: int = 1
    """More than one: the values are means over so many, and the noise is that of their mean."""
    limits: Limits | None = None
    note: str = ""
    """Why the mark is not what the numbers alone would give."""

    @property
    def behaviour(self) -> float:
        """Change that no price explains."""
        return _behaviour(self.before, self.after, self.at_old_prices)

    @property
    def price_share(self) -> float:
        """Change that prices explain."""
        if self.at_old_prices is None or self.after is None:
            return 0.0
        return 0.0 if same(self.at_old_prices, self.after) else self.after - self.at_old_prices

    @property
    def hidden(self) -> Mark:
        """What the mark would be if seeds made no difference; the mark itself if they hide none."""
        if self.limits is None or abs(self.behaviour) > self.noise:
            return self.mark
        return replace(self, noise=0.0).marked().mark

    def exceeds(self, share: float) -> bool:
        """Tell whether the change that no price explains is larger, relative to the first side."""
        return abs(_relative(self.before or 0.0, self.behaviour)) > share + _POINT

    @property
    def relative(self) -> float:
        """Whole change relative to the first side; infinite from zero."""
        assert self.before is not None
        assert self.after is not None
        return _relative(self.before, self.after - self.before)

    def marked(self) -> Row:
        """Return it with its mark by its limits."""
        assert self.limits is not None
        return replace(self, mark=_mark(self, self.limits))


def _mark(row: Row, limits: Limits) -> Mark:
    assert row.before is not None
    change, size = row.behaviour, abs(row.behaviour)
    moved = not same(row.before, row.before + change)
    priced = row.price_share != 0.0
    beyond = moved and size > row.noise

    def exceeds(relative: float, absolute: float) -> bool:
        return beyond and row.exceeds(relative) and size >= absolute * (1 - _POINT)

    worse = limits.better == "neither" or (change > 0) == (limits.better == "lower")
    if not limits.ignored and worse and exceeds(limits.fail, limits.fail_absolute):
        return Mark.FAILED
    if priced:
        return Mark.NOT_COMPARABLE
    if not moved:
        return Mark.SAME
    if limits.ignored and beyond:
        return Mark.NEITHER
    if not exceeds(limits.warn, limits.warn_absolute):
        return Mark.NOISE
    return Mark.WORSE if worse else Mark.BETTER


def _behaviour(before: float | None, after: float | None, at_old: float | None) -> float:
    assert before is not None
    assert after is not None
    return (after if at_old is None else at_old) - before


def _relative(before: float, change: float) -> float:
    if change == 0:
        return 0.0
    return change / abs(before) if before else math.copysign(math.inf, change)
