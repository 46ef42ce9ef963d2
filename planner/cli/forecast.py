"""`planner forecast`: accelerators, spend and margin in the quarters ahead."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from planner.cli.options import (
    Force,
    Html,
    Jobs,
    Json,
    MaxNodes,
    Named,
    Overrides,
    Sets,
    csv_option,
)

EFFICIENCIES = (0.0, 0.1, 0.2, 0.4, 0.6, 1.0)
"""Gains of throughput a year for which the growth that meets a target is shown."""

if TYPE_CHECKING:
    from planner.search.prospect import Prospect
    from planner.search.solve import Target


def forecast(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Scenario with a `forecast`.")],
    unknowns: Annotated[
        list[str] | None,
        typer.Option(
            "--solve",
            metavar="UNKNOWN",
            help="growth, efficiency, price, demand or work: what would make --target true; may "
            "be repeated.",
        ),
    ] = None,
    target: Annotated[
        str | None,
        typer.Option(
            metavar="QUANTITY=VALUE@WHEN",
            help="As spend_usd=85e9@2030, revenue_usd=…, gross_profit_usd=…, margin_rate=52%@2026, "
            "accelerators=1e5@2027-Q4.",
        ),
    ] = None,
    sets: Sets = None,
    overrides: Overrides = None,
    scenario: Named = None,
    samples: Annotated[
        Path | None,
        typer.Option(
            "--samples",
            metavar="FILE",
            help="Keep simulated fleets here; what is there is not simulated again.",
        ),
    ] = None,
    max_nodes: MaxNodes = 4096,
    jobs: Jobs = None,
    html: Html = None,
    csv: Annotated[Path | None, csv_option("Write the quarters as CSV.")] = None,
    json_output: Json = False,
    force: Force = False,
) -> None:
    r"""Forecast accelerators, spend and margin by quarter.

    The scenario's `forecast` says how demand, mix, models, chips, prices and throughput change.
    Fleets of several sizes are simulated for every state that the quarters go through; between
    them is interpolated, and the error of that is shown. With --solve and --target it says
    what would have to be true for a number to come out.
    Exit codes: 0 answered; 2 bad input, or a target that nothing makes true.

    For example:

        planner forecast scenarios/economics/forecast_2030.yaml \
          --html forecast.html

        planner forecast scenarios/economics/forecast_2030.yaml \
          --solve growth --solve efficiency --target spend_usd=85e9@2030
    """
    import os
    import time

    from planner.cli.outputs import check_outputs, write_csv, write_report
    from planner.cli.progress import LateBar, announce_compilation
    from planner.report.forecast import render_forecast_html
    from planner.search.forecast import forecast as search
    from planner.search.solve import Target, require_solvable
    from planner.simulation import load_scenario

    if bool(unknowns) != bool(target):
        raise typer.BadParameter("--solve and --target go together")
    wanted = None if target is None else Target.parse(target)
    loaded = load_scenario(file, sets=sets or (), overrides=overrides or (), named=scenario)
    if wanted is not None and loaded.scenario.forecast is not None:
        require_solvable(unknowns or (), wanted, loaded.scenario.forecast.labels())
    check_outputs([html, csv], force=force, inputs=[file])
    announce_compilation()
    started_s = time.monotonic()
    with LateBar("simulating") as bar:
        found = search(
            loaded,
            maximum_nodes=max_nodes,
            jobs=jobs or os.cpu_count() or 1,
            samples=samples,
            progress=bar,
        )
    seconds = time.monotonic() - started_s
    if wanted is not None:
        found = _solved(found, unknowns or (), wanted)
    if json_output:
        typer.echo(found.to_json())
    else:
        from planner.report.forecast_terminal import print_forecast

        print_forecast(found)
    typer.echo(f"{found.simulations} fleets behind it, in {seconds:.1f} s", err=True)
    write_csv(csv, "quarters", lambda: found.quarters.to_csv(index=False, lineterminator="\n"))
    write_report(html, lambda: render_forecast_html(found))


def _solved(found: Prospect, unknowns: Any, target: Target) -> Prospect:
    from dataclasses import replace

    solutions = tuple(found.solve(unknown, target) for unknown in dict.fromkeys(unknowns))
    traded = found.trades_for(target, *EFFICIENCIES) if "growth" in unknowns else ()
    return replace(found, solutions=solutions, trades=traded)
