"""What `planner check` says of contradictions in a forecast, each with its place."""

from __future__ import annotations

from pathlib import Path

import pytest

from planner.catalog import Catalog
from planner.errors import ScenarioError
from planner.scenario import LoadedScenario, load_checked
from planner.scenario.schema.forecast import number_of, quarter_of
from planner.scenario.variants import variant

pytestmark = pytest.mark.usefixtures("in_folder")

VALID = """\
schema: planner/v1
name: ahead
workload:
  duration: 1 h
  classes:
    - name: chat
      pool: small
      open: {rate: 24 /s}
      input: {fixed: 900}
      output: {fixed: 90}
      plan: api
    - name: reasoning
      pool: big
      open: {rate: 2 /s}
      input: {fixed: 900}
      output: {fixed: 900}
      plan: api
pools:
  - {name: small, model: llama-3.1-8b, node: hgx-h100, nodes: 2}
  - {name: big, model: llama-3.1-70b, node: hgx-h100, nodes: 2, tensor_parallel: 4}
prices:
  plans:
    - {name: api, kind: api, input: 0.60 USD/Mtok, output: 2.40 USD/Mtok}
forecast:
  start: 2026-Q1
  until: 2028-Q4
  demand:
    - {name: chat, start: 500 /s, growth: 40%}
    - {name: reasoning, path: [{quarter: 2027-Q1, rate: 9 /s}, {quarter: 2027-Q4, rate: 20 /s}]}
  shifts:
    - {name: think, of: chat, to: reasoning, share: 30%, start: 2026-Q2, end: 2027-Q2}
  upgrades:
    - {name: larger, quarter: 2027-Q1, classes: [chat],
       set: {pools.small.model: llama-3.1-70b, pools.small.tensor_parallel: 8}}
  chips:
    - {name: b200, pool: big, quarter: 2027-Q2, node: hgx-b200, set: {tensor_parallel: 2}}
  machine_prices:
    - {name: hgx-h100, change: -10%, path: [{quarter: 2026-Q3, factor: 1.4}]}
  plan_prices:
    - {name: api, change: -20%}
  learning:
    - {name: small, per_year: 20%, until: 2027-Q4}
  capacity: {reserve: 10%, lead_quarters: 2}
"""


ELSEWHERE = (12, 20, 24)
"""Lines of the class, the pool and the section, where a fault is one of these as a whole."""


def checked(catalog: Catalog, text: str = VALID) -> LoadedScenario:
    Path("q.yaml").write_text(text, encoding="utf-8")
    return load_checked("q.yaml", catalog)


def faults(catalog: Catalog, old: str, new: str) -> list[str]:
    assert VALID.count(old) == 1, old
    with pytest.raises(ScenarioError) as raised:
        checked(catalog, VALID.replace(old, new))
    return [str(fault).splitlines()[0] for fault in raised.value.faults]


def test_a_forecast_without_contradictions(catalog: Catalog) -> None:
    forecast = checked(catalog).scenario.forecast
    assert forecast is not None
    assert forecast.quarters == 12
    assert forecast.labels()[:5] == ("2026-Q1", "2026-Q2", "2026-Q3", "2026-Q4", "2027-Q1")
    assert forecast.demand[0].growth == pytest.approx(0.4)
    assert forecast.machine_prices[0].change == pytest.approx(-0.1)


@pytest.mark.parametrize(
    ("old", "new", "where", "message"),
    [
        ("growth: 40%", "growth: -100%", "forecast.demand[0].growth",
         "must be more than -100%"),
        ("until: 2028-Q4", "until: 2025-Q4", "forecast", "until 2025-Q4 is before start 2026-Q1"),
        ("start: 2026-Q1", "start: Q1 2026", "forecast.start",
         "must be a quarter, as in 2027-Q1"),
        ("until: 2028-Q4", "until: 2099-Q4", "forecast", "at most 60 are forecast"),
        ("name: chat, start: 500", "name: chatt, start: 500", "forecast.demand[0].name",
         "unknown class 'chatt'; did you mean chat?"),
        ("classes: [chat]", "classes: [agents]", "forecast.upgrades[0].classes[0]",
         "unknown class 'agents'"),
        ("name: larger, quarter: 2027-Q1", "name: larger, quarter: 2031-Q1",
         "forecast.upgrades[0].quarter",
         "2031-Q1 is outside the forecast, 2026-Q1 to 2028-Q4"),
        ("name: larger, quarter: 2027-Q1", "name: larger, quarter: 2026-Q1",
         "forecast.upgrades[0].quarter", "write it into the scenario itself"),
        ("of: chat, to: reasoning, share: 30%", "of: chat, to: chat, share: 30%",
         "forecast.shifts[0].to", "is the class that it leaves"),
        ("start: 2026-Q2, end: 2027-Q2", "start: 2027-Q3, end: 2027-Q2", "forecast.shifts[0]",
         "ends in 2027-Q2, before it starts in 2027-Q3"),
        ("{quarter: 2027-Q4, rate: 20 /s}", "{quarter: 2026-Q4, rate: 20 /s}",
         "forecast.demand[1].path[1].quarter", "2026-Q4 does not follow 2027-Q1"),
        ("lead_quarters: 2", "lead_quarters: 12", "forecast.capacity.lead_quarters",
         "nothing that is ordered in it arrives"),
        ("pool: big, quarter: 2027-Q2, node: hgx-b200", "pool: big, quarter: 2027-Q2, node: hgx-b2",
         "forecast.chips[0].node", "unknown node 'hgx-b2'"),
        ("node: hgx-b200, set", "node: cs-3, set", "pools[1]", "pools[].price (from 2027-Q2 on)"),
        ("node: hgx-b200, set", "node: hgx-b200, price: h100-sxm-on-demand, set",
         "pools[1].price", "h100"),
        ("{tensor_parallel: 2}", "{tensor_paralel: 2}", "pools[1].tensor_paralel",
         "did you mean tensor_parallel?"),
        ("{tensor_parallel: 2}", "{node: hgx-b200}", "forecast.chips[0].set.node",
         "state node beside `set`"),
        ("pools.small.model: llama-3.1-70b", "pools.small.model: llama-3.1-405b",
         "pools[0]", "does not fit"),
        ("pools.small.model: llama-3.1-70b", "pools.small.node: hgx-b200",
         "forecast.upgrades[0].set['pools.small.node']", "State it under `chips`"),
        ("pools.small.model: llama-3.1-70b", "name: other", "forecast.upgrades.0.set",
         "name cannot change over time"),
        ("pools.small.model: llama-3.1-70b", "pools.tiny.model: llama-3.1-70b", "pools",
         "there is no item named 'tiny'"),
        ("name: hgx-h100, change", "name: hgx-h200, change",
         "forecast.machine_prices[0].name", "no pool ever runs on 'hgx-h200'"),
        ("name: api, change", "name: apis, change", "forecast.plan_prices[0].name",
         "unknown plan 'apis'"),
        ("name: small, per_year: 20%", "name: small, per_year: 20%, per_doubling: 5%",
         "forecast.learning[0]", "needs one of per_year and per_doubling"),
        ("open: {rate: 2 /s}", "closed: {clients: 9}", "workload.classes[1]",
         "only these can grow in a forecast"),
        ("share: 30%", "share: 130%", "forecast.shifts[0].share", "must be between 0 and 1"),
    ],
)  # fmt: skip
def test_contradictions_are_named_with_their_place(
    catalog: Catalog, old: str, new: str, where: str, message: str
) -> None:
    found = faults(catalog, old, new)
    named = [fault for fault in found if f": {where}" in fault and message in fault]
    assert named, found
    line = VALID[: VALID.index(old)].count("\n") + 1
    assert int(named[0].split(":")[1]) in (line, *ELSEWHERE), named


def test_shifts_cannot_move_more_than_all(catalog: Catalog) -> None:
    more = (
        "end: 2027-Q2}\n    - {name: too, of: chat, to: reasoning, share: 80%, start: 2026-Q2, "
        "end: 2026-Q3}"
    )
    (fault,) = faults(catalog, "end: 2027-Q2}", more)
    assert "110% of chat would move" in fault


MIXED = "price_mix: [{price: h100-sxm-committed-1y, nodes: 1}, {price: h100-sxm-on-demand}]"


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("node: hgx-h100, nodes: 2}", f"node: hgx-h100, nodes: 2, {MIXED}}}"),
        ("pools.small.tensor_parallel: 8", f"pools.small.tensor_parallel: 8, pools.small.{MIXED}"),
    ],
    ids=["now", "later"],
)
def test_a_pool_of_a_forecast_has_one_price(catalog: Catalog, old: str, new: str) -> None:
    (fault,) = faults(catalog, old, new)
    assert "pools[0].price_mix: small mixes prices" in fault
    assert "state `price` instead" in fault


def test_a_variant_is_the_scenario_of_a_date(catalog: Catalog) -> None:
    loaded = checked(catalog)
    later = variant(loaded, [0], {"big": 0})
    pools = {pool.name: pool for pool in later.scenario.pools}
    assert (pools["small"].model, pools["small"].tensor_parallel) == ("llama-3.1-70b", 8)
    assert (pools["big"].node, pools["big"].tensor_parallel) == ("hgx-b200", 2)
    assert variant(loaded, [], {}).scenario == loaded.scenario


@pytest.mark.parametrize("quarter", ["2025-Q1", "2026-Q4", "2030-Q2"])
def test_quarters_count(quarter: str) -> None:
    assert quarter_of(number_of(quarter)) == quarter
    assert number_of("2027-Q1") == number_of("2026-Q4") + 1
