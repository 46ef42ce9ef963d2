"""Energy and carbon of a result: by class and by pool, with the two accounts side by side."""

from __future__ import annotations

from typing import Any

from planner.report.fragments import Cell, number, panel, section, table, tools
from planner.results.formatting import MISSING, count, duration, percent, share
from planner.results.impact import Impact
from planner.results.result import Result


def amount(value: float | None, unit: str) -> str:
    """Return a figure with its unit; a dash where there is none.

    >>> amount(0.3417, "Wh"), amount(None, "g")
    ('0.342 Wh', '–')
    """
    shown = count(value)
    return shown if shown == MISSING else f"{shown} {unit}"


def energy_sentence(impact: Impact) -> str:
    """Return energy and carbon in one sentence, each account by its name."""
    return (
        f"{amount(impact.energy_kwh, 'kWh')} at the meter in {duration(impact.hours * 3600)}: "
        f"{amount(impact.energy_per_request_wh, 'Wh')} per request, "
        f"{amount(impact.energy_per_output_token_j, 'J')} per output token. "
        f"CO2e {amount(impact.location_kg, 'kg')} location-based "
        f"({amount(impact.market_kg, 'kg')} market-based) and "
        f"{amount(impact.embodied_kg, 'kg')} embodied; "
        f"SCI {amount(impact.sci_per_request_g, 'g')} per request."
    )


def energy_section(result: Result) -> str:
    """Return the section of the report; empty for a result without a footprint."""
    impact = result.impact
    if impact is None:
        return ""
    return section(
        "energy",
        "Energy and carbon",
        energy_sentence(impact),
        panel(tools("By class", "class_footprint"), _classes(impact)),
        panel(tools("By pool", "pool_footprint"), _pools(impact)),
    )


def _classes(impact: Impact) -> str:
    head = [
        "class", "#energy", "#per request", "#per output token", "#location-based",
        "#market-based", "#embodied", "#SCI per request",
    ]  # fmt: skip
    rows = [_class_cells(row) for row in impact.class_footprint.to_dict("records")]
    total = {
        "class": "all",
        "energy_kwh": impact.energy_kwh,
        "energy_per_request_wh": impact.energy_per_request_wh,
        "energy_per_output_token_j": impact.energy_per_output_token_j,
        "location_kg": impact.location_kg,
        "market_kg": impact.market_kg,
        "embodied_kg": impact.embodied_kg,
        "sci_per_request_g": impact.sci_per_request_g,
    }
    return table("Energy and carbon by class", head, rows, total=_class_cells(total))


def _class_cells(row: dict[Any, Any]) -> list[Cell]:
    return [
        Cell(row["class"]),
        number(amount(row["energy_kwh"], "kWh")),
        number(amount(row["energy_per_request_wh"], "Wh")),
        number(amount(row["energy_per_output_token_j"], "J")),
        number(amount(row["location_kg"], "kg")),
        number(amount(row["market_kg"], "kg")),
        number(amount(row["embodied_kg"], "kg")),
        number(amount(row["sci_per_request_g"], "g")),
    ]


def _pools(impact: Impact) -> str:
    head = [
        "pool", "#provisioned", "#mean per node", "#busy", "#arithmetic", "#at work", "#idle",
        "#facility (PUE)",
    ]  # fmt: skip
    rows = [
        [
            Cell(row["pool"], small=row["node"]),
            number(amount(row["provisioned_kw"], "kW")),
            number(amount(row["node_power_kw"], "kW")),
            number(share(row["utilisation_rate"])),
            number(percent(row["arithmetic_rate"])),
            number(amount(row["workload_kwh"], "kWh")),
            number(amount(row["idle_kwh"], "kWh")),
            number(amount(row["facility_kwh"], "kWh")),
        ]
        for row in impact.pool_footprint.to_dict("records")
    ]
    return table("Energy by pool", head, rows)
