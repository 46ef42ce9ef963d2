"""The shapes imply the published parameter counts and KV cache sizes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from planner.catalog import Attention, Catalog, Ffn, load_catalog

# total and active parameters in billions, KV cache in KiB per token (bf16, no windows): from
# published totals and config.json files, gathered independently of models.yaml
PUBLISHED = {
    "llama-3-8b": (8.03, 8.03, 128.0),
    "llama-3-70b": (70.55, 70.55, 320.0),
    "llama-3.1-8b": (8.03, 8.03, 128.0),
    "llama-3.1-70b": (70.55, 70.55, 320.0),
    "llama-3.3-70b": (70.55, 70.55, 320.0),
    "llama-3.1-405b": (405.85, 405.85, 504.0),
    "llama-3.2-1b": (1.24, 1.24, 32.0),
    "llama-3.2-3b": (3.21, 3.21, 112.0),
    "llama-2-7b": (6.74, 6.74, 512.0),
    "llama-2-13b": (13.02, 13.02, 800.0),
    "llama-2-70b": (68.98, 68.98, 320.0),
    "mistral-7b": (7.24, 7.24, 128.0),
    "mixtral-8x7b": (46.70, 12.88, 128.0),
    "mixtral-8x22b": (140.62, 39.15, 224.0),
    "qwen1.5-7b": (7.72, 7.72, 512.0),
    "qwen2-7b": (7.62, 7.62, 56.0),
    "qwen2-72b": (72.71, 72.71, 320.0),
    "qwen2.5-0.5b": (0.494, 0.494, 12.0),
    "qwen2.5-7b": (7.62, 7.62, 56.0),
    "qwen2.5-14b": (14.77, 14.77, 192.0),
    "qwen2.5-32b": (32.76, 32.76, 256.0),
    "qwen2.5-72b": (72.71, 72.71, 320.0),
    "qwen3-0.6b": (0.60, 0.60, 112.0),
    "qwen3-8b": (8.19, 8.19, 144.0),
    "qwen3-14b": (14.77, 14.77, 160.0),
    "qwen3-32b": (32.76, 32.76, 256.0),
    "qwen3-30b-a3b": (30.53, 3.35, 96.0),
    "qwen3-235b-a22b": (235.09, 22.19, 188.0),
    "qwen3-coder-480b-a35b": (480.15, 35.47, 248.0),
    "qwen3-next-80b-a3b": (80.0, 3.87, 24.0),
    "qwen3.5-35b-a3b": (35.0, 3.45, 20.0),
    "qwen3.5-397b-a17b": (397.0, 17.3, 30.0),
    "deepseek-v3": (671.03, 37.55, 68.6),
    "deepseek-r1": (671.03, 37.55, 68.6),
    "kimi-k2": (1026.41, 32.86, 68.6),
    "minimax-m2.5": (228.69, 11.03, 248.0),
    "gpt-oss-20b": (20.91, 4.19, 48.0),
    "gpt-oss-120b": (116.79, 5.71, 72.0),
    "gemma-2-9b": (9.24, 9.24, 336.0),
    "gemma-2-27b": (27.23, 27.23, 368.0),
    "gemma-3-4b": (3.88, 3.88, 136.0),
    "gemma-3-12b": (11.77, 11.77, 384.0),
    "gemma-3-27b": (27.01, 27.01, 496.0),
}
CATALOG: Catalog = load_catalog()


def test_every_model_is_checked_against_published_figures() -> None:
    assert set(PUBLISHED) == set(CATALOG.models)


@pytest.mark.parametrize("name", PUBLISHED)
def test_shape_implies_published_counts(name: str) -> None:
    model = CATALOG.model(name)
    total, active, kv_kib = PUBLISHED[name]
    assert model.parameters() == pytest.approx(total * 1e9, rel=0.01)
    assert float(model.total_parameters) == pytest.approx(total * 1e9, rel=0.01)
    assert model.parameters_per_token() == pytest.approx(active * 1e9, rel=0.01)
    assert float(model.active_parameters) == pytest.approx(active * 1e9, rel=0.01)
    assert model.kv_bytes_per_token() / 1024 == pytest.approx(kv_kib, abs=0.05)
    assert model.kv_bytes_per_token(element_bytes=1) == model.kv_bytes_per_token() / 2


@pytest.mark.parametrize(
    ("name", "layers"),
    [("gemma-3-27b", (52, 10)), ("gpt-oss-120b", (18, 18)), ("qwen3-next-80b-a3b", (36, 12))],
)
def test_hybrids_count_their_kinds(name: str, layers: tuple[int, int]) -> None:
    model = CATALOG.model(name)
    assert tuple(run.count for run in model.layers) == layers
    assert model.layer_count == sum(layers)


def test_a_window_caps_the_cache() -> None:
    model = CATALOG.model("gpt-oss-120b")
    per_layer = 2 * 8 * 64 * 2  # keys and values, 8 heads of 64, bf16
    assert model.kv_bytes(100) == 36 * 100 * per_layer
    assert model.kv_bytes(10_000) == 18 * (10_000 + 128) * per_layer


def test_linear_attention_costs_a_state_and_no_tokens() -> None:
    model = CATALOG.model("qwen3-next-80b-a3b")
    state = model.layers[0].attention.state_bytes_per_sequence
    assert state == 32 * 128 * 128 * 2 + (2 * 16 * 128 + 32 * 128) * 3 * 2
    assert model.kv_bytes(1000) == 36 * state + 1000 * model.kv_bytes_per_token()


def test_multi_head_latent_attention_caches_one_vector_for_all_heads() -> None:
    attention = CATALOG.model("deepseek-v3").layers[1].attention
    assert attention.kv_elements_per_token() == 512 + 64
    assert attention.head_dim == 192
    assert attention.value_head_dim == 128


def test_compressed_attention_divides_the_cache() -> None:
    attention = Attention("compressed", 64, 8, 128, 128, compression_ratio=4.0)
    assert attention.kv_elements_per_token() == 8 * 256 / 4


def test_full_rank_queries_of_latent_attention() -> None:
    attention = Attention(
        "mla", 16, 16, 192, 128, kv_lora_rank=512, qk_nope_head_dim=128, qk_rope_head_dim=64
    )
    hidden = 2048
    query, down = hidden * 16 * 192, hidden * (512 + 64)
    up, out = 512 * 16 * (128 + 128), 16 * 128 * hidden
    assert attention.parameters(hidden) == query + down + up + out


def test_experts_that_are_not_chosen_are_not_met() -> None:
    ffn = Ffn(
        "moe", 2048, experts=256, active_experts=8, shared_experts=1, shared_intermediate_size=2048
    )
    expert, router = 3 * 7168 * 2048, 7168 * 256
    assert ffn.expert_parameters(7168) == expert
    assert ffn.always_parameters(7168) == router + expert
    assert ffn.parameters(7168) == router + 257 * expert
    assert ffn.parameters(7168, active_only=True) == router + 9 * expert


@given(st.sampled_from(sorted(CATALOG.models)), st.integers(0, 200_000), st.integers(0, 1000))
def test_the_cache_grows_with_context_and_never_beyond_the_unwindowed_one(
    name: str, context: int, more: int
) -> None:
    model = CATALOG.model(name)
    assert model.kv_bytes(context) <= model.kv_bytes(context + more)
    assert model.kv_bytes(context) - model.kv_bytes(0) <= context * model.kv_bytes_per_token()
