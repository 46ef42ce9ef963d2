"""`planner breakeven`: from which volume a chip of one's own is cheaper than a bought one."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from planner.cli.options import Named, Overrides, Sets


def breakeven(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Scenario file.")],
    sets: Sets = None,
    overrides: Overrides = None,
    scenario: Named = None,
    html: Annotated[
        Path | None, typer.Option("--html", metavar="FILE", help="Write an HTML report.")
    ] = None,
    csv: Annotated[
        Path | None, typer.Option("--csv", metavar="FILE", help="Write cost by volume as CSV.")
    ] = None,
    json_output: Annotated[
        bool, typer.Option("--json", help="Print everything as JSON instead of tables.")
    ] = False,
    force: Annotated[bool, typer.Option("--force", help="Replace files that are there.")] = False,
) -> None:
    """Find the volume from which an own chip is cheaper per token.

    Takes the scenario's section `own_chip`. Finds by simulation how many tokens a second
    each chip serves within the promises, and sets engineering, recovered over the life of
    a generation, against what each token saves.
    Exit codes: 0 answered, also where the own chip never pays; 2 bad input.

    For example:

        planner breakeven scenarios/economics/own_chip.yaml --html own-chip.html

        planner breakeven scenarios/economics/own_chip.yaml --set "own_chip.engineering=1e9 USD"
    """
    from planner.cli.fitting import check_outputs
    from planner.cli.progress import announce_compilation
    from planner.cli.tables import csv_text
    from planner.microbench.table import write_whole
    from planner.search.breakeven import breakeven as search
    from planner.search.mix_content import case_json, case_rows, point_rows
    from planner.simulation import load_scenario

    loaded = load_scenario(file, sets=sets or (), overrides=overrides or (), named=scenario)
    check_outputs([path for path in (html, csv) if path is not None], force=force, inputs=[file])
    announce_compilation()
    case = search(loaded, on_trial=lambda sentence: typer.echo(f"  {sentence}", err=True))
    if json_output:
        typer.echo(case_json(case))
    else:
        from planner.report.mix_terminal import print_own_chip

        print_own_chip(case)
    if csv is not None:
        write_whole(csv, csv_text(case_rows(case)))
        typer.echo(f"costs written to {csv}", err=True)
    if html is not None:
        from planner.report.mix import render_own_chip_html

        points = point_rows((*case.own_points, *case.bought_points))
        tables = {"curve": case_rows(case), "points": points}
        write_whole(html, render_own_chip_html(case, tables))
        typer.echo(f"report: {html}", err=True)
