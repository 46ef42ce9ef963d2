"""Prices of a forecast: tables, owned devices, booked ones and plans, as the scenario has them."""

from __future__ import annotations

from pathlib import Path

import pytest

from planner.catalog import load_catalog
from planner.economics.forecast import Outlook
from planner.economics.plans import AdvertisingPlan, ApiPlan
from planner.search.forecast_notes import assumptions
from planner.search.roadmap import Roadmap
from tests.small import SMALL, load

FORECAST = """\
  tables: [{path: prices.yaml}]
  nodes:
    - {name: own, terms: owned, capital: {capex: 30000 USD}, as_of: 2026-01-01, source: a quote}
forecast:
  start: 2026-Q1
  until: 2027-Q1
  machine_prices:
    - {name: hgx-h100, change: -20%}
  plan_prices:
    - {name: members, change: 10%}
    - {name: api, change: -50%}
"""
TABLE = """\
sources:
  offer: {citation: an offer, date: 2026-01, tier: official}
machines:
  h200-block: {title: booked H200, chip: h200-sxm, terms: capacity_block, provider: a cloud,
    source: offer, price: 3.5 USD/h}
"""


@pytest.fixture(scope="module")
def outlook(tmp_path_factory: pytest.TempPathFactory) -> Outlook:
    folder = tmp_path_factory.mktemp("roadmap")
    (folder / "prices.yaml").write_text(TABLE, encoding="utf-8")
    loaded = load(
        folder,
        "pools.chat.price=own",
        "pools.reasoning.price=h200-block",
        "prices.plans.members={kind: advertising, per_message: 0.002 USD, per_seat: null, "
        "requests_per_seat_month: null}",
        "prices.plans.api.long_context={above: 300, input: 2 USD/Mtok, output: 16 USD/Mtok}",
        text=SMALL + FORECAST,
    )
    return Roadmap(loaded, load_catalog()).outlook()


def test_an_owned_price_moves_with_its_parts(outlook: Outlook) -> None:
    first, *_, last = outlook.rates["chat", 0]
    assert last.per_device_hour_usd == pytest.approx(0.8 * first.per_device_hour_usd)
    assert sum(part.per_device_hour_usd for part in last.parts) == last.per_device_hour_usd


def test_a_price_of_a_table_is_known_and_a_block_lasts_a_quarter(outlook: Outlook) -> None:
    assert {rate.per_device_hour_usd for rate in outlook.rates["reasoning", 0]} == {3.5}
    (block,) = outlook.generations["reasoning"]
    assert (block.terms, block.life, block.is_elastic) == ("capacity_block", 1, False)


def test_plans_move_with_all_their_prices(outlook: Outlook) -> None:
    shown, paid = outlook.plans["chat"][4], outlook.plans["reasoning"][4]
    assert isinstance(shown, AdvertisingPlan)
    assert shown.message_usd == pytest.approx(0.0022)
    assert isinstance(paid, ApiPlan)
    assert paid.long_context is not None
    assert paid.long_context.output_usd_per_mtok == pytest.approx(8.0)


LATER = """\
sources:
  contract: {citation: our contract, date: 2026-01, tier: official}
  amendment: {citation: its amendment, date: 2026-07, tier: official}
machines:
  ours-1: {title: H200, chip: h200-sxm, terms: on_demand, provider: a cloud, source: contract,
    price: 3 USD/h, series: ours, until: 2026-06-30}
  ours-2: {title: H200, chip: h200-sxm, terms: on_demand, provider: a cloud, source: amendment,
    price: 4 USD/h, series: ours, until: 2026-12-31}
"""


def test_prices_of_later_days_are_those_of_their_quarters(tmp_path: Path) -> None:
    """They rise here; after the last one ends, and where none is dated, the first one stays."""
    (tmp_path / "prices.yaml").write_text(LATER, encoding="utf-8")
    loaded = load(
        tmp_path, "pools.chat.price=own", "pools.reasoning.price=ours", "prices.date=2026-02-01",
        text=SMALL + FORECAST,
    )  # fmt: skip
    roadmap = Roadmap(loaded, load_catalog())
    outlook = roadmap.outlook()
    prices = [rate.per_device_hour_usd for rate in outlook.rates["reasoning", 0]]
    assert prices == [3.0, 3.0, 4.0, 4.0, 3.0]
    told = {each.name: each for each in assumptions(roadmap.forecast, outlook, ())}
    assert "price ours-2 (on_demand), reasoning" in told
    assert told["plan members, seat"].value == 20.0
    assert "price members in later quarters" not in told  # it has a path
