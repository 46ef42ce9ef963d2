"""`planner ablate`: which serving technique is worth what."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

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

if TYPE_CHECKING:
    from planner.search.ablation import Ablation


def ablate(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Scenario file.")],
    techniques: Annotated[
        list[str] | None,
        typer.Option("--technique", metavar="NAME", help="Only this technique; may be repeated."),
    ] = None,
    duration: Duration = None,
    sets: Sets = None,
    overrides: Overrides = None,
    scenario: Named = None,
    no_size: Annotated[
        bool,
        typer.Option("--no-size", help="Compare the scenario's own fleet only: no sizing."),
    ] = False,
    max_nodes: MaxNodes = 4096,
    jobs: Jobs = None,
    html: Html = None,
    csv: Annotated[Path | None, csv_option("Write every subset as CSV.")] = None,
    json_output: Json = False,
    force: Force = False,
) -> None:
    r"""Find out which serving technique is worth what.

    Switches off and on what the scenario uses: weight and KV quantization, priority
    scheduling, rate limits, overflow, a router that it names. Each subset is served the
    same requests, by the scenario's own fleet and by the smallest that keeps its promises.
    Prints each technique's effect on its own, if removed, and its Shapley share; shares
    add up to the whole change. They are exact for up to 5 techniques, else estimated.
    Exit codes: 0 answered, also where no technique is on; 2 bad input.

    For example:

        planner ablate scenarios/quickstart.yaml --html ablation.html

        planner ablate scenarios/quickstart.yaml --no-size \
          --technique weight-quantization
    """
    import os
    import time

    from planner.cli.outputs import check_outputs, write_csv, write_report
    from planner.cli.progress import LateBar, announce_compilation
    from planner.files import csv_text
    from planner.report.ablation import render_ablation_html
    from planner.search.ablate import ablate as search
    from planner.search.techniques import used_by
    from planner.simulation import load_scenario

    duration_s = seconds_of(duration)
    loaded = load_scenario(file, sets=sets or (), overrides=overrides or (), named=scenario)
    check_outputs([html, csv], force=force, inputs=[file])
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
        write_csv(csv, "subsets", lambda: csv_text(found.rows()))
        write_report(html, lambda: render_ablation_html(found))
    elif html is not None or csv is not None:
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


def csv_text(rows: list[dict[str, Any]]) -> str:
    """Return rows as CSV, with a head."""
    import csv
    import io

    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()
