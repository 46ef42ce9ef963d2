"""What an own device costs per hour, against the lines of the ledger."""

from __future__ import annotations

import pytest

from planner.economics import (
    MachineRate,
    Policy,
    PoolUsage,
    PowerTerms,
    pool_cost_lines,
    pool_energy,
)
from planner.search.breakeven import own_device_hour


def test_an_own_device_costs_what_the_ledger_charges() -> None:
    """Housing is for nameplate power, not for what is drawn; the PUE is in electricity only."""
    policy = Policy(power=PowerTerms(pue=1.5, idle_rate=0.1, loaded_rate=0.8))
    rate = MachineRate("own", "h100", "owned", 1.2, "2026", "example")
    usage = PoolUsage("chat", "hgx", "h100", 8, 10.0, 1, 10.0, 40.0, 10_000.0, rate)
    charged_usd = sum(line.amount_usd for line in pool_cost_lines(usage, policy)) / 80.0
    found_usd = own_device_hour(
        1.2,
        policy,
        overhead=False,
        provisioned_kw=10.0 / 8,
        mean_kw=pool_energy(usage, policy.power).total_kwh / 80.0,
    ).usd
    assert found_usd == pytest.approx(charged_usd, abs=1e-6)


def test_an_own_device_bears_the_overhead_that_the_rented_one_bears() -> None:
    policy = Policy(node_overhead_rate=0.1)
    usd = [
        own_device_hour(2.0, policy, overhead=rented, provisioned_kw=1.0, mean_kw=0.5).usd
        for rented in (True, False)
    ]
    assert usd[0] - usd[1] == pytest.approx(0.2)
