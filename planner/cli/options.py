"""Options that several commands share."""

from __future__ import annotations

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
