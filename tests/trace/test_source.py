"""What `open_trace` does to the rows of any format: blocks, sorting, jitter, scaling."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from planner.errors import TraceError
from planner.trace import RequestBlock, open_trace
from planner.trace.table import HashIds, Rows, chain_starts, concatenate, new_rows

HEADER = "arrival_s,input_tokens,output_tokens,session_id,think_s,hash_ids\n"


def save(folder: Path, rows: str) -> Path:
    path = folder / "t.csv"
    path.write_text(HEADER + rows)
    return path


def whole(path: Path, **options: object) -> RequestBlock:
    return concatenate(list(open_trace(path, **options)))  # type: ignore[arg-type]


def coarse(count: int = 3000, tick_s: float = 3.0, per_tick: int = 10) -> str:
    return "".join(f"{i // per_tick * tick_s},{i},1,,,{i}\n" for i in range(count))


@pytest.mark.parametrize("block_rows", [1, 7, 1000, 10_000])
def test_blocks_have_the_asked_size_and_their_ids(tmp_path: Path, block_rows: int) -> None:
    path = save(tmp_path, coarse(2500))
    blocks = list(open_trace(path, block_rows=block_rows))
    assert all(len(block.rows) == block_rows for block in blocks[:-1])
    joined = concatenate(blocks)
    assert joined.rows["input_tokens"].tolist() == list(range(2500))
    assert joined.hash_ids is not None
    assert joined.hash_ids.values.tolist() == list(range(2500))
    for block in blocks:
        assert block.hash_ids is not None
        assert block.hash_ids.values.tolist() == block.rows["input_tokens"].tolist()


def sessions_text(sessions: int, turns: int) -> str:
    return "".join(
        (f"{s}," if t == 0 else ",") + f"{10 * s + t},1,{s},{'' if t == 0 else 2},\n"
        for s in range(sessions)
        for t in range(turns)
    )


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 40), st.integers(1, 6))
def test_blocks_never_split_a_session(
    tmp_path_factory: pytest.TempPathFactory, block_rows: int, turns: int
) -> None:
    path = save(tmp_path_factory.mktemp("s"), sessions_text(30, turns))
    blocks = list(open_trace(path, block_rows=block_rows))
    assert all(np.isnan(block.rows["think_s"][0]) for block in blocks)
    assert sum(len(block.rows) for block in blocks) == 30 * turns


def test_jitter_spreads_ticks_evenly_and_keeps_order(tmp_path: Path) -> None:
    path = save(tmp_path, coarse(30_000))
    block = whole(path, time_jitter_s=3.0)
    arrival_s = block.rows["arrival_s"]
    assert np.all(np.diff(arrival_s) >= 0)
    assert len(np.unique(arrival_s)) == len(arrival_s)
    counts = np.bincount((arrival_s % 3.0 // 0.3).astype(int), minlength=10)
    assert counts == pytest.approx(3000, rel=0.08)
    moved = arrival_s - block.rows["input_tokens"] // 10 * 3.0
    assert moved.min() >= 0
    assert moved.max() < 3.0
    assert block.hash_ids is not None  # ids move with their rows
    assert np.array_equal(block.hash_ids.values, block.rows["input_tokens"])


def test_jitter_wider_than_the_ticks_is_still_sorted(tmp_path: Path) -> None:
    path = save(tmp_path, coarse(5000, tick_s=0.5))
    arrival_s = whole(path, time_jitter_s=20.0).rows["arrival_s"]
    assert np.all(np.diff(arrival_s) >= 0)
    assert len(arrival_s) == 5000


def test_jitter_depends_on_the_seed_and_not_on_the_blocks(tmp_path: Path) -> None:
    path = save(tmp_path, coarse())
    first = whole(path, time_jitter_s=3.0, seed=1)
    assert whole(path, time_jitter_s=3.0, seed=1, block_rows=13).rows.tobytes() == (
        first.rows.tobytes()
    )
    assert whole(path, time_jitter_s=3.0, seed=2).rows.tobytes() != first.rows.tobytes()


def test_jitter_moves_later_turns_with_their_session(tmp_path: Path) -> None:
    path = save(tmp_path, sessions_text(200, 3))
    rows = whole(path, time_jitter_s=50.0).rows
    starts = chain_starts(rows)
    assert len(starts) == 200
    assert np.all(np.diff(rows["arrival_s"][starts]) >= 0)
    assert np.all(np.diff(rows["session_id"].reshape(-1, 3), axis=1) == 0)
    assert rows["turn"].reshape(-1, 3).tolist() == [[0, 1, 2]] * 200
    assert np.any(np.diff(rows["session_id"][starts]) < 0)


def test_rate_scale_divides_arrivals_and_keeps_think_times(tmp_path: Path) -> None:
    rows = whole(save(tmp_path, sessions_text(10, 2)), rate_scale=4.0).rows
    assert rows["arrival_s"][::2].tolist() == [s / 4 for s in range(10)]
    assert set(rows["think_s"][1::2].tolist()) == {2.0}


def test_sort_orders_a_file_with_its_sessions_and_ids(tmp_path: Path) -> None:
    text = "5,50,1,,,50\n1,10,1,1,,10\n,11,1,1,2,11\n3,30,1,,,30 31\n1,12,1,,,12\n"
    block = whole(save(tmp_path, text), sort=True)
    assert block.rows["input_tokens"].tolist() == [10, 11, 12, 30, 50]
    assert block.hash_ids is not None
    assert block.hash_ids.values.tolist() == [10, 11, 12, 30, 31, 50]
    assert block.hash_ids.offsets.tolist() == [0, 1, 2, 3, 5, 6]


def test_sort_makes_the_earliest_row_second_0_where_times_are_dates(tmp_path: Path) -> None:
    path = tmp_path / "azure.csv"
    path.write_text(
        "TIMESTAMP,ContextTokens,GeneratedTokens\n2024-05-12 00:00:05+00:00,1,1\n"
        "2024-05-12 00:00:01+00:00,2,1\n2024-05-12 00:00:02+00:00,3,1\n"
    )
    rows = whole(path, sort=True).rows
    assert rows["arrival_s"].tolist() == [0.0, 1.0, 4.0]
    assert rows["input_tokens"].tolist() == [2, 3, 1]


@pytest.mark.parametrize(
    "options", [{"rate_scale": 0.0}, {"rate_scale": -1}, {"time_jitter_s": -1}]
)
def test_senseless_options_are_refused(tmp_path: Path, options: dict[str, float]) -> None:
    with pytest.raises(TraceError, match="rate scale must be above 0"):
        open_trace(save(tmp_path, coarse(3)), **options)  # type: ignore[arg-type]


def test_opening_reads_no_rows_and_faults_come_while_reading(tmp_path: Path) -> None:
    source = open_trace(save(tmp_path, "0,1,1,,,\nx,1,1,,,\n"))
    with pytest.raises(TraceError, match="3: arrival_s"):
        next(source)


# --- the table itself ----------------------------------------------------------------------------


def block_of(lengths: list[int], first: int = 0) -> RequestBlock:
    rows: Rows = new_rows(len(lengths))
    rows["input_tokens"] = np.arange(first, first + len(lengths))
    offsets = np.concatenate(([0], np.cumsum(lengths))).astype(np.int64)
    return RequestBlock(rows, HashIds(offsets, np.arange(offsets[-1]) + 100 * first))


@given(st.lists(st.integers(0, 4), min_size=1, max_size=8), st.randoms(use_true_random=False))
def test_take_moves_ragged_ids_with_their_rows(lengths: list[int], random: object) -> None:
    order = list(range(len(lengths)))
    random.shuffle(order)  # type: ignore[attr-defined]
    block = block_of(lengths)
    assert block.hash_ids is not None
    taken = block.take(np.array(order))
    assert taken.hash_ids is not None

    def lists(ids: HashIds) -> list[list[int]]:
        return [part.tolist() for part in np.split(ids.values, ids.offsets[1:-1])]

    assert lists(taken.hash_ids) == [lists(block.hash_ids)[i] for i in order]
    assert taken.rows["input_tokens"].tolist() == order


def test_concatenate_joins_rows_and_ids() -> None:
    joined = concatenate([block_of([2, 0]), block_of([1], 5)])
    assert joined.hash_ids is not None
    assert joined.hash_ids.offsets.tolist() == [0, 2, 2, 3]
    assert joined.hash_ids.values.tolist() == [0, 1, 500]
    assert concatenate([]).rows.shape == (0,)
    assert concatenate([block_of([1]), RequestBlock(new_rows(1))]).hash_ids is None
