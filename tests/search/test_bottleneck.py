"""The named bottleneck: four pools built to run out of one thing each."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

import planner
from planner.catalog import load_catalog
from planner.lowering.pools import basis_of, lower_pool
from planner.search import size
from planner.search.bottleneck import LIFTS, SPEED_UP, binding
from tests.small import load

pytestmark = pytest.mark.compiled  # whole runs, far too long in pure Python

ONE_POOL = """\
schema: planner/v1
name: one-pool
workload:
  duration: 90 s
  window: 10 s
  classes:
    - name: requests
      pool: pool
      open: {rate: 10 /s}
      input: {fixed: 100}
      output: {fixed: 100}
      objectives:
        - {metric: ttft, percentile: 95, limit: 500 ms}
pools:
  - name: pool
    model: llama-3.1-70b
    node: hgx-h100
    nodes: 1
    tensor_parallel: 8
    weight_dtype: fp8
"""

LONG_PROMPTS = (
    "workload.classes.requests.input={fixed: 6000}",
    "workload.classes.requests.output={fixed: 2}",
    "workload.classes.requests.open.rate=8 /s",
)
LONG_ANSWERS = (
    "pools.pool.model=llama-3.1-8b",
    "pools.pool.tensor_parallel=1",  # no time goes to links
    "workload.classes.requests.input={fixed: 16}",
    "workload.classes.requests.output={fixed: 4000}",
    "workload.classes.requests.open.rate=7 /s",
)
"""Batches of a few dozen sequences with long contexts: weights and cache are read, little else."""
LITTLE_MEMORY = ("pools.pool.engine.kv_blocks=60", "workload.classes.requests.open.rate=20 /s")
FEW_SEQUENCES = (
    "pools.pool.engine.maximum_sequences=1",
    "workload.classes.requests.open.rate=4 /s",
)


def promised(metric: str, limit: str) -> str:
    return f"workload.classes.requests.objectives=[{{metric: {metric}, percentile: 95, {limit}}}]"


def between(folder: Path, sets: tuple[str, ...], metric: str, nodes: int) -> str:
    """Return a promise that so many nodes keep and one less breaks, however fast they are."""
    achieved_s = []
    for count in (nodes - 1, nodes):
        changed = (promised(metric, "limit: 1 h"), f"pools.pool.nodes={count}")
        result = planner.run(load(folder, *sets, *changed, text=ONE_POOL))
        achieved_s.append(float(result.to_pandas("objectives")["value"].iloc[0]))
    assert achieved_s[0] > 1.2 * achieved_s[1], "a node more has to matter"
    return promised(metric, f"limit: {1e3 * math.sqrt(math.prod(achieved_s)):.3g} ms")


@pytest.mark.parametrize(
    ("sets", "metric", "nodes", "bottleneck"),
    [
        (LONG_PROMPTS, "ttft", 3, "compute"),
        (LONG_ANSWERS, "tpot", 2, "memory_bandwidth"),
        (LITTLE_MEMORY, "ttft", 4, "kv_capacity"),
        (FEW_SEQUENCES, "ttft", 4, "queueing"),
    ],
    ids=["long-prompts", "long-answers", "little-memory", "few-sequences"],
)
def test_pool_runs_out_of_what_it_was_built_to(
    tmp_path: Path, sets: tuple[str, ...], metric: str, nodes: int, bottleneck: str
) -> None:
    promise = between(tmp_path, sets, metric, nodes)
    found = size(load(tmp_path, *sets, promise, text=ONE_POOL))
    assert found.nodes["pool"] == nodes
    assert found.bottlenecks == {"pool": bottleneck}
    lifted = [trial for trial in found.trials if trial.lifted]
    assert lifted[0].lifted == "pool without KV limit"
    assert {trial.nodes["pool"] for trial in lifted} == {found.nodes["pool"] - 1}


@pytest.mark.parametrize("resource", LIFTS)
def test_lifting_changes_one_thing(tmp_path: Path, resource: str) -> None:
    catalog = load_catalog()
    pool = load(tmp_path, text=ONE_POOL).scenario.pools[0]
    before = lower_pool(pool, catalog)
    after = LIFTS[resource][1](pool, before, catalog)
    assert (after.plan.kv_blocks > 1000 * before.plan.kv_blocks) is (resource == "kv_capacity")
    more_slots = after.plan.maximum_sequences > before.plan.maximum_sequences
    assert more_slots is (resource == "queueing")
    assert before.plan.compute_s is not None
    assert after.plan.compute_s is not None
    if resource != "queueing":  # a larger batch also samples more
        arithmetic = SPEED_UP if resource == "compute" else 1.0
        assert before.plan.compute_s[4096] == pytest.approx(arithmetic * after.plan.compute_s[4096])
    traffic = SPEED_UP if resource == "memory_bandwidth" else 1.0
    decode = before.plan.decode_memory_s
    assert decode == pytest.approx(traffic * after.plan.decode_memory_s)


def test_shares_of_the_cache_are_lifted_with_it(tmp_path: Path) -> None:
    sets = (
        "pools.pool.admission={kv_usage: 80%}",
        "workload.classes.requests.sheddable=true",
    )
    job = (
        "{name: jobs, pool: pool, service: batch, open: {rate: 1 /s}, input: {fixed: 9}, "
        "output: {fixed: 9}}"
    )
    text = ONE_POOL.replace("pools:\n", f"    - {job}\npools:\n")
    loaded = load(tmp_path, *sets, text=text)
    catalog, pool = load_catalog(), loaded.scenario.pools[0]
    before = lower_pool(pool, catalog, basis_of(loaded))
    after = LIFTS["kv_capacity"][1](pool, before, catalog)
    assert before.plan.shed_blocks < before.plan.kv_blocks
    assert after.plan.shed_blocks > 1000 * before.plan.kv_blocks
    assert after.plan.batch_blocks > 1000 * before.plan.kv_blocks


def test_a_faster_link_is_one_of_the_lifts(tmp_path: Path) -> None:
    text = ONE_POOL + ONE_POOL[ONE_POOL.index("  - name: pool") :].replace("name: pool", "name: to")
    sets = ("pools.pool.decode={pool: to, bandwidth: 10 GB/s}",)
    pool = load(tmp_path, *sets, text=text).scenario.pools[0]
    catalog = load_catalog()
    before = lower_pool(pool, catalog)
    after = LIFTS["kv_link"][1](pool, before, catalog)
    assert before.plan.link_token_s > 0
    assert after.plan.link_token_s == before.plan.link_token_s / SPEED_UP


@pytest.mark.parametrize("resource", ["compute", "memory_bandwidth"])
def test_no_step_takes_longer_on_a_faster_chip(tmp_path: Path, resource: str) -> None:
    catalog = load_catalog()
    pool = load(tmp_path, text=ONE_POOL).scenario.pools[0]
    before = lower_pool(pool, catalog)
    after = LIFTS[resource][1](pool, before, catalog)
    assert (after.plan.linear_s <= before.plan.linear_s).all()


def test_binding_prefers_a_limit_that_alone_explains_it() -> None:
    strains = {"kv_capacity": 0.9, "queueing": 2.0, "compute": 0.5, "memory_bandwidth": 0.4}
    passed = {name: strain <= 1 for name, strain in strains.items()}
    assert binding(passed, strains, "none") == "kv_capacity"


def test_binding_takes_what_helps_most() -> None:
    strains = {"kv_capacity": 3.0, "queueing": 3.0, "compute": 1.5, "memory_bandwidth": 2.0}
    assert binding(dict.fromkeys(strains, False), strains, "none") == "compute"


def test_binding_falls_back_where_nothing_helps() -> None:
    strains = {"kv_capacity": 3.0, "queueing": 3.001, "compute": 3.0, "memory_bandwidth": 3.0}
    assert binding(dict.fromkeys(strains, False), strains, "memory_bandwidth") == "memory_bandwidth"
