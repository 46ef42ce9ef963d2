"""From operator timings to a `FitRecord`: what `planner fit` does between reading and printing."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from planner.catalog import Catalog, Chip
    from planner.curves.curve import Curve, CurveKey
    from planner.curves.data.jobs import Job
    from planner.curves.forms.base import Form, Peaks, Shape
    from planner.curves.timing_checks import Finding
    from planner.curves.timings import Timings
    from planner.report.fit_record import FitRecord, FlaggedRow, InputFile

WORST_ERROR: Final = 0.5
"""A curve that is further off than this on shapes left out says nothing; unless a limit is asked
for, it is not kept."""
FASTEST: Final = 2.0
"""Kernels faster than the data sheet's peak by this are none: clocks do not vary that much."""
MANY_TIMINGS: Final = 500
"""With fewer, a grid may follow noise: it is kept only if it helps on shapes left out."""
_NO_ENGINE: Final = "generic"
_FEWEST_GROUPS: Final = 3
"""With fewer groups of shapes than this, single shapes are left out instead."""

Progress = Callable[[float, float], None]


@dataclass(frozen=True)
class Wanted:
    """What of the timings to fit."""

    catalog: Catalog
    chip: str | None = None
    engine: str | None = None
    operators: tuple[str, ...] = ()
    """None named: all."""

    def __post_init__(self) -> None:
        """Refuse names that nothing could match.

        Raises:
            CatalogError: the chip is not in the catalogue.
            CurveError: an operator that timings cannot have.
        """
        from planner.curves.timings import OPERATORS, CurveError
        from planner.errors import did_you_mean, shown

        if self.chip is not None:
            self.catalog.chip(self.chip)
        unknown = [name for name in self.operators if name not in OPERATORS]
        if unknown:
            raise CurveError(
                "\n".join(
                    f"unknown operator {shown(name)}; "
                    f"{did_you_mean(name, OPERATORS, list_up_to=20)}"
                    for name in unknown
                )
            )


@dataclass(frozen=True)
class Origin:
    """Where timings come from, as far as the user said."""

    source: str | None = None
    date: str | None = None
    licence: str | None = None


@dataclass(frozen=True)
class ReadPart:
    """Timings of one file or table, with what is known of their origin."""

    timings: Timings
    source: str = ""
    date: str = ""
    licence: str = ""
    curated: bool = False
    """Rows of the tables that shipped curves come from: chosen among as for those."""


@dataclass(frozen=True)
class Readings:
    """Everything that was read."""

    parts: tuple[ReadPart, ...]
    inputs: tuple[InputFile, ...]
    findings: tuple[Finding, ...]
    """What the readers rejected or flagged."""
    notes: tuple[str, ...]


@dataclass(frozen=True)
class _Task:
    key: CurveKey
    timings: Timings
    origin: Origin
    curated: bool


def fit_all(
    readings: Readings,
    wanted: Wanted,
    origin: Origin,
    *,
    form_only: bool = False,
    worst: float = WORST_ERROR,
    progress: Progress | None = None,
) -> FitRecord:
    """Fit one curve per operator, chip, engine and format; of whole steps per model and split.

    Args:
        readings: what was read.
        wanted: what of it to fit.
        origin: what the user said of it; it wins over what the readers found.
        form_only: no grid of measured over fitted.
        worst: curves with a larger error on unseen shapes are not kept.
        progress: told how many fits of how many are done.
    """
    from planner.curves.fit import FOLDS
    from planner.curves.timing_checks import check_timings
    from planner.curves.timings import CurveError
    from planner.report.fit_record import FitRecord, FittedCurve, key_text

    tasks = list(_tasks(readings, wanted, origin))
    findings = list(readings.findings)
    fits, failed = [], []
    jobs = _jobs()
    steps = _Steps(progress, len(tasks) * (FOLDS + 1))
    for number, task in enumerate(tasks):
        steps.at(number * (FOLDS + 1))
        checked = check_timings(task.timings)
        findings += checked.findings
        try:
            chip = _chip(wanted, task.key)
            chosen = jobs.get(task.key.operator) if task.curated else None
            timings = _chosen(chosen, checked.timings, findings)
            curve = _fit(task, timings, chip, jobs, form_only, steps)
            _require_close(curve, worst)
        except (CurveError, ValueError) as error:
            failed.append((key_text(task.key), str(error)))
        else:
            fits.append(FittedCurve(curve, timings))
    flagged = tuple(_flagged(finding) for finding in dict.fromkeys(sorted(findings)))
    return FitRecord(tuple(fits), flagged, tuple(failed), readings.inputs)


def write_curves(record: FitRecord, path: Path) -> None:
    """Write the curve file of a record."""
    from planner.curves.store import save_curves

    save_curves(path, [fit.curve for fit in record.fits])


class _Steps:
    """Tells a progress bar of steps that are counted from different places."""

    def __init__(self, progress: Progress | None, total: int) -> None:
        self._progress = progress
        self._total = total
        self._done = 0

    def at(self, done: int) -> None:
        self._done = done
        if self._progress is not None:
            self._progress(min(done, self._total), self._total)

    def step(self) -> None:
        self.at(self._done + 1)


def _tasks(readings: Readings, wanted: Wanted, origin: Origin) -> Iterator[_Task]:
    """Yield one task per key; timings of one key from several files are fitted together."""
    from planner.curves.timings import Timings

    found: dict[CurveKey, list[tuple[Timings, Origin, bool]]] = {}
    for part in readings.parts:
        timings = _selected(part.timings, wanted)
        stated = Origin(
            origin.source or part.source, origin.date or part.date, origin.licence or part.licence
        )
        keys = timings.keys()
        for key in keys:
            found.setdefault(key, []).append((timings.only(key), stated, part.curated))
    for key in sorted(found, key=_order):
        rows = Timings.joined([timings for timings, _, _ in found[key]])
        origins = [stated for _, stated, _ in found[key]]
        whole = Origin(
            *(_joined(getattr(each, n) for each in origins) for n in ("source", "date", "licence"))
        )
        yield _Task(key, rows, whole, all(curated for _, _, curated in found[key]))


def _joined(texts: Iterator[Any]) -> str:
    return "; ".join(dict.fromkeys(str(text) for text in texts if text))


def _order(key: CurveKey) -> tuple[str, ...]:
    split = f"{key.tensor_parallel:04d}"
    return (key.chip, key.engine, key.operator, key.dtype, key.kv_dtype, key.model, split)


def _selected(timings: Timings, wanted: Wanted) -> Timings:
    """Return the rows that are wanted; those of an unknown chip take the name of the wanted one."""
    import numpy as np

    chips, engines = timings.labels["chip"], timings.labels["engine"]
    engines = np.where(engines == "", _NO_ENGINE, engines)
    if wanted.chip is not None:
        known = np.isin(chips, list(wanted.catalog.chips))
        chips = np.where(known, chips, wanted.chip)
    labels = {**timings.labels, "chip": chips, "engine": engines}
    timings = replace(timings, labels=labels)
    keep = np.ones(len(timings), dtype=np.bool_)
    for name, values in (
        ("chip", [wanted.chip] if wanted.chip is not None else None),
        ("engine", [wanted.engine] if wanted.engine is not None else None),
        ("operator", wanted.operators or None),
    ):
        if values is not None:
            keep &= np.isin(timings.labels[name], list(values))
    return timings.rows(keep)


def _jobs() -> dict[str, Job]:
    """Return how the shipped curves of each operator were fitted; a user's are fitted alike."""
    from planner.curves.data.fit_shipped import all_jobs

    return {job.operator: job for job in all_jobs()}


def _chip(wanted: Wanted, key: CurveKey) -> Chip:
    from planner.curves.timings import CurveError

    if key.chip not in wanted.catalog.chips:
        raise CurveError(
            f"{key.chip} is no chip of the catalogue, so its peaks are not known; name the chip "
            "whose peaks apply with --chip (see `planner catalog list chips`)"
        )
    return wanted.catalog.chip(key.chip)


def _chosen(job: Job | None, timings: Timings, findings: list[Finding]) -> Timings:
    """Return the rows that a curve is fitted on, and note how many others there are."""
    from planner.curves.timing_checks import Finding
    from planner.curves.timings import CurveError

    if not len(timings):
        raise CurveError("no usable timing; the rejected rows are listed with their reasons")
    if job is None:
        return timings
    key = timings.keys()[0]
    chosen = job.select(timings)
    if left := len(timings) - len(chosen):
        meaning = (job.select.__doc__ or "").strip().splitlines()[0].removeprefix("Return ")
        message = f"{left:,} timings of {key.operator} {key.dtype} left out; used are {meaning}"
        findings.append(Finding(timings.file, 0, True, message))
    if not len(chosen):
        raise CurveError("no timing is left to fit; the flagged rows say why")
    return chosen


def _fit(
    task: _Task,
    timings: Timings,
    chip: Chip,
    jobs: dict[str, Job],
    form_only: bool,
    steps: _Steps,
) -> Curve:
    from planner.curves.fit import fit_curve
    from planner.curves.forms.base import Peaks
    from planner.curves.forms.registry import form_for
    from planner.curves.peaks import peaks_of
    from planner.curves.timings import shape_of

    key = task.key
    job = jobs.get(key.operator)
    form = job.form(key) if job is not None else form_for(key)
    versions = sorted(set(timings.labels["version"].tolist()) - {""})
    options: dict[str, Any] = {
        "groups": _groups(form, job, shape_of(timings, form)),
        "source": task.origin.source or _sources(timings),
        "version": ", ".join(versions),
        "date": task.origin.date or "",
        "licence": task.origin.licence or "",
        "on_fit": steps.step,
    }
    # whole steps are fitted in seconds: no peak of the chip stands in their form
    peaks = Peaks() if key.is_whole_step else peaks_of(chip, key.dtype)
    _require_possible(timings, chip, peaks)
    correction = None if job is None or form_only else job.correction
    plain = None
    if correction is None or len(timings) < MANY_TIMINGS:
        plain = fit_curve(form, key, timings, peaks, **options)
    if correction is None:
        assert plain is not None
        return plain
    gridded = fit_curve(form, key, timings, peaks, correction=correction, **options)
    if plain is None or gridded.mape_out < plain.mape_out:
        return gridded
    return plain


def _require_possible(timings: Timings, chip: Chip, peaks: Peaks) -> None:
    """Refuse products that mostly beat the chip's peak: another unit, or another chip."""
    import numpy as np

    from planner.curves.timings import CurveError

    columns = [timings.shape.get(name) for name in ("m", "n", "k")]
    if timings.keys()[0].operator != "gemm" or any(column is None for column in columns):
        return
    attained = 2.0 * np.prod(np.array(columns), axis=0) / timings.seconds / peaks.flops
    share = float(np.median(attained))
    if share > FASTEST:
        raise CurveError(
            f"half of the products attain over {share:.3g} times the peak of {chip.name} "
            f"({peaks.flops / 1e12:.4g} TFLOP/s). Is time_us in another unit than µs, or the chip "
            "another? --chip names the one whose peaks apply"
        )


def _require_close(curve: Curve, worst: float) -> None:
    from planner.curves.timings import CurveError

    if curve.mape_out > worst:
        raise CurveError(
            f"the error on unseen shapes is {curve.mape_out:.0%}, so the curve says nothing. Is "
            "this one kernel, timed in µs on one chip, over shapes that vary in every column? "
            "--max-mape 10 keeps it nevertheless"
        )


def _groups(form: Form, job: Job | None, shape: Shape) -> tuple[str, ...] | None:
    """Return what is left out together; None (single shapes) where there are too few groups."""
    import numpy as np

    names = job.groups if job is not None else ()
    if not names or any(name not in form.shape for name in names):
        return names or None
    rows = np.stack([shape[name] for name in names], axis=1)
    return names if len(np.unique(rows, axis=0)) >= _FEWEST_GROUPS else None


def _sources(timings: Timings) -> str:
    """Return the sources that the rows name; the first few of many."""
    names = sorted(set(timings.labels["source"].tolist()) - {""})
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return "; ".join(names[:3]) + more if names else timings.file


def _flagged(finding: Finding) -> FlaggedRow:
    from planner.report.fit_record import FlaggedRow

    place = f"{finding.file}:{finding.line}" if finding.line else finding.file
    return FlaggedRow(place, "left out" if finding.rejected else "kept", finding.message)
