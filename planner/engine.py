"""The engine: owns every array, feeds the kernel, and steps it and SimPy in turn.

Before SimPy executes a control event at time t, the kernel is advanced through everything at or
before t, so a control process sees the cluster as it is at its own `env.now`, and what it changes
holds from then on.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Final

import numpy as np
import simpy
from numpy.typing import NDArray

from planner.errors import SimulationError
from planner.kernel import build
from planner.kernel.advance import advance, lack_for
from planner.kernel.dtypes import NONE
from planner.kernel.enums import Handover, ReplicaStatus, Stop
from planner.kernel.feed import load_rows, send_clients
from planner.kernel.fleet import end_unfinished, lose_replica, settle_all
from planner.kernel.kvcache import blocks_for_steps
from planner.kernel.plan import Plan
from planner.kernel.prefix import forget_prefixes
from planner.kernel.route import load_of
from planner.kernel.world import World

Records = NDArray[np.void]

CLOSED_ROWS: Final = 65536
"""Rows of a closed-loop stream kept loaded."""
FIRST_ENTRIES: Final = 4096
MOST_IN_FLIGHT: Final = 1 << 25
"""Requests in flight at which a run is given up: 6 GB of memory, and no fleet that keeps up."""
IN_SERVICE: Final = (int(ReplicaStatus.ACTIVE), int(ReplicaStatus.DRAINING))
OUT_OF_SERVICE: Final = (int(ReplicaStatus.STOPPED), int(ReplicaStatus.LOST))


class ClusterEnvironment(simpy.Environment):
    """A SimPy environment that brings the data plane up to date before each of its events."""

    def __init__(self, bring_up_to: Callable[[float], None]) -> None:
        super().__init__()
        self._bring_up_to = bring_up_to

    def step(self) -> None:
        """Advance the kernel to the next control event, then execute that event."""
        self._bring_up_to(self.peek())
        super().step()


class Engine:
    """One simulation.

    Args:
        plan: the cluster and its traffic.
        on_finished: receives per-request rows (`FINISHED`), in order of their ends, if the plan
            keeps them.
    """

    def __init__(self, plan: Plan, on_finished: Callable[[Records], None] | None = None) -> None:
        self.plan = plan
        self.env = ClusterEnvironment(self._advance_settled)
        self._on_finished = on_finished
        self._rng = np.random.Generator(np.random.PCG64(plan.seed))
        self._feeds: list[Iterator[Records]] = [plan.blocks, *(s.blocks for s in plan.closed)]
        self._active_since_s = 0.0
        self.arrivals_busy_s: NDArray[np.float64] | None = None
        """Step time of each pool and class when the arrivals end [s]; before that, None."""
        self.world: World = build.build_world(plan, self._windows())
        self._open_streams()

    # --- time ------------------------------------------------------------------------------------

    @property
    def now_s(self) -> float:
        """Simulated time [s]."""
        return float(self.world.state["now_s"][0])

    @property
    def in_flight(self) -> int:
        """Requests that have arrived, or are sure to arrive, and have not ended."""
        return int(self.world.state["in_flight"][0] + self.world.state["returns_count"][0])

    def run(self, progress: Callable[[float], None] | None = None) -> None:
        """Simulate until the last request has ended, or the drain after the arrivals is over.

        Args:
            progress: called now and then with the simulated time [s].
        """
        if math.isinf(self.plan.duration_s):
            self.run_to(math.inf)
        else:
            self._run_windows(self.plan.duration_s, progress, while_busy=False)
            self.arrivals_busy_s = self.busy_by_class()
            limit_s = self.plan.duration_s + self.plan.drain_s
            self._run_windows(limit_s, progress, while_busy=True)
        self.finish()

    def run_to(self, until_s: float) -> None:
        """Simulate everything at or before `until_s`, control events included."""
        while self.env.peek() <= until_s and self.env.peek() < math.inf:
            self.env.step()
        self._advance(until_s)

    def busy_by_class(self) -> NDArray[np.float64]:
        """Return each class's share of the step time of each pool [s], shape `(pools, classes)`."""
        world = self.world
        shares = world.queues["busy_s"].reshape(-1, len(world.classes))
        total = np.zeros((len(world.pools), len(world.classes)))
        np.add.at(total, world.replicas["pool"], shares)
        return total

    def finish(self) -> None:
        """Give what is still in flight its fate and close the books."""
        now_s = self.now_s
        settle_all(self.world, now_s)
        self.account_active()
        self._flush()
        end_unfinished(self.world, now_s)
        self._flush()

    def _run_windows(
        self, until_s: float, progress: Callable[[float], None] | None, *, while_busy: bool
    ) -> None:
        """Run up to `until_s` window by window, so that progress shows and idling stops early."""
        window = int(self.env.now / self.plan.window_s)
        while self.env.now < until_s and not (while_busy and self.in_flight == 0):
            window += 1
            target_s = min(window * self.plan.window_s, until_s)
            if target_s <= self.env.now:
                continue  # by rounding, the window is over already
            self.env.run(until=target_s)
            self.account_active()
            if progress is not None:
                progress(self.env.now)

    def _windows(self) -> int:
        if math.isinf(self.plan.duration_s):
            return 1
        drain_s = 0.0 if math.isinf(self.plan.drain_s) else self.plan.drain_s
        return max(1, math.ceil((self.plan.duration_s + drain_s) / self.plan.window_s - 1e-9))

    def _advance_settled(self, until_s: float) -> None:
        self._advance(until_s)
        settle_all(self.world, until_s)

    def _advance(self, until_s: float) -> None:
        """Advance the kernel, serving what it asks for on the way."""
        while (stop := Stop(advance(self.world, until_s, self._rng))) is not Stop.REACHED:
            self._provide(stop)

    def _make_room(self, ends: int) -> None:
        """See to it that `ends` of the requests in flight can end."""
        while (stop := Stop(lack_for(self.world, ends))) is not Stop.REACHED:
            self._provide(stop)

    def _provide(self, stop: Stop) -> None:
        """Give the kernel what it stopped for; enough for the end of everything in flight."""
        world = self.world
        if stop is Stop.NEED_REQUESTS:
            if len(world.requests) >= MOST_IN_FLIGHT:
                raise SimulationError(
                    f"at {self.now_s:,.0f} s more than {MOST_IN_FLIGHT:,} requests wait or run: "
                    "the fleet cannot keep up; add nodes, or give the pools a queue_limit or the "
                    "classes a timeout"
                )
            self.world = build.grow_requests(world, len(world.requests))
        elif stop is Stop.NEED_RETURNS:
            self.world = build.grow_returns(world, len(world.returns))
        elif stop is Stop.NEED_ENTRIES:
            self.world = build.grow_entries(world, max(FIRST_ENTRIES, len(world.entries)))
        elif stop is Stop.FLUSH_FINISHED:
            self._flush()
        elif (stream := int(world.state["starved_stream"][0])) == 0:
            self._feed_open()
        else:
            self._feed_closed(stream, max(CLOSED_ROWS, int(world.state["in_flight"][0])))

    def _flush(self) -> None:
        """Hand the per-request rows out, and see to it that those of all in flight fit."""
        if not self.plan.keep_finished:
            return
        count = int(self.world.state["finished_count"][0])
        if count and self._on_finished is not None:
            self._on_finished(self.world.finished[:count].copy())
        self.world.state["finished_count"] = 0
        missing = int(self.world.state["in_flight"][0]) - len(self.world.finished)
        if missing > 0:
            self.world = replace(self.world, finished=build.extended(self.world.finished, missing))

    # --- requests --------------------------------------------------------------------------------

    def _open_streams(self) -> None:
        """Load the first rows of the closed loops and send their clients."""
        for index, stream in enumerate(self.plan.closed, start=1):
            self._feed_closed(index, stream.clients)
            missing = int(self.world.state["returns_count"][0]) + stream.clients
            missing -= len(self.world.returns)
            if missing > 0:
                self.world = build.grow_returns(self.world, missing)
            send_clients(self.world, index, stream.clients)

    def _feed_open(self) -> None:
        """Load the next block of the open loop."""
        block = next(self._feeds[0], None)
        if block is None:
            self.world.streams["ended"][0] = 1
            return
        is_later_turn = np.isnan(block["arrival_s"])
        if is_later_turn[:1].any():
            raise SimulationError(
                "a block of arrivals begins with a later turn; keep every session in one block"
            )
        self._reserve(0, len(block))
        later = int(is_later_turn.sum())
        free = len(self.world.turns) - int(self.world.state["turns_in_use"][0])
        if later > free:
            self.world = build.grow_turns(self.world, max(later - free, len(self.world.turns)))
        self._take_hashes()
        load_rows(self.world, block, 0)

    def _take_hashes(self) -> None:
        """Load the ids of prefix blocks that belong to new rows, and drop those behind all others.

        A request that is still to come or in flight keeps its ids and all later ones.
        """
        if self.plan.hashes is None:
            return
        new = self.plan.hashes()
        world = self.world
        base = int(world.state["hash_base"][0])
        flying = world.requests[world.requests["fate"] == NONE]
        rows = world.arrivals[int(world.streams["cursor"][0]) : int(world.streams["last_row"][0])]
        sent = world.sent[world.returns["slot"][: int(world.state["returns_count"][0])]]
        parts = (flying, rows, sent, world.turns["arrival"])
        needed = [part["first_hash"][part["hashes"] > 0] for part in parts]
        kept = min(int(part.min(initial=base + len(world.hashes))) for part in needed)
        world.state["hash_base"] = kept
        self.world = replace(world, hashes=np.concatenate([world.hashes[kept - base :], new]))

    def _feed_closed(self, stream: int, at_least: int) -> None:
        """Load blocks of a closed loop until `at_least` unused rows are there, or it has ended."""
        row = self.world.streams[stream]
        missing = at_least - int(row["last_row"] - row["cursor"])
        blocks: list[Records] = []
        while missing > 0 and not row["ended"]:
            block = next(self._feeds[stream], None)
            if block is None:
                row["ended"] = 1
            else:
                blocks.append(block)
                missing -= len(block)
        if blocks:
            rows = np.concatenate(blocks)
            self._reserve(stream, len(rows))
            load_rows(self.world, rows, stream)

    def _reserve(self, stream: int, rows: int) -> None:
        """Make room for `rows` more rows behind those of a stream that are not yet used up.

        Regions are laid out anew, one behind the other; used-up rows are dropped.
        """
        streams = self.world.streams
        left = [slice(int(s["cursor"]), int(s["last_row"])) for s in streams]
        kept = [self.world.arrivals[part] for part in left]
        room = [len(part) + (rows if index == stream else 0) for index, part in enumerate(kept)]
        starts = np.cumsum([0, *room])
        arrivals = self.world.arrivals
        if len(arrivals) < starts[-1] or len(streams) > 1:
            arrivals = np.zeros(int(starts[-1]), arrivals.dtype)
        for index, part in enumerate(kept):
            arrivals[starts[index] : starts[index] + len(part)] = part
            streams["cursor"][index] = starts[index]
            streams["last_row"][index] = starts[index] + len(part)
        self.world = replace(self.world, arrivals=arrivals)

    # --- replicas --------------------------------------------------------------------------------

    def add_replicas(self, pool: int, count: int, node: int | Sequence[int]) -> list[int]:
        """Give a pool `count` replicas, not yet active, and return their numbers.

        Replicas of the pool's nodes that have stopped as a whole, or were lost, are used again.

        Args:
            pool: index of the pool.
            count: how many.
            node: number of the node that they are on, or one for each.
        """
        self.account_active()
        replicas = self.world.replicas
        mine = replicas["pool"] == pool
        stopped = mine & np.isin(replicas["status"], OUT_OF_SERVICE)
        in_use = replicas["node"][mine & ~stopped]
        reusable = np.flatnonzero(stopped & ~np.isin(replicas["node"], in_use))[:count]
        missing = count - len(reusable)
        new = np.arange(len(replicas), len(replicas) + missing)
        if missing:
            self.world = build.add_replicas(self.world, [pool] * missing)
        numbers = np.concatenate([reusable, new])
        self.world.replicas["status"][numbers] = int(ReplicaStatus.STARTING)
        self.world.replicas["stopped_s"][numbers] = math.nan
        self.world.replicas["node"][numbers] = node
        return [int(number) for number in numbers]

    def activate(self, numbers: list[int]) -> None:
        """Let replicas take requests from now on."""
        self.account_active()
        self.world.replicas["status"][numbers] = int(ReplicaStatus.ACTIVE)
        self.world = build.list_active(self.world)

    def drain(self, numbers: list[int]) -> None:
        """Let replicas take nothing new; they stop when they have finished what they have."""
        self.account_active()
        for number in numbers:
            replica = self.world.replicas[number]
            idle = load_of(replica) == 0 and replica["kept"] == 0
            replica["status"] = int(ReplicaStatus.STOPPED if idle else ReplicaStatus.DRAINING)
            if idle:
                forget_prefixes(self.world, replica)
            replica["stopped_s"] = self.env.now if idle else math.nan
        self.world = build.list_active(self.world)

    def lose(self, numbers: list[int]) -> None:
        """Lose replicas at once; their requests fail."""
        self.account_active()
        for number in numbers:
            self._make_room(int(self.world.state["in_flight"][0]))
            requests = self.world.requests
            keeps = np.isin(requests["handover"], (int(Handover.OFFERED), int(Handover.SENDING)))
            here = requests["replica"] == number
            here |= keeps & (requests["prefill_replica"] == number)
            here &= requests["fate"] == NONE
            victims = np.flatnonzero(here)
            victims = victims[np.argsort(requests["key"][victims])]
            lose_replica(self.world, number, victims, self.env.now)
        self.world = build.list_active(self.world)

    def blocks_under_way(self, replica: int) -> int:
        """Return the KV blocks that the step under way on a replica has taken at its start."""
        settled = int(self.world.replicas["settled_steps"][replica])
        return int(blocks_for_steps(self.world, replica, settled, settled + 1))

    def account_active(self) -> None:
        """Add the replica-seconds in service since the last change, window by window.

        A replica that drains may stop between two changes; it was in service until then.
        """
        now_s, at_s = self.now_s, self._active_since_s
        replicas = self.world.replicas
        serving = np.isin(replicas["status"], IN_SERVICE)
        until_s = np.where(serving, now_s, replicas["stopped_s"])
        pools = len(self.plan.pools)
        windows = self.world.pool_windows.reshape(-1, pools)
        window = min(int(at_s / self.plan.window_s), len(windows) - 1)
        while at_s < now_s:
            last = window == len(windows) - 1
            end_s = now_s if last else min(now_s, (window + 1) * self.plan.window_s)
            served_s = np.fmax(np.minimum(until_s, end_s) - at_s, 0.0)  # NaN: not in service
            windows["active_s"][window] += np.bincount(replicas["pool"], served_s, pools)
            at_s = max(at_s, end_s)
            window += 1
        self._active_since_s = at_s
