"""A break-even as plain rows: for JSON, CSV and the tables of the report."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from planner.economics.own_chip import ChipCost, DeviceHour
from planner.jsonable import json_text
from planner.search.breakeven import OwnChipCase
from planner.search.mix_content import Rows, point_rows


def _chip_content(chip: ChipCost, hour: DeviceHour) -> dict[str, Any]:
    """Return what a device costs and carries, so that a reader can multiply it out."""
    return {
        "hour": asdict(hour),
        "usd_per_device_hour": hour.usd,
        "tokens_per_s": chip.tokens_per_s,
        "utilisation_rate": chip.utilisation_rate,
        "mtok_per_year": chip.mtok_per_year,
        "usd_per_mtok": chip.usd_per_mtok,
    }


def case_rows(case: OwnChipCase) -> Rows:
    """Return the cost of a million tokens by volume."""
    return [
        {"mtok_per_year": volume, "own_usd_per_mtok": own, "bought_usd_per_mtok": bought}
        for volume, own, bought in case.curve
    ]


def case_json(case: OwnChipCase) -> str:
    """Return the break-even as JSON: sorted keys, the same bytes for the same input."""
    found = case.found
    content = {
        "name": case.name,
        "seed": case.seed,
        "break_even_mtok_per_year": found.mtok_per_year,
        "own_devices": found.own_devices,
        "bought_devices": found.bought_devices,
        "own_usd_per_mtok_without_engineering": found.own.usd_per_mtok,
        "bought_usd_per_mtok": found.bought.usd_per_mtok,
        "engineering_usd_per_year": found.engineering_usd_per_year,
        "relative_efficiency_rate": case.relative_efficiency_rate,
        "inputs": case.terms.model_dump(mode="json"),
        "life_years": found.life_years,
        "own": _chip_content(found.own, case.own_hour),
        "bought": _chip_content(found.bought, case.bought_hour)
        | {
            "price": case.bought_price.name,
            "source": case.bought_price.source,
            "date": case.bought_price.date,
            "tier": case.bought_price.tier,
        },
        "swings": [asdict(each) for each in case.swings],
        "points": point_rows((*case.own_points, *case.bought_points)),
        "curve": case_rows(case),
    }
    return json_text(content)
