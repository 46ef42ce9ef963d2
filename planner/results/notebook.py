"""A result in a notebook: the four numbers and the class table, in the notebook's own colours."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

from planner.results import formatting

if TYPE_CHECKING:
    from planner.results.result import Result

_COLUMNS = (
    ("class", "class", str),
    ("arrived", "arrived", formatting.count),
    ("slo_attainment_rate", "SLO attainment", formatting.percent),
    ("loss_rate", "lost", formatting.percent),
    ("ttft_p50_s", "TTFT p50", formatting.duration),
    ("ttft_p99_s", "p99", formatting.duration),
    ("tpot_p50_s", "TPOT p50", formatting.duration),
    ("tpot_p99_s", "p99", formatting.duration),
    ("e2e_p99_s", "E2E p99", formatting.duration),
)


def notebook_html(result: Result) -> str:
    """Return a fragment of HTML with the headline and one row per class."""
    cards = "".join(
        f'<div style="min-width:9em"><div style="font-size:1.6em;font-weight:600">{value}</div>'
        f'<div style="opacity:.7">{label}</div></div>'
        for value, label in headline_cards(result)
    )
    head = "".join(f"<th>{title}</th>" for _, title, _ in _COLUMNS)
    rows = "".join(
        "<tr>"
        + "".join(f"<td>{escape(show(row[key]))}</td>" for key, _, show in _COLUMNS)
        + "</tr>"
        for row in result.frames.classes.to_dict("records")
    )
    warnings = "".join(f"<p>⚠ {escape(text)}</p>" for text in result.stability)
    return (
        f"<div><p><b>{escape(result.name)}</b> · seed {result.seed}</p>"
        f'<div style="display:flex;flex-wrap:wrap;gap:2em">{cards}</div>{warnings}'
        f"<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div>"
    )


def headline_cards(result: Result) -> list[tuple[str, str]]:
    """Return value and label of the four numbers."""
    headline = result.headline
    definition = headline["gross_margin_definition"]
    margin = f"gross margin ({definition})" if definition else "gross margin"
    broken = ", with promises broken" if result.overloaded else ""
    return [
        (formatting.count(headline["accelerators_at_peak"]), "accelerators at peak"),
        (formatting.duration(headline["p99_ttft_s"]), "p99 time to first token"),
        (
            formatting.money(headline["cost_per_million_output_tokens_usd"]),
            f"per million output tokens{broken}",
        ),
        (formatting.percent(headline["gross_margin_rate"]), margin + broken),
    ]
