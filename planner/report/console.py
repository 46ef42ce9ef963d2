"""Printing of tables: within one width, and as plain text where the output is piped."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from rich.console import Console, Group, RenderableType

WIDTH: Final = 100
"""Columns of the output where it is piped, and at most where it is not."""


def print_parts(
    parts: Iterable[RenderableType], plain: Mapping[int, str], console: Console | None = None
) -> None:
    """Print parts within 100 columns; where piped, without the blanks at the end of their lines.

    Args:
        parts: what to print, in order.
        plain: for terminals that know ASCII only, as `str.translate` takes it.
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
        text = text.translate(plain)
    console.out("\n".join(line.rstrip() for line in text.splitlines()), highlight=False)
