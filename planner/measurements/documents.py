"""Results of benchmark tools as JSON, one or one per line, with faults by line and key."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from planner.errors import shown
from planner.measurements.reading import Reading, parse_json, read_text

_LARGEST: Final = 2**53


@dataclass(frozen=True)
class Document:
    """A JSON object with its line; accessors turn a bad value into a fault with its key."""

    reading: Reading
    line: int
    values: Mapping[str, Any]
    where: str = ""
    """Path of this object inside the document."""

    def fault(self, key: str, message: str) -> None:
        """Note a fault under a key of this object."""
        self.reading.fault(self.line, f"{self.where}{key}", message)

    def part(self, *keys: str) -> Document:
        """Return the object under nested keys; an empty one if it is not there."""
        found: Any = self.values
        for key in keys:
            found = found.get(key) if isinstance(found, Mapping) else None
        values = found if isinstance(found, Mapping) else {}
        return Document(self.reading, self.line, values, f"{self.where}{'.'.join(keys)}.")

    def text(self, key: str) -> str:
        """Return a text, empty if there is none."""
        value = self.values.get(key)
        return value.strip() if isinstance(value, str) else ""

    def number(self, key: str, *, infinite: bool = False) -> float | None:
        """Return a number; None if it is missing or null, or is a fault, which is noted.

        Args:
            infinite: whether infinity, as a number or as the text `inf`, is a value of this key.
        """
        value = self.values.get(key)
        if value is None:
            return None
        if infinite and isinstance(value, str) and value.strip().lower() in ("inf", "infinity"):
            value = math.inf
        if isinstance(value, int) and not isinstance(value, bool) and abs(value) <= _LARGEST:
            return float(value)
        if isinstance(value, float) and (math.isfinite(value) or (infinite and value == math.inf)):
            return value
        self.fault(key, f"{shown(value)} is not a finite number; was the file edited?")
        return None

    def count(self, key: str) -> int | None:
        """Return a whole number of at least 0; else as `number`."""
        value = self.number(key)
        if value is None:
            return None
        if value < 0 or value != int(value):
            self.fault(key, f"{shown(self.values[key])} is not a count; it must be a whole number")
            return None
        return int(value)

    def needed_count(self, key: str, remedy: str) -> int | None:
        """Return a whole number that has to be there; None for a fault, which is noted."""
        if self.values.get(key) is None:
            self.fault(key, f"missing; {remedy}")
        return self.count(key)

    def counts(self, key: str) -> tuple[int, ...] | None:
        """Return a list of whole numbers; None if it is missing, or is a fault, which is noted."""
        found = self.values.get(key)
        if found is None:
            return None
        if not isinstance(found, list):
            self.fault(key, f"{shown(found)} is not a list")
            return None
        for index, value in enumerate(found):
            sound = isinstance(value, int) and not isinstance(value, bool)
            if not sound or not 0 <= value <= _LARGEST:
                self.fault(f"{key}[{index}]", f"{shown(value)} is not a count of tokens")
                return None
        return tuple(found)


def documents(reading: Reading) -> Iterator[Document]:
    """Yield the objects of a JSON file, or of one with an object in every line.

    Raises:
        MeasurementError: the file cannot be read or is not JSON.
    """
    text = read_text(reading.path)
    for line, value in _values(reading, text):
        if not isinstance(value, Mapping):
            reading.fault(line, "", f"{shown(value)} is not a result; expected a JSON object")
            continue
        yield Document(reading, line, value)


def _values(reading: Reading, text: str) -> Iterator[tuple[int, Any]]:
    lines = text.splitlines()
    filled = [(number, line) for number, line in enumerate(lines, start=1) if line.strip()]
    if len(filled) > 1 and _is_object(filled[0][1]):
        for number, line in filled:
            try:
                value = json.loads(line)
            except (ValueError, RecursionError) as error:
                reading.fault(number, "", f"not JSON: {error}; was the benchmark stopped?")
            else:
                yield number, value
        return
    value = parse_json(reading.path, text)
    if isinstance(value, Sequence) and not isinstance(value, str):
        yield from ((1, part) for part in value)
    else:
        yield 1, value


def _is_object(line: str) -> bool:
    """Tell whether a line is a whole JSON object, so that the file is one of JSON lines."""
    try:
        return isinstance(json.loads(line), dict)
    except (ValueError, RecursionError):
        return False
