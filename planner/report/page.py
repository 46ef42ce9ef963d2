"""A report page from its parts: one file, no network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from importlib.resources import files
from string import Template
from typing import Any

from planner.report.figures import Figure
from planner.report.html import plotly_script, script_json

Columns = Sequence[tuple[str, str, str]]
"""Name, unit and meaning of each column of a table behind a chart."""


def render_page(
    title: str,
    sections: Sequence[tuple[str, str]],
    body: Sequence[str],
    figures: Sequence[Figure],
    tables: Mapping[str, tuple[Columns, Sequence[Mapping[str, Any]]]],
    footer: str,
) -> str:
    """Return a page, the same bytes for the same input.

    Args:
        title: of the browser's window.
        sections: key and title, for the navigation.
        body: the HTML of its parts, in order.
        figures: every chart in them.
        tables: behind the charts: columns and rows by name.
        footer: what identifies the run.
    """
    page = _resource("template.html").replace('href="#promises"', f'href="#{sections[0][0]}"')
    return Template(page).substitute(
        title=escape(title),
        style=_resource("style.css"),
        navigation="".join(f'<a href="#{key}">{escape(text)}</a>' for key, text in sections),
        body="\n".join(body),
        footer=escape(footer),
        figures=script_json({f.key: f.spec | {"height": f.height} for f in figures}),
        tables=script_json(
            {
                name: {
                    "columns": [list(column) for column in columns],
                    "rows": [[row[column] for column, _, _ in columns] for row in rows],
                }
                for name, (columns, rows) in tables.items()
            }
        ),
        plotly=plotly_script(),
        script=_resource("report.js"),
    )


def cards(items: Sequence[tuple[str, str, str]]) -> str:
    """Return the numbers of the first screen: label, value and note of each."""
    shown = "".join(
        f'<div class="card"><dt>{escape(label)}</dt><dd class="value">{escape(value)}</dd>'
        f'<dd class="note">{escape(note)}</dd></div>'
        for label, value, note in items
    )
    return f'<dl class="cards">{shown}</dl>'


def _resource(name: str) -> str:
    return (files("planner.report") / name).read_text(encoding="utf-8")
