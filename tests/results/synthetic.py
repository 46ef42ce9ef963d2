"""A plausible run, made by hand: the arrays that a kernel would leave, and the result they give."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from planner.economics.cost import Policy
from planner.economics.plans import ApiPlan, FreePlan, Plan, SubscriptionPlan
from planner.economics.rates import MachineRate
from planner.economics.statement import Statement, settle
from planner.economics.usage import ClassUsage, PoolUsage, Tokens, TokenWeights
from planner.kernel.dtypes import CLASS_WINDOW, HISTOGRAM_BINS, POOL_WINDOW, histogram_upper_edges
from planner.kernel.enums import Fate, Metric
from planner.results import (
    Assumption,
    ClassMeta,
    Finance,
    Frames,
    ObjectiveMeta,
    PoolMeta,
    Result,
    build_frames,
)
from planner.results.metrics import histogram_values_s

WINDOW_S, DURATION_S, WARMUP_S, END_S = 60.0, 3600.0, 300.0, 3642.5
WINDOWS = 61

CLASSES = (
    ClassMeta(
        "anonymous-chat",
        "chat",
        priority=2,
        objectives=(ObjectiveMeta("ttft", 99.0, 3.0), ObjectiveMeta("tpot", 99.0, 0.08)),
        plan="guests",
    ),
    ClassMeta(
        "logged-in-chat",
        "chat",
        overflow=("reasoning",),
        priority=1,
        objectives=(ObjectiveMeta("ttft", 99.0, 1.5), ObjectiveMeta("tpot", 99.0, 0.06)),
        plan="plus",
    ),
    ClassMeta(
        "logged-in-reasoning",
        "reasoning",
        objectives=(ObjectiveMeta("ttft", 95.0, 2.0), ObjectiveMeta("e2e", 95.0, 120.0)),
        plan="api",
    ),
)
POOLS = (
    PoolMeta("chat", "llama-3.1-70b", "h100", "hgx-h100", 8, 4, 21_000, 16, 256, "TP 4", "fp8"),
    PoolMeta("reasoning", "deepseek-r1", "h200", "hgx-h200", 8, 8, 52_000, 16, 256, "TP 8", "fp8"),
)
RATES = np.array([42.0, 24.0, 5.5])
OUTPUTS = np.array([240, 310, 2_900])
LATENCIES = {  # median and sigma by class: seconds
    Metric.TTFT: ((0.22, 0.75), (0.19, 0.62), (0.41, 0.55)),
    Metric.TPOT: ((0.029, 0.22), (0.028, 0.20), (0.021, 0.16)),
    Metric.ITL: ((0.026, 0.42), (0.026, 0.42), (0.019, 0.35)),
    Metric.E2E: ((7.1, 0.70), (8.9, 0.66), (58.0, 0.42)),
    Metric.QUEUE: ((0.008, 1.10), (0.007, 1.05), (0.012, 0.90)),
}
REASONING_S = np.array([0.0, 0.0, 48.0])
"""From the first token to the answer's."""


def to_histogram(values_s: NDArray[np.float64]) -> NDArray[np.int64]:
    """Count values as the kernel does: bin 0 up to 1 µs, then `(edge[i-1], edge[i]]`."""
    bins = np.searchsorted(histogram_upper_edges(), values_s, side="left")
    return np.bincount(np.minimum(bins, HISTOGRAM_BINS - 1), minlength=HISTOGRAM_BINS)


@dataclass
class Run:
    """Keyword arguments of `build_frames`, open to change."""

    histograms: NDArray[np.float64]
    class_windows: NDArray[np.void]
    pool_windows: NDArray[np.void]
    nodes: NDArray[np.int64]
    classes: tuple[ClassMeta, ...] = CLASSES
    pools: tuple[PoolMeta, ...] = POOLS
    times: dict[str, float] = field(
        default_factory=lambda: {
            "window_s": WINDOW_S, "duration_s": DURATION_S, "warmup_s": WARMUP_S, "end_s": END_S
        }
    )  # fmt: skip

    def frames(self) -> Frames:
        return build_frames(
            histograms=self.histograms,
            class_windows=self.class_windows,
            pool_windows=self.pool_windows,
            nodes=self.nodes,
            classes=self.classes,
            pools=self.pools,
            **self.times,
        )


def make_run(*, overload: float = 0.0, seed: int = 7) -> Run:
    """Return a healthy peak hour; with `overload` the chat queue grows by that many per second."""
    rng = np.random.default_rng(seed)
    shape = 0.82 + 0.25 * np.sin(np.linspace(0.25, 2.6, WINDOWS - 1))
    table = _class_windows(rng, shape, overload)
    histograms = np.zeros((len(CLASSES), len(Metric), HISTOGRAM_BINS))
    for number in range(len(CLASSES)):
        served = int(table["measured_ended"][:, number, Fate.SERVED].sum())
        for metric, parameters in LATENCIES.items():
            median, sigma = parameters[number]
            values = median * np.exp(sigma * rng.standard_normal(served))
            if overload and metric in (Metric.TTFT, Metric.E2E, Metric.QUEUE) and number < 2:
                values += rng.uniform(0.0, overload * 3.0, served)
            histograms[number, metric] = to_histogram(values)
        later = np.searchsorted(histogram_upper_edges(), histogram_values_s() + REASONING_S[number])
        np.add.at(histograms[number, Metric.TTFAT], later, histograms[number, Metric.TTFT])
    nodes = np.array([[22, 12]] * WINDOWS)
    nodes[20:] += [2, 1]
    return Run(histograms, table, _pool_windows(rng, shape, nodes, overload), nodes)


def _class_windows(
    rng: np.random.Generator, shape: NDArray[np.float64], overload: float
) -> NDArray[np.void]:
    table = np.zeros((WINDOWS, len(CLASSES)), dtype=CLASS_WINDOW)
    arrived = rng.poisson(RATES * shape[:, None] * WINDOW_S)
    limited = rng.binomial(arrived, [0.021, 0.0, 0.0])
    lost = rng.binomial(arrived, [0.09 if overload else 0.0004, 0.0, 0.0])
    served = arrived - limited - lost
    good = served - rng.binomial(served, [0.4 if overload else 0.004, 0.006, 0.012])
    table["arrived"][:-1] = arrived
    for fate, counts in (
        (Fate.SERVED, served),
        (Fate.RATE_LIMITED, limited),
        (Fate.TIMED_OUT, lost),
    ):
        table["ended"][:-1, :, fate] = counts
        table["measured_ended"][5:-1, :, fate] = counts[5:]
    late = np.minimum(table["ended"][-2, :, Fate.SERVED], [30, 20, 90])  # served during the drain
    table["ended"][-2, :, Fate.SERVED] -= late
    table["ended"][-1, :, Fate.SERVED] += late
    table["good"][:-1] = good
    table["measured"][5:-1] = arrived[5:]
    table["measured_good"][5:-1] = good[5:]
    ended = table["ended"][:, :, Fate.SERVED]
    table["input_tokens"] = ended * np.array([620, 1_150, 2_400])
    table["output_tokens"] = ended * OUTPUTS
    table["reasoning_tokens"] = ended * np.array([0, 0, 2_300])
    table["preemptions"][::9, 2] = 2
    return table


def _pool_windows(
    rng: np.random.Generator,
    shape: NDArray[np.float64],
    nodes: NDArray[np.int64],
    overload: float,
) -> NDArray[np.void]:
    table = np.zeros((WINDOWS, len(POOLS)), dtype=POOL_WINDOW)
    load = np.append(shape, 0.2)[:, None] * (1 + 0.03 * rng.standard_normal((WINDOWS, 2)))
    width_s = np.append(np.full(WINDOWS - 1, WINDOW_S), END_S - DURATION_S)[:, None]
    replicas = nodes * np.array([2, 1])
    active = table["active_s"] = replicas * width_s
    table["busy_s"] = active * np.clip(load * [0.86, 0.92], 0, 1)
    table["compute_s"] = active * load * [0.41, 0.22]
    table["memory_s"] = active * load * [0.36, 0.58]
    table["kv_block_s"] = active * np.clip(load * [0.52, 0.71], 0, 1) * [21_000.0, 52_000.0]
    table["running_s"] = load * np.array([610.0, 330.0]) * width_s
    table["waiting_s"] = rng.exponential([2.2, 3.5], (WINDOWS, 2)) * width_s
    if overload:
        growth = overload * (np.arange(WINDOWS) + 0.5) * WINDOW_S
        table["waiting_s"][:, 0] += growth * width_s[:, 0]
        table["busy_s"][:, 0] = active[:, 0]
    table["steps"] = table["busy_s"] / [0.031, 0.024]
    table["routed"][:-1] = (load[:-1] * [RATES[0] + RATES[1], RATES[2]] * WINDOW_S).astype(int)
    table["overflowed"][30:40, 1] = 11
    table["prefill_tokens"] = table["routed"] * np.array([812, 2_400])
    table["decode_tokens"] = table["routed"] * np.array([265, 2_900])
    table["preemptions"][::9, 1] = 2
    return table


def make_statement(run: Run) -> Statement:
    """Return the money of a run."""
    pools, classes = make_usage(run)
    return settle(pools, classes, Policy(partner_revenue_share_rate=0.08))


def make_usage(run: Run) -> tuple[list[PoolUsage], list[ClassUsage]]:
    """Return what a run used, by pool and by class."""
    hours = END_S / 3600
    rates = {
        "chat": MachineRate(
            "h100-neocloud-1y", "h100", "committed_1y", 2.35, "2026-03", "price index", "analyst"
        ),
        "reasoning": MachineRate(
            "h200-on-demand", "h200", "on_demand", 3.59, "2026-10", "provider list", "official"
        ),
    }  # fmt: skip
    pools = [
        PoolUsage(
            pool.name, pool.node, pool.chip, pool.devices_per_node, hours,
            peak_nodes=float(run.nodes[:, number].max()),
            node_hours=float(run.nodes[:, number].sum()) / len(run.nodes) * hours,
            busy_device_hours=float(run.pool_windows["busy_s"][:, number].sum())
            * pool.devices_per_replica / 3600,
            node_power_w=10_200.0,
            rate=rates[pool.name],
        )
        for number, pool in enumerate(run.pools)
    ]  # fmt: skip
    plans: tuple[Plan, ...] = (
        FreePlan("guests"),
        SubscriptionPlan("plus", 20.0, 320.0, "2026-05", "published tier"),
        ApiPlan("api", 0.55, 2.19, date="2025-02", source="published list"),
    )
    classes = []
    for number, (meta, plan) in enumerate(zip(run.classes, plans, strict=True)):
        rows = run.class_windows[:, number]
        tokens = {
            f"{kind}_tokens": int(rows[f"{kind}_tokens"].sum())
            for kind in ("input", "output", "reasoning")
        }
        counted = Tokens(input=tokens["input_tokens"], output=tokens["output_tokens"])
        weight = sum(TokenWeights().of(counted))
        classes.append(
            ClassUsage(
                meta.name, plan, int(rows["ended"][:, Fate.SERVED].sum()), **tokens,
                pool_weights={meta.pool: weight},
            )
        )  # fmt: skip
    return pools, classes


ASSUMPTIONS = (
    Assumption("h100 memory bandwidth", 3.35, "TB/s", "vendor data sheet", "2023-03", "official"),
    Assumption("h200 memory bandwidth", 4.8, "TB/s", "vendor data sheet", "2023-11", "official"),
    Assumption("h100-neocloud-1y", 2.35, "USD/h", "SemiAnalysis index", "2026-03", "analyst"),
    Assumption("h200-on-demand", 3.59, "USD/h", "provider list price", "2026-10", "official"),
    Assumption(
        "step time of chat", "roofline", "", "operator inventory, default efficiencies", "2026-11",
        "estimated", "matrix arithmetic at 70% of peak, memory at 80%",
    ),
    Assumption(
        "step time of reasoning", "roofline", "", "operator inventory, default efficiencies",
        "2026-11", "estimated", "MLA keeps its KV on each tensor-parallel rank",
    ),
    Assumption("requests per seat and month", 320.0, "", "scenario", "", "scenario"),
)  # fmt: skip


def make_result(*, overload: float = 0.0, money: bool = True, **changes: Any) -> Result:
    """Return the result of `make_run`."""
    run = make_run(overload=overload)
    result = Result(
        name="quickstart",
        description="A peak hour of mixed traffic over two pools.",
        scenario_sha256="9f2c1e" + "0" * 58,
        seed=42,
        version="0.1.0",
        **run.times,
        start="19:00",
        weekday="tue",
        frames=run.frames(),
        finance=Finance.of(make_statement(run)) if money else None,
        assumptions=ASSUMPTIONS,
        notes=("Step times are estimated; run planner validate to see their error.",),
        counters={"abandoned_turns": 12, "events": 1_204_331, "unsent": 0},
    )
    return replace(result, **changes)
