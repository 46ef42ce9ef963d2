"""Where a step's time goes: the mean batch of a run, by kind of work."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

import planner
from planner.report.step_time import step_figure
from planner.results.result import Result
from planner.steps import step_table
from tests.small import load

pytestmark = pytest.mark.compiled  # whole runs, far too long in pure Python


def test_the_kinds_add_up_to_a_step_near_the_mean_one(tmp_path: Path) -> None:
    loaded = load(tmp_path)
    result = planner.run(loaded)
    steps = step_table(loaded, result)
    mean_s = result.frames.pools.set_index("pool")["step_s"]
    for pool, rows in steps.groupby("pool"):
        assert rows["share_rate"].sum() == pytest.approx(1.0)
        assert rows["step_s"].sum() == pytest.approx(mean_s[pool], rel=0.2)
    assert set(steps["pool"]) == {"chat", "reasoning"}
    kept = replace(result, steps=steps)
    read = Result.read(kept.write(tmp_path / "result"))
    assert read.steps is not None
    assert read.steps.equals(steps)
    figure = step_figure(read)
    assert figure is not None
    assert figure.legend[0][2] == "matrix products"
    assert step_figure(result) is None


def test_a_pool_that_drafts_or_did_nothing_is_left_out(tmp_path: Path) -> None:
    drafting = "pools.chat.speculation={method: n-gram, draft_tokens: 2}"
    loaded = load(tmp_path, "workload.duration=60 s", drafting)
    steps = step_table(loaded, planner.run(loaded))
    assert set(steps["pool"]) == {"reasoning"}
