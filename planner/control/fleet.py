"""The fleet as a control process sees it: pools whose nodes it can count, add, drain and lose.

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
import operator
from collections.abc import Generator, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from planner.errors import SimulationError
from planner.kernel.enums import ReplicaStatus
from planner.kernel.plan import PoolPlan

if TYPE_CHECKING:
    import simpy

    from planner.engine import Engine

Times = NDArray[np.float64]
Spans = tuple[Times, Times, NDArray[np.int64]]
"""Start and end [s] of what was held, and how many nodes that was."""


@dataclass
class Unit:
    """What comes and goes as a whole: one node with its replicas, or one replica with its nodes."""

    nodes: int
    ordered_s: float
    replicas: list[int] = field(default_factory=list)
    ready: bool = False
    draining: bool = False
    released_s: float = math.inf
    """When it stopped or was lost [s]; infinity before."""

    @property
    def staying(self) -> bool:
        """Whether it is in service, or being started, and to stay."""
        return not self.draining and math.isinf(self.released_s)


class PoolView:
    """One pool at the present instant of the simulation, and the levers on it."""

    def __init__(self, engine: Engine, index: int, plan: PoolPlan, cold_start_s: float) -> None:
        self._engine = engine
        self._index = index
        self._plan = plan
        self._units: list[Unit] = []
        self._spares: list[Unit] = []
        self.cold_start_s = cold_start_s
        """From ordering a node to its first request [s]."""
        units, spare = divmod(plan.nodes, plan.nodes_per_replica)
        self._open(self._order(units))
        self._keep_spare(spare)

    # --- what there is ---------------------------------------------------------------------------

    @property
    def name(self) -> str:
        """Name of the pool."""
        return self._plan.name

    @property
    def nodes(self) -> int:
        """Nodes in service or being started; draining ones are not counted."""
        return sum(unit.nodes for unit in (*self._units, *self._spares) if unit.staying)

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
        """Share of the KV blocks of the active replicas in use, 0 to 1.

        Blocks that they keep for another pool, or reserve for what comes from one, are in use.
        """
        replicas = self._engine.world.replicas
        active = (replicas["pool"] == self._index) & (
            replicas["status"] == int(ReplicaStatus.ACTIVE)
        )
        blocks = int(active.sum()) * int(self._row["kv_blocks"])
        # A step under way has taken its new blocks at its start; the kernel books them at its end.
        stepping = active & (replicas["run_steps"] > 0) & (replicas["advancing"] > 0)
        new = sum(self._engine.blocks_under_way(int(each)) for each in np.flatnonzero(stepping))
        held = replicas["kv_used_blocks"] + replicas["parked_blocks"]
        used = int(held[active].sum()) + new
        return used / blocks if blocks else 0.0

    def busy_rate(self, since_s: float) -> float:
        """Return the share of replica time spent in completed steps, 0 to 1.

        Args:
            since_s: start of the time looked at [s], moved back to that of its reporting window.
        """
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
        mine: NDArray[np.void] = replicas[replicas["pool"] == self._index]
        return mine

    # --- what can be done ------------------------------------------------------------------------

    def add_nodes(self, count: int) -> None:
        """Order nodes; they serve after `cold_start_s` and are paid for from now on."""
        self.set_nodes(self.nodes + self._checked(count))

    def drain_nodes(self, count: int) -> None:
        """Give nodes back, those being started first, then the latest; they finish their work."""
        self.set_nodes(max(0, self.nodes - self._checked(count)))

    def set_nodes(self, count: int) -> None:
        """Order or give back nodes until there are `count`.

        Nodes too few to hold one more replica are paid for and idle.
        """
        units, spare = divmod(self._checked(count), self._plan.nodes_per_replica)
        staying = self._staying()
        missing = units - len(staying)
        if missing > 0:
            self._engine.env.process(self._start(self._order(missing)))
        leaving = sorted(staying, key=lambda unit: unit.ready)
        for unit in leaving[: max(0, -missing)]:
            unit.draining = True
            self._engine.drain(unit.replicas)
        self._keep_spare(spare)

    def lose_node(self) -> None:
        """Lose the latest node in service, and all others of its replica: its requests fail."""
        ready = [unit for unit in self._staying() if unit.ready]
        if not ready:
            raise SimulationError(f"pool {self.name} has no node in service to lose")
        ready[0].released_s = self._engine.env.now
        self._engine.lose(ready[0].replicas)

    def held_nodes(self, end_s: float) -> Spans:
        """Return from when to when nodes were held (paid for), and how many: one entry per unit."""
        self._note_released()
        units = (*self._units, *self._spares)
        return (
            np.array([unit.ordered_s for unit in units], np.float64),
            np.array([min(unit.released_s, end_s) for unit in units], np.float64),
            np.array([unit.nodes for unit in units], np.int64),
        )

    def _staying(self) -> list[Unit]:
        """Return the units in service or being started, the latest first."""
        return [unit for unit in reversed(self._units) if unit.staying]

    def _checked(self, nodes: int) -> int:
        if operator.index(nodes) < 0:
            raise SimulationError(f"pool {self.name}: {nodes} nodes; give a number of at least 0")
        return nodes

    def _order(self, count: int) -> list[Unit]:
        """Return new units, to be started."""
        self._note_released()
        each = self._plan.replicas_per_node
        first = len(self._units)
        nodes = [first + index // each for index in range(count * each)]
        replicas = self._engine.add_replicas(self._index, len(nodes), nodes)
        now_s = self._engine.env.now
        units = [
            Unit(self._plan.nodes_per_replica, now_s, replicas[start : start + each])
            for start in range(0, len(replicas), each)
        ]
        self._units += units
        return units

    def _open(self, units: list[Unit]) -> None:
        for unit in units:
            unit.ready = True
        self._engine.activate([number for unit in units for number in unit.replicas])

    def _start(self, units: list[Unit]) -> Generator[simpy.Event]:
        yield self._engine.env.timeout(self.cold_start_s)
        self._open([unit for unit in units if unit.staying])

    def _keep_spare(self, nodes: int) -> None:
        """Hold so many nodes that are too few for a replica."""
        now_s = self._engine.env.now
        held = [unit for unit in self._spares if unit.staying]
        if sum(unit.nodes for unit in held) == nodes:
            return
        for unit in held:
            unit.released_s = now_s
        if nodes:
            self._spares.append(Unit(nodes, now_s))

    def _note_released(self) -> None:
        """Note when drained units stopped; their replicas may be used again afterwards."""
        for unit in self._units:
            if unit.draining and math.isinf(unit.released_s):
                stopped_s = self._engine.world.replicas["stopped_s"][unit.replicas]
                if not np.isnan(stopped_s).any():
                    unit.released_s = float(stopped_s.max())


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


def nodes_over_time(spans: Spans) -> tuple[Times, NDArray[np.int64]]:
    """Return when the number of nodes held changes, from 0 on [s], and what it is from then on."""
    starts_s, ends_s, nodes = spans
    times_s = np.unique(np.concatenate([np.zeros(1), starts_s, ends_s]))
    change = np.zeros(len(times_s), np.int64)
    np.add.at(change, np.searchsorted(times_s, starts_s), nodes)
    np.subtract.at(change, np.searchsorted(times_s, ends_s), nodes)
    return times_s, np.cumsum(change)


def held_over(spans: Spans, until_s: float) -> tuple[tuple[float, float], ...]:
    """Return for how many hours how many nodes were held, one after the other, from 0 on."""
    times_s, nodes = nodes_over_time(spans)
    inside = (times_s >= 0.0) & (times_s < until_s)
    hours = np.diff(np.append(times_s[inside], until_s)) / 3600.0
    return tuple(zip(hours.tolist(), nodes[inside].tolist(), strict=True))


def most_nodes_by_window(spans: Spans, window_s: float, windows: int) -> NDArray[np.int64]:
    """Return the most nodes held at once in each window, shape `(windows,)`.

    Args:
        spans: start, end [s] and nodes of what was held.
        window_s: width of a window.
        windows: how many; the last takes everything after it.
    """
    times_s, held = nodes_over_time(spans)
    edges_s = np.arange(windows) * window_s
    most: NDArray[np.int64] = held[np.searchsorted(times_s, edges_s, side="right") - 1]
    np.maximum.at(most, np.searchsorted(edges_s, times_s, side="right") - 1, held)
    return most
