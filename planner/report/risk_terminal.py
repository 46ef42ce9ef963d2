"""A risk analysis on a terminal, and the same in a pipe."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from planner.report.console import heading, print_parts
from planner.report.risk_wording import (
    WORDS,
    between,
    end_error,
    explained_words,
    fleet_of,
    headline,
    index_words,
    moves,
    run_words,
    spread_words,
    title_of,
)
from planner.results.formatting import level, share

if TYPE_CHECKING:
    from planner.search.risk import Answer, Risk


def print_risk(found: Risk, console: Console | None = None) -> None:
    """Print a risk analysis as tables that fit 100 columns; plain text where piped.

    Args:
        found: what to print.
        console: where to; standard output if None.
    """
    print_parts(_parts(found), console)


def _parts(found: Risk) -> Iterator[RenderableType]:
    yield heading(found.name, "how sure the answer is, and what it hangs on", run_words(found))
    yield Padding(Text("\n".join(headline(found))), (0, 0, 1, 0))
    yield _answers(found)
    explained = [f"{name}: {words}" for name, words in WORDS]
    yield Padding(Text("\n".join(explained), style="dim"), (0, 0, 1, 0))
    for answer in found.headlines:
        yield _drivers(answer)
    yield _inputs(found)
    yield Text("\n".join(found.notes), style="dim")


def _answers(found: Risk) -> RenderableType:
    interval = f"{share(found.confidence)} interval"
    table = _table("answer", "median", interval, "low end by chance", "high end by chance")
    for answer in found.answers:
        if answer.quantity.request_class:
            continue
        middle = None if answer.interval is None else answer.interval.median.value
        table.add_row(
            title_of(answer),
            level(answer.quantity.unit, middle),
            between(answer),
            end_error(answer, "low"),
            end_error(answer, "high"),
        )
    return Padding(table, (0, 0, 1, 0))


def _drivers(answer: Answer) -> RenderableType:
    unit = answer.quantity.unit
    table = _table("input", "p10", "p90", "alone", "in all")
    for driver in answer.drivers:
        index = driver.index
        table.add_row(
            driver.column,
            level(unit, driver.low),
            level(unit, driver.high),
            index_words(None if index is None else index.first),
            index_words(None if index is None else index.total),
        )
    heading = Text(title_of(answer), style="bold")
    heading.append(
        f"  {fleet_of(answer)}; {level(unit, answer.centre)} at all medians", style="dim not bold"
    )
    words = explained_words(answer)
    below = [Text(words, style="dim")] if words else []
    return Padding(Group(heading, table, *below), (0, 0, 1, 0))


def _inputs(found: Risk) -> RenderableType:
    table = _table("input", "moves", "basis", right=False)
    for each in found.inputs:
        name = f"{each.name} ({each.stated.group})" if each.stated.group else each.name
        table.add_row(name, f"{moves(each)}\n{spread_words(each)}", each.stated.basis)
    return Padding(table, (0, 0, 1, 0))


def _table(first: str, *columns: str, right: bool = True) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    table.add_column(first, overflow="fold", min_width=12)
    for column in columns:
        table.add_column(column, justify="right" if right else "left", overflow="fold")
    return table
