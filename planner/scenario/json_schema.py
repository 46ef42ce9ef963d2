"""The JSON Schema that editors read: the pydantic schema, plus what stands around it in a file.

A file that extends another need not be complete, and may remove inherited values with `null`. So
there are two branches: with `extends`, every field is optional; without, the schema holds as it is.
"""

from __future__ import annotations

import json
from typing import Any

from planner.scenario.schema import Scenario

_IDENTIFIER = "https://json-schema.org/draft/2020-12/schema"
_SECTIONS: dict[str, Any] = {
    "extends": {
        "description": "Scenario file, or files, that this one builds on, relative to it. "
        "Mappings merge, lists of named items merge by name, null removes.",
        "anyOf": [
            {"type": "string", "minLength": 1},
            {"type": "array", "items": {"type": "string", "minLength": 1}},
        ],
        "examples": ["base.yaml"],
    },
    "overrides": {
        "description": "Named changes: each maps dotted paths to values.",
        "type": "object",
        "additionalProperties": {"type": "object"},
        "examples": [{"more-nodes": {"pools.chat.nodes": 8}}],
    },
    "scenarios": {
        "description": "Named variants: each is a list of overrides, laid on in order.",
        "type": "object",
        "additionalProperties": {
            "anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]
        },
        "examples": [{"peak": ["more-nodes"]}],
    },
}


def json_schema() -> dict[str, Any]:
    """Return the JSON Schema (draft 2020-12) of a scenario file."""
    schema = _tidied(Scenario.model_json_schema())
    definitions = schema.pop("$defs")
    whole = schema | {"properties": schema["properties"] | _SECTIONS}
    layer = _as_layer(whole | {"required": []})
    layers = {f"{name}Layer": _as_layer(part) for name, part in definitions.items()}
    return {
        "$schema": _IDENTIFIER,
        "title": "planner/v1 scenario",
        "description": schema["description"],
        "type": "object",
        "if": {"required": ["extends"]},
        "then": {"$ref": "#/$defs/ScenarioLayer"},
        "else": {"$ref": "#/$defs/Scenario"},
        "$defs": {"Scenario": whole, "ScenarioLayer": layer} | definitions | layers,
    }


def json_schema_text() -> str:
    """Return the schema as it is committed: indented, with a line end."""
    return json.dumps(json_schema(), indent=1, ensure_ascii=False) + "\n"


def _tidied(node: Any) -> Any:
    """Return the schema without derived titles, and with defaults as a user would write them."""
    if isinstance(node, list):
        return [_tidied(item) for item in node]
    if not isinstance(node, dict):
        return node
    tidied = {
        key: {name: _tidied(field) for name, field in value.items()}
        if key in ("properties", "$defs")
        else _tidied(value)
        for key, value in node.items()
        if not (key == "title" and isinstance(value, str))
    }
    default = tidied.get("default")
    if isinstance(default, dict) or ("default" in tidied and default is None):
        del tidied["default"]  # the defaults of a part are those of its fields
    elif isinstance(default, float) and "x-stored-in" in tidied:
        tidied["default"] = f"{default:g} {tidied['x-stored-in']}"
    return tidied


def _as_layer(part: dict[str, Any]) -> dict[str, Any]:
    """Return a part of which only an item's name is required; all else may be null."""
    layer = {key: value for key, value in part.items() if key != "required"}
    if "name" in part.get("required", []):
        layer["required"] = ["name"]
    layer["properties"] = {
        name: field if name == "name" else _or_null(_to_layers(field))
        for name, field in part["properties"].items()
    }
    return layer


_ANNOTATIONS = ("description", "default", "examples")


def _or_null(field: dict[str, Any]) -> dict[str, Any]:
    """Return a field that may be null too; what editors show on hovering stays outside."""
    outside = {key: field[key] for key in _ANNOTATIONS if key in field}
    inside = {key: value for key, value in field.items() if key not in _ANNOTATIONS}
    choices = inside["anyOf"] if list(inside) == ["anyOf"] else [inside]
    if {"type": "null"} not in choices:
        choices = [*choices, {"type": "null"}]
    return outside | {"anyOf": choices}


def _to_layers(node: Any) -> Any:
    """Return `node` with references to parts turned into references to their layers."""
    if isinstance(node, list):
        return [_to_layers(item) for item in node]
    if not isinstance(node, dict):
        return node
    return {
        key: f"{value}Layer" if key == "$ref" else _to_layers(value) for key, value in node.items()
    }
