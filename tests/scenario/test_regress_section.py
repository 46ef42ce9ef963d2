"""The section `regress`: what is wrong with gates that would never hold anything."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from planner.catalog import load_catalog
from planner.errors import ScenarioError
from planner.scenario import load_checked
from planner.scenario.schema.regress import Regress
from planner.scenario.watched import absolute_of
from tests.conftest import ROOT
from tests.small import SMALL


@pytest.mark.parametrize(
    ("section", "says"),
    [
        (
            "gates: [{metric: classes.chta.ttft_p99_s}]",
            "regress.gates[0].metric: no metric is called 'classes.chta.ttft_p99_s'; did you mean "
            "classes.chat.ttft_p99_s?",
        ),
        (
            "gates: [{metric: pools.*, fail_absolute: 50 ms}]",
            "regress.gates[0].fail_absolute: of pools.chat.nodes_at_peak (nodes): '50 ms' is not "
            "in nodes; write for example 1",
        ),
        (
            'gates: [{metric: "*.ttft_p99_s", warn_absolute: 3}]',
            "regress.gates[0].warn_absolute: of classes.chat.ttft_p99_s (s): 3.0 is a bare number; "
            'write for example "500 ms"',
        ),
        ("gates: [{metric: cost_per_hour_usd, fail: -5%}]", "regress.gates[0].fail: must be at"),
        (
            "gates: [{metric: cost_per_hour_usd, fail: 5}]",
            "regress.gates[0].fail: 5 is 500%; write 5% or 0.05",
        ),
        (
            'acknowledged: [{metric: cost_per_hour_usd, until: "2027-02-30", reason: x}]',
            "regress.acknowledged[0].until: '2027-02-30' is not a date",
        ),
        (
            'acknowledged: [{metric: nodes, until: "2027-01-31", reason: x}]',
            "regress.acknowledged[0].metric: no metric is called 'nodes'",
        ),
        ("overrides: [shrot]", "regress.overrides[0]: no override is called 'shrot'; did you mean"),
        (
            "scenarios: [busy]",
            "regress.scenarios[0]: no scenario is called 'busy'; the file has no scenarios",
        ),
    ],
)
def test_faults(tmp_path: Path, section: str, says: str) -> None:
    path = tmp_path / "small.yaml"
    more = "overrides: {short: {workload.duration: 20 s}}\n"
    path.write_text(f"{SMALL}regress:\n  {section}\n{more}", encoding="utf-8")
    with pytest.raises(ScenarioError) as caught:
        load_checked(path, load_catalog())
    assert len(caught.value.faults) == 1
    assert says in str(caught.value)


@pytest.mark.parametrize("stated", ["nan", "-1", "inf", "1 node"])
def test_tolerances_that_are_none(stated: str) -> None:
    with pytest.raises(ValueError, match=stated):
        absolute_of(stated, "nodes")


def test_the_section_that_the_readme_shows_is_valid() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    shown = next(b for b in re.findall(r"^```yaml\n(.*?)^```", text, re.M | re.S) if "gates" in b)
    section = Regress.model_validate(yaml.safe_load(shown)["regress"])
    assert section.gates[0].fail == 0.2
    assert absolute_of(section.gates[0].fail_absolute or "", "s") == 0.05
