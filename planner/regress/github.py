"""Workflow commands that GitHub Actions turns into annotations at the scenario's lines."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from planner.regress.row import Mark
from planner.regress.runs import Outcome
from planner.regress.wording import sentence

_LEVELS = {Mark.FAILED: "error", Mark.WORSE: "warning"}


def commands(outcomes: Sequence[Outcome]) -> Iterator[str]:
    """Yield one command per line of a scenario and level; GitHub shows ten of a level per step."""
    for outcome in outcomes:
        comparison = outcome.comparison
        if comparison is None:
            yield from _faults(outcome)
            continue
        found: dict[tuple[str, str, int], list[str]] = {}
        for row in comparison.rows:
            missing = row.mark == Mark.NOT_COMPARABLE and not row.price_share
            level = "error" if missing else _LEVELS.get(row.mark)
            if level is not None:
                place = outcome.place(row.name)
                found.setdefault((level, place.file, place.line), []).append(sentence(row))
        if comparison.obstacles:
            place = outcome.place()
            found["error", place.file, place.line] = list(comparison.obstacles)
        for (level, file, line), lines in found.items():
            yield command(level, file, line, f"forecast of {comparison.name}", "\n".join(lines))


def _faults(outcome: Outcome) -> Iterator[str]:
    """Yield the faults of a scenario, each at its own place."""
    title = "scenario"
    for fault in outcome.case.faults:
        subject = f"{fault.where}: " if fault.where else ""
        yield command("error", fault.file, max(fault.line, 1), title, subject + fault.message)
    if not outcome.case.faults:
        place = outcome.place()
        yield command("error", place.file, place.line, title, outcome.error)


def command(level: str, file: str, line: int, title: str, message: str) -> str:
    r"""Return a workflow command.

    >>> command("error", "a,b.yaml", 3, "t: 5%", "two\nlines")
    '::error file=a%2Cb.yaml,line=3,title=t%3A 5%25::two%0Alines'
    """
    properties = f"file={_property(file)},line={line},title={_property(title)}"
    return f"::{level} {properties}::{_data(message)}"


def _data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")
