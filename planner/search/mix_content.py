"""An optimum as plain rows: for JSON, CSV and the tables of the report."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

from planner.economics.own_chip import ChipCost, DeviceHour
from planner.results.result import plain
from planner.search.breakeven import OwnChipCase
from planner.search.mix import Optimum
from planner.search.operating import OperatingPoint

Rows = list[dict[str, Any]]


def hour_rows(found: Optimum) -> Rows:
    """Return one row per hour: demand, what each pool serves, nodes by term, power."""
    problem, mix = found.mix.problem, found.mix
    rows: Rows = []
    for hour in range(problem.hours):
        row: dict[str, Any] = {
            "hour": hour,
            "time_of_day": f"{(found.start_hour + hour) % 24:02d}:00",
        }
        row |= {f"demand.{name}_rps": each[hour] for name, each in problem.demand_rps.items()}
        row |= {
            f"load.{pool}.{name}_rps": each[hour] for (pool, name), each in mix.load_rps.items()
        }
        row |= {f"nodes.{pool}.{term}": each[hour] for (pool, term), each in mix.nodes.items()}
        row["power_w"] = mix.power_w[hour]
        rows.append(row)
    return rows


def term_rows(found: Optimum) -> Rows:
    """Return one row per pool and term: price, nodes, cost, and whether it comes too late."""
    rows: Rows = []
    costs = found.mix.term_cost_usd
    for offer in found.offers:
        nodes = found.mix.nodes.get((offer.pool, offer.term), (0,))
        cost_usd = costs.get((offer.pool, offer.term), 0.0)
        rows.append(
            asdict(offer)
            | {
                "fewest_nodes": min(nodes),
                "most_nodes": max(nodes),
                "node_hours": sum(nodes),
                "cost_per_hour_usd": cost_usd / found.mix.problem.hours,
            }
        )
    return rows


def point_rows(points: tuple[OperatingPoint, ...]) -> Rows:
    """Return one row per operating point."""
    return [
        asdict(point) | {"per_node_rps": point.per_node_rps, "fixed_nodes": point.fixed_nodes}
        for point in points
    ]


def alternative_rows(found: Optimum) -> Rows:
    """Return the mix and what else could be bought, with their costs."""
    costs = {"the mix": found.mix.cost_per_hour_usd} | {
        name: None if mix is None else mix.cost_per_hour_usd
        for name, mix in found.alternatives.items()
    }
    mine = costs["the mix"]
    assert mine is not None
    return [
        {
            "what": name,
            "cost_per_hour_usd": cost,
            "more_rate": None if cost is None or not mine else cost / mine - 1.0,
        }
        for name, cost in costs.items()
    ]


def power_rows(found: Optimum) -> Rows:
    """Return the cost of serving the demand under limits of power."""
    return [{"power_w": limit, "cost_per_hour_usd": cost} for limit, cost in found.power_curve]


def optimum_json(found: Optimum) -> str:
    """Return the answer as JSON: sorted keys, the same bytes for the same input."""
    proof, price = found.proof, found.power_price
    content = {
        "name": found.name,
        "seed": found.seed,
        "cost_per_hour_usd": found.cost_per_hour_usd,
        "startup_usd": found.mix.startup_usd,
        "gap_rate": found.mix.gap_rate,
        "terms": term_rows(found),
        "routing": [
            {"pool": pool, "class": name, "share_rate": share}
            for (pool, name), share in found.mix.served_share.items()
        ],
        "alternatives": alternative_rows(found),
        "points": point_rows(found.points),
        "hours": hour_rows(found),
        "power": {
            "limit_w": found.power_limit_w,
            "needed_w": max(found.mix.power_w),
            "price_usd_per_kw_hour": None if price is None else _per_kw(price.saved_usd),
            "price_at_most_usd_per_kw_hour": None if price is None else _per_kw(price.most_usd),
            "curve": power_rows(found),
        },
        "simulation": None
        if proof is None
        else {
            "kept": found.kept,
            "failures": list(proof.failures),
            "interruptions": proof.interruptions,
            "added_nodes": [
                {"pool": pool, "hour": hour, "nodes": nodes}
                for (pool, hour), nodes in sorted(found.added_nodes.items())
            ],
        },
    }
    return json.dumps(plain(content), indent=1, sort_keys=True, ensure_ascii=False)


def _per_kw(usd_per_w: float | None) -> float | None:
    return None if usd_per_w is None else 1e3 * usd_per_w


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
    return json.dumps(plain(content), indent=1, sort_keys=True, ensure_ascii=False)
