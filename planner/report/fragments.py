"""Pieces of HTML. Every text that comes from outside passes `escape`."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape
from typing import Final

from planner.report.figures import Figure

_TONES: Final = {
    "official": "good",
    "measured": "good",
    "fitted": "good",
    "analyst": "plain",
    "scenario": "plain",
    "estimated": "warn",
    "claimed": "bad",
}


@dataclass(frozen=True)
class Cell:
    """One cell of a table."""

    text: str
    """Plain text."""
    kind: str = ""
    """Classes of its element: `n` for a number, `zero`, `loss`."""
    small: str = ""
    """A second line in small print."""
    tag: str = ""
    """Show the text as a label in this tone: good, warn, bad or plain."""

    def html(self, element: str = "td") -> str:
        """Return the element."""
        text = escape(self.text)
        if self.tag:
            text = f'<span class="tag {self.tag}">{text}</span>'
        if self.small:
            text += f"<small>{escape(self.small)}</small>"
        kind = f' class="{self.kind}"' if self.kind else ""
        scope = ' scope="row"' if element == "th" else ""
        return f"<{element}{kind}{scope}>{text}</{element}>"


def number(text: str, kind: str = "") -> Cell:
    """Return a cell that is set flush right."""
    return Cell(text, f"n {kind}".strip())


def tier_cell(tier: str) -> Cell:
    """Return a cell that says how well a figure is founded."""
    return Cell(tier, tag=_TONES.get(tier, "plain"))


def table(
    caption: str,
    head: Sequence[str],
    rows: Iterable[Sequence[Cell]],
    *,
    total: Sequence[Cell] | None = None,
    stacked: bool = False,
) -> str:
    """Return a table whose first column names its rows.

    Args:
        caption: what it shows, for screen readers.
        head: titles of the columns; one that starts with `#` is set flush right.
        rows: cells, as many as `head` has titles.
        total: a last row that sums the others up.
        stacked: on a phone, set the cells of a row below each other.
    """
    titles = "".join(
        f'<th scope="col" class="n">{escape(title[1:])}</th>'
        if title.startswith("#")
        else f'<th scope="col">{escape(title)}</th>'
        for title in head
    )
    body = "".join(f"<tr>{_row(row)}</tr>" for row in rows)
    if total is not None:
        body += f'<tr class="sum">{_row(total)}</tr>'
    kind = ' class="stacked"' if stacked else ""
    return (
        f'<div class="scroll" tabindex="0" role="region" aria-label="Table: {escape(caption)}">'
        f"<table{kind}>"
        f'<caption class="unseen">{escape(caption)}</caption>'
        f"<thead><tr>{titles}</tr></thead><tbody>{body}</tbody></table></div>"
    )


def _row(cells: Sequence[Cell]) -> str:
    return cells[0].html("th") + "".join(cell.html() for cell in cells[1:])


def copy_button(name: str, title: str, table_filter: tuple[str, str] | None = None) -> str:
    """Return a button that copies a table, or the rows of it that a filter keeps, as CSV.

    Args:
        name: of the table.
        title: what it shows, to tell the button from the others of the page.
        table_filter: column and value of the rows that are copied; None: all.
    """
    return (
        f'<button type="button" data-copy="{name}"{_kept(table_filter)}><span>Copy as CSV</span>'
        f'<span class="unseen">: {escape(title)}</span></button>'
    )


def _kept(table_filter: tuple[str, str] | None) -> str:
    if table_filter is None:
        return ""
    return f' data-filter="{escape(json.dumps(table_filter), quote=True)}"'


def legend(entries: Iterable[tuple[str, str, str]]) -> str:
    """Return the legend of a chart: colour, kind of mark and label of each series."""
    items = "".join(
        f'<li><i class="{mark}" style="--mark:{_css(colour)}"></i>{escape(label)}</li>'
        for colour, mark, label in entries
    )
    return f'<ul class="legend">{items}</ul>'


def _css(colour: str) -> str:
    """Return a colour of a figure as CSS.

    >>> _css("var:series-1/0.35")
    'color-mix(in srgb, var(--series-1) 35%, transparent)'
    """
    name, _, opacity = colour.removeprefix("var:").partition("/")
    if not opacity:
        return f"var(--{name})"
    return f"color-mix(in srgb, var(--{name}) {float(opacity):.0%}, transparent)"


def chart(figure: Figure) -> str:
    """Return a panel with the chart, its caption and the tables behind it."""
    key, title = escape(figure.key, quote=True), escape(figure.title)
    behind = _data(figure.table, figure.title, figure.table_filter)
    behind += "".join(_data(name, figure.title, None) for name in figure.more_tables)
    word = "Tables" if figure.more_tables else "Table"
    return (
        f'<div class="panel"><figure aria-labelledby="title-{key}">'
        f'<h3 id="title-{key}">{title}</h3>'
        f'<figcaption class="caption">{escape(figure.note)}</figcaption>'
        f"{legend(figure.legend) if figure.legend else ''}"
        f'<div class="chart" id="chart-{key}" role="img" '
        f'aria-label="{escape(figure.caption, quote=True)}" '
        f'style="height:{figure.height}px"></div></figure>'
        f'<details class="data"><summary>{word} behind this chart'
        f'<span class="unseen">: {title}</span></summary>{behind}</details></div>'
    )


def _data(name: str, title: str, table_filter: tuple[str, str] | None) -> str:
    """Return the place of a table that is built when a reader asks for it."""
    label = escape(f"{title}: table {name}", quote=True)
    return (
        f'<div class="tools"><span>table <code>{name}</code></span>'
        f"{copy_button(name, title, table_filter)}</div>"
        f'<div class="scroll" tabindex="0" role="region" aria-label="{label}" '
        f'data-table="{name}"{_kept(table_filter)}></div>'
    )


def section(key: str, title: str, lead: str, *parts: str) -> str:
    """Return a section of the page."""
    return (
        f'<section id="{key}" aria-labelledby="{key}-title">'
        f'<h2 id="{key}-title">{escape(title)}</h2>'
        f"<p>{escape(lead)}</p>{''.join(parts)}</section>"
    )


def panel(*parts: str) -> str:
    """Return a framed block."""
    return f'<div class="panel">{"".join(parts)}</div>'


def tools(title: str, name: str) -> str:
    """Return the head of a panel with a table: its title and the button that copies it."""
    return f'<div class="tools"><h3>{escape(title)}</h3>{copy_button(name, title)}</div>'


def notes(sentences: Iterable[str]) -> str:
    """Return a list of remarks."""
    items = "".join(f"<li>{escape(each)}</li>" for each in sentences)
    return f'<ul class="notes">{items}</ul>'
