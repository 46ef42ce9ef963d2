"""`planner optimise`: the cheapest mix of nodes, terms and routing."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from planner.cli.options import Named, Overrides, Sets

if TYPE_CHECKING:
    from planner.search.mix import Optimum


def optimise(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Scenario file.")],
    sets: Sets = None,
    overrides: Overrides = None,
    scenario: Named = None,
    no_simulation: Annotated[
        bool,
        typer.Option("--no-simulation", help="Do not simulate the chosen fleet as a whole."),
    ] = False,
    html: Annotated[
        Path | None, typer.Option("--html", metavar="FILE", help="Write an HTML report.")
    ] = None,
    csv: Annotated[
        Path | None, typer.Option("--csv", metavar="FILE", help="Write every hour as CSV.")
    ] = None,
    json_output: Annotated[
        bool, typer.Option("--json", help="Print everything as JSON instead of tables.")
    ] = False,
    force: Annotated[bool, typer.Option("--force", help="Replace files that are there.")] = False,
) -> None:
    """Find the cheapest mix of nodes and terms for every hour.

    Takes the pools and terms of the scenario's section `optimise`. Finds by simulation
    how much of each class a node carries within its promises, then the cheapest whole
    nodes by pool and term (committed, by the hour, in blocks, spot) and which pool serves
    what in each hour, within the site's power, lead times and what can be had. Simulates
    the fleet so chosen, and adds nodes where it breaks a promise.
    Exit codes: 0 the fleet keeps every promise, or was not simulated; 1 it does not; 2 bad
    input, or nothing on offer serves the demand.

    For example:

        planner optimise scenarios/economics/capacity_mix.yaml --html mix.html

        planner optimise scenarios/economics/capacity_mix.yaml --set "site.power=300 kW"
    """
    from planner.cli.fitting import check_outputs
    from planner.cli.progress import LateBar, announce_compilation
    from planner.search.mix import optimise as search
    from planner.search.mix_content import hour_rows, optimum_json
    from planner.simulation import load_scenario

    loaded = load_scenario(file, sets=sets or (), overrides=overrides or (), named=scenario)
    check_outputs([path for path in (html, csv) if path is not None], force=force, inputs=[file])
    announce_compilation()
    with LateBar("simulating the fleet") as bar:

        def show(sentence: str) -> None:
            bar.restart()
            typer.echo(f"  {sentence}", err=True)

        found = search(loaded, simulate=not no_simulation, on_trial=show, progress=bar)
    if json_output:
        typer.echo(optimum_json(found))
    else:
        from planner.report.mix_terminal import print_optimum

        print_optimum(found)
    if csv is not None:
        from planner.cli.tables import csv_text
        from planner.microbench.table import write_whole

        write_whole(csv, csv_text(hour_rows(found)))
        typer.echo(f"hours written to {csv}", err=True)
    if html is not None:
        _write_report(found, html)
    if found.kept is False:
        raise typer.Exit(1)


def _write_report(found: Optimum, path: Path) -> None:
    from planner.microbench.table import write_whole
    from planner.report.mix import render_mix_html
    from planner.search import mix_content as content

    tables = {
        "hours": content.hour_rows(found),
        "terms": content.term_rows(found),
        "points": content.point_rows(found.points),
        "alternatives": content.alternative_rows(found),
        "power": content.power_rows(found),
    }
    write_whole(path, render_mix_html(found, tables))
    typer.echo(f"report: {path}", err=True)
