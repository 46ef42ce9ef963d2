"""`planner schema`: the JSON Schema of scenario files, for editors and CI."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def schema(
    check: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Compare FILE with the schema instead of printing it."),
    ] = None,
) -> None:
    """Print the JSON Schema of scenario files.

    An editor with a YAML language server uses it when a scenario begins with
    `# yaml-language-server: $schema=PATH`.

    For example:

        planner schema

        planner schema --check planner/scenario/planner-v1.schema.json
    """
    from planner.errors import OutputError
    from planner.scenario.json_schema import json_schema_text

    text = json_schema_text()
    if check is None:
        typer.echo(text, nl=False)
    elif check.read_bytes() != text.encode():
        raise OutputError(f"{check} is out of date; run `planner schema > {check}`")
    else:
        typer.echo(f"{check}: in sync")
