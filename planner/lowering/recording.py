"""Requests that were drawn once, for simulations that differ in what serves them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from planner.lowering.reuse import ReusableInput
from planner.lowering.sharing import is_synthetic
from planner.lowering.traffic import Records, Traffic
from planner.scenario import LoadedScenario
from planner.scenario.schema.workload import Workload

MOST_ROWS: Final = 4_000_000
"""Longer traffic is drawn again each time: so many rows take about 400 MB."""

_Key = tuple[Workload, int, tuple[int | None, ...]]


class Recorder:
    """Keeps the open-loop requests of one traffic, and hands them out where nothing has changed.

    What traces hold is read again: their files may have changed.
    """

    def __init__(self, most_rows: int = MOST_ROWS) -> None:
        self._most_rows = most_rows
        self._key: _Key | None = None
        self._blocks: list[Records] = []
        self._reusable: ReusableInput | None = None

    def blocks(
        self, traffic: Traffic, loaded: LoadedScenario, contexts: Sequence[int | None]
    ) -> Iterator[Records]:
        """Yield `traffic.open_blocks()`, drawn or recorded; `traffic` counts what it would count.

        Args:
            traffic: of the scenario.
            loaded: the scenario.
            contexts: that the traffic was made with.
        """
        workload = loaded.scenario.workload
        key = (workload, loaded.scenario.seed, tuple(contexts))
        if self._reusable is not None and key == self._key:
            traffic.reusable = self._reusable
            yield from self._blocks
            return
        self._key, self._blocks, self._reusable = key, [], None
        fits = all(is_synthetic(klass) for klass in workload.classes)
        for block in traffic.open_blocks():
            fits = fits and sum(map(len, self._blocks)) + len(block) <= self._most_rows
            if fits:
                self._blocks.append(block)
            else:
                self._blocks.clear()
            yield block
        if fits:  # not before the last one was asked for: a run may end early
            self._reusable = traffic.reusable
