"""Speculative decoding: how many tokens a verified step emits, from published measurements.

A step verifies k drafted tokens. It emits those up to the first that is refused, and one more that
the target model itself chose: the *acceptance length* L(k) counts both, so 1 ≤ L(k) ≤ 1 + k.
(Some engines count drafted tokens only: L − 1.)

Published tables give L by k. As a draft of k + 1 tokens begins like one of k, the increment
L(i) − L(i − 1) is the probability that the first i drafted tokens are all accepted, and the ratio
of two such increments the probability that token i is accepted once those before it were.

A constant acceptance probability α gives L(k) = (1 − α^(k+1)) / (1 − α) (Leviathan, Kalman and
Matias 2023, equation 1). It overstates long drafts, since acceptance falls with the position:
fitted to drafts of 1 to 3 tokens on each of the 11 curves that are measured up to 8 tokens, it
gives an L(8) that is too high by 11% in the median, by 7% at best and by 50% at worst
(`constant_alpha_errors`, which a test pins). So it stands in only where nothing is measured, with
the tier `estimated`.
"""

from __future__ import annotations

import itertools
import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from planner.curves.survival import (
    checked_draft,
    constant_alpha,
    geometric_length,
    increments_of,
    levelled,
    survival_of,
    tilted,
)
from planner.curves.tables import family_of, plain_model, read_table
from planner.errors import CatalogError, did_you_mean, shown

METHODS = ("mtp", "eagle3", "p-eagle", "dspark", "n-gram", "draft-model", "eagle", "medusa")
"""Kinds of draft. eagle3 includes 3.1; the last two have no table by draft length."""

TASKS = (
    "chat",
    "coding",
    "humanities",
    "math",
    "mixed",
    "multilingual",
    "qa",
    "rag",
    "reasoning",
    "roleplay",
    "stem",
    "summarization",
    "writing",
)

_TABLE = "acceptance.csv"


@dataclass(frozen=True)
class AcceptanceCurve:
    """Acceptance of drafted tokens, for one method, model and task."""

    method: str
    model: str
    task: str
    conditional: tuple[float, ...]
    """Probability that position 1, 2, … is accepted given that those before it were."""
    measured: Mapping[int, float] = field(hash=False)
    """L by draft length as published (means of repeats); empty where it was derived."""
    matched: str
    """What the curve was found under: model, family, method, or constant."""
    tier: str
    """measured, or estimated."""
    sources: tuple[str, ...]
    notes: tuple[str, ...] = ()
    """What the curve takes for granted."""

    @property
    def longest(self) -> int:
        """Longest draft measured; 0 if none."""
        return 0 if self.matched == "constant" else len(self.conditional)

    def is_extrapolated(self, draft_tokens: int) -> bool:
        """Tell whether drafts this long are beyond what was measured."""
        return checked_draft(draft_tokens) > self.longest

    def length(self, draft_tokens: int) -> float:
        """Return L: mean tokens per step, the bonus token included, 1 where nothing is drafted.

        Args:
            draft_tokens: k, tokens drafted per step, 0 to 64.

        Raises:
            ValueError: k is out of range.

        Published values are returned as they are. Beyond the longest measured draft acceptance
        goes on with the geometric mean of all measured positions; see `is_extrapolated`.

        """
        k = checked_draft(draft_tokens)
        if k in self.measured:
            return self.measured[k]
        return 1.0 + sum(survival_of(self._extended(k)))

    def by_position(self, draft_tokens: int) -> tuple[float, ...]:
        """Return P(position i accepted | those before accepted), i = 1 … k, each in [0, 1].

        Drawing with these, one position after the other until one is refused, emits `length(k)`
        tokens in the mean. Increments of a published curve that rise, or that fall below zero, are
        noise: they are levelled first (pool adjacent violators), which can only raise L; every
        position is then accepted less often by the same factor, so that the mean is L again.
        """
        k = checked_draft(draft_tokens)
        return tilted(self._extended(k), self.length(k) - 1.0)

    def survival(self, draft_tokens: int) -> tuple[float, ...]:
        """Return P(positions 1 … i all accepted), i = 1 … k; never rising, its sum is L − 1."""
        return tuple(survival_of(self.by_position(draft_tokens)))

    def report(self, draft_tokens: int) -> tuple[str, ...]:
        """Return what a reader must know about `length(draft_tokens)`, as sentences."""
        told = list(self.notes)
        if self.is_extrapolated(draft_tokens) and self.longest:
            told.append(
                f"drafts of {draft_tokens} are extrapolated: {self.method} is measured up to "
                f"{self.longest} tokens"
            )
        return tuple(told)

    def _extended(self, k: int) -> tuple[float, ...]:
        known = self.conditional
        if k <= len(known):
            return known[:k]
        if self.measured and max(self.measured) == len(known):
            known = tilted(known, self.measured[len(known)] - 1.0)
        # NOTE: the last positions alone would mislead, for what is left to accept there is noise
        tail = math.prod(self.conditional) ** (1.0 / len(self.conditional))
        return (*known, *([tail] * (k - len(known))))


def acceptance(
    method: str, model: str, task: str | None = None, *, thinking: bool | None = None
) -> AcceptanceCurve:
    """Return the acceptance of drafted tokens.

    Looked up in this order, the first that is measured: the model on this task; the model on
    another task; its family on this task, then on another; all models with this method. A curve of
    another task is scaled by the ratio of drafted tokens accepted on the two tasks, where some
    model was measured on both. Only the first of these has the tier `measured`.

    Args:
        method: one of `METHODS`.
        model: in the catalogue's or the publisher's spelling.
        task: one of `TASKS`; None: the mean over those measured.
        thinking: with reasoning on or off; None: the mean of what is measured.

    Raises:
        CatalogError: unknown method or task.

    """
    _known("method", method, METHODS)
    if task is not None:
        _known("task", task, TASKS)
    curves = [_Measured(*group) for group in _groups(read_table(_TABLE))]
    own = [curve for curve in curves if curve.method == method]
    if thinking is not None:
        modes = ("", "on" if thinking else "off")
        own = [curve for curve in own if curve.thinking in modes] or own
    name, family = plain_model(model), family_of(model)
    scopes = {
        "model": [curve for curve in own if curve.model == name],
        "family": [curve for curve in own if curve.family == family],
        "method": own,
    }
    for matched, found in scopes.items():
        if found:
            return _found(matched, found, curves, method, name, task)
    return _constant(curves, method, name, task)


def constant_alpha_errors(fitted_up_to: int = 3) -> dict[str, float]:
    """Return how far a constant α misses the longest measured draft, by curve, as a share.

    α is fitted to the draft lengths up to `fitted_up_to` by least squares on L.
    """
    errors = {}
    for group in _groups(read_table(_TABLE)):
        curve = _Measured(*group)
        longest = max(curve.lengths)
        short = {k: length for k, length in curve.lengths.items() if k <= fitted_up_to}
        if longest < 8 or not short:
            continue
        alpha = min(
            (step / 10_000 for step in range(10_000)),
            key=lambda a: sum(
                (geometric_length(a, k) - length) ** 2 for k, length in short.items()
            ),
        )
        errors[curve.label] = geometric_length(alpha, longest) / curve.lengths[longest] - 1.0
    return errors


# --- from published rows to curves ---------------------------------------------------------------

_Key = tuple[str, str, str, str, str, str]
_Group = tuple[_Key, list[dict[str, str]]]


def _groups(rows: Iterable[dict[str, str]]) -> list[_Group]:
    """Return the rows of one published curve each."""
    groups: dict[_Key, list[dict[str, str]]] = {}
    for row in rows:
        key = (row["method"], row["model"], row["family"], row["task"], row["thinking"],
               row["source"])  # fmt: skip
        groups.setdefault(key, []).append(row)
    return list(groups.items())


class _Measured:
    """One published curve."""

    def __init__(self, key: _Key, rows: Sequence[Mapping[str, str]]) -> None:
        self.method, self.model, self.family, self.task, self.thinking, self.source = key
        self.lengths = {int(row["draft_tokens"]): float(row["acceptance_length"]) for row in rows}
        self.notes = tuple(dict.fromkeys(row["note"] for row in rows if row["note"]))
        self.survival = levelled(increments_of(self.lengths))
        self.label = " ".join(filter(None, (self.method, self.model, self.task, self.thinking)))


def _pooled(curves: Sequence[_Measured]) -> tuple[float, ...]:
    """Return the conditional acceptance over several curves, each as far as it was measured."""
    conditional = []
    for i in range(max(len(curve.survival) for curve in curves)):
        reaching = [curve.survival for curve in curves if len(curve.survival) > i]
        arrived = sum(survival[i - 1] if i else 1.0 for survival in reaching)
        accepted = sum(survival[i] for survival in reaching)
        conditional.append(min(accepted / arrived, 1.0) if arrived > 0.0 else 0.0)
    return tuple(conditional)


def _found(
    matched: str,
    found: list[_Measured],
    everything: Sequence[_Measured],
    method: str,
    model: str,
    task: str | None,
) -> AcceptanceCurve:
    """Return the curve over `found`, of this task where there is one."""
    same = [curve for curve in found if curve.task == task] if task else found
    used = same or found
    conditional, notes = _pooled(used), [note for curve in used for note in curve.notes]
    measured: dict[int, float] = {}
    if matched != "model":
        named = sorted({curve.model for curve in used})
        notes.append(f"{method} is not measured for {shown(model)}: mean of {', '.join(named)}")
    if same:
        shared = set.intersection(*(set(curve.lengths) for curve in used))
        measured = {k: statistics.fmean(c.lengths[k] for c in used) for k in sorted(shared)}
    else:
        conditional, note = _scaled(conditional, used, everything, method, str(task))
        notes.append(note)
    return AcceptanceCurve(
        method=method,
        model=model,
        task=task or "mixed",
        conditional=conditional,
        measured=measured,
        matched=matched,
        tier="measured" if same and matched == "model" else "estimated",
        sources=tuple(dict.fromkeys(curve.source for curve in used)),
        notes=tuple(dict.fromkeys(notes)),
    )


def _scaled(
    conditional: tuple[float, ...],
    used: Sequence[_Measured],
    everything: Sequence[_Measured],
    method: str,
    task: str,
) -> tuple[tuple[float, ...], str]:
    """Return the acceptance on `task`, from that on the tasks of `used`."""
    tasks = sorted({curve.task for curve in used})
    ratio, models = _task_ratio(everything, tasks, task, method)
    if not models:
        return conditional, f"acceptance of {', '.join(tasks)}; no model is measured on {task} too"
    drafted = min(sum(survival_of(conditional)) * ratio, float(len(conditional)))
    note = (
        f"acceptance of {', '.join(tasks)} times {ratio:.2f}, the ratio of drafted tokens accepted "
        f"on {task}: {', '.join(models)}"
    )
    return tilted(conditional, drafted), note


def _task_ratio(
    curves: Sequence[_Measured], known: Sequence[str], task: str, method: str
) -> tuple[float, list[str]]:
    """Return the mean ratio of accepted drafted tokens, task over known tasks, and the models."""
    ratios: dict[str, list[float]] = {}
    pairs = itertools.product(
        [curve for curve in curves if curve.task == task],
        [curve for curve in curves if curve.task in known],
    )
    for there, here in pairs:
        if (there.method, there.model, there.source) != (here.method, here.model, here.source):
            continue
        if (there.method == "n-gram") != (method == "n-gram"):
            continue  # what repeats the prompt has nothing to do with what a head foresees
        for k in set(there.lengths) & set(here.lengths):
            ratios.setdefault(there.model, []).append(
                (there.lengths[k] - 1.0) / max(here.lengths[k] - 1.0, 1e-9)
            )
    if not ratios:
        return 1.0, []
    return statistics.fmean(map(statistics.fmean, ratios.values())), sorted(ratios)


def _constant(
    curves: Sequence[_Measured], method: str, model: str, task: str | None
) -> AcceptanceCurve:
    """Return the fallback where the method has no table: the mean α of drafts of three."""
    heads = [curve for curve in curves if curve.method != "n-gram" and len(curve.survival) >= 3]
    lengths = [1.0 + sum(curve.survival[:3]) for curve in heads]
    alpha = constant_alpha(statistics.fmean(lengths), 3)
    note = (
        f"no table for {method}: constant acceptance {alpha:.2f}, the mean of other methods on "
        "drafts of three; it overstates longer drafts (by 11% at 8 tokens in the median)"
    )
    return AcceptanceCurve(
        method=method,
        model=model,
        task=task or "mixed",
        conditional=(alpha,) * 3,
        measured={},
        matched="constant",
        tier="estimated",
        sources=tuple(dict.fromkeys(curve.source for curve in heads)),
        notes=(note,),
    )


def _known(kind: str, name: str, names: tuple[str, ...]) -> None:
    if name not in names:
        advice = did_you_mean(name, names, list_up_to=len(names))
        raise CatalogError(f"unknown {kind} {shown(name)}{advice and '; '}{advice}")
