"""What turns of sessions repeat of the turn before: the most that a prefix cache could find."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from planner.scenario.schema.workload import RequestClass
from planner.trace.table import Rows


class ReusableInput:
    """Prompt tokens of sessions by class, and how many of them the turn before had in its context.

    A turn repeats the prompt of the one before and, from its first token on, what that one said. If
    the reasoning is dropped, what was said after it stands elsewhere in the next context, where its
    cached keys and values are of no use. A compacted context repeats the first prompt only.
    """

    def __init__(self, classes: Sequence[RequestClass]) -> None:
        kept = [klass.reasoning_kept for klass in classes]
        self._keeps_reasoning = np.array(kept)
        self._input_tokens: NDArray[np.float64] = np.zeros(len(classes))
        self._reusable_tokens: NDArray[np.float64] = np.zeros(len(classes))

    def add(self, rows: Rows) -> None:
        """Count rows of the trace table; no session is split between two calls."""
        own = np.flatnonzero(rows["session_id"] >= 0)
        if not len(own):
            return
        classes = len(self._input_tokens)
        prompts, klass = rows["input_tokens"], rows["class"]
        self._input_tokens += np.bincount(klass[own], prompts[own], classes)
        is_first = np.isnan(rows["think_s"])
        later = np.flatnonzero(~is_first)
        first = np.maximum.accumulate(np.where(is_first, np.arange(len(rows)), 0))[later]
        prompt, before = prompts[later], prompts[later - 1]
        stays = (rows["reasoning_tokens"][later - 1] == 0) | self._keeps_reasoning[klass[later]]
        context = before + np.where(stays, rows["output_tokens"][later - 1], 0)
        reusable = np.minimum(prompt, np.where(prompt >= before, context, prompts[first]))
        self._reusable_tokens += np.bincount(klass[later], reusable, classes)

    def rates(self) -> list[float]:
        """Return the share by class; NaN for a class without sessions."""
        with np.errstate(invalid="ignore"):
            shares: list[float] = (self._reusable_tokens / self._input_tokens).tolist()
        return shares
