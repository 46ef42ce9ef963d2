"""Steps taken apart: the parts add up to what the kernel simulates, and stand where they must."""

from __future__ import annotations

import math
from functools import cache
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from planner.catalog import load_catalog
from planner.curves import Dtypes, Parallelism, step_time
from planner.curves.anatomy import (
    HOST,
    KINDS,
    OperatorTime,
    ReplicaAnatomy,
    StepAnatomy,
    StepLoad,
    decode_load,
    prefill_load,
)
from planner.curves.device import curves_for
from planner.curves.engines import EngineOverhead
from planner.curves.explain import explain_replica
from planner.curves.library import CurveSet
from planner.kernel.build import pool_record, step_table
from planner.kernel.dtypes import REPLICA
from planner.kernel.plan import PoolPlan
from planner.kernel.steptime import start_run
from planner.lowering.pools import LoweredPool, lower_pool
from planner.scenario import dtypes_of, parallelism_of
from planner.scenario.schema.pools import Pool
from tests.curves.shapes import (
    BOX,
    DEEPSEEK_V3,
    GPT_OSS_120B,
    H100,
    HYBRID,
    LLAMA_8B,
    LLAMA_70B,
    QWEN_235B,
)

POOLS: tuple[dict[str, Any], ...] = (
    {"model": "llama-3.1-8b", "node": "hgx-h100"},
    {"model": "llama-3.1-8b", "node": "mi300x-8", "weight_dtype": "fp8"},
    {"model": "llama-3.1-8b", "node": "tpu-v6e-8", "tensor_parallel": 2},
    {"model": "llama-3.1-70b", "node": "hgx-h100", "weight_dtype": "fp8", "tensor_parallel": 4},
    {"model": "llama-3.1-70b", "node": "hgx-a100", "weight_dtype": "int4", "tensor_parallel": 2,
     "pipeline_parallel": 2},
    {"model": "llama-3.1-70b", "node": "hgx-b200", "weight_dtype": "fp4", "kv_dtype": "fp8"},
    {"model": "qwen3-235b-a22b", "node": "hgx-h200", "weight_dtype": "fp8", "tensor_parallel": 2,
     "data_parallel": 4, "expert_parallel": 8},
    {"model": "qwen3-next-80b-a3b", "node": "hgx-h200", "tensor_parallel": 2},
    {"model": "gpt-oss-120b", "node": "hgx-h100", "weight_dtype": "fp4", "tensor_parallel": 2},
    {"model": "gemma-3-27b", "node": "hgx-h100", "tensor_parallel": 2},
    {"model": "deepseek-r1", "node": "hgx-h200", "weight_dtype": "fp8", "data_parallel": 8,
     "expert_parallel": 8},
)  # fmt: skip
WIDE, ALONE = Dtypes(), Parallelism()
ENGINES = ("vllm", "sglang", "tensorrt-llm", "generic")


@cache
def lowered(number: int) -> tuple[Pool, LoweredPool]:
    engine = ENGINES[number % len(ENGINES)]
    content = {"engine": {"name": engine, "token_budget": 4096}, **POOLS[number]}
    pool = Pool.model_validate({"name": "chat", "nodes": 1, **content})
    return pool, lower_pool(pool, load_catalog())


@cache
def shipped(chip: str) -> tuple[CurveSet, ...]:
    """Return the curves of a chip, whose files are then read once."""
    return curves_for(load_catalog().chip(chip))


def explained(number: int, *loads: StepLoad) -> ReplicaAnatomy:
    pool, low = lowered(number)
    return explain_replica(
        low.curve,
        loads,
        load_catalog().model(pool.model),
        low.chip,
        low.node,
        parallelism_of(pool),
        dtypes_of(pool),
        maximum_sequences=low.plan.maximum_sequences,
        engine=pool.engine.name,
        curves=shipped(low.chip.name),
    )


def simulated_s(plan: PoolPlan, load: StepLoad) -> float:
    """Return the length of the step that the kernel starts with this batch."""
    replica = np.zeros(1, REPLICA)
    replica["decoding"] = load.sequences
    replica["context_tokens"] = load.context_tokens - load.sequences
    if load.phase == "prefill":
        replica["prefilling"] = 1
        replica["prefill_tokens"] = load.tokens
        replica["prefill_work"] = round(2 * load.work)
    start_run(replica[0], pool_record(plan)[0], step_table(plan), 0.0, 1)
    return float(replica["step_s"][0])


@settings(max_examples=50)
@given(
    number=st.sampled_from(range(len(POOLS))),
    share=st.floats(0, 1),
    context=st.integers(1, 100_000),
    decode=st.booleans(),
)
def test_the_parts_add_up_to_the_step_of_the_kernel(
    number: int, share: float, context: int, decode: bool
) -> None:
    plan = lowered(number)[1].plan
    if decode:
        load = decode_load(1 + round(share * (plan.maximum_sequences - 1)), context)
    else:
        load = prefill_load(1 + round(share * (plan.token_budget - 1)), context)
    (step,) = explained(number, load).steps
    expected = simulated_s(plan, load)
    assert step.total_s == pytest.approx(expected, rel=1e-9)
    assert sum(step.kinds.values()) == pytest.approx(expected, rel=1e-9)
    operators_s = sum(each.seconds for each in step.operators)
    assert operators_s + step.kinds[HOST] == pytest.approx(expected, rel=1e-9)
    by_source = step.kernels_s + step.attained_s + step.raised_s
    assert by_source + step.host_step_s + step.host_sequences_s == pytest.approx(expected, rel=1e-9)
    check_operators(step)


def check_operators(step: StepAnatomy) -> None:
    """Whatever the pool: seconds and shares are sound, and no kernel beats the chip's peaks.

    An engine may: its overhead is fitted to whole steps, and can make up for a kernel's slowness.
    """
    assert abs(step.raised_s) <= 0.1 * step.total_s
    assert [*step.kinds] == [*KINDS]
    names = [each.name for each in step.operators]
    assert len(names) == len(set(names))
    for each in step.operators:
        assert each.seconds >= 0
        assert each.share == pytest.approx(each.seconds / step.total_s)
        assert each.kind in KINDS
        assert each.basis
        assert each.tier in ("measured", "fitted", "estimated")
        assert (each.bound == "links") == (each.kind == "communication") == math.isnan(each.ridge)
        # Attention is a line through its curve: at odd batches and contexts it may be too steep.
        if each.kind != "attention" and each.bound != "links":
            assert each.peak_share * each.seconds <= 1.02 * each.kernel_s, each
        if each.basis == "roofline":
            assert math.isnan(each.error)


def hopper(
    *loads: StepLoad,
    model: Any = LLAMA_8B,
    dtypes: Dtypes = WIDE,
    parallelism: Parallelism = ALONE,
    overhead: EngineOverhead | None = None,
    curves: tuple[CurveSet, ...] | None = None,
) -> ReplicaAnatomy:
    curves = curves or shipped("h100-sxm")
    limits: dict[str, Any] = {"maximum_sequences": 256, "engine": "vllm"}
    time = step_time(
        model, H100, BOX, parallelism, dtypes, token_budget=8192, overhead=overhead,
        curves=curves, **limits,
    )  # fmt: skip
    return explain_replica(
        time, loads, model, H100, BOX, parallelism, dtypes, curves=curves, **limits
    )


def named(step: StepAnatomy, name: str) -> OperatorTime:
    return next(each for each in step.operators if each.name == name)


def test_intensity_of_a_matrix_product_by_hand() -> None:
    """Llama 3.1 8B, bf16: 2·n·p FLOP over 2·(p + 32·n·(4096 + 28672)) bytes; ridge 989/3.35."""
    decode, prefill = hopper(decode_load(16, 2048), prefill_load(8192, 2048)).steps
    weights = 32 * 4096 * 28672
    for step, tokens in ((decode, 16), (prefill, 8192)):
        product = named(step, "ffn.gate_up")
        moved = 2 * (weights + 32 * tokens * (4096 + 28672))
        assert product.flops == pytest.approx(2 * tokens * weights)
        assert product.bytes == pytest.approx(moved)
        assert product.intensity == pytest.approx(2 * tokens * weights / moved)
        assert product.ridge == pytest.approx(989e12 / 3.35e12)
    assert named(decode, "ffn.gate_up").bound == "memory"
    assert named(prefill, "ffn.gate_up").bound == "compute"
    assert 0.5 < named(prefill, "ffn.gate_up").peak_share < 1


def test_decode_attention_reads_its_cache_once() -> None:
    (step,) = hopper(decode_load(64, 4096)).steps
    attention = named(step, "attention")
    assert attention.bytes == 64 * 4096 * 131072
    assert attention.intensity == pytest.approx(4.0)  # 32 query heads share 8 KV heads
    assert attention.bound == "memory"
    assert attention.kind == "attention"


def test_windows_end_what_attention_reads() -> None:
    (step,) = hopper(decode_load(10, 8192), model=GPT_OSS_120B).steps
    per_token = 18 * 2 * 8 * 64 * 2
    assert named(step, "attention").bytes == 10 * per_token * (8192 + 128)
    (prompt,) = hopper(prefill_load(4096, 4096), model=GPT_OSS_120B).steps
    pairs = 4096**2 / 2 + (128**2 / 2 + (4096 - 128) * 128)
    assert named(prompt, "attention").flops == pytest.approx(18 * 4 * 64 * 64 * pairs)


def test_absorbed_latent_attention_is_near_the_ridge() -> None:
    """Each of 128 heads works on the same latent vector: 2·128·1088 FLOP per 1152 bytes."""
    spread = {"parallelism": Parallelism(data=8, expert=8), "dtypes": Dtypes("fp8")}
    (step,) = hopper(decode_load(64, 4096), model=DEEPSEEK_V3, **spread).steps
    attention = named(step, "attention")
    assert attention.intensity == pytest.approx(2 * 128 * 1088 / 1152)
    assert attention.ridge == pytest.approx(989 / 3.35)  # 16 bits, as attention is computed


def test_a_quantised_operator_is_held_to_the_peak_of_its_format() -> None:
    anatomy = hopper(prefill_load(8192, 2048), dtypes=Dtypes("fp8"))
    (step,) = anatomy.steps
    assert named(step, "ffn.down").ridge == pytest.approx(1979 / 3.35)
    assert named(step, "output_head").ridge == pytest.approx(989 / 3.35)
    assert anatomy.ridges == {
        "bf16": pytest.approx(989 / 3.35),
        "fp8": pytest.approx(1979 / 3.35),
    }


@pytest.mark.parametrize("model", [LLAMA_70B, GPT_OSS_120B, HYBRID], ids=lambda model: model.name)
def test_layers_of_several_kinds_are_one_row_each(model: Any) -> None:
    (step,) = hopper(decode_load(8, 1024), model=model, parallelism=Parallelism(tensor=4)).steps
    check_operators(step)
    assert named(step, "tensor.all_reduce").flops == 0
    moe = any(run.ffn.kind == "moe" for run in model.layers)
    assert (step.kinds["experts"] > 0) == moe


rates = st.floats(0.3, 1.2)


@settings(max_examples=50)
@given(compute=rates, bandwidth=rates, link=rates, decode=st.booleans())
def test_what_the_engine_loses_falls_on_each_operator(
    compute: float, bandwidth: float, link: float, decode: bool
) -> None:
    """Rates divide every kernel's time, launches aside; that of links theirs."""
    host = EngineOverhead(
        "vllm", step_s=2e-3, sequence_s=1e-5,
        compute_rate=compute, bandwidth_rate=bandwidth, link_rate=link,
    )  # fmt: skip
    load = decode_load(100, 3000) if decode else prefill_load(8192, 3000)
    four = Parallelism(tensor=4)
    (step,) = hopper(load, model=LLAMA_70B, parallelism=four, overhead=host).steps
    parts = step.kernels_s + step.attained_s + step.raised_s
    assert parts + step.kinds[HOST] == pytest.approx(step.total_s, rel=1e-9)
    assert step.kinds[HOST] == pytest.approx(2e-3 + (1e-3 if decode else 0))
    # the table is levelled where it would fall: all parts by the same factor
    lift = next(e.seconds / e.kernel_s for e in step.operators if e.kind == "communication") * link
    assert lift >= 0.95
    low, *_, high = sorted((1.0, 1 / compute, 1 / bandwidth))
    for each in step.operators:
        if each.kind not in ("communication", "attention"):
            assert low - 1e-9 <= each.seconds / each.kernel_s / lift <= high + 1e-9


@settings(max_examples=20)
@given(rate=rates)
def test_experts_have_a_rate_of_their_own(rate: float) -> None:
    host = EngineOverhead("vllm", experts_rate=rate)
    load = prefill_load(8192, 2048)
    alone, slowed = (
        hopper(load, model=QWEN_235B, parallelism=Parallelism(tensor=8), overhead=each).steps[0]
        for each in (EngineOverhead("vllm"), host)
    )
    experts = [step.kinds["experts"] for step in (alone, slowed)]
    assert (experts[1] > experts[0]) == (rate < 1) or rate == pytest.approx(1)
    assert slowed.kinds["communication"] == pytest.approx(alone.kinds["communication"], rel=0.01)


def test_without_losses_the_kernels_are_what_is_seen() -> None:
    (step,) = hopper(prefill_load(4096, 2048), overhead=EngineOverhead("vllm")).steps
    assert step.attained_s == pytest.approx(0, abs=1e-12)
    assert step.kernels_s + step.raised_s == pytest.approx(step.total_s - step.kinds[HOST])


def test_without_curves_everything_is_an_estimate(tmp_path: Any) -> None:
    empty = (CurveSet("h100-sxm", shipped=tmp_path),)
    four = Parallelism(tensor=4)
    anatomy = hopper(decode_load(8, 2048), parallelism=four, model=LLAMA_70B, curves=empty)
    assert anatomy.curves == ()
    for each in anatomy.steps[0].operators:
        assert each.tier == "estimated"
        assert each.basis in ("roofline", "link figures")
        assert math.isnan(each.error)


def test_curves_are_listed_with_their_errors_and_limits() -> None:
    """No kernel was ever measured with an output as wide as a vocabulary."""
    anatomy = hopper(decode_load(8, 2048), prefill_load(8192, 2048))
    gemm = next(curve for curve in anatomy.curves if curve.operator == "gemm")
    assert (gemm.dtype, gemm.chip, gemm.engine) == ("bf16", "h100-sxm", "vllm")
    assert gemm.tier in ("measured", "fitted")
    assert gemm.version
    assert gemm.date
    assert 0 < gemm.mape_in <= gemm.mape_out < 0.3
    assert gemm.valid["n"][1] < 128256
    assert "n" in gemm.outside
    assert "k" not in gemm.outside
    for step in anatomy.steps:
        assert named(step, "ffn.down").error == gemm.mape_out


def test_a_borrowed_curve_names_the_chip_that_was_measured() -> None:
    number = next(n for n, pool in enumerate(POOLS) if pool["node"] == "mi300x-8")
    anatomy = explained(number, decode_load(8, 2048))
    assert {curve.chip for curve in anatomy.curves} == {"h200-sxm"}
    assert {curve.tier for curve in anatomy.curves} == {"estimated"}


def test_steps_are_independent_of_each_other() -> None:
    loads = (decode_load(1, 100), decode_load(200, 9000), prefill_load(5, 5))
    together = hopper(*loads).steps
    assert [step.load for step in together] == list(loads)
    for load, step in zip(loads, together, strict=True):
        (alone,) = hopper(load).steps
        assert (alone.total_s, alone.kinds) == (step.total_s, step.kinds)


def test_attention_beyond_its_measured_range_is_told_by_column() -> None:
    """Contexts of a million tokens were never measured; those of some thousand were."""
    near, far = (
        {curve.operator: curve for curve in hopper(decode_load(8, context)).curves}
        for context in (4096, 1_000_000)
    )
    assert near["decode_attention"].outside == ()
    assert far["decode_attention"].outside == ("context_tokens",)
    assert far["prefill_attention"].outside == ()
    step = hopper(decode_load(8, 4096)).steps[0]
    assert named(step, "attention").error == near["decode_attention"].mape_out
    prompt = hopper(prefill_load(4096, 4096)).steps[0]
    assert named(prompt, "attention").error == near["prefill_attention"].mape_out
