"""Arithmetic of acceptance probabilities: means, levels, and changes of them.

A *survival* is P(positions 1 … i all accepted), which never rises with i and whose sum is the mean
number of drafted tokens that a step emits; a *conditional* is the ratio of two that follow.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Mapping, Sequence

from planner.errors import shown

MAXIMUM_DRAFT_TOKENS = 64
_FULL = 1e-9
_MOST_ACCEPTED = 1.0 - 1e-6
"""Share of the drafted tokens that a factor can raise acceptance to."""


def checked_draft(draft_tokens: int) -> int:
    """Return `draft_tokens`; ValueError unless it is a whole number from 0 to 64."""
    if isinstance(draft_tokens, bool) or not isinstance(draft_tokens, int):
        raise ValueError(f"draft_tokens must be a whole number; found {shown(draft_tokens)}")  # noqa: TRY004
    if not 0 <= draft_tokens <= MAXIMUM_DRAFT_TOKENS:
        raise ValueError(
            f"draft_tokens must be 0 to {MAXIMUM_DRAFT_TOKENS}; found {shown(draft_tokens)}"
        )
    return draft_tokens


def constant_alpha(length: float, draft_tokens: int) -> float:
    """Return the α in [0, 1] of which a draft of `draft_tokens` has the acceptance length `length`.

    >>> round(constant_alpha(2.44, 2), 3)
    0.8
    """
    k = checked_draft(draft_tokens)
    if not 1.0 <= length <= 1.0 + k + _FULL:
        raise ValueError(f"a draft of {k} emits between 1 and {1 + k} tokens, found {length:g}")
    return _solve(lambda alpha: sum(alpha**i for i in range(1, k + 1)), length - 1.0)


def geometric_length(alpha: float, k: int) -> float:
    """Return the acceptance length of a draft of `k` tokens under constant acceptance `alpha`."""
    return sum(alpha**i for i in range(k + 1))


def survival_of(conditional: Iterable[float]) -> list[float]:
    """Return P(positions 1 … i all accepted) from the conditional probabilities."""
    return list(itertools.accumulate(conditional, lambda x, y: x * y))


def tilted(conditional: Sequence[float], drafted: float) -> tuple[float, ...]:
    """Return the probabilities changed so that `drafted` tokens are accepted in the mean.

    To lower the mean every position is accepted less often by the same factor; to raise it every
    position is refused less often by the same factor.
    """
    if abs(sum(survival_of(conditional)) - drafted) < _FULL:
        return tuple(conditional)

    def changed(x: float) -> list[float]:
        if x <= 0.5:
            return [value * 2.0 * x for value in conditional]
        return [1.0 - (1.0 - value) * (2.0 - 2.0 * x) for value in conditional]

    return tuple(changed(_solve(lambda x: sum(survival_of(changed(x))), drafted)))


def multiplied(conditional: Sequence[float], factor: float) -> tuple[float, ...]:
    """Return the probabilities with a factor on the drafted tokens accepted in the mean.

    >>> [round(each, 3) for each in multiplied((0.5, 0.5), 1.2)]
    [0.572, 0.572]
    """
    if factor == 1.0:
        return tuple(conditional)
    drafted = factor * sum(survival_of(conditional))
    return tilted(conditional, min(drafted, _MOST_ACCEPTED * len(conditional)))


def _solve(rising: Callable[[float], float], target: float) -> float:
    """Return x in [0, 1] at which a rising function reaches `target`."""
    low, high = 0.0, 1.0
    for _ in range(80):
        middle = (low + high) / 2.0
        if rising(middle) < target:
            low = middle
        else:
            high = middle
    return high


def levelled(values: Sequence[float]) -> list[float]:
    """Return the nearest sequence in [0, 1] that never rises (pool adjacent violators)."""
    blocks: list[tuple[float, int]] = []
    for value in values:
        blocks.append((min(max(value, 0.0), 1.0), 1))
        while len(blocks) > 1 and blocks[-2][0] < blocks[-1][0]:
            (later, n), (earlier, m) = blocks.pop(), blocks.pop()
            blocks.append(((later * n + earlier * m) / (n + m), n + m))
    return [mean for mean, count in blocks for _ in range(count)]


def increments_of(lengths: Mapping[int, float]) -> list[float]:
    """Return P(positions 1 … i accepted); inside gaps between draft lengths α is constant."""
    survival: list[float] = []
    reached, before = 1.0, 1.0
    for start, end in itertools.pairwise((0, *sorted(lengths))):
        gained = max(lengths[end] - before, 0.0)
        if end == start + 1:
            survival.append(gained)
        else:
            steps = end - start
            alpha = constant_alpha(min(1.0 + gained / max(reached, _FULL), 1.0 + steps), steps)
            survival += [reached * alpha**i for i in range(1, steps + 1)]
        reached, before = survival[-1], lengths[end]
    return survival
