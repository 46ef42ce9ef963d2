from __future__ import annotations

import itertools
import math
import statistics
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from planner.curves import speculation
from planner.curves.data import derive_tables
from planner.curves.speculation import (
    METHODS,
    TASKS,
    AcceptanceCurve,
    acceptance,
    constant_alpha_errors,
)
from planner.curves.survival import constant_alpha, levelled, tilted
from planner.curves.tables import family_of, plain_model, read_table
from planner.errors import CatalogError

DRAFTS = range(33)


def holds_together(curve: AcceptanceCurve, drafts=DRAFTS) -> None:
    """Check what any curve must satisfy, for the kernel to draw from it."""
    for k in drafts:
        chances, survival = curve.by_position(k), curve.survival(k)
        assert len(chances) == len(survival) == k
        assert all(0.0 <= chance <= 1.0 for chance in chances)
        assert all(a >= b for a, b in itertools.pairwise(survival))
        assert 1.0 <= curve.length(k) <= 1.0 + k
        assert 1.0 + sum(survival) == pytest.approx(curve.length(k), abs=1e-6)


# --- published values ----------------------------------------------------------------------------


def test_published_lengths_come_back_as_they_are() -> None:
    qwen = acceptance("mtp", "qwen3.5-397b-a17b", "coding", thinking=True)
    published = [1.93, 2.73, 3.39, 3.97, 4.41, 4.80, 5.04, 5.21]
    assert [qwen.length(k) for k in range(1, 9)] == published
    assert (qwen.matched, qwen.tier, qwen.longest) == ("model", "measured", 8)
    assert "InferenceX" in qwen.sources[0]


def test_reasoning_on_and_off_are_told_apart_or_averaged() -> None:
    on, off, both = (
        acceptance("mtp", "deepseek-v4-pro", "coding", thinking=mode).length(3)
        for mode in (True, False, None)
    )
    assert (on, off) == (2.49, 2.97)
    assert both == pytest.approx((on + off) / 2)


def test_a_position_is_accepted_with_the_ratio_of_two_increments() -> None:
    kimi = acceptance("eagle3", "kimi-k2.5", "coding", thinking=True)
    assert kimi.survival(3) == pytest.approx((0.83, 0.60, 0.45))
    assert kimi.by_position(3) == pytest.approx((0.83, 0.60 / 0.83, 0.45 / 0.60))


def test_a_draft_that_gets_worse_with_its_length_keeps_its_published_mean() -> None:
    curve = acceptance("dspark", "deepseek-v4-pro-0813", "coding")
    assert [curve.length(k) for k in (6, 7, 8)] == [3.77, 3.73, 3.47]
    holds_together(curve)
    assert curve.length(9) == pytest.approx(3.47, abs=0.02), "goes on from the last published value"


def test_tables_with_gaps_are_filled_between_their_points() -> None:
    curve = acceptance("p-eagle", "gpt-oss-20b", "chat")
    assert (curve.length(3), curve.length(7)) == (2.87, 3.70)
    steps = [curve.length(k + 1) - curve.length(k) for k in range(7)]
    assert all(a >= b > 0 for a, b in itertools.pairwise(steps))


def test_prompt_lookup_and_draft_models_have_tables() -> None:
    lookup, draft = (acceptance(m, "llama-3.1-8b") for m in ("n-gram", "draft-model"))
    assert (lookup.longest, draft.longest) == (10, 5)
    assert 1.5 < lookup.length(10) < 1.8
    assert 2.0 < draft.length(5) < 2.3


# --- where nothing is measured -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "model", "task", "matched"),
    [
        ("eagle3", "Qwen3-8B", "math", "model"),
        ("eagle3", "qwen3-235b-a22b", "math", "family"),
        ("eagle3", "kimi-k2", "coding", "family"),
        ("mtp", "qwen3-next-80b-a3b", "coding", "method"),
        ("medusa", "llama-2-7b", "chat", "constant"),
    ],
)
def test_relatives_stand_in_in_order(method: str, model: str, task: str, matched: str) -> None:
    curve = acceptance(method, model, task)
    assert curve.matched == matched
    assert curve.tier == ("measured" if matched == "model" else "estimated")
    assert curve.report(1) or matched == "model", "a stand-in says so"


def test_another_task_is_scaled_by_models_measured_on_both() -> None:
    coding, roleplay = (acceptance("eagle3", "kimi-k2.5", task) for task in ("coding", "roleplay"))
    assert roleplay.tier == "estimated"
    published = (2.01 - 1) / (3.32 - 1)  # MiniMax-M3, three drafted tokens
    ratio = (roleplay.length(8) - 1) / (coding.length(8) - 1)
    assert ratio == pytest.approx(published, rel=0.05)
    assert "minimax-m3" in " ".join(roleplay.report(3))


def test_drafts_beyond_the_table_are_reported() -> None:
    curve = acceptance("eagle3", "qwen3-8b", "math")
    assert not curve.is_extrapolated(2)
    assert curve.is_extrapolated(3)
    assert any("extrapolated" in sentence for sentence in curve.report(3))
    assert not any("extrapolated" in sentence for sentence in curve.report(2))


def test_a_constant_alpha_overstates_long_drafts() -> None:
    errors = constant_alpha_errors()
    assert len(errors) == 11
    assert min(errors.values()) == pytest.approx(0.075, abs=0.01), "on every curve"
    assert statistics.median(errors.values()) == pytest.approx(0.112, abs=0.01)
    assert max(errors.values()) == pytest.approx(0.498, abs=0.01)


@given(st.floats(0, 1), st.integers(1, 64))
def test_constant_alpha_inverts_the_geometric_sum(alpha: float, k: int) -> None:
    length = sum(alpha**i for i in range(k + 1))
    found = constant_alpha(length, k)
    assert sum(found**i for i in range(k + 1)) == pytest.approx(length, abs=1e-9)


# --- hostile input -------------------------------------------------------------------------------


@given(
    st.sampled_from(METHODS), st.text(max_size=40), st.none() | st.sampled_from(TASKS),
    st.none() | st.booleans(),
)  # fmt: skip
def test_any_model_name_has_a_curve(method, model, task, thinking) -> None:
    holds_together(acceptance(method, model, task, thinking=thinking), drafts=(0, 1, 3, 8, 64))


@given(st.text(max_size=200))
def test_unknown_methods_and_tasks_are_refused(name: str) -> None:
    if name not in METHODS:
        with pytest.raises(CatalogError, match="unknown method"):
            acceptance(name, "qwen3-8b")
    if name not in TASKS:
        with pytest.raises(CatalogError, match="unknown task"):
            acceptance("mtp", "qwen3-8b", name)


def test_a_misspelt_method_is_corrected() -> None:
    with pytest.raises(CatalogError, match="did you mean eagle3"):
        acceptance("eagle-3", "qwen3-8b")


@pytest.mark.parametrize("k", [-1, 65, 10**30, 2.0, True, "3", None, math.nan])
def test_impossible_draft_lengths_are_refused(k: object) -> None:
    curve = acceptance("mtp", "glm-5.2", "coding")
    for function in (curve.length, curve.by_position, curve.survival, curve.is_extrapolated):
        with pytest.raises(ValueError, match="draft_tokens must be"):
            function(k)  # type: ignore[arg-type]


@pytest.mark.parametrize(("length", "k"), [(0.9, 3), (4.1, 3), (math.nan, 3)])
def test_lengths_that_no_draft_has_are_refused(length: float, k: int) -> None:
    with pytest.raises(ValueError, match="emits between"):
        constant_alpha(length, k)


published = st.dictionaries(st.integers(1, 16), st.floats(0, 40), min_size=1, max_size=8)


@given(st.lists(published, min_size=1, max_size=3), st.sampled_from(["coding", "chat", None]))
def test_any_published_table_makes_a_curve_that_holds_together(tables, task) -> None:
    # noise and impossible values alike: increments rise, fall below zero, exceed the draft
    rows = [
        {
            "method": "mtp", "model": f"m-{i}", "family": "m", "task": "coding", "thinking": "",
            "draft_tokens": str(k), "acceptance_length": str(min(max(value, 1.0), 1.0 + k)),
            "source": "s", "note": "",
        }
        for i, table in enumerate(tables)
        for k, value in table.items()
    ]  # fmt: skip
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(speculation, "read_table", lambda _: rows)
        holds_together(acceptance("mtp", "m-0", task), drafts=range(21))
        holds_together(acceptance("mtp", "m-x", task), drafts=range(21))


@given(st.lists(st.floats(-2, 3), max_size=20))
def test_levelled_sequences_never_rise_and_keep_what_is_right(values: list[float]) -> None:
    found = levelled(values)
    assert len(found) == len(values)
    assert all(a >= b - 1e-12 for a, b in itertools.pairwise(found))
    assert levelled(found) == pytest.approx(found)
    assert sum(found) == pytest.approx(sum(min(max(v, 0.0), 1.0) for v in values))


@given(st.lists(st.floats(0, 1), min_size=1, max_size=16), st.floats(0, 1))
def test_chances_can_be_brought_to_any_mean(chances: list[float], share: float) -> None:
    drafted = share * len(chances)
    found = tilted(chances, drafted)
    assert all(0.0 <= chance <= 1.0 for chance in found)
    assert sum(itertools.accumulate(found, lambda a, b: a * b)) == pytest.approx(drafted, abs=1e-6)


# --- tables --------------------------------------------------------------------------------------

SHIPPED = ("acceptance.csv", "acceptance_speedup.csv", "quality.csv", "quantization_gemm.csv")


@pytest.mark.parametrize("name", SHIPPED)
def test_every_row_says_where_it_comes_from(name: str) -> None:
    for row in read_table(name):
        assert row["source"]
        assert row["licence"] in ("Apache-2.0", "fact")
        assert row["unit"] in ("tokens/step", "ratio")
        assert row["tier"] == "measured"
        assert row.get("method", "mtp") in METHODS
        assert row.get("task", "mixed") in (*TASKS, "random")


def test_the_tables_are_what_the_script_derives(shared_data: Path, tmp_path: Path) -> None:
    derive_tables.main([str(shared_data / "microbench"), str(tmp_path)])
    folder = Path(derive_tables.__file__).parent
    for name in SHIPPED:
        assert (tmp_path / name).read_bytes() == (folder / name).read_bytes(), f"derive {name}"


def test_the_script_wants_two_folders(tmp_path: Path) -> None:
    for arguments in ([], [str(tmp_path)], [str(tmp_path), str(tmp_path / "absent")]):
        with pytest.raises(SystemExit):
            derive_tables.main(arguments)


def test_a_missing_or_torn_table_is_reported(tmp_path: Path, monkeypatch) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "torn.csv").write_text("a,b\n1,2\n3\n", encoding="utf-8")
    monkeypatch.setattr("planner.curves.tables.resources.files", lambda _: tmp_path)
    with pytest.raises(CatalogError, match=r"torn\.csv:3: has not as many fields"):
        read_table("torn.csv")
    with pytest.raises(CatalogError, match="is missing"):
        read_table("absent.csv")


@given(st.text(max_size=60))
def test_names_of_models_are_plain_after_one_pass(name: str) -> None:
    assert family_of(plain_model(name)) == family_of(name)
