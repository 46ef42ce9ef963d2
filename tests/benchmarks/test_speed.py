"""Speed of the kernel: `pytest tests/benchmarks --benchmark-only`.

Nothing is asserted on time: the verdict of a test does not depend on the machine.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from pytest_benchmark.fixture import BenchmarkFixture

from planner.kernel.enums import Fate
from planner.kernel.plan import ClassPlan, Plan, PoolPlan
from tests import naive
from tests.benchmarks.conftest import Say
from tests.benchmarks.workload import (
    CHAT,
    Measured,
    Stopwatch,
    caching_pool,
    conversations,
    drafting_pool,
    pool_plan,
    request_blocks,
    simulate,
)
from tests.simpy_stepper import simulate_pool


@pytest.fixture(autouse=True)
def _compiled() -> None:
    """Compile, or load what is compiled, before anything is timed."""
    simulate(100, 2, request_blocks(100, 2))


def benchmark_kernel(
    benchmark: BenchmarkFixture,
    requests: int,
    replicas: int,
    pool: PoolPlan | None = None,
    blocks: Sequence[NDArray[np.void]] = (),
    classes: tuple[ClassPlan, ...] = (CHAT,),
) -> Measured:
    """Time the same simulation three times and return the last."""
    blocks = blocks or list(request_blocks(requests, replicas))
    arguments = (requests, replicas, blocks, pool, classes)
    measured = benchmark.pedantic(simulate, args=arguments, rounds=3)
    benchmark.extra_info["requests_per_s"] = measured.requests_per_s
    served = measured.engine.world.class_windows["ended"][:, Fate.SERVED].sum()
    assert served == requests
    return measured


def test_one_million_requests(benchmark: BenchmarkFixture, say: Say) -> None:
    measured = benchmark_kernel(benchmark, 1_000_000, 100)
    say(measured)
    say(measured.state())


def test_one_million_requests_with_drafts(benchmark: BenchmarkFixture, say: Say) -> None:
    """Speculative decoding: the number of steps of every request is drawn."""
    measured = benchmark_kernel(benchmark, 1_000_000, 100, drafting_pool())
    say(measured)
    say(measured.state())


def test_one_million_turns_with_drafts_cache_and_priority(
    benchmark: BenchmarkFixture, say: Say
) -> None:
    """Conversations of four turns in two classes, their context cached on replica and host."""
    classes = (
        replace(CHAT, priority=1, system_tokens=200),
        replace(CHAT, name="guests", system_tokens=200),
    )
    blocks = list(conversations(request_blocks(1_000_000, 100)))
    measured = benchmark_kernel(benchmark, 1_000_000, 100, caching_pool(), blocks, classes)
    say(measured)
    say(measured.state())
    windows = measured.engine.world.pool_windows if measured.engine else None
    assert windows is not None
    found = windows["cached_tokens"].sum() + windows["loaded_tokens"].sum()
    say(f"{found / (found + windows['prefill_tokens'].sum()):.0%} of the prompts' tokens cached")


def test_ten_thousand_conversations(benchmark: BenchmarkFixture, say: Say) -> None:
    """The case by which the field compares itself: 2 replicas, 2.7 million output tokens."""
    measured = benchmark_kernel(benchmark, 10_000, 2)
    say(measured)
    say(measured.state())


def test_linearity(benchmark: BenchmarkFixture, say: Say) -> None:
    """From ten thousand requests to ten million on the same cluster."""
    sizes = [10_000, 100_000, 1_000_000, 10_000_000]

    def every_size() -> list[Measured]:
        found = []
        for requests in sizes:
            found.append(simulate(requests, 100, request_blocks(requests, 100)))
            say(found[-1])
        return found

    found = benchmark.pedantic(every_size, rounds=1)
    rates = [measured.requests_per_s for measured in found]
    benchmark.extra_info["requests_per_s"] = dict(zip(sizes, rates, strict=True))
    say(f"rate at the greatest size over that at the smallest: {rates[-1] / rates[0]:.0%}")


def naive_pool(replicas: int) -> naive.Pool:
    """Return the benchmark's pool as the twin has it."""
    plan = pool_plan()
    given: dict[str, Any] = {
        name: getattr(plan, name)
        for name in naive.Pool.__dataclass_fields__
        if name not in {"linear_s", "replicas", "queue_limit", "emitted"}
        and not name.startswith("draft")
    }
    return naive.Pool(**given, linear_s=plan.linear_s.tolist(), replicas=replicas)


def test_against_twin_and_simpy(benchmark: BenchmarkFixture, say: Say) -> None:
    """The same requests, step by step in plain Python and in SimPy; all three give one answer."""
    requests, replicas = 2_000, 4
    blocks = list(request_blocks(requests, replicas))
    rows = [
        naive.Row(
            arrival_s=float(row["arrival_s"]),
            class_index=0,
            input_tokens=int(row["input_tokens"]),
            output_tokens=int(row["output_tokens"]),
            number=int(row["row"]),
        )
        for row in np.concatenate(blocks)
    ]

    def generator() -> np.random.Generator:
        """Return the routing stream that a plan has by default."""
        seed = Plan.__dataclass_fields__["seed"].default_factory()  # type: ignore[misc]
        return np.random.Generator(np.random.PCG64(seed))

    times = {"naive twin": Stopwatch(), "SimPy": Stopwatch()}
    times["naive twin"].start()
    outcome = naive.simulate(
        [naive_pool(replicas)], [naive.RequestClass(pools=[0])], rows, rng=generator()
    )
    times["naive twin"].stop()
    times["SimPy"].start()
    jobs = simulate_pool(naive_pool(replicas), rows, generator())
    times["SimPy"].stop()
    kernel = benchmark.pedantic(simulate, args=(requests, replicas, blocks), rounds=3)

    spent_s = sum(request.finish_s - request.arrival_s for request in outcome.requests)
    assert sum(job.finish_s - job.arrival_s for job in jobs) == pytest.approx(spent_s, rel=1e-9)
    books = kernel.engine.world.pool_windows
    assert books["waiting_s"].sum() + books["running_s"].sum() == pytest.approx(spent_s, rel=1e-9)
    say(kernel)
    for who, time in times.items():
        other = Measured(who, requests, time)
        ratio = kernel.requests_per_s / other.requests_per_s
        benchmark.extra_info[f"times faster than {who}"] = ratio
        say(f"{other}, the kernel is {ratio:,.0f} times faster")
