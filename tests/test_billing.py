"""The books of a simulation, worked out by hand on tiny scenarios."""

from __future__ import annotations

from collections.abc import Generator
from pathlib import Path

import pytest
import simpy

from planner.billing import measure
from planner.catalog import Catalog, load_catalog
from planner.control import Fleet, follow_schedule
from planner.economics import ApiPlan, FreePlan, Statement, SubscriptionPlan
from planner.engine import Engine
from planner.errors import CatalogError
from planner.lowering import lower
from planner.lowering.workload import seconds_of_day
from planner.pricing import plan_of, policy_of, rate_of
from planner.provenance import assumptions
from planner.scenario.schema.money import Plan, Prices
from planner.scenario.schema.pools import Pool
from tests.control.clusters import Process
from tests.lowering.scenarios import load, write_trace

POOLS = """\
- {name: chat, model: llama-3.1-8b, node: hgx-h100, nodes: 2, tensor_parallel: 2, price: own,
   cold_start: 0 s, schedule: [{at: "1:00", nodes: 1}, {at: "2:00", nodes: 9}]}
- {name: idle, model: llama-3.1-8b, node: hgx-h100, nodes: 1, price: house}
"""
PRICES = """
prices:
  node_overhead: 10%
  power: {electricity: 0.10 USD/kWh, pue: 1.5, colocation: 73 USD/kW/month, idle: 10%, loaded: 90%}
  nodes:
    - {name: own, per_device_hour: 3 USD/h, terms: TERMS, as_of: 2026-01-01, source: a contract}
    - {name: house, per_device_hour: 1 USD/h, terms: owned, as_of: 2026-02-01, source: the books}
  plans:
    - {name: api, kind: api, input: 2 USD/Mtok, output: 10 USD/Mtok}
    - {name: seats, kind: subscription, per_seat: 20 USD/month, requests_per_seat_month: 100}
    - {name: guests, kind: free}
"""
CLASSES = """\
- {name: api, pool: chat, plan: api, trace: {file: api.csv}}
- {name: members, pool: chat, plan: seats, trace: {file: members.csv}}
- {name: guests, pool: chat, plan: guests, trace: {file: guests.csv}}
- {name: nobody, pool: chat, trace: {file: guests.csv}, input: {fixed: 10000000}}
"""
LAST = "\n7199.9 500 200"
"""A request that is served when the two hours are over, and so is not in their books."""


DAY = "2026-11-01"


@pytest.fixture(scope="module")
def catalog() -> Catalog:
    return load_catalog()


def settled(
    folder: Path, catalog: Catalog, terms: str = "on_demand", workload: str = "duration: 2 h"
) -> tuple[Statement, Engine, Fleet]:
    """Run the scenario and return its statement."""
    header = "arrival_s input_tokens output_tokens\n"
    write_trace(folder, "api.csv", header + "\n".join(f"{n} 1000 50" for n in range(100)))
    write_trace(folder, "members.csv", header + "\n".join(f"{n} 500 20" for n in range(60)))
    write_trace(folder, "guests.csv", header + "\n".join(f"{n} 500 20" for n in range(30)) + LAST)
    loaded = load(folder, CLASSES, workload, POOLS, PRICES.replace("TERMS", terms))
    lowered = lower(loaded, catalog)
    engine = Engine(lowered.plan)
    fleet = Fleet(engine, {pool.name: pool.cold_start for pool in loaded.scenario.pools})
    engine.env.process(following_schedule(loaded.scenario.pools[0])(engine.env, fleet))
    engine.run()
    books = measure(loaded.scenario, {}, engine, fleet, lowered.pools)
    return books.statement(loaded.scenario.prices, catalog), engine, fleet


def following_schedule(pool: Pool) -> Process:
    timetable = [(seconds_of_day(entry.at), entry.nodes) for entry in pool.schedule]

    def process(env: simpy.Environment, fleet: Fleet) -> Generator[simpy.Event]:
        return follow_schedule(env, fleet[pool.name], timetable, 0.0)

    return process


def amounts(statement: Statement, pool: str) -> dict[str, float]:
    """Return USD by line and kind of a pool."""
    lines = [line for line in statement.ledger.lines if line.pool == pool]
    return {f"{line.line}, {line.kind.value}": line.amount_usd for line in lines}


def test_rented_nodes_are_paid_while_they_are_held(tmp_path: Path, catalog: Catalog) -> None:
    """Two nodes of eight devices for an hour, one for another: 24 device-hours at 3 USD."""
    statement, _, _ = settled(tmp_path, catalog)
    chat = statement.pools[0].usage
    assert (chat.node_hours, chat.device_hours, chat.peak_nodes) == (3.0, 24.0, 2)
    found = amounts(statement, "chat")
    machine = found["machine time, workload"] + found["machine time, idle"]
    assert machine == pytest.approx(72.0, abs=1e-6)
    assert found["node overhead, overhead"] == pytest.approx(7.2, abs=1e-6)
    assert statement.pools[0].cost_microusd() == 79_200_000
    assert chat.rate.source == "a contract"


def test_committed_nodes_are_paid_at_their_peak_for_the_whole_time(
    tmp_path: Path, catalog: Catalog
) -> None:
    """What is ordered at the very end of the arrivals (nine nodes at 2:00) is not of the period."""
    statement, _, fleet = settled(tmp_path, catalog, "committed_1y", "duration: 2 h\nwindow: 7 min")
    assert fleet["chat"].nodes == 9
    assert statement.pools[0].usage.billed_device_hours == 32.0
    assert statement.pools[0].cost_microusd() == round(32 * 3 * 1.1 * 1e6)


def test_owned_nodes_cost_power_and_housing_besides(tmp_path: Path, catalog: Catalog) -> None:
    """A node of 10.2 kW that only idles: 10 % of it for two hours, at a PUE of 1.5."""
    statement, _, _ = settled(tmp_path, catalog)
    kwh = 10.2 * 0.10 * 2
    assert amounts(statement, "idle") == {
        "machine time, idle": pytest.approx(8 * 2 * 1.0, abs=1e-6),
        "electricity, idle": pytest.approx(kwh * 0.10, abs=1e-6),
        "electricity of the facility (PUE), overhead": pytest.approx(kwh * 0.5 * 0.10, abs=1e-6),
        "colocation, idle": pytest.approx(10.2 * 73.0 * 2 / 730, abs=1e-6),
    }


def test_busy_time_is_that_of_the_devices_of_the_replicas(tmp_path: Path, catalog: Catalog) -> None:
    statement, engine, _ = settled(tmp_path, catalog)
    busy_s = engine.world.pool_windows["busy_s"].reshape(-1, 2)[:120, 0].sum()
    assert busy_s > 10.0
    assert statement.pools[0].usage.busy_device_hours == pytest.approx(busy_s * 2 / 3600)
    assert statement.pools[1].usage.busy_device_hours == 0.0


def test_only_the_arrival_period_counts_as_busy(tmp_path: Path, catalog: Catalog) -> None:
    """It ends in the middle of a window; what drains afterwards is work, but not of the period."""
    statement, engine, _ = settled(tmp_path, catalog, workload="duration: 20.1 s\nwindow: 1 min")
    usage = statement.pools[0].usage
    total_s = engine.world.pool_windows["busy_s"].reshape(-1, 2).sum(axis=0)[0]
    assert 0 < usage.busy_device_hours * 3600 / 2 < total_s
    assert usage.busy_device_hours <= usage.device_hours
    assert usage.node_hours == pytest.approx(2 * 20.1 / 3600)


def test_revenue_follows_the_plans(tmp_path: Path, catalog: Catalog) -> None:
    statement, _, _ = settled(tmp_path, catalog)
    api, members, guests, nobody = statement.classes
    assert api.revenue_microusd == 100 * 1000 * 2 + 100 * 50 * 10  # tokens × USD/Mtok
    assert members.revenue_microusd == round(60 / 100 * 20 * 1e6)
    assert (guests.revenue_microusd, nobody.revenue_microusd) == (0, 0)
    assert [c.usage.requests for c in statement.classes] == [100, 60, 30, 0]
    assert [c.usage.is_paying for c in statement.classes] == [True, True, False, False]


def test_classes_bear_the_cost_of_their_pool_by_their_step_time(
    tmp_path: Path, catalog: Catalog
) -> None:
    statement, engine, _ = settled(tmp_path, catalog)
    weights = engine.arrivals_busy_s
    assert weights is not None
    pool = statement.pools[0].cost_microusd()
    costs = [c.cost.cost_microusd for c in statement.classes]
    assert sum(costs) == pool
    for cost, weight in zip(costs, weights[0], strict=True):
        assert cost == pytest.approx(pool * weight / weights[0].sum(), abs=4)
    assert costs[0] > costs[1] > costs[2] > costs[3] == 0
    # The other pool served nobody: its cost is in the bill, but no class bears it.
    assert statement.unallocated.cost_microusd == statement.pools[1].cost_microusd()
    assert statement.ledger.cost_microusd == pool + statement.unallocated.cost_microusd
    assert weights[1].sum() == 0.0


def test_the_cost_of_a_class_does_not_depend_on_the_drain(tmp_path: Path, catalog: Catalog) -> None:
    costs = []
    for drain in ("0 s", "1 h"):
        workload = f"duration: 2 h\ndrain: {drain}"
        statement, _, _ = settled(tmp_path, catalog, workload=workload)
        costs.append([each.cost.cost_microusd for each in statement.classes])
    assert costs[0] == pytest.approx(costs[1], abs=4)  # micro-USD, as above


# --- rates ---------------------------------------------------------------------------------------


def prices(**content: object) -> Prices:
    own = {
        "name": "own", "per_device_hour": "2 USD/h", "terms": "owned", "as_of": "2026-01-01",
        "source": "a contract",
    }  # fmt: skip
    return Prices.model_validate({"nodes": [own], **content})


def test_a_named_price_of_the_scenario_comes_first(catalog: Catalog) -> None:
    rate = rate_of("own", "h100-sxm", prices(), catalog)
    assert (rate.name, rate.terms, rate.per_device_hour_usd) == ("own", "owned", 2.0)
    assert (rate.date, rate.source, rate.tier, rate.chip) == (
        "2026-01-01", "a contract", "scenario", "h100-sxm",
    )  # fmt: skip


def test_a_named_price_of_the_catalogue_is_used_whatever_the_default(catalog: Catalog) -> None:
    listed = catalog.machine_price("h100-sxm-committed-1y")
    rate = rate_of(listed.name, "h100-sxm", prices(default_terms="spot"), catalog)
    assert (rate.name, rate.terms) == (listed.name, "committed_1y")
    assert rate.per_device_hour_usd == listed.per_device_hour.value
    assert (rate.date, rate.source) == (listed.per_device_hour.date, listed.per_device_hour.source)


def test_without_a_name_terms_and_date_decide(catalog: Catalog) -> None:
    def name_on(date: str) -> str:
        terms = prices(default_terms="committed_1y", date=date)
        return rate_of(None, "h100-sxm", terms, catalog).name

    assert name_on("2025-12-31") == "h100-sxm-committed-1y-2025-10"
    assert name_on("2026-11-01") == "h100-sxm-committed-1y"
    with pytest.raises(CatalogError, match="2001-01-01"):
        name_on("2001-01-01")


# --- plans and policy ----------------------------------------------------------------------------


def plan(**content: object) -> Plan:
    return Plan.model_validate({"name": "plan", **content})


def test_a_plan_of_the_catalogue_has_its_prices_and_source(catalog: Catalog) -> None:
    listed = catalog.api_price("deepseek-reasoner-2025-02")
    found = plan_of(plan(kind="api", api_price=listed.name), DAY, catalog)
    assert isinstance(found, ApiPlan)
    assert listed.cached_input is not None
    assert found == ApiPlan(
        "plan",
        listed.input.value,
        listed.output.value,
        listed.cached_input.value,
        listed.date,
        listed.output.source,
        tier="official",
    )
    assert (found.input_usd_per_mtok, found.output_usd_per_mtok) == (0.55, 2.19)


def test_plans_of_the_scenario_are_taken_as_stated(catalog: Catalog) -> None:
    stated = {"as_of": "2026-03-01", "source": "the price list"}
    tokens = {"input": "1 USD/Mtok", "cached_input": "0.1 USD/Mtok", "output": "0 USD/Mtok"}
    api = plan_of(plan(kind="api", **tokens, **stated), DAY, catalog)
    assert api == ApiPlan("plan", 1.0, 0.0, 0.1, "2026-03-01", "the price list")
    seats = {"per_seat": "20 USD/month", "requests_per_seat_month": 400.0}
    found = plan_of(plan(kind="subscription", **seats), DAY, catalog)
    assert found == SubscriptionPlan("plan", 20.0, 400.0, DAY, "the scenario")
    assert plan_of(plan(kind="free"), DAY, catalog) == FreePlan("plan", DAY, "the scenario")


def test_what_the_scenario_states_is_its_own_the_rest_are_defaults() -> None:
    default = policy_of(prices())
    assert (default.source, default.power.source) == ("planner default", "planner default")
    stated = policy_of(
        prices(
            date="2026-05-05",
            node_overhead="20%",
            partner_revenue_share="30%",
            margin="paid_only",
            power={"pue": 1.3, "idle": "20%"},
        )
    )
    assert (stated.node_overhead_rate, stated.partner_revenue_share_rate) == (0.2, 0.3)
    assert (stated.definition, stated.source, stated.date) == (
        "paid_only", "the scenario", "2026-05-05",
    )  # fmt: skip
    assert (stated.power.pue, stated.power.idle_rate) == (1.3, 0.2)
    assert (stated.power.loaded_rate, stated.power.source) == (0.8, "the scenario")


def test_cached_input_is_billed_at_its_own_price(tmp_path: Path, catalog: Catalog) -> None:
    """A tenth of what was served is told to have been cached: 10,000 tokens at 0.2 USD/Mtok."""
    write_trace(tmp_path, "api.csv", "arrival_s input_tokens output_tokens\n" + "1 1000 50\n" * 100)
    classes = "- {name: api, pool: small, plan: api, trace: {file: api.csv}}\n"
    prices = (
        "\nprices:\n  plans:\n    - {name: api, kind: api, input: 2 USD/Mtok,"
        " cached_input: 0.2 USD/Mtok, output: 10 USD/Mtok}\n"
    )
    loaded = load(tmp_path, classes, "duration: 1 h", rest=prices)
    lowered = lower(loaded, catalog)
    engine = Engine(lowered.plan)
    fleet = Fleet(engine, {pool.name: pool.cold_start for pool in loaded.scenario.pools})
    engine.run()
    engine.world.class_windows["cached_tokens"] = engine.world.class_windows["input_tokens"] // 10
    books = measure(loaded.scenario, {}, engine, fleet, lowered.pools)
    statement = books.statement(loaded.scenario.prices, catalog)
    earned = {line.line: line.amount_usd for line in statement.ledger.lines if line.class_name}
    assert earned == {
        "input tokens": pytest.approx(0.09 * 2),
        "cached input tokens": pytest.approx(0.01 * 0.2),
        "output tokens": pytest.approx(0.005 * 10),
    }
    assert statement.revenue_usd == pytest.approx(0.18 + 0.002 + 0.05)
    found = assumptions(
        loaded.scenario, catalog, lowered.pools, statement, policy_of(loaded.scenario.prices)
    )
    assert {each.name: each.value for each in found}["plan api, cached input"] == 0.2
