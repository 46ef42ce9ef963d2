"""Answers read back from their JSON: what was written comes back; anything else is refused."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

import planner
from planner.errors import OutputError
from planner.search.bridge import bridge
from planner.search.stored import ablation_of, bridge_of, forecast_of, risk_of
from tests.report.test_ablation import ablation
from tests.report.test_risk import risk
from tests.small import load


def test_an_ablation_comes_back_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "ablation.json"
    found = ablation()
    path.write_text(found.to_json(), encoding="utf-8")
    assert ablation_of(path).to_json() == found.to_json()
    assert ablation_of(path).decompositions == found.decompositions


def test_a_risk_comes_back_but_for_what_its_inputs_move_number_by_number(tmp_path: Path) -> None:
    path = tmp_path / "risk.json"
    found = risk()
    path.write_text(found.to_json(), encoding="utf-8")
    read = risk_of(path)
    assert read.answers == found.answers
    assert read.samples == found.samples
    assert [each.stated.basis for each in read.inputs] == ["plain", "plain"]
    again = json.loads(read.to_json())
    assert again == json.loads(found.to_json())


@pytest.mark.compiled
def test_a_bridge_comes_back_as_its_bars(tmp_path: Path) -> None:
    sides = [planner.run(load(tmp_path, "workload.duration=60 s", *more)) for more in ((), _MORE)]
    found = bridge(*(replace(side, name=name) for side, name in zip(sides, "ab", strict=True)))
    path = tmp_path / "bridge.json"
    path.write_text(found.to_json(), encoding="utf-8")
    read = bridge_of(path)
    assert read.labels == ("a", "b")
    assert read.definition == found.definition
    assert read.definitions == found.definitions
    assert read.ends == dict(found.ends)
    for key in found.ends:
        assert read.rows(*key) == found.rows(*key)
        assert sum(row.amount for row in read.rows(*key)) == found.change(*key)


_MORE = ("pools.chat.nodes=3",)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "is not the JSON of planner ablate (Expecting property name"),
        ("[]", "is not the JSON of planner ablate (no schema, planner-ablation/v1 is needed)"),
        (
            '{"schema": "planner-risk/v1"}',
            "(schema planner-risk/v1, planner-ablation/v1 is needed)",
        ),
        ('{"schema": "planner-ablation/v1"}', "is damaged (KeyError('part'))"),
        (None, "no such file"),
    ],
    ids=["no-json", "no-schema", "another", "damaged", "absent"],
)
def test_something_else_is_refused_with_what_to_do(
    text: str | None, message: str, tmp_path: Path
) -> None:
    path = tmp_path / "ablation.json"
    if text is not None:
        path.write_text(text, encoding="utf-8")
    with pytest.raises(OutputError) as refused:
        ablation_of(path)
    assert message in str(refused.value)
    assert str(refused.value).startswith(f"{path}: ")
    advice = "write it with: planner ablate … --json > ablation.json"
    assert str(refused.value).endswith(advice)


def test_a_forecast_comes_back_as_its_quarters(tmp_path: Path) -> None:
    path = tmp_path / "forecast.json"
    content = {
        "schema": "planner-forecast/v1", "scenario": "ahead", "quarters": [{"quarter": "2026-Q1"}],
        "years": [], "notes": ["a note"],
    }  # fmt: skip
    path.write_text(json.dumps(content), encoding="utf-8")
    read = forecast_of(path)
    assert (read.name, read.quarters, read.notes) == (
        "ahead",
        ({"quarter": "2026-Q1"},),
        ("a note",),
    )
