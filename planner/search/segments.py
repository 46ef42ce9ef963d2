"""The response surface of a whole forecast: one segment per group of pools and state of it.

A segment is a span of quarters in which a group has the same models on the same chips. Where the
mix of its classes shifts in that time, it is sampled at the mix of its first and of its last
quarter, and what lies between is interpolated in the shares of the classes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import hypot

from planner.economics.forecast import Group, Outlook, Served
from planner.search.roadmap import Numbers
from planner.search.surface import Curve

SAME_MIX = 0.005
"""Difference of the shares of all classes below which a mix counts as the same."""
Mix = tuple[float, ...]
"""Shares of the classes of a group in its arrivals."""


@dataclass(frozen=True)
class SegmentKey:
    """What a group runs on in a span of quarters."""

    group: int
    upgrades: tuple[int, ...]
    numbers: Numbers


@dataclass
class Segment:
    """Sampled curves of a group in one state."""

    key: SegmentKey
    group: Group
    quarters: list[int]
    mixes: tuple[Mix, ...]
    """One, or those of the first and the last quarter."""
    loads_rps: list[float]
    """Loads that its quarters ask for, in terms of the throughput of the first quarter."""
    cell_rps: float
    """Load of the scenario itself, of which the first fleets are."""
    largest_rps: float
    """Largest load that may be simulated as one fleet."""
    curves: list[dict[str, Curve]] = field(default_factory=list)
    """By mix: pool → curve."""
    served: list[dict[str, Served]] = field(default_factory=list)
    """By mix: class → what its demand becomes, in the first fleet, of the scenario's own size."""
    mix_misses: dict[str, list[float]] = field(default_factory=dict)
    """Pool → relative errors of the interpolated mix."""

    def place(self, mix: Mix) -> float:
        """Return where a mix lies between the two: 0 at the first, 1 at the last."""
        if len(self.mixes) == 1:
            return 0.0
        first, last = self.mixes
        along = sum((b - a) ** 2 for a, b in zip(first, last, strict=True))
        part = sum((m - a) * (b - a) for m, a, b in zip(mix, first, last, strict=True))
        return min(max(part / along, 0.0), 1.0)

    def nodes(self, pool: str, mix: Mix, load_rps: float) -> float:
        """Return the nodes of a pool; a fraction is rounded up."""
        known = [c[pool].nodes(load_rps) if pool in c else 0.0 for c in self.curves]
        return self._between(mix, known)

    def busy_devices(self, pool: str, mix: Mix, load_rps: float) -> float:
        """Return the devices in steps."""
        known = [c[pool].busy_devices(load_rps) if pool in c else 0.0 for c in self.curves]
        return self._between(mix, known)

    def error_rate(self, pool: str, load_rps: float) -> float:
        """Return the error of the nodes, as a share of them."""
        errors = [c[pool].error_rate(load_rps) for c in self.curves if pool in c]
        mixing = max((abs(miss) for miss in self.mix_misses.get(pool, [])), default=0.0)
        return hypot(max(errors, default=0.0), mixing)

    def error_parts(self, pool: str, load_rps: float) -> dict[str, float]:
        """Return what the error is made of, each part the largest of the curves'."""
        curves = [c[pool] for c in self.curves if pool in c]
        return {
            "rounding": max(each.rounding(load_rps) for each in curves),
            "misses": max(each.miss_near(load_rps) for each in curves),
            "pooling": max(each.pooling_beyond(load_rps) for each in curves),
            "mix": max((abs(miss) for miss in self.mix_misses.get(pool, [])), default=0.0),
        }

    def is_beyond(self, pool: str, load_rps: float) -> bool:
        """Tell whether a load is larger than any that was simulated."""
        return any(c[pool].is_beyond(load_rps) for c in self.curves if pool in c)

    def served_of(self, name: str, mix: Mix) -> Served:
        """Return what the demand of a class becomes."""
        known = [each[name] for each in self.served if name in each]
        if not known:
            return Served(0.0, 0.0, 0.0)
        if len(known) == 1:
            return known[0]
        place, (first, last) = self.place(mix), known
        values = {
            key: (1 - place) * before + place * getattr(last, key)
            for key, before in vars(first).items()
        }
        return Served(**values)

    def _between(self, mix: Mix, values: Sequence[float]) -> float:
        if not values:
            return 0.0
        place = self.place(mix)
        return (1 - place) * values[0] + place * values[-1]


@dataclass(frozen=True)
class SampledResponse:
    """What a load needs, by the segments of a forecast: a `Response`."""

    segments: Mapping[SegmentKey, Segment]
    keys: Mapping[tuple[str, int, int], SegmentKey]
    """(pool, generation, quarter) → segment."""
    newest: Mapping[tuple[int, int], SegmentKey]
    """(group, quarter) → segment of what is delivered then."""
    mixes: Mapping[tuple[int, int], Mix]
    """(group, quarter) → shares of its classes."""
    group_of: Mapping[str, int]
    """By class."""

    def segment(self, pool: str, generation: int, quarter: int) -> Segment:
        """Return the part of the surface that a pool of one generation stands on in a quarter."""
        return self.segments[self.keys[pool, generation, quarter]]

    def _segment(self, pool: str, generation: int, quarter: int) -> tuple[Segment, Mix]:
        key = self.keys[pool, generation, quarter]
        return self.segments[key], self.mixes[key.group, quarter]

    def nodes(self, pool: str, generation: int, quarter: int, load_rps: float) -> float:
        """Return the nodes of one generation that keep the promises."""
        segment, mix = self._segment(pool, generation, quarter)
        return segment.nodes(pool, mix, load_rps)

    def busy_devices(self, pool: str, generation: int, quarter: int, load_rps: float) -> float:
        """Return the devices that are in steps."""
        segment, mix = self._segment(pool, generation, quarter)
        return segment.busy_devices(pool, mix, load_rps)

    def error_rate(self, pool: str, generation: int, quarter: int, load_rps: float) -> float:
        """Return the error of the nodes, as a share of them."""
        return self._segment(pool, generation, quarter)[0].error_rate(pool, load_rps)

    def served(self, name: str, quarter: int) -> Served:
        """Return what the demand of a class becomes."""
        group = self.group_of[name]
        segment = self.segments[self.newest[group, quarter]]
        return segment.served_of(name, self.mixes[group, quarter])


def mixes_of(outlook: Outlook, own_rps: Mapping[str, float]) -> dict[tuple[int, int], Mix]:
    """Return the shares of the classes of every group in every quarter.

    A group that nobody asks for in a quarter has the mix of the scenario.
    """
    demand = outlook.mix
    found = {}
    for number, group in enumerate(outlook.groups):
        for quarter in range(outlook.quarters):
            rates = [demand[name][quarter] for name in group.classes]
            if not sum(rates):
                rates = [own_rps[name] for name in group.classes]
            found[number, quarter] = tuple(rate / sum(rates) for rate in rates)
    return found


def ends_of(mixes: Sequence[Mix], kinds: Sequence[str]) -> tuple[Mix, ...]:
    """Return the first and the last of the mixes; one of them where they make the same work.

    Args:
        mixes: shares by class, by quarter.
        kinds: of each class, what its requests are like: those of one kind are the same to a fleet.
    """
    first, last = mixes[0], mixes[-1]
    shifted = dict.fromkeys(kinds, 0.0)
    for kind, a, b in zip(kinds, first, last, strict=True):
        shifted[kind] += b - a
    same = all(abs(change) < SAME_MIX for change in shifted.values())
    return (last,) if same else (first, last)


def halfway(segment: Segment) -> Mix:
    """Return the mix in the middle of the two."""
    first, last = segment.mixes
    return tuple((a + b) / 2 for a, b in zip(first, last, strict=True))
