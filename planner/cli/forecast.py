"""`planner forecast`: accelerators, spend and margin in the quarters ahead."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from planner.cli.options import Named, Overrides, Sets

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
    max_nodes: Annotated[
        int, typer.Option("--max-nodes", min=1, help="Most nodes of a pool in one simulation.")
    ] = 4096,
    jobs: Annotated[
        int | None,
        typer.Option("--jobs", min=1, help="Processes at a time; default: one per core."),
    ] = None,
    html: Annotated[
        Path | None, typer.Option("--html", metavar="FILE", help="Write an HTML report.")
    ] = None,
    csv: Annotated[
        Path | None, typer.Option("--csv", metavar="FILE", help="Write the quarters as CSV.")
    ] = None,
    json_output: Annotated[
        bool, typer.Option("--json", help="Print everything as JSON instead of tables.")
    ] = False,
    force: Annotated[bool, typer.Option("--force", help="Replace files that are there.")] = False,
) -> None:
    """Forecast accelerators, spend and margin by quarter.

    The scenario's `forecast` says how demand, mix, models, chips, prices and throughput change.
    Fleets of several sizes are simulated for every state that the quarters go through; between
    them is interpolated, and the error of that is shown. With --solve and --target it says
    what would have to be true for a number to come out.
    Exit codes: 0 answered; 2 bad input, or a target that nothing makes true.

    For example:

        planner forecast scenarios/economics/forecast_2030.yaml --html forecast.html

        planner forecast scenarios/economics/forecast_2030.yaml --solve growth --solve efficiency
            --target spend_usd=85e9@2030
    """
    import os
    import time

    from planner.cli.fitting import check_outputs
    from planner.cli.progress import LateBar, announce_compilation
    from planner.search.forecast import forecast as search
    from planner.search.solve import Target, require_solvable
    from planner.simulation import load_scenario

    if bool(unknowns) != bool(target):
        raise typer.BadParameter("--solve and --target go together")
    wanted = None if target is None else Target.parse(target)
    loaded = load_scenario(file, sets=sets or (), overrides=overrides or (), named=scenario)
    if wanted is not None and loaded.scenario.forecast is not None:
        require_solvable(unknowns or (), wanted, loaded.scenario.forecast.labels())
    check_outputs([path for path in (html, csv) if path is not None], force=force, inputs=[file])
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
    _write(found, html, csv)


def _solved(found: Prospect, unknowns: Any, target: Target) -> Prospect:
    from dataclasses import replace

    solutions = tuple(found.solve(unknown, target) for unknown in dict.fromkeys(unknowns))
    traded = found.trades_for(target, *EFFICIENCIES) if "growth" in unknowns else ()
    return replace(found, solutions=solutions, trades=traded)


def _write(found: Prospect, html: Path | None, csv: Path | None) -> None:
    from planner.microbench.table import write_whole

    if csv is not None:
        write_whole(csv, found.quarters.to_csv(index=False, lineterminator="\n"))
        typer.echo(f"quarters written to {csv}", err=True)
    if html is not None:
        from planner.report.forecast import render_forecast_html

        write_whole(html, render_forecast_html(found))
        typer.echo(f"report: {html}", err=True)
