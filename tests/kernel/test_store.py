"""Stores of prefixes against dictionaries and lists."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from planner.kernel import build
from planner.kernel.dtypes import NONE
from planner.kernel.store import (
    empty_store,
    find_entry,
    put_entry,
    rest_entry,
    shrink,
    wake_entry,
)
from planner.kernel.world import World
from tests.kernel.test_build import empty_world
from tests.naive.store import Store

STORES = (0, 1, 2)
KEYS = (NONE, 0, 1, 2, 3, 17, -2, -3, -8, 1 << 40)
Action = tuple[str, int, int, int]


def kept(world: World, store: int) -> list[tuple[int, int]]:
    """Return key and blocks of what is out of use, the oldest first."""
    found = []
    index = int(world.stores[store]["oldest"])
    while index != NONE:
        entry = world.entries[index]
        found.append((int(entry["key"]), int(entry["blocks"])))
        index = int(entry["newer"])
    return found


@given(
    actions=st.lists(
        st.tuples(
            st.sampled_from(["put", "put", "put", "shrink", "empty", "use"]),
            st.sampled_from(STORES),
            st.sampled_from(KEYS),
            st.integers(0, 6),
        ),
        max_size=40,
    )
)
def test_equals_lists(actions: list[Action]) -> None:
    world = build.grow_entries(build.add_replicas(empty_world(), [0] * len(STORES)), 8)
    twins = [Store() for _ in STORES]
    for what, number, key, blocks in actions:
        if len(world.entries) - world.state["entries_in_use"][0] < 2:
            world = build.grow_entries(world, 8)
        twin = twins[number]
        if what == "put":
            put_entry(world, number, key, blocks)
            if key == NONE:
                twin.put_unknown(blocks)
            elif blocks > 0:
                twin.put(key, blocks)
        elif what == "shrink":
            shrink(world, number, 3 * blocks - 1)
            twin.shrink(3 * blocks - 1)
        elif what == "empty" and blocks > 4:
            empty_store(world, number)
            twins[number] = Store()
        elif what == "use" and key in twin.idle:
            index = find_entry(world, number, key)
            wake_entry(world, index)
            rest_entry(world, index)
            twin.attach(key, twin.blocks[key])
            twin.detach(key)
        for store, each in enumerate(twins):
            expected = [(k if isinstance(k, int) else NONE, each.blocks[k]) for k in each.idle]
            assert kept(world, store) == expected
            assert world.stores[store]["idle_blocks"] == each.idle_blocks
            for known in KEYS[1:]:
                assert (find_entry(world, store, known) != NONE) == (known in each.blocks)
