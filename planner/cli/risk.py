"""`planner risk`: how sure the answer is, and which input it hangs on."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from planner.cli.ablate import csv_text, length, seconds_of
from planner.cli.options import Named, Overrides, Sets

if TYPE_CHECKING:
    from planner.search.risk import Risk


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
    duration: Annotated[
        str | None,
        typer.Option(
            "--duration",
            metavar="TIME",
            callback=length,
            help="Simulate only the busiest part of this length, as '20 min', or 'all'. "
            "Default: the busiest hour; a trace as a whole.",
        ),
    ] = None,
    sets: Sets = None,
    overrides: Overrides = None,
    scenario: Named = None,
    no_size: Annotated[
        bool, typer.Option("--no-size", help="Look at the scenario's own fleet only: no sizing.")
    ] = False,
    no_sensitivity: Annotated[
        bool, typer.Option("--no-sensitivity", help="Leave out Sobol indices: fewer draws.")
    ] = False,
    max_nodes: Annotated[
        int, typer.Option("--max-nodes", min=1, help="Most nodes of a pool that are tried.")
    ] = 4096,
    jobs: Annotated[
        int | None,
        typer.Option("--jobs", min=1, help="Processes at a time; default: one per core."),
    ] = None,
    resume: Annotated[
        Path | None,
        typer.Option(
            "--resume", metavar="FILE", help="Keep draws in this file; go on from what it holds."
        ),
    ] = None,
    report: Annotated[
        Path | None, typer.Option("--report", metavar="FILE", help="Write an HTML report.")
    ] = None,
    csv: Annotated[
        Path | None,
        typer.Option(
            "--csv", metavar="FILE", help="Write every draw as CSV: its inputs and what came out."
        ),
    ] = None,
    json_output: Annotated[
        bool, typer.Option("--json", help="Print everything as JSON instead of tables.")
    ] = False,
    force: Annotated[bool, typer.Option("--force", help="Replace files that are there.")] = False,
) -> None:
    """Say how sure the answer is, and which input it hangs on.

    Draws the inputs that the scenario's section `uncertainty` lists: traffic, lengths,
    fitted curves, engine overheads, acceptance, prices. Simulates each draw with the same
    requests, finds its smallest fleet, and prints accelerators, tail latency, cost and
    margin as intervals with their sampling error. Each input's swing (p10 to p90, others at
    their medians) and its Sobol indices say what drives them.
    Exit codes: 0 answered; 2 bad input.

    For example:

        planner risk scenarios/economics/uncertainty.yaml --report risk.html

        planner risk scenarios/economics/uncertainty.yaml --samples 128 --resume draws.jsonl
    """
    import os
    import time

    from planner.cli.fitting import check_outputs
    from planner.cli.progress import LateBar, announce_compilation
    from planner.search.uncertainty import risk as search
    from planner.simulation import load_scenario

    duration_s = seconds_of(duration)
    loaded = load_scenario(file, sets=sets or (), overrides=overrides or (), named=scenario)
    check_outputs([path for path in (report, csv) if path is not None], force=force, inputs=[file])
    if loaded.scenario.uncertainty is not None:
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
    _write(found, report, csv)


def _write(found: Risk, report: Path | None, csv: Path | None) -> None:
    from planner.microbench.table import write_whole

    if csv is not None:
        write_whole(csv, csv_text(found.rows()))
        typer.echo(f"draws written to {csv}", err=True)
    if report is not None:
        from planner.report.risk import render_risk_html

        write_whole(report, render_risk_html(found))
        typer.echo(f"report: {report}", err=True)
