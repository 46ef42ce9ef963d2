"""Comparisons on a terminal: what moved, per scenario, and one sentence on all."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from rich.console import Console, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from planner.regress.compare import Comparison
from planner.regress.row import Mark, Row
from planner.regress.runs import Outcome
from planner.regress.wording import (
    LEGEND,
    change,
    closing,
    headline,
    remark,
    said_beside,
    title,
    values,
    verdict_mark,
)
from planner.report.console import print_parts

_STYLES: Final = {
    Mark.BETTER: "green", Mark.WORSE: "yellow", Mark.FAILED: "bold red",
    Mark.NOT_COMPARABLE: "magenta", Mark.NOISE: "dim", Mark.NEITHER: "", Mark.SAME: "dim",
}  # fmt: skip
_NAMED: Final = 3
"""Metrics within noise that are named; the others are counted."""


def print_outcomes(outcomes: Sequence[Outcome], console: Console | None = None) -> None:
    """Print every scenario with what moved, and the verdict on all."""
    print_parts(_parts(outcomes), console)


def _parts(outcomes: Sequence[Outcome]) -> Iterator[RenderableType]:
    for outcome in outcomes:
        mark = verdict_mark(outcome)
        label = Text(f"{mark} ", style=_STYLES[Mark(mark)]).append(outcome.case.label, style="bold")
        unmoved = outcome.comparison and outcome.comparison.unmoved
        yield label.append("  as its baseline", style="dim") if unmoved else label
        if outcome.comparison is None:
            yield Padding(Text(outcome.error), (0, 0, 0, 4))
        else:
            yield from _comparison(outcome.comparison)
    yield Text(f"\n{LEGEND}", style="dim")
    yield Text(headline(outcomes), style="bold")
    if said := closing(outcomes):
        yield Text(said)


def _comparison(comparison: Comparison) -> Iterator[RenderableType]:
    for line in said_beside(comparison):
        yield Padding(Text(line), (0, 0, 0, 4))
    noise = comparison.marked(Mark.NOISE)
    rows = [row for row in comparison.differing if row not in noise]
    if rows:
        yield Padding(_table(rows), (0, 0, 0, 4))
    if noise:
        names = ", ".join(title(row) for row in noise[:_NAMED])
        more = f" and {len(noise) - _NAMED} more" if len(noise) > _NAMED else ""
        yield Padding(Text(f"~  {names}{more}", style=_STYLES[Mark.NOISE]), (0, 0, 0, 4))


def _table(rows: Sequence[Row]) -> Table:
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0), pad_edge=False)
    for justify in ("left", "left", "right", "left", "right", "left"):
        table.add_column(justify=justify, no_wrap=justify == "right", overflow="fold")
    for row in rows:
        before, after = values(row)
        table.add_row(
            Text(str(row.mark), style=_STYLES[row.mark]), title(row), before, f"→ {after}",
            change(row), Text(remark(row), style="dim"),
        )  # fmt: skip
    return table
