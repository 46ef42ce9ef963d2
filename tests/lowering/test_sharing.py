"""Dealing out a shared trace: shares, sessions, named classes; and the hash behind it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from planner.kernel.dtypes import NONE
from planner.lowering.sharing import hashed, owners_of, shared_classes
from planner.scenario.schema.workload import RequestClass
from planner.trace.table import Rows, new_rows

LENGTHS = {"input": {"fixed": 1}, "output": {"fixed": 1}}


def klass(name: str, **content: object) -> RequestClass:
    return RequestClass.model_validate({"name": name, "pool": "pool", **content})


def shared(*shares: float) -> list[RequestClass]:
    return [klass(f"class-{index}", share=f"{100 * s} %") for index, s in enumerate(shares)]


def requests(count: int) -> Rows:
    rows = new_rows(count)
    rows["arrival_s"] = np.arange(count)
    return rows


def dealt(rows: Rows, classes: list[RequestClass], seed: int = 3) -> list[int]:
    found = shared_classes(rows, owners_of(rows, 0), classes, seed)
    return [int(index) for index in found]


@pytest.mark.parametrize(
    ("seed", "words"),
    [
        (0, [0xE220A8397B1DCDAF, 0x6E789E6AA1B965F4, 0x06C45D188009454F]),
        (1234567, [6457827717110365317, 3203168211198807973, 9817491932198370423]),
    ],
)
def test_the_hash_is_splitmix64(seed: int, words: list[int]) -> None:
    """Known answers of the published generator, whose state is the seed and a counter."""
    assert hashed(np.arange(3, dtype=np.uint64), seed).tolist() == words


@pytest.mark.parametrize("shares", [(0.5, 0.5), (0.1, 0.3, 0.6), (0.2, 0.3), (1.0,)])
def test_shares_are_kept(shares: tuple[float, ...]) -> None:
    count = 100_000
    found = np.array(dealt(requests(count), shared(*shares)))
    expected = [*shares, 1.0 - sum(shares)]
    for index, share in zip([*range(len(shares)), NONE], expected, strict=True):
        error = (found == index).mean() - share
        assert abs(error) <= 4 * (share * (1 - share) / count) ** 0.5 + 1e-12


@pytest.mark.parametrize("sessions", [False, True])
def test_a_share_is_as_bursty_as_a_random_pick(sessions: bool) -> None:
    """Of Poisson arrivals every pick is Poisson: CV 1. Dealt out in turn they would have 0.71."""
    rows = requests(100_000)
    rows["arrival_s"] = np.cumsum(np.random.default_rng(1).standard_exponential(len(rows)))
    if sessions:
        rows["session_id"] = np.arange(len(rows))
    found = np.array(dealt(rows, shared(0.5, 0.5)))
    for index in range(2):
        gaps = np.diff(rows["arrival_s"][found == index])
        assert gaps.std() / gaps.mean() == pytest.approx(1.0, abs=0.02)


def test_another_seed_deals_anew() -> None:
    rows = requests(10_000)
    first, second = (np.array(dealt(rows, shared(0.5, 0.5), seed)) for seed in (1, 2))
    assert (first == second).mean() == pytest.approx(0.5, abs=0.03)


def test_a_session_stays_together() -> None:
    rows = requests(3000)
    rows["session_id"] = np.arange(3000) % 700
    found = np.array(dealt(rows, shared(0.3, 0.3)))
    for session in range(700):
        assert len(set(found[rows["session_id"] == session].tolist())) == 1


def test_later_turns_go_with_the_first() -> None:
    rows = requests(3000)
    rows["think_s"][np.arange(3000) % 3 > 0] = 1.0
    found = np.array(dealt(rows, shared(0.3, 0.3))).reshape(-1, 3)
    assert (found == found[:, :1]).all()
    assert set(found[:, 0].tolist()) == {0, 1, NONE}


def test_a_named_class_is_kept_and_the_rest_dealt_out() -> None:
    classes = [klass("named"), *shared(1.0)]
    rows = requests(6)
    rows["class"] = [0, -1, 1, 0, -1, 1]
    assert dealt(rows, classes) == [0, 1, 1, 0, 1, 1]


@pytest.mark.parametrize(
    "own",
    [
        {"open": {"rate": "1 /s"}, **LENGTHS},
        {"closed": {"clients": 3}, **LENGTHS},
        {"trace": {"file": "own.csv"}},
    ],
)
def test_a_class_with_requests_of_its_own_gets_none_of_the_shared_ones(own: object) -> None:
    assert isinstance(own, dict)
    classes = [klass("own", **own), klass("named"), *shared(1.0)]
    rows = requests(4)
    rows["class"] = [0, 1, 0, -1]
    assert dealt(rows, classes) == [NONE, 1, NONE, 2]


def test_without_shares_unnamed_rows_are_nobodys() -> None:
    rows = requests(3)
    rows["class"] = [-1, 0, -1]
    assert dealt(rows, [klass("named")]) == [NONE, 0, NONE]


def test_later_turns_without_a_class_take_that_of_the_first() -> None:
    """And with an own one they keep it; if nobody takes the first, nobody takes the session."""
    rows = requests(9)
    rows["think_s"][[1, 2, 4, 5, 7, 8]] = 1.0
    rows["class"] = [0, -1, 1, -1, 0, 1, 1, 1, -1]
    classes = [klass("a"), klass("b")]
    assert dealt(rows, classes) == [0, 0, 1, NONE, NONE, NONE, 1, 1, 1]


@given(
    chains=st.lists(
        st.tuples(st.integers(-1, 3), st.integers(0, 2), st.integers(-1, 2)), max_size=20
    ),
    cut=st.integers(0, 20),
)
def test_blocks_do_not_matter(chains: list[tuple[int, int, int]], cut: int) -> None:
    """A trace dealt out in two blocks is dealt out as in one."""
    parts = []
    for session, later, named in chains:
        part = requests(1 + later)
        part["think_s"][1:] = 1.0
        part["session_id"] = session
        part["class"][0] = named
        parts.append(part)
    classes = [*shared(0.4, 0.4), klass("named")]
    whole = np.concatenate([new_rows(0), *parts])
    halves, before = [], 0
    for block in (parts[:cut], parts[cut:]):
        rows = np.concatenate([new_rows(0), *block])
        halves.append(shared_classes(rows, owners_of(rows, before), classes, 5))
        before += len(block)
    assert np.concatenate(halves).tolist() == dealt(whole, classes, 5)
