"""`planner optimise`: the cheapest mix of nodes, terms and routing."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from planner.cli.options import Force, Html, Json, Named, Overrides, Sets, csv_option

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
    html: Html = None,
    csv: Annotated[Path | None, csv_option("Write every hour as CSV.")] = None,
    json_output: Json = False,
    force: Force = False,
) -> None:
    r"""Find the cheapest mix of nodes and terms for every hour.

    Takes the pools and terms of the scenario's section `optimise`. Finds by simulation
    how much of each class a node carries within its promises, then the cheapest whole
    nodes by pool and term (committed, by the hour, in blocks, spot) and which pool serves
    what in each hour, within the site's power, lead times and what can be had. Simulates
    the fleet so chosen, and adds nodes where it breaks a promise.
    Exit codes: 0 the fleet keeps every promise, or was not simulated; 1 it does not; 2 bad
    input, or nothing on offer serves the demand.

    For example:

        planner optimise scenarios/economics/capacity_mix.yaml --html mix.html

        planner optimise scenarios/economics/capacity_mix.yaml \
          --set "site.power=300 kW"
    """
    from planner.cli.outputs import check_outputs, write_csv, write_report
    from planner.cli.progress import LateBar, announce_compilation
    from planner.files import csv_text
    from planner.search.mix import optimise as search
    from planner.search.mix_content import hour_rows, optimum_json
    from planner.simulation import load_scenario

    loaded = load_scenario(file, sets=sets or (), overrides=overrides or (), named=scenario)
    check_outputs([html, csv], force=force, inputs=[file])
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
    write_csv(csv, "hours", lambda: csv_text(hour_rows(found)))
    write_report(html, lambda: _html(found))
    if found.kept is False:
        raise typer.Exit(1)


def _html(found: Optimum) -> str:
    from planner.report.mix import render_mix_html
    from planner.search import mix_content as content

    tables = {
        "hours": content.hour_rows(found),
        "terms": content.term_rows(found),
        "points": content.point_rows(found.points),
        "alternatives": content.alternative_rows(found),
        "power": content.power_rows(found),
    }
    return render_mix_html(found, tables)
