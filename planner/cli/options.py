"""Options that several commands share."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Annotated

import typer

Sets = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="PATH=VALUE", help="Change a value: pools.chat.nodes=3."),
]
Overrides = Annotated[
    list[str] | None,
    typer.Option("--override", metavar="NAME", help="Lay on an override of the file."),
]
Named = Annotated[
    str | None, typer.Option("--scenario", metavar="NAME", help="Use this scenario of the file.")
]

Jobs = Annotated[
    int | None,
    typer.Option("--jobs", min=1, help="Processes at a time; default: one per core."),
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


def iso_day(text: str | None) -> str | None:
    """Return a day in ISO 8601 as it stands: the callback of an option.

    Raises:
        typer.BadParameter: it is none.
    """
    if text is not None:
        try:
            date.fromisoformat(text)
        except ValueError:
            raise typer.BadParameter("is no day; write it as 2026-01-31") from None
    return text
