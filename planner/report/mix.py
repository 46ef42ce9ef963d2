"""The cheapest mix of nodes and terms, and an own chip's break-even, as self-contained pages."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING, Any

from planner.report.figures import Figure, numbers
from planner.report.fragments import Cell, chart, number, panel, section, table, tools
from planner.report.mix_figures import layers, mix_figures
from planner.report.mix_wording import (
    answer,
    case_answer,
    days,
    facts,
    node_hour,
    optimum_notes,
    proof_sentence,
    tokens,
)
from planner.report.own_chip_steps import SWING_NOTE, steps, swing_rows
from planner.report.page import Columns, cards, render_page
from planner.results.formatting import MISSING, count, money, percent
from planner.scenario.site_power import megawatts
from planner.version import VERSION

if TYPE_CHECKING:
    from planner.search.breakeven import OwnChipCase
    from planner.search.mix import Optimum
    from planner.search.operating import OperatingPoint

_TIERS = {"official": "good", "measured": "good", "fitted": "good", "analyst": "plain",
          "scenario": "plain", "estimated": "warn", "claimed": "bad"}  # fmt: skip


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
        _points(found.points),
    ]
    return render_page(
        f"{found.name}: the cheapest mix · planner",
        titles,
        body,
        list(figures.values()),
        {name: (_columns(rows), rows) for name, rows in tables.items()},
        f"planner {VERSION} · seed {found.seed}",
    )


def _columns(rows: list[dict[str, Any]]) -> Columns:
    names = list(rows[0]) if rows else []
    return [(name, _unit(name), "") for name in names]


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
    notes = "".join(f"<li>{escape(note)}</li>" for note in optimum_notes(found))
    return (
        f'<div class="lead"><h1>{escape(found.name)}: the cheapest mix</h1>'
        f"<p>{escape(answer(found))}</p>"
        f'<p class="facts">{escape(facts(found))}</p>{cards(items)}'
        f'<ul class="notes">{notes}</ul></div>'
    )


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
                Cell(offer.tier, tag=_TIERS.get(offer.tier, "plain")),
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


def _points(points: tuple[OperatingPoint, ...]) -> str:
    rows = [
        [
            Cell(point.pool, small=f"{point.request_class} · {point.chip}"),
            number(f"{point.unit_rps:.3g}/s", "loss" if not point.unit_rps else ""),
            number(f"{point.large_rps:.3g}/s"),
            number(f"{point.large_nodes}"),
            number(f"{point.per_node_rps:.3g}/s"),
            number(f"{point.fixed_nodes:.2f}"),
            number(megawatts(point.node_power_w)),
            Cell(point.tier, tag=_TIERS.get(point.tier, "plain")),
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


# --- an own chip ---------------------------------------------------------------------------------


def render_own_chip_html(case: OwnChipCase, tables: dict[str, list[dict[str, Any]]]) -> str:
    """Return the report of a break-even.

    Args:
        case: the break-even.
        tables: rows by name: curve, points.
    """
    figure = _case_figure(case)
    titles = [
        ("curve", "Break-even"),
        ("steps", "Computation"),
        ("assumptions", "Assumptions"),
        ("points", "Points"),
    ]
    body = [
        _case_lead(case),
        section("curve", "Cost against volume", "Both axes are logarithmic.", chart(figure)),
        _case_steps(case),
        _case_assumptions(case),
        _points((*case.own_points, *case.bought_points)),
    ]
    return render_page(
        f"{case.name}: own chip or bought · planner",
        titles,
        body,
        [figure],
        {name: (_columns(rows), rows) for name, rows in tables.items()},
        f"planner {VERSION} · seed {case.seed}",
    )


def _case_lead(case: OwnChipCase) -> str:
    found, terms = case.found, case.terms
    volume = found.mtok_per_year
    items = [
        (
            "Break-even",
            "never" if volume is None else tokens(volume),
            "tokens a year, input and output",
        ),
        (
            "Own devices there",
            MISSING if found.own_devices is None else count(round(found.own_devices)),
            f"of {terms.pool}, {percent(terms.utilisation)} used in the mean",
        ),
        (
            "Per million tokens",
            money(found.own.usd_per_mtok),
            f"without engineering; {money(found.bought.usd_per_mtok)} bought",
        ),
        (
            "Tokens per device",
            percent(case.relative_efficiency_rate),
            f"of those of {terms.against}, under the same promises",
        ),
    ]
    return (
        f'<div class="lead"><h1>{escape(case.name)}: own chip or bought</h1>'
        f"<p>{escape(case_answer(case))}</p>"
        f'<p class="facts">{escape(case.description)}</p>{cards(items)}</div>'
    )


def _case_figure(case: OwnChipCase) -> Figure:
    found, terms = case.found, case.terms
    volumes = numbers(volume * 1e6 for volume, _, _ in case.curve)
    lines = (
        (terms.pool, "var:series-1", [own for _, own, _ in case.curve], "solid"),
        (terms.against, "var:series-3", [bought for _, _, bought in case.curve], "solid"),
        (
            f"{terms.pool} without engineering",
            "var:series-1",
            [found.own.usd_per_mtok] * len(case.curve),
            "dot",
        ),
    )
    traces: list[dict[str, Any]] = [
        {
            "type": "scatter",
            "mode": "lines",
            "name": name,
            "x": volumes,
            "y": numbers(values),
            "hovertemplate": f"%{{x:.3s}} tokens: $%{{y:.3g}} per million<extra>{name}</extra>",
            "line": {"color": colour, "width": 2, "dash": dash},
        }
        for name, colour, values, dash in lines
    ]
    if found.mtok_per_year is not None:
        traces.append(
            {
                "type": "scatter",
                "mode": "markers",
                "x": numbers([found.mtok_per_year * 1e6]),
                "y": numbers([found.bought.usd_per_mtok]),
                "hovertemplate": "break-even: %{x:.3s} tokens a year<extra></extra>",
                "marker": {"symbol": "diamond", "size": 11, "color": "var:ink"},
            }
        )
    layout = {
        "xaxis": {
            "type": "log",
            "title": {"text": "tokens per year", "standoff": 18},
            "automargin": True,
            "tickformat": "~s",
            "dtick": "D2",
        },
        "yaxis": {
            "type": "log",
            "title": {"text": "per million tokens"},
            "tickformat": "$~g",
            "dtick": "D2",
        },
        "hovermode": "closest",
    }
    marks = {"solid": "line", "dot": "dot"}
    note = "US dollars per million tokens, input and output, at the volume of a year."
    return Figure(
        key="own-chip",
        title="What a million tokens cost",
        caption=note,
        note=note,
        spec={"data": traces, "layout": layout},
        table="curve",
        height=380,
        legend=tuple((colour, marks[dash], name) for name, colour, _, dash in lines),
    )


def _case_steps(case: OwnChipCase) -> str:
    rows = [
        [Cell(each.what), Cell(each.formula), number(each.own), number(each.bought)]
        for each in steps(case)
    ]
    head = ["what", "formula", f"#{case.terms.pool}", f"#{case.terms.against}"]
    shown = table("Computation", head, rows, stacked=True)
    moved = [[Cell(name), number(by), number(part)] for name, by, part in swing_rows(case)]
    swung = table("Swings", ["figure", "#break-even", "#part of the uncertainty"], moved)
    return section(
        "steps",
        "How it is computed",
        "Every amount in between, to three digits; the file of `--json` has all of them.",
        panel(shown),
        panel(f"<h3>What it hangs on</h3><p>{escape(SWING_NOTE)}</p>", swung),
    )


def _case_assumptions(case: OwnChipCase) -> str:
    terms, price, found = case.terms, case.bought_price, case.found
    own = (terms.tier, terms.source, "")
    said = ("scenario", "this scenario", "")
    policy, power = case.policy, case.policy.power
    powered = ("scenario", power.source, power.date)
    overhead = percent(0.0 if price.is_owned else policy.node_overhead_rate)
    rows = [
        ("engineering, once", money(terms.engineering), *own),
        ("making one device, all in", money(terms.unit_cost), *own),
        ("operations of one, per hour", money(terms.operations), *said),
        ("life of a generation", f"{found.life_years:.3g} years", *said),
        ("cost of capital", percent(terms.cost_of_capital), *said),
        ("mean over peak load, of both", percent(terms.utilisation), *said),
        ("hence engineering per year", money(found.engineering_usd_per_year), *said),
        ("hence an own device", f"{money(found.own.usd_per_device_hour)} per hour", *said),
        ("electricity", f"{money(power.electricity_usd_per_kwh)} per kWh", *powered),
        ("PUE", f"{power.pue:.3g}", *powered),
        (
            "housing, of nameplate IT power",
            f"{money(power.colocation_usd_per_kw_month)} per kW-month",
            *powered,
        ),
        ("overhead of nodes, of both", overhead, "scenario", policy.source, policy.date),
        (
            f"price {price.name}",
            f"{money(price.per_device_hour_usd)} per device-hour",
            price.tier,
            price.source,
            price.date,
        ),
    ]
    cells = [
        [Cell(name), number(value), Cell(tier, tag=_TIERS.get(tier, "plain")),
         Cell(source, small=date)]
        for name, value, tier, source, date in rows
    ]  # fmt: skip
    shown = table("Assumptions", ["what", "#value", "tier", "source"], cells, stacked=True)
    text = "What the break-even stands on. It moves in proportion to engineering."
    return section("assumptions", "Assumptions", text, panel(shown))
