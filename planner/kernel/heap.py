"""Binary heaps over structured arrays: when sequences finish, when generated requests arrive."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from planner.kernel.jit import kernel

Records = NDArray[np.void]


@kernel
def finishes_before(slots: Records, a: int, b: int) -> bool:
    """Tell whether slot `a` precedes slot `b` in the order (finish_step, key)."""
    left = slots[a]
    right = slots[b]
    if left["finish_step"] != right["finish_step"]:
        return bool(left["finish_step"] < right["finish_step"])
    return bool(left["key"] < right["key"])


@kernel
def swap_slots(slots: Records, a: int, b: int) -> None:
    """Exchange two slots."""
    left = slots[a]
    right = slots[b]
    finish_step, key, request = left["finish_step"], left["key"], left["request"]
    left["finish_step"], left["key"], left["request"] = (
        right["finish_step"],
        right["key"],
        right["request"],
    )
    right["finish_step"], right["key"], right["request"] = finish_step, key, request


@kernel
def sift_slot_up(slots: Records, first: int, position: int) -> None:
    """Move a slot of the heap at row `first` towards the root while it precedes its parent."""
    while position > 0:
        parent = (position - 1) >> 1
        if not finishes_before(slots, first + position, first + parent):
            break
        swap_slots(slots, first + position, first + parent)
        position = parent


@kernel
def sift_slot_down(slots: Records, first: int, count: int, position: int) -> None:
    """Move a slot towards the leaves while a child precedes it."""
    while True:
        child = 2 * position + 1
        if child >= count:
            break
        if child + 1 < count and finishes_before(slots, first + child + 1, first + child):
            child += 1
        if not finishes_before(slots, first + child, first + position):
            break
        swap_slots(slots, first + child, first + position)
        position = child


@kernel
def push_slot(
    slots: Records, first: int, count: int, finish_step: int, key: int, request: int
) -> None:
    """Add a sequence to a heap of `count` slots that starts at row `first`."""
    slot = slots[first + count]
    slot["finish_step"] = finish_step
    slot["key"] = key
    slot["request"] = request
    sift_slot_up(slots, first, count)


@kernel
def remove_slot(slots: Records, first: int, count: int, position: int) -> None:
    """Remove the slot at `position` of a heap of `count` slots; the heap then has one less."""
    last = count - 1
    if position == last:
        return
    swap_slots(slots, first + position, first + last)
    sift_slot_down(slots, first, last, position)
    sift_slot_up(slots, first, position)


@kernel
def returns_before(returns: Records, a: int, b: int) -> bool:
    """Tell whether return `a` precedes return `b` in the order (arrival_s, key)."""
    if returns[a]["arrival_s"] != returns[b]["arrival_s"]:
        return bool(returns[a]["arrival_s"] < returns[b]["arrival_s"])
    return bool(returns[a]["key"] < returns[b]["key"])


@kernel
def swap_returns(returns: Records, a: int, b: int) -> None:
    """Exchange two returns."""
    arrival_s, key, slot = returns[a]["arrival_s"], returns[a]["key"], returns[a]["slot"]
    returns[a]["arrival_s"] = returns[b]["arrival_s"]
    returns[a]["key"] = returns[b]["key"]
    returns[a]["slot"] = returns[b]["slot"]
    returns[b]["arrival_s"] = arrival_s
    returns[b]["key"] = key
    returns[b]["slot"] = slot


@kernel
def push_return(returns: Records, count: int, arrival_s: float, key: int) -> int:
    """Add a generated arrival to a heap of `count`; return the row of `sent` that is its own.

    Behind the heap, the array lists the rows of `sent` that are free.
    """
    slot = int(returns[count]["slot"])
    returns[count]["arrival_s"] = arrival_s
    returns[count]["key"] = key
    position = count
    while position > 0:
        parent = (position - 1) >> 1
        if not returns_before(returns, position, parent):
            break
        swap_returns(returns, position, parent)
        position = parent
    return slot


@kernel
def pop_return(returns: Records, count: int) -> int:
    """Remove the first of a heap of `count` generated arrivals; return its row of `sent`."""
    slot = int(returns[0]["slot"])
    last = count - 1
    swap_returns(returns, 0, last)
    position = 0
    while True:
        child = 2 * position + 1
        if child >= last:
            break
        if child + 1 < last and returns_before(returns, child + 1, child):
            child += 1
        if not returns_before(returns, child, position):
            break
        swap_returns(returns, child, position)
        position = child
    return slot


@kernel
def copy_arrival(source: np.void, target: np.void) -> None:
    """Copy every field of an `ARRIVAL` record."""
    target["arrival_s"] = source["arrival_s"]
    target["think_s"] = source["think_s"]
    target["session"] = source["session"]
    target["visitor"] = source["visitor"]
    target["next_turn"] = source["next_turn"]
    target["row"] = source["row"]
    target["input_tokens"] = source["input_tokens"]
    target["output_tokens"] = source["output_tokens"]
    target["reasoning_tokens"] = source["reasoning_tokens"]
    target["first_hash"] = source["first_hash"]
    target["hashes"] = source["hashes"]
    target["task_start_s"] = source["task_start_s"]
    target["task_tokens"] = source["task_tokens"]
    target["class"] = source["class"]
    target["turn"] = source["turn"]
    target["stream"] = source["stream"]
    target["call"] = source["call"]
