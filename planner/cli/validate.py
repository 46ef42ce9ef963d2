"""`planner validate`: published measurements replayed, and how far off the replays are."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from planner.cli.options import Force, Html, Json, csv_option

if TYPE_CHECKING:
    from planner.validation.record import Validation


def validate(
    data: Annotated[
        Path | None,
        typer.Option(
            "--data",
            metavar="DIR",
            help="Folder of the full sets; default: the published results that come with planner.",
        ),
    ] = None,
    sets: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="NAME", help="Only this set; repeat for more."),
    ] = None,
    by: Annotated[
        str, typer.Option("--by", metavar="KEYS", help="Group by these, separated by commas.")
    ] = "model,chip,engine,precision",
    hold_out: Annotated[
        bool,
        typer.Option(
            "--hold-out",
            help="Also score each group with overheads fitted without it (minutes).",
        ),
    ] = False,
    calibration: Annotated[
        Path | None,
        typer.Option("--calibration", metavar="FILE", help="Overheads on top of those shipped."),
    ] = None,
    html: Html = None,
    csv: Annotated[Path | None, csv_option("Write every point as CSV.")] = None,
    json_output: Json = False,
    force: Force = False,
) -> None:
    """Replay published measurements through the simulation; print the errors.

    Errors are predicted / measured - 1: signed median (bias), and median, mean and 90th percentile
    of the absolute error. The shipped overheads were fitted to some of these points; --hold-out
    scores every group (model, chip, engine) with overheads fitted to other groups only.
    Exit codes: 0 replayed; 1 no point could be replayed; 2 bad input.

    For example:

        planner validate --html validation.html

        planner validate --data data --set inferencex --by chip,engine --hold-out
    """
    from planner.catalog import load_catalog
    from planner.cli.outputs import check_outputs, write_csv, write_report
    from planner.cli.progress import LateBar, announce_compilation
    from planner.cli.validating import read_points, validate_points
    from planner.curves.engines import shipped_engines
    from planner.files import csv_text
    from planner.report.validation import render_validation_html
    from planner.validation.record import POINT_COLUMNS, point_rows
    from planner.validation.runs import choose_sets
    from planner.validation.score import parse_by

    keys = parse_by(by)
    check_outputs([html, csv], force=force)
    table = shipped_engines()
    if calibration is not None:
        table = table.with_file(calibration)
    points, skipped, notes, source = read_points(data)
    points = choose_sets(points, sets or ())
    announce_compilation()
    with LateBar("replaying") as bar:
        found = validate_points(points, load_catalog(), table, keys, held_out=hold_out, bar=bar)
    from dataclasses import replace

    found = replace(found, skipped=skipped, notes=(*notes, *found.notes), source=source)
    if json_output:
        typer.echo(as_json(found))
    else:
        from planner.cli.validation_text import print_validation

        print_validation(found)
    write_csv(csv, "points", lambda: csv_text(point_rows(found), POINT_COLUMNS))
    write_report(html, lambda: render_validation_html(found))
    if not found.scores:
        typer.echo("error: no point could be replayed; the reasons are listed above", err=True)
        raise typer.Exit(1)


def as_json(found: Validation) -> str:
    """Return tables and targets as JSON."""
    import json
    from dataclasses import asdict

    from planner.validation.record import as_plain, statistics_rows
    from planner.validation.score import errors_of, headline
    from planner.version import VERSION

    metrics = found.measured_metrics()
    held = found.held
    content = {
        "planner": VERSION,
        "source": found.source,
        "sets": [
            {"set": name, "aside": aside, "points": len(scores)}
            | {metric: as_plain(errors_of(scores, metric)) for metric in metrics}
            for name, aside, scores in found.lines()
        ],
        "groups": statistics_rows(headline(found.scores), found.by, metrics),
        "targets": [asdict(target) for target in found.targets],
        "hold_out": None
        if held is None
        else {
            name: statistics_rows(headline(getattr(held, name)), found.by)
            for name in ("unseen", "calibrated", "one_model")
        },
        "unusable": dict(found.unusable),
        "skipped": dict(found.skipped),
    }
    return json.dumps(content, indent=1, sort_keys=True)
