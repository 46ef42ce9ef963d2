"""A result is priced again without a simulation, and says the same until a price changes."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest

import planner
from planner.catalog import load_catalog
from planner.costing import Costing, cost, price_again
from planner.errors import CatalogError, OutputError, ScenarioError
from planner.results.result import Result
from tests.results.synthetic import make_result
from tests.small import PRICE_TABLE, SMALL

pytestmark = pytest.mark.compiled

TABLE = PRICE_TABLE.replace("output: 2}", "output: 1}")
LONG = SMALL.replace(
    "{name: api, kind: api, input: 1 USD/Mtok, output: 8 USD/Mtok}",
    "{name: api, kind: api, api_price: ours}",
).replace("prices:\n", "prices:\n  tables: [{path: prices.yaml}]\n")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("costing")
    (folder / "small.yaml").write_text(SMALL, encoding="utf-8")
    (folder / "prices.yaml").write_text(TABLE, encoding="utf-8")
    (folder / "long.yaml").write_text(
        LONG.replace("      plan: members", "      plan: api"), encoding="utf-8"
    )
    planner.run(folder / "small.yaml").write(folder / "result")
    return folder


@pytest.fixture(scope="module")
def stored(folder: Path) -> Costing:
    return planner.cost(folder / "result")


def test_a_stored_result_costs_what_it_said(folder: Path, stored: Costing) -> None:
    result = Result.read(folder / "result")
    assert result.finance is not None
    pd.testing.assert_frame_equal(stored.finance.ledger, result.finance.ledger)
    pd.testing.assert_frame_equal(stored.finance.margins, result.finance.margins)
    pd.testing.assert_frame_equal(stored.finance.class_costs, result.finance.class_costs)
    assert planner.cost(result).to_json() == stored.to_json()
    assert planner.cost(folder / "small.yaml").to_json() == stored.to_json()


@pytest.mark.parametrize("change", [{"overrides": ["x"]}, {"named": "x"}])
def test_a_stored_result_takes_no_scenarios(folder: Path, stored: Costing, change) -> None:
    with pytest.raises(OutputError, match="has no named scenarios and takes no overrides"):
        planner.cost(folder / "result", **change)


def test_the_partner_is_paid_before_the_fleet(folder: Path, stored: Costing) -> None:
    ledger = stored.statement.ledger
    sets = ["prices.partner_revenue_share=20%"]
    shared = planner.cost(folder / "result", sets=sets).statement
    kept = ledger.revenue_microusd - shared.ledger.partner_share_microusd
    assert kept == pytest.approx(0.8 * ledger.revenue_microusd)
    assert shared.break_even_share == pytest.approx(ledger.cost_microusd / kept)


def test_the_bill_is_the_sum_of_its_lines(stored: Costing) -> None:
    ledger, tables = stored.finance.ledger, stored.tables()
    costs = ledger[ledger["kind"].isin(["workload", "idle", "overhead"])]["amount_microusd"]
    assert int(costs.sum()) == stored.statement.ledger.cost_microusd
    kinds = ["workload_usd", "idle_usd", "overhead_usd"]
    for name in ("pool_costs", "class_costs"):
        assert tables[name][kinds].to_numpy().sum() == pytest.approx(stored.finance.cost_usd)
    assert set(ledger["currency"]) == {"USD"}
    assert not (ledger[["date", "source"]] == "").to_numpy().any()
    assert stored.to_pandas().equals(tables["unit_costs"])
    with pytest.raises(KeyError, match="no table 'bill'; there are pool_costs"):
        stored.to_pandas("bill")


def test_another_day_has_other_prices(folder: Path) -> None:
    def price(date: str) -> float:
        sets = ["prices.default_terms=committed_1y"]
        found = planner.cost(folder / "result", date=date, sets=sets)
        rate = found.statement.pools[0].usage.rate
        assert rate.terms == "committed_1y"
        return rate.per_device_hour_usd

    with pytest.raises(CatalogError, match="no committed_1y price for h200-sxm on 2026-03-02"):
        price("2026-03-02")
    assert price("2026-11-01") == 2.35


def test_own_tables_and_mixes(folder: Path, stored: Costing) -> None:
    mix = "pools.chat.price_mix=[{price: reserved, nodes: 1}, {price: h100-sxm-spot}]"
    found = planner.cost(folder / "result", prices=[folder / "prices.yaml"], sets=[mix])
    rates = [each.usage.rate for each in found.statement.pools]
    assert [rate.name for rate in rates[:2]] == ["reserved", "h100-sxm-spot"]
    assert rates[0].source == "our contract"
    hours = found.finance.hours
    by_pool = found.finance.pool_costs
    assert by_pool["cost_usd"][0] == pytest.approx(8 * hours * 1.0 * 1.1)
    assert by_pool["cost_usd"][1] == pytest.approx(8 * hours * 1.25 * 1.1)
    assert found.finance.cost_usd < stored.finance.cost_usd
    assert {"price reserved (committed_1y)"} <= {each.name for each in found.assumptions}


def test_a_table_of_the_scenario_stays_in_the_result(folder: Path) -> None:
    """Also the tokens of long requests, which only a run can count."""
    result = planner.run(folder / "long.yaml")
    result.write(folder / "long")
    again = planner.cost(folder / "long")
    assert result.finance is not None
    pd.testing.assert_frame_equal(again.finance.ledger, result.finance.ledger)
    amounts = again.finance.ledger.groupby("line")["quantity"].sum()
    usage = again.statement.classes[0].usage
    assert 0 < usage.long_context.input < usage.input_tokens
    assert usage.long_context.input / 1e6 == pytest.approx(amounts["input tokens, long context"])
    # prompts are even between 100 and 1,500 tokens: 29% of the tokens are beyond 1,000 in number …
    # but 56% of them in requests of more than 1,000
    assert usage.long_context.input / usage.input_tokens == pytest.approx(0.56, abs=0.03)


def test_a_threshold_that_was_not_counted_is_refused(folder: Path) -> None:
    message = r"plan api has another price above 1,000 tokens, .* of class reasoning"
    with pytest.raises(CatalogError, match=message):
        planner.cost(
            folder / "result",
            prices=[folder / "prices.yaml"],
            sets=["prices.plans.api={kind: api, api_price: ours, input: null, output: null}"],
        )


def test_faults_are_named(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ScenarioError, match=r"--set prices\.margin=all: .*margin"):
        cost(folder / "result", sets=["prices.margin=all"])
    with pytest.raises(ScenarioError, match=r"prices\.partner_revenue_share: must be between 0"):
        cost(folder / "result", sets=["prices.partner_revenue_share=120%"])
    with pytest.raises(CatalogError, match="unknown machine price 'none'"):
        cost(folder / "result", sets=["pools.chat.price=none"])
    with pytest.raises(OutputError, match="no such file"):
        cost(tmp_path)
    with pytest.raises(OutputError, match="has no books; run its scenario again"):
        price_again(make_result(), load_catalog())


def test_json_names_currency_and_sources(stored: Costing) -> None:
    content = json.loads(stored.to_json(), parse_constant=pytest.fail)
    assert content["schema"] == "planner-cost/v1"
    assert content["currency"] == "USD"
    assert {row["definition"] for row in content["margins"]} == {
        "paid_only", "all_users_in_cogs", "free_in_marketing",
    }  # fmt: skip
    assert all(row["source"] and row["date"] for row in content["prices"])
