"""The tree of a scenario before the schema sees it: values that know where they were written."""

from __future__ import annotations

import bisect
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from planner.errors import Fault

Scalar = str | int | float | bool | None
Location = tuple[str | int, ...]
"""Path inside a document: keys and list indices."""


class Place(NamedTuple):
    """Where a value was written."""

    file: str
    """Path as the user gave it, or the command-line option."""
    line: int = 0
    """From 1; 0 where there is no file."""
    column: int = 0
    source_line: str = ""

    def fault(self, message: str, where: str = "") -> Fault:
        """Return a fault at this place."""
        return Fault(self.file, self.line, self.column, where, message, self.source_line)


class Places:
    """Turns character offsets into places; lines end at LF, CR LF or CR, as editors count them."""

    def __init__(self, text: str, name: str, *, is_option: bool = False) -> None:
        self._text = text
        self._name = name
        self._is_option = is_option
        self._starts = [0, *(match.end() for match in re.finditer(r"\r\n|\r|\n", text))]

    def at(self, offset: int) -> Place:
        """Return the place of the character at `offset`."""
        if self._is_option:
            return Place(self._name)
        line = bisect.bisect_right(self._starts, offset)
        start = self._starts[line - 1]
        end = self._starts[line] if line < len(self._starts) else len(self._text)
        source_line = self._text[start:end].rstrip("\r\n")
        return Place(self._name, line, offset - start + 1, source_line)


@dataclass(frozen=True, slots=True)
class Node:
    """A value of the document and its place."""

    value: Scalar | dict[str, Node] | list[Node]
    place: Place
    key_place: Place | None = None
    """Where its key stands, if it is the value of a key."""
    size: int = 1
    """Nodes in the tree below and this one, aliases expanded."""

    @property
    def head(self) -> Place:
        """Where a reader looks for the whole: its key if it has one, else its first character."""
        return self.key_place or self.place

    def plain(self) -> object:
        """Return the value as plain Python data."""
        if isinstance(self.value, dict):
            return {key: node.plain() for key, node in self.value.items()}
        if isinstance(self.value, list):
            return [node.plain() for node in self.value]
        return self.value

    def follow(self, location: Sequence[str | int]) -> tuple[Node, int]:
        """Return the deepest node on the way to `location`, and how many steps led to it."""
        node = self
        for taken, step in enumerate(location):
            below = node.value
            if isinstance(below, dict) and step in below:
                node = below[str(step)]
            elif isinstance(below, list) and isinstance(step, int) and step < len(below):
                node = below[step]
            else:
                return node, taken
        return node, len(location)
