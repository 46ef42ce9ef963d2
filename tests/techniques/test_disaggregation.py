"""Prefill and decode in two pools: what it gives, what it costs, and when it is a loss."""

from __future__ import annotations

import functools
from pathlib import Path

import pandas as pd
import pytest

import planner
from planner.catalog import load_catalog
from planner.errors import ScenarioError
from planner.lowering.handover import kv_bytes_per_token
from planner.results.result import Result
from planner.scenario import load_checked
from planner.search import size

SCENARIO = Path(__file__).resolve().parents[2] / "scenarios" / "techniques" / "disaggregation.yaml"
CATALOG = load_catalog()


@functools.cache
def result(scenario: str, *sets: str) -> Result:
    return planner.run(SCENARIO, named=scenario, sets=sets)


def summaries(scenario: str, *sets: str) -> pd.Series:
    return result(scenario, *sets).to_pandas("classes").iloc[0]


def pool(scenario: str, name: str, *sets: str) -> pd.Series:
    return result(scenario, *sets).to_pandas("pools").set_index("pool").loc[name]


def test_interference_vanishes() -> None:
    """DistServe, figure 2: a prefill in the batch makes the decode step several times as long."""
    apart, together = summaries("disaggregated"), summaries("colocated")
    assert apart["tpot_p99_s"] < 0.6 * together["tpot_p99_s"]
    assert apart["itl_p99_s"] < 0.1 * together["itl_p99_s"]
    assert apart["itl_p99_s"] < 1.2 * apart["itl_p50_s"]


def test_goodput_rises_at_equal_cost() -> None:
    more = "workload.classes.summaries.open.rate=16 /s"
    assert summaries("disaggregated", more)["slo_attainment_rate"] > 0.9
    assert summaries("colocated", more)["slo_attainment_rate"] < 0.5


def test_the_wrong_ratio_is_a_loss() -> None:
    assert summaries("lopsided")["slo_attainment_rate"] < 0.1
    assert summaries("colocated")["slo_attainment_rate"] > 0.9
    assert not pool("lopsided", "prefill")["stable"]


def test_a_slow_link_is_seen_in_the_first_token_only() -> None:
    fast, slow = summaries("disaggregated"), summaries("slow-link")
    # 4,000 tokens of 320 KiB at 4 GB/s: a third of a second, and a queue before it.
    assert slow["ttft_p50_s"] - fast["ttft_p50_s"] > 0.33
    assert slow["tpot_p99_s"] == pytest.approx(fast["tpot_p99_s"], rel=0.05)
    assert (
        pool("slow-link", "prefill")["link_rate"]
        > 10 * pool("disaggregated", "prefill")["link_rate"]
    )


def test_a_full_decode_pool_backs_up_into_prefill() -> None:
    assert pool("decode-full", "decode")["kv_usage_rate"] > 0.9
    full = pool("decode-full", "prefill")["kv_parked_rate"]
    assert full > 10 * pool("disaggregated", "prefill")["kv_parked_rate"]


def test_the_kv_of_a_token_is_that_of_the_whole_model() -> None:
    """Llama 3.1 70B: 2 · 80 layers · 8 heads · 128 numbers of two bytes."""
    loaded = load_checked(SCENARIO, CATALOG)
    assert kv_bytes_per_token(loaded.scenario.pools[0], CATALOG) == 2 * 80 * 8 * 128 * 2


def test_size_finds_the_ratio() -> None:
    short = ["workload.duration=2 min", "workload.warmup=30 s"]
    sizing = size(SCENARIO, sets=short)
    (ratio,) = sizing.ratios
    assert (ratio.prefill, ratio.decode) == ("prefill", "decode")
    assert ratio.best.nodes == sizing.nodes
    assert ratio.best in ratio.frontier
    assert ratio.best.passed
    cheapest = min(trial.cost_per_hour_usd or 0.0 for trial in ratio.tried if trial.passed)
    assert ratio.best.cost_per_hour_usd == cheapest
    moved = {"prefill": sizing.nodes["prefill"] - 1, "decode": sizing.nodes["decode"] + 1}
    assert moved in [trial.nodes for trial in ratio.tried]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("pools.prefill.decode.pool=decoder", "did you mean decode"),
        ("pools.prefill.decode.pool=nowhere", "no pool 'nowhere' to decode; choose one of"),
        ("pools.prefill.decode.pool=prefill", "cannot decode for itself"),
        (
            "pools.decode.decode={pool: prefill, bandwidth: 1 GB/s}",
            "does not decode: it hands over",
        ),
        ("pools.decode.nodes=0", "never has a node"),
        ("pools.decode.model=llama-3.1-8b", "the cache that is sent must suit both"),
        ("pools.decode.kv_dtype=fp8", "the cache that is sent must suit both"),
        ("workload.classes.summaries.pool=decode", "send the class to prefill"),
        ("workload.classes.summaries.overflow=[decode]", "send the class to prefill"),
        ("pools.decode.engine.queue_limit=5", "limit the queue of prefill"),
        (
            "pools.prefill.speculation={method: n-gram, draft_tokens: 2}",
            "give speculation to pool decode",
        ),
        ("pools.prefill.decode.pool=null", r"decode\.pool: required field is missing"),
    ],
)
def test_contradictions_are_named(change: str, message: str) -> None:
    with pytest.raises(ScenarioError, match=message):
        load_checked(SCENARIO, CATALOG, sets=[change])
