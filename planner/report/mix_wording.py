"""What an optimum and a break-even say, whatever they are shown on."""

from __future__ import annotations

from typing import TYPE_CHECKING

from planner.results.formatting import count, money, percent, span
from planner.scenario.site_power import megawatts
from planner.version import VERSION

if TYPE_CHECKING:
    from planner.search.breakeven import OwnChipCase
    from planner.search.mix import Offer, Optimum
    from planner.search.mix_solver import PowerPrice

PROVEN_GAP = 2e-4
"""A gap up to this is that of the solver's tolerance."""


def answer(found: Optimum) -> str:
    """Return the answer in one sentence."""
    parts = []
    for (pool, term), nodes in found.mix.nodes.items():
        if any(nodes):
            low, high = min(nodes), max(nodes)
            number = f"{high:,}" if low == high else f"{low:,} to {high:,}"
            parts.append(f"{number} nodes of {pool} {term}")
    return (
        f"The demand is served cheapest by {_listed(parts)}, for "
        f"{money(found.cost_per_hour_usd)} per hour{_against(found)}."
    )


def _listed(parts: list[str]) -> str:
    return " and ".join([", ".join(parts[:-1]), parts[-1]]) if len(parts) > 1 else "".join(parts)


def _against(found: Optimum) -> str:
    cheaper = [
        f"{percent(1.0 - found.mix.cost_usd / mix.cost_usd)} less than {name}"
        for name, mix in found.alternatives.items()
        if mix is not None and mix.cost_usd > found.mix.cost_usd
    ]
    return f": {_listed(cheaper)}" if cheaper else ""


def proof_sentence(found: Optimum) -> str:
    """Return what the simulation of the fleet has shown."""
    proof = found.proof
    if proof is None:
        return "The fleet was not simulated as a whole: its nodes follow from operating points."
    lost = f", {proof.interruptions} nodes taken back on the way" if proof.interruptions else ""
    if proof.failures:
        return (
            f"Simulated hour by hour{lost}, the fleet does not keep every promise: "
            f"{'; '.join(proof.failures)}."
        )
    added = sum(found.added_nodes.values())
    mended = f", after {added:g} node-hours were added where it had not" if added else ""
    return f"Simulated hour by hour{lost}, the fleet keeps every promise{mended}."


def optimum_notes(found: Optimum) -> list[str]:
    """Return what a reader has to know to read the numbers right."""
    notes = []
    if found.mix.gap_rate > PROVEN_GAP:
        notes.append(
            f"The search ended before optimality was proven: a mix that is up to "
            f"{percent(found.mix.gap_rate)} cheaper may exist."
        )
    notes += [
        f"{offer.pool} {offer.term} is left out: it takes {days(offer.lead_time_s)} to get."
        for offer in found.offers
        if offer.late
    ]
    notes += [
        f"{point.pool} cannot serve {point.request_class}: {point.binding}."
        for point in found.points
        if not point.per_node_rps
    ]
    if found.mix.startup_usd:
        notes.append(
            f"The cost holds {money(found.mix.startup_usd)} for nodes that are ordered before "
            "their hour, while they start."
        )
    peak = megawatts(max(found.mix.power_w))
    limit = f" of the site's {megawatts(found.power_limit_w)}" if found.power_limit_w else ""
    notes.append(f"The fleet needs up to {peak} at the meter{limit} (nameplate times PUE).")
    if found.power_price is not None:
        notes.append(_power_sentence(found.power_price))
    if found.proof is not None and found.proof.interruptions:
        notes.append(
            "A node that is taken back finishes what it has (its notice is taken to be long "
            "enough), and another comes after the recovery time."
        )
    return notes


def _power_sentence(price: PowerPrice) -> str:
    if price.saved_usd is None:
        return (
            f"One more kW would save less than {money(1e3 * price.most_usd)} per hour: "
            "how much, if anything, is within the solver's gap."
        )
    if not price.saved_usd:
        return "More power would save nothing."
    return f"One more kW would save {money(1e3 * price.saved_usd)} per hour."


def node_hour(offer: Offer) -> str:
    """Return what a node-hour costs: of an owned one, waiting and at work."""
    waiting = f"${offer.usd_per_node_hour:,.2f}"
    if not offer.load_usd_per_node_hour:
        return waiting
    return f"{waiting} to ${offer.usd_per_node_hour + offer.load_usd_per_node_hour:,.2f}"


def facts(found: Optimum) -> str:
    """Return one line: what was simulated, with which seed."""
    runs = sum(point.simulations for point in found.points)
    return (
        f"{found.mix.problem.hours} hours · {len(found.points)} operating points from {runs} "
        f"simulations · seed {found.seed} · planner {VERSION}"
    )


def case_answer(case: OwnChipCase) -> str:
    """Return the break-even in one sentence."""
    found, terms = case.found, case.terms
    if found.mtok_per_year is None:
        return (
            f"{terms.pool} never pays: without engineering a million tokens cost "
            f"{money(found.own.usd_per_mtok)} on it and {money(found.bought.usd_per_mtok)} on "
            f"{terms.against}."
        )
    return (
        f"{terms.pool} pays from {tokens(found.mtok_per_year)} tokens a year on: the work of "
        f"{count(round(found.own_devices or 0))} own devices or "
        f"{count(round(found.bought_devices or 0))} of {terms.against}, at "
        f"{money(found.bought.usd_per_mtok)} per million tokens."
    )


def days(seconds: float) -> str:
    """Return a lead time as people write it.

    >>> days(60 * 86400.0), days(3600.0)
    ('60 days', '1 h')
    """
    return f"{seconds / 86400:.3g} days" if seconds >= 86400 else span(seconds)


def tokens(mtok: float) -> str:
    """Return a number of tokens.

    >>> tokens(2.5e6)
    '2.50T'
    """
    return count(mtok * 1e6)
