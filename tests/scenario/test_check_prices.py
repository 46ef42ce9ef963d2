"""What is wrong with prices is named with file, line and remedy."""

from __future__ import annotations

from pathlib import Path

import pytest

from planner.catalog import load_catalog
from planner.errors import ScenarioError
from planner.scenario import load_checked
from tests.small import SMALL

CATALOG = load_catalog()
API = "    - {name: api, kind: api, input: 1 USD/Mtok, output: 8 USD/Mtok}\n"
TOKENS = "kind: api, input: 1 USD/Mtok, output: 2 USD/Mtok"
SEATS = "kind: subscription, per_seat: 1 USD/month, requests_per_seat_month: 9"
OWN = "{name: own, terms: committed_1y, as_of: 2026-01-01, source: s, per_device_hour: 2 USD/h}"


def faults(folder: Path, text: str) -> str:
    (folder / "q.yaml").write_text(text, encoding="utf-8")
    try:
        load_checked(folder / "q.yaml", CATALOG)
    except ScenarioError as error:
        return "\n".join(str(fault).replace(f"{folder}/", "") for fault in error.faults)
    return ""


def with_plan(fields: str) -> str:
    assert API in SMALL
    return SMALL.replace(API, f"    - {{name: api, {fields}}}\n")


def with_node(old: str, new: str, pool: str = "price: own") -> str:
    assert old in OWN
    text = SMALL.replace("prices:\n", f"prices:\n  nodes: [{OWN.replace(old, new)}]\n")
    return text.replace("    nodes: 2\n", f"    nodes: 2\n    {pool}\n")


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ("kind: api, api_price: gpt-5.6-soll", "'gpt-5.6-soll'; did you mean gpt-5.6-sol"),
        ("kind: api, api_price: gpt-5.6-sol, tier: batch", "gpt-5.6-sol has no batch price"),
        ("kind: api, api_price: gpt-5-mini, cache_writes: 50%", "has no price of its own for them"),
        ("kind: api, api_price: gpt-5, input: 1 USD/Mtok", "api_price does not go with input"),
        (f"{TOKENS}, tier: batch", "tier chooses a price of api_price"),
        (f"{TOKENS}, cache_writes: 50%", "cache_writes needs cache_write"),
        (TOKENS.replace("1 USD", "1 EUR"), "unknown currency EUR"),
        (TOKENS.replace("1 USD", "-1 USD"), "must not be negative"),
        ("kind: api, api_price: gpt-5.6-sol, cache_writes: 150%", "must be between 0 and 1"),
        ("kind: advertising", "an advertising plan needs per_message"),
        ("kind: free, per_message: 1 USD", "a plan of kind free does not go with per_message"),
        (f"{SEATS}, included_requests_per_seat_month: 3", "is less than the mean use"),
        ("kind: free, as_of: 2026-12-01", "api holds from 2026-12-01, and prices.date is"),
        ("kind: free, until: 2026-10-01", "api holds until 2026-10-01, and prices.date is"),
        ("kind: free, as_of: 2026-12-01, until: 2026-10-01", "the price never holds"),
    ],
)
def test_plans(tmp_path: Path, fields: str, message: str) -> None:
    found = faults(tmp_path, with_plan(fields))
    assert message in found
    assert found.startswith("q.yaml:")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("as_of: 2026-01-01", "as_of: 2026-12-01", "own holds from 2026-12-01"),
        ("2 USD/h", "2 USD/h, until: 2026-02-01", "own holds until 2026-02-01"),
        ("per_device_hour: 2 USD/h", "take_or_pay: 50%", "needs per_device_hour or capital"),
        ("per_device_hour: 2 USD/h", "capital: {capex: 9 USD}", "capital is for terms owned"),
        ("committed_1y", "spot, take_or_pay: 50%", "take_or_pay is for commitments, not spot"),
        ("2 USD/h", "-2 USD/h", "must not be negative"),
        ("committed_1y", "leased", "must be one of on_demand"),
        ("terms: committed_1y", "terms: owned", ""),
        ("committed_1y", "committed_1y, take_or_pay: 120%", "must be between 0 and 1"),
    ],
)
def test_prices_of_machines(tmp_path: Path, old: str, new: str, message: str) -> None:
    found = faults(tmp_path, with_node(old, new))
    assert (message in found) if message else not found


@pytest.mark.parametrize(
    ("pool", "message"),
    [
        ("price_mix: [{price: own, nodes: 1}, {price: h100-sxm-spot}]", ""),
        ("price_mix: [{price: own}, {price: h100-sxm-spot}]", "the last price of price_mix"),
        ("price_mix: [{price: own, nodes: 1}]", "the last price of price_mix"),
        ("price_mix: [{price: own}]\n    price: own", "has a price and a price_mix"),
        ("price_mix: [{price: own, nodes: 1}, {price: b200-sxm-spot}]", "is a price of b200-sxm"),
        ("price_mix: [{price: own, nodes: 1}, {price: owned}]", "unknown price 'owned'; did you"),
    ],
)
def test_mixes(tmp_path: Path, pool: str, message: str) -> None:
    found = faults(tmp_path, with_node("2 USD/h", "2 USD/h", pool))
    assert (message in found) if message else not found


TABLE = """\
sources:
  list: {citation: a list, date: 2026-01, tier: official}
machines:
  ours: {title: ours, chip: h100-sxm, terms: spot, provider: us, source: list, price: 1 USD/h}
"""


@pytest.mark.parametrize(
    ("table", "listed", "message"),
    [
        (TABLE, "[{path: t.yaml}]", ""),
        (TABLE.replace("h100-sxm", "h10"), "[{path: t.yaml}]", "ours.chip: unknown chip 'h10'"),
        (TABLE, "[{path: t.yaml}, {path: t.yaml}]", "prices ours for the same days as"),
        (TABLE, "[{path: none.yaml}]", "none.yaml: cannot be read"),
        (TABLE.replace("1 USD/h", "1 USD"), "[{path: t.yaml}]", "t.yaml:4: machines.ours.price: "),
        (TABLE, "[{path: t.json}]", "a JSON table has no dates; add as_of"),
        (TABLE, "[{path: t.yaml, as_of: 2026-01-01}]", "a YAML table has dates and sources inside"),
    ],
)
def test_tables(tmp_path: Path, table: str, listed: str, message: str) -> None:
    (tmp_path / "t.yaml").write_text(table, encoding="utf-8")
    text = SMALL.replace("prices:\n", f"prices:\n  tables: {listed}\n")
    text = text.replace("    nodes: 2\n", "    nodes: 2\n    price: ours\n")
    found = faults(tmp_path, text)
    if message:
        assert message in found
        assert found.startswith("q.yaml:")
        assert "unknown price" not in found  # for want of the table, which is what to mend
    else:
        assert not found
