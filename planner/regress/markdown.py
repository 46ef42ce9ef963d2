"""Comparisons as one comment under a pull request: headline first, changed metrics only.

The comment begins with a hidden tag, by which the next run finds it and writes over it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Final

from planner.regress.row import Mark, Row
from planner.regress.runs import Outcome
from planner.regress.wording import (
    LEGEND,
    change,
    closing,
    headline,
    remark,
    said_beside,
    title,
    values,
    verdict_mark,
)

TAG: Final = "<!-- planner-regress -->"
LIMIT: Final = 60_000
"""Characters of the comment at most; GitHub refuses more than 65,536."""
_ORDER: Final = (
    Mark.FAILED, Mark.NOT_COMPARABLE, Mark.WORSE, Mark.BETTER, Mark.NEITHER, Mark.NOISE,
)  # fmt: skip
_FAIR: Final = 4_000
"""Characters that a section may take even if others have no room then."""
_SAID_OF_CUT: Final = 80
"""Characters of what is said of rows that are cut."""
_SPECIAL: Final = re.compile(r"([\\`*_{}\[\]<>|#~])")


def to_markdown(
    outcomes: Sequence[Outcome], limit: int = LIMIT, *, against: str | None = None
) -> str:
    """Return the comment; what does not fit is counted.

    Args:
        outcomes: what to say.
        limit: of characters.
        against: what the baselines are, as `the target branch`, where they are not the ones to
            update; None: those of the scenarios.
    """
    sections = [_Section.of(each) for each in _changed(outcomes)]
    quiet = len(outcomes) - len(sections)
    subject = f"Cost forecast against {_text(against)}" if against else "Cost forecast"
    remedy = "" if against else closing(outcomes)
    head = f"{TAG}\n### {subject}\n\n**{_text(headline(outcomes))}**\n"
    tail = f"\n{remedy}\n" if remedy else ""
    if quiet:
        tail += f"\n{quiet} without a change beyond noise.\n"
    if sections:
        tail += f"\n<sub>{_text(LEGEND)}</sub>\n"
    room = limit - len(head) - len(tail) - 100
    kept = list(_fitting(sections, room))
    if left := len(sections) - len(kept):
        tail = f"\n{left} more changed and are left out here; the log of the run has them.\n{tail}"
    return head + "".join(kept) + tail


def _changed(outcomes: Sequence[Outcome]) -> list[Outcome]:
    """Return what there is something to say about, the worst first."""
    quiet = (Mark.SAME, Mark.NOISE)
    found = [each for each in outcomes if verdict_mark(each) not in quiet]
    return sorted(found, key=lambda each: _ORDER.index(Mark(verdict_mark(each))))


@dataclass(frozen=True)
class _Section:
    """What is said of one scenario: it can be cut to fewer rows."""

    head: str
    rows: tuple[str, ...] = ()
    """The worst first."""

    @classmethod
    def of(cls, outcome: Outcome) -> _Section:
        lines = [f"\n#### `{verdict_mark(outcome)}` {_text(outcome.case.label)}\n"]
        if outcome.comparison is None:
            error = outcome.error.replace("```", "")[:2000]
            return cls("\n".join([*lines, f"```text\n{error}\n```\n"]))
        lines += [f"{_text(line)}  " for line in said_beside(outcome.comparison)]
        rows = [row for row in outcome.comparison.differing if row.mark != Mark.NOISE]
        if rows:
            lines += ["", "| | metric | baseline | now | change | |", "|---|---|--:|--:|--:|---|"]
        worst_first = sorted(rows, key=lambda row: _ORDER.index(row.mark))
        return cls("\n".join(lines) + "\n", tuple(_row(row) + "\n" for row in worst_first))

    def __len__(self) -> int:
        return len(self.head) + sum(map(len, self.rows))

    def within(self, room: int) -> str:
        """Return as many rows as fit, and how many do not; empty if not even the head fits."""
        if len(self) <= room:
            return self.head + "".join(self.rows)
        room -= len(self.head) + _SAID_OF_CUT
        sizes = accumulate(map(len, self.rows))
        fitting = sum(size <= room for size in sizes)
        if not fitting:
            return ""
        more = f"\nand {len(self.rows) - fitting} more metrics; the log of the run has them\n"
        return self.head + "".join(self.rows[:fitting]) + more


def _fitting(sections: Sequence[_Section], room: int) -> Iterator[str]:
    """Yield the sections that fit; one that would leave the others no room is cut to fewer rows."""
    later = sum(map(len, sections))
    for section in sections:
        later -= len(section)
        text = section.within(min(room, max(room - later, _FAIR)))
        room -= len(text)
        if text:
            yield text


def _row(row: Row) -> str:
    before, after = values(row)
    cells = [title(row), before, after, change(row), remark(row)]
    return f"| `{row.mark}` | {' | '.join(map(_text, cells))} |"


def _text(text: str) -> str:
    """Return text that Markdown shows as it is: names come from the files of a pull request."""
    flat = " ".join(text.replace("@", "@\N{ZERO WIDTH JOINER}").split())
    return _SPECIAL.sub(r"\\\1", flat)
