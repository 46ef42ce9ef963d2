"""Paged KV memory: exact block counts without visiting a sequence at every step.

A decoding sequence takes a new block whenever its group's position (see speculate.py) has moved on
by `kv_block_tokens`, always at the same residue of that position. Counting the sequences of a group
by this residue makes the blocks taken over any number of steps a sum over at most one cycle.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from planner.kernel.jit import kernel
from planner.kernel.speculate import members_of, position_after, room_of
from planner.kernel.world import World

Counts = NDArray[np.int64]


@kernel
def blocks_of(tokens: int, block_tokens: int) -> int:
    """Return the number of blocks that hold `tokens` tokens."""
    return (tokens + block_tokens - 1) // block_tokens


@kernel
def blocks_held(world: World, replica: np.void, request: np.void, tokens: int) -> int:
    """Return the blocks that a running request of `tokens` tokens holds, shared ones included."""
    pool = world.pools[replica["pool"]]
    if pool["draft_tokens"] == 0:
        return blocks_of(tokens, pool["kv_block_tokens"])
    room = room_of(world, replica["pool"], request["class"])
    return blocks_of(tokens + room, pool["kv_block_tokens"])


@kernel
def free_blocks(pool: np.void, replica: np.void) -> int:
    """Return the blocks of a replica that nothing holds."""
    return int(pool["kv_blocks"] - replica["kv_used_blocks"] - replica["parked_blocks"])


@kernel
def growth_residue(position: int, tokens: int, block_tokens: int) -> int:
    """Return the residue of the position at which a sequence of `tokens` takes a block."""
    return int((position - tokens) % block_tokens)


@kernel
def blocks_between(growth: Counts, members: int, position: int, tokens: int) -> int:
    """Return the blocks that a group takes while its position moves on.

    Args:
        growth: its sequences by residue, shape `(block_tokens,)`.
        members: how many they are.
        position: where it stands.
        tokens: by which it moves.
    """
    block_tokens = len(growth)
    blocks = (tokens // block_tokens) * members
    residue = position % block_tokens
    for _ in range(tokens % block_tokens):
        blocks += growth[residue]
        residue += 1
        if residue == block_tokens:
            residue = 0
    return int(blocks)


@kernel
def blocks_for_steps(world: World, replica_index: int, first: int, last: int) -> int:
    """Return the blocks that the decoding sequences take in steps `first` to `last` − 1."""
    replica = world.replicas[replica_index]
    pool = world.pools[replica["pool"]]
    block_tokens = pool["kv_block_tokens"]
    row = replica["growth_first"]
    if pool["draft_tokens"] == 0:
        position = replica["step"] - replica["settled_steps"] + first
        growth = world.kv_growth[row : row + block_tokens]
        return blocks_between(growth, replica["decoding"], position, last - first)
    blocks = 0
    for group in range(pool["groups"]):
        members = members_of(world, replica_index, group)
        if members > 0:
            position = position_after(world, replica_index, group, first)
            tokens = position_after(world, replica_index, group, last) - position
            growth = world.kv_growth[row : row + block_tokens]
            blocks += blocks_between(growth, members, position, tokens)
        row += block_tokens
    return blocks


@kernel
def steps_within(world: World, replica_index: int, free_blocks: int, limit: int) -> int:
    """Return how many steps, at most `limit`, the free blocks last for the decoding sequences."""
    replica = world.replicas[replica_index]
    pool = world.pools[replica["pool"]]
    most = limit * (1 + pool["draft_tokens"]) // pool["kv_block_tokens"] + 1
    if most * replica["decoding"] <= free_blocks:
        return limit  # the common case: enough for everyone whatever the residues
    enough, too_many = 0, limit + 1
    while too_many - enough > 1:
        middle = (enough + too_many) // 2
        if blocks_for_steps(world, replica_index, 0, middle) <= free_blocks:
            enough = middle
        else:
            too_many = middle
    return enough
