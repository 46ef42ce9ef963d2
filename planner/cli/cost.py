"""`planner cost`: what a scenario or a stored result costs and earns, at any prices."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from planner.cli.options import Named, Overrides, Sets, iso_day

if TYPE_CHECKING:
    from planner.costing import Costing


def cost(
    source: Annotated[
        Path, typer.Argument(metavar="SCENARIO|RESULT", help="Scenario file, or result folder.")
    ],
    prices: Annotated[
        list[Path] | None,
        typer.Option(
            "--prices", metavar="FILE", help="Prices laid over the catalogue; may be repeated."
        ),
    ] = None,
    date: Annotated[
        str | None,
        typer.Option("--date", metavar="DATE", callback=iso_day, help="Day whose prices apply."),
    ] = None,
    sets: Sets = None,
    overrides: Overrides = None,
    scenario: Named = None,
    report: Annotated[
        Path | None, typer.Option("--html", metavar="FILE", help="Write an HTML report.")
    ] = None,
    csv: Annotated[
        Path | None, typer.Option("--csv", metavar="FILE", help="Write the ledger as CSV.")
    ] = None,
    json_output: Annotated[
        bool, typer.Option("--json", help="Print everything as JSON instead of tables.")
    ] = False,
    force: Annotated[bool, typer.Option("--force", help="Replace files that are there.")] = False,
) -> None:
    """Show what serving costs and earns: the bill, unit costs, revenue and three margins.

    A scenario is simulated. The folder that `planner run` wrote is not: its machine time
    and tokens are priced again, by its own prices, or by others and for another day.
    FILE is YAML written as the catalogue's prices.yaml and api.yaml, or JSON in LiteLLM's
    format, which is taken as of DATE. With a result, --set changes `prices` and the
    prices of pools. Exit codes: 0 answered; 2 bad input.

    For example:

        planner cost scenarios/quickstart.yaml --html cost.html

        planner cost results/quickstart --date 2026-03-01 --set prices.default_terms=spot

        planner cost results/quickstart --prices our-contract.yaml --csv ledger.csv
    """
    from planner.cli.fitting import check_outputs
    from planner.cli.progress import LateBar, announce_compilation
    from planner.costing import cost as find

    outputs = [path for path in (report, csv) if path is not None]
    check_outputs(outputs, force=force, inputs=[source, *(prices or ())])
    if not source.is_dir():
        announce_compilation()
    with LateBar(f"simulating {source.name}") as bar:
        found = find(
            source,
            prices=prices or (),
            date=date,
            sets=sets or (),
            overrides=overrides or (),
            named=scenario,
            progress=bar,
        )
    if json_output:
        typer.echo(found.to_json())
    else:
        from planner.report.cost_terminal import print_costing

        print_costing(found)
    _write(found, report, csv)


def _write(found: Costing, report: Path | None, csv: Path | None) -> None:
    from planner.microbench.table import write_whole

    if csv is not None:
        write_whole(csv, found.finance.ledger.to_csv(index=False, lineterminator="\n"))
        typer.echo(f"ledger written to {csv}", err=True)
    if report is not None:
        from planner.report.cost import render_cost_html

        write_whole(report, render_cost_html(found))
        typer.echo(f"report: {report}", err=True)
