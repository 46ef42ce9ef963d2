"""Controls: what a reader can move, what it is called, and which edits of the scenario follow.

They know nothing of widgets, so that everything behind a slider can be tried without a browser.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from planner.errors import PlannerError, shown
from planner.notebook.edits import Edit
from planner.search.techniques import Technique

Value = str | float | bool


class ControlError(PlannerError):
    """A control that cannot be made, or is given a value that it does not have."""


@dataclass(frozen=True)
class Slider:
    """A number between two others."""

    key: str
    """Unique; where it moves one value of the scenario, the path of that value."""
    group: str
    """Controls of a group stand together."""
    label: str
    unit: str
    start: float
    """As the scenario says."""
    low: float
    high: float
    step: float
    edits: Callable[[float], Sequence[Edit]]
    """What follows from a value other than `start`."""
    is_whole: bool = False
    """Whether it takes whole numbers only."""
    follows: str = ""
    """Key of a menu on which `start` and `edits` depend."""
    versions: Mapping[str, Slider] = field(default_factory=dict)
    """The slider by choice of that menu."""

    def checked(self, value: Value) -> float:
        """Return a value that the slider can take.

        Raises:
            ControlError: it cannot take this one.
        """
        is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
        if not is_number or not self.low <= float(value) <= self.high:
            raise ControlError(
                f"{self.key}: {shown(value)} is not between {self.low:g} and {self.high:g}"
                f"{self.unit and f' {self.unit}'}"
            )
        if self.is_whole and not float(value).is_integer():
            raise ControlError(f"{self.key}: {shown(value)} is not a whole number")
        return float(value)

    def text(self, value: Value) -> str:
        """Return a value as a person reads it."""
        return f"{value:,.6g} {self.unit}".strip()


@dataclass(frozen=True)
class Menu:
    """One of several texts."""

    key: str
    group: str
    label: str
    start: str
    choices: tuple[str, ...]
    edits: Callable[[str], Sequence[Edit]]
    titles: tuple[str, ...] = ()
    """What is shown of each choice; empty: itself."""

    def checked(self, value: Value) -> str:
        """Return a choice.

        Raises:
            ControlError: there is no such choice.
        """
        if value not in self.choices:
            raise ControlError(
                f"{self.key}: {shown(value)} is not offered; choose one of "
                f"{', '.join(self.choices)}"
            )
        return str(value)

    def text(self, value: Value) -> str:
        """Return a choice as a person reads it."""
        return dict(self.shown()).get(str(value), str(value))

    def shown(self) -> list[tuple[str, str]]:
        """Return choice and title."""
        return list(zip(self.choices, self.titles or self.choices, strict=True))


@dataclass(frozen=True)
class Switch:
    """A technique that the scenario uses, and can do without."""

    key: str
    group: str
    label: str
    technique: Technique
    start: bool = True

    def checked(self, value: Value) -> bool:
        """Return whether it is on.

        Raises:
            ControlError: the value is neither true nor false.
        """
        if not isinstance(value, bool):
            raise ControlError(f"{self.key}: {shown(value)} is neither true nor false")
        return value

    def text(self, value: Value) -> str:
        """Return the state as a person reads it."""
        return "on" if value else "off"


Control = Slider | Menu | Switch


def given(control: Control, values: Mapping[str, Value]) -> Control:
    """Return a control as it is while others have some values: a price is that of the machine."""
    if isinstance(control, Slider) and control.follows in values:
        return control.versions.get(str(values[control.follows]), control)
    return control


def step_for(span: float, start: float) -> float:
    """Return 1, 2 or 5 times a power of ten that divides a span into some tens of steps.

    Into more, up to a thousand, where the start would not be on a step otherwise.

    >>> step_for(180, 60), step_for(3, 1), step_for(0.16, 0.08), step_for(8.37, 2.79)
    (5, 0.05, 0.005, 0.01)
    """
    steps = [_round_step(span / count) for count in (60, 150, 300, 600, 1500)]
    return next(
        (step for step in steps if math.isclose(start / step, round(start / step))), steps[0]
    )


def _round_step(rough: float) -> float:
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(n * power for n in (1, 2, 5, 10) if n * power >= rough * (1 - 1e-9))
    return int(step) if step >= 1 else float(f"{step:.6g}")
