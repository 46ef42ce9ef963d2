from __future__ import annotations

import statistics
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from planner.catalog import Ffn, LayerRun, load_catalog
from planner.curves.drafting import (
    PASS_S,
    compare_speedups,
    head_cost,
    lookup_cost,
    model_cost,
    speed_up,
)
from planner.curves.heads import HEADS, head_model, later_passes
from planner.curves.layout import Dtypes, Parallelism
from planner.curves.operators import inventory
from planner.curves.speculation import acceptance
from planner.curves.steptime import step_time

CATALOG = load_catalog()
LLAMA = CATALOG.model("llama-3.1-70b")
H100, HGX = CATALOG.chip("h100-sxm"), CATALOG.node("hgx-h100")
FOUR = Parallelism(tensor=4)
SMALL = head_cost(LLAMA, H100, HGX, FOUR, token_budget=64)


def test_an_eagle_head_has_the_published_parameters() -> None:
    """513 million, for Apertus 8B, whose MLP is 21,504 wide and which has 131,072 tokens.

    https://huggingface.co/thomaskiefer/EAGLE3-Apertus-8B-Instruct-2509
    """
    llama = CATALOG.model("llama-3.1-8b")
    layers = (LayerRun(32, llama.layers[0].attention, Ffn("dense", 21_504)),)
    apertus = replace(llama, layers=layers, vocabulary_size=131_072)
    head = head_model(apertus, HEADS["eagle3"])
    assert head.layer_count == 1
    assert head.vocabulary_size == 32_000
    assert head.parameters() == pytest.approx(513e6, rel=0.001)


def test_the_head_of_kimi_drafts_its_whole_vocabulary() -> None:
    """3 billion parameters on its model card, with a copy of the embedding that engines share.

    https://huggingface.co/lightseekorg/kimi-k2.6-eagle3.1-mla
    """
    kimi = CATALOG.model("kimi-k2")
    embedding = kimi.vocabulary_size * kimi.hidden_size
    whole = head_model(kimi, HEADS["eagle3"], vocabulary=kimi.vocabulary_size)
    assert whole.parameters() + embedding == pytest.approx(3e9, rel=0.02)
    assert head_model(kimi, HEADS["eagle3"]).parameters() + embedding < 2.2e9


def test_a_prediction_layer_has_the_published_parameters() -> None:
    """11.5 billion, and 2.4 active with the ends, which are the target's (README_WEIGHTS.md)."""
    deepseek = CATALOG.model("deepseek-v3")
    head = head_model(deepseek, HEADS["mtp"])
    assert head.layers[0].ffn.kind == "moe"
    assert head.parameters() == pytest.approx(11.5e9, rel=0.02)
    assert head.parameters_per_token() == pytest.approx(2.4e9, rel=0.07)
    assert head_model(deepseek, HEADS["eagle3"]).layers[0].ffn.kind == "dense"


def test_what_a_head_borrows_takes_no_memory_but_is_read() -> None:
    deepseek, plain = CATALOG.model("deepseek-v3"), Dtypes("fp8")
    head = head_model(deepseek, HEADS["mtp"])
    own = replace(head, borrowed=())
    borrowed, kept = (inventory(each, FOUR, plain) for each in (head, own))
    ends = 2 * deepseek.vocabulary_size * deepseek.hidden_size / 4
    assert kept.stored_parameters - borrowed.stored_parameters == pytest.approx(ends)
    reads = [
        sum(each.read_parameters for each in found.operators if each.name == "output_head")
        for found in (borrowed, kept)
    ]
    assert reads == [ends / 2, ends / 2]


def test_over_a_pipeline_a_head_has_its_own_embedding() -> None:
    assert head_model(LLAMA, HEADS["mtp"], stages=2).borrowed == ("output_head",)
    assert head_model(LLAMA, HEADS["eagle3"], stages=2).borrowed == ()


def test_only_the_first_pass_fuses_what_the_target_saw() -> None:
    head = head_model(LLAMA, HEADS["eagle3"])
    spared = head.parameters() - later_passes(head).parameters()
    assert spared == 3 * LLAMA.hidden_size**2
    mtp = head_model(LLAMA, HEADS["mtp"])
    assert later_passes(mtp) == mtp


def test_a_pass_over_the_step_then_one_per_position() -> None:
    cost = head_cost(LLAMA, H100, HGX, FOUR)
    assert cost.first is not None
    assert cost.later is not None
    further = cost.seconds(5, 8) - cost.seconds(4, 8)
    first = cost.first.linear_s[48] - cost.first.linear_s[40]
    assert further == pytest.approx(PASS_S + cost.later.linear_s[8] + first)
    assert cost.seconds(1, 8) == pytest.approx(PASS_S + cost.first.linear_s[16])
    at_once = head_cost(LLAMA, H100, HGX, FOUR, "p-eagle")
    assert at_once.seconds(4, 8) < 2.0 * cost.seconds(1, 8)


def test_a_tree_is_drafted_with_several_tokens_a_pass() -> None:
    cost = head_cost(LLAMA, H100, HGX, FOUR)
    assert cost.later is not None
    chain, tree = cost.drafting(3, 40), cost.drafting(3, 40, verified_tokens=12)
    assert tree.seconds - chain.seconds == pytest.approx(
        2 * (cost.later.linear_s[160] - cost.later.linear_s[40])
    )


def test_drafting_has_its_shares_of_arithmetic_and_traffic() -> None:
    found = head_cost(LLAMA, H100, HGX, FOUR).drafting(3, 16)
    assert 0.0 < found.compute_s < found.memory_s < found.seconds
    weights = later_passes(head_model(LLAMA, HEADS["eagle3"])).parameters_per_token() * 2 / 4
    least = 2 * weights / float(H100.memory_bandwidth)
    assert found.memory_s == pytest.approx(least, rel=0.3)


def test_a_draft_model_costs_its_own_steps() -> None:
    draft = CATALOG.model("llama-3.2-1b")
    cost = model_cost(draft, H100, HGX, FOUR, Dtypes())
    step = step_time(draft, H100, HGX, FOUR, Dtypes(), token_budget=512)
    assert cost.seconds(3, 16) == pytest.approx(
        3 * PASS_S + 2 * step.linear_s[16] + step.linear_s[64]
    )
    assert cost.seconds(3, 16, 1000.0) - cost.seconds(3, 16) == pytest.approx(
        3000.0 * step.decode_s
    )


def test_prompt_lookup_costs_host_time_per_sequence() -> None:
    assert lookup_cost(10e-6).seconds(5, 8) == pytest.approx(80e-6)
    assert lookup_cost(10e-6).seconds(0, 8) == 0.0
    assert lookup_cost(10e-6, groups=4).seconds(5, 8) == pytest.approx(20e-6)


@given(st.integers(0, 64), st.integers(0, 5000), st.booleans())
def test_drafting_never_pays_for_more_work(
    draft_tokens: int, sequences: int, parallel: bool
) -> None:
    cost = replace(SMALL, parallel=parallel)
    seconds = cost.seconds(draft_tokens, sequences)
    assert 0.0 <= seconds <= cost.seconds(draft_tokens + 1, sequences)
    assert seconds <= cost.seconds(draft_tokens, sequences + 1)


def test_negative_counts_are_refused() -> None:
    for counts in ((-1, 1), (1, -1)):
        with pytest.raises(ValueError, match="must not be negative"):
            lookup_cost().seconds(*counts)


def test_speculation_pays_less_the_fuller_the_step() -> None:
    target = step_time(LLAMA, H100, HGX, FOUR, Dtypes(), token_budget=4096)
    curve, cost = acceptance("eagle3", LLAMA.name, "coding"), head_cost(LLAMA, H100, HGX, FOUR)
    gains = [speed_up(curve, 3, target, cost, b, 1000.0) for b in (1, 64, 512, 1000)]
    assert gains == sorted(gains, reverse=True)
    assert gains[0] > 1.8
    assert gains[-1] < 1.2
    with pytest.raises(ValueError, match="larger token budget"):
        speed_up(curve, 3, target, cost, 2000)


def test_expected_against_measured_speed_ups() -> None:
    # a statement of the error, not a target: see the module for what is assumed
    found = list(compare_speedups(CATALOG))
    alone = [abs(c.error) for c in found if c.over == "none"]
    relative = [abs(c.error) for c in found if c.over == "eagle3"]
    assert (len(alone), len(relative)) == (4, 21)
    assert statistics.fmean(alone) < 0.10, "EAGLE-3 over none: GB200 at 1, 4, 16; H100 at 64"
    assert max(alone) < 0.25, "the H100 row, whose source does not state the draft length"
    assert statistics.fmean(relative) < 0.20, "P-EAGLE over EAGLE-3 on B200, 1 to 64"
    kimi = [c for c in found if c.model == "kimi-k2.6"]
    assert [c.measured for c in kimi] == [2.03, 1.71, 1.66]
    expected = [c.expected for c in kimi]
    assert expected[0] > 1.15 * max(expected[1:]), "the gain falls with concurrency"
