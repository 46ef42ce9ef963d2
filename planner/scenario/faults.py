"""Pydantic's errors, in the words of the scenario: place, path, what was found, what to do."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, get_args

from pydantic import ValidationError

from planner.errors import Fault, did_you_mean, shown
from planner.scenario.merge import format_location
from planner.scenario.nodes import Location, Node
from planner.scenario.schema import Scenario
from planner.scenario.schema.fields import PATTERN_ADVICE, Part
from planner.scenario.schema.workload import Lengths

_MESSAGES = {
    "bool_type": "must be true or false",
    "dict_type": "must be a mapping",
    "finite_number": "must be a finite number",
    "float_type": "must be a number",
    "greater_than": "must be greater than {gt}",
    "greater_than_equal": "must be at least {ge}",
    "int_from_float": "must be a whole number",
    "int_parsing_size": "must be a smaller number",
    "int_type": "must be a whole number",
    "less_than": "must be less than {lt}",
    "less_than_equal": "must be at most {le}",
    "list_type": "must be a list",
    "model_attributes_type": "must be a mapping of fields",
    "model_type": "must be a mapping of fields",
    "string_too_long": "must have at most {max_length} characters",
    "string_type": "must be text; put it in quotes",
    "too_long": "has {actual_length} items; at most {max_length} are allowed",
    "too_short": "has {actual_length} items; at least {min_length} is needed",
    "tuple_type": "must be a list",
}
"""By pydantic's error type; the names in braces are its context."""


def faults_of_tree(root: Node) -> list[Fault]:
    """Return the mistakes that the schema finds in the tree `root`."""
    try:
        Scenario.model_validate(root.plain())
    except ValidationError as error:
        return schema_faults(error, root)
    return []


def schema_faults(error: ValidationError, root: Node) -> list[Fault]:
    """Return one fault per mistake that pydantic found in the tree `root`."""
    details = error.errors(include_url=False)
    renamed: set[Location] = set()
    faults = []
    for detail in details:
        if detail["type"] == "extra_forbidden":
            message, meant = _unknown_field(detail["loc"])
            renamed.add(meant)
            faults.append(place_fault(root, detail["loc"], message, at_key=True))
    for detail in details:
        location = _without_tags(detail["loc"], root, detail["type"])
        if detail["type"] == "missing" and location not in renamed:
            faults.append(_missing_field(root, location))
        elif detail["type"] not in ("missing", "extra_forbidden"):
            faults.append(place_fault(root, location, _message(detail)))
    return faults


def place_fault(root: Node, location: Location, message: str, *, at_key: bool = False) -> Fault:
    """Return a fault on the value at `location`, or on what encloses it where that is not written.

    Of a scalar the place is the scalar itself, or its key if `at_key`; of anything larger its key.
    """
    node, taken = root.follow(location)
    is_scalar = taken == len(location) and not isinstance(node.value, (dict, list))
    place = node.place if is_scalar and not at_key else node.head
    return place.fault(message, format_location(location))


def _missing_field(root: Node, location: Location) -> Fault:
    if isinstance(location[-1], int):
        return place_fault(root, location, "required item is missing")
    model = model_at(location[:-1])
    field = _field(model, location[-1]) if model else None
    meaning = _first_sentence(field.description) if field and field.description else ""
    return place_fault(root, location, f"required field is missing{meaning and ': '}{meaning}")


def _first_sentence(text: str) -> str:
    sentence = re.split(r"[.;:](?:\s|$)", " ".join(text.split()), maxsplit=1)[0]
    return sentence[:1].lower() + sentence[1:]


def _message(detail: Mapping[str, Any]) -> str:
    """Return what is wrong with a value and what was found."""
    kind, context, found = detail["type"], detail.get("ctx", {}), detail["input"]
    if kind == "value_error":
        message = str(context["error"])
    elif kind == "literal_error":
        choices = re.findall(r"'([^']*)'", context["expected"])
        message = f"must be {'one of ' if choices[1:] else ''}{', '.join(choices)}"
        if (
            choices[1:]
            and isinstance(found, str)
            and (advice := did_you_mean(found, choices, list_up_to=0))
        ):
            return f"{message}; found {shown(found)}; {advice}"
    elif kind == "string_pattern_mismatch":
        message = PATTERN_ADVICE[context["pattern"]]
    elif kind == "model_type" and context["class_name"] == Lengths.__name__:
        return f"must be a mapping of fields; found {shown(found)}{_length_form(found)}"
    else:
        template = _MESSAGES.get(kind)
        message = template.format(**context) if template else detail["msg"]
    quoted = rf"(?<![\w.]){re.escape(shown(found))}(?![\w.])"
    says_it_already = "found" in message or re.search(quoted, message)
    if kind in ("too_short", "too_long") or isinstance(found, dict) or says_it_already:
        return message
    return f"{message}; found {shown(found)}"


def _length_form(found: object) -> str:
    """Return advice on a bare number or name in the place of a distribution of lengths."""
    if isinstance(found, int) and not isinstance(found, bool):
        return f"; did you mean {{fixed: {shown(found)}}}?"
    is_name = isinstance(found, str) and len(found) <= 64 and found.isprintable()
    return f"; did you mean {{preset: {found}}}?" if is_name else ""


def _without_tags(location: Location, root: Node, kind: str) -> Location:
    """Return `location` without the tags that pydantic puts where a value has several forms."""
    node, kept = root, list[str | int]()
    for index, step in enumerate(location):
        node, taken = node.follow([step])
        is_absent = kind == "missing" and index == len(location) - 1
        if taken or is_absent or isinstance(node.value, dict):
            kept.append(step)
    return tuple(kept)


# --- unknown fields ------------------------------------------------------------------------------


def _unknown_field(location: Location) -> tuple[str, Location]:
    """Return the message on an unknown field, and the location that was probably meant."""
    name, parent = str(location[-1]), location[:-1]
    model = model_at(parent)
    names = field_names(model) if model else []
    nearest = did_you_mean(name, names, list_up_to=0)
    if nearest:
        meant = nearest.removeprefix("did you mean ").removesuffix("?")
        return f"unknown field; {nearest}", (*parent, meant)
    if homes := sorted({path for path, field in _all_fields(Scenario, "") if field == name}):
        where = " and ".join(homes[:3])
        return f"unknown field here; {name} is a field of {where or 'the top level'}", ()
    return f"unknown field; the fields here are {', '.join(names)}", ()


def model_at(location: Location) -> type[Part] | None:
    """Return the model whose fields stand at `location`, or None where there is none."""
    model: type[Part] | None = Scenario
    for step in location:
        if isinstance(step, int):
            continue  # the item of a list: `_part_in` has looked through the list already
        field = _field(model, step) if model else None
        model = _part_in(field.annotation) if field else None
    return model


def field_names(model: type[Part]) -> list[str]:
    """Return the names of the fields as they are written in YAML."""
    return [field.alias or name for name, field in model.model_fields.items()]


def _field(model: type[Part], name: str) -> Any:
    fields = model.model_fields.items()
    return next((field for key, field in fields if (field.alias or key) == name), None)


def _part_in(annotation: object) -> type[Part] | None:
    """Return the model inside an annotation such as `list[Pool]` or `Engine | None`."""
    if isinstance(annotation, type) and issubclass(annotation, Part):
        return annotation
    found = (_part_in(argument) for argument in get_args(annotation))
    return next((part for part in found if part), None)


def _all_fields(model: type[Part], path: str) -> Iterator[tuple[str, str]]:
    """Yield (path of the enclosing field, name) of every field of the schema."""
    for name, field in zip(field_names(model), model.model_fields.values(), strict=True):
        yield path, name
        if part := _part_in(field.annotation):
            is_list = "list[" in str(field.annotation)
            yield from _all_fields(part, f"{path}{path and '.'}{name}{'[]' if is_list else ''}")
