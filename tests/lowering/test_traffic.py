"""The requests of a scenario: every source, merged, completed, cut, and stable under changes."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from planner.errors import ScenarioError
from planner.kernel import dtypes
from planner.lowering import traffic as traffic_module
from planner.lowering.traffic import TRACE_VISITORS
from tests.lowering.scenarios import assert_same_rows, heads, load, open_rows, traffic, write_trace

Records = NDArray[np.void]

OWN = """\
arrival_s input_tokens output_tokens session_id think_s
0 10 1 a -
- 20 2 a 5
2 30 3 - -
2 40 4 b -
- 50 5 b 1
- 60 6 b 2
9 70 7 - -
"""
SHARED = """\
arrival_s input_tokens output_tokens reasoning_tokens class
1 100 50 40 -
2 101 51 41 named
2 102 52 42 -
3 103 53 43 own
4 104 54 44 unknown
5 105 55 45 -
"""
EVERY_SOURCE = """\
- {name: synthetic, pool: small, open: {rate: 1 /s}, input: {uniform: [1, 99]}, output: {fixed: 7},
   sessions: {turns: {uniform: [1, 3]}, think_median: 4 s}}
- {name: own, pool: small, trace: {file: own.csv}}
- {name: shared, pool: small, share: 50%}
- {name: named, pool: small}
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_trace(tmp_path, "own.csv", OWN)
    write_trace(tmp_path, "shared.csv", SHARED)
    return tmp_path


def of_class(rows: Records, index: int) -> Records:
    """Return the rows of a class without their numbers, which the other classes decide."""
    mine: Records = rows[rows["class"] == index].copy()
    mine["row"] = 0
    return mine


# --- merging -------------------------------------------------------------------------------------


def test_all_sources_are_merged_in_order_of_arrival(folder: Path) -> None:
    rows = open_rows(load(folder, EVERY_SOURCE, "trace: {file: shared.csv}"))
    arrival_s = rows["arrival_s"][heads(rows)]
    assert (np.diff(arrival_s) >= 0).all()
    assert rows["row"].tolist() == list(range(len(rows)))
    assert np.bincount(rows["class"])[[1, 3]].tolist() == [7, 1]
    assert set(rows["input_tokens"][rows["class"] == 2].tolist()) <= {100, 102, 104, 105}
    # At 2 s there are rows of the shared trace first, then of the own one.
    tie = rows[rows["arrival_s"] == 2.0]
    assert tie["class"].tolist() in ([3, 1, 1], [3, 2, 1, 1])


def test_sessions_stay_in_one_piece(folder: Path) -> None:
    rows = open_rows(load(folder, EVERY_SOURCE, "trace: {file: shared.csv}"))
    chain = np.cumsum(heads(rows))
    later = np.flatnonzero(~heads(rows))
    assert len(later) > 1000
    for field in ("class", "session"):
        assert (rows[field][later] == rows[field][later - 1]).all()
    assert (rows["turn"][later] == rows["turn"][later - 1] + 1).all()
    sessions = rows["session"] + rows["class"].astype(np.int64) * 2**50
    own_chain: dict[int, int] = {}
    for session, number in zip(sessions.tolist(), chain.tolist(), strict=True):
        if session % 2**50 != 2**50 - 1:
            assert own_chain.setdefault(session, number) == number


def test_the_think_time_of_a_later_turn_is_kept_and_other_rows_have_none(folder: Path) -> None:
    loaded = load(folder, "- {name: own, pool: small, trace: {file: own.csv}}")
    rows = open_rows(loaded)
    assert rows["think_s"].tolist() == [0.0, 5.0, 0.0, 0.0, 1.0, 2.0, 0.0]
    assert rows["turn"].tolist() == [0, 1, 0, 0, 1, 2, 0]
    assert (rows["session"] >= 0).tolist() == [True, True, False, True, True, True, False]


@pytest.mark.parametrize("size", [1, 2, 3, 50])
def test_the_size_of_blocks_changes_nothing(
    folder: Path, size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ties between sources, shares, drawn lengths and visitors included."""
    lines = [f"{n // 3} {n} 9 {'-' if n % 2 else n // 9} -" for n in range(300)]
    write_trace(folder, "long.csv", f"{OWN.splitlines()[0]}\n" + "\n".join(lines))
    lengths = (
        "input: {uniform: [1, 1000]}, output: {uniform: [1, 90]}, reasoning: {uniform: [0, 9]}"
    )
    limit = "visitors: 40, rate_limit: {rate: 1 /h}"
    classes = (
        f"- {{name: first, pool: small, share: 30%, {lengths}, {limit}}}\n"
        f"- {{name: second, pool: small, share: 40%, {limit}}}\n"
        f"- {{name: own, pool: small, trace: {{file: long.csv}}, {lengths}}}\n"
        "- {name: open, pool: small, open: {rate: 1 /s}, input: {fixed: 1}, output: {fixed: 1}}\n"
    )
    loaded = load(folder, classes, "trace: {file: long.csv, time_jitter: 2 s}\nduration: 100 s")
    expected = open_rows(loaded)
    monkeypatch.setattr(traffic_module, "BLOCK_ROWS", size)
    assert_same_rows(open_rows(loaded), expected)


# --- the end -------------------------------------------------------------------------------------


def test_rows_after_the_end_are_dropped_and_later_turns_kept_with_the_first(folder: Path) -> None:
    classes = "- {name: own, pool: small, trace: {file: own.csv}}"
    assert open_rows(load(folder, classes, "duration: 1 s"))["input_tokens"].tolist() == [10, 20]
    rows = open_rows(load(folder, classes, "duration: 2 s"))
    assert rows["input_tokens"].tolist() == [10, 20, 30, 40, 50, 60]


def test_a_trace_that_begins_after_the_end_has_no_rows(folder: Path) -> None:
    write_trace(folder, "own.csv", "arrival_s input_tokens output_tokens\n5 1 1\n")
    loaded = load(folder, "- {name: own, pool: small, trace: {file: own.csv}}", "duration: 4 s")
    assert list(traffic(loaded).open_blocks()) == []


# --- what a trace's options and a class's own statements do --------------------------------------


def test_a_trace_can_be_replayed_faster(folder: Path) -> None:
    rows = open_rows(
        load(folder, "- {name: own, pool: small, trace: {file: own.csv, rate_scale: 4}}")
    )
    assert rows["arrival_s"][heads(rows)].tolist() == [0.0, 0.5, 0.5, 2.25]
    assert rows["think_s"].tolist() == [0.0, 5.0, 0.0, 0.0, 1.0, 2.0, 0.0]  # people think as before


def test_jitter_moves_requests_later_by_less_than_its_span(folder: Path) -> None:
    write_trace(
        folder,
        "own.csv",
        "arrival_s input_tokens output_tokens\n" + "0 1 1\n" * 500 + "3 2 1\n" * 500,
    )
    classes = "- {name: own, pool: small, trace: {file: own.csv, time_jitter: 3 s}}"
    rows = open_rows(load(folder, classes))
    for tokens, start_s in ((1, 0.0), (2, 3.0)):
        moved_s = rows["arrival_s"][rows["input_tokens"] == tokens] - start_s
        assert len(moved_s) == 500
        assert (moved_s >= 0).all()
        assert (moved_s < 3.0).all()
        assert moved_s.mean() == pytest.approx(1.5, abs=4 * 3 / math.sqrt(12 * 500))
    assert_same_rows(open_rows(load(folder, classes)), rows)


def test_a_class_may_state_lengths_itself(folder: Path) -> None:
    classes = (
        "- {name: own, pool: small, trace: {file: own.csv}, input: {fixed: 9}}\n"
        "- {name: named, pool: small, output: {fixed: 30}}\n"
        "- {name: shared, pool: small, share: 100%, reasoning: {fixed: 1000}}\n"
    )
    rows = open_rows(load(folder, classes, "trace: {file: shared.csv}"))
    own, named, shared = (rows[rows["class"] == index] for index in range(3))
    assert own["input_tokens"].tolist() == [9] * 7
    assert own["output_tokens"].tolist() == [1, 2, 3, 4, 5, 6, 7]
    # A stated output may be shorter than the reasoning of the trace, which then fills it.
    assert named["input_tokens"].tolist() == [101]
    assert (named["output_tokens"].tolist(), named["reasoning_tokens"].tolist()) == ([30], [30])
    # Reasoning is added to the output.
    assert shared["input_tokens"].tolist() == [100, 102, 104, 105]
    assert shared["output_tokens"].tolist() == [1050, 1052, 1054, 1055]
    assert shared["reasoning_tokens"].tolist() == [1000] * 4


def test_one_length_is_drawn_independently_of_the_others(folder: Path) -> None:
    """Stating the input, too, leaves the outputs as they were drawn."""
    output = "output: {uniform: [1, 1000]}"
    own = "name: own, pool: small, trace: {file: own.csv}"
    alone = open_rows(load(folder, f"- {{{own}, {output}}}"))
    both = open_rows(load(folder, f"- {{{own}, {output}, input: {{uniform: [1, 99]}}}}"))
    assert alone["output_tokens"].tolist() == both["output_tokens"].tolist()
    assert alone["input_tokens"].tolist() != both["input_tokens"].tolist()


# --- changes of one class ------------------------------------------------------------------------

CHANGES = [
    "open: {rate: 3 /s}, input: {fixed: 5}, output: {fixed: 5}",
    "closed: {clients: 3}, input: {fixed: 5}, output: {fixed: 5}",
    "trace: {file: own.csv, time_jitter: 1 s}, output: {uniform: [1, 99]}",
    "open: {rate: 1 /s}, input: {fixed: 5}, output: {fixed: 5}, reasoning: {uniform: [1, 9]}",
]


@pytest.mark.parametrize("change", CHANGES)
def test_a_change_of_one_class_leaves_the_rows_of_the_others(folder: Path, change: str) -> None:
    lengths = "input: {uniform: [1, 99]}, output: {uniform: [1, 99]}"
    others = (
        f"- {{name: open, pool: small, open: {{rate: 1 /s}}, {lengths}}}\n"
        f"- {{name: own, pool: small, trace: {{file: own.csv, time_jitter: 2 s}}, {lengths}}}\n"
        f"- {{name: shared, pool: small, share: 50%, {lengths}}}\n"
        f"- {{name: closed, pool: small, closed: {{clients: 2, requests: 50}}, {lengths}}}\n"
    )
    shared = "trace: {file: shared.csv, time_jitter: 1 s}"

    def rows_with(first: str) -> list[Records]:
        loaded = load(folder, f"- {{name: first, pool: small, {first}}}\n{others}", shared)
        *_, closed = traffic(loaded).closed_streams()
        rows = open_rows(loaded)
        return [
            *(of_class(rows, index) for index in (1, 2, 3)),
            np.concatenate(list(closed.blocks)),
        ]

    before = rows_with("open: {rate: 1 /s}, input: {uniform: [1, 9]}, output: {fixed: 5}")
    for mine, changed in zip(before, rows_with(change), strict=True):
        assert len(mine)
        assert_same_rows(changed, mine)


def test_the_seed_decides(folder: Path) -> None:
    loaded = load(folder, EVERY_SOURCE, "trace: {file: shared.csv}")
    other = load(folder, EVERY_SOURCE, "trace: {file: shared.csv}")
    assert_same_rows(open_rows(loaded), open_rows(other))
    reseeded = other.scenario.model_copy(update={"seed": 8})
    object.__setattr__(other, "scenario", reseeded)
    assert len(open_rows(loaded)) != len(open_rows(other))
    first, second = (traffic(each).kernel_seed for each in (loaded, other))
    assert first.generate_state(4).tolist() != second.generate_state(4).tolist()


# --- closed loops --------------------------------------------------------------------------------


def test_closed_loops_have_streams_of_their_own(folder: Path) -> None:
    lengths = "input: {uniform: [1, 99]}, output: {fixed: 5}"
    classes = (
        f"- {{name: a, pool: small, closed: {{clients: 3, requests: 10, think: 2 s}}, {lengths}}}\n"
        f"- {{name: b, pool: small, closed: {{clients: 8}}, {lengths}}}\n"
    )
    loaded = load(folder, classes)
    assert list(traffic(loaded).open_blocks()) == []
    first, second = traffic(loaded).closed_streams()
    rows = np.concatenate(list(first.blocks))
    assert (first.clients, second.clients, len(rows)) == (3, 8, 10)
    assert rows["think_s"].tolist() == [2.0] * 10
    assert np.isnan(rows["arrival_s"]).all()
    others = next(iter(second.blocks))[:10]
    assert others["class"].tolist() == [1] * 10
    assert others["input_tokens"].tolist() != rows["input_tokens"].tolist()


# --- visitors ------------------------------------------------------------------------------------

VISITED = """\
arrival_s input_tokens output_tokens visitor_id session_id think_s
0 1 1 3 a -
- 1 1 3 a 1
1 1 1 8 - -
2 1 1 - b -
- 1 1 - b 1
3 1 1 3 - -
"""


def test_visitors_are_numbered_through_over_the_classes_with_a_limit(folder: Path) -> None:
    write_trace(folder, "visited.csv", VISITED)
    lengths = "input: {fixed: 5}, output: {fixed: 5}"
    classes = (
        f"- {{name: a, pool: small, open: {{rate: 1 /s}}, {lengths}, visitors: 40}}\n"
        f"- {{name: b, pool: small, open: {{rate: 1 /s}}, {lengths}, visitors: 50,"
        " rate_limit: {rate: 1 /h}}\n"
        "- {name: c, pool: small, trace: {file: visited.csv}, visitors: 60,"
        " rate_limit: {rate: 1 /h}}\n"
    )
    loaded = load(folder, classes)
    rows = open_rows(loaded)
    assert traffic(loaded).visitors == 50 + TRACE_VISITORS
    assert set(rows["visitor"][rows["class"] == 0].tolist()) == {dtypes.NONE}
    assert set(rows["visitor"][rows["class"] == 1].tolist()) == set(range(50))
    named = rows["visitor"][rows["class"] == 2] - 50
    assert named[[0, 1, 2, 5]].tolist() == [3, 3, 8, 3]
    assert named[3] == named[4]  # one visitor for the session, among the 60
    assert 0 <= named[3] < 60


def test_unnamed_visitors_are_spread_evenly(folder: Path) -> None:
    write_trace(folder, "own.csv", "arrival_s input_tokens output_tokens\n" + "0 1 1\n" * 5000)
    limit = "visitors: 10, rate_limit: {rate: 1 /h}"
    rows = open_rows(
        load(folder, f"- {{name: own, pool: small, trace: {{file: own.csv}}, {limit}}}")
    )
    counts = np.bincount(rows["visitor"], minlength=10)
    assert len(counts) == 10
    assert (abs(counts - 500) < 4 * math.sqrt(450)).all()


def test_a_limit_per_visitor_needs_visitors(folder: Path) -> None:
    """Without them nobody would be limited, and nobody would know."""
    classes = "- {name: own, pool: small, trace: {file: own.csv}, rate_limit: {rate: 1 /h}}"
    with pytest.raises(
        ScenarioError, match=r"scenario.yaml:8:\d+: .*rate_limit: limits each visitor"
    ):
        open_rows(load(folder, classes))
