"""An ablation on a terminal, and the same in a pipe."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Final

from rich.console import Console, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from planner.report.ablation_wording import (
    COLUMN_WORDS,
    COLUMNS,
    fleet_of,
    headline,
    held_sentences,
    is_better,
    none_words,
    run_words,
    scale_of,
    title_of,
)
from planner.report.console import heading, print_parts, titled

if TYPE_CHECKING:
    from planner.search.ablation import Ablation, Decomposition

MOST_CLASSES: Final = 4
"""Classes up to which their latencies stand beside each other; the files hold those of all."""


def print_ablation(found: Ablation, console: Console | None = None) -> None:
    """Print an ablation as tables that fit 100 columns; plain text where the output is piped.

    Args:
        found: what to print.
        console: where to; standard output if None.
    """
    print_parts(_parts(found), console)


def _parts(found: Ablation) -> Iterator[RenderableType]:
    yield heading(found.name, "what each serving technique is worth", run_words(found))
    if sentences := headline(found):
        yield Padding(Text("\n".join(sentences)), (0, 0, 1, 0))
    if found.decompositions:
        explained = [f"{name}: {words}" for name, words in COLUMN_WORDS]
        yield Padding(Text("\n".join(explained), style="dim"), (0, 0, 1, 0))
    for each in found.decompositions:
        if not each.quantity.request_class:
            yield _quantity(each)
    yield from _by_class(found)
    notes = [*held_sentences(found), *found.notes]
    yield Text("\n".join(notes), style="dim")


def _quantity(each: Decomposition) -> RenderableType:
    table = _table(COLUMNS)
    scale = scale_of([each])
    table.add_row(none_words(each), "", "", scale.level(each.none), style="dim")
    for effect in each.effects:
        table.add_row(
            effect.technique,
            scale.change(effect.alone),
            scale.change(effect.removed),
            Text(scale.share(effect), style=_style(each, effect.share)),
        )
    table.add_row("all of them", "", "", scale.level(each.all), style="dim")
    return titled(title_of(each.quantity), fleet_of(each.quantity), table)


def _by_class(found: Ablation) -> Iterator[RenderableType]:
    """Yield shares with the classes beside each other, one table per latency."""
    names = dict.fromkeys(d.quantity.name for d in found.decompositions if d.quantity.request_class)
    for name in names:
        classes = [
            each
            for each in found.decompositions
            if each.quantity.name == name and each.quantity.request_class
        ]
        if len(classes) > MOST_CLASSES or len({each.needed for each in classes}) > 1:
            continue
        quantity, scale = classes[0].quantity, scale_of(classes)
        title = f"{quantity.title[0].upper()}{quantity.title[1:]}, by class"
        head = [each.quantity.request_class for each in classes]
        table = _table(head)
        table.add_row(
            none_words(classes[0]), *(scale.level(each.none) for each in classes), style="dim"
        )
        for number, technique in enumerate(found.techniques):
            effects = [(each, each.effects[number]) for each in classes]
            table.add_row(
                technique,
                *(Text(scale.share(own), style=_style(each, own.share)) for each, own in effects),
            )
        table.add_row("all of them", *(scale.level(each.all) for each in classes), style="dim")
        yield titled(title, f"shares; {fleet_of(quantity)}", table)


def _style(each: Decomposition, change: float | None) -> str:
    better = is_better(each.quantity, change)
    if better is None or scale_of([each]).is_negligible(change):
        return ""
    return "green" if better else "red"


def _table(columns: Sequence[str]) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 3, 0, 0), header_style="dim")
    table.add_column("technique", overflow="fold", min_width=26)
    for column in columns:
        table.add_column(column, justify="right", overflow="fold", min_width=11)
    return table
