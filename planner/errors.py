"""The exception tree. Every error a user can cause derives from `PlannerError`.

::

    PlannerError
    ├── ScenarioError      faults in a scenario file, all of them at once
    ├── TraceError         a trace that cannot be read, or rows that make no sense
    ├── CatalogError       an unknown model, chip, node or price; a malformed entry
    ├── SimulationError    a run that cannot go on (never a fault of the input)
    └── OutputError        a result that cannot be written where it was asked for

The command line prints the message and exits with 2; `--debug` shows the traceback.
"""

from __future__ import annotations

import difflib
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

_SHOWN_CHARACTERS = 60
"""A value quoted in a message is cut to this."""
_LISTED_CHARACTERS = 600
"""Names to choose from are listed up to this."""
_SHOWN_COLUMNS = 120
"""A source line under a message is cut to this, around its caret."""


class PlannerError(Exception):
    """Base of every error that is the user's to mend."""


@dataclass(frozen=True, order=True)
class Fault:
    """One thing wrong in a text file, with its place and its remedy.

    Lines and columns count from 1; 0 means that the fault has no place in the file.
    """

    file: str
    line: int
    column: int
    where: str
    """Path of the value inside the document, as in `pools[0].tensor_parallel`."""
    message: str
    """What is wrong, what was found, and what to do."""
    source_line: str = ""
    """Text of the line, printed with a caret under the column."""

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}:{self.column}" if self.line else self.file
        subject = f"{self.where}: " if self.where else ""
        text = _printable(f"{place}: {subject}{self.message}")
        if not self.source_line:
            return text
        excerpt, caret = _excerpt(self.source_line, self.column)
        return f"{text}\n{self.line:>6} | {excerpt}\n       | {caret}"


def _excerpt(line: str, column: int) -> tuple[str, str]:
    """Return what is shown of `line`, and the caret under `column`, safe for a terminal."""
    before, after = line[: max(column - 1, 0)], line[max(column - 1, 0) :]
    if len(line) > _SHOWN_COLUMNS:
        if len(before) > _SHOWN_COLUMNS // 2:
            before = "…" + before[-_SHOWN_COLUMNS // 2 :]
        room = _SHOWN_COLUMNS - len(before)
        after = after if len(after) <= room else after[:room] + "…"
    return _printable(before + after), "".join(map(_blank, before)) + "^"


def _printable(text: str) -> str:
    return "".join(c if c.isprintable() or c == "\t" else "\N{REPLACEMENT CHARACTER}" for c in text)


def _blank(character: str) -> str:
    """Return white space as wide as `character`, so that the caret stands under its column."""
    if character == "\t":
        return "\t"
    if unicodedata.combining(character):
        return ""
    return "  " if unicodedata.east_asian_width(character) in "WF" else " "


def shown(value: object) -> str:
    """Return `value` as a message quotes it, cut to a readable length.

    >>> shown("fifo")
    "'fifo'"
    >>> shown("x" * 1000) == "'" + "x" * 59 + "…"
    True
    """
    if value is None or isinstance(value, bool):
        return {None: "nothing", True: "true", False: "false"}[value]
    if isinstance(value, str):
        value = value[: 2 * _SHOWN_CHARACTERS]
    elif isinstance(value, int) and value.bit_length() > 4 * _SHOWN_CHARACTERS:
        return f"a whole number of {value.bit_length()} bits"
    elif isinstance(value, dict):
        return f"a mapping of {len(value)}"
    elif isinstance(value, (list, tuple)) and len(value) > 4:
        return f"a list of {len(value)}"
    text = repr(value)
    return text if len(text) <= _SHOWN_CHARACTERS else text[:_SHOWN_CHARACTERS] + "…"


def did_you_mean(name: str, choices: Iterable[str], *, list_up_to: int = 12) -> str:
    """Return advice on an unknown `name`: the nearest of `choices`, or all of a few.

    Args:
        name: what was found.
        choices: the names that would have been right, in the order in which to list them.
        list_up_to: if nothing is near and there are at most this many choices, they are listed.

    Returns:
        A clause to put after "; ", or an empty string if there is nothing to advise.

    >>> did_you_mean("tensor_paralel", ["tensor_parallel", "pipeline_parallel"])
    'did you mean tensor_parallel?'
    >>> did_you_mean("x", ["fcfs", "priority"])
    'choose one of fcfs, priority'
    >>> did_you_mean("x", [])
    ''
    """
    names = list(dict.fromkeys(choices))
    if nearest := _nearest(name, names):
        return f"did you mean {nearest}?"
    listed = ", ".join(names)
    if 0 < len(names) <= list_up_to and len(listed) <= _LISTED_CHARACTERS:
        return f"choose one of {listed}"
    return ""


def _nearest(name: str, names: Sequence[str]) -> str | None:
    """Return the choice that `name` most likely stands for: case and separators weigh nothing."""
    plain = {_folded(choice): choice for choice in reversed(names)}
    found = difflib.get_close_matches(_folded(name[:100]), list(plain), n=1, cutoff=0.7)
    return plain[found[0]] if found else None


def _folded(name: str) -> str:
    return name.casefold().replace("-", "_").replace(" ", "_")


class _FaultyFileError(PlannerError):
    """Carries every fault found, in file order and each of them once."""

    def __init__(self, faults: Sequence[Fault]) -> None:
        self.faults = tuple(sorted(set(faults)))
        super().__init__("\n".join(str(fault) for fault in self.faults))


class ScenarioError(_FaultyFileError):
    """A scenario has one or more faults."""


class CatalogError(PlannerError):
    """A catalogue entry is unknown or malformed."""


class TraceError(PlannerError):
    """A trace cannot be read, or some of its rows make no sense."""


class SimulationError(PlannerError):
    """A simulation could not be carried out."""


class OutputError(PlannerError):
    """A result could not be written."""
