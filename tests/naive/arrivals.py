"""Arrivals in the naive twin: rate limit, choice of pool and replica, admission control, queues.

Also what everything else rests on: the state, the clock's events, and the integrals over time.
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from math import inf
from typing import Any, Protocol

from planner.kernel.enums import Fate, Leg, Router, Scheduler
from tests.naive.cache import empty, found_tokens, holder
from tests.naive.state import (
    NOWHERE,
    ClosedStream,
    Pool,
    PoolTotals,
    Replica,
    Request,
    RequestClass,
    Row,
    Task,
)
from tests.naive.steps import rank_of, too_long
from tests.naive.store import Store

# Kinds of events at one instant, in their order.
FROM_TRACE, GENERATED, REPLICA, CONTROL = range(4)


class Random(Protocol):
    """The one method that is used of a `numpy.random.Generator`."""

    def random(self) -> float: ...


class Luck(Protocol):
    """A number of [0, 1) of a row's own, for a purpose."""

    def __call__(self, class_index: int, row: int, purpose: Leg) -> float: ...


class Arrivals:
    """The state of one simulation, and the rules by which requests come to replicas."""

    def __init__(
        self,
        pools: Sequence[Pool],
        classes: Sequence[RequestClass],
        closed_streams: Sequence[ClosedStream],
        end_s: float,
        warmup_s: float,
        rng: Random | None,
        luck: Luck | None,
    ) -> None:
        self.pools = pools
        self.classes = classes
        self.end_s = end_s
        self.warmup_s = warmup_s
        self.rng = rng
        self.luck = luck
        self.now_s = -inf
        self.events: list[tuple[float, int, int, Any]] = []
        self.generated = 0
        self.requests: list[Request] = []
        self.unsent_rows = [list(stream.rows) for stream in closed_streams]
        owners = [index for index, pool in enumerate(pools) for _ in range(pool.replicas)]
        self.replicas = [Replica(n, index, pools[index]) for n, index in enumerate(owners)]
        shared = [[Store() for _ in pool.tiers] for pool in pools]
        for replica in self.replicas:
            empty(replica, shared[replica.pool_index])
        self.cursors = [0 for _ in pools]
        self.visitor_tat_s: dict[int, float] = {}
        self.token_gaps: list[list[float]] = [[] for _ in classes]
        self.totals = [PoolTotals() for _ in pools]
        self.tasks: list[Task] = []
        self.abandoned_turns = 0
        self.unsent = 0

    def schedule(self, time_s: float, kind: int, number: int, what: object = None) -> None:
        heapq.heappush(self.events, (time_s, kind, number, what))

    def _wake(self, replica: Replica) -> None:
        """Let an idle replica look at its queue again; a busy one does so after its step."""
        if replica.idle:
            self.schedule(self.now_s, REPLICA, replica.number)

    def _account(self, replica: Replica) -> None:
        """Add the time since the last change of the replica to the integrals of its pool."""
        totals = self.totals[replica.pool_index]
        elapsed_s = self.now_s - replica.accounted_s
        if elapsed_s > 0.0:
            totals.busy_s += 0.0 if replica.idle else elapsed_s
            totals.running_s += elapsed_s * len(replica.running)
            interactive = len(replica.interactive)
            totals.waiting_s += elapsed_s * interactive
            totals.batch_waiting_s += elapsed_s * (len(replica.waiting) - interactive)
            if not replica.idle:
                totals.kv_block_s += elapsed_s * replica.used_blocks
            totals.landing_s += elapsed_s * len(replica.landing)
            totals.parked_block_s += elapsed_s * replica.parked_blocks
            totals.link_s += elapsed_s * (replica.link_end_s < inf)
            replica.accounted_s = self.now_s

    def _lucky(self, request: Request, purpose: Leg, share: float) -> bool:
        assert self.luck is not None, "a lighter model needs luck"
        return self.luck(request.class_index, request.row.number, purpose) < share

    def _join(self, request: Request, replica: Replica) -> None:
        """Let a request wait in the queue of a replica."""
        self._account(replica)
        request.pool = replica.pool_index
        request.replica = replica.number
        rules = self.classes[request.class_index]
        request.rank = rank_of(replica.pool, rules, request)
        self._wait(replica, request)
        self.totals[request.pool].routed += 1
        self._wake(replica)

    def _conforms(self, rules: RequestClass, visitor: int) -> bool:
        """Ask the token bucket of the visitor: the virtual scheduling algorithm of ITU-T I.371."""
        interval_s = rules.bucket_interval_s
        if interval_s == 0.0 or visitor == NOWHERE:
            return True
        tat_s = self.visitor_tat_s.get(visitor, -inf)
        if self.now_s < tat_s - (rules.bucket_burst - 1) * interval_s:
            return False
        self.visitor_tat_s[visitor] = max(self.now_s, tat_s) + interval_s
        return True

    def _choose_replica(
        self, request: Request, candidates: Sequence[int]
    ) -> tuple[Replica | None, Fate]:
        rules = self.classes[request.class_index]
        fate = Fate.TOO_LONG
        for index in candidates:
            pool = self.pools[index]
            members = [replica for replica in self.replicas if replica.pool_index == index]
            active = [replica for replica in members if replica.active]
            waiting = sum(len(replica.interactive) for replica in members)
            over_mark = waiting > pool.overflow_waiting * len(active)
            if self._too_long(index, request.row):
                continue
            fate = Fate.REFUSED
            if not active:
                continue
            if over_mark and index != candidates[-1] and not rules.batch:
                continue
            replica = self._route(index, active, request)
            if rules.batch:
                return replica, fate
            if pool.queue_limit is not None and len(replica.interactive) >= pool.queue_limit:
                continue
            if not self._is_shed(replica, request, rules):
                return replica, fate
            fate = Fate.SHED
        return None, fate

    def _too_long(self, pool_index: int, row: Row) -> bool:
        pool = self.pools[pool_index]
        if pool.decode_pool is None:
            return too_long(pool, row, row.output_tokens)
        first = min(row.output_tokens, 1)
        return too_long(pool, row, first) or self._too_long(pool.decode_pool, row)

    def _route(self, pool_index: int, active: list[Replica], request: Request) -> Replica:
        session, batch = request.row.session, request.batch
        router = self.pools[pool_index].router
        if router == Router.ROUND_ROBIN:
            turn = self.cursors[pool_index]
            self.cursors[pool_index] += 1
            return active[turn % len(active)]
        least_loaded = min(active, key=lambda replica: (replica.load_for(batch), replica.number))
        if router == Router.LEAST_LOADED:
            return least_loaded
        if router == Router.CACHE_AWARE:
            return holder(active, request, self.classes[request.class_index], least_loaded)
        if router == Router.SESSION_AFFINITY and session != NOWHERE:
            return active[session % len(active)]
        assert self.rng is not None, "power of two choices needs a random generator"
        first = active[int(self.rng.random() * len(active))]
        second = active[int(self.rng.random() * len(active))]
        return second if second.load_for(batch) < first.load_for(batch) else first

    def _is_shed(self, replica: Replica, request: Request, rules: RequestClass) -> bool:
        """Admission control."""
        pool = replica.pool
        waiting = sum(other.pending_tokens for other in replica.interactive)
        used = pool.kv_blocks - replica.free_blocks
        if waiting >= pool.shed_tokens or (rules.sheddable and used >= pool.shed_blocks):
            return True
        if pool.shed_ttft == inf:
            return False
        # The rate at which prompts were admitted since the queue was last empty, as if a step of
        # nothing but prefill had gone before.
        tokens, seconds = pool.token_budget, pool.fixed_s + pool.linear_s[pool.token_budget]
        if replica.interactive:
            tokens += replica.backlog_tokens
            seconds += self.now_s - replica.backlog_since_s
        strict = pool.scheduler == Scheduler.PRIORITY
        ahead = sum(
            other.pending_tokens
            for other in replica.interactive
            if not strict or self.classes[other.class_index].priority <= rules.priority
        )
        own = request.prompt_tokens - found_tokens(replica, request, rules)
        sent_s = pool.request_s
        if pool.decode_pool is not None and request.row.output_tokens > 1:
            sent_s += pool.link_token_s * request.prompt_tokens + pool.link_latency_s
        predicted_s = (ahead + own) * seconds / tokens + sent_s
        return predicted_s > pool.shed_ttft * rules.ttft_limit_s

    def _wait(self, replica: Replica, request: Request) -> None:
        """Let a request that arrives wait; a class of which nothing waited saves nothing up."""
        klass = request.class_index
        if all(other.class_index != klass for other in replica.waiting):
            served = replica.served_tokens[klass]
            replica.served_tokens[klass] = max(served, replica.virtual_tokens)
        self._queue(replica, request)

    def _queue(self, replica: Replica, request: Request) -> None:
        if not request.batch and not replica.interactive:
            replica.backlog_since_s = self.now_s
            replica.backlog_tokens = 0
        request.pending_tokens = request.prompt_tokens
        if replica.pool.sheds:
            rules = self.classes[request.class_index]
            request.pending_tokens -= found_tokens(replica, request, rules)
        replica.waiting.append(request)

    def _charge(self, replica: Replica, request: Request, cost_tokens: float) -> None:
        """Count tokens as served to the class of a request."""
        klass = request.class_index
        replica.served_tokens[klass] += cost_tokens / self.classes[klass].weight
