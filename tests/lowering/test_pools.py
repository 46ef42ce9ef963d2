"""From a pool of the scenario to the numbers of the kernel."""

from __future__ import annotations

import numpy as np
import pytest

from planner.catalog import Catalog, load_catalog
from planner.errors import SimulationError
from planner.kernel.enums import Router, Scheduler
from planner.kernel.plan import UNLIMITED
from planner.lowering.pools import lower_pool, with_nodes
from planner.scenario import pool_memory
from planner.scenario.schema.pools import Pool


@pytest.fixture(scope="module")
def catalog() -> Catalog:
    return load_catalog()


def pool(**content: object) -> Pool:
    basis = {"name": "chat", "model": "llama-3.1-8b", "node": "hgx-h100", "nodes": 3}
    return Pool.model_validate({**basis, **content})


def test_the_limits_of_the_engine_are_those_of_the_plan(catalog: Catalog) -> None:
    engine = {
        "token_budget": 2048, "maximum_sequences": 64, "kv_block_tokens": 32, "kv_blocks": 5000,
        "context_tokens": 9000, "scheduler": "priority", "queue_limit": 7,
    }  # fmt: skip
    plan = lower_pool(pool(engine=engine, router="round_robin", overflow_waiting=2.5), catalog).plan
    assert (plan.token_budget, plan.maximum_sequences, len(plan.linear_s)) == (2048, 64, 2049)
    assert (plan.kv_block_tokens, plan.kv_blocks, plan.context_tokens) == (32, 5000, 9000)
    assert (plan.queue_limit, plan.overflow_waiting, plan.nodes) == (7, 2.5, 3)
    assert (plan.router, plan.scheduler) == (Router.ROUND_ROBIN, Scheduler.PRIORITY)


def test_what_is_not_stated_comes_from_model_and_memory(catalog: Catalog) -> None:
    stated = pool()
    lowered = lower_pool(stated, catalog)
    model = catalog.model("llama-3.1-8b")
    memory = pool_memory(stated, model, catalog.chip("h100-sxm"))
    assert lowered.plan.context_tokens == model.context_tokens
    assert lowered.plan.kv_blocks == memory.kv_blocks > 1000
    assert lowered.plan.queue_limit == UNLIMITED
    assert lowered.plan.router == Router.POWER_OF_TWO


def test_each_data_parallel_group_has_the_limits_of_an_engine(catalog: Catalog) -> None:
    wide = {
        "model": "deepseek-r1", "node": "hgx-h200", "weight_dtype": "fp8", "expert_parallel": 8,
        "engine": {"token_budget": 1000, "maximum_sequences": 100},
    }  # fmt: skip
    one = lower_pool(pool(**wide, tensor_parallel=8), catalog)
    eight = lower_pool(pool(**wide, data_parallel=8), catalog)
    assert (one.plan.token_budget, one.plan.maximum_sequences) == (1000, 100)
    assert (eight.plan.token_budget, eight.plan.maximum_sequences) == (8000, 800)
    assert len(eight.plan.linear_s) == 8001
    assert eight.meta.maximum_sequences == 800
    assert eight.meta.devices_per_replica == one.meta.devices_per_replica == 8
    # The latent cache is copied to all tensor-parallel devices, but each group keeps its own.
    assert eight.plan.kv_blocks > 4 * one.plan.kv_blocks


@pytest.mark.parametrize(
    ("content", "per_node", "spanned", "replicas"),
    [
        ({}, 8, 1, 24),
        ({"tensor_parallel": 4}, 2, 1, 6),
        ({"tensor_parallel": 2, "pipeline_parallel": 2, "nodes": 1}, 2, 1, 2),
        ({"tensor_parallel": 2, "pipeline_parallel": 3}, 1, 1, 3),
        ({"tensor_parallel": 8, "pipeline_parallel": 2, "nodes": 5}, 1, 2, 2),
        ({"tensor_parallel": 8, "pipeline_parallel": 2, "nodes": 0}, 1, 2, 0),
    ],
)
def test_replicas_lie_on_nodes(
    catalog: Catalog, content: dict[str, object], per_node: int, spanned: int, replicas: int
) -> None:
    plan = lower_pool(pool(**content), catalog).plan
    assert (plan.replicas_per_node, plan.nodes_per_replica) == (per_node, spanned)
    assert plan.replicas_of(plan.nodes) == replicas


def test_the_shares_at_peak_rate_are_part_of_the_step_time(catalog: Catalog) -> None:
    """Arithmetic and traffic at peak rate cannot take longer than the steps themselves."""
    plan = lower_pool(pool(), catalog).plan
    assert plan.compute_s is not None
    assert plan.memory_s is not None
    steps_s = plan.fixed_s + plan.linear_s
    assert (np.diff(plan.linear_s) >= -1e-12).all()
    assert (plan.compute_s <= steps_s).all()
    assert (plan.memory_s <= steps_s).all()
    assert 0 < plan.decode_memory_s <= plan.decode_s
    assert 0 < plan.prefill_compute_s <= plan.prefill_s


def test_other_nodes_change_nothing_else(catalog: Catalog) -> None:
    lowered = lower_pool(pool(), catalog)
    changed = with_nodes(lowered, 9)
    assert changed.plan.nodes == 9
    assert lowered.plan.nodes == 3
    assert changed.plan.linear_s is lowered.plan.linear_s


def test_the_report_is_told_what_the_pool_is(catalog: Catalog) -> None:
    lowered = lower_pool(
        pool(tensor_parallel=4, pipeline_parallel=2, model="llama-3.1-70b"), catalog
    )
    assert lowered.meta.parallelism == "TP 4 · PP 2"
    assert lower_pool(pool(), catalog).meta.parallelism == "TP 1"
    assert (lowered.meta.chip, lowered.meta.devices_per_node) == ("h100-sxm", 8)
    assert lowered.meta.tier == lowered.curve.tier
    assert lowered.meta.tier in ("measured", "fitted")
    assert lower_pool(pool(node="mi300x-8"), catalog).meta.tier == "estimated"
    assert all(note.source and note.tier for note in lowered.notes)


def test_a_model_that_does_not_fit_says_what_is_missing(catalog: Catalog) -> None:
    """The checks find it before; a library user who skips them is told as well."""
    with pytest.raises(SimulationError, match=r"pool chat: .*(GB|GiB)"):
        lower_pool(pool(model="llama-3.1-405b"), catalog)
