"""Where a step's time goes: one bar per pool, by kind of work."""

from __future__ import annotations

import pandas as pd

from planner.curves.anatomy import KINDS
from planner.report.figures import Figure, Spec, label_axis, numbers, series_colour, unmarked
from planner.results.formatting import count, duration, percent
from planner.results.result import Result


def step_figure(result: Result) -> Figure | None:
    """Return milliseconds of a step of each pool's mean batch, by kind of work.

    None where steps were not taken apart: `planner run` does it, `planner.run` alone does not.
    """
    steps = result.steps
    if steps is None or steps.empty:
        return None
    pools = [str(name) for name in steps["pool"].unique()]
    kinds = [kind for kind in KINDS if kind in set(steps["kind"])]
    layout = {
        "barmode": "stack",
        "bargap": 0.35,
        "xaxis": {"ticksuffix": " ms", "rangemode": "tozero", "nticks": 6},
        "yaxis": label_axis([unmarked(name) for name in pools]),
        "margin": {"l": 8, "r": 16, "t": 4, "b": 30},
        "hovermode": "closest",
    }
    batches = "; ".join(_batch(steps[steps["pool"] == name].iloc[0]) for name in pools)
    return Figure(
        key="steps",
        title="Where a step's time goes",
        caption=f"Milliseconds of a step of each pool's mean batch, by kind of work. {batches}.",
        note=f"Milliseconds of a step of the mean batch, per replica: {batches}. It spreads "
        "prompts over all steps, where real ones come in chunks and make the mean step longer. "
        "planner explain shows each operator.",
        spec={
            "data": [
                _bar(steps[steps["kind"] == kind], pools, kind, series_colour(number))
                for number, kind in enumerate(kinds)
            ],
            "layout": layout,
        },
        table="steps",
        height=60 + 46 * len(pools),
        legend=tuple((series_colour(number), "area", kind) for number, kind in enumerate(kinds)),
    )


def _bar(rows: pd.DataFrame, pools: list[str], kind: str, colour: str) -> Spec:
    return {
        "type": "bar",
        "orientation": "h",
        "name": kind,
        "y": [pools.index(name) for name in rows["pool"]],
        "x": numbers(rows["step_s"] * 1e3),
        "text": [
            f"{duration(seconds)}, {percent(share)}"
            for seconds, share in zip(rows["step_s"], rows["share_rate"], strict=True)
        ],
        "textposition": "none",
        "hovertemplate": f"{kind}: %{{text}}<extra></extra>",
        "marker": {"color": colour},
    }


def _batch(row: pd.Series) -> str:
    return (
        f"{row['pool']} {count(row['sequences'])} sequences with {count(row['context_tokens'])} "
        f"tokens of context, and {count(row['prefill_tokens'])} prompt tokens"
    )
