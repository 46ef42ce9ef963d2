from __future__ import annotations

from importlib import resources
from typing import Any

import jsonschema
import pytest
import yaml

from planner.scenario import json_schema, json_schema_text
from tests.scenario.samples import VALID, changed


@pytest.fixture(scope="module")
def validator() -> jsonschema.Draft202012Validator:
    return jsonschema.Draft202012Validator(json_schema())


def data(text: str) -> Any:
    return yaml.safe_load(text.replace("start: 19:30", "start: '19:30'").replace(
        "at: 7:00", "at: '7:00'").replace("at: 22:00", "at: '22:00'").replace(
        "date: 2026-11-01", "date: '2026-11-01'"))  # fmt: skip


def test_the_committed_schema_is_in_sync() -> None:
    committed = resources.files("planner.scenario").joinpath("planner-v1.schema.json")
    assert committed.read_bytes() == json_schema_text().encode(), "run `planner schema > FILE`"


def test_it_is_a_json_schema() -> None:
    jsonschema.Draft202012Validator.check_schema(json_schema())


def test_a_valid_scenario_passes(validator: jsonschema.Draft202012Validator) -> None:
    validator.validate(data(VALID))
    sections = {"overrides": {"a": {"pools.big.nodes": 3}}, "scenarios": {"x": ["a"], "y": "a"}}
    validator.validate(data(VALID) | sections)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("duration: 1 h", "duration: 1"),
        ("duration: 1 h", "duration: 1 GB"),
        ("duration: 1 h", "durration: 1 h"),
        ("tensor_parallel: 4", "tensor_parallel: 0"),
        ("tensor_parallel: 4", "tensor_paralel: 4"),
        ("metric: ttft", "metric: tfft"),
        ("name: evening", "name: an evening"),
        ("kind: api", "kind: apy"),
        ("{uniform: [10, 500]}", "{uniform: [10]}"),
    ],
)
def test_faults_are_seen(validator: jsonschema.Draft202012Validator, old: str, new: str) -> None:
    assert not validator.is_valid(data(changed(old, new)))


@pytest.mark.parametrize(
    ("layer", "valid"),
    [
        ({"extends": "base.yaml"}, True),
        ({"extends": ["a.yaml", "b.yaml"], "pools": [{"name": "big", "nodes": 3}]}, True),
        ({"extends": "base.yaml", "workload": {"classes": [{"name": "x", "open": None}]}}, True),
        ({"extends": "base.yaml", "prices": {"power": {"pue": 1.3}}}, True),
        ({"extends": "base.yaml", "pools": [{"name": "big", "nodez": 3}]}, False),
        ({"extends": "base.yaml", "pools": [{"nodes": 3}]}, False),
        ({"extends": "base.yaml", "workload": {"duration": 5}}, False),
        ({"extends": 5}, False),
        ({"pools": [{"name": "big", "nodes": 3}]}, False),
    ],
)
def test_layers_need_not_be_complete(
    validator: jsonschema.Draft202012Validator, layer: dict[str, Any], valid: bool
) -> None:
    assert validator.is_valid(layer) is valid


def fields(schema: dict[str, Any]) -> list[tuple[str, str, dict[str, Any]]]:
    return [
        (part, name, field)
        for part, definition in schema["$defs"].items()
        for name, field in definition["properties"].items()
    ]


def test_every_field_and_every_part_is_described() -> None:
    schema = json_schema()
    assert all(part["description"] for part in schema["$defs"].values())
    undescribed = [
        f"{part}.{name}"
        for part, name, field in fields(schema)
        if "description" not in field and "$ref" not in str(field)  # then that of the part shows
    ]
    assert undescribed == []


def test_defaults_are_written_as_a_user_would() -> None:
    schema = json_schema()
    drain = schema["$defs"]["Workload"]["properties"]["drain"]
    assert drain["default"] == "600 s"
    power = schema["$defs"]["Power"]["properties"]
    assert power["electricity"]["default"] == "0.08 USD/kWh"
    assert power["pue"]["default"] == 1.12
    for part, name, field in fields(schema):
        if "default" in field:
            described = {"$defs": schema["$defs"], **field}
            assert jsonschema.Draft202012Validator(described).is_valid(field["default"]), (
                part,
                name,
            )
