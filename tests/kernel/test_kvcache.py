"""Block counts in closed form against counting step by step."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from planner.kernel.dtypes import REPLICA
from planner.kernel.kvcache import blocks_for_steps, blocks_of, growth_residue, steps_within

FIRST = 2


@pytest.mark.parametrize(
    ("tokens", "block_tokens", "blocks"), [(0, 16, 0), (1, 16, 1), (16, 16, 1), (17, 16, 2)]
)
def test_blocks_hold_their_tokens(tokens: int, block_tokens: int, blocks: int) -> None:
    assert blocks_of(tokens, block_tokens) == blocks


def test_residue_of_a_worked_example() -> None:
    replica = np.zeros(1, REPLICA)
    replica["step"] = 10
    # A sequence of 7 tokens fills its second block of 4 with this step's token; the next step, the
    # eleventh after the start (number 11), begins a third: 11 mod 4 = 3.
    assert growth_residue(replica[0], 7, 4) == 3


@st.composite
def batches(draw: st.DrawFn) -> tuple[NDArray[np.void], NDArray[np.int64], list[int], int]:
    """A replica at some step, its growth counts, the tokens of its sequences, the block size."""
    block_tokens = draw(st.integers(1, 7))
    tokens = draw(st.lists(st.integers(1, 30), min_size=1, max_size=8))
    replica = np.zeros(1, REPLICA)
    replica["step"] = draw(st.integers(0, 50))
    replica["decoding"] = len(tokens)
    replica["growth_first"] = FIRST
    growth = np.zeros(FIRST + block_tokens, np.int64)
    growth[:FIRST] = 99  # of another replica
    for count in tokens:
        growth[FIRST + growth_residue(replica[0], count, block_tokens)] += 1
    return replica, growth, tokens, block_tokens


def blocks_taken(tokens: list[int], block_tokens: int, steps: int) -> int:
    """Return what the sequences take when each writes one token a step."""
    now = sum(blocks_of(count, block_tokens) for count in tokens)
    return sum(blocks_of(count + steps, block_tokens) for count in tokens) - now


@given(batch=batches(), steps=st.integers(0, 40))
def test_blocks_for_steps(
    batch: tuple[NDArray[np.void], NDArray[np.int64], list[int], int], steps: int
) -> None:
    replica, growth, tokens, block_tokens = batch
    expected = blocks_taken(tokens, block_tokens, steps)
    assert blocks_for_steps(replica[0], growth, block_tokens, steps) == expected


@given(batch=batches(), free_blocks=st.integers(0, 60), limit=st.integers(1, 40))
def test_steps_within(
    batch: tuple[NDArray[np.void], NDArray[np.int64], list[int], int], free_blocks: int, limit: int
) -> None:
    replica, growth, tokens, block_tokens = batch
    expected = max(
        steps
        for steps in range(limit + 1)
        if blocks_taken(tokens, block_tokens, steps) <= free_blocks
    )
    assert steps_within(replica[0], growth, block_tokens, free_blocks, limit) == expected


@given(batch=batches(), limit=st.integers(1, 40))
def test_plenty_of_blocks_last_to_the_limit(
    batch: tuple[NDArray[np.void], NDArray[np.int64], list[int], int], limit: int
) -> None:
    replica, growth, _, block_tokens = batch
    assert steps_within(replica[0], growth, block_tokens, 10**6, limit) == limit
