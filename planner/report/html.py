"""A result as one self-contained HTML page."""

from __future__ import annotations

from collections.abc import Iterable

from planner.report import figures, sections
from planner.report.energy import energy_section
from planner.report.figures import Figure
from planner.report.page import frame_data, render_page
from planner.results.columns import TABLES
from planner.results.result import Result

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
    tables = {name: frame_data(f, TABLES[name]) for name, f in result.tables().items()}
    return render_page(
        f"{result.name} · planner",
        shown,
        parts,
        all_figures(result),
        tables,
        sections.footer(result),
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
