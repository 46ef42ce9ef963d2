"""How much to commit to, with one kind of node and two terms.

The optimum is the newsvendor's: commit up to the level whose share of time in use is the ratio of
the committed to the on-demand price. `planner.economics.mix` finds it for any pools and terms.
"""

from __future__ import annotations

from collections.abc import Sequence


def commitment_level(nodes: Sequence[int], committed_usd: float, on_demand_usd: float) -> int:
    """Return up to which node committing is cheaper than renting by the hour.

    The n-th node is in use in those hours that need at least n. Committed it costs c in every hour,
    on demand p in those; so it is committed while its share of hours in use is at least c/p: the
    critical ratio of the newsvendor.

    Args:
        nodes: needed in each hour.
        committed_usd: per node and hour, paid in every hour.
        on_demand_usd: per node and hour of use.

    >>> commitment_level([1, 1, 1, 3], committed_usd=1.0, on_demand_usd=2.5)
    1
    >>> commitment_level([1, 2, 2, 3], committed_usd=1.0, on_demand_usd=2.5)
    2
    """
    level = 0
    while level < max(nodes):
        in_use = sum(1 for needed in nodes if needed > level)
        if committed_usd * len(nodes) > on_demand_usd * in_use:
            break
        level += 1
    return level
