"""`planner bridge`: why cost and margin differ between two scenarios or results."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from planner.cli.options import Sets

if TYPE_CHECKING:
    from planner.search.bridged import Bridge


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
    max_nodes: Annotated[
        int, typer.Option("--max-nodes", min=1, help="Most nodes of a pool that are tried.")
    ] = 4096,
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
    jobs: Annotated[
        int | None,
        typer.Option("--jobs", min=1, help="Processes at a time; default: one per core."),
    ] = None,
    html: Annotated[
        Path | None,
        typer.Option("--html", "--report", metavar="FILE", help="Write an HTML report."),
    ] = None,
    csv: Annotated[
        Path | None, typer.Option("--csv", metavar="FILE", help="Write every part as CSV.")
    ] = None,
    json_output: Annotated[
        bool, typer.Option("--json", help="Print everything as JSON instead of tables.")
    ] = False,
    force: Annotated[bool, typer.Option("--force", help="Replace files that are there.")] = False,
) -> None:
    """Attribute a change of cost and margin to its causes.

    From A to B: demand, mix, request size, cache hits, throughput,
    utilisation, prices, power, revenue prices, the partner's share. Parts
    are Shapley shares and add up exactly. Between two scenarios,
    techniques that they do not use alike get a part each, by simulating
    every subset of them; a changed catalogue is a part of its own.
    Exit codes: 0 answered; 2 bad input.

    For example:

        planner bridge scenarios/economics/margin_bridge.yaml@last-quarter
        scenarios/economics/margin_bridge.yaml@this-quarter --html bridge.html

        planner bridge results/last-quarter results/this-quarter --per month
    """
    import os

    from planner.catalog import load_catalog
    from planner.cli.fitting import check_outputs
    from planner.cli.progress import LateBar, announce_compilation
    from planner.search.bridge import bridge as search

    outputs = [path for path in (html, csv) if path is not None]
    inputs = [path for path in (Path(before), Path(after)) if path.is_file()]
    check_outputs(outputs, force=force, inputs=inputs)
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
    _write(found, html, csv, per)


def _write(found: Bridge, html: Path | None, csv: Path | None, per: str) -> None:
    from planner.microbench.table import write_whole

    if csv is not None:
        write_whole(csv, found.to_pandas().to_csv(index=False, lineterminator="\n"))
        typer.echo(f"parts written to {csv}", err=True)
    if html is not None:
        from planner.report.bridge import render_bridge_html

        write_whole(html, render_bridge_html(found, per))
        typer.echo(f"report: {html}", err=True)
