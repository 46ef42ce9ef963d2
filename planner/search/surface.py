"""The response surface: nodes over load, through simulated fleets, with its error.

Sizing answers in whole steps of nodes: n are enough, a step fewer is not. What is interpolated is
the middle of the two, which at a sampled load rounds up to n again. Between loads a monotone cubic
(PCHIP; F. N. Fritsch and R. E. Carlson, SIAM J. Numer. Anal. 17, 1980) in the logarithms of both
is used, so that more load never needs fewer nodes. Beyond the largest load the fleet is so many
cells of that size: the nodes that it has, in proportion. A pool that a load leaves unused (it takes
the overflow of others) needs none up to there.
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
_CLOSE = 1.1
"""Ratio of two loads between which no other is simulated."""


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

    def miss(self, expected: float) -> float:
        """Return by how much another answer misses this one, as a share of its nodes."""
        return (expected - self.level) / self.nodes if self.nodes else 0.0


@dataclass(frozen=True)
class Curve:
    """Nodes of one pool over load, at one mix."""

    points: tuple[Point, ...]
    """By load; at least one."""
    missed: tuple[float, float] | None = None
    """Load of the last point that tested the curve, and by how much the curve had missed it."""
    used: tuple[Point, ...] = field(init=False)
    """Points with nodes: what is interpolated."""
    _levels: tuple[float, ...] = field(init=False)

    def __post_init__(self) -> None:
        ordered = sorted(self.points, key=lambda point: point.load_rps)
        kept = ordered[:1]
        for point in ordered[1:]:
            if point.load_rps > kept[-1].load_rps * (1 + _SAME_LOAD):
                kept.append(point)
        object.__setattr__(self, "points", tuple(kept))
        used = tuple(point for point in kept if point.nodes)
        object.__setattr__(self, "used", used)
        levels = np.maximum.accumulate([point.level for point in used])
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
        if load_rps <= self._unused_rps or not self.used:
            return 0.0
        first, last = self.used[0], self.used[-1]
        if load_rps > last.load_rps:
            return max(last.nodes, self._levels[-1]) * load_rps / last.load_rps
        if load_rps <= first.load_rps:
            part = (load_rps - self._unused_rps) / (first.load_rps - self._unused_rps)
            return max(self._levels[0] * part, 0.5 * first.stride)
        return float(np.exp(self._spline(math.log(load_rps))))

    @cached_property
    def _unused_rps(self) -> float:
        """The largest load below the first nodes at which none were needed."""
        first_rps = self.used[0].load_rps if self.used else math.inf
        unused = [point.load_rps for point in self.points if point.load_rps < first_rps]
        return max(unused, default=0.0)

    def busy_devices(self, load_rps: float) -> float:
        """Return the devices in steps: by load, in straight lines through the points and zero."""
        if load_rps >= self.top.load_rps:
            return self.top.busy_devices * load_rps / self.top.load_rps
        loads = [0.0, *(point.load_rps for point in self.points)]
        return float(np.interp(load_rps, loads, [0.0, *(p.busy_devices for p in self.points)]))

    @cached_property
    def _spline(self) -> PchipInterpolator:
        logs = np.log([point.load_rps for point in self.used])
        return PchipInterpolator(logs, np.log(self._levels))

    @cached_property
    def misses(self) -> tuple[tuple[float, float], ...]:
        """Loads, and by how much the curve misses them, as a share.

        Of every inner point: the curve through the others (leave-one-out). Of the last one that was
        taken to test the curve: the curve as it was before.
        """
        found = [] if self.missed is None else [self.missed]
        for index in range(1, len(self.used) - 1):
            others = Curve(self.used[:index] + self.used[index + 1 :])
            point = self.used[index]
            found.append((point.load_rps, point.miss(others.nodes(point.load_rps))))
        return tuple(sorted(found))

    def miss_near(self, load_rps: float) -> float:
        """Return the larger of the two misses that are nearest to a load, without its sign."""
        near = sorted(self.misses, key=lambda found: abs(math.log(found[0] / load_rps)))
        return max((abs(miss) for _, miss in near[:2]), default=0.0)

    def rounding(self, load_rps: float) -> float:
        """Return half a step of nodes at a load, as a share of them; of a cell beyond the top."""
        if not self.used:
            return 0.0
        nodes = self.nodes(min(max(load_rps, self.used[0].load_rps), self.used[-1].load_rps))
        half = 0.5 * self.top.stride
        return half / (nodes + half) if nodes > 0 else 0.0

    def error_rate(self, load_rps: float) -> float:
        """Return the error of the nodes at a load, as a share of them.

        The miss of the curve nearby; and half a step of nodes, finer than which sizing does not
        see. The two are taken as independent. Beyond the largest load comes what pooling still
        changed up to there: cells side by side have no more of it, a larger fleet may.
        """
        if not self.nodes(load_rps):
            return 0.0
        within = math.hypot(self.miss_near(load_rps), self.rounding(load_rps))
        return within + self.pooling_beyond(load_rps)

    def is_beyond(self, load_rps: float) -> bool:
        """Tell whether a load is larger than any that was simulated."""
        return load_rps > self.top.load_rps * (1 + _SAME_LOAD)

    def pooling_beyond(self, load_rps: float) -> float:
        """Return what pooling may still change beyond the largest load, as a share of the nodes."""
        return abs(self.pooling) if self.is_beyond(load_rps) else 0.0

    @property
    def pooling(self) -> float:
        """How nodes per load change from about half the largest load to it; 0: the curve is flat.

        It cannot be told apart from `rounding` at these two loads where it is not larger.
        """
        if len(self.used) < 2:
            return 0.0
        last = self.used[-1]
        halves = [abs(math.log(2.0 * p.load_rps / last.load_rps)) for p in self.used[:-1]]
        near = halves.index(min(halves))
        half = self._levels[near] / self.used[near].load_rps
        return (self._levels[-1] / last.load_rps) / half - 1.0

    def next_load(self, asked_rps: Sequence[float], most_rps: float, tolerance: float) -> float:
        """Return the load at which one more fleet would help most; 0 where none is needed.

        Where more is asked than the largest fleet, and its cell is still coarse or not yet flat,
        that is a larger fleet. Else the middle of the gap in which the loads asked for are known
        with the largest error.

        Args:
            asked_rps: loads of the forecast.
            most_rps: the largest load that may be simulated.
            tolerance: error of the nodes that is small enough.
        """
        asked = [load for load in asked_rps if load > 0]
        limit = min(max(asked, default=0.0), most_rps)
        if not self.used or not asked:
            return 0.0
        top = self.top.load_rps
        coarse = self.rounding(top) > 0.5 * tolerance or abs(self.pooling) > tolerance
        coarse = coarse or self.error_rate(max(asked)) > tolerance
        if limit > top * (1 + _SAME_LOAD) and coarse:
            return min(2.0 * top, limit)
        worst = max(asked, key=self.miss_near)
        is_rounding = self.miss_near(worst) <= self.rounding(worst)  # no point makes that less
        if self.error_rate(worst) <= tolerance or is_rounding or len(self.points) < 2:
            return 0.0
        at = min(max(worst, self.bottom.load_rps), top)
        gaps = [
            (a.load_rps, b.load_rps)
            for a, b in pairwise(self.points)
            if a.load_rps <= at <= b.load_rps
        ]
        low, high = max(gaps, key=lambda gap: gap[1] / gap[0])
        return math.sqrt(low * high) if high > low * _CLOSE else 0.0

    def with_point(self, point: Point) -> Curve:
        """Return the curve through one point more; of one within, remember how far off it was."""
        if not self.bottom.load_rps < point.load_rps < self.top.load_rps:
            return Curve((*self.points, point), self.missed)
        missed = (point.load_rps, point.miss(self.nodes(point.load_rps)))
        return Curve((*self.points, point), missed)


def spread_loads(low_rps: float, high_rps: float, count: int) -> Sequence[float]:
    """Return loads from low to high in equal ratios; the highest comes first.

    >>> [round(load, 1) for load in spread_loads(25.0, 100.0, 3)]
    [100.0, 50.0, 25.0]
    """
    ratio = (low_rps / high_rps) ** (1.0 / (count - 1))
    return [high_rps * ratio**step for step in range(count)]
