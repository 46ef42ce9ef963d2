"""What an answer looks like in a notebook: a line, some numbers, a table, in its own colours.

Every answer shows itself in this one way. It says what to show as a `Summary`; how a column is
written follows from the unit in its name.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from html import escape
from numbers import Real
from typing import Any, Final

import pandas as pd

from planner.results import formatting

MOST_ROWS: Final = 24
"""Longer tables are cut; `to_pandas` has the rest."""

_UNITS: Final[tuple[tuple[str, str, Callable[[Any], str]], ...]] = (
    ("_usd_per_mtok", " per 1M tokens", formatting.money),
    ("_usd", "", formatting.money),
    ("_rate", "", formatting.percent),
    ("_rps", " [1/s]", formatting.count),
    ("_tps", " [tokens/s]", formatting.count),
    ("_tokens", " [tokens]", formatting.count),
    ("_kwh", " [kWh]", formatting.count),
    ("_s", "", formatting.duration),
)
"""Ending of a column's name, what its title says instead, how its values are written."""


@dataclass(frozen=True)
class Summary:
    """What a notebook shows of an answer."""

    title: str
    detail: str
    """Small print beside the title."""
    cards: tuple[tuple[str, str], ...]
    """The numbers that matter most, as written, with their labels."""
    table: pd.DataFrame
    """Units in the column names."""
    notes: tuple[str, ...] = ()
    """Sentences that a reader should not miss."""


class Shown(ABC):
    """An answer that shows itself in a notebook, and briefly in a terminal.

    A data class that is one has `repr=False`: all its tables in one line help nobody.
    """

    @abstractmethod
    def summary(self) -> Summary:
        """Return what a notebook shows of it."""

    def __repr__(self) -> str:
        return summary_text(self.summary())

    def _repr_html_(self) -> str:
        return summary_html(self.summary())


def summary_text(summary: Summary) -> str:
    """Return the numbers that matter most, one a line, for where there is no HTML."""
    head = f"{summary.title} · {summary.detail}" if summary.detail else summary.title
    cards = [f"  {value}  {label}" for value, label in summary.cards]
    return "\n".join([head, *cards, *(f"  ⚠ {text}" for text in summary.notes)])


def html_of(text: str) -> str:
    """Return a text as HTML in which no front end takes two dollar signs for a formula."""
    return escape(text).replace("$", "<span>$</span>")


def summary_html(summary: Summary) -> str:
    """Return a fragment of HTML."""
    cards = "".join(
        f'<div style="min-width:9em"><div style="font-size:1.6em;font-weight:600">{html_of(value)}'
        f'</div><div style="opacity:.7">{html_of(label)}</div></div>'
        for value, label in summary.cards
    )
    notes = "".join(f"<p>⚠ {html_of(text)}</p>" for text in summary.notes)
    detail = f" · {html_of(summary.detail)}" if summary.detail else ""
    return (
        f"<div><p><b>{html_of(summary.title)}</b>{detail}</p>"
        f'<div style="display:flex;flex-wrap:wrap;gap:0.6em 2em;margin-bottom:0.8em">{cards}</div>'
        f"{notes}"
        f"{_table(summary.table)}</div>"
    )


def _table(frame: pd.DataFrame) -> str:
    styles = [column_style(str(name)) for name in frame.columns]
    texts = [pd.api.types.is_string_dtype(frame[name].dtype) for name in frame.columns]
    aligned = ['style="text-align:left"' if text else "" for text in texts]
    head = "".join(
        f"<th {align}>{html_of(title)}</th>"
        for (title, _), align in zip(styles, aligned, strict=True)
    )
    shown = frame.head(MOST_ROWS)
    rows = "".join(
        "<tr>"
        + "".join(
            f"<td {align}>{html_of(_cell(value, show))}</td>"
            for value, (_, show), align in zip(row, styles, aligned, strict=True)
        )
        + "</tr>"
        for row in shown.itertuples(index=False)
    )
    left = len(frame) - len(shown)
    more = f'<p style="opacity:.7">and {left} more rows: <code>.to_pandas()</code></p>' * (left > 0)
    return f"<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>{more}"


def column_style(name: str) -> tuple[str, Callable[[Any], str]]:
    """Return the title of a column, and how its values are written.

    >>> column_style("ttft_p99_s")[0], column_style("goodput_rps")[0]
    ('TTFT p99', 'goodput [1/s]')
    >>> column_style("margin_rate")[1](0.5)
    '50.0%'
    """
    stem, _, of = name.partition("[")
    for ending, instead, show in _UNITS:
        if stem.endswith(ending):
            return _title(stem.removesuffix(ending), of) + instead, show
    return _title(stem, of), formatting.count


def _title(stem: str, of: str) -> str:
    words = stem.replace("_", " ").strip()
    for metric in ("ttfat", "ttft", "tpot", "itl", "e2e", "slo"):
        words = words.replace(metric, metric.upper())
    return f"{words} of {of.removesuffix(']')}" if of else words


def _cell(value: object, show: Callable[[Any], str]) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if value is None or value is pd.NA:
        return formatting.MISSING
    return show(float(value)) if isinstance(value, Real) else str(value)
