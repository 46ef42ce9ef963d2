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
def schedule(calendar: Records, replica: int, event_s: float) -> None:
    """Set the time of a replica's next event [s]; at equal times the lower replica number wins.

    What wins climbs in registers: a level costs one look, at the other child.
    """
    node = (len(calendar) >> 1) + replica
    winner = replica
    calendar[node]["event_s"] = event_s
    while node > 1:
        other = calendar[node ^ 1]
        other_s = other["event_s"]
        # A left child has an even number and the lower replicas.
        if other_s < event_s or (other_s == event_s and node & 1 == 1):
            winner = other["winner"]
            event_s = other_s
        node >>= 1
        if calendar[node]["winner"] == winner and calendar[node]["event_s"] == event_s:
            break  # the change did not reach this node, so it cannot reach those above
        calendar[node]["winner"] = winner
        calendar[node]["event_s"] = event_s


@kernel
def next_replica(calendar: Records) -> int:
    """Return the replica whose event comes next."""
    return int(calendar[1]["winner"])
