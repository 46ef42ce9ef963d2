"""From the scenarios of the naive twin to plans of the kernel, and back to comparable records."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from planner.engine import Engine
from planner.invariants import check_invariants
from planner.kernel import dtypes
from planner.kernel.plan import (
    UNLIMITED,
    ClassPlan,
    ClosedStream,
    DraftPlan,
    Plan,
    PoolPlan,
    TierPlan,
)  # fmt: skip
from tests.kernel.strategies import HASH_TOKENS, Scenario
from tests.naive import Pool, Row


@dataclass(frozen=True)
class Record:
    """One request as both simulators see it."""

    number: int
    class_index: int
    pool: int
    replica: int
    arrival_s: float
    started_s: float
    first_token_s: float
    answer_s: float
    finish_s: float
    preemptions: int
    cached_tokens: int
    fate: int
    prefill_replica: int
    leg: int


def arrival_rows(rows: list[Row], hashes: list[int] | None = None) -> NDArray[np.void]:
    """Return `ARRIVAL` rows, each followed by its later turns; append hashes to the others."""
    flat: list[tuple[Row, int]] = []
    for row in rows:
        flat.append((row, 0))
        flat.extend((turn, number) for number, turn in enumerate(row.later_turns, start=1))
    block = np.zeros(len(flat), dtypes.ARRIVAL)
    for target, (row, turn) in zip(block, flat, strict=True):
        target["arrival_s"] = math.nan if row.arrival_s is None else row.arrival_s
        target["think_s"] = row.think_s
        target["session"] = row.session
        target["visitor"] = row.visitor
        target["row"] = row.number
        target["input_tokens"] = row.input_tokens
        target["output_tokens"] = row.output_tokens
        target["reasoning_tokens"] = row.reasoning_tokens
        target["class"] = row.class_index
        target["turn"] = turn
        if hashes is not None and row.hashes:
            target["first_hash"] = len(hashes)
            target["hashes"] = len(row.hashes)
            hashes.extend(row.hashes)
    return block


def draft_of(pool: Pool) -> DraftPlan | None:
    """Return how a pool drafts, if it does."""
    if not pool.draft_tokens:
        return None
    return DraftPlan(
        tokens=pool.draft_tokens,
        emitted=tuple(tuple(shares) for shares in pool.emitted),
        seconds=np.array(pool.draft_s),
        decode_s=pool.draft_decode_s,
        sequences=UNLIMITED if math.isinf(pool.draft_sequences) else int(pool.draft_sequences),
    )


def plan_of(scenario: Scenario, block_rows: int = 3) -> Plan:
    """Return the plan of a scenario; rows come in small blocks so that refilling is exercised."""
    pools = tuple(
        PoolPlan(
            name=f"pool-{index}",
            fixed_s=pool.fixed_s,
            linear_s=np.array(pool.linear_s),
            decode_s=pool.decode_s,
            decode_seq_s=pool.decode_seq_s,
            prefill_s=pool.prefill_s,
            token_budget=pool.token_budget,
            maximum_sequences=pool.maximum_sequences,
            kv_blocks=pool.kv_blocks,
            kv_block_tokens=pool.kv_block_tokens,
            context_tokens=pool.context_tokens,
            queue_limit=UNLIMITED if pool.queue_limit is None else pool.queue_limit,
            overflow_waiting=pool.overflow_waiting,
            request_s=pool.request_s,
            late_steps=pool.late_steps,
            prefill_first=pool.prefill_first,
            poll_steps=pool.poll_steps,
            draft=draft_of(pool),
            router=pool.router,
            scheduler=pool.scheduler,
            priority_step_s=pool.priority_step_s,
            prefix_cache=pool.prefix_cache,
            tiers=tuple(
                TierPlan(f"tier-{number}", tier.blocks, tier.block_s, tier.latency_s, tier.shared)
                for number, tier in enumerate(pool.tiers)
            ),
            swap=pool.swap,
            affinity_share=pool.affinity_share,
            affinity_slack=pool.affinity_slack,
            affinity_ratio=pool.affinity_ratio,
            batch_sequences=pool.batch_sequences,
            batch_blocks=pool.batch_blocks,
            shed_tokens=UNLIMITED if math.isinf(pool.shed_tokens) else int(pool.shed_tokens),
            shed_blocks=UNLIMITED if math.isinf(pool.shed_blocks) else int(pool.shed_blocks),
            shed_ttft=pool.shed_ttft,
            decode_pool=pool.decode_pool,
            link_latency_s=pool.link_latency_s,
            link_token_s=pool.link_token_s,
        )
        for index, pool in enumerate(scenario.pools)
    )
    classes = tuple(
        ClassPlan(
            name=f"class-{index}",
            pools=tuple(klass.pools),
            priority=klass.priority,
            weight=klass.weight,
            batch=klass.batch,
            sheddable=klass.sheddable,
            timeout_s=klass.timeout_s,
            ttft_limit_s=klass.ttft_limit_s,
            ttfat_limit_s=klass.ttfat_limit_s,
            tpot_limit_s=klass.tpot_limit_s,
            e2e_limit_s=klass.e2e_limit_s,
            bucket_interval_s=klass.bucket_interval_s,
            bucket_burst=int(klass.bucket_burst),
            system_tokens=klass.system_tokens,
            keeps_reasoning=klass.keeps_reasoning,
            light_pool=klass.light_pool,
            light_share=klass.light_share,
            light_input_tokens=UNLIMITED
            if math.isinf(klass.light_input_tokens)
            else int(klass.light_input_tokens),
            escalation=klass.escalation,
        )
        for index, klass in enumerate(scenario.classes)
    )
    rows = [row for row in scenario.rows if (row.arrival_s or 0.0) <= scenario.end_s]
    groups = [rows[start : start + block_rows] for start in range(0, len(rows), block_rows)]
    hashes: list[int] = []
    handed = [0]

    def new_hashes() -> NDArray[np.int64]:
        new = np.array(hashes[handed[0] :], np.int64)
        handed[0] = len(hashes)
        return new

    return Plan(
        pools=pools,
        classes=classes,
        blocks=(arrival_rows(group, hashes) for group in groups),
        hashes=new_hashes,
        hash_tokens=HASH_TOKENS,
        closed=tuple(
            ClosedStream(stream.clients, iter([arrival_rows(stream.rows)]))
            for stream in scenario.closed_streams
        ),
        visitors=2,
        duration_s=scenario.end_s,
        warmup_s=scenario.warmup_s,
        window_s=2.0**30,
        seed=np.random.SeedSequence(scenario.seed),
        keep_finished=True,
    )


def simulate(scenario: Scenario) -> tuple[Engine, list[Record]]:
    """Run a scenario through the engine and return it with the records of all ended requests."""
    finished: list[NDArray[np.void]] = []
    plan = plan_of(scenario)
    engine = Engine(plan, finished.append)
    engine._rng = np.random.default_rng(scenario.seed)
    for index, pool in enumerate(scenario.pools):
        engine.activate(engine.add_replicas(index, pool.replicas, node=index))
    at_same_instant = [
        (scenario.losses, engine.lose),
        (scenario.drains, engine.drain),
        (scenario.activations, engine.activate),
    ]
    for actions, act in at_same_instant:
        for time_s, replica in actions:
            engine.env.process(_action(engine, time_s, act, replica))
    engine.run_to(scenario.stop_s)
    engine.finish()
    rows = np.concatenate(finished) if finished else np.zeros(0, dtypes.FINISHED)
    violations = check_invariants(engine.world, rows)
    assert not violations, "\n".join(violations)
    return engine, [_record(row) for row in rows]


def _action(engine: Engine, time_s: float, act: Callable[[list[int]], None], replica: int):
    yield engine.env.timeout(time_s)
    act([replica])


def _record(row: np.void) -> Record:
    return Record(
        number=int(row["row"]),
        class_index=int(row["class"]),
        pool=int(row["pool"]),
        replica=int(row["replica"]),
        arrival_s=float(row["arrival_s"]),
        started_s=float(row["started_s"]),
        first_token_s=float(row["first_token_s"]),
        answer_s=float(row["first_answer_token_s"]),
        finish_s=float(row["finish_s"]),
        preemptions=int(row["preemptions"]),
        cached_tokens=int(row["cached_tokens"]),
        fate=int(row["fate"]),
        prefill_replica=int(row["prefill_replica"]),
        leg=int(row["leg"]),
    )
