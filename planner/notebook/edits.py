"""What controls change in a scenario, as the `path=value` options that `--set` takes.

A number may be moved by several controls at once: one states it, others multiply it, as the level
of the traffic multiplies the rate of every class.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from planner.scenario.targets import Target


@dataclass(frozen=True)
class Text:
    """A value as YAML writes it."""

    path: str
    text: str


@dataclass(frozen=True)
class Number:
    """A number of the scenario with a new value, a factor, or both."""

    path: str
    target: Target
    value: float | None = None
    """In the base unit; None: as the scenario says, unless another edit states it."""
    factor: float = 1.0


Edit = Text | Number


def options(edits: Iterable[Edit]) -> list[str]:
    """Return the options that make all edits: texts in their order, then numbers.

    Factors on one number multiply; of values the last holds.
    """
    texts: list[str] = []
    numbers: dict[str, tuple[Target, float, float]] = {}
    for edit in edits:
        if isinstance(edit, Text):
            texts.append(f"{edit.path}={edit.text}")
            continue
        target, value, factor = numbers.get(edit.path, (edit.target, edit.target.value, 1.0))
        stated = value if edit.value is None else edit.value
        numbers[edit.path] = (target, stated, factor * edit.factor)
    moved = [
        f"{path}={target.written(value * factor)}"
        for path, (target, value, factor) in numbers.items()
    ]
    return texts + moved
