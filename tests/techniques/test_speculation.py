"""Speculative decoding: the known answers, and what a pool that drafts is checked for.

Bands come from measurements, not from what is found here: `NOISE` is how far results of the same
benchmark on the same GPU differ between submitters (2 to 9%, MLPerf); a ratio of two runs has it
twice.
"""

from __future__ import annotations

import functools
import math
from itertools import pairwise
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml

import planner
from planner.catalog import load_catalog
from planner.curves.drafting import head_cost, speed_up
from planner.curves.engines import shipped_engines
from planner.curves.layout import Parallelism
from planner.curves.speculation import acceptance
from planner.errors import ScenarioError
from planner.kernel.plan import DraftPlan
from planner.lowering.pools import Basis, LoweredPool, lower_pool
from planner.scenario import check_speculation, load_checked, sequence_tokens_of
from planner.scenario.schema.pools import Pool, Speculation
from planner.scenario.schema.workload import RequestClass
from planner.search.bottleneck import LIFTS

SCENARIO = Path(__file__).resolve().parents[2] / "scenarios" / "techniques" / "speculation.yaml"
CATALOG = load_catalog()
NOISE = math.sqrt(2.0) * 0.09
MTP = {"method": "mtp", "draft_tokens": 3}
EAGLE = {"method": "eagle3", "draft_tokens": 3}


@functools.cache
def tables(scenario: str) -> tuple[pd.Series, pd.Series]:
    """Return the rows of the class and of the pool after a run."""
    result = planner.run(planner.load_scenario(SCENARIO, named=scenario))
    return result.to_pandas("classes").iloc[0], result.to_pandas("pools").iloc[0]


def tokens_per_s(scenario: str) -> float:
    return float(tables(scenario)[1]["decode_tokens_per_s_per_accelerator"])


# --- known answers --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("load", "published"), [("", 2.03), ("-4", 1.71), ("-16", 1.66)], ids=["1", "4", "16"]
)
def test_a_good_head_gains_less_in_larger_batches(load: str, published: float) -> None:
    """EAGLE-3.1 for Kimi K2.6 in NVFP4 on four GB200: vLLM's blog of 2026-05-26."""
    gain = tokens_per_s(f"eagle3{load}") / tokens_per_s(f"plain{load}")
    assert gain == pytest.approx(published, rel=NOISE)


def test_n_gram_drafts_slow_a_crowd_down() -> None:
    """Llama 3 70B on four H100: 1.8 times slower at a high rate (vLLM's blog of 2024-10-17).

    Its 2.8 alone is of articles that are copied from; acceptance on those is not in the tables.
    """
    busy = tokens_per_s("ngram-busy") / tokens_per_s("plain-busy")
    assert busy == pytest.approx(1 / 1.8, rel=NOISE)
    assert 1.3 < tokens_per_s("ngram-idle") / tokens_per_s("plain-idle") < 2.8


def test_the_mean_gap_falls_while_the_tail_rises() -> None:
    plain, drafting = tables("plain")[0], tables("eagle3")[0]
    assert drafting["itl_mean_s"] < 0.6 * plain["itl_mean_s"]
    assert drafting["itl_p99_s"] > 1.2 * plain["itl_p99_s"]


def test_drafts_that_are_too_long_gain_less() -> None:
    """What is accepted at the seventh place is not worth its drafting and verifying."""
    assert tokens_per_s("plain") < tokens_per_s("long-drafts") < tokens_per_s("eagle3")


def test_an_adaptive_pool_does_as_if_it_did_not_draft() -> None:
    gain = tokens_per_s("adaptive-256") / tokens_per_s("plain-256")
    assert gain == pytest.approx(1.0, abs=0.03)  # but for the head's pass over every token


def test_simulated_gain_is_the_analytic_one() -> None:
    """A lone request: L · T(1) / (T(1 + k) + D), the formula of `curves.drafting`."""
    basis = Basis(shipped_engines(), classes=tuple(load("eagle3").workload.classes))
    lowered = lower_pool(load("eagle3").pools[0], CATALOG, basis)
    kimi, four = CATALOG.model("kimi-k2"), Parallelism(tensor=4)
    cost = head_cost(kimi, lowered.chip, lowered.node, four, vocabulary=kimi.vocabulary_size)
    curve = acceptance("eagle3", "kimi-k2", "coding")
    expected = speed_up(curve, 3, lowered.curve, cost, 1, 1500.0)
    gain = tokens_per_s("eagle3") / tokens_per_s("plain")
    assert gain == pytest.approx(expected, rel=0.03)


# --- from the scenario to the plan ----------------------------------------------------------------


def load(scenario: str) -> Any:
    return load_checked(SCENARIO, CATALOG, scenario=scenario).scenario


def pool(speculation: dict[str, object] | None, **content: object) -> Pool:
    engine = {"token_budget": 2048, "context_tokens": 8192, "maximum_sequences": 64}
    values = {
        "name": "p", "model": "llama-3.1-70b", "node": "hgx-h100", "nodes": 1,
        "tensor_parallel": 4, "engine": engine, "speculation": speculation,
    }  # fmt: skip
    return Pool.model_validate(values | content)


def klass(name: str = "chat", **content: object) -> RequestClass:
    lengths = {"fixed": 100}
    return RequestClass.model_validate(
        {"name": name, "pool": "p", "share": 1.0, "input": lengths, "output": lengths} | content
    )


def lowered(speculation: dict[str, object] | None, *classes: RequestClass) -> LoweredPool:
    return lower_pool(
        pool(speculation), CATALOG, Basis(shipped_engines(), classes=classes or (klass(),))
    )


def draft_of(speculation: dict[str, object], *classes: RequestClass) -> DraftPlan:
    draft = lowered(speculation, *classes).plan.draft
    assert draft is not None
    return draft


def test_no_speculation_no_drafts() -> None:
    assert lowered(None).plan.draft is None


def test_own_acceptance_is_taken_as_it_is() -> None:
    plan = draft_of(EAGLE | {"acceptance": [0.5, 0.5, 0.0]})
    assert plan.emitted == ((0.5, 0.25, 0.25, 0.0),)
    assert plan.pace(0) == 1.75


def test_classes_accept_by_their_tasks() -> None:
    coding, writing = klass("a", task="coding"), klass("b", task="writing")
    plan = draft_of(EAGLE, coding, writing)
    assert plan.pace(0) > plan.pace(1)
    notes = {note.name: note for note in lowered(EAGLE, coding, writing).notes}
    found = notes["p.speculation.acceptance_length.a"]
    assert found.value == pytest.approx(plan.pace(0))
    assert found.tier == "estimated"  # of another model than Llama 70B


def test_costs_of_what_drafts() -> None:
    """A search costs nothing on the device; a head less than a model; both read their caches."""
    search = draft_of({"method": "n-gram", "draft_tokens": 3})
    head = draft_of(EAGLE)
    model = draft_of({"method": "draft-model", "draft_tokens": 3, "draft_model": "llama-3.1-8b"})
    assert search.seconds[0] == head.seconds[0] == 0.0
    assert search.seconds[1] < head.seconds[1] < model.seconds[1]
    assert (search.decode_s, 0.0 < head.decode_s < model.decode_s) == (0.0, True)
    plain = lowered(None).plan.linear_s
    assert (lowered(EAGLE).plan.linear_s[1:] > plain[1:]).all()


def test_what_drafts_takes_memory() -> None:
    alone = lowered(None).plan.kv_blocks
    head = lowered(EAGLE).plan.kv_blocks
    search = lowered({"method": "n-gram", "draft_tokens": 3}).plan.kv_blocks
    model = {"method": "draft-model", "draft_tokens": 3, "draft_model": "llama-3.1-8b"}
    assert search == alone
    assert 0.9 * alone < head < alone
    assert lowered(model).plan.kv_blocks < head


def test_drafting_counts_as_arithmetic_and_traffic() -> None:
    """The first pass in the table of steps, the others in that of drafting."""
    head, plain = lowered(EAGLE).plan, lowered(None).plan
    draft = head.draft
    assert draft is not None
    assert draft.compute_s is not None
    assert draft.memory_s is not None
    assert (draft.compute_s[1:] > 0.0).all()
    assert (draft.compute_s + draft.memory_s <= 2.0 * draft.seconds).all()
    assert head.compute_s is not None
    assert head.memory_s is not None
    assert plain.compute_s is not None
    assert plain.memory_s is not None
    assert (head.compute_s[1:] > plain.compute_s[1:]).all()
    assert (head.memory_s[1:] > plain.memory_s[1:]).all()
    assert head.prefill_s > plain.prefill_s
    read_s = head.decode_memory_s - plain.decode_memory_s
    assert 0.0 < read_s <= draft.decode_s
    limited = lowered(EAGLE | {"maximum_sequences": 8}).plan
    assert limited.decode_memory_s == plain.decode_memory_s


def test_a_run_that_drafts_reads_more_memory() -> None:
    """Its steps are longer, yet traffic is a larger share: the head's and no more than that."""
    plain, drafting = tables("plain")[1], tables("eagle3")[1]
    assert plain["memory_rate"] < drafting["memory_rate"] < 2.0 * plain["memory_rate"]
    assert drafting["compute_rate"] > 2.0 * plain["compute_rate"]


def test_steps_emit_the_tokens_that_are_reported() -> None:
    drafting = tables("eagle3")[1]
    length = acceptance("eagle3", "kimi-k2", "coding", thinking=None).length(3)
    assert drafting["acceptance_length"] == pytest.approx(length)
    assert math.isnan(tables("plain")[1]["acceptance_length"])


def test_no_window_decodes_less_than_nothing() -> None:
    """Also where they are shorter than outputs, whose tokens are put right only at the end."""
    changes = [
        "workload.window=50 ms", "workload.duration=20 s", "workload.warmup=1 s",
        "workload.drain=5 s", "workload.classes.coding.closed.clients=1",
    ]  # fmt: skip
    result = planner.run(planner.load_scenario(SCENARIO, named="eagle3", sets=changes))
    windows = result.to_pandas("pool_windows")["decode_tokens"]
    assert windows.min() >= 0
    assert windows.sum() == result.to_pandas("pools")["decode_tokens"].sum() > 1000


def test_heads_have_the_format_of_their_checkpoints() -> None:
    """DeepSeek's own prediction layer is in fp8 as the model; NVIDIA's fp4 keeps it in bf16."""
    found = {
        (method, of_model): Speculation.model_validate(
            {"method": method, "draft_tokens": 1, **stated}
        ).weight_dtype(of_model)
        for method, of_model, stated in [
            ("mtp", "fp8", {}), ("mtp", "bf16", {}), ("mtp", "fp4", {}), ("eagle3", "fp8", {}),
            ("p-eagle", "fp8", {"draft_dtype": "fp8"}),
        ]
    }  # fmt: skip
    assert list(found.values()) == ["fp8", "bf16", "bf16", "bf16", "fp8"]


def test_searches_that_find_nothing_verify_nothing() -> None:
    """With a match in every fourth step, steps hold 1 + 0.25 · 4 tokens of a sequence."""
    always = {"method": "n-gram", "draft_tokens": 4, "acceptance": [0.8, 0.8, 0.8, 0.8]}
    seldom = draft_of(always | {"match_rate": 0.25})
    table = lowered(always).plan.linear_s
    saved = draft_of(always).seconds - seldom.seconds
    for sequences in (1, 20, 64):
        assert saved[sequences] == pytest.approx(table[5 * sequences] - table[2 * sequences])
    assert seldom.emitted[0][0] == pytest.approx(1.0 - 0.25 * 0.8)
    assert seldom.pace(0) - 1.0 == pytest.approx(0.25 * (draft_of(always).pace(0) - 1.0))
    published = {"method": "n-gram", "draft_tokens": 4}
    assert draft_of(published | {"match_rate": 0.9}).emitted == draft_of(published).emitted


def test_steps_without_a_match_shorten_the_mean_as_measured() -> None:
    """Edits of text: 4.59 tokens in the 993 of 1,814 steps that draft, 2.96 in the mean of all.

    https://github.com/vllm-project/vllm/pull/24344
    """
    reached = (0.81, 0.74, 0.70, 0.68, 0.66)
    shares = [now / before for before, now in pairwise((1.0, *reached))]
    drafting = {"method": "n-gram", "draft_tokens": 5, "acceptance": shares}
    assert draft_of(drafting).pace(0) == pytest.approx(4.59, abs=0.01)
    matched = draft_of(drafting | {"match_rate": 993 / 1814})
    assert matched.pace(0) == pytest.approx(2.96, abs=0.01)


def test_data_parallel_groups_search_at_the_same_time() -> None:
    speculation = {"method": "n-gram", "draft_tokens": 3}
    spread = pool(speculation, tensor_parallel=4, data_parallel=2)
    basis = Basis(shipped_engines(), classes=(klass(),))
    found = lower_pool(spread, CATALOG, basis).plan.draft
    assert found is not None
    assert found.seconds[64] == pytest.approx(draft_of(speculation).seconds[64] / 2)


def test_a_head_of_few_tokens_is_lighter() -> None:
    whole = lowered(EAGLE | {"draft_vocabulary": 128_256})
    assert whole.plan.kv_blocks < lowered(EAGLE).plan.kv_blocks
    draft = whole.plan.draft
    assert draft is not None
    assert draft.seconds[1] > draft_of(EAGLE).seconds[1]


def test_a_step_may_hold_the_drafts_of_all_sequences() -> None:
    """Or of as many as draft at all, if those are more tokens than one of each sequence."""
    assert sequence_tokens_of(pool(None)) == 1.0
    assert sequence_tokens_of(pool(EAGLE)) == 4.0
    assert sequence_tokens_of(pool(EAGLE | {"maximum_sequences": 32})) == 2.0
    assert sequence_tokens_of(pool(EAGLE | {"maximum_sequences": 4})) == 1.0


def test_a_tree_verifies_more_than_it_can_emit() -> None:
    plan = draft_of(EAGLE | {"verified_tokens": 16, "acceptance": [0.8, 0.7, 0.6]})
    assert (plan.tokens, len(plan.emitted[0])) == (16, 4)


def test_too_little_accepted_turns_drafts_off() -> None:
    speculation = EAGLE | {"acceptance": [0.2, 0.1, 0.1], "minimum_length": 1.5}
    found = lowered(speculation)
    assert found.draft is not None
    assert found.draft.plan is found.plan.draft is None
    assert "off: steps would emit" in str(found.draft.notes[-1].value)
    assert draft_of(speculation | {"minimum_length": 1.2})


def test_what_is_switched_off_takes_neither_memory_nor_time() -> None:
    speculation = EAGLE | {"acceptance": [0.2, 0.1, 0.1], "minimum_length": 1.5}
    off, none = lowered(speculation), lowered(None)
    assert off.plan.kv_blocks == none.plan.kv_blocks
    assert (off.plan.linear_s == none.plan.linear_s).all()
    assert off.meta == none.meta


def test_classes_count_by_their_steps() -> None:
    """Nine tenths of the steps are coding's, whose drafts are accepted more often."""
    few, many = {"rate": "1 /s"}, {"rate": "9 /s"}
    own = {"input": {"fixed": 100}, "output": {"fixed": 100}, "share": None}
    short = {"output": {"fixed": 10}}
    coding, writing = klass("a", task="coding"), klass("b", task="writing")
    one, other = (draft_of(EAGLE, each).pace(0) for each in (coding, writing))

    def mean(*classes: RequestClass) -> float:
        found = lowered(EAGLE, *classes).draft
        assert found is not None
        return found.acceptance.length

    assert mean(coding, writing) == pytest.approx(200 / (100 / one + 100 / other))
    busy, idle = (
        klass("a", task="coding", open=many, **own),
        klass("b", task="writing", open=few, **own),
    )
    assert mean(busy, idle) == pytest.approx(1000 / (900 / one + 100 / other))
    brief = klass("b", task="writing", open=few, **own | short)
    assert mean(busy, brief) == pytest.approx(910 / (900 / one + 10 / other))
    loops = [{"closed": {"clients": n}, "share": None} for n in (3, 1)]
    clients = klass("a", task="coding", **loops[0]), klass("b", task="writing", **loops[1])
    assert mean(*clients) == pytest.approx((3 * one + other) / 4)
    assert mean(busy, clients[1]) == pytest.approx((one + other) / 2), "of two kinds: alike"
    least = EAGLE | {"minimum_length": (one + other) / 2}
    assert lowered(least, busy, idle).plan.draft is not None
    assert (
        lowered(
            least,
            klass("a", task="coding", open=few, **own),
            klass("b", task="writing", open=many, **own),
        ).plan.draft
        is None
    )


# --- faults ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("speculation", "message"),
    [
        ({"method": "eagle"}, "method"),
        ({"method": "draft-model", "draft_tokens": 2}, "needs a draft_model"),
        (EAGLE | {"draft_model": "llama-3.1-8b"}, "only for the method draft-model"),
        (EAGLE | {"draft_tokens": 0}, "draft_tokens"),
        (EAGLE | {"verified_tokens": 2}, "fewer than the draft_tokens 3"),
        (EAGLE | {"acceptance": [0.5]}, "acceptance has 1 shares for draft_tokens 3"),
        (
            EAGLE | {"verified_tokens": 255, "acceptance": [0.9, 0.9, 0.9]},
            "lower speculation.maximum_sequences to 32",
        ),
        (EAGLE | {"verified_tokens": 15}, "published tables tell of chains"),
        (EAGLE | {"minimum_length": 9.0}, "out of reach"),
        ({"method": "n-gram", "draft_tokens": 2, "draft_dtype": "fp8"}, "delete draft_dtype"),
        (MTP | {"draft_vocabulary": 32_000}, "delete it for mtp"),
        (EAGLE | {"match_rate": 0.5}, "eagle3 drafts in every step"),
        (
            {"method": "n-gram", "draft_tokens": 8, "match_rate": 0.1},
            "state `acceptance`, of steps that draft",
        ),
        (
            {"method": "draft-model", "draft_tokens": 2, "draft_model": "llama-3.1-8b"},
            "so its drafts cannot be verified",
        ),
        (
            {"method": "draft-model", "draft_tokens": 2, "draft_model": "kimi-k2"},
            "is not smaller",
        ),
        ({"method": "mtp", "draft_tokens": 2}, "state `acceptance`"),
        ({"method": "draft-model", "draft_tokens": 2, "draft_model": "lama"}, "lama"),
        (EAGLE | {"minimum_lenght": 2.0}, "did you mean minimum_length?"),
    ],
)
def test_contradictions_are_named(
    tmp_path: Path, speculation: dict[str, object], message: str
) -> None:
    text = SCENARIO.read_text(encoding="utf-8")
    path = tmp_path / "s.yaml"
    own = yaml.safe_load(text)
    own["pools"][0]["speculation"] = speculation
    path.write_text(yaml.safe_dump(own, allow_unicode=True), encoding="utf-8")
    with pytest.raises(ScenarioError) as caught:
        load_checked(path, CATALOG)
    assert message in str(caught.value)


def test_a_model_without_a_head_of_its_own_needs_own_measurements() -> None:
    model, chip = CATALOG.model("llama-3.1-70b"), CATALOG.chip("h100-sxm")
    ((where, message),) = check_speculation.check_speculation(pool(MTP), model, chip, CATALOG)
    assert where == ("speculation", "method")
    assert "state `acceptance`" in message
    own = pool(MTP | {"acceptance": [0.5, 0.5, 0.5]})
    assert list(check_speculation.check_speculation(own, model, chip, CATALOG)) == []


def test_classes_of_other_pools_do_not_switch_drafts_off() -> None:
    speculation = EAGLE | {"minimum_length": 2.5}
    coding = klass("a", task="coding")
    foreign = klass("b", task="writing", pool="other")
    assert draft_of(speculation, coding).pace(0) > 2.5
    assert draft_of(speculation, coding, foreign)
    names = [note.name for note in lowered(speculation, coding, foreign).notes]
    assert "p.speculation.acceptance_length.a" in names
    assert "p.speculation.acceptance_length.b" not in names


def test_a_pool_that_drafts_is_estimated() -> None:
    assert lowered(None).meta.tier != "estimated"
    assert lowered(EAGLE).meta.tier == "estimated"


def test_bottlenecks_of_pools_that_draft_can_be_sought() -> None:
    """Without limits on sequences, all of them still have to fit into a step."""
    for limit in (None, 40, 500):
        speculation = EAGLE | ({} if limit is None else {"maximum_sequences": limit})
        wide = pool(speculation, engine={"token_budget": 1024, "maximum_sequences": 64})
        before = lower_pool(wide, CATALOG, Basis(shipped_engines(), classes=(klass(),)))
        after = LIFTS["queueing"][1](wide, before, CATALOG)
        assert after.plan.maximum_sequences >= before.plan.maximum_sequences
