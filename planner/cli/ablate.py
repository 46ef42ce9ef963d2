"""`planner ablate`: which serving technique is worth what."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from planner.cli.options import Named, Overrides, Sets

ALL = "all"
"""The whole scenario, in place of a length of time."""
LEAST_S = 60.0

if TYPE_CHECKING:
    from planner.search.ablation import Ablation


def length(text: str | None) -> str | None:
    """Return a length of time as it stands: the callback of an option.

    Raises:
        typer.BadParameter: it is none, or too short.
    """
    if text is not None and text != ALL:
        from planner.units import parse_quantity

        try:
            seconds = parse_quantity(text, "duration")
        except ValueError as error:
            raise typer.BadParameter(str(error)) from None
        if seconds < LEAST_S:
            raise typer.BadParameter("is less than a minute, in which little can be measured")
    return text


def seconds_of(text: str | None) -> float | None:
    """Return a length of time in seconds; infinity for all of the scenario."""
    from planner.units import parse_quantity

    if text is None:
        return None
    return math.inf if text == ALL else parse_quantity(text, "duration")


def ablate(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Scenario file.")],
    techniques: Annotated[
        list[str] | None,
        typer.Option("--technique", metavar="NAME", help="Only this technique; may be repeated."),
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
        bool,
        typer.Option("--no-size", help="Compare the scenario's own fleet only: no sizing."),
    ] = False,
    max_nodes: Annotated[
        int, typer.Option("--max-nodes", min=1, help="Most nodes of a pool that are tried.")
    ] = 4096,
    jobs: Annotated[
        int | None,
        typer.Option("--jobs", min=1, help="Processes at a time; default: one per core."),
    ] = None,
    report: Annotated[
        Path | None, typer.Option("--report", metavar="FILE", help="Write an HTML report.")
    ] = None,
    csv: Annotated[
        Path | None, typer.Option("--csv", metavar="FILE", help="Write every subset as CSV.")
    ] = None,
    json_output: Annotated[
        bool, typer.Option("--json", help="Print everything as JSON instead of tables.")
    ] = False,
    force: Annotated[bool, typer.Option("--force", help="Replace files that are there.")] = False,
) -> None:
    """Find out which serving technique is worth what.

    Switches off and on what the scenario uses: weight and KV quantization, priority
    scheduling, rate limits, overflow, a router that it names. Each subset is served the
    same requests, by the scenario's own fleet and by the smallest that keeps its promises.
    Prints each technique's effect on its own, if removed, and its Shapley share; shares
    add up to the whole change. They are exact for up to 5 techniques, else estimated.
    Exit codes: 0 answered, also where no technique is on; 2 bad input.

    For example:

        planner ablate scenarios/quickstart.yaml --report ablation.html

        planner ablate scenarios/quickstart.yaml --technique weight-quantization --no-size
    """
    import os
    import time

    from planner.cli.fitting import check_outputs
    from planner.cli.progress import LateBar, announce_compilation
    from planner.search.ablate import ablate as search
    from planner.search.techniques import used_by
    from planner.simulation import load_scenario

    duration_s = seconds_of(duration)
    loaded = load_scenario(file, sets=sets or (), overrides=overrides or (), named=scenario)
    check_outputs([path for path in (report, csv) if path is not None], force=force, inputs=[file])
    if used_by(loaded.scenario, techniques or ()):
        announce_compilation()
    started_s = time.monotonic()
    with LateBar("ablating") as bar:
        found = search(
            loaded,
            techniques=techniques or (),
            duration_s=duration_s,
            sized=not no_size,
            maximum_nodes=max_nodes,
            jobs=jobs or os.cpu_count() or 1,
            progress=bar,
        )
    seconds = time.monotonic() - started_s
    if json_output:
        typer.echo(found.to_json())
    elif found.switches:
        from planner.report.ablation_terminal import print_ablation

        print_ablation(found)
    else:
        _print_nothing_on(found)
    if found.switches:
        typer.echo(f"{found.simulations} fleets simulated in {seconds:.1f} s", err=True)
        _write(found, report, csv)
    elif report is not None or csv is not None:
        typer.echo("nothing was compared, so no file is written", err=True)


def _print_nothing_on(found: Ablation) -> None:
    from planner.report.ablation_wording import held_sentences
    from planner.search.ablation import settings

    for sentence in held_sentences(found):
        typer.echo(sentence)
    if not found.fixed:
        typer.echo(f"{found.name} uses no technique that could be switched off. These are known:")
        settings_of = settings()
        width = max(map(len, settings_of))
        for name, setting in settings_of.items():
            typer.echo(f"  {name:<{width}}  {setting}")


def _write(found: Ablation, report: Path | None, csv: Path | None) -> None:
    from planner.microbench.table import write_whole

    if csv is not None:
        write_whole(csv, csv_text(found.rows()))
        typer.echo(f"subsets written to {csv}", err=True)
    if report is not None:
        from planner.report.ablation import render_ablation_html

        write_whole(report, render_ablation_html(found))
        typer.echo(f"report: {report}", err=True)


def csv_text(rows: list[dict[str, Any]]) -> str:
    """Return rows as CSV, with a head."""
    import csv
    import io

    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()
