"""`planner cost` as a user calls it: tables, JSON, CSV and the report."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pandas as pd
import pytest
from typer.testing import CliRunner

from planner.cli import app
from planner.simulation import run
from tests.small import SMALL

TABLE = """\
sources:
  contract: {citation: our contract, date: 2026-01, tier: official}
machines:
  ours:
    title: reserved H999
    chip: h999
    terms: committed_1y
    provider: a cloud
    source: contract
    price: 1.9 USD/h
"""
pytestmark = pytest.mark.compiled


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("cost")
    text = SMALL.replace("prices:\n", "prices:\n  partner_revenue_share: 20%\n")
    (folder / "small.yaml").write_text(text, encoding="utf-8")
    run(folder / "small.yaml").write(folder / "result")
    return folder


def test_prints_the_bill_units_revenue_and_margins(folder: Path) -> None:
    done = CliRunner().invoke(app, ["cost", str(folder / "result")])
    assert done.exit_code == 0, done.stderr
    lines = done.stdout.splitlines()
    assert max(map(len, lines)) <= 100
    assert lines[1] == "small  what it costs and earns"
    assert re.match(r"180 s of arrivals · prices of 2026-11-01 in USD · seed 3", lines[2])
    assert re.match(r"Serving costs \$[\d.]+ per hour: ", lines[4])
    titles = ("The bill", "What one unit costs", "Revenue", "Gross margin", "Prices")
    assert [line.split("  ")[0] for line in lines if line.startswith(titles)] == list(titles)
    assert "of which the partner's share" in done.stdout
    assert "colocation" not in done.stdout  # in the price of what is rented
    assert "Cost, revenue and tokens are those of the arrival period" in done.stdout
    for definition in ("paid_only", "all_users_in_cogs", "free_in_marketing"):
        assert f"({definition}): " in done.stdout.replace("\n", " ")


def test_json_csv_and_html(folder: Path, tmp_path: Path) -> None:
    page, ledger = tmp_path / "cost.html", tmp_path / "ledger.csv"
    outputs = ["--html", str(page), "--csv", str(ledger), "--json"]
    arguments = ["cost", str(folder / "result"), *outputs]
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 0, done.stderr
    content = json.loads(done.stdout)
    frame = pd.read_csv(ledger)
    costs = frame[frame["kind"].isin(["workload", "idle", "overhead"])]
    assert costs["amount_microusd"].sum() == round(content["cost_usd"] * 1e6)
    text = page.read_text(encoding="utf-8")
    assert "small: what it costs and earns" in text
    own = text[: text.index("<script>")]  # plotly names addresses, and the page lets none load
    assert "default-src 'none'" in own
    assert not re.search(r'(?:src|href)="https?://', own)
    for key in ("bill", "units", "revenue", "margin", "prices", "ledger"):
        assert f'<section id="{key}"' in text
    assert "gross margin" in text
    refused = CliRunner().invoke(app, arguments)
    assert refused.exit_code == 2
    assert "exists already" in refused.stderr
    assert CliRunner().invoke(app, [*arguments, "--force"]).exit_code == 0


def test_a_scenario_without_revenue(tmp_path: Path) -> None:
    path = tmp_path / "free.yaml"
    free = SMALL[: SMALL.index("prices:")].replace("plan: members", "").replace("plan: api", "")
    path.write_text(free, encoding="utf-8")
    page = tmp_path / "free.html"
    short = ["--set", "workload.duration=20 s"]
    done = CliRunner().invoke(app, ["cost", str(path), *short, "--html", str(page)])
    assert done.exit_code == 0, done.stderr
    assert "It earns nothing." in done.stdout
    assert "Nothing is earned." in page.read_text(encoding="utf-8")


def test_bad_input_is_named(folder: Path) -> None:
    def stderr(*arguments: str) -> str:
        done = CliRunner().invoke(app, ["cost", str(folder / "result"), *arguments])
        assert done.exit_code == 2
        return done.stderr

    for day in ("tomorrow", "20260105", "2026-W01-1"):
        assert "is no day" in stderr("--date", day)
    assert stderr("--set", "pools.chat.nodes=3") == (
        "--set pools.chat.nodes=3: a stored result is priced again, not simulated again: only "
        "`prices`, pools[].price and pools[].price_mix can be changed. Name the scenario file "
        "instead of the result to simulate it with this value\n"
    )
    assert stderr("--set", "prices.plans.api.api_price=gpt-5") == (
        "the stored result: prices.plans[1]: api_price does not go with input, output; delete one "
        "of them (`--set prices.plans[1].FIELD=null` deletes a field)\n"
    )
    assert "no on_demand price for h100-sxm on 2001-01-01" in stderr("--date", "2001-01-01")
    table = folder / "prices.json"
    table.write_text('{"m": {\n"input_cost_per_token": -1,\n"output_cost_per_token": 1}}')
    unknown = folder / "prices.yaml"
    unknown.write_text(TABLE, encoding="utf-8")
    assert f"{unknown}:6: ours.chip: unknown chip 'h999'; `planner catalog list chips`" in stderr(
        "--prices", str(unknown)
    )
    assert f"{table}:2: m.input_cost_per_token: must not be negative" in stderr(
        "--prices", str(table)
    )
