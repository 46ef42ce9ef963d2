"""The response surface: nodes over load, through simulated fleets, with its error.

Sizing answers in whole steps of nodes: n are enough, a step fewer is not. What is interpolated is
the middle of the two, which at a sampled load rounds up to n again. Between loads a monotone cubic
(PCHIP; F. N. Fritsch and R. E. Carlson, SIAM J. Numer. Anal. 17, 1980) in the logarithms of both
is used, so that more load never needs fewer nodes. Beyond the largest load the fleet is so many
cells of that size: nodes grow in proportion.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import pairwise

import numpy as np
from scipy.interpolate import PchipInterpolator

_SAME_LOAD = 1e-6
"""Relative difference of two loads below which they are one point."""


@dataclass(frozen=True)
class Point:
    """A load and the smallest fleet for it."""

    load_rps: float
    nodes: int
    stride: int
    busy_devices: float
    checks: bool = False
    """Taken to test the curve where it was not yet known."""

    @property
    def level(self) -> float:
        """Between enough and not enough."""
        return self.nodes - 0.5 * self.stride


@dataclass(frozen=True)
class Curve:
    """Nodes of one pool over load, at one mix."""

    points: tuple[Point, ...]
    """By load; at least one."""
    misses: tuple[float, ...] = ()
    """Relative errors of the curve at points before they were taken."""
    _levels: tuple[float, ...] = field(init=False)

    def __post_init__(self) -> None:
        ordered = sorted(self.points, key=lambda point: point.load_rps)
        kept = ordered[:1]
        for point in ordered[1:]:
            if point.load_rps > kept[-1].load_rps * (1 + _SAME_LOAD):
                kept.append(point)
        object.__setattr__(self, "points", tuple(kept))
        levels = np.maximum.accumulate([point.level for point in kept])
        object.__setattr__(self, "_levels", tuple(float(level) for level in levels))

    @property
    def bottom(self) -> Point:
        """The smallest load."""
        return self.points[0]

    @property
    def top(self) -> Point:
        """The largest load."""
        return self.points[-1]

    def nodes(self, load_rps: float) -> float:
        """Return the nodes for a load; rounded up to whole steps they are enough."""
        if load_rps <= 0 or self.top.nodes == 0:
            return 0.0
        if load_rps >= self.top.load_rps:
            return self._levels[-1] * load_rps / self.top.load_rps
        if load_rps <= self.bottom.load_rps:
            share = self._levels[0] * load_rps / self.bottom.load_rps
            return max(share, 0.5 * self.bottom.stride)
        return float(np.exp(self._spline(math.log(load_rps))))

    def busy_devices(self, load_rps: float) -> float:
        """Return the devices in steps: by load, in straight lines through the points and zero."""
        if load_rps >= self.top.load_rps:
            return self.top.busy_devices * load_rps / self.top.load_rps
        loads = [0.0, *(point.load_rps for point in self.points)]
        return float(np.interp(load_rps, loads, [0.0, *(p.busy_devices for p in self.points)]))

    @cached_property
    def _spline(self) -> PchipInterpolator:
        logs = np.log([point.load_rps for point in self.points])
        return PchipInterpolator(logs, np.log(np.maximum(self._levels, 1e-9)))

    def left_out(self) -> tuple[float, ...]:
        """Return by how much the curve through the others misses each inner point."""
        errors = []
        for index in range(1, len(self.points) - 1):
            others = Curve(self.points[:index] + self.points[index + 1 :])
            point = self.points[index]
            errors.append(others.nodes(point.load_rps) / point.level - 1.0 if point.nodes else 0.0)
        return tuple(errors)

    def rounding(self, load_rps: float) -> float:
        """Return half a step of nodes at a load, as a share of them; of a cell beyond the top."""
        nodes = self.nodes(min(max(load_rps, self.bottom.load_rps), self.top.load_rps))
        return 0.5 * self.top.stride / nodes if nodes > 0 else 0.0

    def error_rate(self, load_rps: float) -> float:
        """Return the error of the nodes at a load, as a share of them.

        The largest miss at a point left out, or at one that came later; and half a step of nodes,
        beyond which sizing does not see. Both are independent of each other.
        """
        misses = [*self.left_out(), *self.misses]
        largest = max((abs(miss) for miss in misses), default=0.0)
        return math.hypot(largest, self.rounding(load_rps))

    @property
    def pooling(self) -> float:
        """How nodes per load still change over the last step: 0 where the curve has become flat."""
        if len(self.points) < 2 or self.top.nodes == 0:
            return 0.0
        (low, high) = self.points[-2:]
        return (self._levels[-1] / high.load_rps) / (self._levels[-2] / low.load_rps) - 1.0

    def widest_gap(self, low_rps: float, high_rps: float) -> float | None:
        """Return the load in the middle of the widest gap between points that a range needs."""
        gaps = [
            (b.load_rps / a.load_rps, math.sqrt(a.load_rps * b.load_rps))
            for a, b in pairwise(self.points)
            if b.load_rps > low_rps and a.load_rps < max(high_rps, self.top.load_rps * 0.999)
        ]
        return max(gaps)[1] if gaps else None

    def with_point(self, point: Point) -> Curve:
        """Return the curve through one point more, remembering how far off it was there."""
        expected = self.nodes(point.load_rps)
        miss = expected / point.level - 1.0 if point.nodes else 0.0
        return Curve((*self.points, point), (*self.misses, miss))


def spread_loads(low_rps: float, high_rps: float, count: int) -> Sequence[float]:
    """Return loads from low to high in equal ratios; the highest comes first.

    >>> [round(load, 1) for load in spread_loads(25.0, 100.0, 3)]
    [100.0, 50.0, 25.0]
    """
    ratio = (low_rps / high_rps) ** (1.0 / (count - 1))
    return [high_rps * ratio**step for step in range(count)]
