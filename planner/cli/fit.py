"""`planner fit`: operator timings to fitted curves, with their errors."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from planner.cli.completion import catalog_names
from planner.cli.options import Force, Html, iso_day

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from planner.report.fit_record import FitRecord

WIDTH = 110
"""Columns of the output where it is piped."""
_MOST_FLAGS = 8
"""Flagged rows that are printed; the report has all."""


def fit(
    timings: Annotated[
        list[Path], typer.Argument(metavar="TIMINGS...", help="Files or folders of timings.")
    ],
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="FILE", help="Curve file to write.")
    ] = Path("curves.json"),
    html: Html = None,
    reader: Annotated[
        str,
        typer.Option(
            "--reader",
            metavar="NAME",
            help="timings, aiconfigurator, layer-profiles, tpu, splitwise or dynamo; auto: by "
            "content.",
        ),
    ] = "auto",
    chip: Annotated[
        str | None,
        typer.Option(
            "--chip",
            metavar="NAME",
            help="Only timings of this chip; those of no chip of the catalogue count as its.",
            autocompletion=catalog_names("chips"),
        ),
    ] = None,
    engine: Annotated[
        str | None, typer.Option("--engine", metavar="NAME", help="Only timings of this engine.")
    ] = None,
    operator: Annotated[
        list[str] | None,
        typer.Option("--operator", metavar="NAME", help="Only this operator; repeat for more."),
    ] = None,
    form_only: Annotated[
        bool, typer.Option("--form-only", help="Leave out the grid of measured over fitted.")
    ] = False,
    max_mape: Annotated[
        float | None,
        typer.Option(
            "--max-mape",
            min=0.0,
            help="Exit with 1 if a curve's error on unseen shapes exceeds this: 0.06 is 6%. "
            "Without it, curves beyond 50% are not written.",
        ),
    ] = None,
    source: Annotated[
        str | None, typer.Option("--source", help="Where the timings come from, if they say not.")
    ] = None,
    date: Annotated[
        str | None,
        typer.Option(
            "--date", metavar="YYYY-MM-DD", callback=iso_day, help="When they were taken."
        ),
    ] = None,
    licence: Annotated[
        str | None, typer.Option("--licence", help="Licence of the timings.")
    ] = None,
    force: Force = False,
) -> None:
    r"""Fit a curve per operator, chip, engine and format to timings; write the curve file.

    Whole steps of an engine (step_prefill, step_decode) give a curve per model and tensor_parallel,
    columns that they need; it holds for no other model, split or chip.
    Prints parameters with standard errors, measured ranges, mean errors on the shapes used and on
    shapes left out, and the rows that were rejected or look odd.
    Exit codes: 0 curves were written; 1 nothing could be fitted, or --max-mape failed; 2 bad input.

    For example:

        planner fit timings.csv --output curves.json --html fit.html

        planner fit perf_model.csv --reader splitwise --html steps.html

        planner fit tables/ --reader aiconfigurator --chip h100-sxm \
          --engine vllm --operator gemm
    """
    from planner.catalog import load_catalog
    from planner.cli.fit_reading import read_inputs
    from planner.cli.fitting import WORST_ERROR, Origin, Wanted, fit_all
    from planner.cli.outputs import check_outputs
    from planner.cli.progress import LateBar

    check_outputs([output, html], force=force, inputs=timings)
    catalog = load_catalog()
    wanted = Wanted(catalog, chip, engine, tuple(operator or ()))
    with LateBar("reading timings") as bar:
        reading = read_inputs(timings, reader, wanted, progress=bar)
    origin = Origin(source=source, date=date, licence=licence)
    with LateBar("fitting curves") as bar:
        record = fit_all(
            reading,
            wanted,
            origin,
            form_only=form_only,
            worst=WORST_ERROR if max_mape is None else math.inf,
            progress=bar,
        )
    _print(record, reading.notes)
    if not record.fits:
        typer.echo("error: nothing could be fitted", err=True)
        raise typer.Exit(1)
    from planner.cli.fitting import write_curves

    write_curves(record, output)
    typer.echo(f"\nwritten to {output}: {len(record.fits)} curves")
    if html is not None:
        from planner.files import write_whole
        from planner.report.curve_fit import render_fit_html

        write_whole(html, render_fit_html(record))
        typer.echo(f"report: {html}")
    _gate(record, max_mape)


def _gate(record: FitRecord, max_mape: float | None) -> None:
    """Exit with 1 if a curve is worse than it may be, or its error is not known."""
    if max_mape is None:
        return
    from planner.report.fit_record import key_text

    worse = [fit for fit in record.fits if not fit.curve.mape_out <= max_mape]
    for fit in worse:
        found = fit.curve.mape_out
        text = f"{found:.1%}" if math.isfinite(found) else "unknown"
        typer.echo(
            f"error: {key_text(fit.curve.key)}: error on unseen shapes {text}, at most "
            f"{max_mape:.1%} was asked for",
            err=True,
        )
    if worse:
        raise typer.Exit(1)


def _print(record: FitRecord, notes: Sequence[str]) -> None:
    from rich.console import Console

    console = Console(highlight=False)
    if not console.is_terminal:  # a pipe has no width of its own
        console = Console(highlight=False, width=WIDTH)
    for note in notes:
        typer.echo(f"note: {note}", err=True)
    for number in range(len(record.fits)):
        if number:
            console.print()
        _print_curve(console, record, number)
    for what, why in record.failed:
        typer.echo(f"\nnot fitted: {what}: {why}", err=True)
    _print_flags(console, record)
    if len(record.fits) > 1:
        _print_summary(console, record)


def _print_curve(console: Console, record: FitRecord, number: int) -> None:
    from rich.table import Table
    from rich.text import Text

    from planner.report.fit_record import key_text, parameter_text, range_text, standard_errors
    from planner.results.formatting import percent

    curve = record.fits[number].curve
    stored = "" if curve.correction is None else f" × grid of {len(curve.correction)}"
    console.print(Text.assemble((key_text(curve.key), "bold"), f"  {curve.form.name}{stored}"))
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), show_header=False)
    table.add_column(style="dim")
    table.add_column(justify="right", no_wrap=True)
    table.add_column(overflow="fold")
    errors = standard_errors(curve)
    for parameter, value, error in zip(curve.form.parameters, curve.values, errors, strict=True):
        table.add_row(
            parameter.name, parameter_text(value, error, parameter.unit), parameter.meaning
        )
    _print_stripped(console, table)
    console.print(
        f"{curve.points:,} timings; error {percent(curve.mape_in)} on them, "
        f"{percent(curve.mape_out)} on unseen shapes"
    )
    console.print(Text(f"measured: {', '.join(range_text(curve))}"))
    for warning in curve.warnings:
        console.print(Text(f"warning: {warning}", style="yellow"))


def _print_flags(console: Console, record: FitRecord) -> None:
    from rich.text import Text

    if not record.flagged:
        return
    left = sum(each.verdict == "left out" for each in record.flagged)
    console.print(f"\n{len(record.flagged):,} rows flagged, {left:,} of them left out")
    for each in record.flagged[:_MOST_FLAGS]:
        console.print(Text(f"  {each.place}: {each.verdict}: {each.reason}"))
    if len(record.flagged) > _MOST_FLAGS:
        console.print(f"  and {len(record.flagged) - _MOST_FLAGS:,} more; --report lists them")


def _print_summary(console: Console, record: FitRecord) -> None:
    from rich.table import Table

    from planner.report.fit_record import key_text
    from planner.results.formatting import percent

    console.print()
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column("curve", overflow="fold")
    for title in ("timings", "error", "unseen", "remarks"):
        table.add_column(title, justify="right")
    for each in record.fits:
        curve = each.curve
        remarks = str(len(curve.warnings)) if curve.warnings else ""
        errors = (percent(curve.mape_in), percent(curve.mape_out))
        table.add_row(key_text(curve.key), f"{curve.points:,}", *errors, remarks)
    _print_stripped(console, table)


def _print_stripped(console: Console, table: Table) -> None:
    """Print a table without the blanks at the end of its lines, which only a terminal hides."""
    if console.is_terminal:
        console.print(table)
        return
    with console.capture() as capture:
        console.print(table)
    typer.echo("\n".join(line.rstrip() for line in capture.get().splitlines()))
