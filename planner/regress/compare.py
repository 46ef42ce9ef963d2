"""Two sets of metrics, compared: what got better or worse, by how much, and whether that fails."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final

from planner.regress.baseline import REMEDY, SAME, Baseline, noise_of
from planner.regress.gates import Limits, limits_of
from planner.regress.metrics import Values
from planner.regress.old_prices import price_changes
from planner.scenario.schema.regress import Acknowledged, Gate, Regress
from planner.scenario.watched import MONEY, Watched, matching, watched

_POINT: Final = 1e-9
"""Of a tolerance: 5% of 112 devices must not hang on the last bit of a float."""
_NOT_REPRICED: Final = "its share of prices is unknown"


class Mark(StrEnum):
    """What became of a metric."""

    WORSE = "+"
    BETTER = "-"
    NOISE = "~"
    NOT_COMPARABLE = "x"
    FAILED = "!"
    NEITHER = " "
    """It changed, and no way is better."""
    SAME = "="


MARK_TEXT: Final[Mapping[Mark, str]] = {
    Mark.WORSE: "worse",
    Mark.BETTER: "better",
    Mark.NOISE: "noise",
    Mark.NOT_COMPARABLE: "not comparable",
    Mark.FAILED: "failed",
}


class Verdict(StrEnum):
    """What became of a scenario."""

    PASSED = "passed"
    FAILED = "failed"
    NOT_COMPARABLE = "not comparable"
    ERROR = "error"


@dataclass(frozen=True)
class Row:
    """A metric on both sides."""

    name: str
    metric: Watched
    before: float | None
    after: float | None
    mark: Mark
    at_old_prices: float | None = None
    """Of money: what `after` would be at the prices of the baseline."""
    noise: float = 0.0
    limits: Limits | None = None
    note: str = ""
    """Why the mark is not what the numbers alone would give."""

    @property
    def behaviour(self) -> float:
        """Change that no price explains."""
        return _behaviour(self.before, self.after, self.at_old_prices)

    @property
    def price_share(self) -> float:
        """Change that prices explain."""
        if self.at_old_prices is None or self.after is None:
            return 0.0
        return 0.0 if _same(self.at_old_prices, self.after) else self.after - self.at_old_prices

    @property
    def relative(self) -> float:
        """Whole change relative to the first side; infinite from zero."""
        assert self.before is not None
        assert self.after is not None
        return _relative(self.before, self.after - self.before)


@dataclass(frozen=True)
class Comparison:
    """A scenario against its baseline, or one thing against another."""

    name: str
    rows: tuple[Row, ...] = ()
    changed: tuple[str, ...] = ()
    """What the numbers stand on and is no longer the same, in words."""
    obstacles: tuple[str, ...] = ()
    """Why nothing can be compared; then there are no rows."""
    notes: tuple[str, ...] = ()

    @property
    def verdict(self) -> Verdict:
        """Failed if any metric failed, else not comparable if anything is not."""
        marks = {row.mark for row in self.rows}
        if Mark.FAILED in marks:
            return Verdict.FAILED
        if self.obstacles or any(_is_missing(row) for row in self.rows):
            return Verdict.NOT_COMPARABLE
        return Verdict.PASSED

    def marked(self, *marks: Mark) -> list[Row]:
        """Return the rows with one of some marks, in order."""
        return [row for row in self.rows if row.mark in marks]

    @property
    def differing(self) -> list[Row]:
        """The rows that are not the same."""
        return [row for row in self.rows if row.mark != Mark.SAME]


@dataclass(frozen=True)
class Rules:
    """What a comparison is held to."""

    gates: tuple[Gate, ...] = ()
    """Later ones win."""
    acknowledged: tuple[Acknowledged, ...] = ()
    today: str = ""
    """YYYY-MM-DD: only whether an acknowledged change is still excused depends on it."""

    @classmethod
    def of(cls, sections: Iterable[Regress | None], today: str) -> Rules:
        """Return the rules of several sections, the last of which wins."""
        stated = [section for section in sections if section is not None]
        return cls(
            tuple(gate for section in stated for gate in section.gates),
            tuple(each for section in stated for each in section.acknowledged),
            today,
        )


def compare(
    before: Baseline, after: Baseline, rules: Rules, at_old_prices: Values | None = None
) -> Comparison:
    """Compare a new forecast with a baseline.

    Args:
        before: the baseline.
        after: the new forecast; its spread over seeds is not used.
        rules: gates, acknowledged changes, and the day.
        at_old_prices: money of the new forecast at the prices of the baseline, if known.
    """
    if obstacles := tuple(_obstacles(before, after)):
        return Comparison(after.name, obstacles=obstacles)
    names = dict.fromkeys((*after.metrics, *before.metrics))
    found = (_row(name, before, after, rules, at_old_prices) for name in names)
    rows = [row for row in found if row is not None]
    excused = [_acknowledge(row, rules) for row in rows]
    return Comparison(
        after.name,
        tuple(excused),
        changed=tuple(_changed(before, after)),
        notes=(*_unpriced(rows), *_idle(rows, rules)),
    )


# --- whole files ---------------------------------------------------------------------------------


def _obstacles(before: Baseline, after: Baseline) -> Iterator[str]:
    old, new = before.identity, after.identity
    if old.seed != new.seed:
        yield (
            f"the baseline is of seed {old.seed}, the scenario has seed {new.seed}: other random "
            f"numbers, another result; set the seed back, or {REMEDY}"
        )
    if not (old.scenario and new.scenario):
        return  # a stored result does not know its traces
    traces, theirs = dict(old.traces), dict(new.traces)
    for place in sorted({*traces, *theirs}):
        if traces.get(place) != theirs.get(place):
            how = "replays another trace than the baseline"
            if place not in traces:
                how = "replays a trace, and the baseline knows none there"
            elif place not in theirs:
                how = "replays no trace any more"
            yield f"{place} {how}: other requests; bring it back, or {REMEDY}"


def _changed(before: Baseline, after: Baseline) -> Iterator[str]:
    old, new = before.identity, after.identity
    words = {
        "scenario": "the scenario",
        "catalog": "models, chips or nodes of the catalogue",
        "curves": "step-time curves",
    }
    for part, text in words.items():
        ours, theirs = getattr(old, part), getattr(new, part)
        if ours and theirs and ours != theirs:
            yield text
    if old.planner != new.planner:
        yield f"planner {old.planner} → {new.planner}"
    if found := _repriced(before, after):
        yield f"prices ({', '.join(found)})"


def _repriced(before: Baseline, after: Baseline) -> list[str]:
    """Return in words which prices changed."""
    if before.prices is None or after.prices is None:
        return []
    return list(price_changes(before.prices, after.prices))


# --- single metrics ------------------------------------------------------------------------------


def _row(
    name: str, before: Baseline, after: Baseline, rules: Rules, at_old_prices: Values | None
) -> Row | None:
    """Return a metric compared; None where neither side has it."""
    old, new, metric = before.metrics.get(name), after.metrics.get(name), watched(name)
    if metric is None:
        note = f"this version of planner does not know it; {REMEDY}"
        return Row(
            name, Watched(name, "", "neither", name), None, None, Mark.NOT_COMPARABLE, note=note
        )
    was = None if old is None else old.value
    now = None if new is None else new.value
    if was is None and now is None:
        return None
    if was is None or now is None or old is None:
        side = "the baseline has it, this forecast has not" if now is None else "new"
        return Row(name, metric, was, now, Mark.NOT_COMPARABLE, note=f"{side}; {REMEDY}")
    if old.unit != metric.unit:
        note = f"the baseline has it in {old.unit}, not {metric.unit}; {REMEDY}"
        return Row(name, metric, was, now, Mark.NOT_COMPARABLE, note=note)
    if name in MONEY and at_old_prices is None and _repriced(before, after):
        return Row(name, metric, was, now, Mark.NOT_COMPARABLE, note=_NOT_REPRICED)
    repriced = (at_old_prices or {}).get(name) if name in MONEY else None
    noise = noise_of(old, len(before.seeds))
    limits = limits_of(name, metric, rules.gates)
    row = Row(name, metric, was, now, Mark.SAME, repriced, noise, limits)
    return replace(row, mark=_mark(row, limits))


def _mark(row: Row, limits: Limits) -> Mark:
    assert row.before is not None
    change, size = row.behaviour, abs(row.behaviour)
    moved = size > SAME * abs(row.before)
    priced = row.price_share != 0.0
    beyond = moved and size > row.noise

    def exceeds(relative: float, absolute: float) -> bool:
        share = abs(_relative(row.before or 0.0, change))
        return beyond and share > relative + _POINT and size >= absolute * (1 - _POINT)

    worse = limits.better == "neither" or (change > 0) == (limits.better == "lower")
    if not limits.ignored and worse and exceeds(limits.fail, limits.fail_absolute):
        return Mark.FAILED
    if priced:
        return Mark.NOT_COMPARABLE
    if not moved:
        return Mark.SAME
    if limits.ignored and beyond:
        return Mark.NEITHER
    if not exceeds(limits.warn, limits.warn_absolute):
        return Mark.NOISE
    return Mark.WORSE if worse else Mark.BETTER


def _unpriced(rows: Sequence[Row]) -> Iterator[str]:
    """Yield what to do if prices hide what became of the money."""
    if any(row.note == _NOT_REPRICED for row in rows):
        yield (
            "prices changed, and what this forecast would cost at the old ones cannot be told; "
            f"{REMEDY}"
        )


def _behaviour(before: float | None, after: float | None, at_old: float | None) -> float:
    assert before is not None
    assert after is not None
    return (after if at_old is None else at_old) - before


def _relative(before: float, change: float) -> float:
    if change == 0:
        return 0.0
    return change / abs(before) if before else math.copysign(math.inf, change)


def _same(first: float, second: float) -> bool:
    return math.isclose(first, second, rel_tol=SAME)


def _is_missing(row: Row) -> bool:
    """Tell whether a metric could not be compared, other than by its prices."""
    return row.mark == Mark.NOT_COMPARABLE and (
        row.before is None or row.after is None or not row.limits
    )


# --- acknowledged --------------------------------------------------------------------------------


def _acknowledge(row: Row, rules: Rules) -> Row:
    """Return a failed metric as merely worse if that is excused today."""
    if row.mark != Mark.FAILED:
        return row
    meant = [each for each in rules.acknowledged if any(matching(each.metric, [row.name]))]
    for each in meant:
        if each.until >= rules.today:
            return replace(
                row, mark=Mark.WORSE, note=f"acknowledged until {each.until}: {each.reason}"
            )
    for each in meant:
        note = f"its acknowledgement expired on {each.until}: {each.reason}"
        return replace(row, note=note)
    return row


def _idle(rows: Sequence[Row], rules: Rules) -> Iterator[str]:
    """Yield acknowledged changes that excuse nothing."""
    failed = [row.name for row in rows if row.mark == Mark.FAILED]
    known = [row.name for row in rows]
    for each in rules.acknowledged:
        if any(matching(each.metric, known)) and not any(matching(each.metric, failed)):
            yield f"acknowledged {each.metric} until {each.until} excuses nothing; delete it"
