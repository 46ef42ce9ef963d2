"""Prefix cache of a replica: segments that prompts share, found at admission, left at the end.

A segment stands for a part of a prompt with which others may begin as well; the segments of a
request are a chain. What a store keeps of a segment is one entry: its first so many blocks.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from planner.kernel.dtypes import NONE
from planner.kernel.jit import kernel, outlined
from planner.kernel.kvcache import blocks_held, free_blocks
from planner.kernel.store import (
    add_entry,
    empty_store,
    find_entry,
    free_entry,
    put_entry,
    rest_entry,
    shrink,
    wake_entry,
)
from planner.kernel.world import World

OPEN: Final = 1 << 62
"""End of a segment that has none."""


@kernel
def store_of(world: World, replica: np.void) -> int:
    """Return the store in the memory of a replica."""
    return int(world.shelves[replica["shelf_first"]]["store"])


@kernel
def chain_length(world: World, request: np.void, block_tokens: int) -> int:
    """Return the number of segments with which others may begin as well."""
    if request["hashes"] > 0:
        return int(request["hashes"])
    system = world.classes[request["class"]]["system_tokens"] >= block_tokens
    return int(system) + int(request["session"] != NONE)


@kernel
def segment_at(
    world: World, request: np.void, block_tokens: int, position: int
) -> tuple[int, int, int]:
    """Return key, first block and end of a request's segment; first and end may be the same."""
    state = world.state[0]
    if request["hashes"] > 0:
        tokens = state["hash_tokens"]
        key = world.hashes[request["first_hash"] - state["hash_base"] + position]
        first = position * tokens // block_tokens
        return int(key), int(first), int((position + 1) * tokens // block_tokens)
    klass = request["class"]
    system = world.classes[klass]["system_tokens"] // block_tokens
    if position == 0 and system > 0:
        return int(-2 - 2 * klass), 0, int(system)
    return int(-3 - 2 * (request["session"] * len(world.classes) + klass)), int(system), OPEN


@kernel
def whole_blocks(world: World, request: np.void, block_tokens: int) -> int:
    """Return the whole blocks of a request's input that its segments cover."""
    blocks = max(1, request["input_tokens"]) // block_tokens
    chain = chain_length(world, request, block_tokens)
    if chain == 0:
        return 0
    return int(min(blocks, segment_at(world, request, block_tokens, chain - 1)[2]))


@outlined
def found_in(
    world: World, store: int, request: np.void, block_tokens: int, whole: int, most: int
) -> int:
    """Return how many blocks of a prompt a store keeps, from its start on.

    Args:
        world: the arrays.
        store: where it is looked for.
        request: whose prompt it is.
        block_tokens: tokens of a block.
        whole: blocks of its input that its segments cover.
        most: that are of use.
    """
    found = 0
    for position in range(chain_length(world, request, block_tokens)):
        key, first, end = segment_at(world, request, block_tokens, position)
        if found >= most:
            break
        if first == end:
            continue
        index = find_entry(world, store, key)
        if index == NONE:
            break
        kept = world.entries[index]["blocks"]
        if end == OPEN and first + kept > whole:
            break  # written anew
        found = first + kept
        if found < end:
            break
    return int(min(found, most))


@kernel
def find_prompt(world: World, store: int, request: np.void, block_tokens: int) -> int:
    """Return how many blocks of a prompt a store keeps; the last token is always computed."""
    whole = whole_blocks(world, request, block_tokens)
    most = min(whole, (request["prompt_tokens"] - 1) // block_tokens)
    return found_in(world, store, request, block_tokens, whole, most)


@outlined
def found_tokens(world: World, replica: np.void, request: np.void) -> int:
    """Return how many tokens of a prompt a replica has in its cache."""
    pool = world.pools[replica["pool"]]
    if pool["prefix_cache"] == 0:
        return 0
    block_tokens = pool["kv_block_tokens"]
    return int(find_prompt(world, store_of(world, replica), request, block_tokens) * block_tokens)


@kernel
def claim_of(world: World, replica: np.void, request: np.void) -> tuple[int, int]:
    """Return the blocks that admitting a request takes, and those that segments hold for it."""
    pool = world.pools[replica["pool"]]
    held = blocks_held(world, replica, request, request["prompt_tokens"])
    if pool["prefix_cache"] == 0:
        return held, 0
    taken, shared = claim_shared(world, replica, request)
    return held - shared + taken, shared


@outlined
def claim_shared(world: World, replica: np.void, request: np.void) -> tuple[int, int]:
    """Return the blocks that segments take for a request, and those that they hold for it."""
    block_tokens = world.pools[replica["pool"]]["kv_block_tokens"]
    store = store_of(world, replica)
    whole = whole_blocks(world, request, block_tokens)
    shared = whole
    taken = 0
    for position in range(chain_length(world, request, block_tokens)):
        key, first, end = segment_at(world, request, block_tokens, position)
        if first >= shared or first == end:
            continue
        index = find_entry(world, store, key)
        part = min(end, shared) - first
        in_use = 0
        if index != NONE and world.entries[index]["users"] > 0:
            in_use = world.entries[index]["blocks"]
            if end == OPEN and in_use > part:  # another one has a longer context
                shared = first
                continue
        taken += max(part - in_use, 0)
    return taken, shared


@kernel
def attach(world: World, store: int, request: np.void, block_tokens: int) -> None:
    """Let a request use the segments that hold its shared blocks."""
    shared = request["shared_blocks"]
    for position in range(chain_length(world, request, block_tokens)):
        key, first, end = segment_at(world, request, block_tokens, position)
        if first >= shared or first == end:
            continue
        part = min(end, shared) - first
        index = find_entry(world, store, key)
        if index == NONE:
            index = add_entry(world, store, key)
        elif world.entries[index]["users"] == 0:
            wake_entry(world, index)
            world.entries[index]["blocks"] = 0  # what is kept beyond its own part is dropped
        entry = world.entries[index]
        entry["users"] += 1
        entry["blocks"] = max(entry["blocks"], part)


@kernel
def hold(
    world: World, replica: np.void, request: np.void, blocks: int, shared: int, free: int
) -> int:
    """Give an admitted request its blocks.

    Args:
        world: the arrays.
        replica: where it is admitted.
        request: that is admitted.
        blocks: that this takes.
        shared: that segments hold for it; both as `claim_of` names them.
        free: blocks before, without those that decoding sequences take for the next step.

    Returns:
        the tokens of its prompt that were found.
    """
    request["shared_blocks"] = shared
    replica["kv_used_blocks"] += blocks
    if world.pools[replica["pool"]]["prefix_cache"] == 0:
        return 0
    return hold_segments(world, replica, request, blocks, shared, free)


@outlined
def hold_segments(
    world: World, replica: np.void, request: np.void, blocks: int, shared: int, free: int
) -> int:
    """Let segments hold their part of an admitted request; arguments and result as for `hold`."""
    block_tokens = world.pools[replica["pool"]]["kv_block_tokens"]
    store = store_of(world, replica)
    shrink(world, store, free)
    whole = whole_blocks(world, request, block_tokens)
    most = min(shared, (request["prompt_tokens"] - 1) // block_tokens)
    found = found_in(world, store, request, block_tokens, whole, most)
    attach(world, store, request, block_tokens)
    shrink(world, store, free - blocks)
    return int(found * block_tokens)


@kernel
def context_of(request: np.void) -> int:
    """Return the tokens of a served request that were written: the last one never is."""
    return int(max(1, request["input_tokens"]) + max(request["output_tokens"], 1) - 1)


@kernel
def let_go(world: World, replica_index: int, request: np.void, tokens: int, context: int) -> None:
    """Take the blocks of a running request back.

    Args:
        world: the arrays.
        replica_index: where it runs.
        request: that leaves.
        tokens: that it holds.
        context: tokens that stay in the cache, and in tiers; NONE: only what segments held.
    """
    replica = world.replicas[replica_index]
    pool = world.pools[replica["pool"]]
    own = blocks_held(world, replica, request, tokens) - request["shared_blocks"]
    if pool["prefix_cache"] == 1:
        shrink(world, store_of(world, replica), free_blocks(pool, replica))
    replica["kv_used_blocks"] -= own
    if pool["prefix_cache"] == 1:
        leave_segments(world, replica, request, context)


@outlined
def leave_segments(world: World, replica: np.void, request: np.void, context: int) -> None:
    """Take what segments hold for a request back; arguments as for `let_go`."""
    pool = world.pools[replica["pool"]]
    store = store_of(world, replica)
    block_tokens = pool["kv_block_tokens"]
    if context != NONE:
        keep_context(world, replica, request, context)
    for position in range(chain_length(world, request, block_tokens) - 1, -1, -1):
        key, first, end = segment_at(world, request, block_tokens, position)
        if first >= request["shared_blocks"] or first == end:
            continue
        index = find_entry(world, store, key)
        entry = world.entries[index]
        if context != NONE:
            put_in_tiers(world, replica, key, entry["blocks"])
        entry["users"] -= 1
        if entry["users"] == 0:
            replica["kv_used_blocks"] -= entry["blocks"]
            if request["prefilled_tokens"] < request["prompt_tokens"]:
                computed = request["prefilled_tokens"] // block_tokens - first
                entry["blocks"] = max(min(entry["blocks"], computed), 0)
            if entry["blocks"] > 0:
                rest_entry(world, index)
            else:
                free_entry(world, index)
    request["shared_blocks"] = 0
    if context != NONE:
        for tier in range(pool["tiers"]):
            shelf = world.shelves[replica["shelf_first"] + 1 + tier]
            room = world.tiers[pool["tiers_first"] + tier]["blocks"]
            pinned = world.stores[shelf["store"]]["pinned_blocks"]
            shrink(world, shelf["store"], room - pinned)


@outlined
def put_in_tiers(world: World, replica: np.void, key: int, blocks: int) -> None:
    """Write blocks of a segment to every tier."""
    for tier in range(world.pools[replica["pool"]]["tiers"]):
        shelf = world.shelves[replica["shelf_first"] + 1 + tier]
        put_entry(world, shelf["store"], key, blocks)


@outlined
def keep_context(world: World, replica: np.void, request: np.void, context: int) -> None:
    """Keep a context of so many tokens: in the segment of its session, else as nobody's."""
    store = store_of(world, replica)
    block_tokens = world.pools[replica["pool"]]["kv_block_tokens"]
    kept = context
    if request["reasoning_tokens"] > 0 and world.classes[request["class"]]["keeps_reasoning"] == 0:
        kept = min(context, max(1, request["input_tokens"]))
    known = request["shared_blocks"]
    chain = chain_length(world, request, block_tokens)
    session_blocks = 0
    key = NONE
    if chain > 0:
        last, first, end = segment_at(world, request, block_tokens, chain - 1)
        if end == OPEN:
            blocks = max(known, kept // block_tokens) - first
            index = find_entry(world, store, last)
            if first < known:
                entry = world.entries[index]
                if blocks > entry["blocks"]:
                    replica["kv_used_blocks"] += blocks - entry["blocks"]
                    entry["blocks"] = blocks
                known = first + entry["blocks"]
            elif blocks > 0 and (index == NONE or world.entries[index]["users"] == 0):
                key = last
                session_blocks = blocks
                known = first + blocks
    unknown = max(context // block_tokens - known, 0)
    put_entry(world, store, NONE, unknown)
    put_in_tiers(world, replica, NONE, unknown)
    if key != NONE:
        put_entry(world, store, key, session_blocks)
        put_in_tiers(world, replica, key, session_blocks)


@outlined
def forget_prefixes(world: World, replica: np.void) -> None:
    """Let a replica keep nothing; what its tiers share with others stays."""
    pool = world.pools[replica["pool"]]
    if pool["prefix_cache"] == 0:
        return
    empty_store(world, store_of(world, replica))
    for tier in range(pool["tiers"]):
        shelf = world.shelves[replica["shelf_first"] + 1 + tier]
        shelf["link_free_s"] = -np.inf
        if world.tiers[pool["tiers_first"] + tier]["store"] == NONE:
            empty_store(world, shelf["store"])
