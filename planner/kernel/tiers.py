"""Tiers below the memory of a replica: what is fetched from them, and what is swapped to them."""

from __future__ import annotations

import math

import numpy as np

from planner.kernel.account import pool_row
from planner.kernel.dtypes import NONE
from planner.kernel.jit import kernel, outlined
from planner.kernel.kvcache import blocks_of
from planner.kernel.prefix import find_prompt
from planner.kernel.steptime import look_again
from planner.kernel.store import shrink
from planner.kernel.world import World


@kernel
def compute_s(pool: np.void, before: int, tokens: int) -> float:
    """Return the time to prefill `tokens` tokens behind `before` others in full steps [s]."""
    attention = tokens * (before + tokens / 2.0)
    return float(tokens * pool["full_token_s"] + pool["prefill_s"] * attention)


@outlined
def fetch_from(
    world: World, replica: np.void, request: np.void, tier_index: int, tokens: int, now_s: float
) -> bool:
    """Fetch the next `tokens` tokens of a prompt from a tier if that is faster than computing."""
    if tokens <= 0:
        return False
    pool = world.pools[replica["pool"]]
    tier = world.tiers[pool["tiers_first"] + tier_index]
    shelf = world.shelves[replica["shelf_first"] + 1 + tier_index]
    link_s = blocks_of(tokens, pool["kv_block_tokens"]) * tier["block_s"]
    wait_s = max(shelf["link_free_s"] - now_s, 0.0)
    fetch_s = tier["latency_s"] + (wait_s + link_s)
    if fetch_s >= compute_s(pool, request["prefilled_tokens"], tokens):
        return False
    shelf["link_free_s"] = max(shelf["link_free_s"], now_s) + link_s
    request["ready_s"] = max(request["ready_s"], shelf["link_free_s"] + tier["latency_s"])
    request["prefilled_tokens"] += tokens
    row = pool_row(world, replica["pool"], now_s)
    row["loaded_tokens"][tier_index] += tokens
    return True


@outlined
def fetch(world: World, replica_index: int, index: int, now_s: float) -> bool:
    """Fetch what tiers have of an admitted prompt and the replica has not; tell whether any."""
    replica = world.replicas[replica_index]
    pool = world.pools[replica["pool"]]
    if pool["tiers"] == 0:
        return False
    request = world.requests[index]
    request["ready_s"] = now_s
    found = False
    if request["swapped_blocks"] > 0:
        rest = request["prompt_tokens"] - 1 - request["prefilled_tokens"]
        found = fetch_from(world, replica, request, 0, rest, now_s)
        shelf = world.shelves[replica["shelf_first"] + 1]
        world.stores[shelf["store"]]["pinned_blocks"] -= request["swapped_blocks"]
        request["swapped_blocks"] = 0
    if not found:
        block_tokens = pool["kv_block_tokens"]
        for tier_index in range(pool["tiers"]):
            store = world.shelves[replica["shelf_first"] + 1 + tier_index]["store"]
            reach = find_prompt(world, store, request, block_tokens) * block_tokens
            rest = reach - request["prefilled_tokens"]
            found |= fetch_from(world, replica, request, tier_index, rest, now_s)
    if found:
        list_fetch(world, replica, index)
    return found


@kernel
def list_fetch(world: World, replica: np.void, index: int) -> None:
    """List a request among those whose blocks are fetched, in order of (ready_s, key)."""
    requests = world.requests
    request = requests[index]
    before = NONE
    after = replica["fetch_head"]
    while after != NONE and (
        requests[after]["ready_s"] < request["ready_s"]
        or (
            requests[after]["ready_s"] == request["ready_s"]
            and requests[after]["key"] < request["key"]
        )
    ):
        before = after
        after = requests[after]["next"]
    request["next"] = after
    if before == NONE:
        replica["fetch_head"] = index
    else:
        requests[before]["next"] = index
    replica["fetching"] += 1
    replica["fetch_s"] = min(replica["fetch_s"], request["ready_s"])


@kernel
def take_fetched(world: World, replica: np.void, now_s: float) -> int:
    """Return the first request whose blocks have come, and list it no more; or NONE."""
    index = int(replica["fetch_head"])
    if index == NONE or world.requests[index]["ready_s"] > now_s:
        return NONE
    replica["fetch_head"] = world.requests[index]["next"]
    replica["fetching"] -= 1
    return index


@outlined
def notice_fetched(world: World, replica: np.void, now_s: float) -> None:
    """Let what has been fetched be admitted at the next boundary."""
    index = replica["fetch_head"]
    while index != NONE and world.requests[index]["ready_s"] <= now_s:
        index = world.requests[index]["next"]
    replica["fetch_s"] = math.inf if index == NONE else world.requests[index]["ready_s"]
    look_again(replica, world.pools[replica["pool"]], now_s, False)


@outlined
def swap_out(world: World, replica: np.void, request: np.void, now_s: float) -> None:
    """Write the context of a preempted sequence to the first tier, if it has room."""
    pool = world.pools[replica["pool"]]
    if pool["swap"] == 0:
        return
    tier = world.tiers[pool["tiers_first"]]
    shelf = world.shelves[replica["shelf_first"] + 1]
    store = world.stores[shelf["store"]]
    blocks = blocks_of(request["prompt_tokens"] - 1, pool["kv_block_tokens"])
    if store["pinned_blocks"] + blocks > tier["blocks"]:
        return
    store["pinned_blocks"] += blocks
    shrink(world, shelf["store"], tier["blocks"] - store["pinned_blocks"])
    shelf["link_free_s"] = max(shelf["link_free_s"], now_s) + blocks * tier["block_s"]
    request["swapped_blocks"] = blocks
    row = pool_row(world, replica["pool"], now_s)
    row["swaps"] += 1
