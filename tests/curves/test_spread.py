"""How the tokens of a round fall on groups and micro-batches."""

from __future__ import annotations

import numpy as np
import pytest

from planner.curves.layout import Parallelism
from planner.curves.spread import CONTEXT_CV, Spread, slowest_stage


def spread(
    parallelism: Parallelism, engine: str = "vllm", budget: int = 1000, sequences: int = 64
) -> Spread:
    parts = parallelism.data * parallelism.batches
    return Spread.of(
        parallelism, budget * parts, sequences * parallelism.data, prompt_tokens=200, engine=engine
    )


def largest(parts: Spread, *tokens: float) -> list[float]:
    return [float(each) for each in parts.group(np.array(tokens))]


def test_a_replica_of_one_part_has_all_tokens() -> None:
    alone = spread(Parallelism(tensor=4))
    assert largest(alone, 1, 64, 500, 1000) == [1, 64, 500, 1000]
    assert (alone.pace, alone.parts) == (1.0, 1)
    assert alone.longest_context(np.array([64.0])) == [0.0]


def test_decodes_are_shared_by_micro_batches_and_a_prompt_is_not() -> None:
    """64 sequences decode in 4 micro-batches; 500 tokens of a prompt go into one of them."""
    staged = spread(Parallelism(pipeline=4))
    assert largest(staged, 4, 64, 564) == [1.0, 16.0, 516.0]
    # four engines' budgets fill all four
    assert largest(staged, 1064, 4000) == [1000.0, 1000.0]


def test_tokens_that_are_verified_are_decodes() -> None:
    """Four of each of 256 sequences, in groups of 64: shared evenly, all of them drawn from."""
    groups = Parallelism(data=4)
    tokens = np.array([256.0, 1024.0])
    chain = Spread.of(groups, 8192, 256, prompt_tokens=200, engine="vllm", width=4.0)
    assert largest(chain, *tokens) == [64.0, 256.0]
    assert chain.sampled(tokens).tolist() == [64.0, 256.0]
    plain = Spread.of(groups, 8192, 256, prompt_tokens=200, engine="vllm")
    assert largest(plain, *tokens) == [64.0, 64.0 + 200.0]
    assert plain.sampled(tokens).tolist() == [64.0, 64.0]
    # contexts are those of sequences, not of tokens
    assert chain.longest_context(tokens)[1] == plain.longest_context(tokens)[0]


def test_fewer_micro_batches_idle_and_more_queue() -> None:
    one, eight = (spread(Parallelism(pipeline=4, micro_batches=count)) for count in (1, 8))
    assert (one.pace, one.parts, largest(one, 64)) == (1.0, 1, [64.0])
    assert (eight.pace, eight.parts, largest(eight, 64)) == (2.0, 4, [8.0])


def test_the_fullest_group_has_a_whole_prompt_until_there_is_one_for_each() -> None:
    wide = spread(Parallelism(data=8))
    assert largest(wide, 512) == [64.0]  # 64 sequences on each
    assert largest(wide, 512 + 100) == [164.0]
    assert largest(wide, 512 + 1600) == [264.0]  # eight prompts of 200
    assert largest(wide, 8000) == [1000.0]
    # TensorRT-LLM waits until every group has a prompt
    assert largest(spread(Parallelism(data=8), "tensorrt-llm"), 512, 1312) == [64.0, 164.0]


def test_experts_see_the_tokens_of_all_groups() -> None:
    wide = spread(Parallelism(data=8, expert=8))
    assert wide.stage(np.array([512.0])) == [512.0]
    both = spread(Parallelism(data=8, pipeline=2))
    assert both.stage(np.array([512.0])) == [256.0]
    assert both.stage(np.array([16000.0])) == [8000.0]
    assert both.group(np.array([512.0])) == [32.0]


def test_the_longest_context_is_the_maximum_of_normal_sums() -> None:
    random = np.random.default_rng(7)
    sums = random.normal(1.0, CONTEXT_CV, (4000, 8, 64)).sum(axis=2).max(axis=1) - 64
    (excess,) = spread(Parallelism(data=8)).longest_context(np.array([512.0]))
    assert excess == pytest.approx(sums.mean(), rel=0.03)


def test_layers_are_not_cut() -> None:
    assert slowest_stage(61, 1) == 1.0
    assert slowest_stage(80, 4) == 1.0
    assert slowest_stage(61, 2) == 31 / 30.5
