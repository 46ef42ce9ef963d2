"""What a comparison of serving oneself with an API says, whatever it is shown on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from planner.economics.energy import HOURS_PER_MONTH
from planner.results.formatting import count, money, percent
from planner.version import VERSION

if TYPE_CHECKING:
    from planner.search.self_host import SelfHostCase, Side

NOTES: Final = (
    "Quality is not compared: what the API sells may be another model, and its latency is not "
    "promised here.",
    "The API is paid for the tokens that the fleet served, cached ones at its own price for them "
    "where it has one.",
    "Nodes are whole, so the own bill rises in steps; the load stated is that from which on it is "
    "lower at every load simulated.",
)


def answer(case: SelfHostCase) -> str:
    """Return the comparison in a sentence or two."""
    own = case.own
    here = (
        f"At {rate(own)} a million tokens cost {money(own.own_usd_per_mtok)} on "
        f"{_nodes(own.nodes)} of one's own and {money(own.api_usd_per_mtok)} from the API."
    )
    return f"{here} {from_where(case)}"


def from_where(case: SelfHostCase) -> str:
    """Return from which load serving oneself pays."""
    first, last = case.sides[0], case.sides[-1]
    if case.is_never:
        return f"Self-hosting does not pay up to {rate(last)}, the largest load simulated."
    if case.crossing is None:
        return f"Self-hosting pays from {rate(first)} on, the smallest load simulated."
    pays = case.crossing[1]
    return (
        f"Self-hosting pays from {rate(pays)} on, {count(monthly_tokens(pays))} tokens a month, "
        f"{times(pays.load)} this load."
    )


def rate(side: Side) -> str:
    """Return a load.

    >>> from types import SimpleNamespace
    >>> rate(SimpleNamespace(requests_per_s=20.32))
    '20.3 requests/s'
    """
    return f"{float(f'{side.requests_per_s:.3g}'):,g} requests/s"


def times(load: float) -> str:
    """Return a multiple of the scenario's load."""
    return f"{load:.3g} times"


def monthly_tokens(side: Side) -> float:
    """Return input and output tokens of a month."""
    return side.mtok_per_hour * 1e6 * HOURS_PER_MONTH


def cheaper(side: Side) -> str:
    """Return who is cheaper, and by how much of the other's bill."""
    own_usd, api_usd = side.own_usd_per_hour, side.api_usd_per_hour
    name, less, more = ("own", own_usd, api_usd) if side.pays else ("API", api_usd, own_usd)
    return f"{name}, by {percent(1.0 - less / more if more else 0.0)}"


def facts(case: SelfHostCase) -> str:
    """Return one line: what was simulated."""
    spare = _nodes(case.spare_nodes)
    return (
        f"{len(case.sides)} loads, {case.simulations} simulated fleets; the smallest that keeps "
        f"the promises and {spare} to spare · prices of {case.date} · seed {case.seed} · planner "
        f"{VERSION}"
    )


def _nodes(number: int) -> str:
    return f"{number:,} node{'' if number == 1 else 's'}"
