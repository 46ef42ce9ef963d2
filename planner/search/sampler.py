"""Which loads are simulated for a forecast, in which order, and until when.

First the largest load of every segment, then smaller ones from guesses by it, then a load in
between that tests the curve, and then more where the curve misses by more than the tolerance.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from planner.catalog import Catalog
from planner.economics.forecast import Outlook
from planner.errors import SimulationError
from planner.search.crew import Crew
from planner.search.roadmap import Roadmap, held_numbers
from planner.search.sampling import (
    Sample,
    SampleTask,
    key_of,
    kind_of,
    sub_scenario,
    take_sample,
)
from planner.search.segments import (
    Mix,
    SampledResponse,
    Segment,
    SegmentKey,
    ends_of,
    halfway,
    mixes_of,
)
from planner.search.surface import Curve, Point, spread_loads

Progress = Callable[[float, float], None]
LEAST_SHARE = 0.02
"""Of a cell: fleets smaller than this are not simulated."""


@dataclass(frozen=True)
class _Wanted:
    """A load at which a fleet is to be sized."""

    segment: Segment
    mix: Mix
    load_rps: float
    into: int | None
    """Number of the mix whose curve it belongs to; None: it tests the mix in between."""
    checks: bool = False


@dataclass
class Sampler:
    """Samples the simulator for a forecast."""

    roadmap: Roadmap
    outlook: Outlook
    jobs: int
    maximum_nodes: int
    known: dict[str, Sample]
    """Samples by key: those of earlier runs, and those of this one."""
    keep: Callable[[dict[str, Sample]], None] | None = None
    """Called with all samples whenever there are more."""
    progress: Progress | None = None
    simulations: int = 0
    """Simulated fleets behind the answer, those of earlier runs included."""
    used: set[str] = field(default_factory=set)

    @property
    def catalog(self) -> Catalog:
        """Models, chips, nodes and prices."""
        return self.roadmap.catalog

    def respond(self) -> SampledResponse:
        """Return the response surface.

        Raises:
            SimulationError: a load cannot be served by any number of nodes.
        """
        response = self._segments()
        segments = list(response.segments.values())
        surface = self.roadmap.forecast.surface
        with Crew(self.jobs, take_sample) as crew:
            loads = {id(each): self._loads(each) for each in segments}
            self._take(crew, [w for s in segments for w in _at(s, loads[id(s)][:1])])
            self._take(crew, [w for s in segments for w in _at(s, loads[id(s)][1:])])
            self._take(crew, [w for s in segments for w in _tests(s)])
            while self.simulations < surface.simulations:
                more = [w for s in segments for w in self._refinements(s)]
                if not more:
                    break
                self._take(crew, more)
        return response

    # --- what there is to sample -----------------------------------------------------------------

    def _segments(self) -> SampledResponse:
        own = self.roadmap.own_rates_rps()
        mixes = mixes_of(self.outlook, own)
        segments: dict[SegmentKey, Segment] = {}
        keys: dict[tuple[str, int, int], SegmentKey] = {}
        newest: dict[tuple[int, int], SegmentKey] = {}
        same: dict[str, SegmentKey] = {}
        for number, group in enumerate(self.outlook.groups):
            loads = self.outlook.load(group)
            gains = [self.outlook.throughput(pool, loads) for pool in group.pools]
            cell_rps = sum(own[name] for name in group.classes)
            for quarter in range(self.outlook.quarters):
                states = {
                    kind: same.setdefault(self._signature(key, quarter), key)
                    for kind, key in self._states(number, quarter).items()
                }
                newest[number, quarter] = states[None]
                for kind, key in states.items():
                    if kind is not None:
                        keys[(*kind, quarter)] = key
                    if key not in segments:
                        largest = cell_rps * self.roadmap.forecast.surface.largest
                        segments[key] = Segment(key, group, [], (), [], cell_rps, largest)
                    if quarter not in segments[key].quarters:
                        segments[key].quarters.append(quarter)
                        segments[key].loads_rps += [loads[quarter] / g[quarter] for g in gains]
        for key, segment in segments.items():
            classes = self.roadmap.at(segment.quarters[0]).scenario.workload.classes
            kinds = {each.name: kind_of(each) for each in classes}
            segment.mixes = ends_of(
                [mixes[key.group, quarter] for quarter in segment.quarters],
                [kinds[name] for name in segment.group.classes],
            )
            segment.curves = [{} for _ in segment.mixes]
            segment.served = [{} for _ in segment.mixes]
        group_of = {
            name: number
            for number, group in enumerate(self.outlook.groups)
            for name in group.classes
        }
        return SampledResponse(segments, keys, newest, mixes, group_of)

    def _states(self, number: int, quarter: int) -> dict[tuple[str, int] | None, SegmentKey]:
        """Return the segments that a group needs in a quarter.

        One for what is delivered then (None), and one for each older generation of a pool.
        """
        group = self.outlook.groups[number]
        latest = self.roadmap.newest(quarter)
        upgrades = tuple(
            index
            for index, each in enumerate(self.roadmap.forecast.upgrades)
            if each.quarter <= self.outlook.labels[quarter]
        )

        def key(changed: dict[str, int]) -> SegmentKey:
            numbers = latest | changed
            own = {pool: numbers[pool] for pool in group.pools if pool in numbers}
            return SegmentKey(number, upgrades, tuple(sorted(own.items())))

        found: dict[tuple[str, int] | None, SegmentKey] = {None: key({})}
        for pool in group.pools:
            for each in held_numbers(self.outlook.generations[pool], quarter):
                found[pool, each] = key({pool: each} if pool in latest else {})
        return found

    def _signature(self, key: SegmentKey, quarter: int) -> str:
        """Return what is the same for states that an upgrade of something else tells apart."""
        loaded = self.roadmap.at(quarter, dict(key.numbers))
        names = self.outlook.groups[key.group].classes
        return key_of(sub_scenario(loaded, names, self.roadmap.own_rates_rps(), None))

    def _loads(self, segment: Segment) -> Sequence[float]:
        surface = self.roadmap.forecast.surface
        asked = [load for load in segment.loads_rps if load > 0]
        highest = min(max(asked, default=segment.cell_rps), segment.cell_rps, segment.largest_rps)
        lowest = max(min([surface.smallest * highest, *asked]), LEAST_SHARE * highest)
        return spread_loads(lowest, highest, surface.points)

    def _refinements(self, segment: Segment) -> list[_Wanted]:
        """Return a load more for every mix of which some curve is not known well enough."""
        tolerance = self.roadmap.forecast.surface.tolerance
        wanted = []
        for number, curves in enumerate(segment.curves):
            loads = [
                curve.next_load(segment.loads_rps, segment.largest_rps, tolerance)
                for curve in curves.values()
            ]
            if max(loads) > 0:
                wanted.append(_Wanted(segment, segment.mixes[number], max(loads), number, True))
        return wanted

    # --- sampling --------------------------------------------------------------------------------

    def _take(self, crew: Crew[SampleTask, Sample], wanted: Sequence[_Wanted]) -> None:
        tasks: dict[str, SampleTask] = {}
        keys = []
        for each in wanted:
            task = self._task(each)
            keys.append(task.key)
            if task.key not in self.known:
                tasks.setdefault(task.key, task)
        done = len(self.used)
        for sample in crew.measure(list(tasks.values()), len(tasks)):
            self.known[sample.key] = sample
            done += 1
            if self.keep is not None:
                self.keep(self.known)
            if self.progress is not None:
                self.progress(done, len(self.used) + len(tasks))
        for each, key in zip(wanted, keys, strict=True):
            if key not in self.used:
                self.used.add(key)
                self.simulations += self.known[key].simulations
            self._learn(each, self.known[key])

    def _task(self, wanted: _Wanted) -> SampleTask:
        segment = wanted.segment
        numbers = dict(segment.key.numbers)
        loaded = self.roadmap.at(segment.quarters[0], numbers)
        names = segment.group.classes
        rates = {n: wanted.load_rps * s for n, s in zip(names, wanted.mix, strict=True)}
        part = sub_scenario(loaded, names, rates, self.roadmap.forecast.surface.duration)
        guess = {
            pool.name: max(round(self._guess(wanted, pool.name, pool.nodes)), 1)
            for pool in part.scenario.pools
        }
        return SampleTask(key_of(part), part, self.catalog, guess, self.maximum_nodes)

    def _guess(self, wanted: _Wanted, pool: str, own_nodes: int) -> float:
        segment = wanted.segment
        if segment.curves[0]:
            return segment.nodes(pool, wanted.mix, wanted.load_rps)
        return own_nodes * wanted.load_rps / segment.cell_rps

    def _learn(self, wanted: _Wanted, sample: Sample) -> None:
        segment = wanted.segment
        if sample.obstacle:
            labels = [self.outlook.labels[quarter] for quarter in segment.quarters]
            raise SimulationError(
                f"{' and '.join(segment.group.classes)} cannot be served at "
                f"{wanted.load_rps:.4g} requests/s as the scenario is from {labels[0]} to "
                f"{labels[-1]}: {sample.obstacle}"
            )
        for pool, nodes in sample.nodes.items():
            point = Point(
                wanted.load_rps,
                nodes,
                sample.strides[pool],
                sample.busy_devices.get(pool, 0.0),
                wanted.checks,
            )
            if wanted.into is None:
                expected = segment.nodes(pool, wanted.mix, wanted.load_rps)
                segment.mix_misses.setdefault(pool, []).append(point.miss(expected))
                continue
            curves = segment.curves[wanted.into]
            if pool not in curves:
                curves[pool] = Curve((point,))
            elif wanted.checks:
                curves[pool] = curves[pool].with_point(point)
            else:
                curves[pool] = Curve((*curves[pool].points, point), curves[pool].missed)
        if wanted.into is not None and not segment.served[wanted.into]:
            segment.served[wanted.into] = dict(sample.served)


def _at(segment: Segment, loads_rps: Sequence[float]) -> list[_Wanted]:
    return [
        _Wanted(segment, mix, load, number)
        for number, mix in enumerate(segment.mixes)
        for load in loads_rps
    ]


def _tests(segment: Segment) -> list[_Wanted]:
    """Return what tests the curves: a load between the two largest, and the mix in the middle."""
    found = []
    for number, mix in enumerate(segment.mixes):
        points = next(iter(segment.curves[number].values())).points
        load = (points[-1].load_rps * points[-2].load_rps) ** 0.5
        found.append(_Wanted(segment, mix, load, number, True))
    if len(segment.mixes) > 1:
        top = max(
            p.load_rps for curves in segment.curves for c in curves.values() for p in c.points
        )
        found.append(_Wanted(segment, halfway(segment), top, None, True))
    return found


# --- samples that outlive a run ------------------------------------------------------------------


def read_samples(path: Path) -> dict[str, Sample]:
    """Return the samples of an earlier run; none where there is no such file.

    Raises:
        SimulationError: it is another file.
    """
    if not path.exists():
        return {}
    try:
        content: Any = json.loads(path.read_text(encoding="utf-8"))
        return {key: Sample.from_plain(each) for key, each in content["samples"].items()}
    except (ValueError, KeyError, TypeError, AttributeError, UnicodeDecodeError):
        raise SimulationError(
            f"{path} does not hold samples of a forecast; name another file"
        ) from None


def samples_text(known: dict[str, Sample]) -> str:
    """Return samples as they are kept: sorted, the same bytes each time."""
    plain = {key: each.to_plain() for key, each in known.items()}
    return json.dumps({"samples": plain}, indent=1, sort_keys=True) + "\n"
