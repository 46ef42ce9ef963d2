"""What a comparison says, wherever it is shown: names, values, changes, the headline."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Final

from planner.regress.compare import Comparison, Verdict
from planner.regress.row import MARK_TEXT, Mark, Row
from planner.regress.runs import Outcome, worst
from planner.results.formatting import MINUS, MISSING, count, duration, money, percent

LEGEND: Final = "  ".join(f"{mark} {text}" for mark, text in MARK_TEXT.items())
_WHOLE_UNITS: Final = ("nodes", "devices", "promises")
_MONEY_UNITS: Final = {"USD/h": "/h", "USD/Mtok": ""}


def title(row: Row) -> str:
    """Return the metric in words, with the pool or class that it is of."""
    scope, _, rest = row.name.partition(".")
    owner = rest.rpartition(".")[0]
    return f"{owner}: {row.metric.title}" if scope in ("pools", "classes") else row.metric.title


def value(number: float | None, unit: str) -> str:
    """Return a value with its unit, as a person reads it.

    >>> value(0.0214, "s"), value(305.008, "USD/h"), value(0.992, "1"), value(112, "devices")
    ('21.4 ms', '$305.01/h', '99.2%', '112')
    """
    if number is None:
        return MISSING
    if unit == "s":
        return duration(number)
    if unit in _MONEY_UNITS:
        return f"{money(number)}{_MONEY_UNITS[unit]}"
    if unit == "1":
        return percent(number)
    text = count(number)
    return text if unit in _WHOLE_UNITS else f"{text} {unit}".replace(" 1/s", " /s")


def values(row: Row) -> tuple[str, str]:
    """Return both sides; with more digits where three of them do not tell them apart."""
    before, after = value(row.before, row.metric.unit), value(row.after, row.metric.unit)
    if before != after or row.before is None or row.after is None:
        return before, after
    if row.metric.unit == "1":
        return f"{row.before * 100:g}%", f"{row.after * 100:g}%"
    unit = row.metric.unit.replace("1/s", "/s")
    return f"{row.before:g} {unit}", f"{row.after:g} {unit}"


def change(row: Row) -> str:
    """Return the change: relative, of shares in percentage points, of whole numbers as well."""
    if row.before is None or row.after is None:
        return ""
    size = row.after - row.before
    if row.metric.unit == "1":
        return f"{_signed(size * 100, '.3g')} pp"
    share = "" if math.isinf(row.relative) else _percent(row.relative)
    if row.metric.unit in _WHOLE_UNITS:
        return f"{_signed(size, 'g')}, {share}" if share else _signed(size, "g")
    return share or "from zero"


def _signed(number: float, form: str) -> str:
    return f"{'+' if number >= 0 else MINUS}{abs(number):{form}}"


def _percent(rate: float) -> str:
    digits = ".1f" if abs(rate) >= 0.0005 else ".2g"
    return f"{_signed(rate * 100, digits)}%"


def remark(row: Row) -> str:
    """Return what explains the mark: the share of prices, the gate, the noise, the reason."""
    parts = []
    if row.price_share:
        assert row.before is not None
        parts.append(f"prices {_part(row, row.price_share)}, behaviour {_part(row, row.behaviour)}")
    if row.mark == Mark.FAILED and row.limits is not None:
        parts.append(f"gate {_limit(row)}")
    hidden = row.hidden != row.mark
    if row.seeds > 1:
        parts.append(f"mean of {row.seeds} seeds, ±{_size(row.noise, row.metric.unit)}")
    elif hidden or (row.mark == Mark.NOISE and abs(row.behaviour) <= row.noise):
        parts.append(f"seeds differ by {_size(row.noise, row.metric.unit)}")
    if row.note:
        parts.append(row.note)
    return "; ".join(parts)


def _part(row: Row, size: float) -> str:
    assert row.before is not None
    if row.metric.unit == "1":
        return f"{_signed(size * 100, '.3g')} pp"
    return _percent(size / abs(row.before)) if row.before else value(size, row.metric.unit)


def _limit(row: Row) -> str:
    assert row.limits is not None
    relative, absolute = row.limits.fail, row.limits.fail_absolute
    parts = [f"{relative * 100:g}%"] if relative else []
    parts += [_size(absolute, row.metric.unit)] if absolute else []
    return " and ".join(parts) or "any change"


def _size(number: float, unit: str) -> str:
    """Return the size of a difference."""
    if unit == "1":
        return f"{number * 100:.3g} pp"
    if unit in _WHOLE_UNITS:
        return f"{number:g} {unit.removesuffix('s') if number == 1 else unit}"
    return value(number, unit)


def sentence(row: Row) -> str:
    """Return a row as one line of text."""
    if row.before is None or row.after is None:
        return f"{title(row)}: {row.note}"
    first, second = values(row)
    text = f"{title(row)} {first} → {second} ({change(row)})"
    said = remark(row)
    return f"{text}; {said}" if said else text


def headline(outcomes: Sequence[Outcome]) -> str:
    """Return the one sentence that stands above everything."""
    total = len(outcomes)
    parts = list(_counts(outcomes))
    if not parts:
        subject = "The forecast stays" if total == 1 else f"All {total} forecasts stay"
        return f"{subject} within the gates; {_moves(outcomes)}"
    said = f"Of {total} forecasts, {', '.join(parts)}"
    if total == 1:
        said = f"The forecast {parts[0].removeprefix('1 ')}"
    if not any(outcome.comparison and outcome.comparison.rows for outcome in outcomes):
        return f"{said}; nothing was compared."
    return f"{said}; {_moves(outcomes)}"


def _counts(outcomes: Sequence[Outcome]) -> Iterator[str]:
    words = {
        Verdict.FAILED: ("fails its gates", "fail their gates"),
        Verdict.ERROR: ("cannot be simulated", "cannot be simulated"),
        Verdict.NOT_COMPARABLE: ("has no comparable baseline", "have no comparable baseline"),
    }
    for verdict, (one, many) in words.items():
        found = sum(outcome.verdict == verdict for outcome in outcomes)
        if found:
            yield f"{found} {one if found == 1 else many}"


def _moves(outcomes: Sequence[Outcome]) -> str:
    rows = [row for o in outcomes if o.comparison for row in o.comparison.rows]
    better = sum(row.mark == Mark.BETTER for row in rows)
    bad = sum(row.mark in (Mark.WORSE, Mark.FAILED) for row in rows)
    priced = sum(bool(row.price_share) for row in rows)
    parts = [f"{bad} metrics worse" if bad != 1 else "1 metric worse"] if bad else []
    parts += [f"{better} better"] if better else []
    parts += [f"{priced} moved by prices"] if priced else []
    hidden = sum(row.mark != row.hidden == Mark.FAILED for row in rows)
    if hidden:
        whose = "its gate" if hidden == 1 else "their gates"
        parts.append(f"{hidden} beyond {whose}, but no further than seeds differ")
    if parts:
        return f"{', '.join(parts)}."
    whole = all(outcome.comparison and not outcome.comparison.obstacles for outcome in outcomes)
    subject = "nothing" if whole else "of what was compared, nothing"
    return f"{subject} moved beyond noise and tolerance."


def said_beside(comparison: Comparison) -> list[str]:
    """Return the lines beside the rows: what it stands on and has changed, notes, obstacles."""
    lines = [f"changed: {', '.join(comparison.changed)}"] if comparison.changed else []
    return [*lines, *comparison.obstacles, *comparison.notes]


def verdict_mark(outcome: Outcome) -> str:
    """Return the mark of a whole scenario."""
    if outcome.verdict in (Verdict.FAILED, Verdict.ERROR):
        return Mark.FAILED
    if outcome.verdict == Verdict.NOT_COMPARABLE or outcome.comparison is None:
        return Mark.NOT_COMPARABLE
    marks = {row.mark for row in outcome.comparison.rows}
    order = (Mark.WORSE, Mark.NOT_COMPARABLE, Mark.BETTER, Mark.NOISE)
    return next((mark for mark in order if mark in marks), Mark.SAME)


def closing(outcomes: Sequence[Outcome]) -> str:
    """Return what to do about the verdict; empty if all is well."""
    return {
        Verdict.PASSED: "",
        Verdict.FAILED: "Mend it; or, if it is meant: planner baseline update FILE and commit what "
        "it writes, or acknowledge it under regress.acknowledged with a day and a reason.",
        Verdict.ERROR: "Mend the scenario; planner check FILE names every fault.",
        Verdict.NOT_COMPARABLE: "Write the baseline with planner baseline update FILE, and commit "
        "it.",
    }[worst(outcomes)]
