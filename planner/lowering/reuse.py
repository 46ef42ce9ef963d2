"""What turns of sessions repeat, by class."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from planner.scenario.schema.workload import RequestClass
from planner.trace.reuse import repeated_tokens
from planner.trace.table import Rows


class ReusableInput:
    """Prompt tokens of sessions by class, and how many of them a cache of any size would find.

    What that is, `repeated_tokens` says.
    """

    def __init__(self, classes: Sequence[RequestClass]) -> None:
        self._keeps_reasoning = np.array([klass.reasoning_kept for klass in classes])
        self._system_tokens = np.array([klass.system_prompt for klass in classes])
        self._input_tokens: NDArray[np.float64] = np.zeros(len(classes))
        self._reusable_tokens: NDArray[np.float64] = np.zeros(len(classes))

    def add(self, rows: Rows) -> None:
        """Count rows of the trace table; no session is split between two calls."""
        own = rows[rows["session_id"] >= 0]
        if not len(own):
            return
        klass, classes = own["class"], len(self._input_tokens)
        found = repeated_tokens(own, self._keeps_reasoning[klass], self._system_tokens[klass])
        self._input_tokens += np.bincount(klass, own["input_tokens"], classes)
        self._reusable_tokens += np.bincount(klass, found, classes)

    def rates(self) -> list[float]:
        """Return the share by class; NaN for a class without sessions."""
        with np.errstate(invalid="ignore"):
            shares: list[float] = (self._reusable_tokens / self._input_tokens).tolist()
        return shares
