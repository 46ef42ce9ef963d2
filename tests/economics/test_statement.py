"""The whole statement: exact sums over any input, and the public DeepSeek day."""

from __future__ import annotations

import ast
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import get_args

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import planner.economics
from planner.economics import (
    COST_KINDS,
    DEFINITIONS,
    LEDGER_COLUMNS,
    UNALLOCATED,
    ApiPlan,
    ClassUsage,
    FreePlan,
    LineKind,
    MachineRate,
    Policy,
    PoolUsage,
    PowerTerms,
    Statement,
    SubscriptionPlan,
    Terms,
    allocate_costs,
    settle,
    sum_margins,
)

MakePool = Callable[..., PoolUsage]
POOLS = ("chat", "reasoning", "spare")
shares = st.floats(0, 1)
prices = st.floats(0, 1000)
counts = st.integers(0, 10**13)


@st.composite
def pool_usages(draw: st.DrawFn, pool: str) -> PoolUsage:
    rate = MachineRate(
        "rate", "chip", draw(st.sampled_from(get_args(Terms))), draw(prices), "2026", "s"
    )
    peak_nodes = draw(st.integers(0, 5000))
    devices = draw(st.sampled_from([1, 8, 72]))
    node_hours = 24.0 * peak_nodes * draw(shares)
    busy = node_hours * devices * draw(shares)
    return PoolUsage(
        pool,
        "node",
        "chip",
        devices,
        24.0,
        peak_nodes,
        node_hours,
        busy,
        draw(st.floats(0, 2e5)),
        rate,
    )


@st.composite
def class_usages(draw: st.DrawFn, name: str) -> ClassUsage:
    plan = draw(
        st.one_of(
            st.none(),
            st.just(FreePlan("free")),
            st.builds(ApiPlan, st.just("api"), prices, prices, st.one_of(st.none(), prices)),
            st.builds(SubscriptionPlan, st.just("seat"), prices, st.floats(0.1, 1e5)),
        )
    )
    input_tokens, output_tokens = draw(counts), draw(counts)
    weights = draw(st.dictionaries(st.sampled_from(POOLS), st.floats(0, 1e15)))
    return ClassUsage(
        name,
        plan,
        draw(st.integers(0, 10**8)),
        input_tokens,
        output_tokens,
        cached_input_tokens=draw(st.integers(0, input_tokens)),
        reasoning_tokens=draw(st.integers(0, output_tokens)),
        pool_weights=weights,
    )


@st.composite
def statements(draw: st.DrawFn) -> Statement:
    pools = [draw(pool_usages(pool)) for pool in (*POOLS, "chat")]  # chat at two prices
    classes = [draw(class_usages(f"class-{i}")) for i in range(draw(st.integers(0, 4)))]
    policy = Policy(
        node_overhead_rate=draw(st.floats(0, 1)),
        power=PowerTerms(electricity_usd_per_kwh=draw(st.floats(0, 1)), pue=draw(st.floats(1, 3))),
        partner_revenue_share_rate=draw(shares),
        definition=draw(st.sampled_from(DEFINITIONS)),
    )
    return settle(pools, classes, policy)


@settings(max_examples=60, deadline=None)
@given(statement=statements())
def test_bill_is_the_sum_of_its_lines_however_grouped(statement: Statement) -> None:
    ledger, frame = statement.ledger, statement.ledger.to_frame()
    is_cost = frame["kind"].isin([kind.value for kind in COST_KINDS])
    bill = ledger.cost_microusd
    assert bill == int(frame.loc[is_cost, "amount_microusd"].sum())
    assert bill == sum(pool.cost_microusd() for pool in statement.pools)
    assert bill == sum(ledger.total_microusd(*COST_KINDS, pool=pool) for pool in POOLS)
    assert bill == sum(ledger.total_microusd(kind) for kind in COST_KINDS)
    assert ledger.total_microusd() == bill + ledger.revenue_microusd + ledger.partner_share_microusd
    assert ledger.revenue_microusd == sum(
        ledger.total_microusd(LineKind.REVENUE, class_name=each.usage.name)
        for each in statement.classes
    )


@settings(max_examples=60, deadline=None)
@given(statement=statements())
def test_allocation_conserves_every_kind(statement: Statement) -> None:
    bearers = [*(each.cost for each in statement.classes), statement.unallocated]
    for kind, field in zip(COST_KINDS, ("workload", "idle", "overhead"), strict=True):
        borne = sum(getattr(bearer, f"{field}_microusd") for bearer in bearers)
        assert borne == statement.ledger.total_microusd(kind)
    assert sum(bearer.cost_microusd for bearer in bearers) == statement.ledger.cost_microusd


@settings(max_examples=60, deadline=None)
@given(statement=statements())
def test_margins_of_the_classes_add_up_to_the_total(statement: Statement) -> None:
    headline = statement.margin.headline
    parts = [each.margin(headline.definition) for each in statement.classes]
    assert sum_margins([*parts, statement.unallocated_margin]) == headline
    for margin in statement.margin.margins:
        counted = margin.cost_of_revenue_microusd + margin.left_out_microusd
        assert counted == statement.ledger.cost_microusd
        assert margin.revenue_microusd == statement.ledger.revenue_microusd
        assert margin.partner_share_microusd == statement.ledger.partner_share_microusd


@settings(max_examples=50, deadline=None)
@given(statement=statements())
def test_every_line_is_its_quantity_at_its_price(statement: Statement) -> None:
    frame = statement.ledger.to_frame()
    assert tuple(frame.columns) == LEDGER_COLUMNS
    assert frame["amount_microusd"].dtype == np.int64
    product = frame["quantity"] * frame["unit_price_usd"]
    np.testing.assert_allclose(frame["amount_usd"], product, rtol=1e-12, atol=0.5000001e-6)
    assert (frame["quantity"] > 0).all()


def day(make_pool: MakePool) -> Statement:
    """Two classes share the pool `chat` 3 : 1; the pool `spare` serves nobody."""
    pools = [make_pool(), make_pool(pool="spare", busy_device_hours=0.0)]
    classes = [
        ClassUsage(
            "paid",
            ApiPlan("api", 1.0, 4.0),
            requests=300,
            input_tokens=100_000_000,
            output_tokens=60_000_000,
            pool_weights={"chat": 3.0},
        ),
        ClassUsage(
            "guest",
            None,
            requests=100,
            input_tokens=20_000_000,
            output_tokens=20_000_000,
            pool_weights={"chat": 1.0},
        ),
    ]
    return settle(pools, classes, Policy(node_overhead_rate=0.1, partner_revenue_share_rate=0.2))


def test_by_hand(make_pool: MakePool) -> None:
    """Each pool costs 160 + 16 USD; paid bears 132, guest 44, nobody 176; revenue is 100 + 240."""
    statement = day(make_pool)
    assert statement.cost_usd == 352.0
    assert [each.cost.cost_usd for each in statement.classes] == [132.0, 44.0]
    assert statement.unallocated.cost_usd == 176.0
    assert statement.revenue_usd == 340.0
    assert statement.margin.margin_rate == pytest.approx((340 - 352 - 68) / 340)
    assert statement.margin.others == {
        "paid_only": pytest.approx((340 - 308) / 340),
        "free_in_marketing": pytest.approx((340 - 308 - 68) / 340),
    }
    assert statement.cost_per_hour_usd == 35.2
    assert statement.revenue_per_hour_usd == 34.0
    assert statement.cost_per_million_output_tokens_usd == 352.0 / 80
    assert statement.cost_per_million_tokens_usd == 352.0 / 200
    assert statement.cost_per_request_usd == 0.88
    paid, guest = statement.classes
    assert (paid.cost_per_request_usd, guest.cost_per_request_usd) == (0.44, 0.44)
    assert paid.cost_per_million_output_tokens_usd == 2.2
    # 100 kWh nameplate each: half busy 0.80 and 0.12, the spare one 0.12; PUE 1.12
    assert statement.energy_kwh == pytest.approx((40 + 6 + 12) * 1.12)
    assert statement.energy_per_output_token_j == pytest.approx(58 * 1.12 * 3.6e6 / 80e6)


def test_frames(make_pool: MakePool) -> None:
    statement = day(make_pool)
    classes = statement.class_frame()
    assert list(classes["class"]) == ["paid", "guest", UNALLOCATED]
    assert list(classes["cost_usd"]) == [132.0, 44.0, 176.0]
    assert list(classes["workload_usd"]) == [60.0, 20.0, 0.0]
    assert list(classes["gross_profit_usd"]) == [140.0, -44.0, -176.0]
    assert classes["gross_profit_usd"].sum() == (
        statement.margin.headline.gross_profit_microusd / 1e6
    )
    assert list(classes["paying"]) == [True, False, False]
    assert classes["margin_rate"].isna().tolist() == [False, True, True]
    pools = statement.pool_frame()
    assert list(pools["pool"]) == ["chat", "spare"]
    assert list(pools["utilisation_rate"]) == [0.5, 0.0]
    assert list(pools["workload_usd"]) == [80.0, 0.0]
    assert list(pools["overhead_usd"]) == [16.0, 16.0]


def test_a_fleet_without_traffic(make_pool: MakePool) -> None:
    statement = settle([make_pool(busy_device_hours=0.0)], [], Policy())
    assert statement.cost_per_million_output_tokens_usd is None
    assert statement.cost_per_request_usd is None
    assert statement.energy_per_output_token_j is None
    assert statement.margin.margin_rate is None
    assert statement.unallocated.cost_microusd == statement.ledger.cost_microusd > 0


def test_no_nodes_at_all(make_pool: MakePool) -> None:
    nothing = make_pool(peak_nodes=0, node_hours=0.0, busy_device_hours=0.0)
    statement = settle([nothing], [ClassUsage("x", None, 0, 0, 0)], Policy())
    assert statement.cost_usd == 0.0
    assert statement.ledger.to_frame().empty
    assert statement.ledger.to_frame()["amount_microusd"].dtype == np.int64
    assert list(statement.class_frame()["class"]) == ["x"]
    nobody = settle([nothing], [], Policy()).class_frame()
    assert nobody.empty
    assert list(nobody.columns) == list(statement.class_frame().columns)


def test_amounts_beyond_an_exact_table_are_refused(make_pool: MakePool) -> None:
    seats = SubscriptionPlan("seats", 20.0, 1.0)
    user = ClassUsage("x", seats, 10**12, 0, 0)
    with pytest.raises(ValueError, match=r"adds up to 2e\+13 USD, more than the 9\.22e\+12 USD"):
        settle([make_pool()], [user], Policy())


def test_mixed_prices_in_one_pool(make_pool: MakePool) -> None:
    """A committed base and an on-demand peak share the key of the pool."""
    base = make_pool(terms="committed_3y", price_usd=1.0)
    peak = make_pool(node_hours=2.0, busy_device_hours=16.0)
    user = ClassUsage("x", None, 1, 1, 1, pool_weights={"chat": 1.0})
    statement = settle([base, peak], [user], Policy(node_overhead_rate=0.0))
    assert statement.cost_usd == 80.0 + 32.0
    assert statement.classes[0].cost.cost_usd == 112.0


def test_inputs_are_checked(make_pool: MakePool) -> None:
    user = ClassUsage("x", None, 1, 1, 1, pool_weights={"chat": 1.0})
    with pytest.raises(ValueError, match="found no pool"):
        settle([], [user], Policy())
    other = make_pool(pool="b", period_hours=12.0)
    with pytest.raises(ValueError, match="same period, found 10 h, 12 h"):
        settle([make_pool(), other], [user], Policy())
    with pytest.raises(ValueError, match="unique, found more than one x"):
        settle([make_pool()], [user, user], Policy())
    with pytest.raises(ValueError, match=r"names chat, which is no pool; pools: b"):
        settle([make_pool(pool="b")], [user], Policy())


def test_allocation_passes_over_revenue(make_pool: MakePool) -> None:
    statement = day(make_pool)
    classes = [each.usage for each in statement.classes]
    again = allocate_costs(statement.ledger.lines, classes)
    assert again == (*(each.cost for each in statement.classes), statement.unallocated)


def test_deepseek_day() -> None:
    """27 to 28 Feb 2025: 226.75 nodes of 8 H800 on average at 2 USD per GPU-hour, all at R1 prices.

    Published: 87,072 USD of cost, 562,027 USD of theoretical income, 84.5% margin
    (deepseek-ai/open-infra-index, 202502OpenSourceWeek/day_6, CC0-1.0).
    """
    lease = MachineRate("lease", "h800", "on_demand", 2.0, "2025-02-28", "open-infra-index day 6")
    fleet = PoolUsage(
        pool="r1",
        node="h800-8",
        chip="h800",
        devices_per_node=8,
        period_hours=24.0,
        peak_nodes=278,
        node_hours=226.75 * 24,
        busy_device_hours=226.75 * 24 * 8,
        node_power_w=10_200.0,
        rate=lease,
    )
    plan = ApiPlan("r1", 0.55, 2.19, 0.14, date="2025-02-28", source="price page")
    traffic = ClassUsage(
        "all",
        plan,
        requests=1,
        input_tokens=608 * 10**9,
        cached_input_tokens=342 * 10**9,
        output_tokens=168 * 10**9,
        pool_weights={"r1": 1.0},
    )
    statement = settle([fleet], [traffic], Policy(node_overhead_rate=0.0))
    assert statement.cost_usd == 87_072.0
    assert statement.revenue_usd == 47_880 + 146_300 + 367_920
    assert statement.revenue_usd == pytest.approx(562_027, rel=0.005)
    assert statement.margin.margin_rate == pytest.approx(0.845, rel=0.005)
    assert statement.revenue_usd / statement.cost_usd - 1 == pytest.approx(5.45, rel=0.005)
    assert statement.cost_per_million_output_tokens_usd == pytest.approx(0.518, abs=0.0005)
    assert statement.cost_per_million_tokens_usd == pytest.approx(0.112, abs=0.0005)


def test_the_same_day_on_a_fixed_fleet() -> None:
    """Committed nodes are paid for at night too: 278 nodes all day cost 106,752 USD."""
    lease = MachineRate("lease", "h800", "committed_1y", 2.0, "2025-02-28", "example")
    fleet = PoolUsage(
        "r1", "h800-8", "h800", 8, 24.0, 278, 226.75 * 24, 226.75 * 24 * 8, 10_200.0, lease
    )
    statement = settle([fleet], [], Policy(node_overhead_rate=0.0))
    assert statement.cost_usd == 106_752.0
    assert statement.pools[0].cost_microusd(LineKind.IDLE) == (106_752 - 87_072) * 10**6


def test_frames_survive_parquet_types(make_pool: MakePool) -> None:
    """No column mixes types: what is written to Parquet reads back the same."""
    statement = day(make_pool)
    for frame in (
        statement.ledger.to_frame(),
        statement.class_frame(),
        statement.pool_frame(),
        statement.margin.to_frame(),
    ):
        for column in frame:
            kinds = {type(value) for value in frame[column]}
            assert len(kinds) == 1, f"{column}: {kinds}"
        assert isinstance(frame, pd.DataFrame)


def test_statements_travel_between_processes(make_pool: MakePool) -> None:
    statement = day(make_pool)
    assert pickle.loads(pickle.dumps(statement)) == statement


def test_imports_point_one_way() -> None:
    folder = Path(planner.economics.__file__).parent
    allowed = ("planner.economics", "planner.errors", "numpy", "pandas")
    allowed_stdlib = {"__future__", "collections.abc", "dataclasses", "enum", "fractions", "math"}
    allowed_stdlib |= {"itertools", "re", "types", "typing"}
    solver = ("scipy.optimize", "scipy.sparse", "contextlib", "os", "sys")
    for path in sorted(folder.glob("*.py")):
        extra = solver if path.name == "mix.py" else ()
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            modules = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom):
                modules = [node.module or ""]
            for module in modules:
                assert module.startswith(allowed) or module in (*allowed_stdlib, *extra), (
                    f"{path.name}: {module}"
                )


def test_all_is_complete() -> None:
    for name in planner.economics.__all__:
        assert hasattr(planner.economics, name)
    assert len(set(planner.economics.__all__)) == len(planner.economics.__all__)
