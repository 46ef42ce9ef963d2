"""A bridge on a terminal, and the same in a pipe."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from rich.console import Console, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from planner.report.bridge_wording import (
    Scale,
    headline,
    is_better,
    margin_rows,
    run_words,
    scale_of,
    shown,
    title_of,
)
from planner.report.console import heading, print_parts, titled

if TYPE_CHECKING:
    from planner.search.bridged import Bridge

_BAR: Final = 34
"""Columns of the longest bar."""


def print_bridge(found: Bridge, per: str = "hour", console: Console | None = None) -> None:
    """Print a bridge as waterfalls that fit 100 columns; plain text where the output is piped.

    Args:
        found: what to print.
        per: what money is stated for, hour or month.
        console: where to; standard output if None.
    """
    print_parts(_parts(found, per), console)


def _parts(found: Bridge, per: str) -> Iterator[RenderableType]:
    yield heading(
        f"{found.before.label} → {found.after.label}",
        "why cost and margin changed",
        run_words(found, per),
    )
    yield Padding(Text("\n".join(headline(found, per))), (0, 0, 1, 0))
    for quantity, definition in shown(found):
        yield _waterfall(found, quantity, definition, per)
    yield _margins(found)
    yield Text("\n".join(found.notes), style="dim")


def _waterfall(found: Bridge, quantity: str, definition: str, per: str) -> RenderableType:
    scale = scale_of(found, quantity, definition, per)
    rows = found.rows(quantity, definition)
    before, after = found.ends[quantity, definition]
    table = _table("part", "of", "change", "")
    table.add_row(found.before.label, "", scale.level(before), "", style="dim")
    steps = [before]
    for row in rows:
        steps.append(steps[-1] + row.amount)
    low, high = min(steps), max(steps)
    for row, start in zip(rows, steps, strict=False):
        better = is_better(quantity, row.amount)
        style = "" if scale.is_negligible(row.amount) else "green" if better else "red"
        table.add_row(
            row.label,
            Text(row.group, style="dim"),
            Text(scale.part(row), style=style),
            Text(_bar(start, start + row.amount, low, high), style=style),
        )
    table.add_row(found.after.label, "", scale.level(after), "", style="dim")
    return titled(title_of(quantity, definition, per), _total(scale, after - before), table)


def _total(scale: Scale, change: int) -> str:
    return f"{scale.change(change)} in all"


def _bar(start: int, end: int, low: int, high: int) -> str:
    """Return a bar from one level to the other, where the whole waterfall fills the width."""
    wide = max(high - low, 1)
    left = round((min(start, end) - low) / wide * _BAR)
    right = round((max(start, end) - low) / wide * _BAR)
    return " " * left + "█" * max(right - left, 1)


def _margins(found: Bridge) -> RenderableType:
    table = Table(box=None, pad_edge=False, padding=(0, 3, 0, 0), header_style="dim")
    table.add_column("definition")
    for column in (found.before.label, found.after.label, "change"):
        table.add_column(column, justify="right", overflow="fold")
    table.add_column("meaning", style="dim", overflow="fold")
    for definition, before, after, change, meaning in margin_rows(found):
        table.add_row(definition, before, after, change, meaning)
    return titled("Gross margin by definition", "the first is the headline's", table)


def _table(*columns: str) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    name, group, change, bar = columns
    table.add_column(name, overflow="fold", min_width=22)
    table.add_column(group, overflow="fold")
    table.add_column(change, justify="right", overflow="fold", min_width=9)
    table.add_column(bar, no_wrap=True)
    return table
