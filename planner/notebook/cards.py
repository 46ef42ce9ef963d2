"""The four numbers above the figures, and what changed since the start."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from planner.report.wording import headline_cards
from planner.results.formatting import MINUS, count, duration, money
from planner.results.notebook import html_of
from planner.results.result import Result

STYLE: Final = """<style>
.planner-what-if { --planner-soft: var(--jp-ui-font-color2, #6b7280);
  --planner-line: var(--jp-border-color2, #d0d3da); --planner-good: #1a8f54;
  --planner-bad: #d5404f; line-height: 1.35; color: var(--jp-content-font-color1, inherit); }
.planner-cards { display: grid; grid-template-columns: repeat(4, 1fr);
  border: 1px solid var(--planner-line); border-radius: 10px; }
.planner-cards > div { padding: 10px 14px 11px; border-left: 1px solid var(--planner-line);
  min-width: 0; }
.planner-cards > div:first-child { border-left: 0; }
.planner-cards b { display: block; font-size: 26px; font-weight: 650; letter-spacing: -0.02em;
  line-height: 1.25; white-space: nowrap; font-variant-numeric: tabular-nums; }
.planner-cards > div > span, .planner-cards i { display: block; font-size: 12px; font-style: normal;
  color: var(--planner-soft); overflow-wrap: anywhere; }
.planner-cards em { display: block; margin-top: 3px; font-size: 12.5px; font-style: normal;
  font-weight: 600; font-variant-numeric: tabular-nums; }
.planner-cards .good { color: var(--planner-good); }
.planner-cards .bad { color: var(--planner-bad); }
.planner-cards .same { color: var(--planner-soft); font-weight: 400; }
.planner-stale { opacity: 0.4; }
.planner-error { margin-top: 8px; padding: 9px 14px; border-radius: 8px; font-size: 13px;
  border: 1px solid var(--planner-bad); white-space: pre-wrap; }
.planner-error b { color: var(--planner-bad); }
.planner-note { font-size: 12px; color: var(--planner-soft); }
.planner-note code { white-space: pre-wrap; overflow-wrap: anywhere; font-size: 11.5px;
  color: inherit; background: none; }
</style>"""

_CHANGES: Final[tuple[tuple[str, Callable[[float], str], bool], ...]] = (
    ("accelerators_at_peak", count, False),
    ("p99_ttft_s", duration, False),
    ("cost_per_million_output_tokens_usd", money, False),
    ("gross_margin_rate", lambda rate: f"{100 * rate:.1f} points", True),
)
"""Number of the headline behind each card, how it is written, whether more of it is better."""


def cards_html(result: Result, start: Result, *, stale: bool = False) -> str:
    """Return the four numbers with their changes.

    Args:
        result: of the controls as they are.
        start: what it is compared with.
        stale: the controls have moved on to what cannot be simulated.
    """
    cells = []
    for card, change in zip(headline_cards(result), _CHANGES, strict=True):
        tone = ' class="bad"' if card.alarm else ""
        cells.append(
            f"<div><span>{html_of(card.label)}</span><b{tone}>{html_of(card.value)}</b>"
            f"<i>{html_of(card.note)}</i>{_change(result, start, *change)}</div>"
        )
    kind = "planner-cards planner-stale" if stale else "planner-cards"
    return f'{STYLE}<div class="planner-what-if"><div class="{kind}">{"".join(cells)}</div></div>'


def _change(
    result: Result, start: Result, key: str, show: Callable[[float], str], more_is_better: bool
) -> str:
    now, was = result.headline[key], start.headline[key]
    if now is None or was is None:
        return '<em class="same">no change to show</em>'
    change = now - was
    # Not the last digit of a float: what would be written the same is the same.
    if show(abs(change)) == show(0.0):
        return '<em class="same">as at the start</em>'
    sign = "+" if change > 0 else MINUS
    tone = "good" if (change > 0) == more_is_better else "bad"
    return f'<em class="{tone}">{sign}{html_of(show(abs(change)))} against the start</em>'
