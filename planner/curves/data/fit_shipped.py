"""Fit the curves that ship with the package from the tables of `aiconfigurator-core`.

Run `python -m planner.curves.data.fit_shipped`, after `pip install planner[kernels]`. It writes one
file per chip and operator beside this script, and prints the errors of every curve. The same tables
give the same bytes.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib import import_module, util
from pathlib import Path
from typing import Final

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from planner.catalog import Chip, load_catalog
from planner.curves.curve import Curve
from planner.curves.data.jobs import Job
from planner.curves.fit import FOLDS, fit_curve
from planner.curves.peaks import peaks_of
from planner.curves.readers.aiconfigurator import (
    CHIPS,
    LICENCE,
    PACKAGE,
    Reading,
    read_aiconfigurator,
)
from planner.curves.store import describe, save_curves
from planner.curves.timing_checks import check_timings
from planner.curves.timings import CurveError, Timings

JOB_LISTS: Final = ("jobs_dense", "jobs_attention", "jobs_experts")
"""Modules in this folder that have `JOBS`; one that is absent is passed over."""
MEASURED: Final = "2026-08-31"
"""Latest day named in the tables of version 0.12.0."""
_FEWEST: Final = 12
"""Timings; a key with fewer gets no curve."""


@dataclass(frozen=True)
class Outcome:
    """What became of one key."""

    name: str
    curve: Curve | None
    problem: str = ""


def all_jobs() -> tuple[Job, ...]:
    """Return the jobs of every list that there is."""
    names = [f"planner.curves.data.{name}" for name in JOB_LISTS]
    found = [import_module(name) for name in names if util.find_spec(name) is not None]
    return tuple(job for module in found for job in module.JOBS)


def fit_job(job: Job, chip: Chip, reading: Reading, progress: Progress) -> Iterator[Outcome]:
    """Yield the outcome of every engine and dtype that was measured."""
    timings = job.select(reading.timings)
    keys = timings.keys()
    task = progress.add_task(f"{chip.name} {job.operator}", total=len(keys) * (FOLDS + 1))
    for key in keys:
        rows = timings.only(key)
        try:
            curve = _fit(job, chip, rows, lambda: progress.advance(task))
        except (CurveError, ValueError) as error:
            yield Outcome(describe(key), None, str(error))
        else:
            yield Outcome(describe(key), curve)
    progress.remove_task(task)


def _fit(job: Job, chip: Chip, rows: Timings, on_fit: object) -> Curve:
    key = rows.keys()[0]
    checked = check_timings(rows)
    if len(checked.timings) < _FEWEST:
        raise CurveError(f"{len(checked.timings)} usable timings, fewer than {_FEWEST}")
    assert callable(on_fit)
    versions = sorted(set(rows.labels["version"].tolist()))
    return fit_curve(
        job.form(key),
        key,
        checked.timings,
        peaks_of(chip, key.dtype),
        groups=job.groups,
        correction=job.correction,
        source=f"{PACKAGE}: {rows.labels['source'][0].removeprefix(f'{PACKAGE} ')}",
        version=", ".join(versions),
        date=MEASURED,
        licence=LICENCE,
        on_fit=on_fit,
    )


def fit_all(
    out: Path,
    *,
    folder: Path | None,
    chips: Sequence[str],
    operators: Sequence[str],
    console: Console,
) -> list[Outcome]:
    """Fit everything asked for, write it under `out`, and return what became of it."""
    catalog = load_catalog()
    outcomes: list[Outcome] = []
    notes: list[str] = []
    jobs = [job for job in all_jobs() if not operators or job.operator in operators]
    bar = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    with Progress(*bar, console=console) as progress:
        whole = progress.add_task("all", total=len(chips) * len(jobs))
        for chip in chips:
            if chip not in catalog.chips:
                notes.append(f"{chip}: not in the catalogue, so nothing is fitted")
                progress.advance(whole, len(jobs))
                continue
            for job in jobs:
                reading = read_aiconfigurator(job.operator, chip, folder=folder)
                notes.extend(reading.notes)
                if left := len(reading.timings) - len(job.select(reading.timings)):
                    notes.append(f"{chip} {job.operator}: {left} rows left out by its job")
                found = list(fit_job(job, catalog.chip(chip), reading, progress))
                curves = [outcome.curve for outcome in found if outcome.curve is not None]
                if curves:
                    save_curves(out / chip / f"{job.operator}.json", curves)
                outcomes.extend(found)
                progress.advance(whole)
    for note in dict.fromkeys(notes):
        console.print(f"note: {note}", highlight=False, soft_wrap=True)
    return outcomes


def error_table(outcomes: Sequence[Outcome]) -> Table:
    """Return the errors of every curve."""
    table = Table("curve", "timings", "MAPE in", "MAPE out", "grid", "remarks")
    for outcome in outcomes:
        curve = outcome.curve
        if curve is None:
            table.add_row(outcome.name, "", "", "", "", outcome.problem.splitlines()[0])
            continue
        table.add_row(
            outcome.name,
            str(curve.points),
            f"{curve.mape_in:.1%}",
            f"{curve.mape_out:.1%}",
            str(len(curve.correction) if curve.correction is not None else 0),
            "; ".join(warning.partition(" bound")[0] for warning in curve.warnings),
        )
    return table


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the script; return 1 if any key got no curve."""
    parser = argparse.ArgumentParser(description="Fit the curves that ship with planner.")
    parser.add_argument("--folder", type=Path, help="tables (default: the installed package)")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent)
    parser.add_argument("--chip", action="append", choices=sorted(CHIPS), help="repeatable")
    parser.add_argument("--operator", action="append", help="repeatable")
    options = parser.parse_args(arguments)
    console = Console()
    outcomes = fit_all(
        options.out,
        folder=options.folder,
        chips=options.chip or list(CHIPS),
        operators=options.operator or (),
        console=console,
    )
    console.print(error_table(outcomes))
    return int(any(outcome.curve is None for outcome in outcomes))


if __name__ == "__main__":
    raise SystemExit(main())
