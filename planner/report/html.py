"""A result, and what other commands found beside it, as one self-contained HTML page."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from planner.report import figures, sections
from planner.report.ablation import ablation_chapter
from planner.report.bridge import account_chapter
from planner.report.comparison import Labelled, comparison_chapter
from planner.report.energy import energy_section
from planner.report.figures import Figure
from planner.report.forecast import stored_forecast_chapter
from planner.report.fragments import section
from planner.report.page import Chapter, frame_data, render_page
from planner.report.risk import risk_chapter
from planner.report.step_time import step_figure
from planner.report.windows import windows_together, with_fewer_windows
from planner.results.columns import TABLES
from planner.results.result import Result

if TYPE_CHECKING:
    from planner.search.ablation import Ablation
    from planner.search.account import Account
    from planner.search.risk import Risk
    from planner.search.stored import StoredForecast


@dataclass(frozen=True)
class Beside:
    """What other commands found, to stand on the page of a result."""

    label: str = ""
    """Of the result itself among others; by default its name."""
    others: tuple[Labelled, ...] = ()
    """Results to compare with it."""
    ablation: Ablation | None = None
    risk: Risk | None = None
    bridge: Account | None = None
    forecast: StoredForecast | None = None


def render_html(result: Result, beside: Beside | None = None) -> str:
    """Return the report: no network, plotly.js inline once, the same bytes for the same input.

    Args:
        result: what to show. Sections that it has no data for are left out.
        beside: what other commands found.
    """
    more = beside or Beside()
    together = windows_together(result)
    chapters = _chapters(with_fewer_windows(result), more)
    names = Counter(name for each in chapters for name in each.tables)
    assert max(names.values()) == 1, "two tables of one name"
    body = [part for each in chapters for part in each.body]
    return render_page(
        f"{result.name} · planner",
        [entry for each in chapters for entry in each.sections],
        [sections.lead(result, more.risk), *body, _windows_words(together), _left_out(more)],
        [figure for each in chapters for figure in each.figures],
        {name: data for each in chapters for name, data in each.tables.items()},
        sections.footer(result),
    )


def _windows_words(together: int) -> str:
    if together <= 1:
        return ""
    text = f"By time, {together} windows are one here; the files of the result hold each."
    return f"<p>{text}</p>"


def all_figures(result: Result) -> list[Figure]:
    """Return every figure of a result, in the order of the page."""
    return [figure for each in _chapters(result, Beside()) for figure in each.figures]


def _chapters(result: Result, more: Beside) -> list[Chapter]:
    """Return what is on the page: promises first, then how they are kept, then the money."""
    found = [_chapter("promises", "Promises", sections.promises(result))]
    if more.others:
        found.append(comparison_chapter([(more.label or result.name, result), *more.others]))
    found += _fleet(result)
    if more.ablation is not None:
        found.append(ablation_chapter(more.ablation))
    finance = result.finance
    if finance is not None:
        drawn = (figures.waterfall_figure(finance), figures.cost_figure(finance))
        found.append(_chapter("money", "Money", sections.money_section(result), drawn))
    if more.bridge is not None:
        found.append(account_chapter(more.bridge))
    if more.risk is not None:
        found.append(risk_chapter(more.risk))
    if more.forecast is not None:
        found.append(stored_forecast_chapter(more.forecast))
    if result.impact is not None:
        found.append(_chapter("energy", "Energy and carbon", energy_section(result)))
    tables = {name: frame_data(f, TABLES[name]) for name, f in result.tables().items()}
    sources = sections.assumptions(result)
    return [*found, Chapter((("assumptions", "Assumptions"),), (sources,), (), tables)]


def _fleet(result: Result) -> list[Chapter]:
    tasks = sections.tasks(result)
    lost = [figures.losses_figure(result)]
    pools = [*figures.pool_figures(result), step_figure(result)]
    return [
        _chapter("demand", "Demand", sections.demand(result), [figures.demand_figure(result)]),
        _chapter("latency", "Latency", sections.latency(result), figures.latency_figures(result)),
        *([_chapter("tasks", "Tasks", tasks)] if tasks else []),
        _chapter("requests", "Requests", sections.requests(result), lost),
        _chapter("pools", "Pools", sections.pools(result), pools),
    ]


def _chapter(key: str, title: str, body: str, drawn: Iterable[Figure | None] = ()) -> Chapter:
    return Chapter(((key, title),), (body,), tuple(f for f in drawn if f is not None))


def _left_out(more: Beside) -> str:
    """Return which commands would add to the page; empty where it has everything."""
    asked: Sequence[tuple[bool, str]] = (
        (more.ablation is None, "what each technique is worth (planner ablate)"),
        (more.risk is None, "intervals and what drives them (planner risk)"),
        (more.bridge is None, "why cost and margin changed (planner bridge)"),
        (more.forecast is None, "the quarters ahead (planner forecast)"),
        (not more.others, "other results side by side"),
    )
    absent = [words for is_absent, words in asked if is_absent]
    if not absent:
        return ""
    text = (
        f"Not on this page: {'; '.join(absent)}. Keep what a command prints with --json in a "
        "file, and planner report puts it here."
    )
    return section("more", "What else can be asked", text)
