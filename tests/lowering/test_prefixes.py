"""Prefix block ids of traces: beside their rows, whatever is merged, filtered or cut."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from planner.catalog import load_catalog
from planner.lowering import lower
from planner.lowering import traffic as traffic_module
from planner.lowering.prefixes import PrefixQueue, gathered
from planner.lowering.traffic import Traffic
from planner.trace.table import HashIds, Rows, new_rows
from tests.lowering.scenarios import POOLS, load, write_trace

HEADER = "arrival_s,input_tokens,output_tokens,class,session_id,think_s,hash_ids\n"
DOCUMENTS = """\
1,1100,5,,,,7 8 9
2,600,5,,,,7 30
2,600,5,,s,,
,1300,5,,s,4,7 8 31
5,500,5,,,,40
9,500,5,,,,50
"""
OTHERS = """\
0,600,5,first,,,7 8
2,600,5,second,,,7 9
2,1200,5,nobody,,,7 8 10
3,1200,5,first,,,7 8 11
"""
CACHING = POOLS + "  prefix_cache: true\n"
OWN = "- {name: own, pool: small, trace: {file: documents.csv}}\n"
EVERY = (
    OWN + "- {name: first, pool: small}\n- {name: second, pool: small}\n"
    "- {name: drawn, pool: small, open: {rate: 2 /s}, input: {fixed: 9}, output: {fixed: 9}}\n"
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "documents.csv").write_text(HEADER + DOCUMENTS, encoding="utf-8")
    (tmp_path / "others.csv").write_text(HEADER + OTHERS, encoding="utf-8")
    return tmp_path


def ids_by_row(traffic: Traffic) -> tuple[NDArray[np.void], list[list[int]]]:
    """Return all rows and the ids of each, read as the engine reads them: block by block."""
    blocks, ids = [], [np.zeros(0, np.int64)]
    for block in traffic.open_blocks():
        blocks.append(block)
        ids.append(traffic.prefix_ids())
        read = sum(map(len, ids))
        assert read == block["first_hash"][-1] + block["hashes"][-1], "those of the rows so far"
    rows, values = np.concatenate(blocks), np.concatenate(ids)
    spans = zip(rows["first_hash"].tolist(), rows["hashes"].tolist(), strict=True)
    return rows, [values[first : first + count].tolist() for first, count in spans]


def cached(folder: Path, classes: str, workload: str = "", *flags: bool) -> Traffic:
    loaded = load(folder, classes, workload)
    count = len(loaded.scenario.workload.classes)
    return Traffic(loaded, [100_000] * count, flags or [True] * count)


def renamed(lists: list[list[int]]) -> list[list[int]]:
    """Number ids as they appear: what is equal stays equal."""
    names: dict[int, int] = {}
    return [[names.setdefault(each, len(names)) for each in ids] for ids in lists]


def test_rows_carry_the_ids_of_their_trace(folder: Path) -> None:
    rows, ids = ids_by_row(cached(folder, OWN))
    assert rows["input_tokens"].tolist() == [1100, 600, 600, 1300, 500, 500]
    assert renamed(ids) == [[0, 1, 2], [0, 3], [], [0, 1, 4], [5], [6]]
    assert min(min(each, default=0) for each in ids) >= 0


def test_ids_of_different_traces_are_never_equal(folder: Path) -> None:
    rows, ids = ids_by_row(cached(folder, EVERY, "trace: {file: others.csv}"))
    found = {
        name: {each for row, own in zip(rows, ids, strict=True) if row["class"] == name
               for each in own}
        for name in range(4)
    }  # fmt: skip
    assert found[3] == set()
    assert not found[0] & (found[1] | found[2])
    assert found[1] & found[2], "those of one trace can be, whatever its classes"
    assert len(found[1] | found[2]) == 4, "what no class takes is left out"


@pytest.mark.parametrize("size", [1, 2, 3, 50])
def test_the_size_of_blocks_changes_nothing(
    folder: Path, size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    workload = "trace: {file: others.csv, time_jitter: 2 s}"
    rows, ids = ids_by_row(cached(folder, EVERY, workload))
    monkeypatch.setattr(traffic_module, "BLOCK_ROWS", size)
    again, others = ids_by_row(cached(folder, EVERY, workload))
    assert again["input_tokens"].tolist() == rows["input_tokens"].tolist()
    assert others == ids


def test_rows_after_the_end_take_their_ids_with_them(folder: Path) -> None:
    rows, ids = ids_by_row(cached(folder, OWN, "duration: 2 s"))
    assert rows["input_tokens"].tolist() == [1100, 600, 600, 1300]
    assert renamed(ids)[-1] == [0, 1, 4]


def test_classes_without_a_cache_have_none(folder: Path) -> None:
    workload = "trace: {file: others.csv}"
    rows, ids = ids_by_row(cached(folder, EVERY, workload, False, True, False, True))
    with_ids = {row["class"] for row, own in zip(rows, ids, strict=True) if own}
    assert with_ids == {1}
    assert not cached(folder, EVERY, workload, False, False, False, True).has_prefixes
    assert not traffic_without_caches(folder).has_prefixes


def traffic_without_caches(folder: Path) -> Traffic:
    return Traffic(load(folder, OWN), [100_000])


def test_prompts_of_other_lengths_are_not_those_of_the_trace(folder: Path) -> None:
    own = "- {name: own, pool: small, trace: {file: documents.csv}, input: {fixed: 9}}\n"
    assert not cached(folder, own).has_prefixes


def test_a_trace_without_ids_has_none(folder: Path) -> None:
    write_trace(folder, "documents.csv", "arrival_s input_tokens output_tokens\n1 5 5\n2 6 6")
    _, ids = ids_by_row(cached(folder, OWN))
    assert ids == [[], []]


def test_the_plan_hands_out_ids_where_a_pool_caches(folder: Path) -> None:
    catalog = load_catalog()
    assert lower(load(folder, OWN), catalog).plan.hashes is None
    plan = lower(load(folder, OWN, pools=CACHING), catalog).plan
    assert plan.hashes is not None
    assert plan.hash_tokens == 512
    (block,) = plan.blocks
    assert (len(plan.hashes()), len(plan.hashes())) == (int(block["hashes"].sum()), 0)
    drawn = "- {name: d, pool: small, open: {rate: 2 /s}, input: {fixed: 9}, output: {fixed: 9}}\n"
    assert lower(load(folder, drawn, pools=CACHING), catalog).plan.hashes is None


def test_overflow_pools_count(folder: Path) -> None:
    pools = POOLS + CACHING.replace("name: small", "name: second")
    own = "- {name: own, pool: small, overflow: [second], trace: {file: documents.csv}}\n"
    assert lower(load(folder, own, pools=pools), load_catalog()).plan.hashes is not None
    assert lower(load(folder, OWN, pools=pools), load_catalog()).plan.hashes is None


# --- the queue -----------------------------------------------------------------------------------


def rows_of(classes: list[int]) -> Rows:
    rows = new_rows(len(classes))
    rows["class"] = classes
    return rows


LISTS = st.lists(st.lists(st.integers(0, 9), max_size=4), min_size=1, max_size=12)


@given(lists=LISTS, data=st.data())
def test_what_is_pushed_comes_out_in_order(lists: list[list[int]], data: Any) -> None:
    queue = PrefixQueue(3, np.array([True]))
    cut = data.draw(st.integers(0, len(lists)))
    for part in (lists[:cut], lists[cut:]):
        offsets = np.concatenate(([0], np.cumsum([len(each) for each in part], dtype=np.int64)))
        values = np.array([each for one in part for each in one], np.int64)
        queue.push(rows_of([0] * len(part)), HashIds(offsets.astype(np.int64), values))
    assert queue.pop(0)[0].tolist() == []
    found: list[list[int]] = []
    while len(found) < len(lists):
        lengths, ids = queue.pop(data.draw(st.integers(1, len(lists) - len(found))))
        found += [each.tolist() for each in np.split(ids, np.cumsum(lengths))[: len(lengths)]]
    assert renamed(found) == renamed(lists)


def test_ids_of_several_traces_are_laid_out_by_row() -> None:
    queues = {number: PrefixQueue(number, np.array([True, True])) for number in (0, 5)}
    queues[0].push(rows_of([0, 0]), HashIds(np.array([0, 2, 3]), np.array([1, 2, 1])))
    queues[5].push(rows_of([1, 1]), HashIds(np.array([0, 1, 3]), np.array([1, 1, 4])))
    counts, ids = gathered(np.array([0, 5]), rows_of([1, 0, 1, 0]), queues)
    assert counts.tolist() == [1, 2, 2, 1]
    assert renamed([ids.tolist()]) == [[0, 1, 2, 0, 3, 1]]
