"""Serving oneself against an API: by hand, from which load on, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

import planner
from planner.cli import app
from planner.errors import ScenarioError
from planner.report.self_host_wording import answer
from planner.search.self_host import SAME_LOAD, SelfHostCase, SelfHostError
from tests.small import load

pytestmark = pytest.mark.compiled  # whole runs, far too long in pure Python

FILE = Path("scenarios/economics/self_host_or_api.yaml")
SHORT = ("workload.duration=2 min", "workload.warmup=20 s")


def compared(*sets: str, **options: str) -> SelfHostCase:
    return planner.self_host(FILE, sets=[*SHORT, *sets], **options)


@pytest.fixture(scope="module")
def case() -> SelfHostCase:
    return compared("self_host.loads=[0.5, 16]")


def test_both_bills_at_the_own_load(case: SelfHostCase) -> None:
    """16 devices at 2.35 USD and 20% on top; tokens at 0.15 and 0.60 USD a million."""
    own = case.own
    assert (own.nodes, own.accelerators) == (2, 16)  # one is enough, and one to spare
    assert own.own_usd_per_hour == pytest.approx(16 * 2.35 * 1.2)
    # prompts of 2,500 to 3,500 tokens, answers of 200 to 400
    request_usd = (3000 * 0.15 + 300 * 0.60) / 1e6
    assert own.api_usd_per_hour == pytest.approx(3600 * own.requests_per_s * request_usd, rel=0.02)
    assert own.own_usd_per_mtok == pytest.approx(own.own_usd_per_hour / own.mtok_per_hour)
    assert not own.pays


def test_it_pays_where_the_bills_cross(case: SelfHostCase) -> None:
    """As the fleet of two nodes has it by hand: 45.12 USD an hour at 0.00063 USD a request."""
    assert case.crossing is not None
    below, above = case.crossing
    assert above.load <= below.load * (1 + SAME_LOAD)
    by_hand = 45.12 / 3600 / ((3000 * 0.15 + 300 * 0.60) / 1e6)
    assert below.requests_per_s == pytest.approx(by_hand, rel=0.05)
    assert above.requests_per_s == pytest.approx(by_hand, rel=0.05)
    assert "Self-hosting pays from" in answer(case)


def test_it_pays_at_every_load_or_at_none() -> None:
    dear = compared("self_host.loads=[1, 2]", named="closed")
    assert dear.crossing is None
    assert not dear.is_never
    assert "on, the smallest load simulated" in answer(dear)
    cheap = compared("self_host.loads=[1, 2]")
    assert cheap.crossing is None
    assert cheap.is_never
    assert "does not pay up to" in answer(cheap)


def test_the_command_writes_what_is_asked_for(tmp_path: Path) -> None:
    page, table = tmp_path / "self.html", tmp_path / "self.csv"
    sets = [word for text in (*SHORT, "self_host.loads=[1, 2]") for word in ("--set", text)]
    arguments = ["breakeven", str(FILE), *sets, "--html", str(page), "--csv", str(table)]
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 0, done.output
    assert max(map(len, done.stdout.splitlines())) <= 100
    assert "self-hosting or API" in page.read_text("utf-8")
    assert len(table.read_text("utf-8").splitlines()) == 3
    again = CliRunner().invoke(app, ["breakeven", str(FILE), *sets, "--json"])
    assert [row["load"] for row in json.loads(again.stdout)["loads"]] == [1.0, 2.0]


def test_what_cannot_be_compared_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SelfHostError, match="small has no section `self_host`"):
        planner.self_host(load(tmp_path))
    message = r"classes\[0\]: self_host compares with the price of an API, and chat pays none"
    with pytest.raises(ScenarioError, match=message):
        load(tmp_path, "self_host={spare_nodes: 0}")
