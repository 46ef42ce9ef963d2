"""An optimum and a break-even on a terminal, and the same in a pipe."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from planner.report.console import heading, print_parts
from planner.report.mix_wording import (
    answer,
    case_answer,
    facts,
    node_hour,
    optimum_notes,
    proof_sentence,
    tokens,
)
from planner.report.own_chip_steps import SWING_NOTE, steps, swing_rows
from planner.results.formatting import MISSING, money, percent
from planner.scenario.site_power import megawatts

if TYPE_CHECKING:
    from planner.search.breakeven import OwnChipCase
    from planner.search.mix import Optimum
    from planner.search.operating import OperatingPoint


def print_optimum(found: Optimum, console: Console | None = None) -> None:
    """Print an optimum as tables that fit 100 columns; plain text where the output is piped.

    Args:
        found: what to print.
        console: where to; standard output if None.
    """
    print_parts(_optimum(found), console)


def print_own_chip(case: OwnChipCase, console: Console | None = None) -> None:
    """Print a break-even the same way.

    Args:
        case: what to print.
        console: where to; standard output if None.
    """
    print_parts(_own_chip(case), console)


def _optimum(found: Optimum) -> Iterator[RenderableType]:
    yield heading(found.name, "the cheapest mix of nodes and terms", facts(found))
    style = "" if found.kept is not False else "bold red"
    yield Padding(Group(Text(answer(found)), Text(proof_sentence(found), style)), (0, 0, 1, 0))
    yield _terms(found)
    yield _alternatives(found)
    yield _points(found.points)
    yield Text("\n".join(optimum_notes(found)), style="dim")


def _terms(found: Optimum) -> RenderableType:
    table = _table("What to buy", ("pool", "term"), ("node-hour", "paid for", "nodes", "per hour"))
    costs = found.mix.term_cost_usd
    for offer in found.offers:
        nodes = found.mix.nodes.get((offer.pool, offer.term), (0,))
        block = "all hours" if offer.block_hours is None else f"{offer.block_hours} h"
        span = f"{nodes[0]:,}" if len(set(nodes)) == 1 else f"{min(nodes):,} to {max(nodes):,}"
        cost = costs.get((offer.pool, offer.term), 0.0) / found.mix.problem.hours
        row = (offer.pool, offer.term, node_hour(offer), block)
        if offer.late:
            table.add_row(*row, "too late", MISSING, style="dim")
        else:
            table.add_row(*row, span, money(cost), style="" if any(nodes) else "dim")
    return Padding(table, (0, 0, 1, 0))


def _alternatives(found: Optimum) -> RenderableType:
    table = _table("Against one kind of term", ("",), ("per hour", "more"))
    table.add_row("the mix", money(found.mix.cost_per_hour_usd), "")
    for name, mix in found.alternatives.items():
        if mix is None:
            table.add_row(name, "serves not all", "")
        else:
            more = percent(mix.cost_usd / found.mix.cost_usd - 1.0)
            table.add_row(name, money(mix.cost_per_hour_usd), more)
    return Padding(table, (0, 0, 1, 0))


def _points(points: tuple[OperatingPoint, ...]) -> RenderableType:
    numbers = ("one node", "pool", "of nodes", "one more", "power")
    table = _table("Operating points", ("pool", "class", "tier"), numbers)
    for point in points:
        table.add_row(
            point.pool,
            point.request_class,
            point.tier,
            f"{point.unit_rps:.3g}/s",
            f"{point.large_rps:.3g}/s",
            str(point.large_nodes),
            f"{point.per_node_rps:.3g}/s",
            megawatts(point.node_power_w),
        )
    return Padding(table, (0, 0, 1, 0))


def _own_chip(case: OwnChipCase) -> Iterator[RenderableType]:
    found, terms = case.found, case.terms
    yield heading(case.name, "own chip or bought", case.description)
    yield Padding(Text(case_answer(case)), (0, 0, 1, 0))
    table = _table("Per million tokens", ("volume of a year",), (terms.pool, terms.against))
    for factor in (0.1, 0.3, 1.0, 3.0, 10.0):
        volume = factor * (found.mtok_per_year or 1e5 * found.own.mtok_per_year)
        own, bought = found.own_usd_per_mtok(volume), found.bought.usd_per_mtok
        table.add_row(tokens(volume), money(own), money(bought))
    table.add_row("without engineering", money(found.own.usd_per_mtok), money(bought))
    yield Padding(table, (0, 0, 1, 0))
    yield _steps(case)
    yield _swings(case)
    yield _points((*case.own_points, *case.bought_points))
    yield Text(
        f"Engineering {money(terms.engineering)} over {found.life_years:.3g} years at "
        f"{percent(terms.cost_of_capital)}; {money(terms.unit_cost)} a device ({terms.tier}: "
        f"{terms.source}). Bought: {case.bought_price.name}, {case.bought_price.source}.",
        style="dim",
    )


def _steps(case: OwnChipCase) -> RenderableType:
    table = _table("Computation", ("what", "formula"), (case.terms.pool, case.terms.against))
    for each in steps(case):
        table.add_row(*each)
    return Padding(table, (0, 0, 1, 0))


def _swings(case: OwnChipCase) -> RenderableType:
    table = _table("What it hangs on", ("figure",), ("break-even", "part of the uncertainty"))
    for row in swing_rows(case):
        table.add_row(*row)
    return Padding(Group(table, Text(SWING_NOTE, style="dim")), (0, 0, 1, 0))


def _table(title: str, labels: tuple[str, ...], numbers: tuple[str, ...]) -> Table:
    table = Table(
        title=Text(title, style="bold"),
        title_justify="left",
        box=None,
        pad_edge=False,
        padding=(0, 3, 0, 0),
        header_style="dim",
    )
    for name in labels:
        table.add_column(name, overflow="fold")
    for name in numbers:
        table.add_column(name, justify="right", no_wrap=True)
    return table
