"""The cheapest mix of nodes and terms as a self-contained page."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from planner.report.fragments import (
    Cell,
    chart,
    notes,
    number,
    panel,
    section,
    table,
    tier_cell,
    tools,
)
from planner.report.mix_figures import layers, mix_figures
from planner.report.mix_wording import (
    answer,
    days,
    facts,
    node_hour,
    optimum_notes,
    proof_sentence,
)
from planner.report.page import Data, data_table, lead, render_page
from planner.results.formatting import MISSING, money, percent
from planner.scenario.site_power import megawatts
from planner.version import VERSION

if TYPE_CHECKING:
    from planner.search.mix import Optimum
    from planner.search.operating import OperatingPoint


def render_mix_html(found: Optimum, tables: dict[str, list[dict[str, Any]]]) -> str:
    """Return the report of an optimum.

    Args:
        found: the optimum.
        tables: rows by name: hours, terms, points, alternatives, power.
    """
    figures = {figure.key: figure for figure in mix_figures(found)}
    titles = [("mix", "Mix"), ("power", "Power"), ("offers", "Offers"), ("points", "Points")]
    side = [figures[key] for key in ("mix-alternatives", "mix-power") if key in figures]
    body = [
        _lead(found),
        section(
            "mix",
            "What to hold when",
            "Committed nodes are paid for in every hour, used or not; those on top only while they "
            "are held.",
            chart(figures["mix-hours"]),
            chart(figures["mix-duration"]),
        ),
        section(
            "power",
            "What else it could cost",
            "Fleets of one kind of term, and sites with less power.",
            f'<div class="grid">{"".join(chart(figure) for figure in side)}</div>',
        ),
        _offers(found),
        points_section(found.points),
    ]
    return render_page(
        f"{found.name}: the cheapest mix · planner",
        titles,
        body,
        list(figures.values()),
        page_tables(tables),
        f"planner {VERSION} · seed {found.seed}",
    )


def page_tables(tables: dict[str, list[dict[str, Any]]]) -> dict[str, Data]:
    """Return rows as the tables behind a page; units follow from the names of columns."""
    return {
        name: data_table(
            [(column, _unit(column), "") for column in (rows[0] if rows else ())],
            [row.values() for row in rows],
        )
        for name, rows in tables.items()
    }


def _unit(name: str) -> str:
    units = {"_usd": "USD", "_rps": "1/s", "_w": "W", "_s": "s", "_rate": "1", "_hours": "h"}
    return next((unit for end, unit in units.items() if name.endswith(end)), "")


def _lead(found: Optimum) -> str:
    base = [key for key in layers(found) if len(set(found.mix.nodes[key])) == 1]
    elastic = [key for key in layers(found) if key not in base]
    most = max((sum(hour) for hour in zip(*(found.mix.nodes[k] for k in elastic), strict=True)),
               default=0)  # fmt: skip
    proof = "✓" if found.kept else "not simulated" if found.kept is None else "✗"
    items = [
        ("Cost per hour", money(found.cost_per_hour_usd), "mean, start-up included"),
        (
            "Held throughout",
            f"{sum(found.mix.nodes[key][0] for key in base):,} nodes",
            ", ".join(f"{pool} {term}" for pool, term in base) or "none",
        ),
        (
            "On top, at most",
            f"{most:,} nodes",
            ", ".join(f"{pool} {term}" for pool, term in elastic) or "none",
        ),
        ("Promises", proof, proof_sentence(found)),
    ]
    title = f"{found.name}: the cheapest mix"
    return lead(title, answer(found), [facts(found)], items, notes(optimum_notes(found)))


def _offers(found: Optimum) -> str:
    hours = found.mix.problem.hours
    costs = found.mix.term_cost_usd
    rows = []
    for offer in found.offers:
        nodes = found.mix.nodes.get((offer.pool, offer.term), (0,))
        block = "all hours" if offer.block_hours is None else f"{offer.block_hours} h"
        cost = costs.get((offer.pool, offer.term), 0.0) / hours
        bought = f"{min(nodes):,} to {max(nodes):,}" if any(nodes) else "0"
        rows.append(
            [
                Cell(
                    f"{offer.pool} {offer.term}", small="left out: too late" if offer.late else ""
                ),
                number(f"${offer.per_device_hour_usd:,.2f}"),
                number(node_hour(offer)),
                number(block),
                number(percent(offer.usable_rate)),
                number(days(offer.lead_time_s) if offer.lead_time_s else MISSING),
                number(MISSING if offer.late else bought),
                number(money(cost)),
                tier_cell(offer.tier),
                Cell(offer.price, small=f"{offer.source} · {offer.date}"),
            ]
        )
    head = ["term", "#per device-hour", "#per node-hour", "#paid for", "#usable", "#lead time",
            "#nodes", "#per hour", "tier", "price and source"]  # fmt: skip
    text = (
        "What could be bought. A node-hour of a rented node holds the node overhead, that of an "
        "owned one housing and power: as it waits, and as it serves all that it carries. Each hour "
        "pays for the load that it has."
    )
    shown = table("Offers", head, rows, stacked=True)
    return section("offers", "Offers", text, panel(tools("Terms", "terms"), shown))


def points_section(points: tuple[OperatingPoint, ...]) -> str:
    """Return the section that lists operating points."""
    rows = [
        [
            Cell(point.pool, small=f"{point.request_class} · {point.chip}"),
            number(f"{point.unit_rps:.3g}/s", "loss" if not point.unit_rps else ""),
            number(f"{point.large_rps:.3g}/s"),
            number(f"{point.large_nodes}"),
            number(f"{point.per_node_rps:.3g}/s"),
            number(f"{point.fixed_nodes:.2f}"),
            number(megawatts(point.node_power_w)),
            tier_cell(point.tier),
            Cell(point.binding or MISSING),
        ]
        for point in points
    ]
    head = ["pool", "#smallest pool", "#larger pool", "#of nodes", "#one more node",
            "#fixed nodes", "#power of a node", "tier of step times", "what binds"]  # fmt: skip
    text = (
        "The most load of a class, alone and steady, that keeps its promises; found by simulation, "
        "within 3%. Small pools share load less well: that is what fixed nodes stand for."
    )
    shown = table("Operating points", head, rows, stacked=True)
    return section("points", "Operating points", text, panel(tools("By pool", "points"), shown))
