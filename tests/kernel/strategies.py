"""Small scenarios for hypothesis, in two flavours.

*dyadic*: every time and coefficient is a small multiple of 2⁻²⁰, so every sum and product is exact
in float64, instants coincide often, and two simulators must agree to the last bit. Integers are few
and small on purpose: ties, preemptions and full queues are the common case.

*general*: times and coefficients are arbitrary floats. They are drawn by a seeded generator, not by
hypothesis, which likes round numbers: a tie that only rounding breaks is no disagreement.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from math import ceil, inf
from typing import Protocol

import numpy as np
from hypothesis import strategies as st

from planner.kernel.cascade import chance
from planner.kernel.enums import Router, Scheduler
from tests.naive import ClosedStream, Luck, Outcome, Pool, RequestClass, Row, Tier, simulate


def examples(count: int) -> int:
    """Return how many examples to run: the lane that checks bounds repeats a quarter of them."""
    return count // 4 if os.environ.get("NUMBA_BOUNDSCHECK") == "1" else count


UNIT_S = 2.0**-20
HASH_TOKENS = 4
UNIT_STEPS = Pool(
    fixed_s=1.0,
    linear_s=[0.0] * 17,
    decode_s=0.0,
    decode_seq_s=0.0,
    prefill_s=0.0,
    token_budget=16,
    maximum_sequences=8,
    kv_blocks=100,
    kv_block_tokens=1,
    context_tokens=100,
)
"""One replica whose steps last a second, whatever is in them."""

Actions = list[tuple[float, int]]


@dataclass
class Scenario:
    """The arguments of `naive.simulate`; `seed` stands for the generator."""

    pools: list[Pool]
    classes: list[RequestClass]
    rows: list[Row]
    closed_streams: list[ClosedStream] = field(default_factory=list)
    end_s: float = inf
    stop_s: float = inf
    warmup_s: float = 0.0
    seed: int = 0
    losses: Actions = field(default_factory=list)
    drains: Actions = field(default_factory=list)
    activations: Actions = field(default_factory=list)

    @property
    def replicas(self) -> int:
        return sum(pool.replicas for pool in self.pools)

    @property
    def all_rows(self) -> list[Row]:
        """Every row, at the position of its number."""
        rows = [*self.rows, *(turn for row in self.rows for turn in row.later_turns)]
        return rows + [row for stream in self.closed_streams for row in stream.rows]

    @property
    def luck(self) -> Luck:
        """The kernel's chances of the rows."""
        return partial(chance, int(np.random.SeedSequence(self.seed).generate_state(1)[0]))

    def simulate_naively(self) -> Outcome:
        """Run the twin, with a fresh generator."""
        return simulate(
            self.pools,
            self.classes,
            self.rows,
            self.closed_streams,
            end_s=self.end_s,
            stop_s=self.stop_s,
            warmup_s=self.warmup_s,
            rng=np.random.default_rng(self.seed),
            luck=self.luck,
            losses=self.losses,
            drains=self.drains,
            activations=self.activations,
        )


@dataclass(frozen=True)
class Ranges:
    """What the integers of a scenario are picked from; hypothesis shrinks to the first of each."""

    pools: tuple[int, ...]
    replicas: tuple[int, ...]
    token_budgets: tuple[int, ...]
    sequences: tuple[int, ...]
    kv_tokens: tuple[int, ...]
    context_tokens: tuple[int, ...]
    queue_limits: tuple[int | None, ...]
    open_rows: tuple[int, ...]
    horizons: tuple[int, ...]
    input_tokens: tuple[int, ...]
    output_tokens: tuple[int, ...]


VARIED = Ranges(
    pools=(1, 2, 3),
    replicas=(1, 2, 3),
    token_budgets=(1, 2, 5, 16, 40),
    sequences=(64, 64, 4, 2, 1),
    kv_tokens=(140, 90, 70, 20),
    context_tokens=(1000, 1000, 1000, 30),
    queue_limits=(None, None, 1, 5),
    open_rows=(1, 2, 4, 8, 14, 14, 0),
    horizons=(20, 100, 1000),
    input_tokens=(4, 2, 7, 8, 15, 30, 1, 0, 60),
    output_tokens=(8, 20, 40, 60, 3, 2, 1, 0),
)
CROWDED = Ranges(
    pools=(1, 1, 2),
    replicas=(1, 1, 2),
    token_budgets=(16, 40, 5),
    sequences=(64, 64, 64, 3),
    kv_tokens=(40, 50, 70),
    context_tokens=(1000,),
    queue_limits=(None,),
    open_rows=(2, 4, 8, 14),
    horizons=(20, 100, 300),
    input_tokens=(4, 2, 7, 8, 15, 30, 1, 0),
    output_tokens=(8, 20, 30, 3, 1),
)
"""So little KV memory that sequences which decode side by side run out of it, and preempt."""


class Seconds(Protocol):
    """How a flavour draws a time or a coefficient of about `scale` units, at most."""

    def __call__(self, scale: int, least: int = 0) -> float: ...


class DyadicSeconds:
    """Multiples of 2⁻²⁰."""

    def __init__(self, draw: st.DrawFn) -> None:
        self.draw = draw

    def __call__(self, scale: int, least: int = 0) -> float:
        return self.draw(st.integers(least, scale)) * UNIT_S


class GeneralSeconds:
    """Floats without structure, of the size of real step times."""

    def __init__(self, draw: st.DrawFn) -> None:
        self.rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
        self.unit_s = draw(st.sampled_from([UNIT_S, 1e-3, 0.1]))

    def __call__(self, scale: int, least: int = 0) -> float:
        return float(self.rng.uniform(least, scale)) * self.unit_s


@st.composite
def dyadic_scenarios(draw: st.DrawFn, /, **options: bool) -> Scenario:
    """Scenarios in exact arithmetic; see `_scenario` for the options."""
    return _scenario(draw, DyadicSeconds(draw), ties=True, **options)


class DecimalSeconds:
    """Multiples of a decimal tick, as traces stamp them: no sum of them is exact."""

    def __init__(self, draw: st.DrawFn) -> None:
        self.draw = draw
        self.tick_s = draw(st.sampled_from([0.1, 1e-3]))

    def __call__(self, scale: int, least: int = 0) -> float:
        return self.draw(st.integers(least, scale)) * self.tick_s


@st.composite
def decimal_scenarios(draw: st.DrawFn, /, **options: bool) -> Scenario:
    """Scenarios on a decimal grid, where rounding decides ties; see `_scenario` for the options."""
    return _scenario(draw, DecimalSeconds(draw), ties=True, **options)


@st.composite
def general_scenarios(draw: st.DrawFn, /, **options: bool) -> Scenario:
    """Scenarios in arbitrary floats, without ties; see `_scenario` for the options."""
    return _scenario(draw, GeneralSeconds(draw), ties=False, **options)


def _scenario(
    draw: st.DrawFn,
    seconds: Seconds,
    *,
    ties: bool,
    closed: bool = True,
    control: bool = True,
    sessions: bool = True,
    random_routing: bool = True,
) -> Scenario:
    """Draw a scenario; the options leave out a feature, to build up a simulator step by step."""
    routers = [router for router in Router if random_routing or router < Router.POWER_OF_TWO]
    ranges = draw(st.sampled_from([VARIED, CROWDED, CROWDED]))
    pool_count = draw(st.sampled_from(ranges.pools))
    pools = [_pool(draw, seconds, ranges, routers) for _ in range(pool_count)]
    if not ties:  # a mean gap is a quotient, which no grid of dyadic times holds
        lateness = st.sampled_from([0.0, 0.0, 0.7, 2.5])
        pools = [replace(pool, late_steps=draw(lateness)) for pool in pools]
    open_classes = draw(st.integers(1, 3))
    closed_classes = draw(st.integers(0, 2)) if closed else 0
    classes = [
        _request_class(draw, seconds, len(pools)) for _ in range(open_classes + closed_classes)
    ]
    horizon = draw(st.sampled_from([*ranges.horizons, 0] if ties else ranges.horizons))
    rows = _open_rows(draw, seconds, ranges, open_classes, horizon, sessions=sessions)
    pools = [_drafting(draw, seconds, pool, len(classes)) for pool in pools]
    _hand_over(draw, seconds, pools, classes)
    _lighten(draw, pools, classes)
    fed = {pool.decode_pool for pool in pools}
    pools = [
        pool if index in fed else _caching(draw, seconds, pool) for index, pool in enumerate(pools)
    ]
    if any(klass.batch for klass in classes):
        pools = [_leaving_room(draw, pool) for pool in pools]
    scenario = Scenario(pools, classes, rows, seed=draw(st.integers(0, 2**16)))
    for index in range(open_classes, len(classes)):
        count = draw(st.integers(0, 6))
        stream_rows = [
            replace(
                _row(draw, ranges, index),
                arrival_s=draw(st.sampled_from([None, None, seconds(30)])),
                think_s=seconds(30),
            )
            for _ in range(count)
        ]
        scenario.closed_streams.append(ClosedStream(index, draw(st.integers(1, 3)), stream_rows))
    _number(scenario)
    if draw(st.booleans()):
        scenario.warmup_s = seconds(400)
    if draw(st.sampled_from([False, False, True])):
        scenario.end_s = seconds(1000)
    if draw(st.sampled_from([False, False, True])):
        scenario.stop_s = seconds(4000)
    if control:
        scenario.losses = _actions(draw, seconds, scenario.replicas)
        scenario.drains = _actions(draw, seconds, scenario.replicas)
        scenario.activations = _actions(draw, seconds, scenario.replicas)
    return scenario


def _pool(draw: st.DrawFn, seconds: Seconds, ranges: Ranges, routers: Sequence[Router]) -> Pool:
    token_budget = draw(st.sampled_from(ranges.token_budgets))
    kv_tokens = draw(st.sampled_from(ranges.kv_tokens))
    kv_block_tokens = draw(st.sampled_from([1, 2, 4, 7]))
    slope_s = seconds(2)
    tile_tokens = draw(st.sampled_from([1, 4, 8]))
    tile_s = seconds(4)
    prefill_first = draw(st.sampled_from([False, False, True]))
    sequences = draw(st.sampled_from(ranges.sequences))
    return Pool(
        fixed_s=seconds(8, 1),
        linear_s=[slope_s * n + tile_s * ceil(n / tile_tokens) for n in range(token_budget + 1)],
        decode_s=seconds(2),
        decode_seq_s=seconds(2),
        prefill_s=seconds(2),
        token_budget=token_budget,
        maximum_sequences=min(sequences, token_budget) if prefill_first else sequences,
        kv_blocks=ceil(kv_tokens / kv_block_tokens),
        kv_block_tokens=kv_block_tokens,
        context_tokens=draw(st.sampled_from(ranges.context_tokens)),
        queue_limit=draw(st.sampled_from(ranges.queue_limits)),
        overflow_waiting=draw(st.sampled_from([inf, 0.0, 0.5, 1.0, 2.0])),
        router=draw(st.sampled_from(routers)),
        scheduler=draw(st.sampled_from([Scheduler.FCFS, *Scheduler])),
        priority_step_s=seconds(100),
        shed_tokens=draw(st.sampled_from([inf, inf, inf, 1, 20, 60])),
        shed_blocks=draw(st.sampled_from([inf, inf, 1, 5])),
        shed_ttft=draw(st.sampled_from([inf, inf, 1.0, 0.5])),
        request_s=seconds(5) if draw(st.booleans()) else 0.0,
        prefill_first=prefill_first,
        poll_steps=draw(st.sampled_from([1, 1, 2, 5])),
        replicas=draw(st.sampled_from(ranges.replicas)),
    )


def _leaving_room(draw: st.DrawFn, pool: Pool) -> Pool:
    """Let a pool keep some sequences and blocks from batch classes."""
    share = draw(st.sampled_from([1.0, 0.75, 0.5, 0.1]))
    return replace(
        pool,
        batch_sequences=ceil(share * pool.maximum_sequences),
        batch_blocks=ceil(share * pool.kv_blocks),
    )


def _drafting(draw: st.DrawFn, seconds: Seconds, pool: Pool, classes: int) -> Pool:
    """Let a pool draft, perhaps; of each class, always as many drafts are accepted."""
    drafts = draw(st.sampled_from([0, 0, 1, 2, 3]))
    sequences = draw(st.sampled_from([inf, inf, 1, 2, 4]))
    if min(sequences, pool.maximum_sequences) * (1 + drafts) > pool.token_budget:
        sequences = pool.token_budget // (1 + drafts)
    if not drafts:
        return pool
    depth = draw(st.integers(1, drafts))  # less than all of them: a tree
    accepted = [draw(st.integers(0, depth)) for _ in range(classes)]
    base_s, slope_s = seconds(3), seconds(1)
    return replace(
        pool,
        draft_tokens=drafts,
        draft_sequences=sequences,
        draft_s=[base_s + slope_s * n for n in range(pool.maximum_sequences + 1)],
        draft_decode_s=seconds(1),
        emitted=[[float(n == count) for n in range(depth + 1)] for count in accepted],
    )


def _caching(draw: st.DrawFn, seconds: Seconds, pool: Pool) -> Pool:
    """Let a pool keep prefixes, perhaps; and perhaps in tiers, too."""
    if draw(st.booleans()):
        return pool
    tiers = [
        Tier(
            blocks=draw(st.sampled_from([100, 20, 5])),
            block_s=seconds(8),
            latency_s=seconds(8),
            shared=draw(st.booleans()),
        )
        for _ in range(draw(st.sampled_from([0, 0, 1, 2])))
    ]
    return replace(
        pool,
        prefix_cache=True,
        tiers=tiers,
        swap=bool(tiers) and not tiers[0].shared and draw(st.booleans()),
        affinity_share=draw(st.sampled_from([0.0, 0.3, 0.5])),
        affinity_slack=draw(st.sampled_from([0, 1, 64])),
        affinity_ratio=draw(st.sampled_from([1.0, 1.5])),
    )


def _hand_over(
    draw: st.DrawFn, seconds: Seconds, pools: list[Pool], classes: list[RequestClass]
) -> None:
    """Let the last pool decode what others prefill, perhaps; no class goes to it by itself."""
    if len(pools) < 2 or draw(st.booleans()):
        return
    last = len(pools) - 1
    for index in range(last):
        if index == 0 or draw(st.booleans()):
            latency_s, token_s = seconds(30), seconds(4)
            pools[index] = replace(
                pools[index], decode_pool=last, link_latency_s=latency_s, link_token_s=token_s
            )
    for klass in classes:
        klass.pools = [index for index in klass.pools if index != last] or [0]


def _lighten(draw: st.DrawFn, pools: list[Pool], classes: list[RequestClass]) -> None:
    """Let requests of a class go to a lighter model first, perhaps."""
    decoding = {pool.decode_pool for pool in pools}
    for klass in classes:
        others = [n for n in range(len(pools)) if n not in klass.pools and n not in decoding]
        if others and draw(st.booleans()):
            klass.light_pool = draw(st.sampled_from(others))
            klass.light_share = draw(st.sampled_from([1.0, 0.5]))
            klass.light_input_tokens = draw(st.sampled_from([inf, 8]))
            klass.escalation = draw(st.sampled_from([0.5, 1.0, 0.0]))


def _request_class(draw: st.DrawFn, seconds: Seconds, pools: int) -> RequestClass:
    def sometimes(scale: int) -> float:
        return seconds(scale) if draw(st.sampled_from([False, False, True])) else inf

    limited = draw(st.sampled_from([False, False, False, True]))
    order = draw(st.permutations(range(pools)))
    return RequestClass(
        pools=list(order[: draw(st.integers(1, pools))]),
        priority=draw(st.integers(0, 2)),
        weight=draw(st.sampled_from([1.0, 2.0, 0.5, 8.0])),
        batch=draw(st.sampled_from([False, False, True])),
        sheddable=draw(st.booleans()),
        timeout_s=sometimes(200),
        ttft_limit_s=sometimes(200),
        ttfat_limit_s=sometimes(400),
        tpot_limit_s=sometimes(20),
        e2e_limit_s=sometimes(2000),
        bucket_interval_s=seconds(40, 1) if limited else 0.0,
        bucket_burst=float(draw(st.sampled_from([1, 2, 3]))),
        system_tokens=draw(st.sampled_from([0, 0, 3, 8])),
        keeps_reasoning=draw(st.booleans()),
    )


def _open_rows(
    draw: st.DrawFn,
    seconds: Seconds,
    ranges: Ranges,
    classes: int,
    horizon: int,
    *,
    sessions: bool,
) -> list[Row]:
    rows = []
    for _ in range(draw(st.sampled_from(ranges.open_rows))):
        hashed = draw(st.sampled_from([False, False, True]))
        row = _row(draw, ranges, draw(st.integers(0, classes - 1)), hashed=hashed)
        row.arrival_s = seconds(horizon)
        rows.append(row)
    rows.sort(key=lambda row: row.arrival_s or 0.0)
    if sessions:
        for session, row in enumerate(rows):
            if draw(st.booleans()):
                _make_session(draw, seconds, ranges, row, session)
    return rows


def _make_session(
    draw: st.DrawFn, seconds: Seconds, ranges: Ranges, row: Row, session: int
) -> None:
    row.session = session
    for _ in range(draw(st.sampled_from([0, 0, 1, 2]))):
        turn = _row(draw, ranges, row.class_index, hashed=bool(row.hashes))
        turn.session = session
        turn.visitor = row.visitor
        turn.think_s = seconds(30)
        row.later_turns.append(turn)


def _row(draw: st.DrawFn, ranges: Ranges, class_index: int, *, hashed: bool = False) -> Row:
    output_tokens = draw(st.sampled_from(ranges.output_tokens))
    input_tokens = draw(st.sampled_from(ranges.input_tokens))
    hashes = ()
    if hashed:  # one of few prompts: what it begins with tells its blocks
        count = draw(st.integers(0, ceil(input_tokens / HASH_TOKENS)))
        parting = draw(st.integers(0, 3))
        hashes = tuple(n if n < parting else 100 * (1 + parting) + n for n in range(count))
    return Row(
        arrival_s=None,
        class_index=class_index,
        input_tokens=input_tokens,
        output_tokens=output_tokens,
        reasoning_tokens=draw(st.integers(0, output_tokens)),
        visitor=draw(st.sampled_from([-1, 0, 1])),
        hashes=hashes,
        hash_tokens=HASH_TOKENS,
    )


def _number(scenario: Scenario) -> None:
    """Number the rows: the open ones, then the later turns, then the closed streams."""
    for number, row in enumerate(scenario.all_rows):
        row.number = number


def _actions(draw: st.DrawFn, seconds: Seconds, replicas: int) -> Actions:
    count = draw(st.sampled_from([0, 0, 0, 1, 3]))
    return [(seconds(1000), draw(st.integers(0, replicas - 1))) for _ in range(count)]
