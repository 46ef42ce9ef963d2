"""`planner doctor`: whether this machine is ready, and what to do where it is not."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from planner.cli.options import Json

if TYPE_CHECKING:
    from planner.cli.doctor_checks import Finding

MARKS = {"ok": ("ok", "green"), "warn": ("warn", "yellow"), "fail": ("FAIL", "bold red")}
"""How a verdict is shown: word and style."""


def doctor(
    quick: Annotated[
        bool, typer.Option("--quick", help="Simulate nothing, so that nothing is compiled.")
    ] = False,
    json_output: Json = False,
) -> None:
    """Check that this machine is ready: versions, folders, the simulator, the terminal.

    Simulates a few hundred requests and compares the answer with the stored one. The first time
    on a machine this compiles the simulator, which takes about a minute; later it takes seconds.
    Exit codes: 0 ready, perhaps with warnings; 1 something fails.

    For example:

        planner doctor

        planner doctor --quick --json
    """
    from planner.cli.doctor_checks import findings

    found = list(findings(simulate=not quick))
    failed = any(finding.verdict == "fail" for finding in found)
    if json_output:
        content = {"ready": not failed, "checks": [asdict(finding) for finding in found]}
        typer.echo(json.dumps(content, indent=2, ensure_ascii=False))
    else:
        _print(found)
    if failed:
        raise typer.Exit(1)


def _print(found: list[Finding]) -> None:
    from rich.table import Table
    from rich.text import Text

    from planner.report.console import print_parts

    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), show_header=False)
    for finding in found:
        word, style = MARKS[finding.verdict]
        text = Text(finding.found)
        if finding.remedy:
            text.append(f"\n→ {finding.remedy}", style="bold")
        table.add_row(Text(word, style=style), finding.check, text)
    counts = {verdict: sum(f.verdict == verdict for f in found) for verdict in MARKS}
    closing = f"{counts['ok']} ok, {counts['warn']} to mind, {counts['fail']} failed"
    print_parts([table, Text(f"\n{closing}", style="bold")])
