import numpy as np
import pytest

from planner.catalog import Model, load_catalog
from planner.curves import Dtypes, Parallelism
from planner.curves.layout import DTYPE_BYTES
from planner.curves.operators import Inventory, Operator, inventory
from tests.curves.shapes import (
    DEEPSEEK_V3,
    GPT_OSS_120B,
    HYBRID,
    LLAMA_8B,
    LLAMA_70B,
    MODELS,
    QWEN_235B,
)

ALONE = Parallelism()


def weight_bytes(work: Inventory) -> float:
    return sum(op.stored_parameters * DTYPE_BYTES[op.weight_dtype] for op in work.operators)


def named(work: Inventory, name: str) -> Operator:
    return next(operator for operator in work.operators if operator.name == name)


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.name)
def test_operators_hold_every_parameter_of_the_model(model: Model) -> None:
    work = inventory(model, ALONE, Dtypes())
    assert work.stored_parameters == model.parameters()
    assert weight_bytes(work) == 2 * model.parameters()


def test_llama_8b_by_hand() -> None:
    work = inventory(LLAMA_8B, ALONE, Dtypes())
    # 32 · (4096·(4096 + 2·1024) + 4096·4096 + 3·4096·14336) + 2 · 128256·4096
    layers = 32 * (4096 * 6144 + 4096 * 4096 + 3 * 4096 * 14336)
    embedding = 128256 * 4096
    assert weight_bytes(work) == 2 * (layers + 2 * embedding) == pytest.approx(16.06e9, rel=1e-3)
    assert work.flops_per_token == 2 * (layers + embedding)
    (attention,) = work.attentions
    assert attention.kv_bytes_per_token == 128 * 1024
    assert attention.decode_flops_per_token == 4 * 32 * 32 * 128
    assert attention.prefill_flops_per_pair == 4 * 32 * 32 * 128
    assert work.collectives == ()


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.name)
@pytest.mark.parametrize("tensor", [1, 8])
def test_shapes_of_the_products_hold_the_weights_that_are_read(model: Model, tensor: int) -> None:
    """What curves are asked for, inner × outer × layers, is what the roofline counts."""
    for operator in inventory(model, Parallelism(tensor=tensor), Dtypes()).operators:
        if operator.experts:
            assert operator.expert_slices == tensor
            expert = 3 * operator.inner * operator.outer / operator.expert_slices
            assert operator.read_parameters == operator.layers * operator.experts * expert
        elif operator.outer:
            product = operator.layers * operator.inner * operator.outer
            assert product == pytest.approx(operator.read_parameters, rel=1e-3)
        else:
            assert operator.read_parameters == 0


def test_arithmetic_per_token_is_that_of_the_active_parameters() -> None:
    """Published active parameters: 5.1B for gpt-oss-120b without the input embedding, 37B for
    V3."""
    assert inventory(GPT_OSS_120B, ALONE, Dtypes()).flops_per_token == pytest.approx(
        2 * 5.13e9, rel=0.005
    )
    assert inventory(DEEPSEEK_V3, ALONE, Dtypes()).flops_per_token == pytest.approx(
        2 * 37e9, rel=0.015
    )


def test_mla_caches_one_latent_vector_per_layer_on_every_tensor_device() -> None:
    for tensor in (1, 8):
        work = inventory(DEEPSEEK_V3, Parallelism(tensor=tensor), Dtypes())
        assert sum(a.kv_bytes_per_token for a in work.attentions) == 61 * (512 + 64) * 2
        decode = sum(a.decode_flops_per_token for a in work.attentions)
        assert decode == 61 * 2 * (128 / tensor) * (512 + 64 + 512)
        prefill = sum(a.prefill_flops_per_pair for a in work.attentions)
        assert prefill == 61 * 2 * (128 / tensor) * (192 + 128)


def test_attention_of_one_device_has_its_share_of_the_heads() -> None:
    (whole,) = inventory(LLAMA_70B, ALONE, Dtypes()).attentions
    (split,) = inventory(LLAMA_70B, Parallelism(tensor=16), Dtypes()).attentions
    assert (whole.layers, whole.query_heads, whole.kv_heads, whole.head_dim) == (80, 64, 8, 128)
    assert (split.layers, split.query_heads, split.kv_heads, split.head_dim) == (80, 4, 1, 128)


def test_kv_heads_are_split_then_repeated() -> None:
    cached = [
        inventory(LLAMA_70B, Parallelism(tensor=t), Dtypes()).attentions[0].kv_bytes_per_token
        for t in (1, 2, 8, 16)
    ]
    whole = 80 * 2 * 8 * 128 * 2
    assert cached == [whole, whole / 2, whole / 8, whole / 8]


@pytest.mark.parametrize("tensor", [2, 4, 8])
def test_tensor_parallelism_divides_a_dense_model_evenly(tensor: int) -> None:
    alone = inventory(LLAMA_70B, ALONE, Dtypes())
    split = inventory(LLAMA_70B, Parallelism(tensor=tensor), Dtypes())
    assert split.stored_parameters * tensor == alone.stored_parameters
    assert split.flops_per_token * tensor == alone.flops_per_token
    (reduce,) = split.collectives
    assert (reduce.kind, reduce.devices, reduce.count) == ("all_reduce", tensor, 160)
    assert reduce.bytes_per_token == 8192 * 2


def test_experts_are_spread_over_tensor_and_data_devices() -> None:
    alone = named(inventory(QWEN_235B, ALONE, Dtypes()), "moe.experts")
    assert alone.stored_parameters == 94 * 128 * 3 * 4096 * 1536
    for parallelism in (Parallelism(tensor=8), Parallelism(tensor=2, data=4, expert=8)):
        split = named(inventory(QWEN_235B, parallelism, Dtypes()), "moe.experts")
        assert split.stored_parameters * 8 == alone.stored_parameters
        assert split.flops_per_token * 8 == alone.flops_per_token


def test_expected_distinct_experts_match_a_simulation() -> None:
    experts = Operator("experts", experts=64, active_experts=4)
    random = np.random.default_rng(3)
    tokens = 20
    hits = [
        len({expert for _ in range(tokens) for expert in random.choice(64, 4, replace=False)})
        for _ in range(2000)
    ]
    error = np.std(hits) / np.sqrt(len(hits))
    expected = 64 * experts.hit_share(np.array([float(tokens)]))[0]
    assert abs(np.mean(hits) - expected) < 4 * error


def test_one_token_hits_the_active_experts_and_many_hit_all() -> None:
    experts = named(inventory(QWEN_235B, ALONE, Dtypes()), "moe.experts")
    one, many = experts.weight_reads(np.array([1.0, 1e6]))
    assert one == pytest.approx(94 * 8 * 3 * 4096 * 1536)
    assert many == experts.stored_parameters


def test_busiest_expert_group_follows_balls_into_bins() -> None:
    """1024 choices of 8 groups by 256 tokens that choose 4 of 64 experts."""
    experts = Operator("experts", experts=64, active_experts=4, expert_groups=8)
    random = np.random.default_rng(5)
    fullest = [
        np.bincount(random.random((256, 64)).argsort(axis=1)[:, :4].ravel() // 8, minlength=8).max()
        for _ in range(500)
    ]
    expected = experts.busiest_tokens(np.array([256.0]))[0] * 4 / 8
    assert 128 < np.mean(fullest) < expected < 1.1 * np.mean(fullest)
    assert Operator("x", experts=8, active_experts=2).busiest_tokens(np.array([7.0]))[0] == 7


def test_a_group_is_never_loaded_beyond_all_choices_of_its_experts() -> None:
    """Each of 2 tokens chooses both experts: every group works on exactly 2 choices."""
    experts = Operator("experts", experts=2, active_experts=2, expert_groups=2)
    assert experts.busiest_tokens(np.array([2.0]))[0] == pytest.approx(2.0)


def test_four_bit_mixtures_keep_attention_in_sixteen_bits() -> None:
    work = inventory(GPT_OSS_120B, ALONE, Dtypes("fp4"))
    assert named(work, "moe.experts").weight_dtype == "fp4"
    assert named(work, "attention.output").weight_dtype == "bf16"
    assert not named(work, "attention.output").quantised
    assert weight_bytes(work) == pytest.approx(65.2e9, rel=0.02)  # published checkpoint: 65 GB
    dense = inventory(LLAMA_8B, ALONE, Dtypes("fp4"))
    assert named(dense, "attention.output").weight_dtype == "fp4"
    eight = inventory(DEEPSEEK_V3, ALONE, Dtypes("fp8"))
    assert named(eight, "attention.output").weight_dtype == "fp8"
    assert named(eight, "output_head").weight_dtype == "bf16"


def test_tied_embeddings_are_stored_once_and_read_by_the_head() -> None:
    work = inventory(HYBRID, ALONE, Dtypes())
    assert named(work, "output_head").stored_parameters == 0
    assert named(work, "output_head").read_parameters == 32000 * 2048


def test_linear_layers_cache_a_state_and_no_tokens() -> None:
    linear, full = inventory(HYBRID, Parallelism(tensor=2), Dtypes()).attentions
    assert linear.kv_bytes_per_token == 0
    assert linear.decode_flops_per_token == linear.prefill_flops_per_pair == 0
    assert linear.state_bytes_per_sequence == 9 * 32 * 128 * 128 * 4 / 2
    assert full.state_bytes_per_sequence == 0


def test_data_groups_exchange_tokens_with_experts() -> None:
    parallelism = Parallelism(tensor=1, data=16, expert=16)
    (exchange,) = inventory(QWEN_235B, parallelism, Dtypes()).collectives
    assert (exchange.kind, exchange.devices, exchange.count) == ("gather", 16, 2 * 94)
    assert exchange.bytes_per_token == 15 / 16 * 4096 * 2
    kinds = {
        c.name: c.count
        for c in inventory(QWEN_235B, Parallelism(tensor=2, data=4), Dtypes()).collectives
    }
    assert kinds == {"tensor.all_reduce": 94, "experts.gather": 188}


def test_pipeline_sends_the_hidden_vector_between_stages() -> None:
    (send,) = inventory(LLAMA_8B, Parallelism(pipeline=4), Dtypes()).collectives
    assert (send.kind, send.count, send.bytes_per_token) == ("send", 3, 4096 * 2)


def test_catalogue_models_are_covered_to_the_last_parameter() -> None:
    models = load_catalog().models.values()
    assert len(models) >= 12
    for model in models:
        found = inventory(model, ALONE, Dtypes()).stored_parameters
        assert found == pytest.approx(model.parameters(), rel=1e-12), model.name
