"""Tables on a terminal, and the same ones in a pipe."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table


def open_console(width: int) -> Console:
    """Return a console; `width` columns where the output is piped, which has none of its own."""
    from rich.console import Console

    console = Console(highlight=False)
    return console if console.is_terminal else Console(highlight=False, width=width)


def plain_table(titles: Sequence[str], labels: int = 1) -> Table:
    """Return a table without lines; the first `labels` columns are text, the others numbers."""
    from rich.table import Table

    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for number, title in enumerate(titles):
        justify: Any = "left" if number < labels else "right"
        table.add_column(title, justify=justify, no_wrap=True)
    return table


def print_table(console: Console, table: Table) -> None:
    """Print a table without the blanks at the end of its lines, which only a terminal hides."""
    if console.is_terminal:
        console.print(table)
        return
    with console.capture() as capture:
        console.print(table)
    typer.echo("\n".join(line.rstrip() for line in capture.get().splitlines()))
