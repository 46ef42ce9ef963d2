"""`planner run`: simulate a scenario, print what it found, write the result folder."""

from __future__ import annotations

import tempfile
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from planner.cli.options import ForceFolder, Named, Overrides, Sets

if TYPE_CHECKING:
    from planner.results.result import Result


def run(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Scenario file.")],
    sets: Sets = None,
    overrides: Overrides = None,
    scenario: Named = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", metavar="DIR", help="Result folder; by default results/NAME."
        ),
    ] = None,
    force: ForceFolder = False,
    requests: Annotated[
        bool, typer.Option("--requests", help="Also write one Parquet row per request.")
    ] = False,
    report: Annotated[
        bool | None, typer.Option("--report/--no-report", help="Write the HTML report.")
    ] = None,
    json_output: Annotated[
        bool, typer.Option("--json", help="Print result.json instead of tables.")
    ] = False,
    check_invariants: Annotated[
        bool, typer.Option("--check-invariants", help="Check the simulator's own invariants.")
    ] = False,
) -> None:
    r"""Simulate a scenario: accelerators at peak, tail latency, cost and margin.

    Prints tables and writes a folder: result.json, tables as Parquet and CSV, report.html.
    A previous result in the folder is replaced as a whole; a folder with anything else is refused.

    For example:

        planner run scenarios/quickstart.yaml

        planner run scenarios/quickstart.yaml --set pools.chat.nodes=8 \
          -o results/eight-nodes
    """
    from planner.cli.progress import LateBar, announce_compilation
    from planner.results.storage import check_output_folder
    from planner.simulation import load_scenario
    from planner.simulation import run as simulate
    from planner.steps import step_table

    loaded = load_scenario(file, sets=sets or (), overrides=overrides or (), named=scenario)
    wishes = loaded.scenario.output
    folder = output or Path("results") / loaded.scenario.name
    check_output_folder(folder, force=force)
    announce_compilation()
    with _scratch(folder) if requests or wishes.requests else nullcontext() as scratch:
        rows = Path(scratch) / "requests.parquet" if scratch is not None else None
        with LateBar(f"simulating {loaded.scenario.name}") as bar:
            result = simulate(loaded, requests_to=rows, progress=bar, invariants=check_invariants)
        result = replace(result, steps=step_table(loaded, result))
        html = _html(result) if (wishes.report if report is None else report) else None
        written = result.write(folder, html=html, requests=rows, force=force)
    if json_output:
        typer.echo(result.to_json(), nl=False)
        return
    from planner.report.terminal import print_result

    print_result(result)
    typer.echo(f"\nwritten to {written}" + (f"; open {written / 'report.html'}" if html else ""))


def _scratch(folder: Path) -> tempfile.TemporaryDirectory[str]:
    """Return a temporary folder beside `folder`: the system's own may be too small for the rows."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    return tempfile.TemporaryDirectory(prefix=f".{folder.name}.requests-", dir=folder.parent)


def _html(result: Result) -> str:
    from planner.report.html import render_html

    return render_html(result)
