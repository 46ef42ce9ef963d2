"""The registry: a technique is found where it is on, and switching it off changes nothing else."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from planner.catalog import load_catalog
from planner.scenario import LoadedScenario
from planner.scenario.check_pools import check_pool
from planner.scenario.schema import Scenario
from planner.search.switches import switches, with_only
from planner.search.techniques import TECHNIQUES, Technique, TechniqueError, used_by
from tests.small import SMALL, load

MIXTURE = ("pools.reasoning.model=qwen3-235b-a22b",)
WIDE = (
    *MIXTURE,
    "pools.reasoning.tensor_parallel=1",
    "pools.reasoning.data_parallel=8",
    "pools.reasoning.expert_parallel=8",
)
ON = {
    "weight quantization": ["pools.chat.weight_dtype=int8", "pools.reasoning.weight_dtype=fp8"],
    "KV quantization": ["pools.chat.kv_dtype=fp8"],
    "prefix caching": [
        "pools.chat.prefix_cache=true",
        "pools.chat.router=cache_aware",
        "pools.chat.affinity={share: 50%}",
    ],
    "KV tiers": [
        "pools.chat.prefix_cache=true",
        "pools.chat.kv_tiers=[{name: host, capacity: 1 TB, bandwidth: 50 GB/s}]",
        "pools.chat.engine.preemption=swap",
    ],
    "speculative decoding": ["pools.chat.speculation={method: n-gram, draft_tokens: 3}"],
    "expert parallelism": [*MIXTURE, "pools.reasoning.expert_parallel=8"],
    "expert load balancing": [*WIDE, "pools.reasoning.redundant_experts=8"],
    "sparse expert exchange": [*WIDE, "pools.reasoning.expert_exchange=auto"],
    "two-batch overlap": [
        *WIDE,
        "pools.reasoning.expert_exchange=auto",
        "pools.reasoning.two_batch_overlap=true",
    ],
    "disaggregation": [
        "pools.reasoning.node=hgx-h100",
        "pools.chat.decode={pool: reasoning, bandwidth: 50 GB/s}",
        "workload.classes.reasoning.pool=chat",
    ],
    "light-model routing": ["workload.classes.chat.light={pool: reasoning}"],
    "queue order": ["pools.reasoning.engine.scheduler=priority"],
    "admission control": ["pools.chat.admission={waiting_tokens: 100000}"],
    "batch traffic in troughs": [
        "workload.classes.reasoning.service=batch",
        "workload.classes.reasoning.objectives=[]",
    ],
    "guest rate limits": [
        "workload.classes.chat.visitors=1000",
        "workload.classes.chat.rate_limit={rate: 20 /h, burst: 5}",
    ],
    "overflow between pools": ["workload.classes.chat.overflow=[reasoning]"],
    "routing by load or session": ["pools.chat.router=session_affinity"],
}
"""What switches each technique on, in a scenario without any."""
PLAIN = ("pools.chat.weight_dtype=bf16", "pools.reasoning.weight_dtype=bf16")
EXPECTED = {
    "weight quantization": {
        "pools[0].weight_dtype": "bf16",
        "pools[1].weight_dtype": "bf16",
    },
    "KV quantization": {"pools[0].kv_dtype": "bf16"},
    "prefix caching": {
        "pools[0].prefix_cache": False,
        "pools[0].router": "power_of_two",
        "pools[0].affinity": None,
    },
    "KV tiers": {"pools[0].kv_tiers": [], "pools[0].engine.preemption": "recompute"},
    "speculative decoding": {"pools[0].speculation": None},
    "expert parallelism": {"pools[1].expert_parallel": 1},
    "expert load balancing": {"pools[1].redundant_experts": None},
    "sparse expert exchange": {"pools[1].expert_exchange": "gather"},
    "two-batch overlap": {"pools[1].two_batch_overlap": False},
    "disaggregation": {
        "pools[0].decode": None,
        "pools[0].nodes": 0,
        "pools[1].nodes": 3,
        "workload.classes[0].pool": "reasoning",
        "workload.classes[1].pool": "reasoning",
    },
    "light-model routing": {"workload.classes[0].light": None},
    "queue order": {"pools[1].engine.scheduler": "fcfs"},
    "admission control": {"pools[0].admission": None},
    "batch traffic in troughs": {"workload.classes[1].service": "interactive"},
    "guest rate limits": {"workload.classes[0].rate_limit": None},
    "overflow between pools": {"workload.classes[0].overflow": []},
    "routing by load or session": {"pools[0].router": "round_robin"},
}
"""Every value that differs without it."""
STANDS_ON = {
    "prefix caching": ("routing by load or session",),
    "KV tiers": ("prefix caching",),
    "expert load balancing": ("expert parallelism",),
    "sparse expert exchange": ("expert parallelism",),
    "two-batch overlap": ("expert parallelism", "sparse expert exchange"),
}
"""Techniques that one is not without, and goes with."""


@pytest.fixture
def plain(tmp_path: Path) -> LoadedScenario:
    return load(tmp_path, *PLAIN)


def differences(before: Any, after: Any, path: str = "") -> dict[str, Any]:
    """Return the values of `after` that differ from `before`, by path."""
    if isinstance(before, dict) and isinstance(after, dict):
        assert before.keys() == after.keys()
        found = {}
        for key in before:
            found |= differences(before[key], after[key], f"{path}.{key}".lstrip("."))
        return found
    if isinstance(before, list) and isinstance(after, list) and len(before) == len(after):
        found = {}
        for index, pair in enumerate(zip(before, after, strict=True)):
            found |= differences(*pair, f"{path}[{index}]")
        return found
    return {} if before == after else {path: after}


def test_every_technique_is_tried_here() -> None:
    assert {technique.name for technique in TECHNIQUES} == set(ON) == set(EXPECTED)


def test_a_plain_scenario_uses_none(plain: LoadedScenario) -> None:
    assert used_by(plain.scenario) == ()


@pytest.mark.parametrize("technique", TECHNIQUES, ids=lambda technique: technique.name)
def test_switching_off_changes_its_own_fields_only(technique: Technique, tmp_path: Path) -> None:
    scenario = load(tmp_path, *PLAIN, *ON[technique.name]).scenario
    before = scenario.model_dump()
    on = {each.name for each in used_by(scenario)}
    assert on == {technique.name, *STANDS_ON.get(technique.name, ())}
    without = technique.without(scenario)
    assert scenario.model_dump() == before, "the scenario itself is left alone"
    assert differences(before, without.model_dump()) == EXPECTED[technique.name]


@pytest.mark.parametrize("technique", TECHNIQUES, ids=lambda technique: technique.name)
def test_switching_off_twice_is_switching_off_once(technique: Technique, tmp_path: Path) -> None:
    scenario = load(tmp_path, *PLAIN, *ON[technique.name]).scenario
    without = technique.without(scenario)
    assert not technique.is_on(without)
    assert technique.without(without) == without


@pytest.mark.parametrize("technique", TECHNIQUES, ids=lambda technique: technique.name)
def test_what_is_left_is_a_valid_scenario(technique: Technique, tmp_path: Path) -> None:
    scenario = technique.without(load(tmp_path, *PLAIN, *ON[technique.name]).scenario)
    for pool in scenario.pools:
        assert type(pool).model_validate(pool.model_dump() | {"cold_start": "5 min"}) == pool
        assert not list(check_pool(pool, load_catalog()))


def test_what_rests_on_a_cache_goes_with_it(tmp_path: Path) -> None:
    """Tiers, swapping to them, and a router that looks for cached prompts."""
    sets = [*ON["prefix caching"], *ON["KV tiers"]]
    scenario = load(tmp_path, *PLAIN, *sets).scenario
    cache, tiers, routing = used_by(scenario)
    (chat, _) = cache.without(scenario).pools
    assert (chat.prefix_cache, chat.kv_tiers, chat.affinity) == (False, [], None)
    assert (chat.router, chat.engine.preemption) == ("power_of_two", "recompute")
    (chat, _) = routing.without(scenario).pools
    assert (chat.router, chat.affinity, chat.prefix_cache) == ("round_robin", None, True)
    (chat, _) = tiers.without(scenario).pools
    assert (chat.router, chat.prefix_cache, chat.kv_tiers) == ("cache_aware", True, [])


def test_the_cache_moves_to_the_pool_that_decodes(tmp_path: Path) -> None:
    on = [*ON["disaggregation"], *ON["prefix caching"]]
    scenario = load(tmp_path, *PLAIN, *on).scenario
    technique = next(each for each in TECHNIQUES if each.name == "disaggregation")
    chat, reasoning = technique.without(scenario).pools
    assert (chat.nodes, chat.decode) == (0, None)
    assert (reasoning.prefix_cache, reasoning.router) == (True, "cache_aware")


def without_disaggregation(folder: Path, *sets: str, text: str = SMALL) -> Scenario:
    technique = next(each for each in TECHNIQUES if each.name == "disaggregation")
    return technique.without(load(folder, *PLAIN, *ON["disaggregation"], *sets, text=text).scenario)


def test_what_is_said_of_arrivals_moves_with_them(tmp_path: Path) -> None:
    queue = "scheduler: ageing, priority_step: 5 s, queue_limit: 9, batch_below: 30%"
    engine = f"pools.chat.engine={{token_budget: 512, maximum_sequences: 64, {queue}}}"
    admission = ("pools.chat.admission={waiting_tokens: 9}", "pools.chat.overflow_waiting=2")
    before = load(tmp_path, *ON["disaggregation"]).scenario.pools[1]
    _, pool = without_disaggregation(tmp_path, engine, *admission).pools
    assert (pool.engine.scheduler, pool.engine.priority_step) == ("ageing", 5.0)
    assert (pool.engine.queue_limit, pool.engine.batch_below) == (9, 0.3)
    assert pool.admission is not None
    assert (pool.admission.waiting_tokens, pool.overflow_waiting) == (9, 2.0)
    # The batches are still its own.
    assert pool.engine.token_budget == before.engine.token_budget
    assert pool.engine.maximum_sequences == before.engine.maximum_sequences


SECOND = """\
  - {name: second, model: llama-3.1-70b, node: hgx-h100, nodes: 5, tensor_parallel: 8,
     decode: {pool: reasoning, bandwidth: 50 GB/s}}
prices:
"""


def test_two_pools_that_prefill_become_one(tmp_path: Path) -> None:
    text = SMALL.replace("prices:\n", SECOND)
    sets = [
        "workload.classes.chat.overflow=[second]",
        "workload.classes.reasoning.light={pool: second}",
        "pools.chat.prefix_cache=true",
        "pools.chat.kv_tiers=[{name: host, capacity: 1 TB, bandwidth: 50 GB/s}]",
    ]
    scenario = without_disaggregation(tmp_path, *sets, text=text)
    assert [pool.nodes for pool in scenario.pools] == [0, 8, 0]
    chat, reasoning = scenario.workload.classes
    assert (chat.pool, chat.overflow) == ("reasoning", [])
    assert (reasoning.pool, reasoning.light) == ("reasoning", None)
    # Most prompts were prefilled without a cache.
    assert (scenario.pools[1].prefix_cache, scenario.pools[1].kv_tiers) == (False, [])
    more = without_disaggregation(tmp_path, *sets, "pools.chat.nodes=6", text=text)
    assert more.pools[1].prefix_cache
    assert [tier.name for tier in more.pools[1].kv_tiers] == ["host"]


def test_what_stands_on_a_technique_goes_with_it(tmp_path: Path) -> None:
    on = (*ON["two-batch overlap"], "pools.reasoning.redundant_experts=8")
    scenario = load(tmp_path, *PLAIN, *on).scenario
    technique = next(each for each in TECHNIQUES if each.name == "expert parallelism")
    assert used_by(technique.without(scenario)) == ()


def test_a_default_router_is_no_choice(tmp_path: Path) -> None:
    assert not used_by(load(tmp_path, *PLAIN).scenario)
    chosen = load(tmp_path, *PLAIN, "pools.chat.router=power_of_two").scenario
    (found,) = used_by(chosen)
    assert found.without(chosen).pools[1].router == "power_of_two"


def test_pools_on_other_nodes_do_not_lend_theirs(tmp_path: Path) -> None:
    changes = ON["disaggregation"][1:]
    scenario = load(tmp_path, *PLAIN, *changes).scenario
    (found,) = used_by(scenario)
    assert [pool.nodes for pool in found.without(scenario).pools] == [0, 1]


def test_arithmetic_follows_the_weights(tmp_path: Path) -> None:
    scenario = load(tmp_path, "pools.chat.activation_dtype=fp8").scenario
    (technique,) = used_by(scenario)
    assert technique.without(scenario).pools[0].activation_dtype is None


# --- names ---------------------------------------------------------------------------------------


def test_names_are_read_generously(tmp_path: Path) -> None:
    scenario = load(tmp_path, "pools.chat.kv_dtype=fp8").scenario
    (found,) = used_by(scenario, ["kv-quantization"])
    assert found.name == "KV quantization"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("weight quantisation", "did you mean weight quantization?"),
        ("overflow-between-pools", "is off in this scenario"),
    ],
)
def test_a_technique_that_cannot_be_compared(name: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(TechniqueError, match=message):
        used_by(load(tmp_path).scenario, [name])


# --- pools that cannot do without ----------------------------------------------------------------

TIGHT = ("pools.chat.model=llama-3.1-405b",)
"""In 16 bits its weights alone are larger than eight H100."""


def names_off(scenario: Scenario, loaded: LoadedScenario) -> dict[str, dict[str, str]]:
    found = switches(scenario, used_by(scenario), load_catalog(), _basis(loaded))
    return {switch.technique.name: dict(switch.held) for switch in found}


def _basis(loaded: LoadedScenario) -> Any:
    from planner.lowering.pools import basis_of

    return basis_of(loaded)


def test_a_pool_that_needs_a_technique_keeps_it(tmp_path: Path) -> None:
    loaded = load(tmp_path, *TIGHT)
    (switch,) = switches(loaded.scenario, used_by(loaded.scenario), load_catalog(), _basis(loaded))
    assert switch.held.keys() == {"chat"}
    assert "llama-3.1-405b in bf16 does not fit on 8 x h100-sxm" in switch.held["chat"]
    off = with_only(loaded.scenario, [switch], on=())
    assert [pool.weight_dtype for pool in off.pools] == ["fp8", "bf16"]


def test_techniques_are_switched_off_on_top_of_one_another(tmp_path: Path) -> None:
    # Either alone fits: 16-bit weights with an 8-bit cache, and the reverse.
    loaded = load(
        tmp_path,
        "pools.chat.tensor_parallel=2",
        "pools.chat.node=hgx-h200",
        "pools.chat.kv_dtype=fp8",
        "pools.chat.engine={token_budget: 4096, maximum_sequences: 128, memory_fraction: 0.5}",
        "pools.chat.engine.context_tokens=30000",
    )
    held = names_off(loaded.scenario, loaded)
    assert held["weight quantization"] == {}
    assert "does not fit" in held["KV quantization"]["chat"]
    alone = TECHNIQUES[1].without(loaded.scenario)
    assert not list(check_pool(alone.pools[0], load_catalog()))
