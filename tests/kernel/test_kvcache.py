"""Block counts in closed form against counting step by step."""

from __future__ import annotations

from dataclasses import dataclass
from math import floor

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from planner.kernel.build import add_replicas, build_world
from planner.kernel.kvcache import (
    blocks_between,
    blocks_for_steps,
    blocks_of,
    growth_residue,
    steps_within,
)
from planner.kernel.plan import ClassPlan, DraftPlan, Plan, PoolPlan
from planner.kernel.world import World


@pytest.mark.parametrize(
    ("tokens", "block_tokens", "blocks"), [(0, 16, 0), (1, 16, 1), (16, 16, 1), (17, 16, 2)]
)
def test_blocks_hold_their_tokens(tokens: int, block_tokens: int, blocks: int) -> None:
    assert blocks_of(tokens, block_tokens) == blocks


def test_residue_of_a_worked_example() -> None:
    # A sequence of 7 tokens fills its second block of 4 with the step at position 10; the next one,
    # at position 11, begins a third: 11 mod 4 = 3.
    assert growth_residue(10, 7, 4) == 3


def test_blocks_between_of_a_worked_example() -> None:
    growth = np.array([0, 0, 2, 1], np.int64)  # 3 sequences, blocks of 4
    assert [blocks_between(growth, 3, 1, tokens) for tokens in range(6)] == [0, 0, 2, 3, 3, 3]


@dataclass
class Batch:
    """A replica with sequences of two classes, built as the kernel would."""

    world: World
    paces: tuple[float, float]
    position: tuple[float, float]
    tokens: list[tuple[int, int]]
    """(class, KV tokens with the room for drafts) of each sequence."""
    block_tokens: int

    def blocks_taken(self, steps: int) -> int:
        """Return what the sequences take, one by one."""
        taken = 0
        for klass, tokens in self.tokens:
            start = self.position[klass]
            ahead = floor(start + self.paces[klass] * steps) - floor(start)
            taken += blocks_of(tokens + ahead, self.block_tokens)
            taken -= blocks_of(tokens, self.block_tokens)
        return taken


@st.composite
def batches(draw: st.DrawFn) -> Batch:
    block_tokens = draw(st.integers(1, 7))
    draft = None
    if drafting := draw(st.booleans()):
        shares = [draw(st.sampled_from([0.0, 0.25, 0.5, 1.0])) for _ in range(2)]
        emitted = tuple((1.0 - share, 0.0, share) for share in shares)
        draft = DraftPlan(2, emitted, np.zeros(65))
    pool = PoolPlan(
        "pool", 1.0, np.zeros(257), 0.0, 0.0, 0.0, token_budget=256, maximum_sequences=64,
        kv_blocks=10**6, kv_block_tokens=block_tokens, draft=draft,
    )  # fmt: skip
    classes = (ClassPlan("a", (0,)), ClassPlan("b", (0,)))
    world = add_replicas(build_world(Plan((pool,), classes, iter(())), 1), [0])
    position = draw(st.integers(0, 50)) + 0.5
    world.queues["position_tokens"] = position
    replica = world.replicas[0]
    replica["drafting"] = drafting
    replica["step"] = floor(position)
    sequence = st.tuples(st.integers(0, 1), st.integers(1, 30))
    tokens = draw(st.lists(sequence, min_size=1, max_size=8))
    replica["decoding"] = len(tokens)
    for klass, held in tokens:
        world.queues["decoding"][klass] += 1
        row = klass * block_tokens if drafting else 0
        world.kv_growth[row + growth_residue(floor(position), held, block_tokens)] += 1
    paces = (draft.pace(0), draft.pace(1)) if draft is not None else (1.0, 1.0)
    return Batch(world, paces, (position, position), tokens, block_tokens)


@given(batch=batches(), first=st.integers(0, 9), steps=st.integers(0, 40))
def test_blocks_for_steps(batch: Batch, first: int, steps: int) -> None:
    expected = batch.blocks_taken(first + steps) - batch.blocks_taken(first)
    assert blocks_for_steps(batch.world, 0, first, first + steps) == expected


@given(batch=batches(), free_blocks=st.integers(0, 60), limit=st.integers(1, 40))
def test_steps_within(batch: Batch, free_blocks: int, limit: int) -> None:
    expected = max(s for s in range(limit + 1) if batch.blocks_taken(s) <= free_blocks)
    assert steps_within(batch.world, 0, free_blocks, limit) == expected


@given(batch=batches(), limit=st.integers(1, 40))
def test_plenty_of_blocks_last_to_the_limit(batch: Batch, limit: int) -> None:
    assert steps_within(batch.world, 0, 10**6, limit) == limit
