import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from planner.catalog import Model
from planner.curves import Dtypes, Parallelism, fitting_options, memory_plan, misfit_message
from planner.curves.memory import MemoryPlan
from tests.curves.shapes import (
    A100,
    B200,
    DEEPSEEK_V3,
    GPT_OSS_120B,
    H100,
    H200,
    HYBRID,
    LLAMA_8B,
    LLAMA_70B,
    MODELS,
    QWEN_32B,
    RTX_4090,
)

ALONE = Parallelism()


def test_llama_8b_on_one_h100() -> None:
    plan = memory_plan(LLAMA_8B, H100, ALONE, Dtypes())
    assert plan.weight_bytes == 2 * LLAMA_8B.parameters()
    assert plan.kv_bytes_per_token == 131072
    assert plan.sequence_bytes == 131072 * 131072
    assert plan.kv_tokens == pytest.approx(457_000, rel=0.01)
    assert plan.kv_blocks * 16 == plan.kv_tokens
    assert plan.fits
    assert plan.missing_bytes == 0
    parts = plan.weight_bytes + plan.activation_bytes + plan.reserve_bytes + plan.kv_bytes
    assert parts == pytest.approx(plan.budget_bytes) == pytest.approx(0.9 * 80 * 2**30)
    assert plan.kv_bytes - plan.kv_blocks * 16 * 131072 < 16 * 131072


def test_published_block_count_of_vllm(shared_data: Path) -> None:
    """An RTX 4090 with Llama-3.1-8B: vLLM 0.19 reports its own number of blocks."""
    name = "RTX4090_Llama-3.1-8B_meta.json"
    meta = json.loads((shared_data / "e2e" / "vllm_requests" / name).read_text("utf-8"))
    assert meta["hardware"]["device_total_memory_bytes"] == RTX_4090.memory_bytes.value
    engine, cache = meta["engine_kwargs"], meta["kv_cache"]
    plan = memory_plan(
        LLAMA_8B,
        RTX_4090,
        ALONE,
        Dtypes(),
        memory_fraction=cache["gpu_memory_utilization"],
        kv_block_tokens=cache["block_size"],
        token_budget=engine["max_num_batched_tokens"],
        maximum_sequences=engine["max_num_seqs"],
        context_tokens=engine["max_model_len"],
    )
    assert plan.kv_blocks == pytest.approx(cache["num_gpu_blocks"], rel=0.03)


def test_misfit_says_what_is_missing_and_what_would_fit() -> None:
    message = misfit_message(LLAMA_70B, H100, ALONE, Dtypes(), chips=[A100, B200, H200])
    assert message == (
        "llama-3.1-70b in bf16 does not fit on one h100-sxm: per device 141.1 GB weights + 1.7 GB "
        "activations + 0.5 GB reserve + 42.9 GB KV cache of one sequence of 131072 tokens, of "
        "77.3 GB that the engine may use of 85.9 GB: 108.9 GB are missing; would fit: "
        "tensor_parallel: 4"
    )
    plan = memory_plan(LLAMA_70B, H100, ALONE, Dtypes())
    assert plan.missing_bytes == pytest.approx(
        plan.weight_bytes
        + plan.activation_bytes
        + plan.reserve_bytes
        + plan.sequence_bytes
        - plan.budget_bytes
    )
    assert (plan.kv_blocks, plan.kv_bytes) == (0, 0)


def test_fitting_model_has_no_misfit() -> None:
    assert misfit_message(LLAMA_8B, H100, ALONE, Dtypes()) is None


def test_options_are_single_changes_first() -> None:
    options = fitting_options(QWEN_32B, H100, ALONE, Dtypes(), chips=[A100, B200, H200])
    assert options == (
        "engine.context_tokens: 36864",
        "weight_dtype: fp8",
        "tensor_parallel: 2",
        "a node with h200-sxm",
        "a node with b200-sxm",
    )


def test_options_combine_changes_when_none_suffices() -> None:
    options = fitting_options(DEEPSEEK_V3, H100, ALONE, Dtypes(), context_tokens=8192)
    assert options == ("weight_dtype: int4 with tensor_parallel: 8",)
    message = misfit_message(
        DEEPSEEK_V3, RTX_4090, Parallelism(tensor=8), Dtypes(), memory_fraction=0.5
    )
    assert message is not None
    assert message.startswith("deepseek-v3 in bf16 does not fit on 8 x rtx-4090: per device ")
    assert message.endswith("use a larger node")


def test_every_option_fits() -> None:
    limited = memory_plan(QWEN_32B, H100, ALONE, Dtypes(), context_tokens=36864)
    narrow = memory_plan(QWEN_32B, H100, ALONE, Dtypes("fp8"))
    wide = memory_plan(QWEN_32B, H100, Parallelism(tensor=2), Dtypes())
    assert limited.fits
    assert narrow.fits
    assert wide.fits


def test_mla_cache_is_repeated_over_tensor_and_multiplied_by_data() -> None:
    tensor, data = (
        memory_plan(
            DEEPSEEK_V3,
            B200,
            parallelism,
            Dtypes("fp8"),
            context_tokens=8192,
            maximum_sequences=64,
            token_budget=2048,
        )
        for parallelism in (Parallelism(tensor=8), Parallelism(data=8, expert=8))
    )
    assert tensor.kv_bytes_per_token == data.kv_bytes_per_token == 61 * 576 * 2
    # Each data group holds all attention weights: less is left per device, but for eight caches.
    assert data.weight_bytes > tensor.weight_bytes
    assert 6 < data.kv_tokens / tensor.kv_tokens < 8


def test_tensor_parallelism_splits_the_cache_of_grouped_heads() -> None:
    two = memory_plan(LLAMA_70B, H100, Parallelism(tensor=4), Dtypes())
    sixteen = memory_plan(LLAMA_70B, H100, Parallelism(tensor=16), Dtypes())
    assert two.kv_bytes_per_token == 80 * 4096 / 4
    assert sixteen.kv_bytes_per_token == 80 * 4096 / 8
    assert two.reserve_bytes == 1e9


def test_pipeline_holds_one_end_and_its_layers() -> None:
    staged = memory_plan(LLAMA_8B, H100, Parallelism(pipeline=3), Dtypes())
    ends = 2 * 128256 * 4096
    layers = 2 * LLAMA_8B.parameters() - 2 * ends
    assert staged.weight_bytes == pytest.approx(layers * 11 / 32 + ends)
    assert staged.kv_bytes_per_token == pytest.approx(131072 * 11 / 32)


def test_windows_and_states_are_spread_over_the_typical_context() -> None:
    layer = 2 * 8 * 64 * 2
    plan = memory_plan(
        GPT_OSS_120B, H100, ALONE, Dtypes("fp4"), context_tokens=8192, typical_context_tokens=1024
    )
    assert plan.kv_bytes_per_token == 18 * layer * (1 + 128 / 1024)
    assert plan.sequence_bytes == 18 * layer * (8192 + 128)
    state = 9 * 32 * 128 * 128 * 4
    hybrid = memory_plan(HYBRID, H100, ALONE, Dtypes(), typical_context_tokens=2048)
    assert hybrid.kv_bytes_per_token == pytest.approx(3 * 2 * 2 * 256 * 2 + state / 2048)


def test_kv_dtype_halves_the_cache_and_weight_dtype_the_matrices() -> None:
    wide = memory_plan(LLAMA_8B, H100, ALONE, Dtypes())
    narrow = memory_plan(LLAMA_8B, H100, ALONE, Dtypes("fp8", kv="fp8"))
    assert narrow.kv_bytes_per_token * 2 == wide.kv_bytes_per_token
    embedding = 2 * 2 * 128256 * 4096
    assert narrow.weight_bytes == (wide.weight_bytes - embedding) / 2 + embedding


def test_notes_carry_the_estimates() -> None:
    alone = memory_plan(LLAMA_8B, H100, ALONE, Dtypes())
    pair = memory_plan(LLAMA_8B, H100, Parallelism(tensor=2), Dtypes())
    assert [note.name for note in alone.notes] == ["memory.reserve", "memory.logit"]
    assert [note.name for note in pair.notes][-1] == "memory.communication"
    assert all(note.tier == "estimated" and note.source for note in pair.notes)


@given(
    model=st.sampled_from(MODELS),
    tensor=st.sampled_from([1, 2, 4, 8]),
    data=st.sampled_from([1, 2]),
    weight=st.sampled_from(["bf16", "fp8", "int4"]),
    block=st.sampled_from([1, 16, 64]),
    fraction=st.floats(0.05, 1.0),
    context=st.integers(1, 200_000),
)
def test_parts_never_exceed_the_budget(
    model: Model, tensor: int, data: int, weight: str, block: int, fraction: float, context: int
) -> None:
    def plan(share: float) -> MemoryPlan:
        return memory_plan(
            model,
            H200,
            Parallelism(tensor=tensor, data=data),
            Dtypes(weight),
            memory_fraction=share,
            kv_block_tokens=block,
            context_tokens=context,
        )

    found = plan(fraction)
    cache = found.kv_blocks / data * block * found.kv_bytes_per_token
    used = found.weight_bytes + found.activation_bytes + found.reserve_bytes + cache
    assert found.kv_blocks == 0 or used <= found.budget_bytes * (1 + 1e-12)
    assert found.fits == (found.missing_bytes == 0)
    assert plan(min(fraction + 0.1, 1.0)).kv_blocks >= found.kv_blocks
