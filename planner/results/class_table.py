"""Tables of classes: rates, losses, latency quantiles, fates and the verdict on every promise."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from planner.kernel.enums import Fate
from planner.results import columns
from planner.results.meta import ClassMeta
from planner.results.metrics import (
    divide,
    histogram_mean,
    histogram_quantiles,
    slo_attainment,
)

QUANTILE_GRID = (
    0.0, 0.1, 0.5, *map(float, range(1, 100)), 99.2, 99.35, 99.5, 99.65, 99.8, 99.9, 99.93, 99.95,
    99.97, 99.98, 99.99, 100.0,
)  # fmt: skip
"""Percentiles of the table of distributions."""
_OVER = {"itl": "token gaps", columns.TASK_METRIC: "finished tasks"}
"""What a promise is about, where that is not served requests."""
ALL_CLASSES = "all"
"""Name of the row over all classes."""


def build_class_tables(
    histograms: NDArray[np.float64],
    table: NDArray[np.void],
    classes: Sequence[ClassMeta],
    *,
    duration_s: float,
    warmup_s: float,
) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """Return the tables of classes, of their total (one row), and of objectives.

    Args:
        histograms: shape `(classes, len(Metric), HISTOGRAM_BINS)`.
        table: `CLASS_WINDOW`, shape `(windows, classes)`.
        classes: in row order.
        duration_s: end of the arrivals.
        warmup_s: requests that arrived earlier are not measured.
    """
    rows: list[dict[str, Any]] = []
    objectives: list[dict[str, Any]] = []
    for number, meta in enumerate(classes):
        row = _row(histograms[number], table[:, number], duration_s, warmup_s)
        row |= {"class": meta.name, "pool": meta.pool, "priority": meta.priority}
        row["service"] = meta.service
        row["quality_rate"] = _quality(row["light_rate"], meta.light_quality)
        verdicts = list(_verdicts(meta, histograms[number], row))
        row |= {"plan": meta.plan or "", "objectives_met": all(v["met"] for v in verdicts)}
        rows.append(row)
        objectives += verdicts
    total = _row(histograms.sum(axis=0), table, duration_s, warmup_s)
    served = [divide(row["measured_served"], total["measured_served"]) for row in rows]
    total["quality_rate"] = sum(
        share * row["quality_rate"] for share, row in zip(served, rows, strict=True) if share > 0.0
    )
    total |= {"class": ALL_CLASSES, "pool": "", "priority": 0, "service": "", "plan": ""}
    total["objectives_met"] = all(row["objectives_met"] for row in rows)
    names = columns.names("classes")
    return (
        pd.DataFrame(rows, columns=names),
        pd.DataFrame([total], columns=names),
        pd.DataFrame(objectives, columns=columns.names("objectives")),
    )


def _row(
    histograms: NDArray[np.float64], windows: NDArray[np.void], duration_s: float, warmup_s: float
) -> dict[str, Any]:
    ended = windows["measured_ended"].reshape(-1, len(Fate)).sum(axis=0)
    measured, good = int(windows["measured"].sum()), int(windows["measured_good"].sum())
    rate_limited = int(ended[Fate.RATE_LIMITED])
    lost = int(ended.sum()) - int(ended[Fate.SERVED]) - rate_limited
    measured_s = duration_s - warmup_s
    tokens = {name: int(windows[field].sum()) for name, field in columns.TOKEN_FIELDS.items()}
    answered = {name: int(windows[name].sum()) for name in ("light", "escalated")}
    served = int(windows["ended"].reshape(-1, len(Fate))[:, Fate.SERVED].sum())
    row: dict[str, Any] = {
        "arrived": int(windows["arrived"].sum()),
        "measured": measured,
        "measured_served": int(ended[Fate.SERVED]),
        "measured_rate_limited": rate_limited,
        "measured_lost": lost,
        "measured_good": good,
        "loss_rate": divide(lost, measured - rate_limited),
        "slo_attainment_rate": slo_attainment(good, measured, rate_limited),
        "light_rate": divide(answered["light"], served),
        "escalated_rate": divide(answered["escalated"], served),
        "arrival_rps": divide(measured, measured_s),
        "goodput_rps": divide(good, measured_s),
        **tokens,
        "prefix_hit_rate": divide(tokens["cached_input_tokens"], tokens["input_tokens"]),
        "output_tokens_per_s": divide(tokens["output_tokens"], duration_s),
        "preemptions": int(windows["preemptions"].sum()),
    }
    for metric in columns.REQUEST_METRICS:
        row |= _latency_cells(metric, histograms)
    return row


def _latency_cells(metric: str, histograms: NDArray[np.float64]) -> dict[str, float]:
    """Return mean and quantiles of a latency.

    Args:
        metric: which.
        histograms: of a class, shape `(len(Metric), HISTOGRAM_BINS)`.
    """
    counts = histograms[columns.METRICS.index(metric)]
    quantiles = histogram_quantiles(counts, columns.PERCENTILES)
    cells = {f"{metric}_mean_s": histogram_mean(counts)}
    for percentile, value in zip(columns.PERCENTILES, quantiles, strict=True):
        cells[columns.quantile_column(metric, percentile)] = float(value)
    return cells


def build_tasks(
    histograms: NDArray[np.float64],
    table: NDArray[np.void],
    classes: Sequence[ClassMeta],
    reusable_input_rates: Sequence[float],
) -> pd.DataFrame:
    """Return one row per class that has sessions, each of which is a task.

    Args:
        histograms: shape `(classes, len(Metric), HISTOGRAM_BINS)`.
        table: `CLASS_WINDOW`, shape `(windows, classes)`.
        classes: in row order.
        reusable_input_rates: by class; NaN without sessions.
    """
    rows = []
    for number, meta in enumerate(classes):
        names = ("tasks", "tasks_finished", "tasks_abandoned")
        sums = [int(table[f"measured_{name}"][:, number].sum()) for name in names]
        begun, finished, abandoned = sums
        if not begun and not table["tasks_finished"][:, number].any():
            continue
        row = {
            "class": meta.name,
            "begun": begun,
            "finished": finished,
            "abandoned": abandoned,
            "under_way": begun - finished - abandoned,
            "calls_per_task": divide(table["task_calls"][:, number].sum(), finished),
            "tokens_per_task": divide(table["task_tokens"][:, number].sum(), finished),
            "reusable_input_rate": reusable_input_rates[number],
        }
        rows.append(row | _latency_cells(columns.TASK_METRIC, histograms[number]))
    return pd.DataFrame(rows, columns=columns.names("tasks"))


def _quality(light_rate: float, light_quality: float | None) -> float:
    """Return the quality of a class's answers as a share of that of its own model.

    >>> _quality(0.4, 0.9)
    0.96
    """
    if light_quality is None:
        return math.nan if light_rate > 0.0 else 1.0
    return 1.0 - light_rate * (1.0 - light_quality)


def _verdicts(
    meta: ClassMeta, histograms: NDArray[np.float64], row: dict[str, Any]
) -> Iterable[dict[str, Any]]:
    offered = row["measured"] - row["measured_rate_limited"]
    for objective in meta.objectives:
        counts = histograms[columns.METRICS.index(objective.metric)]
        value = float(histogram_quantiles(counts, [objective.percentile])[0])
        # A request that was not served, or a task that did not finish, breaks its promise. Where
        # there was none, or all had one token and so no TPOT, nothing is known.
        of_tasks = objective.metric == columns.TASK_METRIC
        all_served = row["measured_served"] == (0 if of_tasks else offered)
        known = not (math.isnan(value) and all_served)
        yield {
            "class": meta.name,
            "metric": objective.metric,
            "percentile": objective.percentile,
            "limit": objective.limit_s,
            "value": value,
            "unit": "s",
            "over": _OVER.get(objective.metric, "served requests"),
            "samples": int(counts.sum()),
            **_judged(value <= objective.limit_s, known=known),
        }
    yield {
        "class": meta.name,
        "metric": "loss",
        "percentile": math.nan,
        "limit": meta.maximum_loss_rate,
        "value": row["loss_rate"],
        "unit": "1",
        "over": "arrived requests, rate-limited ones apart",
        "samples": offered,
        **_judged(row["measured_lost"] <= meta.maximum_loss_rate * offered, known=offered > 0),
    }


def _judged(kept: bool, *, known: bool) -> dict[str, Any]:
    verdict = (columns.KEPT if kept else columns.BROKEN) if known else columns.NO_SAMPLE
    return {"verdict": verdict, "met": verdict == columns.KEPT}


def build_fates(table: NDArray[np.void], classes: Sequence[ClassMeta]) -> pd.DataFrame:
    """Return how every request that arrived ended, one row per class.

    Args:
        table: `CLASS_WINDOW`, shape `(windows, classes)`.
        classes: in row order.
    """
    data: dict[str, Any] = {"class": [meta.name for meta in classes]}
    data["arrived"] = table["arrived"].sum(axis=0)
    ended = table["ended"].sum(axis=0)
    data |= {fate: ended[:, number] for number, fate in enumerate(columns.FATES)}
    return pd.DataFrame(data)[columns.names("fates")]


def build_quantiles(histograms: NDArray[np.float64], classes: Sequence[ClassMeta]) -> pd.DataFrame:
    """Return the latency distributions as quantiles; metrics without samples are left out.

    Args:
        histograms: shape `(classes, len(Metric), HISTOGRAM_BINS)`.
        classes: in row order.
    """
    parts = []
    for number, meta in enumerate(classes):
        for metric, counts in zip(columns.METRICS, histograms[number], strict=True):
            if counts.any():
                values = histogram_quantiles(counts, QUANTILE_GRID)
                part = {
                    "class": meta.name,
                    "metric": metric,
                    "percentile": QUANTILE_GRID,
                    "value_s": values,
                }
                parts.append(pd.DataFrame(part))
    if not parts:
        return pd.DataFrame(columns=columns.names("quantiles"))
    return pd.concat(parts, ignore_index=True)


def loss_warnings(fates: pd.DataFrame, objectives: pd.DataFrame) -> tuple[str, ...]:
    """Return a sentence for every class that loses more than it may."""
    broken = objectives[
        (objectives["metric"] == "loss") & (objectives["verdict"] == columns.BROKEN)
    ]
    by_class = fates.set_index("class")
    sentences = []
    for row in broken.itertuples():
        counts = by_class.loc[row[1], list(columns.LOST_FATES)]
        why = ", ".join(f"{n:,} {fate.replace('_', ' ')}" for fate, n in counts.items() if n)
        sentences.append(
            f"class {row[1]}: {row.value:.2%} of its requests are lost ({why}), "
            f"{row.limit:.2%} allowed. Percentiles run over served requests only and hide them."
        )
    return tuple(sentences)
