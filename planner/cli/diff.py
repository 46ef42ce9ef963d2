"""`planner diff`: how two forecasts differ."""

from __future__ import annotations

from typing import Annotated

import typer

from planner.cli.options import Json


def diff(
    before: Annotated[
        str,
        typer.Argument(metavar="A", help="Scenario (FILE or FILE@NAME), result folder, baseline."),
    ],
    after: Annotated[str, typer.Argument(metavar="B", help="The same: what A is compared with.")],
    sets: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="PATH=VALUE", help="Change a value in B."),
    ] = None,
    exit_code: Annotated[
        bool,
        typer.Option("--exit-code", help="0 the same, 1 they differ, 2 trouble."),
    ] = False,
    json_output: Json = False,
) -> None:
    r"""Say how two forecasts differ: what got worse, what better, what is noise.

    Scenarios are simulated as planner regress does it, with the overrides
    of their section `regress`; a scenario B with the seed of a scenario A,
    unless --set gives it another. Marks go by the default gates and those of B.
    Exit codes: 0, whatever differs; 2 bad input. With --exit-code: 0 the
    same; 1 they differ; 2 bad input, or they cannot be compared.

    For example:

        planner diff scenarios/quickstart.yaml scenarios/quickstart.yaml \
          --set pools.chat.nodes=11

        planner diff scenarios/baselines/quickstart.json results/quickstart
    """
    from planner.catalog import load_catalog
    from planner.cli.progress import announce_compilation
    from planner.regress.prose import prose
    from planner.regress.sides import compare_sides, side_of

    catalog = load_catalog()
    announce_compilation()
    first = side_of(before, catalog)
    stated = any(each.startswith("seed=") for each in sets or ())
    second = side_of(after, catalog, sets or (), None if stated else first.seed)
    found = compare_sides(first, second)
    label = " ".join([after, *(f"--set {each}" for each in sets or ())])
    if json_output:
        from planner.jsonable import json_text
        from planner.regress.content import comparison_content

        content = {"before": before, "after": label} | comparison_content(found)
        typer.echo(json_text(content))
    else:
        for line in prose(before, label, found):
            typer.echo(line)
    if exit_code:
        raise typer.Exit(2 if found.obstacles else int(bool(found.differing)))
