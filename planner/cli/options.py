"""Options that several commands share."""

from __future__ import annotations

from datetime import date
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
