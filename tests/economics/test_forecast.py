"""Forecasts with a fleet that answers by arithmetic: what comes out can be worked out by hand.

The margins of FACTS are public figures: 39% in the first quarter of 2026 on 5.7 billion USD, 52%
aimed at for the year, for which the rest of it needs 56%.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import pytest

from planner.economics import (
    ApiPlan,
    LongContextPrice,
    MachineRate,
    Policy,
    SubscriptionPlan,
)
from planner.economics.capacity import Generation, plan_capacity, trend
from planner.economics.forecast import (
    HOURS_PER_QUARTER,
    Gain,
    Group,
    Machine,
    Outlook,
    Projection,
    Served,
    project,
)
from planner.economics.paths import Move
from planner.search.solve import SolveError, Target, margin_rate, solve, trades

SECONDS = HOURS_PER_QUARTER * 3600
Q1_REVENUE_USD, YEAR_REVENUE_USD, Q1_MARGIN = 5.7e9, 24.2e9, 0.39
GPU_HOUR_USD = 2.0


@dataclass(frozen=True)
class Linear:
    """A node of 1 device serves a fixed rate; no simulation."""

    rps_per_node: float
    heavier: dict[int, float] | None = None
    """Quarter from which on a request is so many times the work."""

    def _work(self, quarter: int) -> float:
        dated = self.heavier or {}
        return max((f for since, f in dated.items() if since <= quarter), default=1.0)

    def nodes(self, pool: str, generation: int, quarter: int, load_rps: float) -> float:
        return load_rps * self._work(quarter) / self.rps_per_node

    def busy_devices(self, pool: str, generation: int, quarter: int, load_rps: float) -> float:
        return self.nodes(pool, generation, quarter, load_rps)

    def error_rate(self, pool: str, generation: int, quarter: int, load_rps: float) -> float:
        return 0.1

    def served(self, name: str, quarter: int) -> Served:
        return Served(requests=1.0, input_tokens=100.0, output_tokens=50.0)


def outlook_of(demand: dict[str, tuple[float, ...]], **changes: object) -> Outlook:
    quarters = len(next(iter(demand.values())))
    rate = MachineRate("lease", "h100", "on_demand", GPU_HOUR_USD, "2026-01-01", "example")
    values: dict[str, object] = {
        "labels": tuple(f"{2026 + q // 4}-Q{q % 4 + 1}" for q in range(quarters)),
        "demand": demand,
        "groups": (Group(tuple(demand), ("pool",)),),
        "generations": {"pool": (Generation(0, 0, "on_demand", 0, 1),)},
        "machines": {("pool", 0): Machine("one", "h100", 1, 1000.0)},
        "rates": {("pool", 0): (rate,) * quarters},
        "plans": {name: (SubscriptionPlan(name, 20.0, 400.0),) * quarters for name in demand},
        "policies": (Policy(node_overhead_rate=0.0),) * quarters,
    }
    return Outlook(**(values | changes))  # type: ignore[arg-type]


# --- the margin arithmetic of 2026 ---------------------------------------------------------------


def year_2026(partner_rate: float = 0.0) -> tuple[Outlook, Linear]:
    """Revenue of 24.2 billion USD, 5.7 of them in the first quarter, at a margin of 39%."""
    rest = (YEAR_REVENUE_USD / Q1_REVENUE_USD - 1) / 3
    usd_per_request = 20.0 / 400.0
    rps = Q1_REVENUE_USD / usd_per_request / SECONDS
    policy = Policy(node_overhead_rate=0.0, partner_revenue_share_rate=partner_rate)
    outlook = outlook_of({"chat": (rps, *[rps * rest] * 3)}, policies=(policy,) * 4)
    cost_usd = (1 - Q1_MARGIN - partner_rate) * Q1_REVENUE_USD
    return outlook, Linear(rps / (cost_usd / GPU_HOUR_USD / HOURS_PER_QUARTER))


def rest_of_year(projection: Projection) -> float:
    return margin_rate(projection.quarters[1:])


def test_the_first_quarter_is_as_published() -> None:
    first = project(*year_2026()).quarters[0]
    assert first.statement.revenue_usd == pytest.approx(Q1_REVENUE_USD, rel=1e-9)
    assert first.statement.margin.margin_rate == pytest.approx(Q1_MARGIN, abs=1e-5)


@pytest.mark.parametrize(
    ("partner_rate", "published_cut"), [(0.0, 0.279), (0.20, 0.415)], ids=["none", "20 points"]
)
def test_52_percent_for_the_year_needs_56_for_the_rest(
    partner_rate: float, published_cut: float
) -> None:
    """From 39% to 56% takes 17 points of the 61 (or 41) that can change: 27.9 (41.5) percent."""
    outlook, linear = year_2026(partner_rate)

    def margin_with(factor: float) -> Projection:
        return project(outlook, replace(linear, heavier={1: factor}))

    low, high = 0.1, 1.0
    for _ in range(20):
        middle = (low + high) / 2
        whole = margin_rate(margin_with(middle).quarters)
        low, high = (middle, high) if whole > 0.52 else (low, middle)
    found = margin_with(low)
    assert margin_rate(found.quarters) == pytest.approx(0.52, abs=1e-4)
    assert rest_of_year(found) == pytest.approx(0.56, abs=1e-3)
    assert 1 - low == pytest.approx(published_cut, abs=2e-3)


@pytest.mark.parametrize(("partner_rate", "needed"), [(0.0, 0.213), (0.20, 0.317)])
def test_52_percent_as_exit_rate_needs_a_cut_of_21_to_32_percent(
    partner_rate: float, needed: float
) -> None:
    outlook, linear = year_2026(partner_rate)
    last = project(outlook, replace(linear, heavier={1: 1 - needed})).quarters[-1]
    assert last.statement.margin.margin_rate == pytest.approx(0.52, abs=1e-3)


@pytest.mark.parametrize(("partner_rate", "margin"), [(0.0, 0.695), (0.20, 0.595)])
def test_halved_cost(partner_rate: float, margin: float) -> None:
    outlook, linear = year_2026(partner_rate)
    last = project(outlook, replace(linear, heavier={1: 0.5})).quarters[-1]
    assert last.statement.margin.margin_rate == pytest.approx(margin, abs=1e-4)


def test_a_model_twice_as_large_undoes_the_halving() -> None:
    outlook, linear = year_2026()
    both = project(outlook, replace(linear, heavier={1: 0.5, 2: 0.5 * 2.0}))
    rates = [each.statement.margin.margin_rate for each in both.quarters]
    assert rates == pytest.approx([0.39, 0.695, 0.39, 0.39], abs=1e-4)


# --- 8.4 to 85 billion ---------------------------------------------------------------------------


@pytest.fixture(scope="module")
def six_years() -> tuple[Outlook, Linear]:
    """Demand that stands still, and costs 8.4 billion USD in the first year."""
    rps = 1e3
    return outlook_of({"chat": (rps,) * 24}), Linear(rps / (8.4e9 / GPU_HOUR_USD / 8760))


@pytest.mark.parametrize("efficiency", [0.0, 0.3])
def test_tenfold_spend_needs_the_growth_of_the_claim(
    six_years: tuple[Outlook, Linear], efficiency: float
) -> None:
    """85 / 8.4 in the five years between the years is 58.9% a year, times the gain.

    Both years are means of four quarters on the same path, so that this holds of their ratio; the
    first year itself grows on the way.
    """
    outlook, linear = six_years
    with_gain = outlook.with_efficiency(efficiency)
    target = Target.parse("spend_usd=85e9@2031")
    found = solve(with_gain, linear, "growth", target)
    grown = project(with_gain.with_growth(found.value), linear)
    first = Target.parse("spend_usd=1@2026").of(grown)
    annual = (found.reached / first) ** (1 / 5)
    assert found.reached == pytest.approx(85e9, rel=1e-4)
    assert 1 + found.value == pytest.approx(annual * (1 + efficiency), rel=1e-3)


def test_growth_and_efficiency_trade_one_for_one(six_years: tuple[Outlook, Linear]) -> None:
    outlook, linear = six_years
    found = trades(outlook, linear, Target.parse("spend_usd=85e9@2031"), [0.0, 0.5, 1.0])
    growth = [each.growth for each in found]
    assert None not in growth
    ratios = [(1 + g) / (1 + each.efficiency) for g, each in zip(growth, found, strict=True) if g]
    assert ratios == pytest.approx([ratios[0]] * 3, rel=1e-3)


def test_price_solves_for_revenue_and_not_for_spend(six_years: tuple[Outlook, Linear]) -> None:
    outlook, linear = six_years
    before = Target.parse("revenue_usd=1@2031").of(project(outlook, linear))
    found = solve(outlook, linear, "price", Target("revenue_usd", before * 0.5, "2031"))
    assert found.reached == pytest.approx(before * 0.5, rel=1e-6)
    assert found.value < 0
    with pytest.raises(SolveError, match="spend_usd does not depend on price"):
        solve(outlook, linear, "price", Target.parse("spend_usd=85e9@2031"))


def test_demand_scales_the_spend(six_years: tuple[Outlook, Linear]) -> None:
    found = solve(*six_years, "demand", Target.parse("spend_usd=16.8e9@2026"))
    assert found.value == pytest.approx(2.0, rel=1e-5)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("spend=85e9", "is no target"),
        ("spent_usd=85e9@2030", "unknown quantity"),
        ("spend_usd=lots@2030", "is no number"),
    ],
)
def test_malformed_targets_are_explained(text: str, message: str) -> None:
    with pytest.raises(SolveError, match=message):
        Target.parse(text)


def test_a_target_outside_the_forecast(six_years: tuple[Outlook, Linear]) -> None:
    with pytest.raises(SolveError, match="2035 is not wholly in the forecast, 2026-Q1 to 2031-Q4"):
        solve(*six_years, "growth", Target.parse("spend_usd=1e9@2035"))


# --- demand, learning, capacity ------------------------------------------------------------------


def test_spend_follows_demand_and_learning_undoes_it() -> None:
    growing = tuple(1000.0 * 1.6 ** (q / 4) for q in range(8))
    outlook = outlook_of({"chat": growing})
    linear = Linear(0.01)
    spend = [each.spend_usd for each in project(outlook, linear).quarters]
    assert spend[4] / spend[0] == pytest.approx(1.6, rel=1e-4)
    learning = replace(outlook, gains={"pool": Gain(per_year=0.6)})
    level = [each.spend_usd for each in project(learning, linear).quarters]
    assert level == pytest.approx([spend[0]] * 8, rel=1e-4)


def test_a_shift_of_the_mix_moves_demand() -> None:
    demand = {"chat": (100.0,) * 4, "thinking": (10.0,) * 4}
    outlook = outlook_of(demand, moves=(Move("chat", "thinking", 0.5, 1, 2, requests=2.0),))
    found = project(outlook, Linear(1.0)).quarters
    assert [each.demand["chat"] for each in found] == [100.0, 75.0, 50.0, 50.0]
    assert [each.demand["thinking"] for each in found] == [10.0, 60.0, 110.0, 110.0]


def test_the_band_is_that_of_the_response() -> None:
    (quarter,) = project(outlook_of({"chat": (1000.0,)}), Linear(1.0)).quarters
    assert quarter.devices == 1000
    assert quarter.devices_error == pytest.approx(100.0)
    assert quarter.spend_error_usd == pytest.approx(0.1 * quarter.spend_usd)
    margin = quarter.statement.margin
    assert quarter.margin_error_rate == pytest.approx(0.1 * quarter.spend_usd / margin.revenue_usd)


@dataclass(frozen=True)
class Unsure(Linear):
    """The second generation is known less well than the first."""

    def error_rate(self, pool: str, generation: int, quarter: int, load_rps: float) -> float:
        return (0.1, 0.3)[generation]


def test_generations_on_one_kind_of_node_have_errors_of_their_own() -> None:
    """As where the later one has another setting, not another node."""
    machine, rate = Machine("one", "h100", 1, 1000.0), 2.0
    leases = tuple(Generation(n, n, "committed_3y", lead=0, life=12) for n in range(2))
    price = MachineRate("lease", "h100", "committed_3y", rate, "2026-01-01", "example")
    outlook = outlook_of(
        {"chat": (120.0, 240.0)},
        generations={"pool": leases},
        machines={("pool", n): machine for n in range(2)},
        rates={("pool", n): (price,) * 2 for n in range(2)},
    )
    _, second = project(outlook, Unsure(1.0)).quarters
    assert [(each.generation, each.nodes) for each in second.holdings] == [(1, 130), (0, 110)]
    hours = HOURS_PER_QUARTER * rate
    assert second.spend_error_usd == pytest.approx((0.3 * 130 + 0.1 * 110) * hours)


def test_orders_that_arrive_after_the_end_are_not_known() -> None:
    lease = Generation(0, 0, "committed_1y", lead=2, life=4)
    found = project(outlook_of({"chat": (100.0,) * 5}, generations={"pool": (lease,)}), Linear(1.0))
    assert [each.orders_are_known for each in found.quarters] == [True, True, True, False, False]
    elastic = project(outlook_of({"chat": (100.0,) * 2}), Linear(1.0))
    assert all(each.orders_are_known for each in elastic.quarters)


def test_committed_nodes_stay_when_demand_falls_and_keep_their_price() -> None:
    lease = Generation(0, 0, "committed_1y", lead=1, life=4)
    rates = tuple(
        MachineRate("lease", "h100", "committed_1y", price, "2026-01-01", "example")
        for price in (2.0, 2.0, 4.0, 4.0)
    )
    outlook = outlook_of(
        {"chat": (100.0, 200.0, 120.0, 120.0)},
        generations={"pool": (lease,)},
        rates={("pool", 0): rates},
    )
    found = project(outlook, Linear(1.0))
    # 25 of the first 100 retire every quarter; those of the second quarter stay for a year.
    assert [each.devices for each in found.quarters] == [100, 200, 175, 150]
    prices = {usage.usage.rate.per_device_hour_usd for usage in found.quarters[3].statement.pools}
    assert prices == {2.0}
    assert found.quarters[0].ordered == {("pool", 0): 125}


def test_nodes_of_one_kind_at_two_prices_are_two_layers() -> None:
    lease = Generation(0, 0, "committed_3y", lead=0, life=12)
    rates = tuple(
        MachineRate("lease", "h100", "committed_3y", price, "2026-01-01", "example")
        for price in (3.0, 2.0)
    )
    outlook = outlook_of(
        {"chat": (120.0, 240.0)}, generations={"pool": (lease,)}, rates={("pool", 0): rates}
    )
    _, second = project(outlook, Linear(1.0)).quarters
    usages = [each.usage for each in second.statement.pools]
    found = [(u.rate.per_device_hour_usd, u.peak_nodes, u.utilisation_rate) for u in usages]
    # A twelfth of the first 120 retires and is replaced, beside the 120 that are new.
    assert found == [(3.0, 110, 1.0), (2.0, 130, 1.0)]
    assert second.spend_usd == pytest.approx((110 * 3.0 + 130 * 2.0) * HOURS_PER_QUARTER)


@dataclass(frozen=True)
class Talkative(Linear):
    """A third of the tokens are those of long requests; two arrivals make a task."""

    def served(self, name: str, quarter: int) -> Served:
        return Served(1.0, 90.0, 30.0, long_input_tokens=30.0, long_output_tokens=10.0, tasks=0.5)


def test_long_requests_are_billed_at_their_price_and_tasks_are_counted() -> None:
    long = LongContextPrice(1000, 2.0, 8.0)
    plan = ApiPlan("api", 1.0, 4.0, long_context=long)
    outlook = outlook_of({"chat": (1000.0,)}, plans={"chat": (plan,)})
    (quarter,) = project(outlook, Talkative(1.0)).quarters
    requests = 1000.0 * SECONDS
    usd = (60 * 1.0 + 20 * 4.0 + 30 * 2.0 + 10 * 8.0) / 1e6
    assert quarter.statement.revenue_usd == pytest.approx(requests * usd)
    assert quarter.statement.classes[0].usage.tasks == pytest.approx(0.5 * requests)


def test_a_pool_that_only_decodes_costs_output() -> None:
    machines = {("pool", 0): Machine("one", "h100", 1, 1000.0, "decode")}
    (quarter,) = project(outlook_of({"chat": (10.0,)}, machines=machines), Linear(1.0)).quarters
    (chat,) = quarter.statement.classes
    assert chat.token_costs.output_microusd == chat.cost.cost_microusd > 0


def test_the_first_nodes_are_of_even_ages() -> None:
    """Half as many nodes as quarters of life: one retires every other quarter."""
    owned = Generation(0, first=0, terms="owned", lead=2, life=12)
    cohorts = plan_capacity(1, [owned], lambda *_: 6.0)
    assert [(cohort.nodes, cohort.retires) for cohort in cohorts] == [
        (1, q) for q in range(2, 13, 2)
    ]


def test_new_nodes_are_of_the_newest_generation_and_old_ones_stay() -> None:
    generations = (
        Generation(0, 0, "owned", lead=0, life=8),
        Generation(1, 2, "owned", lead=2, life=8),
    )
    cohorts = plan_capacity(4, generations, lambda quarter, *_: 80.0 + 20.0 * quarter)
    newest = [(each.generation, each.delivered, each.ordered) for each in cohorts[8:]]
    assert newest == [(0, 1, 1), (1, 2, 0), (1, 3, 1)]
    assert sum(c.nodes for c in cohorts if c.generation == 0 and c.is_held(3)) == 80


def test_orders_that_continue_the_trend_miss_what_grows_faster() -> None:
    load = (100.0, 110.0, 121.0, 242.0, 484.0)
    lease = Generation(0, 0, "committed_3y", lead=2, life=12)
    outlook = outlook_of({"chat": load}, generations={"pool": (lease,)}, foresight="trend")
    found = project(outlook, Linear(1.0)).quarters
    served = [each.served_rates["chat"] for each in found]
    assert served[:3] == pytest.approx([1.0, 1.0, 1.0])
    # Ordered in the second quarter for the fourth: 110 · 1.1² = 133.1, and 242 come.
    assert served[3] == pytest.approx(134 / 242)
    assert found[3].statement.revenue_usd == pytest.approx(
        134 / 242 * 242 / 100 * found[0].statement.revenue_usd, rel=1e-6
    )


def test_a_trend_that_slows_down_leaves_nodes_idle() -> None:
    seen = trend([100.0, 200.0, 400.0, 400.0])
    assert seen(3, 1) == 2.0
    lease = Generation(0, 0, "committed_3y", lead=1, life=12)
    cohorts = plan_capacity(
        4, (lease,), lambda quarter, _, load: (100.0, 200.0, 400.0, 400.0)[quarter] * load, seen
    )
    assert sum(each.nodes for each in cohorts if each.is_held(3)) == 800
