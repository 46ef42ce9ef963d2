"""How demand, prices and throughput move from quarter to quarter: pure functions on plain values.

Rates of change are per year and compound by the quarter: after t quarters (1 + r)^(t/4) is left of
what there was.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import log2
from typing import Final

QUARTERS_PER_YEAR: Final = 4


def compound(rate: float, quarters: float) -> float:
    """Return the factor by which something grows in so many quarters.

    Args:
        rate: per year, above −1.
        quarters: length of time.

    >>> compound(0.21, 2)
    1.1
    """
    return float((1.0 + rate) ** (quarters / QUARTERS_PER_YEAR))


def dated_path(
    quarters: int, start: float, points: Sequence[tuple[int, float]], rate: float
) -> tuple[float, ...]:
    """Return a value by quarter: through dated points, then on at a rate.

    Between two points it grows at a constant rate; in a straight line where one of them is zero.

    Args:
        quarters: how many, the first included.
        start: value in the first quarter.
        points: quarter and value, in order; quarters after the first.
        rate: per year, after the last point (from the first quarter where there is none).

    >>> dated_path(4, 100.0, [(2, 121.0)], 0.0)
    (100.0, 110.00000000000001, 121.0, 121.0)
    """
    known = [(0, start), *points]
    path = []
    at = 0
    for quarter in range(quarters):
        while at + 1 < len(known) and known[at + 1][0] <= quarter:
            at += 1
        since, value = known[at]
        if at + 1 == len(known):
            path.append(value * compound(rate, quarter - since))
            continue
        until, following = known[at + 1]
        part = (quarter - since) / (until - since)
        if value > 0 and following > 0:
            path.append(value * (following / value) ** part)
        else:
            path.append(value + (following - value) * part)
    return tuple(path)


@dataclass(frozen=True)
class Move:
    """Demand that leaves one class for another."""

    of: str
    to: str
    share_rate: float
    """Of the first class, in the end."""
    first: int
    """Quarter of the first step."""
    last: int
    """Quarter from which on all has moved."""
    requests: float = 1.0
    """Of the second class for one of the first."""

    def moved_rate(self, quarter: int) -> float:
        """Return the share that has moved: in equal steps from `first` to `last`.

        >>> move = Move("chat", "reasoning", 0.3, first=1, last=3)
        >>> [round(move.moved_rate(quarter), 3) for quarter in range(5)]
        [0.0, 0.1, 0.2, 0.3, 0.3]
        """
        steps = self.last - self.first + 1
        return self.share_rate * min(max(quarter - self.first + 1, 0), steps) / steps


def mixed(
    demand: Mapping[str, Sequence[float]], moves: Sequence[Move]
) -> dict[str, tuple[float, ...]]:
    """Return demand by class after the moves; each takes its share of what the class had before.

    >>> mixed({"a": [10.0, 10.0], "b": [0.0, 0.0]}, [Move("a", "b", 0.2, 1, 1, requests=3.0)])
    {'a': (10.0, 8.0), 'b': (0.0, 6.0)}
    """
    after = {name: list(values) for name, values in demand.items()}
    for move in moves:
        for quarter, before in enumerate(demand[move.of]):
            moved = before * move.moved_rate(quarter)
            after[move.of][quarter] -= moved
            after[move.to][quarter] += moved * move.requests
    # Several moves that take all of a class may leave a rounding error.
    return {name: tuple(max(value, 0.0) for value in values) for name, values in after.items()}


def learned_by_time(quarters: int, rate: float, last: int | None = None) -> tuple[float, ...]:
    """Return the throughput by quarter, 1 in the first, where it grows by a rate per year.

    Args:
        quarters: how many.
        rate: gain per year.
        last: quarter after which it gains no more; None: it goes on.
    """
    end = quarters if last is None else last
    return tuple(compound(rate, min(quarter, end)) for quarter in range(quarters))


def learned_by_volume(
    volume: Sequence[float], rate: float, quarters_before: float, last: int | None = None
) -> tuple[float, ...]:
    """Return the throughput by quarter, 1 in the first: (1 + rate)^(doublings of all served).

    Wright's law (T. P. Wright, Factors Affecting the Cost of Airplanes, 1936): the cost of a unit
    falls by a constant share with each doubling of all that was ever made.

    Args:
        volume: served in each quarter, in any one unit.
        rate: gain per doubling.
        quarters_before: what had been served before, in quarters at the rate of the first.
        last: quarter after which it gains no more; None: it goes on.

    >>> learned_by_volume([1.0, 2.0, 4.0], 0.2, quarters_before=1.0)
    (1.0, 1.2, 1.44)
    """
    if not volume or volume[0] <= 0:
        return tuple(1.0 for _ in volume)
    served = volume[0] * quarters_before
    first = served
    found = []
    for quarter, amount in enumerate(volume):
        if last is None or quarter <= last:
            gained = (1.0 + rate) ** log2(served / first)
        found.append(gained)
        served += amount
    return tuple(found)
