"""From a plan to the arrays of a `World`, and the growth of those arrays: nothing is compiled."""

from __future__ import annotations

import math
from collections.abc import Sequence, Sized
from dataclasses import replace
from typing import Final, TypeVar

import numpy as np
from numpy.typing import NDArray

from planner.kernel import dtypes
from planner.kernel.dtypes import NONE
from planner.kernel.enums import Fate, Metric, ReplicaStatus
from planner.kernel.plan import ClassPlan, Plan, PoolPlan
from planner.kernel.store import place_entries
from planner.kernel.world import World

Records = NDArray[np.void]
Scalar = TypeVar("Scalar", bound=np.generic)

FIRST_REQUESTS: Final = 1024
FIRST_RETURNS: Final = 1024
FINISHED_ROWS: Final = 65536


def build_world(plan: Plan, windows: int) -> World:
    """Lay out an empty cluster.

    Args:
        plan: pools, classes and times; its streams are not read here.
        windows: number of reporting windows.
    """
    classes = len(plan.classes)
    pools = len(plan.pools)
    steps = [step_table(pool) for pool in plan.pools]
    tables = [acceptance_of(pool) for pool in plan.pools]
    state = np.zeros(1, dtypes.STATE)
    state["event_s"] = -math.inf
    state["end_s"] = plan.duration_s
    state["warmup_s"] = plan.warmup_s
    state["window_s"] = plan.window_s
    state["windows"] = windows
    state["keep_finished"] = plan.keep_finished
    state["free_request"] = NONE
    state["free_turn"] = NONE
    state["draw_seed"] = plan.seed.generate_state(1)[0]
    state["free_entry"] = NONE
    state["hash_tokens"] = plan.hash_tokens
    state["longest_chain"] = 2  # a system prompt and a session
    streams = np.zeros(1 + len(plan.closed), dtypes.STREAM)
    streams["closed"][1:] = 1
    world = World(
        state=state,
        streams=streams,
        arrivals=np.zeros(1, dtypes.ARRIVAL),
        turns=np.zeros(1, dtypes.TURN)[:0],
        returns=np.zeros(0, dtypes.RETURN),
        sent=np.zeros(0, dtypes.ARRIVAL),
        requests=np.zeros(0, dtypes.REQUEST),
        replicas=np.zeros(0, dtypes.REPLICA),
        queues=np.zeros(0, dtypes.QUEUE),
        slots=np.zeros(0, dtypes.SLOT),
        kv_growth=np.zeros(0, np.int64),
        hashes=np.zeros(0, np.int64),
        shelves=np.zeros(0, dtypes.SHELF),
        stores=np.zeros(0, dtypes.STORE),
        entries=np.zeros(0, dtypes.ENTRY),
        places=np.full(2, NONE),
        calendar=np.zeros(0, dtypes.CALENDAR),
        active=np.zeros(0, np.int64),
        pools=np.concatenate([pool_record(pool) for pool in plan.pools]),
        steps=np.concatenate(steps),
        tiers=np.concatenate([tier_records(pool) for pool in plan.pools]),
        classes=np.concatenate([class_record(klass) for klass in plan.classes]),
        routes=np.concatenate([np.array(pools_of(klass), np.int64) for klass in plan.classes]),
        visitors=np.zeros(plan.visitors),
        drafts=np.concatenate([draft_records(pool, classes) for pool in plan.pools]),
        acceptance=np.concatenate(tables),
        histograms=np.zeros((classes, len(Metric), dtypes.HISTOGRAM_BINS)),
        class_windows=np.zeros(windows * classes, dtypes.CLASS_WINDOW),
        pool_windows=np.zeros(windows * pools, dtypes.POOL_WINDOW),
        finished=np.zeros(FINISHED_ROWS if plan.keep_finished else 0, dtypes.FINISHED),
    )
    world.pools["step_table"] = _starts(steps)
    world.pools["draft_table"] = world.pools["step_table"] + [
        len(pool.linear_s) for pool in plan.pools
    ]
    world.pools["tiers_first"] = _starts([pool.tiers for pool in plan.pools])
    world = add_shared_stores(world, [tier.shared for pool in plan.pools for tier in pool.tiers])
    world.drafts["first"] = np.concatenate(
        [
            first + np.arange(classes) * (len(table) // classes)
            for first, table in zip(_starts(tables), tables, strict=True)
        ]
    )
    world.pools["fed"][[p.decode_pool for p in plan.pools if p.decode_pool is not None]] = 1
    for klass in plan.classes:
        if klass.escalation > 0.0:
            world.pools["fed"][list(klass.pools)] = 1
    world.pools["groups"] = [1 if pool.draft is None else classes for pool in plan.pools]
    ends = np.cumsum([len(pools_of(klass)) for klass in plan.classes])
    world.classes["first_pool"] = ends - world.classes["pools"]
    world = grow_requests(world, FIRST_REQUESTS)
    world = grow_returns(world, FIRST_RETURNS)
    return add_replicas(world, [])


def _starts(parts: Sequence[Sized]) -> NDArray[np.int64]:
    """Return where each part begins, once they stand one behind the other."""
    return np.cumsum([0, *(len(part) for part in parts[:-1])])


def pool_record(pool: PoolPlan) -> Records:
    """Return the row of `pools`, shape `(1,)`."""
    record = np.zeros(1, dtypes.POOL)
    for name in (
        "fixed_s", "decode_s", "decode_seq_s", "prefill_s", "decode_memory_s", "prefill_compute_s",
        "overflow_waiting", "token_budget", "maximum_sequences", "kv_blocks", "kv_block_tokens",
        "prefill_first", "poll_steps", "request_s", "prefix_cache", "swap",
        "affinity_share", "affinity_slack", "affinity_ratio",
        "context_tokens", "queue_limit", "router", "scheduler", "priority_step_s",
        "batch_sequences", "batch_blocks", "shed_tokens", "shed_blocks", "shed_ttft", "sheds",
        "link_latency_s", "link_token_s",
    ):  # fmt: skip
        record[name] = getattr(pool, name)
    width = 1 if pool.draft is None else 1 + pool.draft.tokens
    record["step_blocks"] = -(-width // pool.kv_block_tokens)
    record["groups"] = 1
    record["tiers"] = len(pool.tiers)
    record["full_token_s"] = (pool.fixed_s + pool.linear_s[pool.token_budget]) / pool.token_budget
    record["decode_pool"] = NONE if pool.decode_pool is None else pool.decode_pool
    if pool.draft is not None:
        record["draft_tokens"] = pool.draft.tokens
        record["draft_depth"] = len(pool.draft.emitted[0]) - 1
        record["draft_decode_s"] = pool.draft.decode_s
        record["draft_sequences"] = pool.draft.sequences
    return record


def step_table(pool: PoolPlan) -> Records:
    """Return the rows of `steps` of a pool: by tokens, then those of drafting by sequences."""
    parts = [_costs(pool.linear_s, pool.compute_s, pool.memory_s)]
    if pool.draft is not None:
        parts.append(_costs(pool.draft.seconds, pool.draft.compute_s, pool.draft.memory_s))
    return np.concatenate(parts)


def _costs(
    linear_s: NDArray[np.float64],
    compute_s: NDArray[np.float64] | None,
    memory_s: NDArray[np.float64] | None,
) -> Records:
    table = np.zeros(len(linear_s), dtypes.STEP_COST)
    table["linear_s"] = linear_s
    table["compute_s"] = 0.0 if compute_s is None else compute_s
    table["memory_s"] = 0.0 if memory_s is None else memory_s
    return table


def tier_records(pool: PoolPlan) -> Records:
    """Return the rows of `tiers` of a pool; `store` is up to `add_shared_stores`."""
    records = np.zeros(len(pool.tiers), dtypes.TIER)
    for record, tier in zip(records, pool.tiers, strict=True):
        for name in ("block_s", "latency_s", "blocks"):
            record[name] = getattr(tier, name)
    records["store"] = NONE
    return records


def add_shared_stores(world: World, shared: list[bool]) -> World:
    """Give each tier that is shared its store."""
    stores = extended(world.stores, sum(shared))
    stores["oldest"] = stores["newest"] = NONE
    world.tiers["store"][shared] = np.arange(len(stores))
    return replace(world, stores=stores)


def draft_records(pool: PoolPlan, classes: int) -> Records:
    """Return the rows of `drafts` of a pool, shape `(classes,)`; `first` is up to the others."""
    records = np.zeros(classes, dtypes.DRAFT)
    records["pace"] = 1.0
    records["late_tokens"] = [pool.late_tokens(klass) for klass in range(classes)]
    if pool.draft is not None:
        paces = [pool.draft.pace(klass) for klass in range(classes)]
        records["pace"] = paces
        records["room"] = pool.draft.tokens + 1 - np.ceil(paces).astype(np.int64)
    return records


def acceptance_of(pool: PoolPlan) -> NDArray[np.float64]:
    """Return the cumulative tables of a pool's classes, one after the other.

    Each class has one per level: of the tokens emitted in 1, 2, 4, … steps, from the fewest on.
    """
    if pool.draft is None:
        return np.zeros(0)
    tables = []
    for emitted in pool.draft.emitted:
        shares = np.array(emitted)
        for _ in range(dtypes.LEVELS):
            table = np.cumsum(shares)
            table[np.flatnonzero(shares)[-1] :] = 1.0
            tables.append(table)
            shares = np.convolve(shares, shares)
    return np.concatenate(tables)


def pools_of(klass: ClassPlan) -> tuple[int, ...]:
    """Return the pools that a class may use: that of its lighter model, then its own."""
    return klass.pools if klass.light_pool is None else (klass.light_pool, *klass.pools)


def class_record(klass: ClassPlan) -> Records:
    """Return the row of `classes`, shape `(1,)`."""
    record = np.zeros(1, dtypes.CLASS)
    for name in (
        "timeout_s", "ttft_limit_s", "ttfat_limit_s", "tpot_limit_s", "e2e_limit_s",
        "bucket_interval_s", "priority", "system_tokens", "keeps_reasoning", "weight", "batch",
        "sheddable", "light_share", "light_input_tokens", "escalation",
    ):  # fmt: skip
        record[name] = getattr(klass, name)
    record["bucket_burst_s"] = (klass.bucket_burst - 1) * klass.bucket_interval_s
    record["pools"] = len(klass.pools)
    if klass.light_pool is None:
        record["light_input_tokens"] = NONE
    return record


def extended(array: NDArray[Scalar], rows: int) -> NDArray[Scalar]:
    """Return a longer copy of a one-dimensional array, zero at the end."""
    longer = np.zeros(len(array) + rows, array.dtype)
    longer[: len(array)] = array
    return longer


def grow_requests(world: World, rows: int) -> World:
    """Add free request slots."""
    first = len(world.requests)
    requests = extended(world.requests, rows)
    requests["next"][first:] = np.arange(first + 1, first + rows + 1)
    requests["next"][-1] = world.state["free_request"][0]
    requests["fate"][first:] = int(Fate.SERVED)
    world.state["free_request"] = first
    return replace(world, requests=requests)


def grow_turns(world: World, rows: int) -> World:
    """Add free slots for later turns."""
    first = len(world.turns)
    turns = extended(world.turns, rows)
    turns["next"][first:] = np.arange(first + 1, first + rows + 1)
    turns["next"][-1] = world.state["free_turn"][0]
    world.state["free_turn"] = first
    return replace(world, turns=turns)


def grow_entries(world: World, rows: int) -> World:
    """Add free entries of caches; the table that finds them stays at most half full."""
    first = len(world.entries)
    entries = extended(world.entries, rows)
    entries["newer"][first:] = np.arange(first + 1, first + rows + 1)
    entries["newer"][-1] = world.state["free_entry"][0]
    entries["store"][first:] = NONE
    world.state["free_entry"] = first
    places = np.full(1 << (2 * len(entries) - 1).bit_length(), NONE)
    world = replace(world, entries=entries, places=places)
    place_entries(world)
    return world


def grow_returns(world: World, rows: int) -> World:
    """Add room to the heap of generated arrivals."""
    returns = extended(world.returns, rows)
    returns["slot"][len(world.returns) :] = np.arange(len(world.returns), len(returns))
    return replace(world, returns=returns, sent=extended(world.sent, rows))


def add_replicas(world: World, pools: list[int]) -> World:
    """Add a replica, not yet active, for every entry of `pools` (the index of its pool)."""
    first = len(world.replicas)
    replicas = extended(world.replicas, len(pools))
    new = replicas[first:]
    new["pool"] = pools
    new["status"] = int(ReplicaStatus.STOPPED)
    for name in ("run_end_s", "timeout_s", "fetch_s", "link_end_s"):
        new[name] = math.inf
    for name in ("run_start_s", "stopped_s", "paused_s", "backlog_since_s"):
        new[name] = math.nan
    new["fetch_head"] = NONE
    for name in ("prefill", "leaving", "link", "landed"):
        new[f"{name}_head"] = NONE
        new[f"{name}_tail"] = NONE
    sequences = world.pools["maximum_sequences"][pools] if pools else np.zeros(0, np.int64)
    blocks = np.zeros(0, np.int64)
    if pools:
        blocks = (world.pools["kv_block_tokens"] * world.pools["groups"])[pools]
    new["slots_first"] = len(world.slots) + 2 * (np.cumsum(sequences) - sequences)
    new["answers_first"] = new["slots_first"] + sequences
    new["growth_first"] = len(world.kv_growth) + np.cumsum(blocks) - blocks
    world = add_shelves(world, pools, new)
    queues = extended(world.queues, len(pools) * len(world.classes))
    queues["head"][first * len(world.classes) :] = NONE
    queues["tail"][first * len(world.classes) :] = NONE
    return replace(
        world,
        replicas=replicas,
        queues=queues,
        slots=extended(world.slots, 2 * int(sequences.sum())),
        kv_growth=extended(world.kv_growth, int(blocks.sum())),
        calendar=build_calendar(replicas),
    )


def add_shelves(world: World, pools: list[int], new: Records) -> World:
    """Give new replicas a store, and one per tier or a share in that of their pool.

    Args:
        world: the arrays.
        pools: index of the pool of each.
        new: their rows of `replicas`.
    """
    stores: list[int] = []
    count = len(world.stores)
    for replica, pool in zip(new, pools, strict=True):
        record = world.pools[pool]
        first = int(record["tiers_first"])
        replica["shelf_first"] = len(world.shelves) + len(stores)
        for shared in (NONE, *world.tiers["store"][first : first + int(record["tiers"])]):
            stores.append(count if shared == NONE else int(shared))
            count += shared == NONE
    shelves = extended(world.shelves, len(stores))
    shelves["store"][len(world.shelves) :] = stores
    shelves["link_free_s"][len(world.shelves) :] = -math.inf
    added = extended(world.stores, count - len(world.stores))
    added["oldest"][len(world.stores) :] = NONE
    added["newest"][len(world.stores) :] = NONE
    return replace(world, shelves=shelves, stores=added)


def build_calendar(replicas: Records) -> Records:
    """Return the tournament tree over the replicas' next events."""
    leaves = 2
    while leaves < len(replicas):
        leaves *= 2
    calendar = np.zeros(2 * leaves, dtypes.CALENDAR)
    calendar["event_s"] = math.inf
    names = ("run_end_s", "timeout_s", "fetch_s", "link_end_s")
    due = [replicas[name] for name in names]
    calendar["event_s"][leaves : leaves + len(replicas)] = np.minimum.reduce(due)
    calendar["winner"][leaves:] = np.arange(leaves)
    while leaves > 1:
        left, right = calendar[leaves : 2 * leaves : 2], calendar[leaves + 1 : 2 * leaves : 2]
        leaves //= 2
        first = np.where(right["event_s"] < left["event_s"], right, left)
        calendar[leaves : 2 * leaves] = first
    return calendar


def list_active(world: World) -> World:
    """List the active replicas of every pool, in order of their numbers, for the routers."""
    active: list[NDArray[np.int64]] = []
    count = 0
    for index in range(len(world.pools)):
        mine = np.flatnonzero(
            (world.replicas["pool"] == index)
            & (world.replicas["status"] == int(ReplicaStatus.ACTIVE))
        ).astype(np.int64)
        world.pools["active_first"][index] = count
        world.pools["active_count"][index] = len(mine)
        active.append(mine)
        count += len(mine)
    return replace(world, active=np.concatenate([*active, np.zeros(1, np.int64)]))
