"""The naive twin: the rules of `planner/kernel/README.md`, written to be checked by eye.

One event per step and replica, one object per request, plain lists scanned from end to end. It
shares nothing with the compiled kernel but the names of fates, routers and schedulers. "Rule n"
below is a step of the README's *Arrival* (in `_arrive`) or *Step boundary* (in `_boundary`).
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from math import ceil, inf, isnan, nan
from typing import Any, Protocol

from planner.kernel.dtypes import RETRY_PAUSE_S, Fate, Router, Scheduler

NOWHERE = -1

# Kinds of events at one instant, in their order.
FROM_TRACE, GENERATED, REPLICA, CONTROL = range(4)


class Random(Protocol):
    """The one method that is used of a `numpy.random.Generator`."""

    def random(self) -> float: ...


@dataclass
class Pool:
    fixed_s: float
    linear_s: list[float]
    """Seconds by tokens in the step, 0 … token_budget."""
    decode_s: float
    decode_seq_s: float
    prefill_s: float
    token_budget: int
    maximum_sequences: int
    kv_blocks: int
    kv_block_tokens: int
    context_tokens: int
    queue_limit: int | None = None
    overflow_waiting: float = inf
    router: Router = Router.LEAST_LOADED
    scheduler: Scheduler = Scheduler.FCFS
    request_s: float = 0.0
    late_steps: float = 0.0
    prefill_first: bool = False
    poll_steps: int = 1
    replicas: int = 1


@dataclass
class RequestClass:
    pools: list[int]
    priority: int = 0
    timeout_s: float = inf
    ttft_limit_s: float = inf
    tpot_limit_s: float = inf
    e2e_limit_s: float = inf
    bucket_interval_s: float = 0.0
    bucket_burst: float = 1.0


@dataclass
class Row:
    arrival_s: float | None
    """None: a later turn, or a row of a closed stream, of which the first may have one."""
    class_index: int
    input_tokens: int
    output_tokens: int
    reasoning_tokens: int = 0
    session: int = NOWHERE
    visitor: int = NOWHERE
    think_s: float = 0.0
    later_turns: list[Row] = field(default_factory=list)
    """The rest of the session; each is sent its own `think_s` after the turn before was served."""
    number: int = NOWHERE


@dataclass
class ClosedStream:
    class_index: int
    clients: int
    rows: list[Row]


@dataclass(eq=False)
class Request:
    """A request from its arrival to its end; once ended, its record."""

    key: int
    row: Row
    arrival_s: float
    later_turns: list[Row]
    stream: int
    """The closed stream that sent it, or NOWHERE."""
    deadline_s: float
    rank: tuple[int, int]
    """(priority, key) under the priority scheduler, else (0, key): the least is served first."""
    pool: int = NOWHERE
    replica: int = NOWHERE
    started_s: float = nan
    first_token_s: float = nan
    last_token_s: float = nan
    finish_s: float = nan
    fate: Fate | None = None
    good: bool = False
    measured: bool = False
    preemptions: int = 0
    prompt_tokens: int = 0
    """To prefill in this admission: the input and what was already emitted."""
    prefilled_tokens: int = 0
    chunk_tokens: int = 0
    """Of these, in the step under way."""
    emitted_tokens: int = 0
    kv_tokens: int = 0
    blocks: int = 0
    decoding: bool = False

    @property
    def number(self) -> int:
        return self.row.number

    @property
    def class_index(self) -> int:
        return self.row.class_index


@dataclass(eq=False)
class Replica:
    number: int
    pool_index: int
    pool: Pool
    active: bool = True
    waiting: list[Request] = field(default_factory=list)
    running: list[Request] = field(default_factory=list)
    """In order of admission."""
    prefill_step: bool = False  # decoding requests stand still for it
    unpolled_steps: int = 0  # of nothing but decodes, since the queue was last looked at
    step_start_s: float = -inf
    step_end_s: float = inf
    """Infinity while idle."""
    accounted_s: float = 0.0
    """Time up to which the integrals of `PoolTotals` are known."""

    @property
    def idle(self) -> bool:
        return self.step_end_s == inf

    @property
    def load(self) -> int:
        return len(self.waiting) + len(self.running)

    @property
    def free_blocks(self) -> int:
        return self.pool.kv_blocks - sum(request.blocks for request in self.running)


@dataclass
class PoolTotals:
    busy_s: float = 0.0
    running_s: float = 0.0
    """∫ running sequences dt; likewise below."""
    waiting_s: float = 0.0
    kv_block_s: float = 0.0
    steps: int = 0
    """Completed ones."""
    prefill_tokens: int = 0
    decode_tokens: int = 0
    preemptions: int = 0
    routed: int = 0
    overflowed: int = 0


@dataclass
class Outcome:
    requests: list[Request]
    """Every request that arrived, in order of arrival key."""
    token_gaps: list[list[float]]
    """Per class, the measured gaps before every token but the first of a request."""
    abandoned_turns: int
    unsent: int
    pools: list[PoolTotals]


def simulate(
    pools: Sequence[Pool],
    classes: Sequence[RequestClass],
    rows: Sequence[Row],
    closed_streams: Sequence[ClosedStream] = (),
    end_s: float = inf,
    stop_s: float = inf,
    warmup_s: float = 0.0,
    rng: Random | None = None,
    losses: Sequence[tuple[float, int]] = (),
    drains: Sequence[tuple[float, int]] = (),
    activations: Sequence[tuple[float, int]] = (),
) -> Outcome:
    """Simulate until nothing is left to happen, or until `stop_s`.

    Replicas are numbered consecutively over the pools and are active at the start. Control actions
    are pairs (time, replica); at one instant losses come before drains before activations.
    """
    simulation = Simulation(pools, classes, closed_streams, end_s, warmup_s, rng)
    for position, row in enumerate(rows):
        assert row.arrival_s is not None
        if row.arrival_s <= end_s:
            simulation.schedule(
                row.arrival_s, FROM_TRACE, position, (row, row.later_turns, NOWHERE)
            )
    for number, stream in enumerate(closed_streams):
        for row in stream.rows[: stream.clients]:
            simulation.send_next_of_stream(number, row.arrival_s or 0.0)
    actions: list[tuple[float, Callable[[Replica], None], int]]
    actions = [(time_s, simulation.lose, number) for time_s, number in losses]
    actions += [(time_s, simulation.drain, number) for time_s, number in drains]
    actions += [(time_s, simulation.activate, number) for time_s, number in activations]
    for position, (time_s, action, number) in enumerate(actions):
        simulation.schedule(time_s, CONTROL, position, (action, simulation.replicas[number]))
    simulation.run(stop_s)
    return Outcome(
        simulation.requests,
        simulation.token_gaps,
        simulation.abandoned_turns,
        simulation.unsent,
        simulation.totals,
    )


class Simulation:
    """The state of one simulation and the rules that change it."""

    def __init__(
        self,
        pools: Sequence[Pool],
        classes: Sequence[RequestClass],
        closed_streams: Sequence[ClosedStream],
        end_s: float,
        warmup_s: float,
        rng: Random | None,
    ) -> None:
        self.pools = pools
        self.classes = classes
        self.end_s = end_s
        self.warmup_s = warmup_s
        self.rng = rng
        self.now_s = -inf
        self.events: list[tuple[float, int, int, Any]] = []
        self.generated = 0
        self.requests: list[Request] = []
        self.unsent_rows = [list(stream.rows) for stream in closed_streams]
        owners = [index for index, pool in enumerate(pools) for _ in range(pool.replicas)]
        self.replicas = [Replica(n, index, pools[index]) for n, index in enumerate(owners)]
        self.cursors = [0 for _ in pools]
        self.visitor_tat_s: dict[int, float] = {}
        self.token_gaps: list[list[float]] = [[] for _ in classes]
        self.totals = [PoolTotals() for _ in pools]
        self.abandoned_turns = 0
        self.unsent = 0

    def schedule(self, time_s: float, kind: int, number: int, what: object = None) -> None:
        heapq.heappush(self.events, (time_s, kind, number, what))

    def run(self, stop_s: float) -> None:
        while self.events and self.events[0][0] <= stop_s:
            self.now_s, kind, number, what = heapq.heappop(self.events)
            if kind in (FROM_TRACE, GENERATED):
                self._arrive(*what)
            elif kind == REPLICA:
                self._replica_event(self.replicas[number])
            else:
                action, replica = what
                action(replica)
        if stop_s < inf:
            self.now_s = stop_s
            for replica in self.replicas:
                self._account(replica)
        for request in self.requests:
            if request.fate is None:
                self._end(request, Fate.UNFINISHED)

    def _replica_event(self, replica: Replica) -> None:
        """A step boundary, if one is due, then the time-outs of requests that still wait."""
        self._account(replica)
        starts_from_idle = replica.idle and replica.waiting
        if replica.step_end_s == self.now_s or starts_from_idle:
            self._boundary(replica)
        for request in sorted(replica.waiting, key=lambda request: request.key):
            if isnan(request.started_s) and request.deadline_s <= self.now_s:
                replica.waiting.remove(request)
                self._end(request, Fate.TIMED_OUT)

    def _account(self, replica: Replica) -> None:
        """Add the time since the last change of the replica to the integrals of its pool."""
        totals = self.totals[replica.pool_index]
        elapsed_s = self.now_s - replica.accounted_s
        if elapsed_s > 0.0:
            totals.busy_s += 0.0 if replica.idle else elapsed_s
            totals.running_s += elapsed_s * len(replica.running)
            totals.waiting_s += elapsed_s * len(replica.waiting)
            totals.kv_block_s += elapsed_s * sum(request.blocks for request in replica.running)
            replica.accounted_s = self.now_s

    def _arrive(self, row: Row, later_turns: list[Row], stream: int) -> None:
        rules = self.classes[row.class_index]
        # Rule 1: the key.
        key = len(self.requests)
        deadline_s = self.now_s + rules.timeout_s
        request = Request(key, row, self.now_s, later_turns, stream, deadline_s, (0, key))
        request.measured = self.now_s >= self.warmup_s
        self.requests.append(request)
        # Rule 2: the rate limit.
        if not self._conforms(rules, row.visitor):
            self._end(request, Fate.RATE_LIMITED)
            return
        # Rules 3 and 4: a pool, and a replica in it.
        replica = self._choose_replica(request, rules)
        if replica is None:
            too_long = all(_too_long(self.pools[index], row) for index in rules.pools)
            self._end(request, Fate.TOO_LONG if too_long else Fate.REFUSED)
            return
        # Rule 5: its queue.
        self._account(replica)
        request.pool = replica.pool_index
        request.replica = replica.number
        if replica.pool.scheduler == Scheduler.PRIORITY:
            request.rank = (rules.priority, key)
        request.prompt_tokens = max(1, row.input_tokens)
        replica.waiting.append(request)
        self.totals[request.pool].routed += 1
        self.totals[request.pool].overflowed += request.pool != rules.pools[0]
        if replica.idle:
            self.schedule(self.now_s, REPLICA, replica.number)
        if deadline_s < inf:
            self.schedule(deadline_s, REPLICA, replica.number)

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

    def _choose_replica(self, request: Request, rules: RequestClass) -> Replica | None:
        for index in rules.pools:
            pool = self.pools[index]
            members = [replica for replica in self.replicas if replica.pool_index == index]
            active = [replica for replica in members if replica.active]
            waiting = sum(len(replica.waiting) for replica in members)
            over_mark = waiting > pool.overflow_waiting * len(active)
            if not active or _too_long(pool, request.row):
                continue
            if over_mark and index != rules.pools[-1]:
                continue
            replica = self._route(index, active, request.row.session)
            if pool.queue_limit is None or len(replica.waiting) < pool.queue_limit:
                return replica
        return None

    def _route(self, pool_index: int, active: list[Replica], session: int) -> Replica:
        router = self.pools[pool_index].router
        if router == Router.ROUND_ROBIN:
            turn = self.cursors[pool_index]
            self.cursors[pool_index] += 1
            return active[turn % len(active)]
        if router == Router.LEAST_LOADED:
            return min(active, key=lambda replica: (replica.load, replica.number))
        if router == Router.SESSION_AFFINITY and session != NOWHERE:
            return active[session % len(active)]
        assert self.rng is not None, "power of two choices needs a random generator"
        first = active[int(self.rng.random() * len(active))]
        second = active[int(self.rng.random() * len(active))]
        return second if second.load < first.load else first

    def _boundary(self, replica: Replica) -> None:
        polled = self._poll(replica)
        # Rules 1 and 2: what the step has done, and who is served with it.
        completed = self._complete_step(replica)
        decoding = [
            request for request in replica.running if request.decoding and request not in completed
        ]
        for request in sorted(decoding, key=lambda request: request.key) + completed:
            if request.emitted_tokens >= request.row.output_tokens:
                replica.running.remove(request)
                self._end(request, Fate.SERVED)
        polled |= not replica.running
        replica.unpolled_steps = 0 if polled else replica.unpolled_steps
        # Rules 3 to 5, in the order of the pool.
        budget = replica.pool.token_budget
        if replica.pool.prefill_first:
            self._prefill(replica, budget, _blocks_needed(replica), polled)
            replica.prefill_step = any(request.chunk_tokens for request in replica.running)
            if not replica.prefill_step:
                self._make_room(replica)
        else:
            preempted = self._make_room(replica)
            budget -= sum(request.decoding for request in replica.running)
            self._prefill(replica, budget, 0, polled and not preempted)
        # Rule 6: the next step.
        replica.step_start_s = self.now_s
        replica.step_end_s = inf
        if replica.running:
            replica.step_end_s = self.now_s + step_length_s(replica)
            self.schedule(replica.step_end_s, REPLICA, replica.number)

    def _poll(self, replica: Replica) -> bool:
        """Whether the queue is looked at: every so many steps of nothing but decodes."""
        replica.unpolled_steps += 1
        prefills = not all(request.decoding for request in replica.running)
        return prefills or replica.idle or replica.unpolled_steps >= replica.pool.poll_steps

    def _make_room(self, replica: Replica) -> bool:
        """Take the blocks that decoding requests need for the next step; whether one had to go."""
        preempted = False
        while _blocks_needed(replica) > replica.free_blocks:
            self._preempt(replica, max(replica.running, key=lambda request: request.rank))
            preempted = True
        for request in replica.running:
            if _needs_block(request, replica.pool):
                request.blocks += 1
        return preempted

    def _prefill(self, replica: Replica, budget: int, aside: int, admitting: bool) -> None:
        """A half-prefilled request goes on; then others are admitted."""
        for request in replica.running:
            if not request.decoding:
                rest = request.prompt_tokens - request.prefilled_tokens
                request.chunk_tokens = min(rest, budget)
                budget -= request.chunk_tokens
        if admitting:
            self._admit(replica, budget, aside)

    def _complete_step(self, replica: Replica) -> list[Request]:
        """Apply the effects of the step that ends; return who completed a prompt, as admitted."""
        completed = []
        totals = self.totals[replica.pool_index]
        totals.steps += not replica.idle
        for request in replica.running:
            if request.decoding:
                if replica.prefill_step:
                    continue
                totals.decode_tokens += 1
                request.kv_tokens += 1
                self._emit(request, replica)
                continue
            totals.prefill_tokens += request.chunk_tokens
            request.prefilled_tokens += request.chunk_tokens
            request.chunk_tokens = 0
            if request.prefilled_tokens == request.prompt_tokens:
                request.decoding = True
                request.kv_tokens = request.prompt_tokens
                self._emit(request, replica)
                completed.append(request)
        return completed

    def _emit(self, request: Request, replica: Replica) -> None:
        request.emitted_tokens += 1
        if isnan(request.first_token_s):
            request.first_token_s = self.now_s
        elif replica.step_start_s >= self.warmup_s:
            self.token_gaps[request.class_index].append(self.now_s - request.last_token_s)
        request.last_token_s = self.now_s

    def _preempt(self, replica: Replica, request: Request) -> None:
        replica.running.remove(request)
        replica.waiting.append(request)
        request.blocks = 0
        request.decoding = False
        request.prefilled_tokens = 0
        request.prompt_tokens = max(1, request.row.input_tokens) + request.emitted_tokens
        request.preemptions += 1
        self.totals[replica.pool_index].preemptions += 1

    def _admit(self, replica: Replica, budget: int, aside: int) -> None:
        pool = replica.pool
        while budget > 0 and len(replica.running) < pool.maximum_sequences and replica.waiting:
            request = min(replica.waiting, key=lambda request: request.rank)
            blocks = ceil(request.prompt_tokens / pool.kv_block_tokens)
            if blocks > replica.free_blocks - aside:
                return
            replica.waiting.remove(request)
            replica.running.append(request)
            request.blocks = blocks
            # A prompt that stays half done has used up the budget, so it is the last one admitted.
            request.chunk_tokens = min(request.prompt_tokens, budget)
            budget -= request.chunk_tokens
            if isnan(request.started_s):
                request.started_s = self.now_s

    def _end(self, request: Request, fate: Fate) -> None:
        """Give a request its fate, and send what its end sets off."""
        request.fate = fate
        request.finish_s = self.now_s
        request.good = fate == Fate.SERVED and self._keeps_limits(request)
        front_s = self.pools[request.pool].request_s if fate == Fate.SERVED else 0.0
        if fate == Fate.SERVED and request.later_turns:
            turn, *rest = request.later_turns
            self._send(self.now_s + front_s + turn.think_s, turn, rest, NOWHERE)
        else:
            self.abandoned_turns += len(request.later_turns)
        if request.stream != NOWHERE and fate != Fate.UNFINISHED:
            pause_s = request.row.think_s + front_s
            if fate in (Fate.RATE_LIMITED, Fate.REFUSED, Fate.TOO_LONG):
                pause_s = max(pause_s, RETRY_PAUSE_S)
            self.send_next_of_stream(request.stream, self.now_s + pause_s)

    def _keeps_limits(self, request: Request) -> bool:
        limits = self.classes[request.class_index]
        pool, gaps = self.pools[request.pool], max(request.row.output_tokens - 1, 0)
        gap_s = (request.finish_s - request.first_token_s) / max(gaps, 1)
        sent_s = request.first_token_s + min(pool.late_steps, gaps) * gap_s
        return (
            sent_s + pool.request_s - request.arrival_s <= limits.ttft_limit_s
            and request.finish_s + pool.request_s - request.arrival_s <= limits.e2e_limit_s
            and (request.finish_s - sent_s) / max(gaps, 1) <= limits.tpot_limit_s
        )

    def send_next_of_stream(self, stream: int, time_s: float) -> None:
        if self.unsent_rows[stream]:
            row = self.unsent_rows[stream].pop(0)
            assert not row.later_turns, "a closed stream has no sessions"
            self._send(time_s, row, [], stream)

    def _send(self, time_s: float, row: Row, later_turns: list[Row], stream: int) -> None:
        if time_s > self.end_s:
            self.unsent += 1 + len(later_turns)
            return
        self.schedule(time_s, GENERATED, self.generated, (row, later_turns, stream))
        self.generated += 1

    def lose(self, replica: Replica) -> None:
        self._account(replica)
        victims = replica.running + replica.waiting
        replica.active = False
        replica.running = []
        replica.waiting = []
        replica.step_end_s = inf
        for request in sorted(victims, key=lambda request: request.key):
            self._end(request, Fate.FAILED)

    def drain(self, replica: Replica) -> None:
        replica.active = False

    def activate(self, replica: Replica) -> None:
        replica.active = True


def _too_long(pool: Pool, row: Row) -> bool:
    prompt = max(1, row.input_tokens)
    written = prompt + max(row.output_tokens, 1) - 1
    blocks = ceil(written / pool.kv_block_tokens)
    return prompt + row.output_tokens > pool.context_tokens or blocks > pool.kv_blocks


def _needs_block(request: Request, pool: Pool) -> bool:
    """Whether the token that the next decode step writes begins a block."""
    return request.decoding and request.kv_tokens % pool.kv_block_tokens == 0


def _blocks_needed(replica: Replica) -> int:
    return sum(_needs_block(request, replica.pool) for request in replica.running)


def step_length_s(replica: Replica) -> float:
    """Return the length of the step that the running requests of a replica make."""
    pool = replica.pool
    sequences = context = chunks = 0
    work = 0.0
    for request in replica.running:
        if request.decoding:
            if replica.prefill_step:
                continue
            sequences += 1
            context += request.kv_tokens + 1
        else:
            chunk = request.chunk_tokens
            chunks += chunk
            work += chunk * (request.prefilled_tokens + chunk / 2)
    return (
        pool.fixed_s
        + pool.linear_s[sequences + chunks]
        + pool.decode_s * context
        + pool.decode_seq_s * sequences
        + pool.prefill_s * work
    )
