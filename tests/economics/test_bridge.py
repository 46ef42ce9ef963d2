"""Bridges of cost and margin against arithmetic that a reader can follow, and their invariants."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from planner.economics import (
    ApiPlan,
    ClassUsage,
    FreePlan,
    MachineRate,
    Policy,
    PoolUsage,
    SubscriptionPlan,
    cost_cut_for_margin,
    margin_after_cost_change,
    settle,
)
from planner.economics.bridge import QUANTITIES, RATE_UNITS, Change, Quantity, attribute
from planner.economics.drivers import FACTORS, Drivers, read_drivers
from planner.economics.plans import Plan

COST, REVENUE = ("cost", ""), ("revenue", "")
MARGIN = ("margin", "all_users_in_cogs")
HEADLINE = "all_users_in_cogs"
FREE = FreePlan("free")
API = ApiPlan("api", 1.0, 5.0, cached_input_usd_per_mtok=0.5)
SEATS = SubscriptionPlan("seats", seat_usd_per_month=20.0, requests_per_seat_month=400)


def pool(
    name: str = "chat",
    *,
    busy: float = 40.0,
    nodes: float = 10.0,
    price_usd: float = 2.0,
    terms: Any = "on_demand",
    chip: str = "h100",
    hours: float = 10.0,
) -> PoolUsage:
    rate = MachineRate(f"{chip} {terms}", chip, terms, price_usd, "2026-11-01", "price list")
    return PoolUsage(
        pool=name, node="hgx", chip=chip, devices_per_node=8, period_hours=hours,
        peak_nodes=nodes / hours, node_hours=nodes, busy_device_hours=busy,
        node_power_w=10_000.0, rate=rate,
    )  # fmt: skip


def klass(
    name: str,
    plan: Plan | None,
    requests: int,
    weights: Mapping[str, float],
    *,
    tokens: tuple[int, int] = (1000, 200),
    cached: float = 0.0,
) -> ClassUsage:
    return ClassUsage(
        name, plan, requests,
        input_tokens=requests * tokens[0], output_tokens=requests * tokens[1],
        cached_input_tokens=round(requests * tokens[0] * cached), pool_weights=weights,
    )  # fmt: skip


def drivers(pools: list[PoolUsage], classes: list[ClassUsage], **policy: Any) -> Drivers:
    statement = settle(pools, classes, Policy(**{"node_overhead_rate": 0.0} | policy))
    return read_drivers(
        hours=statement.period_hours,
        ledger=statement.ledger.to_frame(),
        class_costs=statement.class_frame(),
        pool_costs=statement.pool_frame(),
        class_pools=statement.class_pool_frame(),
        margins=statement.margin.to_frame(),
    )


def parts(found: Mapping[Quantity, Change], key: Quantity) -> dict[str, int]:
    """Return the parts that are not nothing."""
    return {name: part for name, part in found[key].parts.items() if part}


BOTH = {"chat": 1.0}
BEFORE = drivers([pool()], [klass("api", API, 1000, BOTH)])
"""16 USD an hour for 100 requests an hour, which bring 0.2 USD."""


# --- one cause at a time --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("after", "factor", "change_usd"),
    [
        # twice the requests in twice the nodes, as busy as before
        (
            drivers([pool(busy=80.0, nodes=20.0)], [klass("api", API, 2000, BOTH)]),
            "demand",
            16.0,
        ),
        (
            drivers(
                [pool(busy=80.0, nodes=20.0)], [klass("api", API, 1000, BOTH, tokens=(2000, 400))]
            ),
            "request size",
            16.0,
        ),
        # half the steps in half the nodes
        (
            drivers([pool(busy=20.0, nodes=5.0)], [klass("api", API, 1000, BOTH)]),
            "throughput",
            -8.0,
        ),
        # the same steps in half the nodes
        (drivers([pool(nodes=5.0)], [klass("api", API, 1000, BOTH)]), "utilisation", -8.0),
        (drivers([pool(price_usd=3.0)], [klass("api", API, 1000, BOTH)]), "machine prices", 8.0),
        (
            drivers([pool()], [klass("api", API, 1000, BOTH)], node_overhead_rate=0.1),
            "machine prices",
            1.6,
        ),
        (
            drivers([pool(terms="spot", price_usd=1.0)], [klass("api", API, 1000, BOTH)]),
            "purchase terms",
            -8.0,
        ),
    ],
)
def test_one_cause_takes_the_whole_change(after: Drivers, factor: str, change_usd: float) -> None:
    found = attribute(BEFORE, after)
    assert parts(found, COST) == {factor: round(change_usd * 1e6)}
    assert found["cost", ""].change == round(change_usd * 1e6)


def test_longer_periods_of_the_same_traffic_change_nothing() -> None:
    twice = drivers([pool(busy=80.0, nodes=20.0, hours=20.0)], [klass("api", API, 2000, BOTH)])
    for key, change in attribute(BEFORE, twice).items():
        assert not parts({key: change}, key), key


def test_revenue_by_cause() -> None:
    cached = drivers([pool()], [klass("api", API, 1000, BOTH, cached=0.5)])
    assert parts(attribute(BEFORE, cached), REVENUE) == {"cache hits": -25_000}
    dearer = drivers([pool()], [klass("api", ApiPlan("b", 1.0, 7.5), 1000, BOTH)])
    assert parts(attribute(BEFORE, dearer), REVENUE) == {"revenue prices": 50_000}
    seats = drivers([pool()], [klass("api", SEATS, 1000, BOTH)])
    assert parts(attribute(BEFORE, seats), REVENUE) == {"revenue prices": 5_000_000 - 200_000}


def test_partner_share_moves_only_the_margins_that_deduct_it() -> None:
    shared = drivers([pool()], [klass("api", API, 1000, BOTH)], partner_revenue_share_rate=0.2)
    found = attribute(BEFORE, shared)
    assert parts(found, ("profit", HEADLINE)) == {"partner's share": -40_000}
    assert parts(found, ("margin", HEADLINE)) == {"partner's share": -RATE_UNITS // 5}
    assert not parts(found, ("margin", "paid_only"))


def test_power_of_owned_machines_is_apart_from_their_price() -> None:
    """A node of 10 kW, always busy at half its nameplate, at 0.10 and 0.20 USD/kWh."""
    from planner.economics import PowerTerms

    def owned(electricity: float) -> Drivers:
        power = PowerTerms(
            electricity_usd_per_kwh=electricity, pue=1.5, colocation_usd_per_kw_month=0.0,
            idle_rate=0.1, loaded_rate=0.5,
        )  # fmt: skip
        busy = [pool(busy=80.0, terms="owned")]
        return drivers(busy, [klass("api", API, 1000, BOTH)], power=power)

    found = attribute(owned(0.10), owned(0.20))
    assert parts(found, COST) == {"power": round(10 * 0.5 * 1.5 * 0.10 * 1e6)}


# --- several at once ------------------------------------------------------------------------------


def test_two_factors_share_what_they_do_together() -> None:
    """16 → 2 · 1.5 · 16: price alone 8, demand alone 16, together 8 more, which is halved."""
    after = drivers([pool(busy=80.0, nodes=20.0, price_usd=3.0)], [klass("api", API, 2000, BOTH)])
    assert parts(attribute(BEFORE, after), COST) == {
        "demand": 20_000_000,
        "machine prices": 12_000_000,
    }


def test_two_classes_in_two_pools_by_hand() -> None:
    """Chat 2 USD/h and 1/h of a request, reasoning 4 USD/h and 2/h; the mix turns round.

    Before: 300 and 100 requests an hour (of 400), after: 200 and 600 (of 800), each at the same
    hours per request. Cost = D · (m·0.02·2 + (1 − m)·0.08·4), D 400 → 800, m 3/4 → 1/4.
    """

    def side(chat: int, reasoning: int) -> Drivers:
        return drivers(
            [
                pool("chat", busy=chat * 0.02 * 10, nodes=chat * 0.02 * 10 / 8, price_usd=2.0),
                pool(
                    "deep",
                    busy=reasoning * 0.08 * 10,
                    nodes=reasoning * 0.08 * 10 / 8,
                    price_usd=4.0,
                ),
            ],
            [
                klass("guests", FREE, chat * 10, {"chat": 1.0}),
                klass("members", SEATS, reasoning * 10, {"deep": 1.0}),
            ],
        )

    found = attribute(side(300, 100), side(200, 600))
    per_request = {0.75: 0.75 * 0.04 + 0.25 * 0.32, 0.25: 0.25 * 0.04 + 0.75 * 0.32}
    demand = 400 * (per_request[0.75] + per_request[0.25]) / 2
    mix = (per_request[0.25] - per_request[0.75]) * (400 + 800) / 2
    assert found["cost", ""].before == 44_000_000
    assert found["cost", ""].after == 200_000_000
    assert parts(found, COST) == {"demand": round(demand * 1e6), "mix": round(mix * 1e6)}
    # revenue is 5 cents a member's request: D · (1 − m) · 0.05
    assert parts(found, REVENUE) == {
        "demand": round(400 * 0.5 * 0.05 * 1e6),
        "mix": round(0.5 * 600 * 0.05 * 1e6),
    }


def test_a_lighter_pool_takes_work_over() -> None:
    """Ten of forty hours are left, and two of a light pool come in: all of it is throughput."""
    light = drivers(
        [pool(busy=10.0, nodes=2.5), pool("light", busy=2.0, nodes=0.5)],
        [klass("api", API, 1000, {"chat": 1.0, "light": 1.0})],
    )
    assert parts(attribute(BEFORE, light), COST) == {"throughput": round((3.0 - 10.0) * 1.6e6)}


def test_what_appears_is_booked_by_how_much_of_it_there_is() -> None:
    """A new class is mix (and demand), a pool that serves nobody is utilisation."""
    new = drivers(
        [pool(busy=80.0, nodes=20.0)],
        [klass("api", API, 1000, BOTH), klass("new", API, 1000, BOTH)],
    )
    assert parts(attribute(BEFORE, new), COST) == {"demand": 16_000_000}
    assert parts(attribute(BEFORE, new), REVENUE) == {"demand": 200_000}
    idle = drivers([pool(), pool("spare", busy=0.0, nodes=5.0)], [klass("api", API, 1000, BOTH)])
    assert parts(attribute(BEFORE, idle), COST) == {"utilisation": 8_000_000}
    assert parts(attribute(idle, BEFORE), COST) == {"utilisation": -8_000_000}


def test_work_without_answers_is_throughput() -> None:
    """A class whose requests all fail still takes device-hours; so do pools that serve no class."""
    failed = drivers([pool()], [klass("api", API, 0, BOTH)])
    lost = drivers([pool()], [klass("api", API, 1000, {})])
    for side in (failed, lost):
        assert side.cost_microusd == 16_000_000
        for key, change in attribute(BEFORE, side).items():
            assert sum(change.parts.values()) == change.change, key


def test_a_margin_without_revenue_is_not_divided() -> None:
    free = drivers([pool()], [klass("api", FREE, 1000, BOTH)])
    found = attribute(BEFORE, free)
    assert ("margin", HEADLINE) not in found
    assert parts(found, ("profit", HEADLINE)) == {"revenue prices": -200_000}


def test_a_ledger_that_is_not_understood_is_refused() -> None:
    wrong = Drivers(
        BEFORE.values,
        BEFORE.cost_microusd + 5_000_000,
        BEFORE.revenue_microusd,
        BEFORE.profits_microusd,
        BEFORE.margin_revenues_microusd,
    )
    with pytest.raises(ValueError, match="lines that the bridge does not know"):
        attribute(BEFORE, wrong)


# --- margin arithmetic ----------------------------------------------------------------------------


def at_margin(cost_usd: float, partner: float = 0.0) -> Drivers:
    """Return one hour with a revenue of 100 USD."""
    price = cost_usd / 80.0
    plan = SubscriptionPlan("seats", seat_usd_per_month=1.0, requests_per_seat_month=1.0)
    return drivers(
        [pool(busy=80.0, hours=10.0, price_usd=price * 10.0)],
        [klass("users", plan, 1000, BOTH)],
        partner_revenue_share_rate=partner,
    )


def test_public_margins_as_bridges() -> None:
    """From 39%: half of all cost gives 69.5%, or 59.5% beside 20 points for a partner."""
    half = attribute(at_margin(61.0), at_margin(30.5))
    assert half[MARGIN].before == round(0.39 * RATE_UNITS)
    assert half[MARGIN].after == round(margin_after_cost_change(0.39, cost_factor=0.5) * RATE_UNITS)
    assert parts(half, MARGIN) == {"machine prices": round(0.305 * RATE_UNITS)}
    shared = attribute(at_margin(41.0, 0.2), at_margin(20.5, 0.2))
    assert shared[MARGIN].after == round(0.595 * RATE_UNITS)
    assert parts(shared, MARGIN) == {"machine prices": round(0.205 * RATE_UNITS)}


@pytest.mark.parametrize(("partner", "cut"), [(0.0, 0.213), (0.2, 0.317)])
def test_the_cut_that_52_percent_needs(partner: float, cut: float) -> None:
    needed = cost_cut_for_margin(0.39, 0.52, fixed_rate=partner)
    assert needed == pytest.approx(cut, abs=5e-4)
    cost = 61.0 - 100 * partner
    found = attribute(at_margin(cost, partner), at_margin(cost * (1 - needed), partner))
    assert found[MARGIN].after == pytest.approx(0.52 * RATE_UNITS, abs=100)
    assert parts(found, MARGIN) == {"machine prices": found[MARGIN].change}


# --- whatever the sides are -----------------------------------------------------------------------

PLANS: st.SearchStrategy[Plan | None] = st.sampled_from([API, ApiPlan("b", 0.4, 2.0), SEATS, FREE])
NUMBERS = st.just(0.0) | st.floats(0.01, 50.0)


@st.composite
def sides(draw: st.DrawFn) -> Drivers:
    """Return books of up to two pools and three classes, any of them idle."""
    names = draw(st.sampled_from([["chat"], ["deep"], ["chat", "deep"]]))
    pools = []
    for name in names:
        nodes = draw(st.floats(0.5, 40.0))
        busy = draw(st.just(0.0) | st.floats(0.01, 1.0)) * nodes * 8
        terms = draw(st.sampled_from(["on_demand", "committed_1y", "owned"]))
        pools.append(
            pool(name, busy=busy, nodes=nodes, price_usd=draw(st.floats(0.1, 9.0)), terms=terms)
        )
    classes = [
        klass(
            name,
            draw(PLANS),
            draw(st.integers(0, 10_000)),
            {each: draw(NUMBERS) for each in names},
            tokens=(draw(st.integers(1, 4000)), draw(st.integers(1, 900))),
            cached=draw(st.floats(0.0, 1.0)),
        )
        for name in draw(st.lists(st.sampled_from("abc"), min_size=1, unique=True))
    ]
    share = draw(st.sampled_from([0.0, 0.2]))
    overhead = draw(st.sampled_from([0.0, 0.1]))
    return drivers(pools, classes, partner_revenue_share_rate=share, node_overhead_rate=overhead)


@settings(max_examples=25, deadline=None, phases=[Phase.generate])
@given(sides(), sides())
def test_parts_add_up_exactly_and_no_order_decides(before: Drivers, after: Drivers) -> None:
    forward, backward = attribute(before, after), attribute(after, before)
    assert {COST, REVENUE, ("profit", HEADLINE)} <= set(forward)
    assert set(forward) == set(backward) <= set(QUANTITIES)
    for key, change in forward.items():
        assert sum(change.parts.values()) == change.after - change.before
        assert backward[key].parts == {name: -part for name, part in change.parts.items()}
        assert list(change.parts) == list(FACTORS)
    assert forward[COST].after == after.cost_microusd
    assert not any(forward[COST].parts[name] for name in ("revenue prices", "partner's share"))
    assert not any(forward[REVENUE].parts[name] for name in ("power", "throughput"))


@settings(max_examples=10, deadline=None, phases=[Phase.generate])
@given(sides())
def test_what_does_not_change_has_no_part(side: Drivers) -> None:
    for key, change in attribute(side, side).items():
        assert not parts({key: change}, key)


@settings(max_examples=10, deadline=None, phases=[Phase.generate])
@given(sides(), st.sampled_from(sorted(FACTORS)), st.floats(1.1, 3.0))
def test_only_the_factor_that_changes_has_a_part(side: Drivers, factor: str, times: float) -> None:
    """Drivers alone, without a ledger: whatever one factor does, all others do nothing."""
    from planner.economics import bridge as module

    values = {
        key: value * times if key[0] in FACTORS[factor] else value
        for key, value in side.values.items()
    }
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_explained", lambda *_: True)
        profits = side.profits_microusd
        found = attribute(side, Drivers(values, 1, 1, profits, dict.fromkeys(profits, 1)))
    for change in found.values():
        assert all(share == 0.0 for name, share in change.shares.items() if name != factor)


def test_class_pools_says_which_class_took_which_time(
    make_pool: Callable[..., PoolUsage],
) -> None:
    statement = settle(
        [make_pool(), make_pool(busy_device_hours=20.0)],
        [
            klass("a", API, 1, {"chat": 1.0}),
            klass("b", FREE, 1, {"chat": 3.0}),
            klass("c", FREE, 1, {}),
        ],
        Policy(),
    )
    frame = statement.class_pool_frame()
    assert frame.to_dict("list") == {
        "class": ["a", "b"],
        "pool": ["chat", "chat"],
        "busy_device_hours": [15.0, 45.0],
        "cost_share_rate": [0.25, 0.75],
    }
