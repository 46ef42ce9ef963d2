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
    left_s = returns[a]["arrival"]["arrival_s"]
    right_s = returns[b]["arrival"]["arrival_s"]
    if left_s != right_s:
        return bool(left_s < right_s)
    return bool(returns[a]["key"] < returns[b]["key"])


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


@kernel
def copy_return(returns: Records, source: int, target: int) -> None:
    """Copy one return over another."""
    copy_arrival(returns[source]["arrival"], returns[target]["arrival"])
    returns[target]["key"] = returns[source]["key"]


@kernel
def push_return(returns: Records, count: int, arrival: np.void, arrival_s: float, key: int) -> None:
    """Add a generated arrival to a heap of `count`; the array's last row is scratch space."""
    spare = len(returns) - 1
    copy_arrival(arrival, returns[spare]["arrival"])
    returns[spare]["arrival"]["arrival_s"] = arrival_s
    returns[spare]["key"] = key
    position = count
    while position > 0:
        parent = (position - 1) >> 1
        if not returns_before(returns, spare, parent):
            break
        copy_return(returns, parent, position)
        position = parent
    copy_return(returns, spare, position)


@kernel
def pop_return(returns: Records, count: int) -> None:
    """Remove the first of a heap of `count` generated arrivals; the heap then has one less."""
    last = count - 1
    position = 0
    while True:
        child = 2 * position + 1
        if child >= last:
            break
        if child + 1 < last and returns_before(returns, child + 1, child):
            child += 1
        if not returns_before(returns, child, last):
            break
        copy_return(returns, child, position)
        position = child
    if position != last:
        copy_return(returns, last, position)
