"""From measurements to a `Validation`: what `planner validate` does before it prints."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from planner.catalog import Catalog
    from planner.cli.progress import LateBar
    from planner.curves.engines import EngineOverhead, EngineTable
    from planner.measurements import Point
    from planner.validation.record import HoldOut, Validation
    from planner.validation.runs import Prepared
    from planner.validation.serving import Capacity, Regime


def read_points(data: Path | None) -> tuple[list[Point], dict[str, int], list[str], str]:
    """Return points, rows skipped by reason, notes of the readers, and what was read.

    Args:
        data: folder of the full sets; None: the table that comes with the package.
    """
    from planner.measurements import published, read_collection

    if data is None:
        return list(published().points), {}, [], "the published results that come with planner"
    points: list[Point] = []
    skipped: Counter[str] = Counter()
    notes: list[str] = []
    for name, found in read_collection(data).items():
        points += found.points
        skipped.update({f"{name}: {why}": rows for why, rows in found.skipped.items()})
        notes += [f"{name}: {note}" for note in found.notes]
    return points, dict(skipped), notes, "the full sets of published results"


def validate_points(
    points: Sequence[Point],
    catalog: Catalog,
    table: EngineTable,
    by: tuple[str, ...],
    *,
    held_out: bool = False,
    bar: LateBar | None = None,
) -> Validation:
    """Replay points and compare.

    Args:
        points: as measured.
        catalog: knows their models and chips.
        table: overheads of the engines.
        by: keys to group by.
        held_out: also score with overheads that know nothing of the points.
        bar: shows progress.
    """
    from planner.validation.record import Validation
    from planner.validation.runs import host_of, prepare, replay_all
    from planner.validation.targets import targets

    prepared = prepare(points, catalog, progress=bar)
    _restart(bar)
    scores, prepared = replay_all(prepared, lambda point: host_of(table, point), progress=bar)
    held = _held_out(prepared, catalog, bar) if held_out else None

    def host(point: Point) -> EngineOverhead:
        fitted = None if held is None else held.overheads.get(point.group)
        return host_of(table, point) if fitted is None else fitted

    regimes, capacities = _open_loops(prepared, host, bar)
    return Validation(
        scores=tuple(scores),
        by=by,
        unusable=prepared.reasons(),
        regimes=tuple(regimes),
        capacities=tuple(capacities),
        held=held,
        targets=targets(scores, held, regimes, capacities, curve_errors(bar)),
        notes=assumptions(points),
    )


def _restart(bar: LateBar | None) -> None:
    if bar is not None:
        bar.restart()


def _held_out(prepared: Prepared, catalog: Catalog, bar: LateBar | None) -> HoldOut:
    from planner.calibration.hold_out import hold_out

    _restart(bar)
    return hold_out(prepared.deployments, catalog, progress=bar)


def _open_loops(
    prepared: Prepared, host: Callable[[Point], EngineOverhead], bar: LateBar | None
) -> tuple[list[Regime], list[Capacity]]:
    """Return regime and capacity of every open loop."""
    from planner.validation.replay import replay
    from planner.validation.serving import capacity, offered_rps, regime_of

    _restart(bar)
    loops = [each for each in prepared.deployments if offered_rps(each.point) is not None]
    regimes, capacities = [], []
    for number, deployment in enumerate(loops):
        if bar is not None:
            bar(number, len(loops))
        used = host(deployment.point)
        regime = regime_of(deployment.point, replay(deployment, used).metrics)
        if regime is not None:
            regimes.append(regime)
        most = capacity(deployment, used)
        if most is not None:
            capacities.append(most)
    return regimes, capacities


def curve_errors(bar: LateBar | None = None) -> list[float]:
    """Return the mean error of each shipped curve on shapes left out, where it is known."""
    import math

    from planner.curves.library import shipped_chips, shipped_folder
    from planner.curves.store import load_curves

    _restart(bar)
    files = [
        path
        for chip in shipped_chips()
        for path in sorted((shipped_folder() / chip).glob("*.json"))
    ]
    found: list[float] = []
    for number, path in enumerate(files):
        if bar is not None:
            bar(number, len(files))
        found += [curve.mape_out for curve in load_curves(path)]
    return [error for error in found if math.isfinite(error)]


def assumptions(points: Iterable[Point]) -> tuple[str, ...]:
    """Return what the readers of the points filled in, the most frequent first."""
    counts = Counter(f"{point.source}: {text}" for point in points for text in point.assumptions)
    ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    return tuple(f"{text} ({count:,} points)" for text, count in ordered)
