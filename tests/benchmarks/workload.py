"""The workload of the benchmarks: chat-like requests on replicas like an 8B model on one H100."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from time import perf_counter, process_time

import numpy as np
from numpy.typing import NDArray

from planner.engine import Engine
from planner.kernel.dtypes import ARRIVAL, NONE
from planner.kernel.enums import Router, Scheduler
from planner.kernel.plan import ClassPlan, DraftPlan, Plan, PoolPlan, TierPlan

TOKEN_BUDGET = 2048
RATE_PER_REPLICA_RPS = 16.0
"""About three quarters of what a replica can serve: the batches are large, the queues short."""
BLOCK_ROWS = 1 << 16
CHAT = ClassPlan("chat", pools=(0,), ttft_limit_s=1.0, tpot_limit_s=0.05)


def pool_plan() -> PoolPlan:
    """Return a pool with power of two choices.

    Per step 1.5 ms of host time; 16 GB of weights at 80% of 3.35 TB/s or 16 GFLOP per token at 70%
    of 989 TFLOP/s, whichever is longer; 131 kB of KV per context token at 70% of the bandwidth;
    427,000 tokens of KV memory.
    """
    tokens = np.arange(TOKEN_BUDGET + 1)
    weights_s, token_s = 16e9 / (0.8 * 3.35e12), 16e9 / (0.7 * 989e12)
    return PoolPlan(
        name="chat",
        fixed_s=1.5e-3,
        linear_s=np.maximum(weights_s, token_s * tokens),
        compute_s=16e9 / 989e12 * tokens,
        memory_s=np.full(len(tokens), 16e9 / 3.35e12),
        decode_s=131e3 / (0.7 * 3.35e12),
        decode_memory_s=131e3 / 3.35e12,
        decode_seq_s=1e-6,
        prefill_s=1.5e-9,
        prefill_compute_s=1e-9,
        token_budget=TOKEN_BUDGET,
        maximum_sequences=512,
        kv_blocks=26_700,
        kv_block_tokens=16,
        context_tokens=131_072,
        router=Router.POWER_OF_TWO,
    )


def drafting_pool(classes: int = 1) -> PoolPlan:
    """Return the same pool with an EAGLE-like head that drafts 3 tokens, 1 ms a step."""
    seconds = np.full(pool_plan().maximum_sequences + 1, 1e-3)
    draft = DraftPlan(tokens=3, emitted=((0.3, 0.25, 0.2, 0.25),) * classes, seconds=seconds)
    return replace(pool_plan(), draft=draft)


def caching_pool() -> PoolPlan:
    """Return the drafting pool with a prefix cache, a tier of host memory, and strict priority."""
    host = TierPlan("host", blocks=100_000, block_s=16 * 131e3 / 50e9, latency_s=1e-4)
    return replace(
        drafting_pool(classes=2),
        prefix_cache=True,
        tiers=(host,),
        router=Router.SESSION_AFFINITY,
        scheduler=Scheduler.PRIORITY,
    )


def conversations(blocks: Iterable[NDArray[np.void]], turns: int = 4) -> Iterator[NDArray[np.void]]:
    """Yield the same requests in two classes, each conversation of so many turns as one session.

    A turn repeats what was said before it, and comes 10 s after the turn before was served. The
    prompts are as long as before in the mean.
    """
    session = 0
    for block in blocks:
        rows = block.copy()
        number = np.arange(len(rows)) % turns
        rows["session"] = session + np.arange(len(rows)) // turns
        session += len(rows)
        rows["class"] = rows["session"] % 2
        rows["turn"] = number
        rows["arrival_s"][number > 0] = math.nan
        rows["think_s"] = 10.0
        rows["input_tokens"] //= 4  # a turn adds less than a prompt that stands alone
        said = rows["input_tokens"] + rows["output_tokens"]
        for turn in range(1, turns):
            later = np.flatnonzero(number == turn)
            rows["input_tokens"][later] += said[later - 1]
            said[later] += said[later - 1]
        yield rows


def lengths(rng: np.random.Generator, count: int, mean: float, most: int) -> NDArray[np.int64]:
    """Draw lognormal lengths with σ = 1, at least 1 and at most `most`."""
    drawn = rng.lognormal(math.log(mean) - 0.5, 1.0, count)
    return np.clip(drawn, 1, most).astype(np.int64)


def request_blocks(requests: int, replicas: int, seed: int = 1) -> Iterator[NDArray[np.void]]:
    """Yield blocks of Poisson arrivals, prompts of about 1,000 and outputs of about 275 tokens."""
    rng = np.random.default_rng(seed)
    gap_s = 1.0 / (RATE_PER_REPLICA_RPS * replicas)
    last_s = 0.0
    for first in range(0, requests, BLOCK_ROWS):
        rows = np.zeros(min(BLOCK_ROWS, requests - first), ARRIVAL)
        rows["arrival_s"] = last_s + np.cumsum(rng.exponential(gap_s, len(rows)))
        last_s = float(rows["arrival_s"][-1])
        rows["input_tokens"] = lengths(rng, len(rows), 1000.0, 16_000)
        rows["output_tokens"] = lengths(rng, len(rows), 275.0, 8_000)
        rows["row"] = np.arange(first, first + len(rows))
        rows["session"] = rows["visitor"] = NONE
        yield rows


@dataclass
class Stopwatch:
    """Time of the wall and of this process; the latter is less disturbed by other processes."""

    wall_s: float = 0.0
    cpu_s: float = 0.0

    def start(self) -> None:
        self.wall_s -= perf_counter()
        self.cpu_s -= process_time()

    def stop(self) -> None:
        self.wall_s += perf_counter()
        self.cpu_s += process_time()

    def pausing(self, blocks: Iterable[NDArray[np.void]]) -> Iterator[NDArray[np.void]]:
        """Hand blocks on, and do not count the time that making them takes."""
        source = iter(blocks)
        while True:
            self.stop()
            block = next(source, None)
            self.start()
            if block is None:
                return
            yield block


@dataclass(frozen=True)
class Measured:
    """One timed simulation."""

    who: str
    requests: int
    time: Stopwatch
    engine: Engine | None = None

    @property
    def requests_per_s(self) -> float:
        """Of CPU time."""
        return self.requests / self.time.cpu_s

    def __str__(self) -> str:
        return (
            f"{self.who:<14} {self.requests:>11,} requests in {self.time.wall_s:8.3f} s "
            f"({self.time.cpu_s:8.3f} s of CPU): {self.requests_per_s:>11,.0f} requests/s"
        )

    def state(self) -> str:
        """Describe how loaded the simulated cluster was."""
        assert self.engine is not None
        pools, events = self.engine.world.pool_windows, self.engine.world.state["events"][0]
        busy_s, running_s = float(pools["busy_s"].sum()), float(pools["running_s"].sum())
        busy_rate, step_s = busy_s / pools["active_s"].sum(), busy_s / pools["steps"].sum()
        return (
            f"{len(self.engine.world.replicas)} replicas, busy {busy_rate:.0%} of the time, "
            f"{running_s / busy_s:.0f} sequences in a step of {step_s * 1e3:.1f} ms, a wait of "
            f"{pools['waiting_s'].sum() / self.requests * 1e3:.0f} ms, "
            f"{pools['steps'].sum() / self.requests:.1f} steps and {events / self.requests:.1f} "
            "kernel events a request"
        )


def simulate(
    requests: int,
    replicas: int,
    blocks: Iterable[NDArray[np.void]],
    pool: PoolPlan | None = None,
    classes: tuple[ClassPlan, ...] = (CHAT,),
) -> Measured:
    """Simulate a pool from empty to empty; making the requests is not timed."""
    time = Stopwatch()
    engine = Engine(Plan((pool or pool_plan(),), classes, time.pausing(blocks), window_s=60.0))
    engine.activate(engine.add_replicas(0, replicas, node=0))
    time.start()
    engine.run_to(math.inf)
    engine.finish()
    time.stop()
    return Measured("kernel", requests, time, engine)
