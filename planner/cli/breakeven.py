"""`planner breakeven`: from which volume one's own chip, or one's own fleet, is cheaper."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from planner.cli.options import Force, Html, Json, Named, Overrides, Sets, csv_option

if TYPE_CHECKING:
    from planner.scenario import LoadedScenario
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
    r"""Find the volume from which an own chip, or an own fleet, is cheaper per token.

    With the section `own_chip`: an own chip against a bought one. Finds by simulation how many
    tokens a second each serves within the promises, and sets engineering, recovered over the
    life of a generation, against what each token saves. With the section `self_host`: a fleet of
    one's own against the price of an API, at several loads, each with the fleet that it takes.
    Exit codes: 0 answered, also where it never pays; 2 bad input.

    For example:

        planner breakeven scenarios/economics/own_chip.yaml --html own-chip.html

        planner breakeven scenarios/economics/own_chip.yaml \
          --set "own_chip.engineering=1e9 USD"

        planner breakeven scenarios/economics/self_host_or_api.yaml \
          --html self-host.html
    """
    from planner.cli.outputs import check_outputs
    from planner.cli.progress import announce_compilation
    from planner.simulation import load_scenario

    loaded = load_scenario(file, sets=sets or (), overrides=overrides or (), named=scenario)
    check_outputs([html, csv], force=force, inputs=[file])
    announce_compilation()
    of = _of_fleet if loaded.scenario.self_host is not None else _of_chip
    of(loaded, html, csv, json_output)


def _say(sentence: str) -> None:
    typer.echo(f"  {sentence}", err=True)


def _of_chip(
    loaded: LoadedScenario, html: Path | None, csv: Path | None, json_output: bool
) -> None:
    from planner.cli.outputs import write_csv, write_report
    from planner.files import csv_text
    from planner.search.breakeven import breakeven as search
    from planner.search.own_chip_content import case_json, case_rows

    case = search(loaded, on_trial=_say)
    if json_output:
        typer.echo(case_json(case))
    else:
        from planner.report.mix_terminal import print_own_chip

        print_own_chip(case)
    write_csv(csv, "costs", lambda: csv_text(case_rows(case)))
    write_report(html, lambda: _chip_page(case))


def _chip_page(case: OwnChipCase) -> str:
    from planner.report.own_chip import render_own_chip_html
    from planner.search.mix_content import point_rows
    from planner.search.own_chip_content import case_rows

    points = point_rows((*case.own_points, *case.bought_points))
    return render_own_chip_html(case, {"curve": case_rows(case), "points": points})


def _of_fleet(
    loaded: LoadedScenario, html: Path | None, csv: Path | None, json_output: bool
) -> None:
    from planner.cli.outputs import write_csv, write_report
    from planner.files import csv_text
    from planner.report.self_host import print_self_host, render_self_host_html
    from planner.search.self_host import self_host

    case = self_host(loaded, on_trial=_say)
    if json_output:
        typer.echo(case.to_json())
    else:
        print_self_host(case)
    write_csv(csv, "costs", lambda: csv_text([side.row() for side in case.sides]))
    write_report(html, lambda: render_self_host_html(case))
