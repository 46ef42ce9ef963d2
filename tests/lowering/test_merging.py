"""Merging: order of arrival, whole sessions, ties by source, however the sources are cut."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from planner.lowering.merging import interleaved, merged, until
from planner.trace.table import Rows, new_rows

Chain = tuple[int, int]
"""Arrival [s] and number of later turns."""
Source = list[Chain]

CHAINS = st.tuples(st.integers(0, 6), st.sampled_from([0, 0, 0, 1, 2]))
SOURCES = st.lists(CHAINS, max_size=12).map(sorted)


def rows_of(source: Source, index: int) -> list[Rows]:
    """Return one array per chain; `session_id` is its number in the source, `class` the source."""
    chains = []
    for number, (arrival_s, later) in enumerate(source):
        rows = new_rows(1 + later)
        rows["arrival_s"] = [arrival_s, *[np.nan] * later]
        rows["think_s"] = [np.nan, *[1.0] * later]
        rows["turn"] = range(1 + later)
        rows["session_id"] = number
        rows["class"] = index
        chains.append(rows)
    return chains


def cut(chains: list[Rows], cuts: list[int]) -> Iterator[Rows]:
    """Yield blocks of whole chains; some of them may be empty."""
    position = 0
    for size in cuts:
        yield np.concatenate([new_rows(0), *chains[position : position + size]])
        position += size
    if chains[position:]:
        yield np.concatenate(chains[position:])


@given(sources=st.lists(st.tuples(SOURCES, st.lists(st.integers(0, 4), max_size=6)), max_size=4))
def test_sources_are_merged_by_arrival_then_source(sources: list[tuple[Source, list[int]]]) -> None:
    chains = [rows_of(source, index) for index, (source, _) in enumerate(sources)]
    blocks = list(merged([cut(c, cuts) for c, (_, cuts) in zip(chains, sources, strict=True)]))
    ordered = sorted((c for parts in chains for c in parts), key=lambda rows: rows["arrival_s"][0])
    expected = np.concatenate([new_rows(0), *ordered])
    found = np.concatenate([new_rows(0), *blocks])
    assert found.tobytes() == expected.tobytes()
    assert all(np.isnan(block["think_s"][0]) for block in blocks if len(block))


def test_a_long_tie_over_many_blocks_stays_in_the_order_of_the_sources() -> None:
    def ties(index: int, blocks: int) -> Iterator[Rows]:
        for _ in range(blocks):
            yield rows_of([(5, 0)], index)[0]

    found = np.concatenate(list(merged([ties(0, 4), ties(1, 2), ties(2, 3)])))
    assert found["class"].tolist() == [0, 0, 0, 0, 1, 1, 2, 2, 2]


def test_merging_holds_no_more_than_it_has_to() -> None:
    """Rows come out before the sources have been read to their ends."""
    read: list[float] = []

    def source(index: int) -> Iterator[Rows]:
        for second in range(1000):
            read.append(second)
            yield rows_of([(second, 0)], index)[0]

    stream = merged([source(0), source(1)])
    first = [next(stream) for _ in range(10)]
    assert sum(map(len, first)) >= 10
    assert len(read) < 40


@given(source=SOURCES, end=st.integers(-1, 7))
def test_what_arrives_by_the_end_is_kept_with_its_later_turns(source: Source, end: int) -> None:
    rows = np.concatenate([new_rows(0), *rows_of(source, 0)])
    kept = [c for c in rows_of(source, 0) if c["arrival_s"][0] <= end]
    assert until(rows, float(end)).tobytes() == np.concatenate([new_rows(0), *kept]).tobytes()


def test_interleaving_keeps_sessions_in_one_piece() -> None:
    first = np.concatenate(rows_of([(1, 2), (4, 0)], 0))
    second = np.concatenate(rows_of([(1, 1), (2, 1), (4, 1)], 1))
    rows = interleaved([first, second])
    assert rows["class"].tolist() == [0, 0, 0, 1, 1, 1, 1, 0, 1, 1]
    assert rows["turn"].tolist() == [0, 1, 2, 0, 1, 0, 1, 0, 0, 1]
