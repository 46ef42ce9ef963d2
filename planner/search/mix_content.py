"""An optimum as plain rows: for JSON, CSV and the tables of the report."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from planner.jsonable import json_text
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
    return json_text(content)


def _per_kw(usd_per_w: float | None) -> float | None:
    return None if usd_per_w is None else 1e3 * usd_per_w
