"""The cheapest mix: against trying every one, against the newsvendor, and within its limits."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from planner.economics.mix import (
    Mix,
    MixProblem,
    PoolOffer,
    TermOffer,
    commitment_level,
    restricted,
)
from planner.search.mix_solver import NoMixError, price_of_power_usd, solve

BASE, PEAK = TermOffer("base", 1.0), TermOffer("peak", 2.5, block_hours=1)
SPOT = TermOffer("spot", 0.8, block_hours=1, usable_rate=0.8, maximum_share_rate=0.5)
MOST = 4
"""Nodes of a pool and term that the search by hand tries."""


def pool(*terms: TermOffer, name: str = "a", **changes: object) -> PoolOffer:
    return replace(PoolOffer(name, {"chat": 10.0}, terms), **changes)  # type: ignore[arg-type]


def problem(*pools: PoolOffer, load: tuple[float, ...], **changes: object) -> MixProblem:
    return replace(MixProblem(pools, {"chat": load}), **changes)  # type: ignore[arg-type]


# --- against every mix ---------------------------------------------------------------------------


def cheapest_by_hand(given_: MixProblem) -> float:
    """Return the cost of the best of all mixes of one class: committed counts, then each hour."""
    committed = [(p, t) for p in given_.pools for t in p.terms if t.block_hours is None]
    hourly = [(p, t) for p in given_.pools for t in p.terms if t.block_hours == 1]
    best = math.inf
    for base in itertools.product(range(MOST + 1), repeat=len(committed)):
        fixed = dict(zip(((p.name, t.name) for p, t in committed), base, strict=True))
        cost = sum(
            count * t.usd_per_node_hour * given_.hours
            for (_, t), count in zip(committed, base, strict=True)
        )
        for load in given_.demand_rps["chat"]:
            options = itertools.product(range(MOST + 1), repeat=len(hourly))
            costs = [
                sum(n * t.usd_per_node_hour for (_, t), n in zip(hourly, counts, strict=True))
                for counts in options
                if serves(given_, fixed | _named(hourly, counts), load)
            ]
            cost += min(costs, default=math.inf)
        best = min(best, cost)
    return best


def _named(
    terms: list[tuple[PoolOffer, TermOffer]], counts: tuple[int, ...]
) -> dict[tuple[str, str], int]:
    return {(p.name, t.name): n for (p, t), n in zip(terms, counts, strict=True)}


def serves(given_: MixProblem, nodes: dict[tuple[str, str], int], load: float) -> bool:
    carried, drawn_w = 0.0, 0.0
    for each in given_.pools:
        own = {t.name: nodes[each.name, t.name] for t in each.terms}
        total = sum(own.values())
        usable = sum(own[t.name] * t.usable_rate for t in each.terms) - each.fixed_nodes
        carried += max(0.0, usable) * each.capacity_rps["chat"]
        drawn_w += total * each.node_power_w
        if each.maximum_nodes is not None and total > each.maximum_nodes:
            return False
        if any(own[t.name] > t.maximum_share_rate * total + 1e-9 for t in each.terms):
            return False
    return carried >= load - 1e-6 and (given_.power_w is None or drawn_w <= given_.power_w + 1e-6)


@settings(max_examples=20, deadline=None)
@given(
    load=st.lists(st.integers(0, 35), min_size=2, max_size=3),
    fixed=st.sampled_from([0.0, 0.3]),
    prices=st.tuples(st.integers(1, 4), st.integers(2, 6), st.integers(1, 6)),
    power_w=st.sampled_from([None, 4.0]),
)
def test_the_mix_is_the_best_of_all(
    load: list[int], fixed: float, prices: tuple[int, int, int], power_w: float | None
) -> None:
    first = pool(replace(BASE, usd_per_node_hour=float(prices[0])),
                 replace(PEAK, usd_per_node_hour=float(prices[1])),
                 fixed_nodes=fixed, node_power_w=1.0)  # fmt: skip
    second = pool(replace(PEAK, usd_per_node_hour=float(prices[2])),
                  name="b", capacity_rps={"chat": 17.0}, node_power_w=1.5)  # fmt: skip
    given_ = problem(first, second, load=tuple(map(float, load)), power_w=power_w)
    by_hand = cheapest_by_hand(given_)
    if math.isinf(by_hand):
        with pytest.raises(NoMixError):
            solve(given_)
        return
    found = solve(given_)
    assert found.cost_usd == pytest.approx(by_hand)
    assert all(within(found))


def test_owned_nodes_pay_for_the_load_of_each_hour() -> None:
    """Three nodes for loads of 30, 10 and 0: 3 + 1 + 0 node-hours of work at 0.5 beyond waiting."""
    owned = TermOffer("own", 1.0, load_usd_per_node_hour=0.5)
    found = solve(problem(pool(owned), load=(30.0, 10.0, 0.0)))
    assert found.nodes["a", "own"] == (3, 3, 3)
    assert found.cost_usd == pytest.approx(9.0 + 0.5 * 4)
    assert found.gap_rate < 1e-6


def test_electricity_of_the_load_decides_between_owned_and_rented_nodes() -> None:
    """Waiting it is cheaper than rent by the hour; at work, in most hours, it is not."""
    for load_usd, chosen in ((0.5, (1, 1, 1, 1)), (2.0, (0, 0, 0, 0))):
        owned = TermOffer("own", 1.0, load_usd_per_node_hour=load_usd)
        found = solve(problem(pool(owned, TermOffer("hour", 2.0, 1)), load=(10.0, 10.0, 10.0, 0.0)))
        assert found.nodes["a", "own"] == chosen


def test_load_is_spread_evenly_and_what_the_programme_hides_is_in_the_gap() -> None:
    """Two owned and a rented node in an hour of 25: each serves 5/6 of what it carries."""
    owned = TermOffer("own", 1.0, maximum_nodes=2, load_usd_per_node_hour=0.6)
    found = solve(problem(pool(owned, TermOffer("hour", 2.0, 1)), load=(25.0,)))
    assert found.cost_usd == pytest.approx(2 * 1.0 + 2.0 + 0.6 * 2 * 25 / 30)
    bound_usd = 2 * 1.0 + 2.0 + 0.6 * 1.5
    assert found.gap_rate == pytest.approx(1 - bound_usd / found.cost_usd, abs=1e-6)


def test_spot_within_its_share_is_the_best_of_all() -> None:
    given_ = problem(pool(BASE, PEAK, SPOT), load=(8.0, 21.0, 35.0))
    found = solve(given_)
    assert found.cost_usd == pytest.approx(cheapest_by_hand(given_))
    assert any(found.nodes["a", "spot"])
    assert all(within(found))


def within(found: Mix) -> Iterator[bool]:
    """Yield whether each hour is served within the limits, by the solution's own numbers."""
    given_ = found.problem
    for hour in range(given_.hours):
        for klass, loads in given_.demand_rps.items():
            parts = [hours[hour] for (_, name), hours in found.load_rps.items() if name == klass]
            yield math.fsum(parts) == pytest.approx(loads[hour], abs=1e-6)
        counts = {key: hours[hour] for key, hours in found.nodes.items()}
        for load in given_.demand_rps["chat"][hour : hour + 1]:
            yield serves(given_, counts, load)


# --- against the newsvendor ----------------------------------------------------------------------


@given(
    nodes=st.lists(st.integers(0, 9), min_size=4, max_size=24).filter(any),
    ratio=st.sampled_from([0.15, 0.34, 0.61, 0.97]),
)
@settings(max_examples=20, deadline=None)
def test_one_chip_and_two_terms_are_the_newsvendor(nodes: list[int], ratio: float) -> None:
    terms = (TermOffer("base", ratio), TermOffer("peak", 1.0, block_hours=1))
    found = solve(problem(pool(*terms), load=tuple(10.0 * count for count in nodes)))
    level = commitment_level(nodes, committed_usd=ratio, on_demand_usd=1.0)
    expected = len(nodes) * ratio * level + sum(max(0, count - level) for count in nodes)
    assert found.cost_usd == pytest.approx(expected)


def test_commitment_follows_the_share_of_hours_in_use() -> None:
    """A node in use in 12 of 24 hours is committed at half the on-demand price, not above."""
    day = [1] * 12 + [2] * 12
    assert commitment_level(day, 0.50, 1.0) == 2
    assert commitment_level(day, 0.51, 1.0) == 1
    assert commitment_level(day, 1.01, 1.0) == 0


# --- terms and limits ----------------------------------------------------------------------------


def test_blocks_are_paid_for_as_a_whole() -> None:
    block = TermOffer("block", 1.2, block_hours=2)
    found = solve(problem(pool(block, PEAK), load=(10.0, 10.0, 0.0, 10.0, 0.0, 0.0)))
    assert found.nodes["a", "block"] == (1, 1, 1, 1, 0, 0)  # 2.4 is less than 2.5 for one hour
    assert found.cost_usd == pytest.approx(4 * 1.2)


def test_the_last_block_is_charged_as_a_whole() -> None:
    """A block of 4 hours for the 2 that are left costs 4: renting those by the hour is cheaper."""
    block = TermOffer("block", 1.0, block_hours=4)
    day = problem(pool(block, TermOffer("peak", 1.5, 1)), load=(10.0,) * 6)
    found = solve(day)
    assert found.cost_usd == pytest.approx(4 * 1.0 + 2 * 1.5)
    assert solve(problem(pool(block), load=(10.0,) * 6)).cost_usd == pytest.approx(8.0)
    assert solve(problem(pool(block), load=(10.0,) * 2)).cost_usd == pytest.approx(4.0)


def test_starting_a_node_is_part_of_the_price() -> None:
    """An hour's node costs 1 and as much again to start: keeping one through a lull is cheaper."""
    slow = pool(TermOffer("peak", 1.0, 1), startup_hours=1.5)
    found = solve(problem(slow, load=(10.0, 0.0, 10.0, 20.0)))
    assert found.nodes["a", "peak"] == (1, 1, 1, 2)
    assert found.startup_usd == pytest.approx(1.5)
    assert found.cost_usd == pytest.approx(5.0 + 1.5)


def test_with_start_up_no_alternative_is_cheaper() -> None:
    """Both committed cost 6 USD; the second by the hour 3 + 2, and 2 more to start it."""
    terms = (TermOffer("base", 1.0), TermOffer("peak", 2.0, 1))
    given_ = problem(pool(*terms, startup_hours=1.0), load=(10.0, 10.0, 20.0))
    found = solve(given_)
    for elastic in (True, False):
        assert found.cost_usd <= solve(restricted(given_, elastic=elastic)).cost_usd + 1e-9
    assert found.nodes["a", "base"] == (2, 2, 2)
    free = solve(problem(pool(*terms), load=(10.0, 10.0, 20.0)))
    assert free.nodes["a", "base"] == (1, 1, 1)


def test_nodes_come_in_whole_replicas() -> None:
    found = solve(problem(pool(BASE, nodes_per_unit=3), load=(11.0,)))
    assert found.nodes["a", "base"] == (3,)


def test_classes_add_up_and_go_where_they_are_carried() -> None:
    """A pool that carries only one class cannot take the other; shares of a node add up."""
    both = PoolOffer("both", {"chat": 10.0, "code": 5.0}, (TermOffer("t", 3.0, 1),))
    one = PoolOffer("one", {"chat": 10.0}, (TermOffer("t", 1.0, 1),))
    demand = {"chat": [20.0], "code": [5.0]}
    found = solve(MixProblem((both, one), demand))
    shares = {("both", "chat"): 0.0, ("both", "code"): 1.0, ("one", "chat"): 1.0}
    assert found.served_share == pytest.approx(shares, abs=1e-6)
    assert found.cost_usd == pytest.approx(3.0 + 2 * 1.0)
    alone = solve(MixProblem((both,), demand))
    assert alone.pool_nodes("both") == (3,)


def test_reserve_adds_nodes_where_it_is_asked_for() -> None:
    given_ = problem(pool(PEAK), load=(10.0, 10.0), reserve_nodes={("a", 1): 1.0})
    assert solve(given_).nodes["a", "peak"] == (1, 2)


def test_power_moves_the_load_to_what_needs_less() -> None:
    hungry = pool(TermOffer("t", 1.0, 1), node_power_w=2000.0)
    frugal = pool(TermOffer("t", 3.0, 1), name="b", node_power_w=1000.0)
    free = solve(problem(hungry, frugal, load=(40.0,)))
    assert (free.pool_nodes("a"), max(free.power_w)) == ((4,), 8000.0)
    capped = problem(hungry, frugal, load=(40.0,), power_w=6000.0)
    found = solve(capped)
    assert (found.pool_nodes("a"), found.pool_nodes("b")) == ((2,), (2,))
    # 2 kW more turn two of the dear nodes into cheap ones: 4 USD an hour saved
    price = price_of_power_usd(capped, found)
    assert price is not None
    assert price.saved_usd == pytest.approx(4.0 / 2000.0)
    assert price.most_usd >= 4.0 / 2000.0 * (1 - 1e-9)
    assert price_of_power_usd(problem(hungry, load=(40.0,)), free) is None


def test_a_saving_within_the_gap_is_not_stated() -> None:
    """Of 8 USD an hour 4 are saved: no saving that a gap of 60% leaves standing."""
    hungry = pool(TermOffer("t", 1.0, 1), node_power_w=2000.0)
    frugal = pool(TermOffer("t", 3.0, 1), name="b", node_power_w=1000.0)
    capped = problem(hungry, frugal, load=(40.0,), power_w=6000.0)
    price = price_of_power_usd(capped, replace(solve(capped), gap_rate=0.6))
    assert price is not None
    assert price.saved_usd is None
    assert price.most_usd == pytest.approx(4.0 / 2000.0)


def test_what_cannot_be_served_says_which_limit_to_lift() -> None:
    with pytest.raises(NoMixError, match=r"raise site\.power"):
        solve(problem(pool(BASE, node_power_w=1e3), load=(40.0,), power_w=2e3))
    with pytest.raises(NoMixError, match="raise maximum_nodes"):
        solve(problem(pool(BASE, maximum_nodes=2), load=(40.0,)))
    with pytest.raises(NoMixError, match="loosen maximum_share"):
        solve(problem(pool(SPOT), load=(40.0,)))
    with pytest.raises(NoMixError, match="promises of class chat"):
        solve(problem(pool(BASE, capacity_rps={}), load=(40.0,)))


def test_alternatives_keep_one_kind_of_term() -> None:
    given_ = problem(pool(BASE, PEAK, SPOT), load=(10.0, 30.0))
    assert [t.name for t in restricted(given_, elastic=True).pools[0].terms] == ["peak"]
    assert [t.name for t in restricted(given_, elastic=False).pools[0].terms] == ["base"]


def test_wrong_problems_are_named() -> None:
    with pytest.raises(ValueError, match="unique names"):
        pool(BASE, BASE)
    with pytest.raises(ValueError, match="one value per hour"):
        MixProblem((pool(BASE),), {"a": [1.0], "b": [1.0, 2.0]})
    with pytest.raises(ValueError, match="block_hours"):
        TermOffer("x", 1.0, block_hours=0)
