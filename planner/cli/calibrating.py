"""From results of a benchmark to an overhead: what `planner calibrate` does before it prints."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from planner.calibration.diagnose import PointError
    from planner.calibration.fit import Calibration
    from planner.catalog import Catalog
    from planner.cli.progress import LateBar
    from planner.curves.engines import EngineOverhead
    from planner.measurements import Deployment as System
    from planner.measurements import Point
    from planner.validation.deployment import Deployment
    from planner.validation.score import Score

FAR_OFF = 10.0
"""A result that is off by this factor after the fit was measured on another system."""
ADVICE = (
    "1. sweep the concurrency: 1, 4, 16, 64, and the one you plan for",
    "2. use two lengths of prompts, such as 1,000 and 8,000 tokens",
    "3. name several result files, or a CSV with a row per operating point",
)


@dataclass(frozen=True)
class Calibrated:
    """One call of `planner calibrate`."""

    start: EngineOverhead
    calibration: Calibration
    deployments: tuple[Deployment, ...]
    """Those fitted."""
    errors: tuple[PointError, ...]
    warnings: tuple[str, ...]
    unseen: tuple[Score, ...]
    """Points kept out of the fit."""
    skipped: Mapping[str, int]

    @property
    def far_off(self) -> list[str]:
        """Why the fit is useless, by result and metric: off tenfold, whatever the overhead."""
        return [
            f"{self.deployments[each.point].point.id}: {each.metric} is off by a factor of "
            f"{max(1.0 + each.after, 1.0 / (1.0 + each.after)):.3g} even after the fit; it was "
            "measured on something else than what was described: check model, chip, layout, "
            "lengths and units"
            for each in self.errors
            if not 1 / FAR_OFF <= 1.0 + each.after <= FAR_OFF
        ]


def check_names(
    catalog: Catalog, model: str, chip: str, engine: str, dtypes: Sequence[str]
) -> None:
    """Refuse names that are not known, all of them at once.

    Raises:
        CatalogError: with the nearest names.
    """
    from planner.curves.engines import ENGINES
    from planner.curves.layout import DTYPE_BYTES
    from planner.errors import CatalogError, did_you_mean, shown

    faults = []
    for name, known, option in (
        (model, catalog.models, "--model"),
        (chip, catalog.chips, "--chip"),
        (engine, [name for name in ENGINES if name != "generic"], "--engine"),
        *((dtype, DTYPE_BYTES, "--weight-dtype, --kv-dtype") for dtype in dtypes),
    ):
        if name not in known:
            advice = did_you_mean(name, known)
            faults.append(f"{option}: unknown name {shown(name)}; {advice}".rstrip("; "))
    if faults:
        raise CatalogError("\n".join(faults))


def read_results(
    files: Sequence[Path], system: System, format_name: str | None
) -> tuple[list[Point], dict[str, int], list[str]]:
    """Return the operating points of all files, rows skipped by reason, and notes.

    Raises:
        MeasurementError: a file has faults; those of all files are reported together.
    """
    from collections import Counter

    from planner.measurements import MeasurementError, read_benchmark

    points: list[Point] = []
    skipped: Counter[str] = Counter()
    notes: list[str] = []
    faults: list[str] = []
    for file in dict.fromkeys(files):
        try:
            found = read_benchmark(file, system, format_name)
        except MeasurementError as error:
            faults.append(str(error))
            continue
        points += found.points
        skipped.update(found.skipped)
        notes += found.notes
    if faults:
        raise MeasurementError("\n".join(faults))
    return points, dict(skipped), notes


def usable(points: Sequence[Point]) -> list[Point]:
    """Return the points that an overhead can be fitted to.

    Raises:
        CalibrationError: there are none, or too few.
    """
    from planner.calibration.diagnose import FEWEST_POINTS
    from planner.calibration.fit import TOLERANCE, CalibrationError

    found = [point for point in points if set(point.metrics) & set(TOLERANCE)]
    if not found:
        raise CalibrationError(
            f"none of {len(points)} results has a mean TTFT, a mean TPOT or an output throughput "
            f"({', '.join(TOLERANCE)}); let the benchmark save them and try again"
        )
    if len(found) < FEWEST_POINTS:
        raise CalibrationError(
            f"{len(found)} usable operating point{'s' if len(found) > 1 else ''}; at least "
            f"{FEWEST_POINTS} are needed:\n" + "\n".join(ADVICE)
        )
    return found


def calibrate_points(
    points: Sequence[Point],
    catalog: Catalog,
    start: EngineOverhead,
    *,
    curves: Sequence[Path] = (),
    hold_out: float = 0.0,
    skipped: Mapping[str, int] | None = None,
    bar: LateBar | None = None,
) -> Calibrated:
    """Fit an overhead to points of one system.

    Args:
        points: usable ones.
        catalog: knows the model and the chip.
        start: the overhead to begin at, named as the result shall be.
        curves: the user's curve files.
        hold_out: share of the points that is only scored.
        skipped: rows that were not read, by reason.
        bar: shows progress.

    Raises:
        CalibrationError: nothing can be replayed, or too few points are left.
    """
    from planner.calibration.diagnose import point_errors, warnings
    from planner.calibration.fit import calibrate, log_errors
    from planner.curves.device import curves_for

    chip = catalog.chip(points[0].chip)
    deployments = _deployments(points, catalog, {chip.name: curves_for(chip, curves)})
    fitted, rest = _split(deployments, hold_out)
    total = 60.0 * len(fitted)

    def progress(done: int) -> None:
        if bar is not None:
            bar(done, total)

    before = log_errors(fitted, start)
    found = calibrate(fitted, start, progress=progress)
    return Calibrated(
        start=start,
        calibration=found,
        deployments=tuple(fitted),
        errors=tuple(point_errors(fitted, _lists(before), _lists(found.residuals))),
        warnings=tuple(warnings(found, fitted)),
        unseen=tuple(_unseen(rest, found.overhead)),
        skipped=dict(skipped or {}),
    )


def _lists(errors: Mapping[str, Any]) -> dict[str, list[float]]:
    return {name: values.tolist() for name, values in errors.items()}


def _deployments(
    points: Sequence[Point], catalog: Catalog, curves: Mapping[str, Any]
) -> list[Deployment]:
    """Return the deployments of points of which something can be served."""
    from planner.calibration.fit import CalibrationError
    from planner.curves.engines import EngineOverhead
    from planner.validation.deployment import deployment_of
    from planner.validation.replay import replay

    found = [deployment_of(point, catalog, curves=curves[point.chip]) for point in points]
    probe = EngineOverhead("generic")
    without = [each.point.id for each in found if not replay(each, probe).served]
    if without:
        raise CalibrationError(
            f"{without[0]}: no request fits in the memory of {points[0].parallelism.devices} × "
            f"{points[0].chip} by the memory plan ({len(without)} of {len(points)} results); check "
            "the layout, the number formats and --memory-fraction, or state --kv-blocks"
        )
    return found


def _split(
    deployments: Sequence[Deployment], hold_out: float
) -> tuple[list[Deployment], list[Deployment]]:
    from planner.calibration.diagnose import FEWEST_POINTS
    from planner.calibration.fit import CalibrationError
    from planner.calibration.hold_out import load_of
    from planner.validation.split import share

    if not hold_out:
        return list(deployments), []
    kept_out, fitted = share(
        range(len(deployments)),
        lambda at: deployments[at].point.id,
        lambda at: load_of(deployments[at].point),
        hold_out,
        fewest=1,
    )
    if len(fitted) < FEWEST_POINTS:
        raise CalibrationError(
            f"--hold-out {hold_out:g} leaves {len(fitted)} of {len(deployments)} points to fit; at "
            f"least {FEWEST_POINTS} are needed:\n" + "\n".join(ADVICE)
        )
    return [deployments[at] for at in fitted], [deployments[at] for at in kept_out]


def _unseen(deployments: Sequence[Deployment], host: EngineOverhead) -> list[Score]:
    from planner.validation.runs import replay_one

    scores = [replay_one(each, host) for each in deployments]
    return [score for score in scores if score is not None]


def named(
    start: EngineOverhead, points: Sequence[Point], source: str | None, date: str | None
) -> EngineOverhead:
    """Return where a fit starts, with the names that its result shall have."""
    from planner.measurements import protocol_name

    first = points[0]
    dates = sorted({point.date for point in points if point.date})
    kinds = sorted({protocol_name(point.protocol).replace("_", " ") for point in points})
    return replace(
        start,
        engine=first.engine,
        chip=first.chip,
        version=first.engine_version,
        date=date or (dates[-1] if dates else ""),
        source=source
        or f"own benchmark of {first.model} on {first.parallelism.devices} × {first.chip}, "
        f"{', '.join(kinds)}",
    )
