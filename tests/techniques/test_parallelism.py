"""Parallelism against published figures: none of them was used to set anything."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import planner
from planner.catalog import load_catalog
from planner.curves import Dtypes, Parallelism, StepTime, step_time
from planner.curves.collectives import Fabric
from planner.curves.efficiency import DEFAULT
from planner.curves.layout import ExpertPlan
from planner.curves.operators import ExpertExchange, inventory
from planner.errors import ScenarioError
from planner.lowering.pools import lower_pool
from planner.scenario import load_checked, load_scenario, notices

SCENARIO = Path(__file__).resolve().parents[2] / "scenarios" / "techniques" / "parallelism.yaml"
CATALOG = load_catalog()
R1 = CATALOG.model("deepseek-r1")


@functools.cache
def served(scenario: str | None) -> pd.Series[Any]:
    result = planner.run(planner.load_scenario(SCENARIO, named=scenario))
    return result.to_pandas("classes").set_index("class").loc["chat"]


def tokens_s(scenario: str | None) -> float:
    return float(served(scenario)["output_tokens_per_s"])


def replica(
    node: str, data: int, tokens: int, context: int, plan: ExpertPlan, *, sequences: int = 64
) -> StepTime:
    """Return the step time of experts over all of `data` devices, `tokens` on each."""
    machine = CATALOG.node(node)
    return step_time(
        R1,
        CATALOG.chip(machine.chip),
        machine,
        Parallelism(data=data, expert=data, experts=plan),
        Dtypes("fp8"),
        token_budget=tokens * data,
        maximum_sequences=sequences * data,
        engine="sglang",
        typical_context_tokens=context,
    )


def decoded(node: str, data: int, batch: int, context: int, plan: ExpertPlan) -> float:
    """Return tokens per second and device of a full batch that decodes."""
    step = replica(node, data, batch, context, plan, sequences=batch)
    return batch / step.step_s(batch * data, batch * data, batch * data * context)


def prefilled(node: str, data: int, tokens: int, prompt: int, plan: ExpertPlan) -> float:
    """Return tokens per second and device of prompts of one length."""
    step = replica(node, data, tokens, prompt, plan)
    return tokens / step.step_s(tokens * data, 0, 0.0, tokens * data * prompt / 2)


DECODE = ExpertPlan("low_latency", redundant=32, overlap=True)
PREFILL = ExpertPlan("high_throughput", redundant=32, overlap=True)


# --- published deployments -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("node", "data", "batch", "context", "published"),
    [
        ("hgx-h100", 72, 256, 2000, 22_282),  # LMSYS 2025-05, nine nodes
        ("h800-8", 144, 128, 4989, 14_800),  # DeepSeek's public day, eighteen nodes
        ("h800-8", 128, 128, 4096, 18_598),  # DeepSeek's profile, sixteen nodes
    ],
)
def test_decoding_over_many_nodes(
    node: str, data: int, batch: int, context: int, published: float
) -> None:
    found = 8 * decoded(node, data, batch, context, DECODE)
    assert found == pytest.approx(published, rel=0.2)


@pytest.mark.parametrize(("prompt", "published"), [(1024, 57_674), (2048, 54_543), (4096, 50_302)])
def test_prefill_over_four_nodes(prompt: int, published: float) -> None:
    """LMSYS 2025-05, H100, 16,384 tokens per device and step."""
    found = 8 * prefilled("hgx-h100", 32, 16384, prompt, PREFILL)
    assert found == pytest.approx(published, rel=0.2)


@pytest.mark.xfail(reason="SGLang on GB200, 48 devices: 5.8 thousand, published 7,583", strict=True)
def test_decoding_on_a_rack() -> None:
    found = decoded("gb200-nvl72", 48, 768, 2000, DECODE)
    assert found == pytest.approx(7583, rel=0.2)


def test_a_balancer_is_worth_more_to_decoding() -> None:
    """LMSYS: × 1.49 for prefill, × 2.54 for decoding, on their own data. 256 experts on 64."""
    without = ExpertPlan("low_latency", overlap=True)
    decode = decoded("hgx-h100", 64, 256, 2000, DECODE) / decoded(
        "hgx-h100", 64, 256, 2000, without
    )
    without = ExpertPlan("high_throughput", overlap=True)
    prefill = prefilled("hgx-h100", 32, 16384, 4096, PREFILL) / prefilled(
        "hgx-h100", 32, 16384, 4096, without
    )
    assert decode == pytest.approx(2.54, rel=0.25)
    assert prefill == pytest.approx(1.49, rel=0.25)
    assert decode > prefill


def test_overlap_pays_in_large_batches_only() -> None:
    """LMSYS: − 27% at 32 tokens per device, + 25.5% at 256."""
    plain = ExpertPlan("low_latency", redundant=32)
    small, large = (
        decoded("hgx-h100", 72, batch, 2000, DECODE) / decoded("hgx-h100", 72, batch, 2000, plain)
        for batch in (32, 256)
    )
    assert small < 1.1 < large


@pytest.mark.parametrize(
    ("devices", "dispatch_us", "combine_us"),
    [(16, 118, 195), (32, 155, 273), (64, 173, 314), (128, 192, 369), (256, 194, 360)],
)
def test_low_latency_exchange_is_that_of_deepep(
    devices: int, dispatch_us: float, combine_us: float
) -> None:
    """DeepEP's README: 128 tokens per device, 7,168 wide, 8 experts, H800 over 400 Gbit/s."""
    node = CATALOG.node("h800-8")
    fabric = Fabric(CATALOG.chip("h800-sxm"), node, DEFAULT)
    plan = ExpertPlan("low_latency", skew=0.0)
    work = inventory(R1, Parallelism(data=devices, expert=devices, experts=plan), Dtypes("fp8"))
    found = {
        each.name: 1e6 * float(fabric.time(each, np.array([128.0 * devices]))[0]) / each.count
        for each in work.collectives
        if isinstance(each, ExpertExchange)
    }
    assert found["experts.dispatch"] == pytest.approx(dispatch_us, rel=0.25)
    assert found["experts.combine"] == pytest.approx(combine_us, rel=0.25)


# --- what each spread is for ---------------------------------------------------------------------


def test_a_pipeline_needs_batches_in_flight() -> None:
    assert tokens_s("one-in-flight") < 0.9 * tokens_s("pipeline")
    assert float(served("lone-pipeline")["tpot_p50_s"]) > float(served("lone")["tpot_p50_s"])


def test_attention_by_data_serves_more_and_a_lone_request_worse() -> None:
    assert tokens_s("attention-dp") > tokens_s(None)
    assert float(served("lone-attention-dp")["tpot_p50_s"]) > 1.3 * float(
        served("lone")["tpot_p50_s"]
    )


def test_wide_experts_pay_with_a_balancer_and_an_exchange_of_their_own() -> None:
    wide = tokens_s("wide")
    assert wide > 1.15 * tokens_s("wide-unbalanced")
    assert wide > 1.15 * tokens_s("wide-gathered")


def test_memory_of_a_device_falls_with_wide_experts() -> None:
    loaded = {name: load_scenario(SCENARIO, scenario=name) for name in ("attention-dp", "wide")}
    one, four = (lower_pool(each.scenario.pools[0], CATALOG) for each in loaded.values())
    assert four.plan.nodes_per_replica == 4
    assert four.plan.kv_blocks > 4 * one.plan.kv_blocks


# --- contradictions ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sets", "message"),
    [
        (["micro_batches=2"], "there is no pipeline to fill; delete it"),
        (["redundant_experts=8"], "needs experts on several devices"),
        (["expert_skew=1.0"], "needs experts on several devices"),
        (["expert_exchange=auto"], "there is one; delete it, or raise data_parallel"),
        (
            ["tensor_parallel=1", "data_parallel=8", "expert_parallel=8", "two_batch_overlap=true"],
            "with expert_exchange gather none travel",
        ),
        (
            ["nodes=9", "tensor_parallel=1", "data_parallel=72", "expert_parallel=72"],
            "72 does not divide the 256 experts of deepseek-r1; use a divisor, or "
            "redundant_experts: 32",
        ),
        (
            ["tensor_parallel=1", "data_parallel=8", "expert_parallel=8", "redundant_experts=3"],
            "8 does not divide the 256 experts of deepseek-r1 with 3 copies",
        ),
    ],
)
def test_contradictions_are_named(sets: list[str], message: str) -> None:
    with pytest.raises(ScenarioError, match=message):
        load_checked(SCENARIO, CATALOG, sets=[f"pools.server.{each}" for each in sets])


def test_odd_choices_are_pointed_out() -> None:
    def told(scenario: str, *sets: str) -> str:
        loaded = load_scenario(SCENARIO, scenario=scenario, sets=sets)
        return "\n".join(notices(loaded.scenario, CATALOG))

    assert "sends every token to all 4 nodes" in told("wide-gathered")
    assert "made for up to 256 tokens" in told("wide", "pools.server.expert_exchange=low_latency")
    assert not told("wide")
    dense = told(
        "attention-dp", "pools.server.model=llama-3.1-8b", "pools.server.expert_parallel=1"
    )
    assert "do not wait for each other" in dense
