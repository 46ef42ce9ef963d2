"""The naive twin: the rules of `planner/kernel/README.md`, written to be checked by eye.

One event per step and replica, one object per request, plain lists scanned from end to end. It
shares nothing with the compiled kernel but the names of fates, routers and schedulers. "Rule n"
below is a step of the README's *Arrival* (in `_arrive`) or *Step boundary* (in `_boundary`).
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Sequence
from itertools import accumulate
from math import ceil, inf, isnan, nan

from planner.kernel.dtypes import OUTPUT_COST, RETRY_PAUSE_S
from planner.kernel.enums import Fate, Leg
from tests.naive.arrivals import CONTROL, FROM_TRACE, GENERATED, REPLICA, Arrivals, Luck, Random
from tests.naive.cache import (
    attached,
    blocks_taken,
    empty,
    evict,
    fetch,
    keep,
    take_blocks,
)
from tests.naive.state import (
    NOWHERE,
    ClosedStream,
    Outcome,
    Pool,
    PoolTotals,
    Replica,
    Request,
    RequestClass,
    Row,
    Task,
    Tier,
)
from tests.naive.steps import (
    blocks_needed,
    context_of,
    new_blocks,
    step_length_s,
    width,
)

__all__ = [
    "NOWHERE", "ClosedStream", "Luck", "Outcome", "Pool", "PoolTotals", "Replica", "Request",
    "RequestClass", "Row", "Task", "Tier", "simulate", "step_length_s",
]  # fmt: skip


def simulate(
    pools: Sequence[Pool],
    classes: Sequence[RequestClass],
    rows: Sequence[Row],
    closed_streams: Sequence[ClosedStream] = (),
    end_s: float = inf,
    stop_s: float = inf,
    warmup_s: float = 0.0,
    rng: Random | None = None,
    luck: Luck | None = None,
    losses: Sequence[tuple[float, int]] = (),
    drains: Sequence[tuple[float, int]] = (),
    activations: Sequence[tuple[float, int]] = (),
) -> Outcome:
    """Simulate until nothing is left to happen, or until `stop_s`.

    Replicas are numbered consecutively over the pools and are active at the start. Control actions
    are pairs (time, replica); at one instant losses come before drains before activations.
    """
    simulation = Simulation(pools, classes, closed_streams, end_s, warmup_s, rng, luck)
    for position, row in enumerate(rows):
        assert row.arrival_s is not None
        if row.arrival_s <= end_s:
            simulation.schedule(
                row.arrival_s, FROM_TRACE, position, (row, row.later_turns, NOWHERE, [])
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
        simulation.tasks,
    )


class Simulation(Arrivals):
    """What happens on replicas, between pools, and when requests end."""

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
        if replica.link_end_s == self.now_s:
            self._end_transfer(replica)
        come = [request for request in replica.fetching if request.ready_s <= self.now_s]
        come += [request for request in replica.landing if request.landed]
        starts_from_idle = replica.idle and (replica.waiting or come)
        if replica.step_end_s == self.now_s or starts_from_idle:
            self._boundary(replica)
            self._send_off(replica)
        for request in sorted(replica.waiting, key=lambda request: request.key):
            if isnan(request.started_s) and request.deadline_s <= self.now_s:
                replica.waiting.remove(request)
                self._end(request, Fate.TIMED_OUT)
                self._wake(replica)
        self._stop(replica)

    # --- from a pool that prefills to one that decodes ---

    def _send_off(self, source: Replica) -> None:
        """Send what leaves a replica to another pool."""
        for request in source.leaving:
            if request.source is None:
                self._escalate(request)
            else:
                self._hand_over(request, source)
        source.leaving = []

    def _escalate(self, request: Request) -> None:
        """Let the pools of its class serve a request again; its first answer is thrown away."""
        request.leg = Leg.ESCALATED
        request.decoding = False
        request.blocks = request.shared = 0
        request.prefilled_tokens = request.emitted_tokens = 0
        request.prompt_tokens = max(1, request.row.input_tokens)  # it may have been preempted
        request.first_token_s = request.last_token_s = request.answer_s = nan
        request.prefill_replica = NOWHERE
        request.charged = False
        rules = self.classes[request.class_index]
        replica, _ = self._choose_replica(request, rules.pools)
        if replica is None:
            self._end(request, Fate.FAILED)
            return
        self._join(request, replica)
        self.totals[request.pool].escalated += 1
        self.totals[request.pool].overflowed += request.pool != rules.pools[0]

    def _hand_over(self, request: Request, source: Replica) -> None:
        """Let what has been prefilled wait for memory in the pool that decodes."""
        index = source.pool.decode_pool
        assert index is not None
        active = [r for r in self.replicas if r.pool_index == index and r.active]
        if not active:
            self._release(request)
            self._end(request, Fate.FAILED)
            self._wake(source)
            return
        self._join(request, self._route(index, active, request))
        self.totals[index].received += 1

    def _start_transfer(self, source: Replica) -> None:
        """Send the KV that is next on a link, if any."""
        source.link_end_s = inf
        if source.link:
            pool = source.pool
            duration_s = pool.link_token_s * source.link[0].prompt_tokens + pool.link_latency_s
            source.link_end_s = self.now_s + duration_s
            self.schedule(source.link_end_s, REPLICA, source.number)

    def _end_transfer(self, source: Replica) -> None:
        """The source forgets the request, which decodes elsewhere from the next boundary on."""
        request = source.link.pop(0)
        self._release(request)
        request.landed = True
        self._start_transfer(source)
        self._wake(self.replicas[request.replica])

    def _release(self, request: Request) -> None:
        """Keep the KV of a prompt no more, but in the prefix cache."""
        source = request.source
        assert source is not None
        rules = self.classes[request.class_index]
        keep(source, request, rules, request.prompt_tokens, request.source_shared)
        source.kept.remove(request)
        request.source = None

    def _land(self, replica: Replica) -> None:
        """Let those whose KV has come decode; the client gets their first token now."""
        for request in [request for request in replica.landing if request.landed]:
            replica.landing.remove(request)
            request.landed = False
            replica.running.append(request)
            request.first_token_s = request.last_token_s = self.now_s
            if request.emitted_tokens >= request.answer_token:
                request.answer_s = self.now_s

    def _arrive(self, row: Row, later_turns: list[Row], stream: int, calls: list[Request]) -> None:
        rules = self.classes[row.class_index]
        # Rule 1: the key.
        key = len(self.requests)
        deadline_s = self.now_s + rules.timeout_s
        request = Request(key, row, self.now_s, later_turns, stream, deadline_s, 0.0, rules.batch)
        request.measured = self.now_s >= self.warmup_s
        request.calls = [*calls, request]
        self.requests.append(request)
        # Rule 2: the rate limit.
        if not self._conforms(rules, row.visitor):
            self._end(request, Fate.RATE_LIMITED)
            return
        # Rules 3 and 4: a pool, and a replica in it.
        if (
            rules.light_pool is not None
            and row.input_tokens <= rules.light_input_tokens
            and self._lucky(request, Leg.LIGHT, rules.light_share)
        ):
            request.leg = Leg.LIGHT
        request.prompt_tokens = max(1, row.input_tokens)
        candidates = _candidates(rules, request)
        replica, fate = self._choose_replica(request, candidates)
        if replica is None:
            self._end(request, fate)
            return
        if replica.pool_index != rules.light_pool:
            request.leg = Leg.MAIN
        # Rule 5: its queue.
        self._join(request, replica)
        self.totals[request.pool].overflowed += request.pool not in candidates[:1]
        if deadline_s < inf:
            self.schedule(deadline_s, REPLICA, replica.number)

    def _boundary(self, replica: Replica) -> None:
        polled = self._poll(replica)
        # Rules 1 and 2: what the step has done, and who is served with it.
        completed = self._complete_step(replica)
        decoding = [
            request for request in replica.running if request.decoding and request not in completed
        ]
        for request in sorted(decoding, key=lambda request: request.key) + completed:
            if request.emitted_tokens >= request.row.output_tokens:
                rules = self.classes[request.class_index]
                keep(replica, request, rules, context_of(request.row), request.shared)
                replica.running.remove(request)
                if request.leg is Leg.LIGHT and self._lucky(
                    request, Leg.ESCALATED, rules.escalation
                ):
                    replica.leaving.append(request)
                else:
                    self._end(request, Fate.SERVED)
            elif replica.pool.decode_pool is not None:
                replica.running.remove(request)
                request.source, request.source_shared = replica, request.shared
                request.source_blocks = request.blocks - request.shared
                request.shared = 0
                request.prefill_replica = replica.number
                replica.kept.append(request)
                replica.leaving.append(request)
        polled |= not replica.running
        replica.unpolled_steps = 0 if polled else replica.unpolled_steps
        if polled:
            self._land(replica)
        sequences = sum(request.decoding for request in replica.running)
        pool = replica.pool
        replica.drafting = pool.draft_tokens > 0 and sequences <= pool.draft_sequences
        # Rules 3 to 5, in the order of the pool.
        budget = replica.pool.token_budget
        if replica.pool.prefill_first:
            self._prefill(replica, budget, polled)
            replica.prefill_step = any(request.chunk_tokens for request in replica.running)
            preempted = not replica.prefill_step and self._make_room(replica)
        else:
            preempted = self._make_room(replica)
            decoding = sum(request.decoding for request in replica.running) + len(replica.landing)
            budget = max(budget - decoding * width(replica), 0)
            self._prefill(replica, budget, polled and not preempted)
        if preempted and not replica.running and not replica.landing:
            self._admit(replica, pool.token_budget)
        # Rule 6: the next step.
        replica.step_start_s = self.now_s
        replica.step_end_s = inf
        if replica.running:
            replica.step_end_s = self.now_s + step_length_s(replica)
            self.schedule(replica.step_end_s, REPLICA, replica.number)
        elif any(request.landed for request in replica.landing):
            self._wake(replica)

    def _poll(self, replica: Replica) -> bool:
        """Whether the queue is looked at: every so many steps of nothing but decodes."""
        replica.unpolled_steps += 1
        prefills = not all(request.decoding for request in replica.running)
        return prefills or replica.idle or replica.unpolled_steps >= replica.pool.poll_steps

    def _make_room(self, replica: Replica) -> bool:
        """Take the blocks that decoding requests need for the next step; whether one had to go."""
        preempted = False
        while blocks_needed(replica) > replica.free_blocks:
            self._preempt(replica, max(replica.running, key=replica.place))
            preempted = True
        for request in replica.running:
            request.blocks += new_blocks(request, replica)
        return preempted

    def _prefill(self, replica: Replica, budget: int, admitting: bool) -> None:
        """A half-prefilled request goes on; then others are admitted."""
        for request in replica.running:
            if not request.decoding:
                rest = request.prompt_tokens - request.prefilled_tokens
                request.chunk_tokens = min(rest, budget)
                budget -= request.chunk_tokens
        if admitting:
            self._admit(replica, budget)

    def _complete_step(self, replica: Replica) -> list[Request]:
        """Apply the effects of the step that ends; return who completed a prompt, as admitted."""
        completed = []
        totals = self.totals[replica.pool_index]
        totals.steps += not replica.idle
        for request in replica.running:
            if request.decoding:
                if replica.prefill_step:
                    continue
                tokens = self._accepted(request, replica)
                left = request.row.output_tokens - request.emitted_tokens
                totals.decode_tokens += min(tokens, left)
                request.kv_tokens += tokens
                self._emit(request, replica, tokens, left)
                continue
            totals.prefill_tokens += request.chunk_tokens
            request.prefilled_tokens += request.chunk_tokens
            request.chunk_tokens = 0
            if request.prefilled_tokens == request.prompt_tokens:
                request.decoding = True
                request.kv_tokens = request.prompt_tokens
                self._emit(request, replica, 1, 1)
                completed.append(request)
        return completed

    def _accepted(self, request: Request, replica: Replica) -> int:
        """How many tokens a decoding request emits in a step: one, and the drafts accepted."""
        if not replica.drafting:
            return 1
        shares = replica.pool.emitted[request.class_index]
        if 1.0 in shares:
            return shares.index(1.0) + 1
        assert self.rng is not None, "drafts need a random generator"
        luck = self.rng.random()
        return 1 + sum(luck >= total for total in accumulate(shares[:-1]))

    def _emit(self, request: Request, replica: Replica, tokens: int, left: int) -> None:
        """Emit tokens; those beyond the end count as gaps only, like the others of their step."""
        request.emitted_tokens += min(tokens, left)
        self._charge(replica, request, OUTPUT_COST * min(tokens, left))
        handed = replica.pool.decode_pool is not None
        if handed and request.emitted_tokens < request.row.output_tokens:
            return  # the client gets it from the pool that decodes
        if isnan(request.answer_s) and request.emitted_tokens >= request.answer_token:
            request.answer_s = self.now_s
        if isnan(request.first_token_s):
            request.first_token_s = self.now_s
        elif replica.step_start_s >= self.warmup_s:
            gap_s = (self.now_s - request.last_token_s) / tokens
            self.token_gaps[request.class_index] += [gap_s] * tokens
        request.last_token_s = self.now_s

    def _preempt(self, replica: Replica, request: Request) -> None:
        pool, rules = replica.pool, self.classes[request.class_index]
        computed = request.prefilled_tokens // pool.kv_block_tokens
        evict(replica)
        for segment in reversed(attached(replica, request, rules)):
            keep = inf if request.decoding else max(0, computed - segment.first)
            replica.store.detach(segment.key, keep)
        replica.running.remove(request)
        request.prompt_tokens = max(1, request.row.input_tokens) + request.emitted_tokens
        totals = self.totals[replica.pool_index]
        if pool.swap and request.decoding:
            blocks = ceil((request.prompt_tokens - 1) / pool.kv_block_tokens)
            if replica.tiers[0].pinned + blocks <= pool.tiers[0].blocks:
                request.swapped_blocks = blocks
                replica.tiers[0].pinned += blocks
                replica.tiers[0].shrink(pool.tiers[0].blocks)
                busy_until_s = max(replica.link_free_s[0], self.now_s)
                replica.link_free_s[0] = busy_until_s + blocks * pool.tiers[0].block_s
                totals.swaps += 1
        request.blocks = request.shared = 0
        request.decoding = False
        request.prefilled_tokens = 0
        request.preemptions += 1
        totals.preemptions += 1
        self._queue(replica, request)

    def _admit(self, replica: Replica, budget: int) -> None:
        pool = replica.pool
        while budget > 0:
            fetched = [each for each in replica.fetching if each.ready_s <= self.now_s]
            if fetched:
                request = min(fetched, key=lambda request: (request.ready_s, request.key))
                replica.fetching.remove(request)
            else:
                if not replica.waiting:
                    return
                request = min(replica.waiting, key=replica.place)
                rules = self.classes[request.class_index]
                aside = blocks_needed(replica)
                free = replica.free_blocks - aside
                blocks = blocks_taken(replica, request, rules)
                sequences = replica.load - len(replica.waiting)
                if sequences >= pool.maximum_sequences or blocks > free:
                    yielding = [r for r in replica.running if r.batch and r.decoding]
                    if request.batch or not yielding:
                        return
                    replica.store.shrink(free)
                    self._preempt(replica, max(yielding, key=replica.place))
                    continue
                if not request.batch:
                    replica.backlog_tokens += request.pending_tokens
                elif sequences:
                    used = pool.kv_blocks - free + blocks
                    if sequences >= pool.batch_sequences or used > pool.batch_blocks:
                        return
                self._take(replica, request)
                if request.source is not None:
                    self._receive(replica, request)
                    budget -= 0 if pool.prefill_first else width(replica)
                    continue
                self._start(replica, request, aside)
                if request in replica.fetching:
                    continue
            replica.running.append(request)
            # A prompt that stays half done has used up the budget, so it is the last one admitted.
            rest = request.prompt_tokens - request.prefilled_tokens
            request.chunk_tokens = min(rest, budget)
            budget -= request.chunk_tokens

    def _take(self, replica: Replica, request: Request) -> None:
        """Take a request out of the queue: its turn has come."""
        replica.waiting.remove(request)
        served = replica.served_tokens[request.class_index]
        replica.virtual_tokens = max(replica.virtual_tokens, served)
        if not request.charged:
            request.charged = True
            if request.source is None:
                self._charge(replica, request, request.prompt_tokens)

    def _receive(self, replica: Replica, request: Request) -> None:
        """Give what another pool has prefilled its blocks, and let its KV come."""
        tokens = request.prompt_tokens + replica.pool.room(request.class_index)
        request.blocks = ceil(tokens / replica.pool.kv_block_tokens)
        replica.landing.append(request)
        assert request.source is not None
        request.source.link.append(request)
        if len(request.source.link) == 1:
            self._account(request.source)
            self._start_transfer(request.source)

    def _start(self, replica: Replica, request: Request, aside: int) -> None:
        """Give a request its blocks; some may have to come from tiers first."""
        rules, totals = self.classes[request.class_index], self.totals[replica.pool_index]
        take_blocks(replica, request, rules, aside)
        totals.cached_tokens += request.prefilled_tokens
        fetch(replica, request, rules, self.now_s, totals)
        if isnan(request.started_s):
            request.started_s = self.now_s
        if request.emitted_tokens == 0:
            request.cached_tokens = request.prefilled_tokens
        if request in replica.fetching:
            self.schedule(request.ready_s, REPLICA, replica.number)

    def _end(self, request: Request, fate: Fate) -> None:
        """Give a request its fate, and send what its end sets off."""
        request.fate = fate
        request.finish_s = self.now_s
        request.good = fate == Fate.SERVED and self._keeps_limits(request)
        front_s = self.pools[request.pool].request_s if fate == Fate.SERVED else 0.0
        if fate == Fate.SERVED and request.later_turns:
            turn, *rest = request.later_turns
            self._send(self.now_s + front_s + turn.think_s, turn, rest, NOWHERE, request.calls)
        else:
            self.abandoned_turns += len(request.later_turns)
            if request.row.session != NOWHERE and fate != Fate.UNFINISHED:
                latency_s = self.now_s + front_s - request.calls[0].arrival_s
                self.tasks.append(Task(request.calls, fate == Fate.SERVED, latency_s))
        if request.stream != NOWHERE and fate != Fate.UNFINISHED:
            pause_s = request.row.think_s + front_s
            if fate in (Fate.RATE_LIMITED, Fate.REFUSED, Fate.TOO_LONG, Fate.SHED):
                pause_s = max(pause_s, RETRY_PAUSE_S)
            self.send_next_of_stream(request.stream, self.now_s + pause_s)

    def _keeps_limits(self, request: Request) -> bool:
        limits = self.classes[request.class_index]
        pool, gaps = self.pools[request.pool], max(request.row.output_tokens - 1, 0)
        gap_s = (request.finish_s - request.first_token_s) / max(gaps, 1)
        late = pool.late_steps * pool.pace(request.class_index)
        sent_s = request.first_token_s + min(late, gaps) * gap_s
        rest = max(request.row.output_tokens - request.answer_token, 0)
        answer_s = max(sent_s, min(request.answer_s + min(late, rest) * gap_s, request.finish_s))
        return (
            sent_s + pool.request_s - request.arrival_s <= limits.ttft_limit_s
            and answer_s + pool.request_s - request.arrival_s <= limits.ttfat_limit_s
            and request.finish_s + pool.request_s - request.arrival_s <= limits.e2e_limit_s
            and (request.finish_s - sent_s) / max(gaps, 1) <= limits.tpot_limit_s
        )

    def send_next_of_stream(self, stream: int, time_s: float) -> None:
        if self.unsent_rows[stream]:
            row = self.unsent_rows[stream].pop(0)
            assert not row.later_turns, "a closed stream has no sessions"
            self._send(time_s, row, [], stream, [])

    def _send(
        self, time_s: float, row: Row, later_turns: list[Row], stream: int, calls: list[Request]
    ) -> None:
        if time_s > self.end_s:
            self.unsent += 1 + len(later_turns)
            return
        self.schedule(time_s, GENERATED, self.generated, (row, later_turns, stream, calls))
        self.generated += 1

    def lose(self, replica: Replica) -> None:
        for other in self.replicas:
            self._account(other)
        victims = replica.running + replica.waiting + replica.fetching
        victims += replica.landing + replica.kept
        replica.active = False
        replica.running = []
        replica.fetching = []
        replica.step_end_s = inf
        for request in sorted(victims, key=lambda request: request.key):
            self._forget(request)
            self._end(request, Fate.FAILED)
        replica.link_end_s = inf
        empty(replica)

    def _forget(self, request: Request) -> None:
        """Take a request out of every queue and off its link."""
        here, source = self.replicas[request.replica], request.source
        for requests in (here.waiting, here.landing):
            if request in requests:
                requests.remove(request)
                self._wake(here)
        if source is not None:
            if request in source.link:
                sending = source.link[0] is request
                source.link.remove(request)
                if sending:
                    self._start_transfer(source)
            self._release(request)
            self._wake(source)

    def drain(self, replica: Replica) -> None:
        replica.active = False
        self._stop(replica)

    def _stop(self, replica: Replica) -> None:
        """A replica that takes nothing new and has nothing left keeps nothing."""
        if not replica.active and not replica.load and not replica.kept:
            empty(replica)

    def activate(self, replica: Replica) -> None:
        replica.active = True


def _candidates(rules: RequestClass, request: Request) -> list[int]:
    """The pools that a request may use, in order."""
    light = [rules.light_pool] if request.leg is Leg.LIGHT else []
    return [index for index in light if index is not None] + rules.pools
