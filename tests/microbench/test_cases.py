"""What is measured: shapes of models, limits, order."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import pytest

from planner.catalog import load_catalog
from planner.curves.timings import DTYPES as TIMED_DTYPES
from planner.curves.timings import OPERATORS as TIMED
from planner.errors import CatalogError, PlannerError
from planner.microbench import models
from planner.microbench.cases import (
    OPERATORS,
    Heads,
    Limits,
    Plan,
    attention_case,
    every_case,
    thinned,
)
from planner.microbench.chips import DRIVER_NAMES, chip_of
from planner.microbench.plans import limits_of, plan_of

CATALOG = load_catalog()
NO_LIMIT = Limits()


def whole_plan() -> Plan:
    return plan_of(CATALOG, (), dtypes=("bf16", "fp8", "int8"), devices=8)


def test_every_case_has_exactly_the_columns_of_its_operator() -> None:
    cases = every_case(whole_plan(), NO_LIMIT, seed=0)
    assert {case.operator for case in cases} == set(OPERATORS)
    for case in cases:
        timed = TIMED[case.operator]
        names = tuple(name for name, _ in case.shape)
        assert set(timed.required) <= set(names) <= {*timed.required, *timed.optional}
        for name, value in case.shape:
            assert value > 0 or (value == 0 and name in timed.may_be_zero)
        assert case.dtype in TIMED_DTYPES


def test_cases_are_distinct_and_their_order_follows_from_the_seed() -> None:
    plan = whole_plan()
    first, again, other = (every_case(plan, NO_LIMIT, seed=seed) for seed in (3, 3, 4))
    assert first == again
    assert first != other
    assert sorted(first, key=str) == sorted(other, key=str)
    assert len({case.key for case in first}) == len(first)


def test_the_order_does_not_follow_the_shape() -> None:
    plan = replace(whole_plan(), operators=("gemm",), dtypes=("bf16",))
    tokens = [case["m"] for case in every_case(plan, NO_LIMIT, seed=0)]
    rises = sum(a < b for a, b in pairwise(tokens))
    assert 0.35 < rises / len(tokens) < 0.65


def test_limits_leave_out_what_is_larger() -> None:
    plan = whole_plan()
    limits = Limits(flops=1e11, moved_bytes=1e8)
    kept = every_case(plan, limits, seed=0)
    assert {case.key for case in kept} == {
        case.key
        for case in every_case(plan, NO_LIMIT, seed=0)
        if case.flops <= 1e11 and case.moved_bytes <= 1e8
    }
    assert 0 < len(kept) < len(every_case(plan, NO_LIMIT, seed=0))


def test_gemm_shapes_of_a_model_are_its_layers() -> None:
    llama = CATALOG.model("llama-3.1-70b")
    found = models.matrices(llama, 8)
    assert found == (
        (1280, 8192),  # q, k and v: 8 query heads and one KV head of 128 each
        (8192, 1024),  # output
        (7168, 8192),  # gate and up
        (8192, 3584),  # down
        (16032, 8192),  # vocabulary
    )
    whole = sum(n * k for n, k in models.matrices(llama, 1)[:4])
    per_layer = llama.layers[0].attention.parameters(8192) + llama.layers[0].ffn.parameters(8192)
    assert whole == per_layer


def test_heads_of_a_model_keep_windows_and_copy_scarce_kv_heads() -> None:
    gemma = models.heads(CATALOG.model("gemma-3-27b"), 1)
    assert {each.window_tokens for each in gemma} == {0, 1024}
    (llama,) = models.heads(CATALOG.model("llama-3.1-70b"), 16)
    assert llama == Heads(query_heads=4, kv_heads=1, head_dim=128)


def test_a_model_that_does_not_split_says_so() -> None:
    with pytest.raises(CatalogError, match=r"cannot be split over 3 devices.*--tensor-parallel"):
        models.matrices(CATALOG.model("llama-3.1-8b"), 3)


@pytest.mark.parametrize("name", sorted(CATALOG.models))
def test_every_model_of_the_catalogue_can_be_measured(name: str) -> None:
    plan = plan_of(CATALOG, [name])
    assert plan.matrices
    assert all(n > 0 and k > 0 for n, k in plan.matrices)
    assert every_case(plan, limits_of(1e10, 1e9, kind="cuda", quick=False), seed=0)


def test_arithmetic_and_traffic_of_attention() -> None:
    heads = Heads(query_heads=8, kv_heads=2, head_dim=64)
    decode = attention_case("decode_attention", "bf16", heads, 4, 1, 1000)
    assert decode.flops == pytest.approx(4 * 4 * 1000.5 * 8 * 64)
    kv = 4 * 1001 * 2 * 2 * 64 * 2
    query_and_output = 4 * 2 * 8 * 64 * 2
    assert decode.moved_bytes == kv + query_and_output
    windowed = attention_case(
        "decode_attention", "bf16", replace(heads, window_tokens=100), 4, 1, 1000
    )
    assert windowed.flops == pytest.approx(decode.flops / 10.005)


def test_fp16_is_what_the_table_calls_bf16() -> None:
    (case, *_) = every_case(plan_of(CATALOG, (), dtypes=("fp16",)), NO_LIMIT, seed=0)
    assert (case.element, case.dtype) == ("fp16", "bf16")
    with pytest.raises(PlannerError, match="one format in the table"):
        plan_of(CATALOG, (), dtypes=("bf16", "fp16"))


@pytest.mark.parametrize(
    ("options", "advice"),
    [
        ({"operators": ("gem",)}, "unknown operator 'gem'; did you mean gemm?"),
        ({"dtypes": ("fp4",)}, "unknown dtype 'fp4'"),
        ({"operators": ("gemm", "x"), "dtypes": ("bf16",)}, "unknown operator 'x'; choose one of"),
    ],
)
def test_what_cannot_be_measured_is_refused(
    options: dict[str, tuple[str, ...]], advice: str
) -> None:
    with pytest.raises(PlannerError) as caught:
        plan_of(CATALOG, (), **options)
    assert advice in str(caught.value)


def test_quick_is_short_and_spans_the_same_range() -> None:
    whole, quick = (
        every_case(plan_of(CATALOG, (), quick=quick), NO_LIMIT, seed=0) for quick in (False, True)
    )
    assert len(quick) < len(whole) / 5
    for column in ("m", "bytes"):
        ends = [
            (min(found), max(found))
            for cases in (whole, quick)
            for found in [[dict(c.shape)[column] for c in cases if column in dict(c.shape)]]
        ]
        assert ends[0] == ends[1]


def test_thinning_keeps_the_ends() -> None:
    assert thinned(tuple(range(100)), 4) == (0, 33, 66, 99)
    assert thinned((5,), 4) == (5,)


@pytest.mark.parametrize(
    ("driver", "chip"),
    [
        ("NVIDIA H100 80GB HBM3", "h100-sxm"),
        ("NVIDIA H200", "h200-sxm"),
        ("NVIDIA A100-SXM4-80GB", "a100-sxm"),
        ("NVIDIA B200", "b200-sxm"),
        ("NVIDIA L40S", "l40s"),
        ("NVIDIA L4", "l4"),
        ("NVIDIA H100 PCIe", "h100-pcie"),
        ("NVIDIA H100 NVL", "h100-nvl"),
        ("NVIDIA GH200 480GB", "gh200"),
        ("NVIDIA A100-SXM4-40GB", "a100-sxm-40gb"),
        ("NVIDIA RTX PRO 6000 Blackwell Server Edition", "rtx-pro-6000"),
        ("AMD Instinct MI300X", "mi300x"),
        # other memory, clocks or a slice: no chip of the catalogue
        ("NVIDIA A100-PCIE-40GB", "nvidia-a100-pcie-40gb"),
        ("NVIDIA H800 PCIe", "nvidia-h800-pcie"),
        ("NVIDIA L40", "nvidia-l40"),
        ("NVIDIA H100 80GB HBM3 MIG 1g.10gb", "nvidia-h100-80gb-hbm3-mig-1g-10gb"),
        ("", "unknown"),
    ],
)
def test_chips_are_recognised_by_the_drivers_name(driver: str, chip: str) -> None:
    assert chip_of(driver) == chip
    assert chip in CATALOG.chips or chip.startswith("nvidia-") or chip == "unknown"


def test_every_chip_that_is_recognised_is_in_the_catalogue() -> None:
    assert {chip for _, chip in DRIVER_NAMES} <= set(CATALOG.chips)
