"""Clusters so small and regular that their instants can be worked out by hand.

A step takes one second whatever is in it, so a request of n output tokens that starts at once runs
for n seconds: one step for its prompt and first token, one for each further token.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import simpy
from numpy.typing import NDArray

from planner.control import Fleet, PoolView
from planner.engine import Engine
from planner.invariants import check_invariants
from planner.kernel import dtypes
from planner.kernel.enums import Fate, Router
from planner.kernel.plan import ClassPlan, ClosedStream, Plan, PoolPlan

Process = Callable[[simpy.Environment, Fleet], Generator[simpy.Event]]
Arrival = tuple[float, int, int]
"""Arrival [s], input tokens, output tokens; a NaN arrival makes a later turn."""

POOL = PoolPlan(
    name="pool",
    fixed_s=1.0,
    linear_s=np.zeros(257),
    decode_s=0.0,
    decode_seq_s=0.0,
    prefill_s=0.0,
    token_budget=256,
    maximum_sequences=2,
    kv_blocks=1000,
    router=Router.LEAST_LOADED,
)


def arrivals(*requests: Arrival, klass: int = 0, think_s: float = 0.0) -> NDArray[np.void]:
    """Return one block of `ARRIVAL` rows."""
    block = np.zeros(len(requests), dtypes.ARRIVAL)
    for number, (arrival_s, input_tokens, output_tokens) in enumerate(requests):
        row = block[number]
        row["arrival_s"] = arrival_s
        row["input_tokens"] = input_tokens
        row["output_tokens"] = output_tokens
        row["row"] = number
    block["class"] = klass
    block["think_s"] = think_s
    block["session"] = -1
    block["visitor"] = -1
    return block


def plan(
    *requests: Arrival,
    pool: PoolPlan = POOL,
    closed: tuple[ClosedStream, ...] = (),
    duration_s: float = 100.0,
    **changes: Any,
) -> Plan:
    """Return a plan with one pool and one class."""
    made = Plan(
        pools=(pool,),
        classes=(ClassPlan("class", (0,)),),
        blocks=iter([arrivals(*requests)]),
        closed=closed,
        duration_s=duration_s,
        window_s=10.0,
        keep_finished=True,
    )
    return replace(made, **changes)


@dataclass
class Outcome:
    """A finished simulation."""

    engine: Engine
    fleet: Fleet
    finished: NDArray[np.void]
    """`FINISHED` rows in order of the trace."""

    @property
    def pool(self) -> PoolView:
        return next(iter(self.fleet))

    def fates(self) -> list[Fate]:
        return [Fate(int(row["fate"])) for row in self.finished]

    def finishes_s(self) -> list[float]:
        return [float(s) for s in self.finished["finish_s"]]

    def spans(self) -> list[tuple[float, float, int]]:
        """When nodes were held: start, end [s] and how many, by unit."""
        starts_s, ends_s, nodes = self.pool.held_nodes(self.engine.now_s)
        return list(zip(starts_s.tolist(), ends_s.tolist(), nodes.tolist(), strict=True))

    def active_s(self) -> list[float]:
        """Replica-seconds in service by window."""
        return [float(s) for s in self.engine.world.pool_windows["active_s"]]


def simulate(plan: Plan, *processes: Process, cold_start_s: float = 0.0) -> Outcome:
    """Run a plan with control processes; the invariants must hold afterwards."""
    blocks: list[NDArray[np.void]] = [np.zeros(0, dtypes.FINISHED)]
    engine = Engine(plan, blocks.append)
    fleet = Fleet(engine, {pool.name: cold_start_s for pool in plan.pools})
    for process in processes:
        engine.env.process(process(engine.env, fleet))
    engine.run()
    finished = np.concatenate(blocks)
    violations = check_invariants(engine.world, finished)
    assert not violations, "\n".join(violations)
    return Outcome(engine, fleet, finished[np.argsort(finished["row"], kind="stable")])


def at(time_s: float, act: Callable[[PoolView], object]) -> Process:
    """Return a process that does one thing to the only pool."""

    def process(env: simpy.Environment, fleet: Fleet) -> Generator[simpy.Event]:
        yield env.timeout(time_s)
        act(next(iter(fleet)))

    return process


def look(times_s: list[float], see: Callable[[PoolView], object], into: list[object]) -> Process:
    """Return a process that notes what it sees of the only pool at given instants."""

    def process(env: simpy.Environment, fleet: Fleet) -> Generator[simpy.Event]:
        for time_s in times_s:
            yield env.timeout(time_s - env.now)
            assert env.now == time_s
            into.append(see(next(iter(fleet))))

    return process


def endless(output_tokens: int, think_s: float = 0.0) -> Iterator[NDArray[np.void]]:
    """Yield closed-loop rows without end."""
    while True:
        yield arrivals(*[(math.nan, 1, output_tokens)] * 1000, think_s=think_s)
