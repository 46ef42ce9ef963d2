"""Speculative decoding: the known answers, and what a pool that drafts is checked for.

Bands come from measurements, not from what is found here: `NOISE` is how far results of the same
benchmark on the same GPU differ between submitters (2 to 9%, MLPerf); a ratio of two runs has it
twice.
"""

from __future__ import annotations

import functools
import math
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
from planner.lowering.drafts import lower_draft
from planner.lowering.pools import Basis, LoweredPool, lower_pool
from planner.scenario import check_speculation, load_checked
from planner.scenario.schema.pools import Pool
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
    cost = head_cost(CATALOG.model("kimi-k2"), lowered.chip, lowered.node, Parallelism(tensor=4))
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


def test_a_tree_verifies_more_than_it_can_emit() -> None:
    plan = draft_of(EAGLE | {"verified_tokens": 16, "acceptance": [0.8, 0.7, 0.6]})
    assert (plan.tokens, len(plan.emitted[0])) == (16, 4)


def test_too_little_accepted_turns_drafts_off() -> None:
    speculation = EAGLE | {"acceptance": [0.2, 0.1, 0.1], "minimum_length": 1.5}
    found = lower_draft(
        pool(speculation), [klass()], CATALOG.model("llama-3.1-70b"), CATALOG.chip("h100-sxm"),
        CATALOG.node("hgx-h100"), CATALOG, {},
    )  # fmt: skip
    assert found is not None
    assert found.plan is None
    assert "off: steps would emit" in str(found.notes[-1].value)
    assert lowered(speculation).plan.draft is None
    assert draft_of(speculation | {"minimum_length": 1.2})


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
