"""The cheapest mix of chips, terms and routing: operating points, the optimum, and its proof.

Each pool's operating points come from the simulator, the mix from a mixed-integer programme; then
the chosen fleet is simulated hour by hour, with its interruptions, and where it breaks a promise a
node is added in the hours that did, and the programme solved again.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

import pandas as pd

from planner.catalog import Catalog
from planner.economics.cost import node_hour_usd
from planner.economics.mix import Mix, MixProblem, PoolOffer, TermOffer, restricted
from planner.economics.rates import ELASTIC_TERMS
from planner.errors import PlannerError
from planner.lowering.workload import class_workloads, start_s_of_week
from planner.pricing import policy_of, rate_of
from planner.results.formatting import MISSING, money
from planner.results.notebook import Shown, Summary
from planner.scenario import LoadedScenario, replicas_of
from planner.scenario.schema import Scenario
from planner.scenario.schema.optimise import Choice, Term
from planner.scenario.schema.pools import Pool
from planner.search.mix_proof import Proof, prove
from planner.search.mix_solver import (
    FEWER_BRANCHES,
    NoMixError,
    PowerPrice,
    price_of_power_usd,
    solve,
)
from planner.search.operating import OperatingPoint, Probe
from planner.simulation import opened
from planner.units import HOUR_S

ROUNDS: Final = 5
"""Times that the mix is mended before it is given up."""
POWER_STEPS: Final = (0.7, 0.75, 0.8, 0.85, 0.9, 0.95, 1.0)
"""Limits of power to solve for, as multiples of what the cheapest mix needs without any."""


class OptimiseError(PlannerError):
    """No mix serves the demand within its limits."""


@dataclass(frozen=True)
class Offer:
    """A term as it was priced."""

    pool: str
    term: str
    price: str
    """Name in the catalogue or the scenario."""
    kind: str
    """on_demand, committed_1y, committed_3y, spot or owned."""
    per_device_hour_usd: float
    usd_per_node_hour: float
    """With overhead (rented), or housing and the power of a node that waits (owned)."""
    load_usd_per_node_hour: float
    """Electricity of an owned node that serves all it carries, beyond that of waiting."""
    block_hours: int | None
    usable_rate: float
    lead_time_s: float
    source: str
    date: str
    tier: str
    late: bool = False
    """It takes longer to get than there is time, so it was left out."""


@dataclass(frozen=True, repr=False)
class Optimum(Shown):
    """The answer of `optimise`."""

    name: str
    start_hour: int
    """Of the day, at which the first hour begins."""
    points: tuple[OperatingPoint, ...]
    offers: tuple[Offer, ...]
    mix: Mix
    alternatives: Mapping[str, Mix | None]
    """What else could be bought; None where that serves not all."""
    power_limit_w: float | None
    power_price: PowerPrice | None
    """What one more watt of the site saves per hour; None without a limit."""
    power_curve: tuple[tuple[float, float | None], ...]
    """Limit of power [W] and the cheapest mix under it [USD/h]; None: none serves the demand."""
    proof: Proof | None
    """None: it was not asked for."""
    added_nodes: Mapping[tuple[str, int], float]
    """By pool and hour: nodes that the simulation has shown to be missing."""
    seed: int

    @property
    def kept(self) -> bool | None:
        """Whether the simulated fleet kept every promise; None: it was not simulated."""
        return None if self.proof is None else not self.proof.failures

    @property
    def cost_per_hour_usd(self) -> float:
        """Mean cost of the mix, start-up included."""
        return self.mix.cost_per_hour_usd

    def to_pandas(self) -> pd.DataFrame:
        """Return one row per hour: demand, what each pool serves, nodes by term, power."""
        from planner.search.mix_content import hour_rows

        return pd.DataFrame(hour_rows(self))

    def summary(self) -> Summary:
        """Return the cost of the mix against its alternatives, and its hours."""
        others = tuple(
            (MISSING if other is None else money(other.cost_per_hour_usd), f"per hour: {name}")
            for name, other in self.alternatives.items()
        )
        cards = ((money(self.cost_per_hour_usd), "per hour: the cheapest mix"), *others)
        broken = ("The simulated fleet breaks promises.",) if self.kept is False else ()
        return Summary(self.name, "by hour", cards, self.to_pandas(), broken)


def optimise(
    scenario: str | os.PathLike[str] | LoadedScenario,
    *,
    sets: Sequence[str] = (),
    overrides: Sequence[str] = (),
    named: str | None = None,
    simulate: bool = True,
    on_trial: Callable[[str], None] | None = None,
    progress: Callable[[float, float], None] | None = None,
    catalog: Catalog | None = None,
) -> Optimum:
    """Find the cheapest mix of nodes, terms and routing that serves the demand of every hour.

    Args:
        scenario: a file, or a scenario already loaded, with a section `optimise`.
        sets: values to change, as for `run`.
        overrides: named overrides, as for `run`.
        named: named scenario, as for `run`.
        simulate: also simulate the chosen fleet, and mend it where it breaks a promise.
        on_trial: called with a sentence after each step.
        progress: called during the simulation of the fleet, as by `run`.
        catalog: by default the shipped one.

    Raises:
        ScenarioError: the scenario has faults.
        OptimiseError: nothing on offer serves the demand within the limits.
    """
    loaded, known = opened(scenario, catalog, sets, overrides, named)
    content = loaded.scenario
    if content.optimise is None:
        raise OptimiseError(
            f"{content.name} has no section `optimise`, which lists the pools and terms to choose "
            "from; see scenarios/economics/capacity_mix.yaml"
        )
    say = on_trial or (lambda _: None)
    demand = hourly_demand(content)
    points = _points(loaded, known, demand, say)
    offers = tuple(_offers(content, known, points))
    try:
        problem = MixProblem(
            tuple(_pool_offers(content, known, points, offers)), demand, content.site.power
        )
        mix, proof, added = mended(loaded, known, problem, simulate, say, progress)
        return Optimum(
            name=content.name,
            start_hour=int(start_s_of_week(content.workload) // HOUR_S) % 24,
            points=points,
            offers=offers,
            mix=mix,
            alternatives={
                "all on demand": _or_none(restricted(mix.problem, elastic=True)),
                "all committed": _or_none(restricted(mix.problem, elastic=False)),
            },
            power_limit_w=content.site.power,
            power_price=price_of_power_usd(mix.problem, mix),
            power_curve=_power_curve(mix),
            proof=proof,
            added_nodes=added,
            seed=content.seed,
        )
    except NoMixError as error:
        raise OptimiseError(f"{content.name}: {error}") from None


def hourly_demand(scenario: Scenario) -> dict[str, tuple[float, ...]]:
    """Return the rate of each class in each hour, requests (sessions) per second.

    Args:
        scenario: all classes are open loops without a trace; it starts on an hour.
    """
    workload = scenario.workload
    hours = round(workload.duration / HOUR_S)
    names = [klass.name for klass in workload.classes]
    found = {}
    for source in class_workloads(workload):
        arrivals = source.arrivals
        assert arrivals is not None
        shape = arrivals.shape or (1.0,)
        mean = sum(shape) / len(shape)
        first = round(arrivals.start_s_of_week / HOUR_S)
        found[names[source.class_index]] = tuple(
            arrivals.rate_rps * shape[(first + hour) % len(shape)] / mean for hour in range(hours)
        )
    return found


# --- what is on offer ----------------------------------------------------------------------------


def _points(
    loaded: LoadedScenario,
    catalog: Catalog,
    demand: Mapping[str, Sequence[float]],
    say: Callable[[str], None],
) -> tuple[OperatingPoint, ...]:
    content = loaded.scenario
    assert content.optimise is not None
    pools = {pool.name: pool for pool in content.pools}
    probe = Probe(loaded, catalog, content.optimise.operating_time, say)
    return tuple(
        probe.point(pools[choice.pool], klass, max(demand[klass.name]))
        for choice in content.optimise.pools
        for klass in content.workload.classes
        if choice.pool in (klass.pool, *klass.overflow)
    )


def _offers(scenario: Scenario, catalog: Catalog, points: Sequence[OperatingPoint]) -> list[Offer]:
    assert scenario.optimise is not None
    pools = {pool.name: pool for pool in scenario.pools}
    power_w = {
        name: max((p.node_power_w for p in points if p.pool == name), default=0.0) for name in pools
    }
    return [
        _offer(scenario, catalog, pools[choice.pool], term, power_w[choice.pool])
        for choice in scenario.optimise.pools
        for term in choice.terms
    ]


def _offer(scenario: Scenario, catalog: Catalog, pool: Pool, term: Term, power_w: float) -> Offer:
    assert scenario.optimise is not None
    node = catalog.node(pool.node)
    rate = rate_of(term.price, node.chip, scenario.prices, catalog)
    policy = policy_of(scenario.prices)
    needed_in_s = scenario.optimise.needed_in
    power = policy.power
    idle_w = float(node.power_w) * power.idle_rate
    load_kwh = max(power_w - idle_w, 0.0) / 1e3 * power.pue
    return Offer(
        pool=pool.name,
        term=term.name,
        price=rate.name,
        kind=rate.terms,
        per_device_hour_usd=rate.per_device_hour_usd,
        usd_per_node_hour=node_hour_usd(
            rate.per_device_hour_usd,
            node.devices,
            policy,
            owned=rate.is_owned,
            provisioned_kw=float(node.power_w) / 1e3,
            mean_kw=idle_w / 1e3 * power.pue,
        ),
        load_usd_per_node_hour=load_kwh * power.electricity_usd_per_kwh if rate.is_owned else 0.0,
        block_hours=_block_hours(term, rate.terms in ELASTIC_TERMS),
        usable_rate=usable_rate(term.interruptions, term.recovery),
        lead_time_s=term.lead_time,
        source=rate.source,
        date=rate.date,
        tier=rate.tier,
        late=needed_in_s is not None and term.lead_time > needed_in_s,
    )


def usable_rate(interruptions_per_s: float | None, recovery_s: float) -> float:
    """Return the share of its time that a node serves which is taken back now and then.

    Up for 1/h in the mean, then away for r: 1 / (1 + h·r), the availability of a repairable unit.

    >>> usable_rate(None, 600.0), round(usable_rate(1 / 5400.0, 600.0), 6)
    (1.0, 0.9)
    """
    return 1.0 / (1.0 + (interruptions_per_s or 0.0) * recovery_s)


def _block_hours(term: Term, elastic: bool) -> int | None:
    if term.block is not None:
        return math.ceil(term.block / HOUR_S)
    return 1 if elastic else None


def _pool_offers(
    scenario: Scenario,
    catalog: Catalog,
    points: Sequence[OperatingPoint],
    offers: Sequence[Offer],
) -> list[PoolOffer]:
    assert scenario.optimise is not None
    pools = {pool.name: pool for pool in scenario.pools}
    pue = scenario.prices.power.pue
    found = []
    for choice in scenario.optimise.pools:
        pool = pools[choice.pool]
        node = catalog.node(pool.node)
        mine = [point for point in points if point.pool == pool.name and point.per_node_rps > 0]
        found.append(
            PoolOffer(
                name=pool.name,
                capacity_rps={point.request_class: point.per_node_rps for point in mine},
                terms=_term_offers(choice, offers),
                fixed_nodes=max((point.fixed_nodes for point in mine), default=0.0),
                node_power_w=float(node.power_w) * pue,
                nodes_per_unit=replicas_of(pool, node.devices).nodes_per_replica,
                maximum_nodes=choice.maximum_nodes,
                startup_hours=pool.cold_start / HOUR_S,
            )
        )
    return found


def _term_offers(choice: Choice, offers: Sequence[Offer]) -> tuple[TermOffer, ...]:
    priced = {offer.term: offer for offer in offers if offer.pool == choice.pool}
    return tuple(
        TermOffer(
            term.name,
            priced[term.name].usd_per_node_hour,
            priced[term.name].block_hours,
            priced[term.name].usable_rate,
            term.maximum_nodes,
            term.maximum_share,
            priced[term.name].load_usd_per_node_hour,
        )
        for term in choice.terms
        if not priced[term.name].late
    )


# --- the optimum and its proof -------------------------------------------------------------------


def mended(
    loaded: LoadedScenario,
    catalog: Catalog,
    problem: MixProblem,
    simulate: bool,
    say: Callable[[str], None],
    progress: Callable[[float, float], None] | None,
) -> tuple[Mix, Proof | None, dict[tuple[str, int], float]]:
    """Return the mix, its proof, and the nodes that had to be added to it."""
    added: dict[tuple[str, int], float] = {}
    mix = solve(problem)
    if not simulate:
        return mix, None, added
    for number in range(ROUNDS):
        proof = prove(loaded, catalog, mix, progress)
        verdict = proof.failures[0] if proof.failures else "keeps every promise"
        say(f"the fleet at {mix.cost_per_hour_usd:,.2f} USD/h, round {number + 1}: {verdict}")
        # Without weak hours nothing is known to be missing, as where a promise has no samples.
        if not proof.weak_hours or number + 1 == ROUNDS:
            break
        for pool, hour in proof.weak_hours:
            units = next(each.nodes_per_unit for each in problem.pools if each.name == pool)
            added[pool, hour] = added.get((pool, hour), 0.0) + units
        mix = solve(replace(problem, reserve_nodes=added))
    return mix, proof, added


def _or_none(problem: MixProblem) -> Mix | None:
    try:
        return solve(problem, FEWER_BRANCHES)
    except NoMixError:
        return None


def _power_curve(mix: Mix) -> tuple[tuple[float, float | None], ...]:
    """Return what serving the demand costs as the power of the site shrinks."""
    free = mix
    if mix.problem.power_w is not None:
        free = _or_none(replace(mix.problem, power_w=None)) or mix
    needed_w, cost_usd = max(free.power_w), free.cost_per_hour_usd
    curve: list[tuple[float, float | None]] = [(needed_w, cost_usd)]
    for step in reversed(POWER_STEPS[:-1]):
        under = _or_none(replace(mix.problem, power_w=needed_w * step))
        curve.append((needed_w * step, None if under is None else under.cost_per_hour_usd))
        if under is None:
            break
    return tuple(reversed(curve))
