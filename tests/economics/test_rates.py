"""Which price applies, and which hours are paid."""

from __future__ import annotations

from itertools import permutations

import pytest

from planner.economics import MachineRate, Terms, billed_node_hours, select_rate
from planner.errors import CatalogError

# SemiAnalysis one-year index of the H100: prices rise as well as fall.
RATES = (
    MachineRate("index-2025-10", "h100", "committed_1y", 1.70, "2025-10", "index"),
    MachineRate("index-2026-03", "h100", "committed_1y", 2.35, "2026-03", "index"),
    MachineRate("runpod", "h100", "on_demand", 2.69, "2026-08-15", "price page"),
    MachineRate("nebius", "h100", "on_demand", 3.85, "2026-08-15", "price page"),
    MachineRate("spheron", "h200", "on_demand", 4.54, "2026-08-15", "price page"),
)


@pytest.mark.parametrize(
    ("terms", "date", "name"),
    [
        ("committed_1y", "2025-10-01", "index-2025-10"),
        ("committed_1y", "2026-02-28", "index-2025-10"),
        ("committed_1y", "2026-03-01", "index-2026-03"),
        ("committed_1y", "2026-11-01", "index-2026-03"),
        ("on_demand", "2026-08-15", "runpod"),
    ],
)
def test_latest_not_after_the_date_then_cheapest(terms: Terms, date: str, name: str) -> None:
    for order in permutations(RATES):
        assert select_rate(order, chip="h100", terms=terms, date=date).name == name


def test_a_missing_price_says_what_there_is() -> None:
    with pytest.raises(CatalogError) as error:
        select_rate(RATES, chip="h100", terms="spot", date="2026-11-01")
    message = str(error.value)
    assert "no spot price of h100 on 2026-11-01" in message
    assert "runpod (on_demand, 2026-08-15)" in message
    assert "spheron" not in message
    assert "prices.nodes" in message


def test_a_price_from_the_future_does_not_apply() -> None:
    with pytest.raises(CatalogError, match="no on_demand price of h200 on 2026-08-14"):
        select_rate(RATES, chip="h200", terms="on_demand", date="2026-08-14")


def test_an_unpriced_chip() -> None:
    with pytest.raises(CatalogError, match="prices of this chip: none"):
        select_rate(RATES, chip="wse-3", terms="owned", date="2026-11-01")


@pytest.mark.parametrize("date", ["1 Nov 2026", "2026-11-01T00:00", "", "26-11-01"])
def test_dates_are_iso(date: str) -> None:
    with pytest.raises(ValueError, match="YYYY-MM-DD"):
        MachineRate("x", "h100", "spot", 1.0, date, "s")
    with pytest.raises(ValueError, match="YYYY-MM-DD"):
        select_rate(RATES, chip="h100", terms="spot", date=date)


def test_rates_are_checked() -> None:
    with pytest.raises(
        ValueError, match=r"MachineRate\(x\).per_device_hour_usd must be at least 0"
    ):
        MachineRate("x", "h100", "spot", -1.0, "2026", "s")
    with pytest.raises(ValueError, match="terms must be one of on_demand"):
        MachineRate("x", "h100", "barter", 1.0, "2026", "s")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("terms", "hours"),
    [
        ("on_demand", 60.0),
        ("spot", 60.0),
        ("committed_1y", 96.0),
        ("committed_3y", 96.0),
        ("owned", 96.0),
    ],
)
def test_commitments_are_take_or_pay(terms: Terms, hours: float) -> None:
    # 4 nodes for 12 h, then 1 node for 12 h
    assert billed_node_hours(terms, node_hours=60.0, peak_nodes=4, period_hours=24.0) == hours
