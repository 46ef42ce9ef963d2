"""Paged KV memory: exact block counts without visiting a sequence at every step.

A decoding sequence takes a new block at every `kv_block_tokens`-th step, always at the same residue
of its replica's step counter. Counting the sequences by that residue makes the blocks taken over
any number of steps a sum over at most one cycle.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from planner.kernel.jit import kernel

Counts = NDArray[np.int64]


@kernel
def blocks_of(tokens: int, block_tokens: int) -> int:
    """Return the number of blocks that hold `tokens` tokens."""
    return (tokens + block_tokens - 1) // block_tokens


@kernel
def growth_residue(replica: np.void, tokens: int, block_tokens: int) -> int:
    """Return the residue of the step counter at which a sequence of `tokens` takes a block."""
    return int((replica["step"] - tokens) % block_tokens)


@kernel
def blocks_for_steps(replica: np.void, growth: Counts, block_tokens: int, steps: int) -> int:
    """Return the blocks that the decoding sequences take over the next `steps` steps."""
    first = replica["growth_first"]
    blocks = (steps // block_tokens) * replica["decoding"]
    residue = replica["step"] % block_tokens
    for _ in range(steps % block_tokens):
        blocks += growth[first + residue]
        residue += 1
        if residue == block_tokens:
            residue = 0
    return int(blocks)


@kernel
def steps_within(
    replica: np.void, growth: Counts, block_tokens: int, free_blocks: int, limit: int
) -> int:
    """Return how many steps, at most `limit`, the free blocks last for the decoding sequences."""
    decoding = replica["decoding"]
    if (limit // block_tokens + 1) * decoding <= free_blocks:
        return limit  # the common case: enough for everyone whatever the residues
    steps = (free_blocks // decoding) * block_tokens
    left = free_blocks % decoding
    first = replica["growth_first"]
    residue = replica["step"] % block_tokens
    while steps < limit:
        left -= growth[first + residue]
        if left < 0:
            break
        steps += 1
        residue += 1
        if residue == block_tokens:
            residue = 0
    return int(min(steps, limit))
