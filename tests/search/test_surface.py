"""The curve through simulated fleets, on fleets that follow a rule."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest

from planner.economics.capacity import whole_nodes
from planner.search.surface import Curve, Point, spread_loads


def fleet(load_rps: float, per_node: float = 10.0, spare: float = 0.0) -> Point:
    """The nodes for a load by a rule: so much per node, and some more for its square root."""
    nodes = math.ceil((load_rps + spare * math.sqrt(load_rps)) / per_node)
    return Point(load_rps, nodes, 1, load_rps / per_node)


def curve(*loads: float, spare: float = 0.0) -> Curve:
    return Curve(tuple(fleet(load, spare=spare) for load in loads))


def test_at_a_sampled_load_it_rounds_to_the_fleet_that_was_found() -> None:
    loads = (37.0, 101.0, 250.0, 640.0)
    found = curve(*loads, spare=4.0)
    for load in loads:
        assert whole_nodes(found.nodes(load)) == fleet(load, spare=4.0).nodes


def test_more_load_never_needs_fewer_nodes() -> None:
    noisy = Curve((Point(10, 3, 1, 1.0), Point(20, 2, 1, 2.0), Point(40, 5, 1, 4.0)))
    nodes = [noisy.nodes(1.0 + 0.5 * step) for step in range(120)]
    assert all(after >= before for before, after in pairwise(nodes))


def test_between_points_the_error_covers_the_rule() -> None:
    found = curve(50.0, 200.0, 800.0, 3200.0, spare=5.0)
    for load in (70.0, 133.0, 400.0, 1111.0, 2500.0):
        truth = (load + 5.0 * math.sqrt(load)) / 10.0
        assert abs(found.nodes(load) / truth - 1.0) <= found.error_rate(load) + 1e-9


def test_beyond_the_largest_load_it_is_so_many_cells() -> None:
    found = curve(250.0, 500.0, 1000.0)
    assert found.nodes(1e6) == pytest.approx(1000 * 100)  # not 99.5, where one is not enough
    assert found.busy_devices(1e6) == pytest.approx(1e5)
    assert found.error_rate(1e6) == pytest.approx(found.error_rate(1000.0) + abs(found.pooling))
    pooled = curve(25.0, 50.0, 100.0, spare=10.0)
    assert pooled.error_rate(1e6) > abs(pooled.pooling) > 0.10


def test_a_load_that_leaves_a_pool_unused_needs_no_nodes_of_it() -> None:
    """As a pool that takes what others do not hold; it says nothing of larger loads."""
    found = Curve((Point(50.0, 0, 1, 0.0), *(fleet(load) for load in (100.0, 200.0, 400.0))))
    used = curve(100.0, 200.0, 400.0)
    assert found.nodes(50.0) == 0.0
    assert found.error_rate(50.0) == 0.0
    assert found.nodes(75.0) == pytest.approx(0.5 * 9.5)
    for load in (100.0, 150.0, 399.0, 4000.0):
        assert found.nodes(load) == used.nodes(load)
        assert found.error_rate(load) == used.error_rate(load)
    assert found.pooling == used.pooling
    assert found.misses == used.misses


def test_pooling_vanishes_where_nodes_follow_the_load() -> None:
    assert abs(curve(250.0, 500.0, 1000.0).pooling) < 0.02
    assert curve(25.0, 50.0, 100.0, spare=10.0).pooling < -0.10


def test_no_load_needs_no_nodes_and_little_load_a_node() -> None:
    found = curve(100.0, 200.0, 400.0)
    assert found.nodes(0.0) == 0.0
    assert whole_nodes(found.nodes(0.01)) == 1
    idle = Curve((Point(100.0, 0, 1, 0.0), Point(200.0, 0, 1, 0.0)))
    assert idle.nodes(150.0) == 0.0
    assert idle.error_rate(150.0) == 0.0


def test_a_step_of_several_nodes_is_the_unit_of_rounding() -> None:
    found = Curve((Point(100.0, 8, 4, 1.0), Point(200.0, 16, 4, 2.0)))
    assert found.rounding(200.0) == pytest.approx(2.0 / 16.0)
    assert whole_nodes(found.nodes(200.0), 4) == 16


# --- where to look next --------------------------------------------------------------------------


def test_a_coarse_cell_asks_for_a_larger_one() -> None:
    small = curve(10.0, 20.0, 40.0)
    assert small.next_load([1000.0], most_rps=1e9, tolerance=0.05) == 80.0
    assert small.next_load([1000.0], most_rps=60.0, tolerance=0.05) == 60.0
    assert small.next_load([30.0], most_rps=1e9, tolerance=1.0) == 0.0


def test_a_bend_asks_for_a_point_beside_it() -> None:
    bent = Curve(tuple(Point(x, n, 1, 1.0) for x, n in ((100, 100), (200, 110), (400, 400))))
    load = bent.next_load([200.0, 250.0], most_rps=400.0, tolerance=0.05)
    assert 100.0 < load < 400.0
    straight = curve(1000.0, 2000.0, 4000.0)
    assert straight.next_load([2500.0], most_rps=4000.0, tolerance=0.05) == 0.0


def test_a_point_that_tests_the_curve_leaves_its_miss() -> None:
    before = curve(100.0, 400.0)
    point = Point(200.0, 30, 1, 20.0)
    after = before.with_point(point)
    assert after.missed == (200.0, pytest.approx((before.nodes(200.0) - 29.5) / 30))
    assert after.error_rate(200.0) > 0.3
    larger = before.with_point(fleet(800.0))
    assert larger.missed is None
    assert larger.top.load_rps == 800.0


def test_loads_are_spread_in_equal_ratios() -> None:
    assert spread_loads(1.0, 16.0, 5) == pytest.approx([16.0, 8.0, 4.0, 2.0, 1.0])
