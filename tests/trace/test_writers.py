"""Writing and reading back, whole or not at all."""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from planner.errors import OutputError
from planner.trace import (
    Arrivals,
    ClassWorkload,
    HashIds,
    LengthDistribution,
    RequestBlock,
    open_trace,
    synthesize,
)
from planner.trace.table import Rows, concatenate, new_rows
from planner.trace.writers import SUFFIXES, write_trace


def sample() -> Rows:
    length = LengthDistribution.uniform(5, 500)
    workloads = [
        ClassWorkload(0, length, length, Arrivals(30.0), visitors=9),
        ClassWorkload(
            1, length, length, Arrivals(10.0), length, LengthDistribution.uniform(1, 4), 20.0
        ),
    ]
    return np.concatenate(list(synthesize(workloads, 20.0, np.random.SeedSequence(1))))


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_trace_survives_the_round_trip(tmp_path: Path, suffix: str) -> None:
    path, rows = tmp_path / f"t{suffix}", sample()
    blocks = [RequestBlock(rows[:300]), RequestBlock(rows[300:])]
    starts = np.flatnonzero(np.isnan(rows["think_s"]))
    assert 300 in starts or len(rows) > 300
    assert write_trace(path, blocks, ["chat", "agent, slow"]) == len(rows)
    source = open_trace(path)
    assert source.format == "planner"
    back = concatenate(list(source)).rows
    names = [source.class_names[i] for i in back["class"]]
    assert names == [["chat", "agent, slow"][i] for i in rows["class"]]
    exact = suffix == ".parquet"
    for field in ("arrival_s", "think_s"):
        assert np.allclose(back[field], rows[field], 0, 0 if exact else 6e-7, equal_nan=True)
    for field in ("input_tokens", "output_tokens", "reasoning_tokens", "turn"):
        assert np.array_equal(back[field], rows[field])
    assert np.array_equal(back["session_id"], rows["session_id"])
    assert np.array_equal(back["visitor_id"], rows["visitor_id"])
    assert [one.name for one in tmp_path.iterdir()] == [path.name]


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_hash_ids_survive_the_round_trip(tmp_path: Path, suffix: str) -> None:
    path, rows = tmp_path / f"t{suffix}", new_rows(3)
    rows["arrival_s"] = [0.0, 1.0, 2.0]
    ids = HashIds(np.array([0, 2, 2, 5]), np.array([7, 8, 9, 10, 1 << 40]))
    write_trace(path, [RequestBlock(rows, ids)], [])
    back = concatenate(list(open_trace(path))).hash_ids
    assert back is not None
    assert back.offsets.tolist() == ids.offsets.tolist()
    assert back.values.tolist() == ids.values.tolist()


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_equal_rows_give_equal_bytes(tmp_path: Path, suffix: str) -> None:
    first, second = tmp_path / f"a{suffix}", tmp_path / f"b{suffix}"
    for path in (first, second):
        write_trace(path, [RequestBlock(sample())], ["a", "b"])
    assert first.read_bytes() == second.read_bytes()


def test_text_is_plain(tmp_path: Path) -> None:
    rows = new_rows(2)
    rows["arrival_s"] = [0.1234567, np.nan]
    rows["think_s"][1] = 2.5
    rows["session_id"] = 3
    rows["turn"] = [0, 1]
    rows["class"] = [0, -1]
    path = tmp_path / "t.csv.gz"
    write_trace(path, [RequestBlock(rows)], ['a "b"'])
    assert gzip.decompress(path.read_bytes()).decode().splitlines() == [
        "arrival_s,class,input_tokens,output_tokens,reasoning_tokens,session_id,turn,visitor_id,think_s",
        '0.123457,"a ""b""",0,0,0,3,0,,',
        ",,0,0,0,3,1,,2.5",
    ]


def failing() -> Iterator[RequestBlock]:
    yield RequestBlock(sample())
    raise RuntimeError("the source broke")


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_broken_source_leaves_nothing_and_keeps_what_was_there(
    tmp_path: Path, suffix: str
) -> None:
    path = tmp_path / f"t{suffix}"
    with pytest.raises(RuntimeError, match="the source broke"):
        write_trace(path, failing(), ["a", "b"])
    assert list(tmp_path.iterdir()) == []
    path.write_text("precious")
    with pytest.raises(RuntimeError, match="the source broke"):
        write_trace(path, failing(), ["a", "b"], overwrite=True)
    assert path.read_text() == "precious"


def test_faults_of_the_output(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match=r"unknown ending; write one of \.parquet"):
        write_trace(tmp_path / "t.txt", [], [])
    path = tmp_path / "t.csv"
    path.write_text("precious")
    with pytest.raises(OutputError, match="exists already"):
        write_trace(path, [], [])
    with pytest.raises(OutputError, match="cannot be written: No such file"):
        write_trace(tmp_path / "nowhere" / "t.csv", [], [])
    write_trace(path, [], [], overwrite=True)
    assert path.read_text().startswith("arrival_s,class")
