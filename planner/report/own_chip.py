"""An own chip's break-even as a self-contained page."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING, Any

from planner.report.figures import Figure, numbers
from planner.report.fragments import Cell, chart, number, panel, section, table, tier_cell
from planner.report.mix import page_tables, points_section
from planner.report.mix_wording import case_answer, tokens
from planner.report.own_chip_steps import SWING_NOTE, steps, swing_rows
from planner.report.page import lead, render_page
from planner.results.formatting import MISSING, count, money, percent
from planner.version import VERSION

if TYPE_CHECKING:
    from planner.search.breakeven import OwnChipCase


def render_own_chip_html(case: OwnChipCase, tables: dict[str, list[dict[str, Any]]]) -> str:
    """Return the report of a break-even.

    Args:
        case: the break-even.
        tables: rows by name: curve, points.
    """
    figure = _figure(case)
    titles = [
        ("curve", "Break-even"),
        ("steps", "Computation"),
        ("assumptions", "Assumptions"),
        ("points", "Points"),
    ]
    body = [
        _lead(case),
        section("curve", "Cost against volume", "Both axes are logarithmic.", chart(figure)),
        _steps(case),
        _assumptions(case),
        points_section((*case.own_points, *case.bought_points)),
    ]
    return render_page(
        f"{case.name}: own chip or bought · planner",
        titles,
        body,
        [figure],
        page_tables(tables),
        f"planner {VERSION} · seed {case.seed}",
    )


def _lead(case: OwnChipCase) -> str:
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
    title = f"{case.name}: own chip or bought"
    return lead(title, case_answer(case), [case.description], items)


def _figure(case: OwnChipCase) -> Figure:
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


def _steps(case: OwnChipCase) -> str:
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


def _assumptions(case: OwnChipCase) -> str:
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
        [Cell(name), number(value), tier_cell(tier),
         Cell(source, small=date)]
        for name, value, tier, source, date in rows
    ]  # fmt: skip
    shown = table("Assumptions", ["what", "#value", "tier", "source"], cells, stacked=True)
    text = "What the break-even stands on. It moves in proportion to engineering."
    return section("assumptions", "Assumptions", text, panel(shown))
