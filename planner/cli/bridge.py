"""`planner bridge`: why cost and margin differ between two scenarios or results."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from planner.cli.options import Force, Html, Jobs, Json, MaxNodes, Sets, csv_option


class Per(StrEnum):
    """What money is stated for."""

    HOUR = "hour"
    MONTH = "month"


def bridge(
    before: Annotated[
        str, typer.Argument(metavar="A", help="Scenario (FILE or FILE@NAME) or result folder.")
    ],
    after: Annotated[str, typer.Argument(metavar="B", help="The same: what A is compared with.")],
    sets: Sets = None,
    no_techniques: Annotated[
        bool, typer.Option("--no-techniques", help="Do not simulate what single techniques did.")
    ] = False,
    no_size: Annotated[
        bool,
        typer.Option("--no-size", help="Compare techniques in the own fleets, not the smallest."),
    ] = False,
    max_nodes: MaxNodes = 4096,
    pairs: Annotated[
        int, typer.Option("--pairs", min=2, help="Pairs of orders, with more than 5 techniques.")
    ] = 5,
    catalog_before: Annotated[
        Path | None, typer.Option("--catalog-a", metavar="DIR", help="Catalogue of A.")
    ] = None,
    catalog_after: Annotated[
        Path | None, typer.Option("--catalog-b", metavar="DIR", help="Catalogue of B.")
    ] = None,
    per: Annotated[Per, typer.Option("--per", help="State money per hour or month.")] = Per.HOUR,
    jobs: Jobs = None,
    html: Html = None,
    csv: Annotated[Path | None, csv_option("Write every part as CSV.")] = None,
    json_output: Json = False,
    force: Force = False,
) -> None:
    r"""Attribute a change of cost and margin to its causes.

    From A to B: demand, mix, request size, cache hits, throughput,
    utilisation, prices, power, revenue prices, the partner's share. Parts
    are Shapley shares and add up exactly. Between two scenarios,
    techniques that they do not use alike get a part each, by simulating
    every subset of them; a changed catalogue is a part of its own.
    Exit codes: 0 answered; 2 bad input.

    For example:

        planner bridge scenarios/economics/margin_bridge.yaml@last-quarter \
          scenarios/economics/margin_bridge.yaml@this-quarter --html bridge.html

        planner bridge results/last-quarter results/this-quarter --per month
    """
    import os

    from planner.catalog import load_catalog
    from planner.cli.outputs import check_outputs, write_csv, write_report
    from planner.cli.progress import LateBar, announce_compilation
    from planner.report.bridge import render_bridge_html
    from planner.search.bridge import bridge as search

    inputs = [path for path in (Path(before), Path(after)) if path.is_file()]
    check_outputs([html, csv], force=force, inputs=inputs)
    catalogs = [
        None if folder is None else load_catalog(folder)
        for folder in (catalog_before, catalog_after)
    ]
    if not all(Path(side).is_dir() for side in (before, after)):
        announce_compilation()
    with LateBar("bridging") as bar:
        found = search(
            before,
            after,
            sets=sets or (),
            techniques=not no_techniques,
            sized=not no_size,
            maximum_nodes=max_nodes,
            pairs=pairs,
            jobs=jobs or os.cpu_count() or 1,
            progress=bar,
            catalog_before=catalogs[0] or (load_catalog() if catalogs[1] else None),
            catalog=catalogs[1],
        )
    if json_output:
        typer.echo(found.to_json())
    else:
        from planner.report.bridge_terminal import print_bridge

        print_bridge(found, per)
    write_csv(csv, "parts", lambda: found.to_pandas().to_csv(index=False, lineterminator="\n"))
    write_report(html, lambda: render_bridge_html(found, per))
