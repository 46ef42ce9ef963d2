"""Tiers of the KV cache: what they hold, how fast they are, and from where on they pay."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from planner.catalog import load_catalog
from planner.kernel.enums import Router
from planner.kernel.plan import PoolPlan, TierPlan
from planner.lowering.pools import lower_pool, with_nodes
from planner.lowering.tiers import break_even_tokens, tier_notes
from planner.scenario import draft_of
from planner.scenario.replicas import tier_layout
from planner.scenario.schema.pools import Pool

CATALOG = load_catalog()
HOST = {"name": "host", "capacity": "1 TB", "bandwidth": "50 GB/s", "latency": "1 ms"}
STORE = {"name": "store", "capacity": "10 TB", "bandwidth": "10 GB/s", "scope": "pool"}
TOKEN_8B = 2 * 32 * 8 * 128 * 2
"""Bytes of a token of Llama 3.1 8B: keys and values, layers, heads, their size, 16 bits."""
TOKEN_R1 = 61 * (512 + 64) * 2
"""Of DeepSeek-R1: a latent vector per layer."""


def pool(**content: object) -> Pool:
    basis = {"name": "p", "model": "llama-3.1-8b", "node": "hgx-h100", "nodes": 2,
             "prefix_cache": True, "kv_tiers": [HOST, STORE]}  # fmt: skip
    return Pool.model_validate(basis | content)


def tiers(**content: object) -> tuple[TierPlan, ...]:
    return lower_pool(pool(**content), CATALOG).plan.tiers


def test_replicas_of_a_node_divide_its_memory_and_share_the_store() -> None:
    host, store = tiers()
    block = 16 * TOKEN_8B
    assert (host.name, host.shared, store.name, store.shared) == ("host", False, "store", True)
    assert host.blocks == int(1e12 / 8 / block)
    assert store.blocks == int(10e12 / block)
    assert host.block_s == pytest.approx(block / 50e9)
    assert store.block_s == pytest.approx(block / 10e9)
    assert (host.latency_s, store.latency_s) == (1e-3, 0.0)


def test_a_replica_over_several_nodes_has_the_memory_of_all() -> None:
    (host,) = tiers(tensor_parallel=8, pipeline_parallel=2, kv_tiers=[HOST])
    assert host.blocks == int(2e12 / (16 * TOKEN_8B))
    (host,) = tiers(tensor_parallel=2, kv_tiers=[HOST])
    assert host.blocks == int(1e12 / 4 / (16 * TOKEN_8B))


def test_heads_that_devices_repeat_are_kept_by_each_and_once_in_a_store() -> None:
    """Llama has 8 KV heads: 16 devices hold each twice."""
    host, store = tiers(tensor_parallel=16)
    assert host.block_s == pytest.approx(2 * 16 * TOKEN_8B / 50e9)
    assert store.block_s == pytest.approx(16 * TOKEN_8B / 10e9)


def test_latent_vectors_are_kept_by_every_device_and_once_in_a_store() -> None:
    wide = {"model": "deepseek-r1", "node": "hgx-h200", "weight_dtype": "fp8"}
    host, store = tiers(**wide, tensor_parallel=8)
    assert host.block_s == pytest.approx(8 * 16 * TOKEN_R1 / 50e9)
    assert store.block_s == pytest.approx(16 * TOKEN_R1 / 10e9)
    host, _ = tiers(**wide, data_parallel=8, expert_parallel=8)
    assert host.block_s == pytest.approx(16 * TOKEN_R1 / 50e9), "held by one group"


def test_narrow_caches_and_larger_blocks() -> None:
    (host,) = tiers(kv_dtype="fp8", engine={"kv_block_tokens": 64}, kv_tiers=[HOST])
    assert host.block_s == pytest.approx(64 * TOKEN_8B / 2 / 50e9)


def test_what_drafts_has_a_cache_beside_the_models() -> None:
    drafting = pool(speculation={"method": "eagle3", "draft_tokens": 3})
    model = CATALOG.model("llama-3.1-8b")
    draft = draft_of(drafting, model, CATALOG)
    head = TOKEN_8B / 32  # one layer
    for tier in drafting.kv_tiers:
        layout = tier_layout(drafting, tier, model, 8, draft)
        assert layout.block_bytes == pytest.approx(16 * (TOKEN_8B + head))


def test_everything_else_of_the_cache_is_passed_on() -> None:
    plain = lower_pool(pool(prefix_cache=False, kv_tiers=[]), CATALOG)
    assert (plain.plan.prefix_cache, plain.plan.tiers, plain.plan.swap) == (False, (), False)
    assert (plain.meta.prefix_cache, plain.meta.kv_tiers) == (False, ())
    affinity = {"share": "50%", "slack": 8, "ratio": 2.0}
    lowered = lower_pool(
        pool(engine={"preemption": "swap"}, router="cache_aware", affinity=affinity), CATALOG
    )
    plan = lowered.plan
    assert (plan.prefix_cache, plan.swap, plan.router) == (True, True, Router.CACHE_AWARE)
    assert (plan.affinity_share, plan.affinity_slack, plan.affinity_ratio) == (0.5, 8, 2.0)
    assert lowered.meta.kv_tiers == ("host", "store")
    assert with_nodes(lowered, 9).plan.tiers == plan.tiers
    notes = {note.name: note for note in lowered.notes}
    assert notes["p.kv_tiers.host.tokens"].value == plan.tiers[0].blocks * 16
    assert notes["p.kv_tiers.store.bandwidth"].value == 10e9


# --- from where on they pay ----------------------------------------------------------------------


def plan(computed_s: float, prefill_s: float, **fields: object) -> PoolPlan:
    """Return a pool whose full step of 8 tokens takes `computed_s` each."""
    linear_s = computed_s * np.arange(9.0)
    return PoolPlan("p", 0.0, linear_s, 0.0, 0.0, prefill_s, 8, 8, 100, **fields)  # type: ignore[arg-type]


@pytest.mark.parametrize("latency_s", [0.0, 0.3])
@pytest.mark.parametrize("fetched_s", [0.01, 0.02, 0.05])
@pytest.mark.parametrize("prefill_s", [0.0, 1e-4])
def test_at_the_break_even_both_take_equally_long(
    prefill_s: float, fetched_s: float, latency_s: float
) -> None:
    tier = TierPlan("t", 10, 16 * fetched_s, latency_s)
    tokens = break_even_tokens(plan(0.02, prefill_s), tier)
    if prefill_s == 0.0 and fetched_s >= 0.02:
        assert tokens == math.inf
        return
    computed_s = 0.02 * tokens + prefill_s * tokens**2 / 2
    assert computed_s == pytest.approx(latency_s + fetched_s * tokens)
    more = 1.01 * tokens + 1.0
    assert 0.02 * more + prefill_s * more**2 / 2 > latency_s + fetched_s * more


def test_tiers_that_are_slower_than_computing_are_pointed_out() -> None:
    fast, slow = TierPlan("fast", 10, 16 * 0.01), TierPlan("slow", 10, 16 * 0.05)
    pool = plan(0.02, 1e-6, tiers=(fast, slow))
    (sentence,) = tier_notes(pool)
    assert sentence.startswith("The KV tier slow of p is slow: only prompts of more than 60,000")
    (sentence,) = tier_notes(replace(pool, context_tokens=50_000))
    assert sentence.startswith("Nothing is ever fetched from the KV tier slow of p")
