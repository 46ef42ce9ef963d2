"""`planner baseline`: write what `planner regress` compares with."""

from __future__ import annotations

from typing import Annotated

import typer

from planner.cli.options import Baselines, Jobs, Scenarios

app = typer.Typer(no_args_is_help=True)


@app.callback()
def baseline() -> None:
    """Baselines of forecasts: what `planner regress` compares with.

    They are meant to be committed.

    For example:

        planner baseline update scenarios
    """


@app.command()
def update(
    files: Scenarios,
    baselines: Baselines = None,
    seeds: Annotated[
        int,
        typer.Option("--seeds", min=3, max=50, help="Seeds to simulate, for the noise."),
    ] = 5,
    jobs: Jobs = None,
) -> None:
    """Simulate scenarios and write a baseline for each: commit them.

    The baseline of scenarios/a/b.yaml is scenarios/baselines/a/b.json: the
    folder `baselines` is the nearest one in what is named or above it, and is
    made in the folder named where there is none. A file that says the same
    already is left alone. It keeps every metric by seed: the scenario's own
    and those that follow it.
    Exit codes: 0 written; 2 bad input.

    For example:

        planner baseline update scenarios

        planner baseline update scenarios/quickstart.yaml
    """
    import os

    from planner.catalog import load_catalog
    from planner.cli.progress import LateBar, announce_compilation
    from planner.files import write_whole
    from planner.regress.baseline import standing
    from planner.regress.cases import find, open_cases
    from planner.regress.runs import new_baselines

    cases = open_cases(find(files, baselines), load_catalog())
    announce_compilation()
    with LateBar("simulating scenarios") as bar:
        updated = new_baselines(cases, seeds=seeds, jobs=jobs or os.cpu_count() or 1, progress=bar)
    failed = False
    for each in updated:
        if each.baseline is None:
            failed = True
            typer.echo(each.error, err=True)
        else:
            path, found = each.case.baseline, standing(each.baseline, each.case.baseline)
            if found != "unchanged":
                write_whole(path, each.baseline.to_json())
            typer.echo(f"{path}: {found}")
    if failed:
        raise typer.Exit(2)
