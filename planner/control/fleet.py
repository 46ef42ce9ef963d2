"""The fleet as a control process sees it: pools whose nodes can be counted, added, drained and lost.

A process is an ordinary SimPy generator::

    def scale_on_queue(env, fleet):
        pool = fleet["chat"]
        while True:
            yield env.timeout(30)
            if pool.waiting > 4 * pool.replicas_active:
                pool.add_nodes(1)
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from planner.errors import SimulationError
from planner.kernel.dtypes import ReplicaStatus
from planner.kernel.plan import PoolPlan

if TYPE_CHECKING:
    import simpy

    from planner.engine import Engine

Times = NDArray[np.float64]


@dataclass
class Unit:
    """What is added and removed as a whole: one node with its replicas, or one replica with its nodes."""

    number: int
    nodes: int
    ordered_s: float
    replicas: list[int] = field(default_factory=list)
    ready: bool = False
    draining: bool = False
    released_s: float = math.inf
    """When it stopped or was lost [s]; infinity before."""


class PoolView:
    """One pool at the present instant of the simulation, and the levers on it."""

    def __init__(self, engine: Engine, index: int, plan: PoolPlan, cold_start_s: float) -> None:
        self._engine = engine
        self._index = index
        self._plan = plan
        self._units: list[Unit] = []
        self.cold_start_s = cold_start_s
        """From ordering a node to its first request [s]."""
        self.spare_nodes = plan.nodes % plan.nodes_per_replica
        """Nodes too few to hold one more replica: paid for, idle."""
        for _ in range(plan.nodes // plan.nodes_per_replica):
            self._open(self._order())

    # --- what there is ---------------------------------------------------------------------------

    @property
    def name(self) -> str:
        """Name of the pool."""
        return self._plan.name

    @property
    def nodes(self) -> int:
        """Nodes in service or being started; draining ones are not counted."""
        return sum(unit.nodes for unit in self._serving()) + self.spare_nodes

    @property
    def replicas_active(self) -> int:
        """Replicas that take requests."""
        return int(self._row["active_count"])

    @property
    def waiting(self) -> int:
        """Requests that wait on the replicas of the pool."""
        return int(self._row["waiting"])

    @property
    def running(self) -> int:
        """Requests in the batches of the pool's replicas."""
        mine = self._replicas
        return int(mine["decoding"].sum() + mine["prefilling"].sum())

    @property
    def kv_usage_rate(self) -> float:
        """Share of the KV blocks of the active replicas in use, 0 to 1."""
        active = self._replicas["status"] == int(ReplicaStatus.ACTIVE)
        blocks = int(active.sum()) * int(self._row["kv_blocks"])
        return float(self._replicas["kv_used_blocks"][active].sum() / blocks) if blocks else 0.0

    def busy_rate(self, since_s: float) -> float:
        """Return the share of replica time spent in steps in the windows since `since_s`, 0 to 1."""
        engine = self._engine
        engine.account_active()
        windows = engine.world.pool_windows.reshape(-1, len(engine.plan.pools))[:, self._index]
        first = min(int(since_s / engine.plan.window_s), len(windows) - 1)
        active_s = float(windows["active_s"][first:].sum())
        return min(1.0, float(windows["busy_s"][first:].sum()) / active_s) if active_s else 0.0

    @property
    def _row(self) -> np.void:
        return self._engine.world.pools[self._index]  # type: ignore[no-any-return]

    @property
    def _replicas(self) -> NDArray[np.void]:
        replicas = self._engine.world.replicas
        return replicas[replicas["pool"] == self._index]

    # --- what can be done ------------------------------------------------------------------------

    def add_nodes(self, count: int) -> None:
        """Order nodes; they serve after `cold_start_s` and are paid for from now on."""
        for _ in range(self._units_of(count)):
            self._engine.env.process(self._start(self._order()))

    def drain_nodes(self, count: int) -> None:
        """Give nodes back, those being started first, then the latest: they finish what they have."""
        leaving = sorted(self._serving(), key=lambda unit: (unit.ready, -unit.number))
        for unit in leaving[: self._units_of(count)]:
            unit.draining = True
            self._engine.drain(unit.replicas)

    def set_nodes(self, count: int) -> None:
        """Order or give back nodes until there are `count`."""
        change = count - self.nodes
        if change > 0:
            self.add_nodes(change)
        elif change < 0:
            self.drain_nodes(-change)

    def lose_node(self) -> None:
        """Lose the latest node in service: what it was doing fails."""
        ready = [unit for unit in self._serving() if unit.ready]
        if not ready:
            raise SimulationError(f"pool {self.name} has no node in service to lose")
        unit = ready[-1]
        unit.released_s = self._engine.env.now
        self._engine.lose(unit.replicas)

    def held_nodes(self, end_s: float) -> tuple[Times, Times, NDArray[np.int64]]:
        """Return from when to when nodes were held (paid for), and how many: one entry per unit."""
        spans = [(0.0, end_s, self.spare_nodes)] if self.spare_nodes else []
        self._note_released()
        spans += [(u.ordered_s, min(u.released_s, end_s), u.nodes) for u in self._units]
        starts, ends, nodes = (np.array(part) for part in zip(*spans, strict=True)) if spans else (
            np.zeros(0), np.zeros(0), np.zeros(0, np.int64)
        )  # fmt: skip
        return starts, ends, nodes

    def _serving(self) -> list[Unit]:
        return [u for u in self._units if not u.draining and math.isinf(u.released_s)]

    def _units_of(self, nodes: int) -> int:
        if nodes < 0:
            raise SimulationError(f"pool {self.name}: {nodes} nodes; give a number of at least 0")
        return -(-nodes // self._plan.nodes_per_replica)

    def _order(self) -> Unit:
        self._note_released()
        number = len(self._units)
        unit = Unit(number, self._plan.nodes_per_replica, self._engine.env.now)
        unit.replicas = self._engine.add_replicas(
            self._index, self._plan.replicas_per_node, node=number
        )
        self._units.append(unit)
        return unit

    def _open(self, unit: Unit) -> None:
        unit.ready = True
        self._engine.activate(unit.replicas)

    def _start(self, unit: Unit) -> Iterator[simpy.Event]:
        yield self._engine.env.timeout(self.cold_start_s)
        if not unit.draining:
            self._open(unit)

    def _note_released(self) -> None:
        """Note when drained units stopped; their replicas may be used again afterwards."""
        for unit in self._units:
            if unit.draining and math.isinf(unit.released_s):
                stopped_s = self._engine.world.replicas["stopped_s"][unit.replicas]
                if not np.isnan(stopped_s).any():
                    unit.released_s = float(stopped_s.max(initial=unit.ordered_s))


class Fleet:
    """All pools, by name."""

    def __init__(self, engine: Engine, cold_start_s: dict[str, float] | None = None) -> None:
        starts = cold_start_s or {}
        self.pools = {
            plan.name: PoolView(engine, index, plan, starts.get(plan.name, 0.0))
            for index, plan in enumerate(engine.plan.pools)
        }

    def __getitem__(self, name: str) -> PoolView:
        """Return the pool of that name."""
        if name not in self.pools:
            raise SimulationError(f"no pool {name!r}; there are {', '.join(self.pools)}")
        return self.pools[name]

    def __iter__(self) -> Iterator[PoolView]:
        return iter(self.pools.values())


def most_nodes_by_window(
    spans: tuple[Times, Times, NDArray[np.int64]], window_s: float, windows: int
) -> NDArray[np.int64]:
    """Return the most nodes held at once in each window, shape `(windows,)`.

    Args:
        spans: start, end [s] and nodes of what was held.
        window_s: width of a window.
        windows: how many; the last takes everything after it.
    """
    starts, ends, nodes = spans
    times = np.unique(np.concatenate([starts, ends, np.arange(windows) * window_s]))
    held = np.array([nodes[(starts <= t) & (t < ends)].sum() for t in times], np.int64)
    window = np.minimum((times / window_s).astype(np.int64), windows - 1)
    most = np.zeros(windows, np.int64)
    np.maximum.at(most, window, held)
    return most


def node_hours(spans: tuple[Times, Times, NDArray[np.int64]], until_s: float) -> float:
    """Return the node-hours held from 0 to `until_s`."""
    starts, ends, nodes = spans
    held_s = np.clip(np.minimum(ends, until_s) - np.maximum(starts, 0.0), 0.0, None)
    return float((held_s * nodes).sum() / 3600.0)
