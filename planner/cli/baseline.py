"""`planner baseline`: write what `planner regress` compares with."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from planner.cli.options import Baselines, Jobs, Scenarios

if TYPE_CHECKING:
    from planner.regress.runs import Updated

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
    from planner.regress.cases import find, open_cases
    from planner.regress.runs import new_baselines

    cases = open_cases(find(files, baselines), load_catalog())
    announce_compilation()
    said: dict[str, tuple[str, bool]] = {}
    with LateBar("simulating scenarios") as bar:
        count = jobs or os.cpu_count() or 1
        for each in new_baselines(cases, seeds=seeds, jobs=count, progress=bar):
            said[each.case.label] = _written(each)
    lines = [said[case.label] for case in cases]
    for line, well in lines:
        typer.echo(line, err=not well)
    if not all(well for _, well in lines):
        raise typer.Exit(2)


def _written(updated: Updated) -> tuple[str, bool]:
    """Write a baseline if it says anything new; return what became of it, and whether well."""
    from planner.errors import PlannerError
    from planner.files import write_whole
    from planner.regress.baseline import standing

    path, found = updated.case.baseline, updated.baseline
    if found is None:
        return updated.error, False
    try:
        how = standing(found, path)
        if how != "unchanged":
            write_whole(path, found.to_json())
    except PlannerError as error:
        return f"error: {error}", False
    return f"{path}: {how}", True
