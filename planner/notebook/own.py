"""Controls over what the caller names: any value of the scenario, by its path."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import partial

from planner.errors import did_you_mean, shown
from planner.notebook.controls import Control, ControlError, Menu, Slider, step_for
from planner.notebook.derive import slider_at
from planner.notebook.edits import Edit, Text
from planner.scenario import LoadedScenario
from planner.scenario.load import redraft
from planner.scenario.merge import PathError, format_location, parse_path
from planner.scenario.targets import Target, targets_at
from planner.units import BASE_UNITS, DIMENSIONS

OWN = "Your own"
_DEFAULT = "as in the scenario"
Range = tuple[float | str, float | str]
Asked = Mapping[str, Range | Sequence[str]]
"""By path: a tuple of two makes a slider between them, a list a menu of what it holds."""


def own_controls(asked: Asked, loaded: LoadedScenario) -> tuple[Control, ...]:
    """Return a control for each path.

    Raises:
        ControlError: a path leads nowhere, or a range or menu makes no sense.
    """
    if not isinstance(asked, Mapping):
        raise ControlError(
            f"sets: {shown(asked)} names no controls; give a dictionary by path, as "
            '{"pools.chat.nodes": (4, 12)}'
        )
    return tuple(_control(path, stated, loaded) for path, stated in asked.items())


def _control(path: str, stated: Range | Sequence[str], loaded: LoadedScenario) -> Control:
    scalars = isinstance(stated, (tuple, list)) and all(map(_is_scalar, stated))
    if scalars and isinstance(stated, tuple) and len(stated) == 2:
        return _slider(path, stated, loaded)
    if scalars and isinstance(stated, list) and len(stated) > 1:
        return _menu(path, [str(each) for each in stated], loaded)
    raise ControlError(
        f"{path}: {shown(stated)} makes no control; give a tuple of two for a slider, as "
        '("0.04 USD/kWh", "0.2 USD/kWh"), or a list of two or more for a menu, as ["fcfs", '
        '"priority"]'
    )


def _is_scalar(value: object) -> bool:
    return isinstance(value, str) or (isinstance(value, (int, float)) and math.isfinite(value))


def _menu(path: str, choices: list[str], loaded: LoadedScenario) -> Menu:
    try:
        steps = parse_path(path)
    except PathError as error:
        raise ControlError(f"{path}: {error}") from None
    node = _follow(loaded, steps)
    start = str(node) if _is_scalar(node) else _DEFAULT
    _require_one(path, choices, loaded)
    offered = dict.fromkeys(choices if start in choices else [start, *choices])
    return Menu(path, OWN, path, start, tuple(offered), lambda text: [Text(path, text)])


def _require_one(path: str, choices: Sequence[str], loaded: LoadedScenario) -> None:
    """Refuse a menu of which the schema takes no choice: then the path is wrong, not a choice."""
    refused = [redraft(loaded, [f"{path}={choice}"]).faults for choice in choices]
    if all(refused):
        fault = refused[0][0]
        where = fault.where and f"{fault.where}: "
        raise ControlError(f"{path}: {where}{fault.message}")


def _follow(loaded: LoadedScenario, steps: Sequence[str | int]) -> object:
    """Return the value that a document states at a path; None: it states none."""
    value: object = loaded.data
    for step in steps:
        if isinstance(value, list):
            names = [item.get("name") for item in value if isinstance(item, dict)]
            index = names.index(step) if step in names else step
            if not isinstance(index, int) or index >= len(value):
                raise ControlError(
                    f"{format_location(tuple(steps))}: there is no {shown(step)}; "
                    f"{did_you_mean(str(step), [str(name) for name in names])}"
                )
            value = value[index]
        elif isinstance(value, dict) and step in value:
            value = value[step]
        else:
            return None
    return value


def _slider(path: str, ends: Range, loaded: LoadedScenario) -> Slider:
    try:
        target = targets_at(loaded.scenario, path)[0]
        low, high = (target.read(end) for end in ends)
    except (PathError, ValueError) as error:
        raise ControlError(f"{path}: {error}") from None
    if not low < high:
        raise ControlError(f"{path}: {ends[0]} is not less than {ends[1]}; give low, then high")
    if target.is_whole and not (low.is_integer() and high.is_integer()):
        raise ControlError(f"{path}: takes whole numbers only, not {ends[0]} to {ends[1]}")
    unit = _unit_of(ends[0], target)
    if unit == target.unit:
        return slider_at(path, target, OWN, path, low=low, high=high)
    size = target.read(f"1 {unit}")
    start, span = target.value / size, (high - low) / size
    least, most = min(low / size, start), max(high / size, start)
    edits = partial(_in_unit, path, unit)
    return Slider(path, OWN, path, unit, start, least, most, step_for(span, start), edits)


def _unit_of(end: float | str, target: Target) -> str:
    """Return the unit that the caller writes, so that the slider shows it."""
    dimension = next((name for name, unit in BASE_UNITS.items() if unit == target.unit), "fraction")
    units = DIMENSIONS[dimension] if target.unit or "%" in str(end) else {}
    written = str(end).strip().lstrip("+-0123456789._eE").strip()
    return written if written in units else target.unit


def _in_unit(path: str, unit: str, value: float) -> Sequence[Edit]:
    return (Text(path, f"{value!r} {unit}" if unit != "%" else f"{value!r}%"),)
