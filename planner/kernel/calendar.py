"""The next event over all replicas: a tournament tree, so that one change costs O(log replicas)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from planner.kernel.jit import kernel

Records = NDArray[np.void]


@kernel
def next_event_s(replica: np.void) -> float:
    """Return when something happens next on a replica [s]."""
    own_s = min(replica["run_end_s"], replica["timeout_s"])  # a boundary, a time-out,
    return float(min(own_s, replica["fetch_s"], replica["link_end_s"]))  # KV fetched, or sent


@kernel
def winner_of(calendar: Records, node: int) -> int:
    """Return the replica that wins the subtree under `node`; nodes ≥ len(calendar) are leaves."""
    leaves = len(calendar)
    if node >= leaves:
        return node - leaves
    return int(calendar[node]["winner"])


@kernel
def schedule(calendar: Records, replica: int, event_s: float) -> None:
    """Set the time of a replica's next event [s]; at equal times the lower replica number wins."""
    calendar[replica]["event_s"] = event_s
    node = (len(calendar) + replica) >> 1
    while node >= 1:
        left = winner_of(calendar, 2 * node)
        right = winner_of(calendar, 2 * node + 1)
        winner = right if calendar[right]["event_s"] < calendar[left]["event_s"] else left
        if winner != replica and calendar[node]["winner"] == winner:
            break  # the change did not reach this node, so it cannot reach those above
        calendar[node]["winner"] = winner
        node >>= 1


@kernel
def next_replica(calendar: Records) -> int:
    """Return the replica whose event comes next."""
    return int(calendar[1]["winner"])
