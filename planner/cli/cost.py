"""`planner cost`: what a scenario or a stored result costs and earns, at any prices."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from planner.cli.options import Force, Html, Json, Named, Overrides, Sets, csv_option, iso_day


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
    html: Html = None,
    csv: Annotated[Path | None, csv_option("Write the ledger as CSV.")] = None,
    json_output: Json = False,
    force: Force = False,
) -> None:
    r"""Show what serving costs and earns: the bill, unit costs, revenue and three margins.

    A scenario is simulated. The folder that `planner run` wrote is not: its machine time
    and tokens are priced again, by its own prices, or by others and for another day.
    FILE is YAML written as the catalogue's prices.yaml and api.yaml, or JSON in LiteLLM's
    format, which is taken as of DATE. With a result, --set changes `prices` and the
    prices of pools. Exit codes: 0 answered; 2 bad input.

    For example:

        planner cost scenarios/quickstart.yaml --html cost.html

        planner cost results/quickstart --date 2026-03-01 \
          --set prices.default_terms=spot

        planner cost results/quickstart --prices contract.yaml --csv ledger.csv
    """
    from planner.cli.outputs import check_outputs, write_csv, write_report
    from planner.cli.progress import LateBar, announce_compilation
    from planner.costing import cost as find
    from planner.report.cost import render_cost_html

    check_outputs([html, csv], force=force, inputs=[source, *(prices or ())])
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
    write_csv(csv, "ledger", lambda: found.finance.ledger.to_csv(index=False, lineterminator="\n"))
    write_report(html, lambda: render_cost_html(found))
