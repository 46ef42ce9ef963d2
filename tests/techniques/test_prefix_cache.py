"""Prefix caches, their tiers, swapping and cache-aware routing, through the whole simulation.

Bands are those of the sources: a published share of reused tokens has to be met within a percentage
point, since it counts blocks of 512 tokens and the simulation blocks of 16.
"""

from __future__ import annotations

import functools
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

import planner
from planner.catalog import load_catalog
from planner.control import Fleet
from planner.engine import Engine
from planner.lowering import lower
from planner.results import Result
from planner.trace import open_trace
from tests.conftest import ROOT
from tests.small import load

SCENARIO = ROOT / "scenarios" / "techniques" / "prefix_cache.yaml"


@functools.cache
def result(scenario: str) -> Result:
    return planner.run(planner.load_scenario(SCENARIO, named=scenario))


def chat(scenario: str) -> pd.Series:
    return result(scenario).to_pandas("classes").iloc[0]


def server(scenario: str) -> pd.Series:
    return result(scenario).to_pandas("pools").iloc[0]


# --- known answers -------------------------------------------------------------------------------

REPLAY = """\
schema: planner/v1
name: reuse
workload:
  duration: 2 h
  drain: 1 h
  classes:
    - {{name: kimi, pool: one, trace: {{file: "{trace}"}}, output: {{fixed: 1}}}}
pools:
  - name: one
    model: llama-3.1-8b
    node: hgx-h100
    nodes: 1
    tensor_parallel: 8
    prefix_cache: true
    engine: {{kv_blocks: 1000}}
"""


@pytest.mark.compiled
@pytest.mark.parametrize(
    ("capacity_tokens", "published"),
    [(100_000_000, 0.366), (15_000_000, 0.326), (5_000_000, 0.211)],
    ids=["infinite", "15M", "5M"],
)
def test_reuse_in_the_conversation_trace_of_mooncake(
    shared_data: Path, tmp_path: Path, capacity_tokens: int, published: float
) -> None:
    """Share of blocks that an LRU cache of one replica holds; requests one after the other."""
    trace = shared_data / "traces" / "mooncake" / "conversation_trace.jsonl"
    loaded = load(tmp_path, text=REPLAY.format(trace=trace))
    plan = lower(loaded, load_catalog()).plan
    budget = 1 << 18
    instant = replace(
        plan.pools[0],
        fixed_s=1e-6,
        linear_s=np.zeros(budget + 1),
        compute_s=None,
        memory_s=None,
        prefill_s=0.0,
        decode_s=0.0,
        decode_seq_s=0.0,
        request_s=0.0,
        late_steps=0.0,
        token_budget=budget,
        maximum_sequences=1,
        context_tokens=budget,
        kv_blocks=capacity_tokens // plan.pools[0].kv_block_tokens,
    )
    engine = Engine(replace(plan, pools=(instant,)))
    Fleet(engine, {"one": 0.0})  # opens its nodes
    engine.run()
    windows = engine.world.class_windows
    assert windows["ended"][:, 0].sum() == 12_031
    share = windows["cached_tokens"].sum() / windows["input_tokens"].sum()
    assert share == pytest.approx(published, abs=0.01)


EVICTED = """\
schema: planner/v1
name: evicted
workload:
  duration: 2 h
  classes:
    - {{name: long, pool: one, trace: {{file: "{trace}"}}}}
pools:
  - name: one
    model: llama-3.1-8b
    node: hgx-h100
    nodes: 1
    tensor_parallel: 1
    prefix_cache: true
    engine: {{context_tokens: 131072, kv_blocks: {blocks}}}
    kv_tiers: [{{name: host, capacity: 1 TB, bandwidth: 55 GB/s, latency: 0.2 ms}}]
"""


def gain_by_fetching(folder: Path, tokens: int) -> float:
    """Return TTFT computed over TTFT fetched: two prompts drive each other out of the cache."""
    lines = ["arrival_s,input_tokens,output_tokens,hash_ids"]
    for number in range(40):
        first = 1000 * (number % 2)
        ids = " ".join(map(str, range(first, first + tokens // 512)))
        lines.append(f"{60 * number},{tokens},2,{ids}")
    trace = folder / f"{tokens}.csv"
    trace.write_text("\n".join(lines) + "\n", encoding="utf-8")
    text = EVICTED.format(trace=trace, blocks=tokens // 16 + 8)
    sets = ["pools.one.router=least_loaded"]  # idle replicas: always the first
    fetched = planner.run(load(folder, *sets, text=text))
    computed = planner.run(
        load(folder, *sets, "pools.one.prefix_cache=false", "pools.one.kv_tiers=[]", text=text)
    )
    pool = fetched.to_pandas("pools").iloc[0]
    assert pool["tier1_tokens"] > 0.7 * 38 * tokens
    times_s = [each.to_pandas("classes").iloc[0]["ttft_p50_s"] for each in (computed, fetched)]
    return float(times_s[0] / times_s[1])


def test_host_memory_answers_2_to_22_times_sooner(tmp_path: Path) -> None:
    """Llama 3.1 8B on H100, by length of the prompt: vLLM's blog of 2026-01-08.

    Which lengths are at the ends is not known here, so all have to be inside, with room for the
    spread between machines.
    """
    gains = [gain_by_fetching(tmp_path, tokens) for tokens in (1024, 4096, 16384, 65536)]
    assert gains == sorted(gains), "the longer, the more"
    assert gains[0] > 2.0 / 1.25
    assert gains[-1] < 22.0 * 1.25


# --- what is shared ------------------------------------------------------------------------------


def test_a_system_prompt_is_computed_once_per_replica() -> None:
    """4,000 of 4,300 tokens in the mean."""
    row = chat("system")
    assert row["prefix_hit_rate"] == pytest.approx(4000 / 4300, abs=0.01)
    assert chat("system-off")["prefix_hit_rate"] == 0.0
    assert row["ttft_p50_s"] < 0.4 * chat("system-off")["ttft_p50_s"]


def test_conversations_are_found_where_they_were_held() -> None:
    hits = {name: chat(name)["prefix_hit_rate"] for name in ("sticky", "aware", "balanced")}
    assert min(hits["sticky"], hits["aware"]) > hits["balanced"] + 0.05
    assert chat("cache")["ttft_p50_s"] < chat("off")["ttft_p50_s"]
    assert server("cache")["prefill_tokens"] < 0.7 * server("off")["prefill_tokens"]


def test_a_cache_finds_no_more_than_was_said() -> None:
    """All but the new tokens of a turn: 800 in the mean, and full blocks only."""
    for name in ("sticky", "aware", "host", "store"):
        row = chat(name)
        new = 800 * row["arrived"]
        assert row["cached_input_tokens"] < row["input_tokens"] - 0.97 * new


def test_tiers_keep_what_replicas_forget() -> None:
    plain, host, store = (chat(name)["prefix_hit_rate"] for name in ("cache", "host", "store"))
    assert plain + 0.05 < host < store + 0.01
    assert server("host")["tier1_tokens"] > 0
    assert server("store")["tier2_tokens"] > 0
    assert chat("host")["ttft_p50_s"] < chat("cache")["ttft_p50_s"]


def test_documents_by_the_block_ids_of_a_trace() -> None:
    """A cache without end finds 88% (`planner trace stats`); in turn, every replica learns all."""
    everything = 0.877
    aware = chat("documents-aware")["prefix_hit_rate"]
    in_turn = chat("documents-round-robin")["prefix_hit_rate"]
    assert 0.9 * everything < aware < everything
    assert in_turn < aware - 0.1
    assert chat("documents-off")["prefix_hit_rate"] == 0.0


def test_what_shares_nothing_gains_nothing(tmp_path: Path) -> None:
    """… and loses nothing: every time of every class is the same."""
    plain = planner.run(load(tmp_path)).to_pandas("classes")
    sets = [f"pools.{name}.prefix_cache=true" for name in ("chat", "reasoning")]
    cached = planner.run(load(tmp_path, *sets)).to_pandas("classes")
    pd.testing.assert_frame_equal(plain, cached)


# --- swapping ------------------------------------------------------------------------------------


def test_swapped_sequences_are_not_computed_again() -> None:
    swap, recompute = server("short-swap"), server("short-recompute")
    assert recompute["preemptions"] > 100
    assert recompute["swaps"] == 0
    assert swap["swaps"] > 0.9 * swap["preemptions"] > 0
    again = {
        name: server(name)["prefill_tokens"] - chat(name)["input_tokens"]
        for name in ("short-swap", "short-recompute")
    }
    assert again["short-recompute"] > 1000 * recompute["preemptions"]
    assert again["short-swap"] < 0.2 * again["short-recompute"]
    assert chat("short-swap")["measured_served"] == chat("short-recompute")["measured_served"]


# --- money and files -----------------------------------------------------------------------------


def test_cached_input_is_paid_at_its_price() -> None:
    finance = result("host").finance
    assert finance is not None
    row = finance.class_costs.set_index("class").loc["chat"]
    assert 0.3 < row["cached_input_tokens"] / row["input_tokens"] < 1.0
    uncached = row["input_tokens"] - row["cached_input_tokens"]
    tokens = 0.2 * uncached + 0.02 * row["cached_input_tokens"] + 0.6 * row["output_tokens"]
    assert row["revenue_usd"] == pytest.approx(tokens / 1e6)


def test_every_request_says_what_was_cached(tmp_path: Path) -> None:
    path = tmp_path / "requests.parquet"
    loaded = planner.load_scenario(SCENARIO, named="host", sets=["workload.duration=6 min"])
    found = planner.run(loaded, requests_to=path, invariants=True)
    rows = pq.read_table(path).to_pandas()
    served = rows[rows["fate"] == "served"]
    row = found.to_pandas("classes").iloc[0]
    assert served["cached_tokens"].sum() == row["cached_input_tokens"] > 0
    assert (served["cached_tokens"] < served["input_tokens"].clip(lower=1)).all()
    first = served[(served["turn"] == 0) & (served["cached_tokens"] > 2000)]
    assert not len(first), "of a first turn, the system prompt at most"


def test_the_documents_are_those_that_the_trace_names() -> None:
    (block,) = open_trace(ROOT / "traces" / "shared-prefixes-10min.csv")
    assert block.hash_ids is not None
    assert len(block.rows) == chat("documents-aware")["arrived"]
