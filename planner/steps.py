"""Where the time of a pool's steps goes: the mean batch of a run, taken apart by kinds of work."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from planner.catalog import Catalog, load_catalog
from planner.curves.anatomy import KINDS, StepLoad
from planner.curves.explain import explain_replica
from planner.lowering.pools import LoweredPool, basis_of, lower_pool
from planner.results import columns
from planner.results.result import Result
from planner.scenario import LoadedScenario, dtypes_of, parallelism_of
from planner.scenario.schema.pools import Pool


def step_table(
    loaded: LoadedScenario, result: Result, catalog: Catalog | None = None
) -> pd.DataFrame:
    """Return the seconds of a step of each pool's mean batch, by kind of work.

    A step of the mean batch is shorter than the mean step where prompts come in large chunks: it
    spreads them over all steps. The shares are what it is for. Pools that draft tokens are left
    out, as their steps differ by the size of the batch; `planner explain` takes those apart.

    Args:
        loaded: the scenario.
        result: of it.
        catalog: that it was simulated with; by default the shipped one.
    """
    known = catalog or load_catalog()
    basis = basis_of(loaded)
    rows: list[dict[str, Any]] = []
    for pool in loaded.scenario.pools:
        if pool.speculation is None:
            lowered = lower_pool(pool, known, basis)
            load = _mean_load(result, lowered)
            if load is not None:
                rows += _rows(pool, lowered, load, known)
    return pd.DataFrame(rows, columns=columns.names("steps"))


def _rows(
    pool: Pool, lowered: LoweredPool, load: StepLoad, catalog: Catalog
) -> list[dict[str, Any]]:
    anatomy = explain_replica(
        lowered.curve,
        [load],
        catalog.model(pool.model),
        lowered.chip,
        lowered.node,
        parallelism_of(pool),
        dtypes_of(pool),
        maximum_sequences=lowered.plan.maximum_sequences,
        engine=pool.engine.name,
        curves=lowered.basis.curves(lowered.chip),
    ).steps[0]
    return [
        {
            "pool": pool.name,
            "kind": kind,
            "step_s": float(anatomy.kinds[kind]),
            "share_rate": float(anatomy.kinds[kind]) / anatomy.total_s,
            "sequences": load.sequences,
            "context_tokens": load.context_tokens,
            "prefill_tokens": load.tokens - load.sequences,
        }
        for kind in KINDS
        if anatomy.kinds[kind] > 0.0
    ]


def _mean_load(result: Result, lowered: LoweredPool) -> StepLoad | None:
    """Return the mean batch of a replica's steps after the warm-up; None where there was none."""
    plan, frames = lowered.plan, result.frames
    windows = frames.pool_windows
    windows = windows[
        (windows["pool"] == plan.name)
        & (windows["window_start_s"] >= result.warmup_s)
        & (windows["window_start_s"] < result.duration_s)
    ]
    row = frames.pools[frames.pools["pool"] == plan.name].iloc[0]
    service_s = (windows["window_end_s"] - windows["window_start_s"]) * windows["replicas"]
    busy_s = float((windows["busy_rate"].fillna(0.0) * service_s).sum())
    if not busy_s or not row["step_s"] > 0.0:
        return None
    steps = busy_s / float(row["step_s"])
    most = min(plan.maximum_sequences, plan.token_budget)
    sequences = float(windows["decode_tokens"].sum()) / steps  # each decodes one token in a step
    decoding = min(max(1, round(sequences)), most)
    prefill = min(round(float(windows["prefill_tokens"].sum()) / steps),
                  plan.token_budget - decoding)  # fmt: skip
    blocks = float(np.average(windows["kv_usage_rate"].fillna(0.0), weights=service_s))
    context = round(blocks * plan.kv_blocks * plan.kv_block_tokens)
    prompt = _mean_prompt(frames.classes, plan.name)
    return StepLoad(
        phase="decode",
        tokens=decoding + prefill,
        sequences=decoding,
        context_tokens=context,
        work=0.5 * prefill * prompt,
        typical_tokens=max(1, round(context / decoding)),
    )


def _mean_prompt(classes: pd.DataFrame, pool: str) -> float:
    """Return the mean prompt of the classes that prefer a pool [tokens]; of all, if none does."""
    own = classes[classes["pool"] == pool]
    served = classes if own.empty else own
    requests = float(served["measured_served"].sum())
    return float(served["input_tokens"].sum()) / requests if requests else 0.0
