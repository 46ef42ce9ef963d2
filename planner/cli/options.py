"""Options that several commands share."""

from __future__ import annotations

import math
from datetime import date
from pathlib import Path
from typing import Annotated, Any

import typer

from planner.cli.completion import variant_names

ALL = "all"
"""The whole scenario, in place of a length of time."""
_LEAST_S = 60.0


def _length(text: str | None) -> str | None:
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
        if seconds < _LEAST_S:
            raise typer.BadParameter("is less than a minute, in which little can be measured")
    return text


def csv_option(text: str) -> Any:
    """Return the option that names a CSV, with what it holds."""
    return typer.Option("--csv", metavar="FILE", help=text)


Sets = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="PATH=VALUE", help="Change a value: pools.chat.nodes=3."),
]
Overrides = Annotated[
    list[str] | None,
    typer.Option(
        "--override",
        metavar="NAME",
        help="Lay on an override of the file.",
        autocompletion=variant_names("overrides"),
    ),
]
Named = Annotated[
    str | None,
    typer.Option(
        "--scenario",
        metavar="NAME",
        help="Use this scenario of the file.",
        autocompletion=variant_names("scenarios"),
    ),
]
Duration = Annotated[
    str | None,
    typer.Option(
        "--duration",
        metavar="TIME",
        callback=_length,
        help="Simulate only the busiest part of this length, as '20 min', or 'all'. "
        "Default: the busiest hour; a trace as a whole.",
    ),
]
MaxNodes = Annotated[
    int, typer.Option("--max-nodes", min=1, help="Most nodes of a pool that are tried.")
]
Jobs = Annotated[
    int | None,
    typer.Option("--jobs", min=1, help="Processes at a time; default: one per core."),
]
Html = Annotated[
    Path | None,
    typer.Option("--html", "--report", metavar="FILE", help="Write an HTML report."),
]
Json = Annotated[bool, typer.Option("--json", help="Print everything as JSON instead of tables.")]
Force = Annotated[bool, typer.Option("--force", help="Replace files that are there.")]
ForceFolder = Annotated[
    bool, typer.Option("--force", help="Replace DIR even if it holds something else.")
]
Scenarios = Annotated[
    list[Path],
    typer.Argument(metavar="FILE|FOLDER...", help="Scenarios, or folders of scenarios."),
]
Baselines = Annotated[
    Path | None,
    typer.Option(
        "--baselines",
        metavar="FOLDER",
        help="Folder of the baselines; default: the nearest `baselines`.",
    ),
]


def seconds_of(text: str | None) -> float | None:
    """Return a length of time in seconds; infinity for all of the scenario."""
    from planner.units import parse_quantity

    if text is None:
        return None
    return math.inf if text == ALL else parse_quantity(text, "duration")


def iso_day(text: str | None) -> str | None:
    """Return a day, YYYY-MM-DD, as it stands: the callback of an option.

    Raises:
        typer.BadParameter: it is none.
    """
    if text is not None:
        try:
            written = date.fromisoformat(text).isoformat()
        except ValueError:
            written = ""
        if written != text:  # ISO 8601 knows 20260131 and 2026-W05-6 too; they do not sort by time
            raise typer.BadParameter("is no day; write it as 2026-01-31")
    return text
