"""A pool of replicas as one would write it in SimPy: a process per replica, a timeout per step.

The baseline of the benchmarks. It covers the plain case only: one class, FCFS, chunked prefill,
power of two choices, no limits and enough KV memory. Steps and routing follow
`planner/kernel/README.md`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Generator, Sequence
from dataclasses import dataclass, field
from math import nan
from typing import Any

import simpy

from tests.naive import Pool, Random, Row


@dataclass(eq=False)
class Job:
    """A request, and in the end its times."""

    arrival_s: float
    prompt_tokens: int
    output_tokens: int
    started_s: float = nan
    first_token_s: float = nan
    finish_s: float = nan
    prefilled_tokens: int = 0
    chunk_tokens: int = 0
    emitted_tokens: int = 0


@dataclass(eq=False)
class Server:
    env: simpy.Environment
    pool: Pool
    waiting: deque[Job] = field(default_factory=deque)
    prefilling: list[Job] = field(default_factory=list)
    decoding: list[Job] = field(default_factory=list)
    wake: simpy.Event | None = None

    @property
    def load(self) -> int:
        return len(self.waiting) + len(self.prefilling) + len(self.decoding)

    def accept(self, job: Job) -> None:
        self.waiting.append(job)
        if self.wake is not None:
            self.wake.succeed()
            self.wake = None

    def serve(self) -> Generator[simpy.Event, Any, None]:
        while True:
            self.plan()
            if self.prefilling or self.decoding:
                yield self.env.timeout(self.step_length_s())
                self.complete()
            else:
                self.wake = self.env.event()
                yield self.wake

    def plan(self) -> None:
        """Fill the budget of the next step: decoding, then the half-done prompt, then the queue."""
        budget = self.pool.token_budget - len(self.decoding)
        for job in self.prefilling:
            job.chunk_tokens = min(job.prompt_tokens - job.prefilled_tokens, budget)
            budget -= job.chunk_tokens
        running = len(self.prefilling) + len(self.decoding)
        while budget > 0 and running < self.pool.maximum_sequences and self.waiting:
            job = self.waiting.popleft()
            job.started_s = self.env.now
            job.chunk_tokens = min(job.prompt_tokens, budget)
            budget -= job.chunk_tokens
            running += 1
            self.prefilling.append(job)

    def step_length_s(self) -> float:
        pool = self.pool
        sequences = len(self.decoding)
        context = sum(job.prompt_tokens + job.emitted_tokens for job in self.decoding)
        chunks = sum(job.chunk_tokens for job in self.prefilling)
        work = sum(
            job.chunk_tokens * (job.prefilled_tokens + job.chunk_tokens / 2)
            for job in self.prefilling
        )
        return (
            pool.fixed_s
            + pool.linear_s[sequences + chunks]
            + pool.decode_s * context
            + pool.decode_seq_s * sequences
            + pool.prefill_s * work
        )

    def complete(self) -> None:
        now_s = self.env.now
        still_prefilling = []
        for job in self.decoding:
            job.emitted_tokens += 1
        for job in self.prefilling:
            job.prefilled_tokens += job.chunk_tokens
            if job.prefilled_tokens < job.prompt_tokens:
                still_prefilling.append(job)
            else:
                job.first_token_s = now_s
                job.emitted_tokens = 1
                self.decoding.append(job)
        self.prefilling = still_prefilling
        for job in self.decoding:
            if job.emitted_tokens >= job.output_tokens:
                job.finish_s = now_s
        self.decoding = [job for job in self.decoding if job.emitted_tokens < job.output_tokens]


def simulate_pool(pool: Pool, rows: Sequence[Row], rng: Random) -> list[Job]:
    """Serve all rows, in order of arrival, and return their times."""
    env = simpy.Environment()
    servers = [Server(env, pool) for _ in range(pool.replicas)]
    jobs = [Job(row.arrival_s or 0.0, max(1, row.input_tokens), row.output_tokens) for row in rows]
    for server in servers:
        env.process(server.serve())
    env.process(_arrivals(env, servers, jobs, rng))
    env.run()
    return jobs


def _arrivals(
    env: simpy.Environment, servers: list[Server], jobs: list[Job], rng: Random
) -> Generator[simpy.Event, Any, None]:
    for job in jobs:
        if job.arrival_s > env.now:
            yield env.timeout(job.arrival_s - env.now)
        first = servers[int(rng.random() * len(servers))]
        second = servers[int(rng.random() * len(servers))]
        (second if second.load < first.load else first).accept(job)
