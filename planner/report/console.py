"""Printing of tables: within one width, and as plain text where the output is piped."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

WIDTH: Final = 100
"""Columns of the output where it is piped, and at most where it is not."""

ASCII: Final = str.maketrans(
    {
        **{
            "·": "-",
            "–": "-",
            "\u2212": "-",
            "─": "-",
            "×": "x",
            "±": "+/-",
            "≈": "~",
            "≤": "<=",
            "µ": "u",
        },
        **{"→": "->", "█": "#", "…": "...", "✓": "ok", "✗": "MISSED", "⚠": "!"},
    }
)
"""For terminals that know ASCII only."""


def print_parts(parts: Iterable[RenderableType], console: Console | None = None) -> None:
    """Print parts within 100 columns; where piped, without the blanks at the end of their lines.

    Args:
        parts: what to print, in order.
        console: where to; standard output if None.
    """
    if console is None:
        console = Console()
        if not console.is_terminal:  # a pipe has no width of its own
            console = Console(width=WIDTH)
    group = Group(*parts)
    if console.is_terminal and not console.options.ascii_only:
        console.print(group, width=WIDTH)
        return
    with console.capture() as capture:
        console.print(group, width=WIDTH)
    text = capture.get()
    if console.options.ascii_only:
        text = text.translate(ASCII)
    console.out("\n".join(line.rstrip() for line in text.splitlines()), highlight=False)


def heading(name: str, what: str, facts: str) -> RenderableType:
    """Return the first lines: what is shown, and what it stands on."""
    title = Text(name, style="bold")
    title.append(f"  {what}", style="not bold")
    return Padding(Group(title, Text(facts, style="dim")), (1, 0, 1, 0))


def titled(title: str, note: str, table: Table, below: str = "") -> RenderableType:
    """Return a table under its title, and perhaps a remark below."""
    line = Text(title, style="bold")
    line.append(f"  {note}", style="dim not bold")
    remark = [Text(below, style="dim")] if below else []
    return Padding(Group(line, table, *remark), (0, 0, 1, 0))
