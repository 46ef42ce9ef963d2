"""Simulates a measured point as it was run, and takes the same measures as the benchmark did.

What a benchmark client sees differs from what the engine does in three ways. A request spends time
outside the engine, and its first token is sent late: `request_s` and `late_steps` of the pool.
Clients that start together are sent one after the other, `SENDING_S` each, by a benchmark that is a
program of its own: a burst reaches the engine as a quick stream, and what was in lockstep drifts
apart. And a server that streams every k tokens shows the first one when k have been emitted.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from planner.curves.engines import EngineOverhead
from planner.engine import Engine
from planner.kernel.dtypes import ARRIVAL, NONE
from planner.kernel.enums import Fate
from planner.kernel.plan import ClassPlan, ClosedStream, Plan, PoolPlan
from planner.measurements import (
    ClosedLoop,
    Empirical,
    Fixed,
    Flood,
    Lengths,
    Point,
    Poisson,
    Replay,
    StaticBatch,
)
from planner.validation.deployment import Deployment

Array = NDArray[np.float64]
Rows = NDArray[np.void]

SENDING_S = 2e-3
"""Mean time that a benchmark takes to send one request, exponentially distributed: what a Python
client needs to build it and open its stream."""
MOST_REQUESTS = 20_000
"""More requests of one point are not simulated: the error of the means is below 1% by then."""
PERCENTILES = (50, 90, 95, 99)


@dataclass(frozen=True)
class Replayed:
    """What a replay measured, by the metric names of `Point`; times in s, rates per s."""

    metrics: Mapping[str, float]
    served: int
    sent: int
    preemptions: int

    @property
    def complete(self) -> bool:
        """Whether every request was served."""
        return self.served == self.sent


def replay(deployment: Deployment, host: EngineOverhead, seed: int = 0) -> Replayed:
    """Simulate a point and measure it as its benchmark did.

    Args:
        deployment: of the point.
        host: overhead of the engine.
        seed: of lengths, arrivals and the front end.
    """
    point = deployment.point
    rng = np.random.default_rng(seed)
    pool = deployment.pool(host)
    rows, sending_s = _requests(point, rng)
    clients = min(point.clients, len(rows))
    finished: list[Rows] = []
    engine = Engine(
        Plan(
            pools=(pool,),
            classes=(ClassPlan("requests", (0,)),),
            blocks=iter(()) if clients else iter([rows]),
            closed=(ClosedStream(clients, iter([rows])),) if clients else (),
            window_s=1e12,
            seed=np.random.SeedSequence(seed),
            keep_finished=True,
        ),
        finished.append,
    )
    engine.activate(engine.add_replicas(0, 1, 0))
    engine.run()
    ended = np.concatenate(finished)
    ended = ended[np.argsort(ended["row"])]
    return _measured(deployment, pool, ended, sending_s[ended["row"]])


def _requests(point: Point, rng: np.random.Generator) -> tuple[Rows, Array]:
    """Return the requests of one replica, and how long the benchmark takes to send each."""
    count = _count(point)
    prompts, outputs = _drawn(point, count, rng)
    rows = np.zeros(count, ARRIVAL)
    rows["session"] = rows["visitor"] = rows["next_turn"] = NONE
    rows["row"] = np.arange(count)
    rows["input_tokens"], rows["output_tokens"] = prompts, outputs
    sending_s = rng.exponential(SENDING_S, count)
    rows["think_s"] = rng.permutation(sending_s)
    protocol = point.protocol
    if isinstance(protocol, ClosedLoop):
        clients = min(point.clients, count)
        starts_s = np.cumsum(sending_s[:clients])
        sending_s[:clients] = starts_s
        rows["arrival_s"] = math.nan
        rows["arrival_s"][:clients] = starts_s
        return rows, sending_s
    if isinstance(protocol, Poisson):
        gaps_s = rng.gamma(protocol.burstiness, 1.0 / protocol.burstiness, count)
        rows["arrival_s"] = np.cumsum(gaps_s) * (point.replicas / protocol.rate_rps)
    elif isinstance(protocol, Replay):
        rows["arrival_s"] = protocol.arrivals_s
    else:
        rows["arrival_s"] = 0.0
        return rows, np.zeros(count)  # offline: nothing is sent
    return rows, sending_s


def _count(point: Point) -> int:
    protocol = point.protocol
    match protocol:
        case ClosedLoop() | Flood():
            requests = protocol.requests
        case Poisson():
            lasts_s = protocol.duration_s or 0.0
            requests = protocol.requests or math.ceil(lasts_s * protocol.rate_rps)
        case StaticBatch():
            requests = protocol.batch
        case Replay():
            return len(protocol.arrivals_s)
    return max(1, min(-(-requests // point.replicas), MOST_REQUESTS))


def _drawn(
    point: Point, count: int, rng: np.random.Generator
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return prompt and output tokens of each request."""
    if point.paired:
        assert isinstance(point.prompt, Empirical)
        assert isinstance(point.output, Empirical)
        chosen = np.arange(count) % len(point.prompt.values)
        if not isinstance(point.protocol, Replay):
            chosen = rng.permutation(chosen)
        return (
            np.array(point.prompt.values, dtype=np.int64)[chosen],
            np.array(point.output.values, dtype=np.int64)[chosen],
        )
    return _lengths(point.prompt, count, rng), _lengths(point.output, count, rng)


def _lengths(lengths: Lengths, count: int, rng: np.random.Generator) -> NDArray[np.int64]:
    if isinstance(lengths, Fixed):
        return np.full(count, lengths.tokens, dtype=np.int64)
    if isinstance(lengths, Empirical):
        return rng.choice(np.array(lengths.values, dtype=np.int64), count)
    return rng.integers(lengths.low, lengths.high + 1, count)


def _measured(deployment: Deployment, pool: PoolPlan, ended: Rows, sending_s: Array) -> Replayed:
    point = deployment.point
    served = ended["fate"] == int(Fate.SERVED)
    rows = ended[served]
    tokens = rows["output_tokens"].astype(np.float64)
    gaps = tokens - 1.0
    decoding_s = rows["finish_s"] - rows["first_token_s"]
    gap_s = decoding_s / np.maximum(gaps, 1.0)
    outside_s = sending_s[served] + pool.request_s
    # the server shows the first token with the k-th
    shown = pool.late_steps + deployment.stream_interval - 1.0
    late_s = np.minimum(shown, gaps) * gap_s
    ttft_s = rows["first_token_s"] - rows["arrival_s"] + outside_s + late_s
    e2e_s = rows["finish_s"] - rows["arrival_s"] + outside_s
    several = tokens >= 2
    tpot_s = (e2e_s - ttft_s)[several] / gaps[several]
    metrics: dict[str, float] = {}
    for name, values in (("ttft", ttft_s), ("tpot", tpot_s), ("e2e", e2e_s)):
        if len(values):
            metrics[f"{name}_mean_s"] = float(values.mean())
            for percent in PERCENTILES:
                metrics[f"{name}_p{percent}_s"] = float(np.percentile(values, percent))
    if several.any():
        metrics["itl_mean_s"] = float(decoding_s[several].sum() / (tokens[several] - 1).sum())
    span_s = float(ended["finish_s"].max() - min(float(ended["arrival_s"].min()), 0.0))
    if span_s > 0:
        copies = point.replicas
        metrics["output_tps"] = copies * float(tokens.sum()) / span_s
        metrics["total_tps"] = copies * float((tokens + rows["input_tokens"]).sum()) / span_s
        metrics["request_rps"] = copies * len(rows) / span_s
    return Replayed(metrics, int(served.sum()), len(ended), int(ended["preemptions"].sum()))
