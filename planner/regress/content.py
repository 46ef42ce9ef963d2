"""Comparisons as JSON."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any, Final

from planner.jsonable import json_text
from planner.regress.compare import Comparison
from planner.regress.metrics import rounded
from planner.regress.row import Row
from planner.regress.runs import EXIT_CODES, Outcome, worst
from planner.regress.wording import headline

SCHEMA: Final = "planner-regress/v1"


def to_json(outcomes: Sequence[Outcome]) -> str:
    """Return everything as JSON."""
    verdict = worst(outcomes)
    content = {
        "schema": SCHEMA,
        "verdict": verdict,
        "exit_code": EXIT_CODES[verdict],
        "headline": headline(outcomes),
        "scenarios": [
            {
                "scenario": outcome.case.label,
                "baseline": str(outcome.case.baseline),
                "verdict": outcome.verdict,
                "error": outcome.error,
            }
            | ({} if outcome.comparison is None else comparison_content(outcome.comparison))
            for outcome in outcomes
        ],
    }
    return json_text(content)


def comparison_content(comparison: Comparison) -> dict[str, Any]:
    """Return a comparison as JSON can hold it."""
    return {
        "name": comparison.name,
        "changed": list(comparison.changed),
        "obstacles": list(comparison.obstacles),
        "notes": list(comparison.notes),
        "metrics": {row.name: _row(row) for row in comparison.rows},
    }


def _row(row: Row) -> dict[str, Any]:
    known = row.before is not None and row.after is not None
    return {
        "mark": row.mark,
        "unit": row.metric.unit,
        "better": row.limits.better if row.limits else row.metric.better,
        "before": row.before,
        "after": row.after,
        "change": rounded(row.after - row.before) if known else None,  # type: ignore[operator]
        "relative_change": rounded(row.relative) if known else None,
        "at_old_prices": row.at_old_prices,
        "price_share": rounded(row.price_share),
        "noise": rounded(row.noise),
        "seeds": row.seeds,
        "limits": asdict(row.limits) if row.limits else None,
        "note": row.note,
    }
