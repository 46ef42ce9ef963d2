"""A break-even as plain rows: for JSON, CSV and the tables of the report."""

from __future__ import annotations

from planner.jsonable import json_text
from planner.search.breakeven import OwnChipCase
from planner.search.mix_content import Rows, point_rows


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
        "points": point_rows((*case.own_points, *case.bought_points)),
        "curve": case_rows(case),
    }
    return json_text(content)
