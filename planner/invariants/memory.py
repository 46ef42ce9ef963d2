"""Slots and caches: nothing is used twice, and nothing is lost."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from planner.invariants.shared import linked
from planner.kernel.dtypes import NONE
from planner.kernel.world import World


def free_lists_complete(world: World) -> Iterator[str]:
    """INV-11 free lists complete.

    Every slot of a request or a later turn is in use or, once, in its list of free slots. Catches a
    slot that is given back twice, so that two requests share it, and memory that leaks.
    """
    for name, records, head, in_use in (
        ("requests", world.requests, "free_request", "in_flight"),
        ("turns", world.turns, "free_turn", "turns_in_use"),
    ):
        free = len(linked(records["next"], int(world.state[head][0])))
        used = int(world.state[in_use][0])
        if free + used != len(records):
            yield f"{len(records)} slots of {name}: {used} in use, {free} free"


def caches_consistent(world: World) -> Iterator[str]:
    """INV-19 caches consistent.

    An entry is free, in use, or in the list of its store with at least one block; it is found by
    its key, and lists are as long as their stores say. Tiers hold no more than they have room for,
    and what nobody runs uses nothing. Catches an entry that is lost, or evicted under its users.
    """
    entries = world.entries
    taken = np.flatnonzero(entries["store"] != NONE)
    if len(taken) != world.state["entries_in_use"][0]:
        yield f"{len(taken)} entries are taken, {world.state['entries_in_use'][0]} counted"
    listed = []
    for number, store in enumerate(world.stores):
        mine = linked(entries["newer"], int(store["oldest"]))
        listed += mine
        blocks = int(entries["blocks"][mine].sum())
        if blocks != store["idle_blocks"]:
            yield f"store {number}: {blocks} blocks out of use, {store['idle_blocks']} counted"
    idle = taken[entries["users"][taken] == 0]
    if sorted(listed) != idle.tolist():
        yield f"{len(idle)} entries are out of use, {len(listed)} of them in lists"
    for index in taken[entries["blocks"][taken] < 1]:
        yield f"entry {index} of store {entries['store'][index]} is empty"
    found = set(world.places.tolist()) - {NONE}
    if found != set(taken[entries["key"][taken] != NONE].tolist()):
        yield f"{len(found)} entries are found by their keys, not those that have one"
    for number, replica in enumerate(world.replicas):
        first = int(replica["shelf_first"])
        pool = world.pools[replica["pool"]]
        running = replica["decoding"] + replica["prefilling"] + replica["fetching"]
        running += replica["kept"]
        own = entries[entries["store"] == world.shelves["store"][first]]
        if running == 0 and (own["users"] > 0).any():
            yield f"replica {number} runs nothing, but entries of its cache are in use"
        for tier in range(int(pool["tiers"])):
            store = world.stores[world.shelves["store"][first + 1 + tier]]
            room = world.tiers["blocks"][pool["tiers_first"] + tier]
            if store["idle_blocks"] + store["pinned_blocks"] > room:
                yield f"replica {number}, tier {tier}: more than {room} blocks are kept"
