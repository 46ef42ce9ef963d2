"""Numbers of a scenario, found by path: where they stand, in which unit, and how to change them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Final, get_args

from pydantic import ValidationError, WithJsonSchema

from planner.errors import did_you_mean, shown
from planner.scenario.merge import PathError, format_location, merge, overlay, parse_path
from planner.scenario.nodes import Location, Node, Scalar
from planner.scenario.schema import Scenario
from planner.scenario.schema.fields import Part
from planner.scenario.schema.uncertainty import Amount
from planner.units import BASE_UNITS, parse_quantity

EVERY: Final = "*"
_DIMENSIONS: Final = {unit: name for name, unit in BASE_UNITS.items() if unit}


@dataclass(frozen=True)
class Target:
    """One number of a scenario."""

    location: Location
    value: float
    """As stated or by default, in base units."""
    unit: str
    """Base unit; empty: a bare number."""
    is_whole: bool

    def written(self, value: float) -> Scalar:
        """Return a value as a scenario writes it."""
        if self.is_whole:
            return round(value)
        return f"{value!r} {self.unit}" if self.unit else value

    def read(self, amount: Amount) -> float:
        """Return an amount in the base unit.

        Raises:
            ValueError: it has no unit, or another one.
        """
        return read_amount(amount, self.unit)


def read_amount(amount: Amount, unit: str = "") -> float:
    """Return an amount in a base unit; of a bare number, percent count as well.

    Raises:
        ValueError: it has no unit, or another one.
    """
    if isinstance(amount, str) or unit:
        return parse_quantity(amount, _DIMENSIONS[unit] if unit else "fraction")
    return float(amount)


def targets_at(scenario: Scenario, path: str) -> tuple[Target, ...]:
    """Return the numbers that a path leads to; `*` stands for the items of a list that have one.

    Raises:
        PathError: there is none; the message says where the path fails.
    """
    steps = parse_path(path)
    wild = EVERY in steps
    found = tuple(_follow(scenario, Scenario, (), steps, None, optional=wild))
    if not found:
        raise PathError(f"{shown(path)} leads to no number; no item of the list has one there")
    return found


def _follow(
    value: Any, annotation: Any, taken: Location, left: Location, field: Any, *, optional: bool
) -> Iterator[Target]:
    if value is None:
        if not optional:
            raise PathError(f"{format_location(taken)} is not stated, so it cannot be changed")
        return
    if not left:
        yield _target(value, annotation, taken, field)
        return
    step, rest = left[0], left[1:]
    if isinstance(value, Part):
        fields = type(value).model_fields
        name = next((key for key, each in fields.items() if step in (key, each.alias)), None)
        if name is None:
            known = [each.alias or key for key, each in fields.items()]
            advice = did_you_mean(str(step), known) or f"the fields are {', '.join(known)}"
            where = format_location((*taken, step))
            raise PathError(f"there is no {where}; {advice}")
        below = fields[name]
        key = below.alias or name
        yield from _follow(
            getattr(value, name), below.annotation, (*taken, key), rest, below, optional=optional
        )
    elif isinstance(value, list):
        for index in _items(value, step, taken):
            yield from _follow(
                value[index], annotation, (*taken, index), rest, field, optional=optional
            )
    else:
        raise PathError(f"{format_location(taken)} is {shown(value)}; nothing is below it")


def _items(items: list[Any], step: str | int, taken: Location) -> Iterable[int]:
    if step == EVERY:
        return range(len(items))
    names = [getattr(item, "name", None) for item in items]
    if step in names:
        return [names.index(step)]
    if isinstance(step, int) and step < len(items):
        return [step]
    advice = did_you_mean(str(step), [name for name in names if name])
    what = format_location((*taken, step))
    raise PathError(f"there is no {what}; {advice or f'the list has {len(items)} items'}")


def _target(value: Any, annotation: Any, location: Location, field: Any) -> Target:
    where = format_location(location)
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        kind = "a group of fields" if isinstance(value, (Part, list, dict)) else shown(value)
        raise PathError(f"{where} is {kind}, not a number; name a number in or beside it")
    whole = isinstance(value, int)
    return Target(location, float(value), _unit((annotation, *field.metadata)), whole)


def _unit(annotations: Iterable[Any]) -> str:
    """Return the base unit among the annotations of a field; empty if it has none."""
    for each in annotations:
        if isinstance(each, WithJsonSchema):
            return str((each.json_schema or {}).get("x-stored-in", ""))
        if found := _unit(get_args(each)):
            return found
    return ""


def scenario_with(root: Node, values: Iterable[tuple[Target, float]]) -> tuple[Scenario, Node]:
    """Return a scenario with other numbers at some places, and its tree.

    Raises:
        ValueError: it would be none; the message says which number it does not take.
    """
    changed = list(values)
    for target, value in changed:
        node = Node(target.written(value), root.place)
        root = merge(root, overlay(target.location, node))
    try:
        return Scenario.model_validate(root.plain()), root
    except ValidationError as error:
        detail = error.errors(include_url=False)[0]
        where = next((t for t, _ in changed if t.location == detail["loc"]), changed[0][0])
        reason = str(detail["msg"]).removeprefix("Value error, ").removeprefix("Input ")
        raise ValueError(
            f"{format_location(where.location)} {where.written(dict(changed)[where])}, which a "
            f"scenario does not take ({reason[:80]}); give the distribution a minimum or maximum"
        ) from None
