"""Replays many points: which of them can be, with which overhead, and what came out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from planner.catalog import Catalog
from planner.curves.device import curves_for
from planner.curves.engines import EngineOverhead, EngineTable
from planner.curves.library import CurveSet
from planner.errors import CatalogError, did_you_mean, shown
from planner.measurements import Point, StaticBatch
from planner.validation.deployment import Deployment, deployment_of
from planner.validation.replay import Replayed, replay
from planner.validation.score import Score, ValidationError, score

Progress = Callable[[float, float], None]
SPLIT_REASON: Final = "prefill and decode on replicas of their own are not replayed yet"
NO_ROOM_REASON: Final = "no request fits in the memory of the replica, by the memory plan"


@dataclass(frozen=True)
class Prepared:
    """Points that can be replayed, and why others cannot."""

    deployments: tuple[Deployment, ...]
    unusable: tuple[tuple[Point, str], ...]

    def reasons(self) -> dict[str, int]:
        """Return how many points cannot be replayed, by set and reason."""
        return dict(sorted(Counter(f"{p.source}: {why}" for p, why in self.unusable).items()))


def choose_sets(points: Iterable[Point], names: Sequence[str]) -> list[Point]:
    """Return the points of the sets that are named; no name: all.

    Raises:
        ValidationError: there is no such set.
    """
    points = list(points)
    known = list(dict.fromkeys(point.source for point in points))
    faults = [
        f"--set: unknown set {shown(name)}; {did_you_mean(name, known)}"
        for name in names
        if name not in known
    ]
    if faults:
        raise ValidationError("\n".join(faults))
    return [point for point in points if not names or point.source in names]


def prepare(
    points: Sequence[Point],
    catalog: Catalog,
    *,
    curves: Mapping[str, Sequence[CurveSet]] | None = None,
    progress: Progress | None = None,
) -> Prepared:
    """Return the deployments of points; curves are read once per chip.

    Args:
        points: as measured.
        catalog: knows their models and chips.
        curves: by chip, instead of those shipped.
        progress: told how many points of how many are done.
    """
    known = dict(curves or {})
    found: list[Deployment] = []
    unusable: list[tuple[Point, str]] = []
    for number, point in enumerate(points):
        if progress is not None:
            progress(number, len(points))
        if point.disaggregated is not None:
            unusable.append((point, SPLIT_REASON))
            continue
        try:
            if point.chip not in known:
                known[point.chip] = curves_for(catalog.chip(point.chip))
            found.append(deployment_of(point, catalog, curves=known[point.chip]))
        except CatalogError as error:
            unusable.append((point, str(error)))
    return Prepared(tuple(found), tuple(unusable))


def host_of(table: EngineTable, point: Point) -> EngineOverhead:
    """Return the overhead of a point's engine; an engine without a name of its own is generic."""
    return table.find("generic" if point.engine == "other" else point.engine, point.chip)


def host_name(host: EngineOverhead) -> str:
    """Return where an overhead came from, in a few words."""
    place = f"{host.engine} on {host.chip}" if host.chip else host.engine
    return f"{place}, {host.tier}"


def replay_one(deployment: Deployment, host: EngineOverhead, name: str = "") -> Score | None:
    """Return the score of one point; None if nothing could be served."""
    replayed: Replayed = replay(deployment, host)
    if not replayed.served:
        return None
    return score(
        deployment.point,
        replayed.metrics,
        complete=replayed.complete,
        host=name or host_name(host),
    )


def replay_all(
    prepared: Prepared,
    host: Callable[[Point], EngineOverhead],
    *,
    progress: Progress | None = None,
) -> tuple[list[Score], Prepared]:
    """Replay every point.

    Args:
        prepared: the points.
        host: the overhead to use for a point.
        progress: told how many points of how many are done.

    Returns:
        Scores in the order of the points; and `prepared` without the points of which no request
        fits in memory, which are unusable now.
    """
    scores: list[Score] = []
    kept: list[Deployment] = []
    unusable = list(prepared.unusable)
    for number, deployment in enumerate(prepared.deployments):
        if progress is not None:
            progress(number, len(prepared.deployments))
        found = replay_one(deployment, host(deployment.point))
        if found is None:
            unusable.append((deployment.point, NO_ROOM_REASON))
        else:
            scores.append(found)
            kept.append(deployment)
    return scores, Prepared(tuple(kept), tuple(unusable))


def with_output_rate(deployment: Deployment) -> Deployment:
    """Return a static batch with its output rate, which follows exactly from its total rate.

    A static batch sends equal requests, so the share of output tokens is that of the lengths.
    """
    point = deployment.point
    total = point.metrics.get("total_tps")
    if not isinstance(point.protocol, StaticBatch) or total is None:
        return deployment
    if "output_tps" in point.metrics:
        return deployment
    output, prompt = point.output.mean_tokens, point.prompt.mean_tokens
    metrics = {**point.metrics, "output_tps": total * output / (output + prompt)}
    return replace(deployment, point=replace(point, metrics=metrics))
