"""`planner risk`: how sure the answer is, and which input it hangs on."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from planner.cli.options import (
    Duration,
    Force,
    Html,
    Jobs,
    Json,
    MaxNodes,
    Named,
    Overrides,
    Sets,
    csv_option,
    seconds_of,
)


def _power_of_two(value: int | None) -> int | None:
    if value is not None and value & (value - 1):
        below = 1 << (value.bit_length() - 1)
        raise typer.BadParameter(f"must be a power of two, as {below} or {2 * below}")
    return value


def risk(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Scenario file.")],
    samples: Annotated[
        int | None,
        typer.Option(
            "--samples",
            min=8,
            max=65_536,
            callback=_power_of_two,
            help="Draws of all inputs, a power of two. Default: as the scenario says.",
        ),
    ] = None,
    duration: Duration = None,
    sets: Sets = None,
    overrides: Overrides = None,
    scenario: Named = None,
    no_size: Annotated[
        bool, typer.Option("--no-size", help="Look at the scenario's own fleet only: no sizing.")
    ] = False,
    no_sensitivity: Annotated[
        bool, typer.Option("--no-sensitivity", help="Leave out Sobol indices: fewer draws.")
    ] = False,
    max_nodes: MaxNodes = 4096,
    jobs: Jobs = None,
    resume: Annotated[
        Path | None,
        typer.Option(
            "--resume", metavar="FILE", help="Keep draws in this file; go on from what it holds."
        ),
    ] = None,
    html: Html = None,
    csv: Annotated[
        Path | None, csv_option("Write every draw as CSV: its inputs and what came out.")
    ] = None,
    json_output: Json = False,
    force: Force = False,
) -> None:
    r"""Say how sure the answer is, and which input it hangs on.

    Draws the inputs that the scenario's section `uncertainty` lists: traffic, lengths,
    fitted curves, engine overheads, acceptance, prices; without the section, only the known
    errors of curves and overheads. Simulates each draw with the same
    requests, finds its smallest fleet, and prints accelerators, tail latency, cost and
    margin as intervals with their sampling error. Each input's swing (p10 to p90, others at
    their medians) and its Sobol indices say what drives them.
    Exit codes: 0 answered; 2 bad input.

    For example:

        planner risk scenarios/economics/uncertainty.yaml --html risk.html

        planner risk scenarios/economics/uncertainty.yaml --samples 128 \
          --resume draws.jsonl
    """
    import os
    import time

    from planner.cli.outputs import check_outputs, write_csv, write_report
    from planner.cli.progress import LateBar, announce_compilation
    from planner.files import csv_text
    from planner.report.risk import render_risk_html
    from planner.search.uncertainty import risk as search
    from planner.simulation import load_scenario

    duration_s = seconds_of(duration)
    loaded = load_scenario(file, sets=sets or (), overrides=overrides or (), named=scenario)
    check_outputs([html, csv], force=force, inputs=[file])
    announce_compilation()
    started_s = time.monotonic()
    with LateBar("drawing") as bar:
        found = search(
            loaded,
            samples=samples,
            duration_s=duration_s,
            sized=not no_size,
            sensitivity=False if no_sensitivity else None,
            maximum_nodes=max_nodes,
            jobs=jobs or os.cpu_count() or 1,
            resume=resume,
            progress=bar,
        )
    seconds = time.monotonic() - started_s
    if json_output:
        typer.echo(found.to_json())
    else:
        from planner.report.risk_terminal import print_risk

        print_risk(found)
    typer.echo(f"{found.simulations:,} fleets simulated in {seconds:.1f} s", err=True)
    write_csv(csv, "draws", lambda: csv_text(found.rows()))
    write_report(html, lambda: render_risk_html(found))
