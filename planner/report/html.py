"""A result as one self-contained HTML page."""

from __future__ import annotations

import json
from collections.abc import Iterable
from html import escape
from importlib.resources import files
from string import Template
from typing import Any

import pandas as pd

from planner.report import figures, sections
from planner.report.energy import energy_section
from planner.report.figures import Figure, numbers
from planner.results.columns import TABLES
from planner.results.result import Result, records

_SECTIONS = (
    ("promises", "Promises"),
    ("demand", "Demand"),
    ("latency", "Latency"),
    ("tasks", "Tasks"),
    ("requests", "Requests"),
    ("pools", "Pools"),
    ("money", "Money"),
    ("energy", "Energy and carbon"),
    ("assumptions", "Assumptions"),
)


def render_html(result: Result) -> str:
    """Return the report: no network, plotly.js inline once, the same bytes for the same result.

    Args:
        result: what to show. Money is left out where there are no prices.
    """
    parts = (
        sections.lead(result),
        sections.promises(result),
        sections.demand(result),
        sections.latency(result),
        sections.tasks(result),
        sections.requests(result),
        sections.pools(result),
        sections.money_section(result),
        energy_section(result),
        sections.assumptions(result),
    )
    absent = {"money"} if result.finance is None else set()
    absent |= {"energy"} if result.impact is None else set()
    absent |= {"tasks"} if result.frames.tasks.empty else set()
    shown = [each for each in _SECTIONS if each[0] not in absent]
    navigation = "".join(f'<a href="#{key}">{title}</a>' for key, title in shown)
    specs = {each.key: each.spec | {"height": each.height} for each in all_figures(result)}
    return Template(_resource("template.html")).substitute(
        title=escape(f"{result.name} · planner"),
        style=_resource("style.css"),
        navigation=navigation,
        body="\n".join(part for part in parts if part),
        footer=sections.footer(result),
        figures=script_json(specs),
        tables=script_json(_tables(result)),
        plotly=plotly_script(),
        script=_resource("report.js"),
    )


def all_figures(result: Result) -> list[Figure]:
    """Return every figure of the page, in its order."""
    finance = result.finance
    found: Iterable[Figure | None] = (
        figures.demand_figure(result),
        *figures.latency_figures(result),
        figures.losses_figure(result),
        *figures.pool_figures(result),
        *(
            ()
            if finance is None
            else (figures.waterfall_figure(finance), figures.cost_figure(finance))
        ),
    )
    return [figure for figure in found if figure is not None]


def plotly_script() -> str:
    """Return plotly.js, as the plotly package ships it."""
    script = (files("plotly") / "package_data" / "plotly.min.js").read_text(encoding="utf-8")
    return script.replace("</script", "<\\/script")


def _tables(result: Result) -> dict[str, Any]:
    """Return the tables behind the charts: columns with unit and meaning, and rows."""
    tables = {}
    for name, frame in result.tables().items():
        known = {column.name: column for column in TABLES[name]}
        tables[name] = {
            "columns": [
                [str(each), known[each].unit, known[each].meaning]
                if each in known
                else [str(each), "", ""]
                for each in frame.columns
            ],
            "rows": [list(row.values()) for row in records(_rounded(frame))],
        }
    return tables


def _rounded(frame: pd.DataFrame) -> pd.DataFrame:
    """Return the table with six significant digits; the files beside the report have them all."""
    floats = [name for name in frame.columns if pd.api.types.is_float_dtype(frame[name])]
    rounded = {name: pd.Series(numbers(frame[name]), dtype=object) for name in floats}
    return frame.reset_index(drop=True).assign(**rounded)


def script_json(value: Any) -> str:
    """Return JSON that cannot end the script element it stands in."""
    text = json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")


def _resource(name: str) -> str:
    return (files("planner.report") / name).read_text(encoding="utf-8")
