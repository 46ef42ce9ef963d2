"""Two sets of metrics, compared: what got better or worse, by how much, and whether that fails."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from statistics import fmean
from typing import Final

from planner.regress.baseline import REMEDY, Baseline, same
from planner.regress.gates import limits_of
from planner.regress.metrics import Values, rounded
from planner.regress.noise import independent_band, paired_band
from planner.regress.old_prices import price_changes, prices_left
from planner.regress.row import Mark, Row
from planner.scenario.schema.regress import Acknowledged, Gate, Regress
from planner.scenario.watched import MONEY, Watched, matching, watched

_NOT_REPRICED: Final = "its share of prices is unknown"


class Verdict(StrEnum):
    """What became of a scenario."""

    PASSED = "passed"
    FAILED = "failed"
    NOT_COMPARABLE = "not comparable"
    ERROR = "error"


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

    @property
    def in_doubt(self) -> bool:
        """Whether the difference of seeds hides what may be a change for the worse."""
        return any(
            row.hidden != row.mark and row.hidden in (Mark.FAILED, Mark.WORSE) for row in self.rows
        )

    def marked(self, *marks: Mark) -> list[Row]:
        """Return the rows with one of some marks, in order."""
        return [row for row in self.rows if row.mark in marks]

    @property
    def differing(self) -> list[Row]:
        """The rows that are not the same."""
        return [row for row in self.rows if row.mark != Mark.SAME]

    @property
    def unmoved(self) -> bool:
        """Whether it was compared, and every metric is the same."""
        return not self.obstacles and not self.differing


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


@dataclass(frozen=True)
class Words:
    """How the two sides are called, and what to do where they cannot be compared."""

    before: str = "the baseline"
    after: str = "this forecast"
    same_seed: str = f"set the seed back, or {REMEDY}"
    same_trace: str = f"bring it back, or {REMEDY}"
    remedy: str = f"; {REMEDY}"


AGAINST_BASELINE: Final = Words()
BOTH_NAMED: Final = Words(
    "the first",
    "the second",
    same_seed="give both one seed",
    same_trace="let both replay the same",
    remedy="",
)
"""Two scenarios or results: no baseline is there to be updated."""


def compare(
    before: Baseline,
    after: Baseline,
    rules: Rules,
    at_old_prices: Sequence[Values | None] = (),
    words: Words = AGAINST_BASELINE,
) -> Comparison:
    """Compare a new forecast with a baseline.

    Args:
        before: the baseline.
        after: the new forecast; where it has the seeds of the baseline, what noise would hide is
            judged by the differences by seed.
        rules: gates, acknowledged changes, and the day.
        at_old_prices: money of the new forecast at the prices of the baseline, by seed, where it
            is known.
        words: what the sides are called.
    """
    if obstacles := tuple(_obstacles(before, after, words)):
        return Comparison(after.name, obstacles=obstacles)
    names = dict.fromkeys((*after.metrics, *before.metrics))
    found = (_row(name, before, after, rules, at_old_prices, words) for name in names)
    rows = [row for row in found if row is not None]
    excused = [_acknowledge(row, rules) for row in rows]
    return Comparison(
        after.name,
        tuple(excused),
        changed=tuple(_changed(before, after)),
        notes=(*_unpriced(rows, words), *_left(before, after), *_idle(rows, rules)),
    )


# --- whole files ---------------------------------------------------------------------------------


def _obstacles(before: Baseline, after: Baseline, words: Words) -> Iterator[str]:
    old, new = before.identity, after.identity
    if old.seed != new.seed:
        yield (
            f"{words.before} is of seed {old.seed}, {words.after} of seed {new.seed}: other random "
            f"numbers, another result; {words.same_seed}"
        )
    if not (old.scenario and new.scenario):
        return  # a stored result does not know its traces
    traces, theirs = dict(old.traces), dict(new.traces)
    for place in sorted({*traces, *theirs}):
        if traces.get(place) != theirs.get(place):
            how = f"replays another trace than {words.before}"
            if place not in traces:
                how = f"replays a trace, and {words.before} knows none there"
            elif place not in theirs:
                how = "replays no trace any more"
            yield f"{place} {how}: other requests; {words.same_trace}"


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


def _left(before: Baseline, after: Baseline) -> Iterator[str]:
    """Yield the prices that are paid no more: which others are in their place is behaviour."""
    if before.prices is not None and after.prices is not None:
        for name in prices_left(before.prices, after.prices):
            yield f"price {name} is paid no more; what is paid in its place counts as behaviour"


# --- single metrics ------------------------------------------------------------------------------


def _row(
    name: str,
    before: Baseline,
    after: Baseline,
    rules: Rules,
    at_old_prices: Sequence[Values | None],
    words: Words,
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
        lost = f"{words.before} has it, {words.after} has not"
        note = f"{lost if now is None else 'new'}{words.remedy}"
        return Row(name, metric, was, now, Mark.NOT_COMPARABLE, note=note)
    if old.unit != metric.unit:
        note = f"the baseline has it in {old.unit}, not {metric.unit}; {REMEDY}"
        return Row(name, metric, was, now, Mark.NOT_COMPARABLE, note=note)
    return _judged(Row(name, metric, was, now, Mark.SAME), before, after, rules, at_old_prices)


def _judged(
    row: Row,
    before: Baseline,
    after: Baseline,
    rules: Rules,
    at_old_prices: Sequence[Values | None],
) -> Row:
    """Return a metric that both sides have with its mark."""
    money = row.name in MONEY
    moved = not same(row.before, row.after)
    if money and moved and not any(at_old_prices) and _repriced(before, after):
        return replace(row, mark=Mark.NOT_COMPARABLE, note=_NOT_REPRICED)
    old, new = before.metrics[row.name].values, after.metrics[row.name].values
    repriced = [(each or {}).get(row.name) for each in at_old_prices] if money else []
    known = replace(
        row,
        at_old_prices=repriced[0] if repriced else None,
        noise=independent_band(old),
        limits=limits_of(row.name, row.metric, rules.gates),
    )
    single = known.marked()
    if single.hidden != single.mark and before.seeds == after.seeds:
        return _paired(single, old, new, repriced)
    return single


def _paired(
    row: Row,
    before: Sequence[float | None],
    after: Sequence[float | None],
    at_old_prices: Sequence[float | None],
) -> Row:
    """Return a metric judged by the mean of its differences by seed; as it is if one has none."""
    olds = [value for value in before if value is not None]
    news = [value for value in after if value is not None]
    priced = [value for value in at_old_prices if value is not None]
    if not len(olds) == len(news) == len(before):
        return row
    known = len(priced) == len(news)
    behaviour = priced if known else news
    return replace(
        row,
        before=rounded(fmean(olds)),
        after=rounded(fmean(news)),
        at_old_prices=rounded(fmean(priced)) if known else None,
        noise=paired_band([new - old for old, new in zip(olds, behaviour, strict=True)]),
        seeds=len(olds),
    ).marked()


def _unpriced(rows: Sequence[Row], words: Words) -> Iterator[str]:
    """Yield what to do if prices hide what became of the money."""
    if any(row.note == _NOT_REPRICED for row in rows):
        yield (
            f"prices changed, and what {words.after} would cost at the old ones cannot be told"
            f"{words.remedy}"
        )


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
    valid = [each for each in meant if each.until >= rules.today]
    for each in valid:
        if each.up_to is None or not row.exceeds(each.up_to):
            note = f"acknowledged until {each.until}: {each.reason}"
            return replace(row, mark=Mark.WORSE, note=note)
    for each in valid:
        return replace(row, note=f"acknowledged only up to {_percent(each.up_to)}: {each.reason}")
    for each in meant:
        note = f"its acknowledgement expired on {each.until}: {each.reason}"
        return replace(row, note=note)
    return row


def _percent(share: float | None) -> str:
    return f"{(share or 0.0) * 100:g}%"


def _idle(rows: Sequence[Row], rules: Rules) -> Iterator[str]:
    """Yield acknowledged changes that excuse nothing."""
    failed = [row.name for row in rows if row.mark == Mark.FAILED]
    known = [row.name for row in rows]
    for each in rules.acknowledged:
        if any(matching(each.metric, known)) and not any(matching(each.metric, failed)):
            yield f"acknowledged {each.metric} until {each.until} excuses nothing; delete it"
