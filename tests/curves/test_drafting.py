from __future__ import annotations

import statistics

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from planner.catalog import load_catalog
from planner.curves.drafting import (
    PASS_S,
    DraftCost,
    compare_speedups,
    head_cost,
    head_model,
    head_share,
    lookup_cost,
    model_cost,
    speed_up,
)
from planner.curves.layout import Dtypes, Parallelism
from planner.curves.speculation import acceptance
from planner.curves.steptime import step_time

CATALOG = load_catalog()
LLAMA = CATALOG.model("llama-3.1-70b")
H100, HGX = CATALOG.chip("h100-sxm"), CATALOG.node("hgx-h100")
FOUR = Parallelism(tensor=4)


def test_a_head_is_one_layer_and_the_output_head() -> None:
    head = head_model(LLAMA)
    assert head.layer_count == 1
    layer = LLAMA.layers[0]
    own = layer.attention.parameters(8192) + layer.ffn.parameters(8192)
    assert head.parameters() == own + 2 * 8192 * LLAMA.vocabulary_size
    assert head_share(LLAMA) == pytest.approx(0.042, abs=0.002)


def test_a_prediction_layer_is_one_of_the_targets_own() -> None:
    deepseek = CATALOG.model("deepseek-v3")
    assert head_model(deepseek, like_target=True).layers[0].ffn.kind == "moe"
    assert head_model(deepseek).layers[0].ffn.kind == "dense"
    assert 0.05 < head_share(deepseek, like_target=True) < 0.08


def test_passes_add_up_unless_all_positions_are_drafted_at_once() -> None:
    one_by_one = head_cost(LLAMA, H100, HGX, FOUR)
    at_once = head_cost(LLAMA, H100, HGX, FOUR, parallel=True)
    assert one_by_one.seconds(4, 8) == pytest.approx(4 * one_by_one.seconds(1, 8))
    assert at_once.seconds(4, 8) < 1.2 * one_by_one.seconds(1, 8)
    assert one_by_one.seconds(1, 8) > PASS_S


def test_a_draft_model_costs_its_own_steps() -> None:
    draft = CATALOG.model("llama-3.2-1b")
    cost = model_cost(draft, H100, HGX, FOUR, Dtypes())
    step = step_time(draft, H100, HGX, FOUR, Dtypes(), token_budget=512)
    assert cost.seconds(3, 16) > 3 * step.linear_s[16]
    assert cost.kind == "model"


def test_prompt_lookup_costs_host_time_per_sequence() -> None:
    assert lookup_cost(10e-6).seconds(5, 8) == pytest.approx(80e-6)
    assert lookup_cost(10e-6).seconds(0, 8) == 0.0


@given(st.integers(0, 64), st.integers(0, 5000), st.booleans())
def test_drafting_never_pays_for_more_work(draft_tokens: int, sequences: int, parallel) -> None:
    cost = DraftCost("head", np.linspace(0.0, 1e-3, 65), 1e-4, 1e-6, parallel, "test")
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
