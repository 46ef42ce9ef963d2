"""Builders of usage with values that a reader can compute with by hand."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from planner.economics import MachineRate, PoolUsage


def pool_of(*, terms: str = "on_demand", price_usd: float = 2.0, **changes: Any) -> PoolUsage:
    """One 8-device node, 10 kW, held for the whole of 10 hours, half of the time busy, 2 USD/h."""
    rate = MachineRate("list", "h100", terms, price_usd, "2026-11-01", "price list")  # type: ignore[arg-type]
    values: dict[str, Any] = {
        "pool": "chat",
        "node": "hgx-h100",
        "chip": "h100",
        "devices_per_node": 8,
        "period_hours": 10.0,
        "peak_nodes": 1,
        "node_hours": 10.0,
        "busy_device_hours": 40.0,
        "node_power_w": 10_000.0,
        "rate": rate,
    }
    return PoolUsage(**(values | changes))


@pytest.fixture
def make_pool() -> Callable[..., PoolUsage]:
    """The builder `pool_of`."""
    return pool_of
