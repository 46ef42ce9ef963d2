"""Stores of prefixes: entries found by key, and those out of use in order of their last use.

The table `places` finds an entry by store and key: open addressing with linear probing, at most
half full, without tombstones (an entry taken out lets those behind it move up).
"""

from __future__ import annotations

from planner.kernel.dtypes import NONE
from planner.kernel.hashing import mixed
from planner.kernel.jit import kernel, outlined
from planner.kernel.world import World


@kernel
def home_of(world: World, store: int, key: int) -> int:
    """Return the first place at which an entry is looked for."""
    return mixed((key >> 32) ^ mixed(key ^ mixed(store))) & (len(world.places) - 1)


@kernel
def find_entry(world: World, store: int, key: int) -> int:
    """Return the entry of a key in a store, or NONE."""
    last = len(world.places) - 1
    place = home_of(world, store, key)
    while world.places[place] != NONE:
        entry = world.entries[world.places[place]]
        if entry["key"] == key and entry["store"] == store:
            return int(world.places[place])
        place = (place + 1) & last
    return NONE


@kernel
def add_entry(world: World, store: int, key: int) -> int:
    """Return a new entry, in no list; the caller has made sure that there is a free one."""
    state = world.state[0]
    index = int(state["free_entry"])
    entry = world.entries[index]
    state["free_entry"] = entry["newer"]
    state["entries_in_use"] += 1
    entry["key"] = key
    entry["store"] = store
    entry["blocks"] = 0
    entry["users"] = 0
    if key != NONE:
        place_entry(world, index)
    return index


@kernel
def place_entry(world: World, index: int) -> None:
    """Let an entry be found by its key."""
    entry = world.entries[index]
    last = len(world.places) - 1
    place = home_of(world, entry["store"], entry["key"])
    while world.places[place] != NONE:
        place = (place + 1) & last
    world.places[place] = index


@kernel
def place_entries(world: World) -> None:
    """Let every entry with a key be found by it, in a table that is still empty."""
    for index in range(len(world.entries)):
        entry = world.entries[index]
        if entry["store"] != NONE and entry["key"] != NONE:
            place_entry(world, index)


@outlined
def displace_entry(world: World, index: int) -> None:
    """Let an entry be found no more; those that it had pushed away move up."""
    entry = world.entries[index]
    places = world.places
    last = len(places) - 1
    gap = home_of(world, entry["store"], entry["key"])
    while places[gap] != index:
        gap = (gap + 1) & last
    place = (gap + 1) & last
    while places[place] != NONE:
        other = world.entries[places[place]]
        home = home_of(world, other["store"], other["key"])
        if ((place - home) & last) >= ((place - gap) & last):
            places[gap] = places[place]
            gap = place
        place = (place + 1) & last
    places[gap] = NONE


@kernel
def free_entry(world: World, index: int) -> None:
    """Give back an entry that is in no list."""
    state = world.state[0]
    entry = world.entries[index]
    if entry["key"] != NONE:
        displace_entry(world, index)
    entry["newer"] = state["free_entry"]
    entry["store"] = NONE
    state["free_entry"] = index
    state["entries_in_use"] -= 1


@kernel
def rest_entry(world: World, index: int) -> None:
    """Let an entry be out of use from now on: the newest of its store."""
    entry = world.entries[index]
    store = world.stores[entry["store"]]
    entry["newer"] = NONE
    entry["older"] = store["newest"]
    if store["newest"] == NONE:
        store["oldest"] = index
    else:
        world.entries[store["newest"]]["newer"] = index
    store["newest"] = index
    store["idle_blocks"] += entry["blocks"]


@kernel
def wake_entry(world: World, index: int) -> None:
    """Take an entry out of the list of those out of use."""
    entry = world.entries[index]
    store = world.stores[entry["store"]]
    if entry["older"] == NONE:
        store["oldest"] = entry["newer"]
    else:
        world.entries[entry["older"]]["newer"] = entry["newer"]
    if entry["newer"] == NONE:
        store["newest"] = entry["older"]
    else:
        world.entries[entry["newer"]]["older"] = entry["older"]
    store["idle_blocks"] -= entry["blocks"]


@outlined
def put_entry(world: World, store: int, key: int, blocks: int) -> None:
    """Keep the first `blocks` blocks of a segment that nobody uses, if any, as the newest."""
    if blocks <= 0:
        return
    index = NONE if key == NONE else find_entry(world, store, key)
    if index == NONE:
        index = add_entry(world, store, key)
    else:
        wake_entry(world, index)
    world.entries[index]["blocks"] = blocks
    rest_entry(world, index)


@outlined
def shrink(world: World, store_index: int, limit: int) -> None:
    """Evict what has been out of use longest, until at most `limit` blocks are out of use.

    A negative limit, where decoding sequences are short of blocks, is none at all.
    """
    store = world.stores[store_index]
    limit = max(limit, 0)
    while store["idle_blocks"] > limit:
        index = int(store["oldest"])
        entry = world.entries[index]
        excess = store["idle_blocks"] - limit
        if entry["blocks"] > excess:
            entry["blocks"] -= excess
            store["idle_blocks"] -= excess
        else:
            wake_entry(world, index)
            free_entry(world, index)


@outlined
def empty_store(world: World, store_index: int) -> None:
    """Keep nothing; takes as long as there are entries in all stores."""
    for index in range(len(world.entries)):
        if world.entries[index]["store"] == store_index:
            free_entry(world, index)
    store = world.stores[store_index]
    store["idle_blocks"] = 0
    store["pinned_blocks"] = 0
    store["oldest"] = NONE
    store["newest"] = NONE
