"""What a scenario may say of caches, tiers and affinity, and what contradicts itself."""

from __future__ import annotations

from pathlib import Path

import pytest

from planner.catalog import Catalog
from planner.errors import ScenarioError
from planner.scenario import load_checked, notices
from planner.scenario.schema.pools import Pool
from planner.scenario.schema.workload import RequestClass
from tests.scenario.samples import VALID

HOST = "{name: host, capacity: 1 TB, bandwidth: 50 GB/s}"
STORE = "{name: store, capacity: 10 TB, scope: pool, bandwidth: 10 GB/s, latency: 5 ms}"


def check(folder: Path, catalog: Catalog, *sets: str) -> list[str]:
    """Return the notices of the valid scenario with these settings."""
    path = folder / "q.yaml"
    path.write_text(VALID, encoding="utf-8")
    return notices(load_checked(path, catalog, sets=sets).scenario, catalog)


def test_everything_is_off_by_default() -> None:
    pool = Pool(name="p", model="m", node="n", nodes=1)
    assert (pool.prefix_cache, pool.kv_tiers, pool.affinity) == (False, [], None)
    assert pool.engine.preemption == "recompute"


def test_tiers_in_their_units() -> None:
    content = {"name": "p", "model": "m", "node": "n", "nodes": 1, "prefix_cache": True,
               "kv_tiers": [{"name": "ssd", "capacity": "4 TB", "bandwidth": "56 Gbit/s",
                             "latency": "80 us"}]}  # fmt: skip
    (tier,) = Pool.model_validate(content).kv_tiers
    assert (tier.capacity, tier.bandwidth, tier.scope) == (4e12, 7e9, "node")
    assert tier.latency == pytest.approx(80e-6)


@pytest.mark.parametrize(
    ("sets", "message"),
    [
        ([f"pools.small.kv_tiers=[{HOST}]"],
         "pools[0].kv_tiers: tiers keep what a prefix cache would forget, and there is none; set "
         "prefix_cache: true"),
        (["pools.small.prefix_cache=true", "pools.small.kv_tiers=[{name: a, capacity: 1 TB}]"],
         "pools[0].kv_tiers[0].bandwidth: required field is missing: to one replica"),
        (["pools.small.prefix_cache=true",
          f"pools.small.kv_tiers=[{', '.join([HOST] * 4)}]"],
         "has 4 items; at most 3 are allowed"),
        (["pools.small.prefix_cache=true", f"pools.small.kv_tiers=[{HOST}, {HOST}]"],
         "pools[0].kv_tiers[1].name: 'host' is a tier already; rename one"),
        (["pools.small.prefix_cache=true", "pools.small.kv_tiers=[{name: a, capacity: 0 B, "
          "bandwidth: 1 GB/s}]"],
         "pools[0].kv_tiers[0].capacity: must be greater than 0"),
        (["pools.small.prefix_cache=true", "pools.small.kv_tiers=[{name: a, capacity: 4 MB, "
          "bandwidth: 1 GB/s}]"],
         "pools[0].kv_tiers[0].capacity: a replica's share of it does not hold one KV block of 16 "
         "tokens, which takes 2.1 MB; give more"),
        (["pools.small.prefix_cache=true", "pools.small.kv_tiers=[{name: a, capacity: 1 MB, "
          "scope: pool, bandwidth: 1 GB/s}]"],
         "pools[0].kv_tiers[0].capacity: the pool's share of it does not hold"),
        (["pools.small.engine.preemption=swap"],
         "pools[0].engine.preemption: swap needs a tier to go to; add one to kv_tiers"),
        (["pools.small.engine.preemption=swap", "pools.small.prefix_cache=true",
          f"pools.small.kv_tiers=[{STORE}, {HOST}]"],
         "pools[0].engine.preemption: sequences are swapped to the first tier, and 'store' is "
         "shared by all replicas; put a tier with scope: node before it"),
        (["pools.small.router=cache_aware"],
         "pools[0].router: cache_aware looks for cached prompts, and nothing is cached; set "
         "prefix_cache: true"),
        (["pools.small.prefix_cache=true", "pools.small.affinity={share: 50%}"],
         "pools[0].affinity: is for the router cache_aware, not power_of_two; delete it, or"),
        (["pools.small.prefix_cache=true", "pools.small.router=cache_aware",
          "pools.small.affinity={share: 150%}"],
         "pools[0].affinity.share: must be between 0 and 1"),
        (["workload.classes.reasoning.system_prompt=901"],
         "workload.classes[1].system_prompt: is part of input, which has at most 900 tokens; found "
         "901: raise input by it, or shorten it"),
        (["workload.classes.chat.system_prompt=4143"],
         "workload.classes[0].system_prompt: is part of input, which has at most 4,142 tokens"),
        (["workload.classes.reasoning.reasoning_kept=true"],
         "reasoning_kept is for the next turn; add sessions or an agent, or delete it"),
        (["workload.classes.chat.system_prompt=131072", "workload.classes.chat.sessions={turns: "
          "{fixed: 2}, think_median: 5 s}"],
         "no request can be served: each has at least 131,083 tokens"),
    ],
)  # fmt: skip
def test_contradictions_are_named(
    tmp_path: Path, catalog: Catalog, sets: list[str], message: str
) -> None:
    with pytest.raises(ScenarioError) as caught:
        check(tmp_path, catalog, *sets)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    "sets",
    [
        ["pools.small.prefix_cache=true", f"pools.small.kv_tiers=[{HOST}, {STORE}]",
         "pools.small.engine.preemption=swap", "pools.small.router=cache_aware",
         "pools.small.affinity={share: 50%, slack: 8, ratio: 1.1}",
         "workload.classes.chat.system_prompt=300"],
        ["workload.classes.reasoning.input={fixed: 900, maximum: 1000}",
         "pools.big.prefix_cache=true", "workload.classes.reasoning.system_prompt=900"],
        ["workload.classes.chat.input={lognormal_mixture: [{weight: 1, median: 9, sigma: 1}]}",
         "pools.small.prefix_cache=true", "workload.classes.chat.system_prompt=5000"],
        ["workload.classes.chat.sessions={turns: {fixed: 2}, think_median: 5 s}",
         "pools.small.prefix_cache=true", "workload.classes.chat.system_prompt=5000",
         "workload.classes.chat.reasoning_kept=true"],
    ],
)  # fmt: skip
def test_what_fits_together(tmp_path: Path, catalog: Catalog, sets: list[str]) -> None:
    assert check(tmp_path, catalog, *sets) == []


@pytest.mark.parametrize(
    ("sets", "notice"),
    [
        (["pools.small.prefix_cache=true"],
         "pool small: prefix_cache is on, but its classes share nothing: they have no "
         "system_prompt, no sessions, no agents and no trace"),
        (["workload.classes.chat.system_prompt=300"],
         "class chat: its pools have no prefix_cache, so every request computes the system_prompt "
         "again"),
        (["pools.small.prefix_cache=true", "workload.classes.chat.system_prompt=15"],
         "class chat: a system_prompt of 15 tokens does not fill one KV block, so it is never "
         "shared"),
        (["pools.small.prefix_cache=true", "workload.classes.chat.system_prompt=300",
          "pools.small.kv_tiers=[{name: a, capacity: 100 GB, bandwidth: 1 GB/s}]"],
         "pool small: tier a holds 5,960 KV blocks of a replica, which holds 2"),
        (["pools.small.prefix_cache=true", "workload.classes.chat.system_prompt=300",
          "pools.small.kv_tiers=[{name: disks, capacity: 4 TB, bandwidth: 10 GB/s}]"],
         "pool small: tier disks takes 4,000 GB of each node, more than the host memory of "
         "hgx-h100 (2 TB): that is room on disks only"),
        (["pools.small.prefix_cache=true", "workload.classes.chat.system_prompt=300",
          "pools.small.node=hgx-b200",
          "pools.small.kv_tiers=[{name: host, capacity: 2 TB, bandwidth: 50 GB/s}]"],
         "pool small: how much memory the host of hgx-b200 has is not in the catalogue: see "
         "whether it holds 2,000 GB for the tier host"),
    ],
)  # fmt: skip
def test_what_is_worth_a_look(
    tmp_path: Path, catalog: Catalog, sets: list[str], notice: str
) -> None:
    (found,) = check(tmp_path, catalog, *sets)
    assert found.startswith(notice)


def test_traces_may_share_without_saying_so() -> None:
    """They may name blocks or sessions; so may later turns keep their reasoning."""
    traced = {"name": "c", "pool": "p", "trace": {"file": "t.csv"}, "reasoning_kept": True}
    assert RequestClass.model_validate(traced).reasoning_kept
