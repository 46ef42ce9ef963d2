"""Comparisons as one comment under a pull request: headline first, changed metrics only.

The comment begins with a hidden tag, by which the next run finds it and writes over it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
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
_SPECIAL: Final = re.compile(r"([\\`*_{}\[\]<>|#~])")


def to_markdown(outcomes: Sequence[Outcome], limit: int = LIMIT) -> str:
    """Return the comment; what does not fit is counted.

    Args:
        outcomes: what to say.
        limit: of characters.
    """
    sections = [_section(each) for each in _changed(outcomes)]
    quiet = len(outcomes) - len(sections)
    head = f"{TAG}\n### Cost forecast\n\n**{_text(headline(outcomes))}**\n"
    tail = f"\n{closing(outcomes)}\n" if closing(outcomes) else ""
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


def _fitting(sections: Sequence[str], room: int) -> Iterator[str]:
    for text in sections:
        room -= len(text)
        if room < 0:
            return
        yield text


def _section(outcome: Outcome) -> str:
    lines = [f"\n#### `{verdict_mark(outcome)}` {_text(outcome.case.label)}\n"]
    if outcome.comparison is None:
        return "\n".join([*lines, f"```text\n{outcome.error.replace('```', '')[:2000]}\n```\n"])
    lines += [f"{_text(line)}  " for line in said_beside(outcome.comparison)]
    rows = [row for row in outcome.comparison.differing if row.mark != Mark.NOISE]
    if rows:
        lines += ["", "| | metric | baseline | now | change | |", "|---|---|--:|--:|--:|---|"]
        lines += [_row(row) for row in sorted(rows, key=lambda row: _ORDER.index(row.mark))]
    return "\n".join(lines) + "\n"


def _row(row: Row) -> str:
    before, after = values(row)
    cells = [title(row), before, after, change(row), remark(row)]
    return f"| `{row.mark}` | {' | '.join(map(_text, cells))} |"


def _text(text: str) -> str:
    """Return text that Markdown shows as it is: names come from the files of a pull request."""
    flat = " ".join(text.replace("@", "@\N{ZERO WIDTH JOINER}").split())
    return _SPECIAL.sub(r"\\\1", flat)
