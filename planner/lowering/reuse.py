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
        kept = [klass.agent is not None and klass.agent.keep_reasoning for klass in classes]
        self._keeps_reasoning = np.array(kept)
        self._input_tokens: NDArray[np.float64] = np.zeros(len(classes))
        self._reusable_tokens: NDArray[np.float64] = np.zeros(len(classes))

    def add(self, rows: Rows) -> None:
        """Count rows of the trace table; no session is split between two calls."""
        in_session = rows["session_id"] >= 0
        if not in_session.any():
            return
        classes = len(self._input_tokens)
        tokens = np.where(in_session, rows["input_tokens"], 0)
        self._input_tokens += np.bincount(rows["class"], tokens, classes)
        later = np.flatnonzero(~np.isnan(rows["think_s"]))
        numbers = np.arange(len(rows))
        starts = np.maximum.accumulate(np.where(np.isnan(rows["think_s"]), numbers, 0))
        turn, before, start = rows[later], rows[later - 1], rows[starts[later]]
        stays = (before["reasoning_tokens"] == 0) | self._keeps_reasoning[turn["class"]]
        context = before["input_tokens"] + np.where(stays, before["output_tokens"], 0)
        reusable = np.where(
            turn["input_tokens"] >= before["input_tokens"],
            np.minimum(turn["input_tokens"], context),
            np.minimum(turn["input_tokens"], start["input_tokens"]),
        )
        self._reusable_tokens += np.bincount(turn["class"], reusable, classes)

    def rates(self) -> list[float]:
        """Return the share by class; NaN for a class without sessions."""
        with np.errstate(invalid="ignore"):
            shares: list[float] = (self._reusable_tokens / self._input_tokens).tolist()
        return shares
