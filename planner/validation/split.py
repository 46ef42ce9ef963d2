"""Which points are fitted and which are scored: the same choice on every machine, every day."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Hashable, Sequence
from itertools import pairwise
from typing import Final, TypeVar

MOST_PER_GROUP: Final = 24
"""Points of one group that a fit over many groups uses: no group outweighs the others."""

T = TypeVar("T")


def by_group(points: Sequence[T], group: Callable[[T], str]) -> dict[str, list[int]]:
    """Return the positions of the points of each group; groups are sorted."""
    found: dict[str, list[int]] = {}
    for position, point in enumerate(points):
        found.setdefault(group(point), []).append(position)
    return dict(sorted(found.items()))


def shuffled(positions: Sequence[int], name: Callable[[int], str]) -> list[int]:
    """Return positions in an order that depends on nothing but the names of the points."""
    return sorted(positions, key=lambda position: (_digest(name(position)), name(position)))


def subsample(
    positions: Sequence[int], name: Callable[[int], str], most: int = MOST_PER_GROUP
) -> list[int]:
    """Return at most so many of the positions, in their order.

    >>> subsample([3, 1, 2], str, most=2) == subsample([2, 3, 1], str, most=2)
    True
    """
    return sorted(shuffled(positions, name)[:most])


def share(
    positions: Sequence[int],
    name: Callable[[int], str],
    load: Callable[[int], Hashable],
    part: float,
    fewest: int = 2,
) -> tuple[list[int], list[int]]:
    """Split positions into those to fit and those to score.

    The points are put in the order of `load` and cut into as many runs as there are points to fit;
    of each run one is taken, chosen by its name. So light and heavy loads are both fitted.

    Args:
        positions: of one group.
        name: identifies a point.
        load: what the points are ordered by, such as their concurrency.
        part: share to fit, above 0 and below 1.
        fewest: to fit at least.

    Returns:
        To fit, and to score; the first is empty where there are too few points for both.

    >>> share(list(range(8)), str, lambda at: at, 0.25)[0][0] < 4
    True
    """
    wanted = max(fewest, round(part * len(positions)))
    if len(positions) <= wanted:
        return [], sorted(positions)
    ordered = sorted(positions, key=lambda position: (load(position), _digest(name(position))))
    edges = [round(number * len(ordered) / wanted) for number in range(wanted + 1)]
    fitted = {
        min(ordered[low:high], key=lambda position: _digest(name(position)))
        for low, high in pairwise(edges)
    }
    return sorted(fitted), sorted(set(positions) - fitted)


def _digest(name: str) -> str:
    return hashlib.sha256(name.encode()).hexdigest()
