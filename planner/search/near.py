"""Sizing that starts near the answer, and asks about all pools at once.

The fleets of two combinations of techniques differ by a few nodes, so that a search which asks
first whether a guess is enough, and then whether a node less is, ends after a few simulations.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from planner.search.fleets import Nodes, Search, SizingError
from planner.search.ratio import best_ratios


@dataclass
class _Bounds:
    """What is known of the nodes of one pool."""

    stride: int
    fewest: int
    most: int
    failing: int
    """Too few; less than `fewest` as long as nothing failed."""
    passing: int | None = None
    """Enough."""
    reach: int = 0
    """How far the last jump went."""

    def learn(self, nodes: int, failed: bool) -> None:
        """Take a verdict; one that contradicts an earlier one, by chance, overrules it."""
        if not failed:
            self.passing = nodes if self.passing is None else min(nodes, self.passing)
            return
        self.failing = max(nodes, self.failing)
        if self.passing is not None and self.passing <= nodes:
            self.passing, self.reach = None, 0

    def next(self) -> int:
        """Return the nodes to try: jumps that double until both bounds are known, then halves."""
        if self.passing is None:
            return min(self.failing + self._jump(self.failing), self.most)
        gap = self.passing - self.failing
        if gap <= self.stride:
            return self.passing
        if self.failing < self.fewest:
            return max(self.passing - self._jump(self.passing), self.fewest)
        return self.failing + gap // self.stride // 2 * self.stride

    def _jump(self, nodes: int) -> int:
        self.reach = 2 * self.reach or max(nodes // 16 // self.stride, 1) * self.stride
        return self.reach


class NearSearch(Search):
    """A search for the smallest fleet from a guess."""

    def smallest(self, guess: Mapping[str, int]) -> Nodes:
        """Return a fleet that keeps every promise and from which no pool can give back a step.

        Where no class overflows and no pool hands over to another, pools do not influence each
        other, so that one simulation tells of every pool whether its nodes are enough. Otherwise
        pools are searched one by one.

        Args:
            guess: nodes by pool; of others, the scenario's own.

        Raises:
            SizingError: no number of nodes within the limit keeps the promises.
        """
        if self.overflows or self.decoders:
            return best_ratios(self, self.minimum())[0]
        nodes = self._start(guess)
        bounds = [
            _Bounds(stride, fewest, most, fewest - stride)
            for stride, fewest, most in zip(self.strides, self.fewest, self.most, strict=True)
        ]
        tried: list[Nodes] = []
        while True:
            passed = self.simulate(nodes).passed
            failing = set() if passed else self._failing_pools(nodes)
            if not passed:
                self._require_hope(nodes, failing, tried)
            for name, bound, count in zip(self.names, bounds, nodes, strict=True):
                bound.learn(count, name in failing)
            tried.append(nodes)
            following = tuple(bound.next() for bound in bounds)
            if passed and following == nodes:
                return nodes
            nodes = following

    def _start(self, guess: Mapping[str, int]) -> Nodes:
        wanted = [guess.get(pool.name, pool.nodes) for pool in self.pools]
        limits = zip(wanted, self.strides, self.fewest, self.most, strict=True)
        return tuple(
            min(max(-(-count // stride) * stride, fewest), most)
            for count, stride, fewest, most in limits
        )

    def _require_hope(self, nodes: Nodes, failing: set[str], tried: list[Nodes]) -> None:
        """Raise unless more nodes may help."""
        self.require_failing(nodes, failing)
        places = [index for index, name in enumerate(self.names) if name in failing]
        if any(nodes[index] >= self.most[index] for index in places):
            raise SizingError(self._too_few(nodes, failing, at_limit=True))
        halves = [old for old in tried if all(2 * old[at] <= nodes[at] for at in places)]
        if halves and self._in_vain(halves[-1], nodes, failing):
            raise SizingError(self._too_few(nodes, failing, at_limit=False))
