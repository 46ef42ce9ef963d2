"""How far sequences come in a step: one token, or with drafts as many as are accepted.

Sequences of one class advance at one mean pace, so that the contexts of a batch still grow by the
same amount in every step of a run. A *group* of sequences shares a position: the tokens, summed
over all steps, by which one that decoded all along would have advanced. In a pool that does not
draft, all classes are one group, and its position is the step counter of the replica.

How many steps a request takes is drawn when it begins to decode, from the acceptance of its class.
The numbers are of its own (a hash of the seed, its row and its turn), so that it is equally lucky
in every fleet that is compared.
"""

from __future__ import annotations

import math
from typing import Final

import numpy as np
from numpy.typing import NDArray

from planner.kernel.dtypes import LEVELS
from planner.kernel.hashing import mixed
from planner.kernel.jit import kernel, outlined
from planner.kernel.world import World

_FIRST_MODULUS: Final = 2147483563
_SECOND_MODULUS: Final = 2147483399


@kernel
def group_of(pool: np.void, klass: int) -> int:
    """Return the group of a class's sequences."""
    return klass if pool["draft_tokens"] > 0 else 0


@kernel
def width_of(replica: np.void, pool: np.void) -> int:
    """Return the tokens that a decoding sequence takes in a step: its own and the drafted ones."""
    return int(1 + pool["draft_tokens"] * replica["drafting"])


@kernel
def members_of(world: World, replica_index: int, group: int) -> int:
    """Return the decoding sequences of a group, in a pool that drafts."""
    return int(world.queues[replica_index * len(world.classes) + group]["decoding"])


@kernel
def pace_of(world: World, replica: np.void, group: int) -> float:
    """Return the tokens by which a sequence of a group advances in a step, in the mean."""
    if replica["drafting"] == 0:
        return 1.0
    return float(world.drafts[replica["pool"] * len(world.classes) + group]["pace"])


@kernel
def room_of(world: World, pool_index: int, klass: int) -> int:
    """Return the KV tokens kept for drafts that are rejected."""
    return int(world.drafts[pool_index * len(world.classes) + klass]["room"])


@kernel
def position_after(world: World, replica_index: int, group: int, steps: int) -> int:
    """Return the position of a group after the first `steps` steps of the run [tokens].

    Of a pool that drafts; elsewhere the position is the step counter.
    """
    replica = world.replicas[replica_index]
    start = float(world.queues[replica_index * len(world.classes) + group]["position_tokens"])
    return math.floor(start + pace_of(world, replica, group) * steps)


@kernel
def tokens_between(world: World, replica_index: int, first: int, last: int) -> int:
    """Return the tokens that the sequences which advance emit in steps of the run."""
    replica = world.replicas[replica_index]
    pool = world.pools[replica["pool"]]
    if pool["draft_tokens"] == 0:
        return int((last - first) * replica["advancing"])
    if replica["advancing"] == 0:
        return 0
    tokens = 0
    for group in range(pool["groups"]):
        ahead = position_after(world, replica_index, group, last)
        ahead -= position_after(world, replica_index, group, first)
        tokens += members_of(world, replica_index, group) * ahead
    return tokens


@kernel
def growth_of(world: World, replica_index: int) -> float:
    """Return the tokens by which the contexts of a replica grow in a step, summed."""
    replica = world.replicas[replica_index]
    if replica["drafting"] == 0:
        return float(replica["decoding"])
    tokens = 0.0
    for group in range(world.pools[replica["pool"]]["groups"]):
        tokens += members_of(world, replica_index, group) * pace_of(world, replica, group)
    return tokens


@kernel
def close_run(world: World, replica_index: int) -> None:
    """Move the positions of a replica's groups to the end of the run under way."""
    replica = world.replicas[replica_index]
    pool = world.pools[replica["pool"]]
    if pool["draft_tokens"] > 0 and replica["advancing"] > 0:
        first = replica_index * len(world.classes)
        for group in range(pool["groups"]):
            pace = pace_of(world, replica, group)
            world.queues[first + group]["position_tokens"] += pace * replica["settled_steps"]
    replica["settled_steps"] = 0


@kernel
def next_uniform(first: int, second: int) -> tuple[float, int, int]:
    """Return a number of (0, 1) and the next state of the generator.

    Two multiplicative congruential generators combined (L'Ecuyer, Communications of the ACM 31(6),
    1988), which fit into 64 bits without overflow.
    """
    first = (40014 * first) % _FIRST_MODULUS
    second = (40692 * second) % _SECOND_MODULUS
    value = (first - second) % (_FIRST_MODULUS - 1)
    if value == 0:
        value = _FIRST_MODULUS - 1
    return value / _FIRST_MODULUS, first, second


@kernel
def emitted_tokens(table: NDArray[np.float64], uniform: float) -> int:
    """Return the first place of a cumulative table above `uniform`, by bisection."""
    low, high = 0, len(table) - 1
    while low < high:
        middle = (low + high) // 2
        if uniform < table[middle]:
            high = middle
        else:
            low = middle + 1
    return low


@outlined
def steps_for(tables: NDArray[np.float64], depth: int, tokens: int, first: int, second: int) -> int:
    """Return how many steps a sequence takes to emit `tokens` more tokens.

    As long as they cannot be the last, many steps are drawn at once, from the distribution of their
    sum; so the number has its exact law after few draws.

    Args:
        tables: cumulative probabilities of emitting m, m + 1, … tokens in m = 1, 2, 4, … steps.
        depth: most tokens that a step emits, less one.
        tokens: that are left, at least 1.
        first: state of the generator, like the next.
        second: likewise.
    """
    level = LEVELS - 1
    steps = 0
    while tokens > 0:
        while level > 0 and ((depth + 1) << level) > tokens:
            level -= 1
        count = 1 << level
        start = (count - 1) * depth + level
        uniform, first, second = next_uniform(first, second)
        tokens -= count + emitted_tokens(tables[start : start + count * depth + 1], uniform)
        steps += count
    return steps


@outlined
def emitted_in(tables: NDArray[np.float64], depth: int, steps: int, first: int, second: int) -> int:
    """Return how many tokens a sequence emits in `steps` steps; arguments as for `steps_for`."""
    level = LEVELS - 1
    tokens = 0
    while steps > 0:
        while (1 << level) > steps:
            level -= 1
        count = 1 << level
        start = (count - 1) * depth + level
        uniform, first, second = next_uniform(first, second)
        tokens += count + emitted_tokens(tables[start : start + count * depth + 1], uniform)
        steps -= count
    return tokens


@kernel
def tables_from(world: World, request: np.void) -> int:
    """Return the first row of `acceptance` for a request's class in its pool."""
    return int(world.drafts[request["pool"] * len(world.classes) + request["class"]]["first"])


@kernel
def luck_of(world: World, request: np.void, salt: int) -> tuple[int, int]:
    """Return the state of the generator for a draw of a request, by what it has emitted so far."""
    place = request["emitted_tokens"] + request["plan_tokens"]
    seed = mixed(request["row"] ^ mixed(world.state[0]["draw_seed"] + salt))
    first = 1 + mixed(seed + request["turn"]) % (_FIRST_MODULUS - 1)
    second = 1 + mixed(seed ^ mixed(place)) % (_SECOND_MODULUS - 1)
    return first, second


@kernel
def emitted_since(world: World, replica: np.void, request: np.void, end: int) -> int:
    """Return what a decoding request has emitted since it began to, less its first token.

    Where it is asked in the midst of a plan, the steps so far are drawn again: they are known to
    have left something, and nothing else was told of them.

    Args:
        world: the arrays.
        replica: on which it decodes, in the mode in which it did.
        request: that decodes.
        end: the step in which it ends, by its plan.
    """
    left = request["output_tokens"] - request["emitted_tokens"] - request["plan_tokens"]
    steps = replica["step"] - request["plan_step"]
    gained = left
    if end > replica["step"]:
        gained = steps
        if replica["drafting"] == 1:
            depth = world.pools[request["pool"]]["draft_depth"]
            tables = world.acceptance[tables_from(world, request) :]
            for salt in range(1, 9):
                first, second = luck_of(world, request, salt)
                gained = emitted_in(tables, depth, steps, first, second)
                if gained < left:
                    break
            gained = min(gained, left - 1)
    return int(request["plan_tokens"] + gained)


@kernel
def steps_to_end(world: World, replica: np.void, request: np.void, left: int) -> int:
    """Return the steps in which a request emits its last `left` tokens, in the present mode."""
    if replica["drafting"] == 0:
        return left
    first, second = luck_of(world, request, 0)
    depth = world.pools[request["pool"]]["draft_depth"]
    tables = world.acceptance[tables_from(world, request) :]
    return steps_for(tables, depth, left, first, second)
