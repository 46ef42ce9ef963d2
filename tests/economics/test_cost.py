"""Cost lines of a pool, by hand."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from planner.economics import (
    LineKind,
    MachineRate,
    Policy,
    PoolUsage,
    PowerTerms,
    device_power_w,
    node_hour_usd,
    pool_cost_lines,
    pool_energy,
)

POWER = PowerTerms(
    electricity_usd_per_kwh=0.10,
    pue=1.5,
    colocation_usd_per_kw_month=146.0,
    idle_rate=0.1,
    loaded_rate=0.9,
    source="site",
    date="2026-10",
)
POLICY = Policy(node_overhead_rate=0.10, power=POWER, source="scenario", date="2026-11-01")
MakePool = Callable[..., PoolUsage]


def shown(usage: PoolUsage) -> list[tuple[str, str, float, str, float]]:
    """Return the lines as a reader of the ledger sees them."""
    return [
        (line.line, line.kind.value, round(line.quantity, 9), line.unit, line.amount_usd)
        for line in pool_cost_lines(usage, POLICY)
    ]


def test_on_demand(make_pool: MakePool) -> None:
    assert shown(make_pool()) == [
        ("machine time", "workload", 40.0, "device-hour", 80.0),
        ("machine time", "idle", 40.0, "device-hour", 80.0),
        ("node overhead", "overhead", 160.0, "USD", 16.0),
    ]


def test_on_demand_nodes_handed_back_cost_nothing(make_pool: MakePool) -> None:
    assert shown(make_pool(node_hours=5.0)) == [
        ("machine time", "workload", 40.0, "device-hour", 80.0),
        ("node overhead", "overhead", 80.0, "USD", 8.0),
    ]


def test_committed_nodes_handed_back_are_idle(make_pool: MakePool) -> None:
    assert shown(make_pool(terms="committed_1y", node_hours=5.0)) == [
        ("machine time", "workload", 40.0, "device-hour", 80.0),
        ("machine time", "idle", 40.0, "device-hour", 80.0),
        ("node overhead", "overhead", 160.0, "USD", 16.0),
    ]


def test_owned(make_pool: MakePool) -> None:
    """Half busy: 100 kWh nameplate · (0.5·0.9 busy, 0.5·0.1 idle); 10 kW for 10/730 of a month."""
    assert shown(make_pool(terms="owned", price_usd=1.0)) == [
        ("machine time", "workload", 40.0, "device-hour", 40.0),
        ("machine time", "idle", 40.0, "device-hour", 40.0),
        ("electricity", "workload", 45.0, "kWh", 4.5),
        ("electricity", "idle", 5.0, "kWh", 0.5),
        ("electricity of the facility (PUE)", "overhead", 25.0, "kWh", 2.5),
        ("colocation", "workload", round(50 / 730, 9), "kW-month", 10.0),
        ("colocation", "idle", round(50 / 730, 9), "kW-month", 10.0),
    ]


def test_owned_nodes_switched_off_draw_nothing_but_are_housed(make_pool: MakePool) -> None:
    lines = shown(make_pool(terms="owned", price_usd=1.0, node_hours=5.0))
    assert [line[:3] for line in lines if line[0] == "electricity"] == [
        ("electricity", "workload", 45.0)
    ]
    assert sum(line[4] for line in lines if line[0] == "colocation") == 20.0


def test_an_empty_pool_has_no_lines(make_pool: MakePool) -> None:
    empty = make_pool(peak_nodes=0, node_hours=0.0, busy_device_hours=0.0, terms="owned")
    assert pool_cost_lines(empty, POLICY) == ()
    assert empty.utilisation_rate == 0.0


def test_lines_name_price_source_and_date(make_pool: MakePool) -> None:
    by_line = {line.line: line for line in pool_cost_lines(make_pool(terms="owned"), POLICY)}
    machine, electricity = by_line["machine time"], by_line["electricity"]
    assert (machine.price, machine.source, machine.date) == ("list", "price list", "2026-11-01")
    assert (electricity.price, electricity.source, electricity.date) == (
        "electricity",
        "site",
        "2026-10",
    )
    assert {line.pool for line in by_line.values()} == {"chat"}


@given(
    busy_rate=st.floats(0, 1),
    held_rate=st.floats(0, 1),
    pue=st.floats(1, 3),
    idle_rate=st.floats(0, 0.5),
    loaded_rate=st.floats(0.5, 1),
)
def test_energy_is_mean_power_by_time(
    busy_rate: float, held_rate: float, pue: float, idle_rate: float, loaded_rate: float
) -> None:
    power = PowerTerms(pue=pue, idle_rate=idle_rate, loaded_rate=loaded_rate)
    rate = MachineRate("x", "h100", "owned", 1.0, "2026", "s")
    usage = PoolUsage(
        "chat",
        "hgx",
        "h100",
        8,
        10.0,
        3,
        30.0 * held_rate,
        240.0 * held_rate * busy_rate,
        9e3,
        rate,
    )
    mean_w = device_power_w(9e3, usage.utilisation_rate, power)
    assert pool_energy(usage, power).total_kwh == pytest.approx(
        mean_w / 1000 * usage.node_hours * pue
    )
    assert pool_energy(usage, power).total_j == pytest.approx(
        mean_w * usage.node_hours * 3600 * pue
    )


def test_idle_and_full_power() -> None:
    terms = PowerTerms()
    assert device_power_w(700.0, 0.0, terms) == pytest.approx(84.0)
    assert device_power_w(700.0, 1.0, terms) == pytest.approx(560.0)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"node_hours": 11.0}, r"PoolUsage\(chat\).node_hours must be between 0 and 10"),
        ({"busy_device_hours": 81.0}, r"busy_device_hours must be between 0 and 80"),
        ({"node_hours": float("nan")}, "node_hours must be a finite number"),
        ({"devices_per_node": 0}, "devices_per_node must be at least 1"),
        ({"node_power_w": -1.0}, "node_power_w must be at least 0"),
        ({"chip": "h200"}, "prices h100, but the pool runs on h200"),
    ],
)
def test_impossible_usage(make_pool: MakePool, changes: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make_pool(**changes)


def test_rounding_of_summed_hours_is_tolerated(make_pool: MakePool) -> None:
    usage = make_pool(node_hours=10.0 + 1e-9, busy_device_hours=80.0 + 1e-7)
    assert usage.utilisation_rate == 1.0
    assert [line.kind for line in pool_cost_lines(usage, POLICY)] == [
        LineKind.WORKLOAD,
        LineKind.OVERHEAD,
    ]


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: PowerTerms(pue=0.9), "pue must be at least 1"),
        (lambda: PowerTerms(idle_rate=12.0), "idle_rate must be between 0 and 1"),
        (lambda: PowerTerms(idle_rate=0.9, loaded_rate=0.8), "is above loaded_rate"),
        (lambda: Policy(node_overhead_rate=-0.1), "node_overhead_rate must be between"),
        (lambda: Policy(node_overhead_rate=10.5), "node_overhead_rate must be between 0 and 10"),
        (
            lambda: Policy(partner_revenue_share_rate=20),
            "partner_revenue_share_rate must be between",
        ),
        (lambda: Policy(definition="gaap"), "definition must be one of paid_only"),  # type: ignore[arg-type]
    ],
)
def test_impossible_policies(build: Callable[[], object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build()


@pytest.mark.parametrize("terms", ["on_demand", "owned"])
def test_a_node_hour_costs_what_the_ledger_says(terms: str) -> None:
    rate = MachineRate("r", "h100", terms, 2.0, "2026", "example")  # type: ignore[arg-type]
    usage = PoolUsage("chat", "hgx", "h100", 8, 1000.0, 1, 1000.0, 4000.0, 10_000.0, rate)
    billed = sum(line.amount_usd for line in pool_cost_lines(usage, POLICY)) / 1000.0
    stated = node_hour_usd(
        2.0,
        8,
        POLICY,
        owned=terms == "owned",
        provisioned_kw=10.0,
        mean_kw=device_power_w(10.0, 0.5, POWER) * 1.5,
    )
    assert stated == pytest.approx(billed, rel=1e-6)
