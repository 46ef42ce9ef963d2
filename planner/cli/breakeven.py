"""`planner breakeven`: from which volume a chip of one's own is cheaper than a bought one."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from planner.cli.options import Force, Html, Json, Named, Overrides, Sets, csv_option

if TYPE_CHECKING:
    from planner.search.breakeven import OwnChipCase


def breakeven(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Scenario file.")],
    sets: Sets = None,
    overrides: Overrides = None,
    scenario: Named = None,
    html: Html = None,
    csv: Annotated[Path | None, csv_option("Write cost by volume as CSV.")] = None,
    json_output: Json = False,
    force: Force = False,
) -> None:
    r"""Find the volume from which an own chip is cheaper per token.

    Takes the scenario's section `own_chip`. Finds by simulation how many tokens a second
    each chip serves within the promises, and sets engineering, recovered over the life of
    a generation, against what each token saves.
    Exit codes: 0 answered, also where the own chip never pays; 2 bad input.

    For example:

        planner breakeven scenarios/economics/own_chip.yaml --html own-chip.html

        planner breakeven scenarios/economics/own_chip.yaml \
          --set "own_chip.engineering=1e9 USD"
    """
    from planner.cli.outputs import check_outputs, write_csv, write_report
    from planner.cli.progress import announce_compilation
    from planner.files import csv_text
    from planner.search.breakeven import breakeven as search
    from planner.search.own_chip_content import case_json, case_rows
    from planner.simulation import load_scenario

    loaded = load_scenario(file, sets=sets or (), overrides=overrides or (), named=scenario)
    check_outputs([html, csv], force=force, inputs=[file])
    announce_compilation()
    case = search(loaded, on_trial=lambda sentence: typer.echo(f"  {sentence}", err=True))
    if json_output:
        typer.echo(case_json(case))
    else:
        from planner.report.mix_terminal import print_own_chip

        print_own_chip(case)
    write_csv(csv, "costs", lambda: csv_text(case_rows(case)))
    write_report(html, lambda: _html(case))


def _html(case: OwnChipCase) -> str:
    from planner.report.own_chip import render_own_chip_html
    from planner.search.mix_content import point_rows
    from planner.search.own_chip_content import case_rows

    points = point_rows((*case.own_points, *case.bought_points))
    return render_own_chip_html(case, {"curve": case_rows(case), "points": points})
