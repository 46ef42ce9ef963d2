"""Prices are checked, and which hours are paid."""

from __future__ import annotations

import pytest

from planner.economics import MachineRate, Terms, billed_node_hours


@pytest.mark.parametrize("date", ["1 Nov 2026", "2026-11-01T00:00", "", "26-11-01"])
def test_dates_are_iso(date: str) -> None:
    with pytest.raises(ValueError, match="YYYY-MM-DD"):
        MachineRate("x", "h100", "spot", 1.0, date, "s")


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
