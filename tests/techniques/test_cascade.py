"""A lighter model for part of a class: cost, latency, quality."""

from __future__ import annotations

import functools
from pathlib import Path

import pandas as pd
import pytest

import planner
from planner.catalog import load_catalog
from planner.errors import ScenarioError
from planner.report.wording import light_sentence
from planner.scenario import load_checked

SCENARIO = Path(__file__).resolve().parents[2] / "scenarios" / "techniques" / "cascade.yaml"
CATALOG = load_catalog()
pytestmark = pytest.mark.compiled  # whole runs, far too long in pure Python
AMPLE = ("pools.large.nodes=8", "pools.light.nodes=3")
"""Fleets that nobody waits in, to compare what requests take."""


@functools.cache
def run(scenario: str) -> tuple[pd.Series, pd.DataFrame]:
    result = planner.run(SCENARIO, named=scenario, sets=AMPLE)
    return result.to_pandas("classes").iloc[0], result.to_pandas("pools").set_index("pool")


def test_shares_are_those_that_are_asked_for() -> None:
    routed, _ = run("routed")
    served = routed["measured_served"]
    bound = 4.0 * (0.86 * 0.14 / served) ** 0.5
    assert routed["light_rate"] == pytest.approx(0.86, abs=bound)
    assert routed["escalated_rate"] == 0.0
    cascade, pools = run("cascade")
    assert cascade["escalated_rate"] == pytest.approx(0.14, abs=bound)
    assert cascade["light_rate"] + cascade["escalated_rate"] == 1.0
    assert pools.loc["large", "escalated"] == pools.loc["large", "routed"]


def test_quality_follows_the_answers_that_are_kept() -> None:
    """RouteLLM: 14% of the requests on the strong model keep 95% of its quality."""
    routed, _ = run("routed")
    assert routed["quality_rate"] == pytest.approx(0.95, abs=0.002)
    assert run("large")[0]["quality_rate"] == 1.0
    assert "answered by the lighter model" in light_sentence(routed)
    assert light_sentence(run("large")[0]) == ""


def test_most_of_the_large_model_is_saved() -> None:
    """The large model does 14% of its work, and the light one costs what it costs.

    RouteLLM counts prices of 24.7 and 0.24 USD per million tokens, so that 85% is saved; here the
    light model is not a hundred times as cheap.
    """
    _, alone = run("large")
    _, pools = run("routed")
    before = alone.loc["large", "prefill_tokens"] + alone.loc["large", "decode_tokens"]
    after = pools.loc["large", "prefill_tokens"] + pools.loc["large", "decode_tokens"]
    assert after / before == pytest.approx(0.14, abs=0.015)


def test_an_escalated_request_waits_for_both() -> None:
    routed, cascade = run("routed")[0], run("cascade")[0]
    assert cascade["ttft_p99_s"] > 3 * routed["ttft_p99_s"]
    assert cascade["ttft_p50_s"] == pytest.approx(routed["ttft_p50_s"], rel=0.3)


def test_short_inputs_go_to_the_light_model() -> None:
    short, pools = run("short")
    assert 0.1 < short["light_rate"] < 0.9
    light = pools.loc["light"]
    assert light["prefill_tokens"] / light["routed"] <= 500


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("workload.classes.chat.light.pool=large", "a cascade must not come back"),
        ("workload.classes.chat.light.pool=ligth", "did you mean light"),
        ("workload.classes.chat.light.pool=nowhere", "unknown pool 'nowhere'; choose one of"),
        ("workload.classes.chat.light.quality=90%", "less than minimum_quality"),
        ("workload.classes.chat.light.quality=null", "needs the quality of the lighter model"),
        ("workload.classes.chat.light.share=0%", "greater than 0"),
    ],
)
def test_contradictions_are_named(change: str, message: str) -> None:
    with pytest.raises(ScenarioError, match=message):
        load_checked(SCENARIO, CATALOG, sets=[change])


def test_the_light_pool_takes_prompts() -> None:
    decode = "pools.large.decode={pool: light, bandwidth: 1 GB/s}"
    with pytest.raises(ScenarioError, match="name the one that prefills"):
        load_checked(SCENARIO, CATALOG, sets=[decode])
