"""A report page from its parts: one file, no network."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from importlib.resources import files
from string import Template
from typing import Any

import numpy as np
import pandas as pd

from planner.report.figures import Figure, numbers
from planner.results.columns import Column
from planner.results.result import records

Data = dict[str, list[list[Any]]]
"""A table behind the page, as its script takes it: columns (name, unit, meaning) and rows."""


@dataclass(frozen=True)
class Chapter:
    """What one answer adds to a page that holds several."""

    sections: tuple[tuple[str, str], ...]
    """Key and title of those in the navigation."""
    body: tuple[str, ...]
    figures: tuple[Figure, ...] = ()
    tables: Mapping[str, Data] = field(default_factory=dict)


def render_page(
    title: str,
    sections: Sequence[tuple[str, str]],
    body: Iterable[str],
    figures: Iterable[Figure],
    tables: Mapping[str, Data],
    footer: str,
) -> str:
    """Return a page, plotly.js inline once, the same bytes for the same input.

    Args:
        title: of the browser's window.
        sections: key and title, for the navigation.
        body: the HTML of its parts, in order; empty ones are left out.
        figures: every chart in them.
        tables: behind the charts, by name.
        footer: what identifies the run.
    """
    return Template(_resource("template.html")).substitute(
        title=escape(title),
        style=_resource("style.css"),
        first=sections[0][0],
        navigation="".join(f'<a href="#{key}">{escape(text)}</a>' for key, text in sections),
        body="\n".join(part for part in body if part),
        footer=escape(footer),
        figures=script_json({f.key: f.spec | {"height": f.height} for f in figures}),
        tables=script_json(tables),
        plotly=plotly_script(),
        script=_resource("report.js"),
    )


# --- the head of a page ---------------------------------------------------------------------------


def lead(
    title: str,
    sentence: str,
    facts: Iterable[str],
    items: Iterable[tuple[str, str, str]],
    below: str = "",
) -> str:
    """Return the first screen.

    Args:
        title: of the page.
        sentence: the answer in words; may be empty.
        facts: what it stands on, a paragraph each; empty ones are left out.
        items: label, value and note of each number.
        below: HTML that follows the numbers.
    """
    shown = "".join(card(*item) for item in items)
    answer = f"<p>{escape(sentence)}</p>" if sentence else ""
    stands_on = "".join(f'<p class="facts">{escape(fact)}</p>' for fact in facts if fact)
    return (
        f'<div class="lead"><h1>{escape(title)}</h1>{answer}{stands_on}'
        f'<dl class="cards">{shown}</dl>{below}</div>'
    )


def card(
    label: str,
    value: str,
    note: str,
    kind: str = "",
    sure: str = "",
    beside: Iterable[tuple[str, str]] = (),
) -> str:
    """Return a number of the first screen.

    Args:
        label: what it is.
        value: the number.
        note: what it stands on.
        kind: a further class of its element.
        sure: its interval.
        beside: title and value of the same number under other definitions.
    """
    interval = f'<dd class="sure">{escape(sure)}</dd>' if sure else ""
    items = "".join(f"<li>{escape(title)} <b>{escape(text)}</b></li>" for title, text in beside)
    others = f"<dd><ul>{items}</ul></dd>" if items else ""
    return (
        f'<div class="card{kind and f" {kind}"}"><dt>{escape(label)}</dt>'
        f'<dd class="value">{escape(value)}</dd>{interval}<dd class="note">{escape(note)}</dd>'
        f"{others}</div>"
    )


# --- tables behind a page -------------------------------------------------------------------------


def data_table(columns: Iterable[str | Sequence[str]], rows: Iterable[Iterable[Any]]) -> Data:
    """Return a table of values that JSON can hold.

    Args:
        columns: names, or name, unit and meaning.
        rows: values in their order.
    """
    described = [[each, "", ""] if isinstance(each, str) else list(each) for each in columns]
    return {"columns": described, "rows": [list(row) for row in rows]}


def frame_data(frame: pd.DataFrame, columns: Iterable[Column] = ()) -> Data:
    """Return a data frame with six significant digits; the files beside a report have them all.

    Args:
        frame: the table.
        columns: those whose unit and meaning are known.
    """
    known = {each.name: [each.name, each.unit, each.meaning] for each in columns}
    floats = [name for name in frame.columns if pd.api.types.is_float_dtype(frame[name])]
    short = {name: pd.Series(numbers(frame[name]), dtype=object) for name in floats}
    shown = frame.reset_index(drop=True).assign(**short)
    return data_table(
        [known.get(str(name), str(name)) for name in frame.columns],
        [row.values() for row in records(shown)],
    )


def rounded(values: Iterable[Any]) -> list[Any]:
    """Return values with six significant digits as JSON can hold them; NaN becomes None.

    >>> rounded([2 / 3, float("nan"), 12345678, "roofline", None])
    [0.666667, None, 12345678, 'roofline', None]
    """
    plain = (value.item() if isinstance(value, np.generic) else value for value in values)
    return [numbers([value])[0] if isinstance(value, float) else value for value in plain]


# --- what stands in the page as it is -------------------------------------------------------------


def plotly_script() -> str:
    """Return plotly.js, as the plotly package ships it."""
    script = (files("plotly") / "package_data" / "plotly.min.js").read_text(encoding="utf-8")
    return script.replace("</script", "<\\/script")


def script_json(value: Any) -> str:
    """Return JSON that cannot end the script element it stands in."""
    text = json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")


def _resource(name: str) -> str:
    return (files("planner.report") / name).read_text(encoding="utf-8")
