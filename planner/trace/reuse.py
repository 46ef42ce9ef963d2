"""What turns of sessions repeat of the turn before: the most that a prefix cache finds of it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from planner.trace.table import Rows


def repeated_tokens(
    rows: Rows,
    keeps_reasoning: NDArray[np.bool_] | bool = False,
    system_tokens: NDArray[np.int64] | int = 0,
) -> NDArray[np.int64]:
    """Return the tokens of each prompt that the turn before had in its context, from the first on.

    A turn repeats the prompt of the one before and, from its first token on, what that one said. If
    the reasoning is dropped, what was said after it stands elsewhere in the next context, where its
    cached keys and values are of no use. A prompt that is shorter than that context (a compacted
    one) was written anew: as in the simulated cache, only a system prompt is left of it.

    Args:
        rows: of the trace table, shape `(rows,)`; the turns of a session follow one another.
        keeps_reasoning: whether turns repeat the reasoning of the one before, for all or by row.
        system_tokens: with which every prompt of the class begins, for all or by row.

    Returns:
        Shape `(rows,)`; 0 for first turns and for requests without a session.

    >>> from planner.trace.table import new_rows
    >>> rows = new_rows(3)
    >>> rows["session_id"], rows["think_s"][1:] = 7, 2.0
    >>> rows["input_tokens"], rows["output_tokens"] = [100, 160, 90], [50, 10, 5]
    >>> repeated_tokens(rows, system_tokens=30).tolist()
    [0, 150, 30]
    """
    repeated = np.zeros(len(rows), np.int64)
    session = rows["session_id"]
    later = np.flatnonzero(~np.isnan(rows["think_s"][1:]) & (session[1:] >= 0)) + 1
    later = later[session[later] == session[later - 1]]
    before, prompts = rows[later - 1], rows["input_tokens"][later]
    stays = np.broadcast_to(keeps_reasoning, rows.shape)[later] | (before["reasoning_tokens"] == 0)
    context = before["input_tokens"] + np.where(stays, before["output_tokens"], 0)
    left = np.minimum(np.broadcast_to(system_tokens, rows.shape)[later], prompts)
    repeated[later] = np.where(context <= prompts, context, left)
    return repeated
