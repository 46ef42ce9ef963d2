"""Everything that one call of `planner validate` found."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from planner.curves.engines import EngineOverhead
from planner.validation.score import (
    HEADLINE,
    KEYS,
    SCORED,
    Score,
    Statistics,
    errors_of,
    grouped,
    headline,
)
from planner.validation.serving import Capacity, Regime


@dataclass(frozen=True)
class HoldOut:
    """Scores on points that the overhead was not fitted to."""

    unseen: tuple[Score, ...] = ()
    """Fitted to other groups of the engine."""
    calibrated: tuple[Score, ...] = ()
    """Fitted to a quarter of the group's own points; the scores are of the rest."""
    one_model: tuple[Score, ...] = ()
    """Static batches on other vendors' chips: fitted to one model, the scores are of the others."""
    overheads: Mapping[str, EngineOverhead] = field(default_factory=dict)
    """That predicted a group unseen, by group."""
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Target:
    """An accuracy to reach, and what was found."""

    on: str
    measure: str
    reach: float
    """Relative error at most; 0: every row has to be right."""
    found: float | None
    """None: not measured."""
    points: int
    verdict: str
    """`reached`, `short`, or why it was not measured."""


@dataclass(frozen=True)
class Validation:
    """Replays beside measurements."""

    scores: tuple[Score, ...]
    by: tuple[str, ...]
    unusable: Mapping[str, int]
    """Points that were not replayed, by reason."""
    skipped: Mapping[str, int] = field(default_factory=dict)
    """Rows that the readers could not turn into points, by reason."""
    regimes: tuple[Regime, ...] = ()
    capacities: tuple[Capacity, ...] = ()
    held: HoldOut | None = None
    targets: tuple[Target, ...] = ()
    notes: tuple[str, ...] = ()
    source: str = "the table of published results that comes with planner"

    def lines(self) -> list[tuple[str, str, list[Score]]]:
        """Return what is scored together: set, why it is set aside (empty: not), and scores."""
        found = []
        for (name,), scores in grouped(self.scores, ("set",)).items():
            kept = headline(scores)
            if kept:
                found.append((name, "", kept))
            found += [
                (name, aside, [score for score in scores if score.aside == aside])
                for aside in sorted({score.aside for score in scores} - {""})
            ]
        return found

    def measured_metrics(self) -> list[str]:
        """Return the metrics that some point measured, in the order of SCORED."""
        return [name for name in SCORED if any(name in score.pairs for score in self.scores)]


def statistics_rows(
    scores: Sequence[Score], by: Sequence[str], metrics: Sequence[str] = HEADLINE
) -> list[dict[str, Any]]:
    """Return the statistics by group as plain rows."""
    rows = []
    for values, members in grouped(scores, by).items():
        row: dict[str, Any] = dict(zip(by, values, strict=True))
        row["points"] = len(members)
        for metric in metrics:
            row[metric] = as_plain(errors_of(members, metric))
        rows.append(row)
    return rows


def as_plain(found: Statistics | None) -> dict[str, float] | None:
    """Return statistics as plain data."""
    if found is None:
        return None
    return {
        "points": found.points,
        "bias": found.bias,
        "median": found.median,
        "mean": found.mean,
        "p90": found.p90,
    }


POINT_COLUMNS = (
    *("scored", "id", *KEYS, "flags", "basis", "overhead", "complete"),
    *("metric", "measured", "predicted", "error"),
)


def point_rows(validation: Validation) -> list[dict[str, Any]]:
    """Return one row per point, metric, and way of scoring."""
    held = validation.held or HoldOut()
    kinds = (
        ("replayed", validation.scores),
        ("group unseen", held.unseen),
        ("calibrated on a quarter", held.calibrated),
        ("calibrated on one model", held.one_model),
    )
    rows = []
    for kind, scores in kinds:
        for score in scores:
            point = score.point
            common = {
                "scored": kind,
                "id": point.id,
                **{name: value(point) for name, value in KEYS.items()},
                "flags": " | ".join(point.flags),
                "overhead": score.host,
                "complete": str(score.complete).lower(),
            }
            for metric in SCORED:
                if metric in score.pairs:
                    pair = score.pairs[metric]
                    rows.append(
                        {
                            **common,
                            "basis": score.basis if metric == "throughput" else "",
                            "metric": metric,
                            "measured": float(f"{pair.measured:.8g}"),
                            "predicted": float(f"{pair.predicted:.8g}"),
                            "error": round(pair.error, 6),
                        }
                    )
    return rows
