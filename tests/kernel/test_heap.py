"""The two heaps against sorted lists."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from planner.kernel.dtypes import ARRIVAL, RETURN, SLOT
from planner.kernel.heap import copy_arrival, pop_return, push_return, push_slot, remove_slot

FIRST = 3
"""Row at which the heap of slots begins; the rows before it belong to somebody else."""


def slots_of(slots: NDArray[np.void], count: int) -> list[tuple[int, int, int]]:
    return [tuple(int(value) for value in slot) for slot in slots[FIRST : FIRST + count]]


@given(
    finish_steps=st.lists(st.integers(0, 5), max_size=20),
    removals=st.lists(st.integers(0, 100), max_size=20),
)
def test_slots_are_a_priority_queue(finish_steps: list[int], removals: list[int]) -> None:
    slots = np.zeros(FIRST + len(finish_steps), SLOT)
    slots[:FIRST] = (-7, -7, -7)
    expected = []
    for key, finish_step in enumerate(finish_steps):
        push_slot(slots, FIRST, len(expected), finish_step, key, 100 + key)
        expected.append((finish_step, key, 100 + key))
        assert slots_of(slots, len(expected))[0] == min(expected)
    for removal in removals[: len(expected)]:  # any position
        position = removal % len(expected)
        removed = slots_of(slots, len(expected))[position]
        remove_slot(slots, FIRST, len(expected), position)
        expected.remove(removed)
        assert sorted(slots_of(slots, len(expected))) == sorted(expected)
    while expected:  # the first
        assert slots_of(slots, len(expected))[0] == min(expected)
        remove_slot(slots, FIRST, len(expected), 0)
        expected.remove(min(expected))
    assert (slots["key"][:FIRST] == -7).all()


def arrival_record(seed: int) -> NDArray[np.void]:
    """Return a record with a different number in every field, shape `(1,)`."""
    record = np.zeros(1, ARRIVAL)
    for position, name in enumerate(ARRIVAL.names or ()):
        record[name] = 100 * seed + position
    return record


def test_every_field_of_an_arrival_is_copied() -> None:
    source, target = arrival_record(1), np.zeros(1, ARRIVAL)
    copy_arrival(source[0], target[0])
    assert source[0] == target[0]


@given(st.lists(st.one_of(st.integers(0, 5), st.none()), max_size=30))
def test_returns_are_a_priority_queue(steps: list[int | None]) -> None:
    """A number is the time of an arrival to push; None pops the first."""
    returns = np.zeros(len(steps) + 1, RETURN)
    returns["slot"] = np.arange(len(returns))
    expected: list[tuple[float, int]] = []
    slots: dict[int, int] = {}
    for key, step in enumerate(steps):
        if step is not None:
            slots[key] = push_return(returns, len(expected), float(step), key)
            expected.append((float(step), key))
        elif expected:
            first = min(expected)
            assert pop_return(returns, len(expected)) == slots.pop(first[1])
            expected.remove(first)
        if expected:
            assert returns[0]["key"] == min(expected)[1]
        assert len(set(slots.values())) == len(slots), "each has a row of its own"
        assert sorted(returns["slot"].tolist()) == list(range(len(returns)))
