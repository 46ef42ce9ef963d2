"""Two models for a class: some requests go to a lighter one first, and of these some go on.

Who does is decided by a hash of the seed, the class and the row, so that a request goes the same
way in every fleet that is compared.
"""

from __future__ import annotations

import numpy as np

from planner.kernel.ends import end_request
from planner.kernel.enums import Fate, Leg
from planner.kernel.handoff import let_leave
from planner.kernel.hashing import mixed
from planner.kernel.jit import kernel
from planner.kernel.world import World

SERVED = int(Fate.SERVED)
MAIN = int(Leg.MAIN)
LIGHT = int(Leg.LIGHT)
ESCALATED = int(Leg.ESCALATED)


@kernel
def chance(seed: int, klass: int, row: int, purpose: int) -> float:
    """Return a number of [0, 1) for a row of a class and a purpose."""
    bits = mixed(row ^ mixed(seed + 4 * klass + purpose))
    return float(mixed(bits + row) / 4294967296.0)


@kernel
def goes_to_light(world: World, request: np.void) -> bool:
    """Tell whether a request that arrives is for the lighter model of its class."""
    klass = world.classes[request["class"]]
    if request["input_tokens"] > klass["light_input_tokens"]:
        return False
    seed = world.state[0]["draw_seed"]
    luck = chance(seed, request["class"], request["row"], LIGHT)
    return bool(luck < klass["light_share"])


@kernel
def finish(world: World, replica_index: int, index: int, now_s: float) -> None:
    """End a request that has emitted all its tokens, or let it go on to the pools of its class."""
    request = world.requests[index]
    if request["leg"] == LIGHT:
        seed = world.state[0]["draw_seed"]
        luck = chance(seed, request["class"], request["row"], ESCALATED)
        if luck < world.classes[request["class"]]["escalation"]:
            let_leave(world, replica_index, index)
            return
    end_request(world, index, SERVED, now_s)
