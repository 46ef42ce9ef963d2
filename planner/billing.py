"""From what a simulation used and served to its books: machine time by pool, work by class."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from planner.control.fleet import Fleet, held_over
from planner.economics import ClassUsage, PoolRole, PoolTime, Tokens
from planner.engine import Engine
from planner.kernel.enums import Fate
from planner.lowering.pools import LoweredPool
from planner.pricing import Books, ClassBook, PoolBook, mix_of
from planner.scenario.schema import Scenario
from planner.scenario.schema.pools import Pool


class LongContextMeter:
    """Counts the tokens of requests with long prompts, which some plans price differently."""

    def __init__(self, above_tokens: list[int | None], end_s: float) -> None:
        self._above, self._end_s = above_tokens, end_s
        self._totals = np.zeros((len(above_tokens), 3), np.int64)

    def take(self, rows: NDArray[np.void]) -> None:
        """Add rows of ended requests: those served in the arrival period count."""
        served = rows[(rows["fate"] == int(Fate.SERVED)) & (rows["finish_s"] < self._end_s)]
        for index, above in enumerate(self._above):
            if above is not None:
                long = served[(served["class"] == index) & (served["input_tokens"] > above)]
                for column, name in enumerate(("input_tokens", "cached_tokens", "output_tokens")):
                    self._totals[index, column] += int(long[name].sum())

    def tokens(self, index: int) -> Tokens:
        """Return the tokens of a class's long requests."""
        return Tokens(*(int(total) for total in self._totals[index]))


def measure(
    scenario: Scenario,
    stated_prices: Mapping[str, Any],
    engine: Engine,
    fleet: Fleet,
    pools: tuple[LoweredPool, ...],
    long_context: LongContextMeter | None = None,
    long_above: Mapping[str, int] | None = None,
) -> Books:
    """Return the books of a finished simulation.

    Cost, tokens and revenue are those of the arrival period, so that a fleet which cannot keep up
    gains nothing by what it serves afterwards. A class bears the cost of a pool in proportion to
    its share of the pool's step time in that period. Where the traffic is a sample, what was served
    is counted as that of all traffic.

    Args:
        scenario: what was simulated.
        stated_prices: its section `prices` as it is written.
        engine: of the simulation.
        fleet: held the nodes.
        pools: as they were lowered, in the order of the scenario.
        long_context: counted the tokens of long requests; None: no plan asks for them.
        long_above: by plan, from which prompt length on.
    """
    return Books(
        pools=tuple(
            PoolBook(
                _pool_time(index, scenario, engine, fleet, lowered),
                scenario.pools[index].price,
                mix_of(scenario.pools[index].price_mix),
            )
            for index, lowered in enumerate(pools)
        ),
        classes=tuple(
            ClassBook(
                usage.times(1.0 / scenario.workload.sample),
                klass.plan,
                (long_above or {}).get(klass.plan or ""),
            )
            for klass, usage in zip(
                scenario.workload.classes,
                _class_usages(scenario, engine, long_context),
                strict=True,
            )
        ),
        prices=stated_prices,
        sample_rate=scenario.workload.sample,
    )


def _pool_time(
    index: int, scenario: Scenario, engine: Engine, fleet: Fleet, lowered: LoweredPool
) -> PoolTime:
    pool = scenario.pools[index]
    duration_s = scenario.workload.duration
    windows = _period_of(engine.world.pool_windows, engine)
    busy_hours = float(windows["busy_s"][:, index].sum()) / 3600.0
    arithmetic_hours = float(windows["compute_s"][:, index].sum()) / 3600.0
    return PoolTime(
        pool=pool.name,
        node=lowered.node.name,
        chip=lowered.chip.name,
        devices_per_node=lowered.node.devices,
        period_hours=duration_s / 3600.0,
        held=held_over(fleet[pool.name].held_nodes(engine.now_s), duration_s),
        busy_device_hours=busy_hours * lowered.meta.devices_per_replica,
        node_power_w=float(lowered.node.power_w),
        role=role_of(pool, scenario),
        peak_arithmetic_device_hours=arithmetic_hours * lowered.meta.devices_per_replica,
    )


def role_of(pool: Pool, scenario: Scenario) -> PoolRole:
    """Return whether a pool prefills or decodes for another, or does both."""
    if pool.decode is not None:
        return "prefill"
    decoders = {each.decode.pool for each in scenario.pools if each.decode is not None}
    return "decode" if pool.name in decoders else "both"


def _class_usages(
    scenario: Scenario, engine: Engine, long_context: LongContextMeter | None
) -> list[ClassUsage]:
    totals = _period_of(engine.world.class_windows, engine)
    busy_s = engine.arrivals_busy_s
    assert busy_s is not None, "books are of a finite run"
    usages = []
    classes = scenario.workload.classes
    for index, klass in enumerate(classes):
        column = totals[:, index]
        usages.append(
            ClassUsage(
                name=klass.name,
                plan=None,
                requests=int(column["ended"][:, int(Fate.SERVED)].sum()),
                input_tokens=int(column["input_tokens"].sum()),
                output_tokens=int(column["output_tokens"].sum()),
                cached_input_tokens=int(column["cached_tokens"].sum()),
                reasoning_tokens=int(column["reasoning_tokens"].sum()),
                tasks=_whole_tasks(column, engine.world.class_windows[index :: len(classes)]),
                pool_weights={
                    pool.name: float(busy_s[number, index])
                    for number, pool in enumerate(scenario.pools)
                    if busy_s[number, index] > 0.0
                },
                long_context=Tokens() if long_context is None else long_context.tokens(index),
            )
        )
    return usages


def _whole_tasks(period: NDArray[np.void], run: NDArray[np.void]) -> float:
    """Return how many tasks the tokens served in the period would do, each as long as the mean.

    Args:
        period: windows of a class, those of the arrival period.
        run: all its windows: tasks that finish are counted where they began.
    """
    finished, tokens = int(run["measured_tasks_finished"].sum()), int(run["task_tokens"].sum())
    served = int(period["input_tokens"].sum() + period["output_tokens"].sum())
    return served * finished / tokens if tokens else 0.0


def _period_of(windows: NDArray[np.void], engine: Engine) -> NDArray[np.void]:
    """Return the windows of the arrival period, which ends with one of them."""
    by_window = windows.reshape(int(engine.world.state["windows"][0]), -1)
    return by_window[: round(engine.plan.duration_s / engine.plan.window_s)]
