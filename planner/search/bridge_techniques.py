"""The behaviour in a bridge (how requests are served), divided among the serving techniques.

A technique that both sides do not use alike is a player. Its coalition is simulated: the first side
with only those of its techniques that are in the coalition, the second likewise. What each adds to
the behaviour parts of the bridge between the two, averaged over all orders, is its share. Traffic
stays out of it: its parts depend on what a fleet costs, so a technique that had them would be
judged at the second side's traffic alone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

from planner.catalog import Catalog
from planner.economics.bridge import Quantity, attribute
from planner.economics.drivers import BEHAVIOUR, Drivers
from planner.errors import PlannerError
from planner.lowering.pools import basis_of
from planner.scenario import LoadedScenario
from planner.scenario.schema import Scenario
from planner.search.crew import Crew, guess
from planner.search.fleets import SizingError
from planner.search.near import NearSearch
from planner.search.shapley import (
    Coalition,
    Order,
    Share,
    antithetic_orders,
    beginnings,
    coalitions,
    exact_shares,
    indispensable,
    sampled_shares,
)
from planner.search.sides import drivers_of
from planner.search.switches import Switch, switches, with_only
from planner.search.techniques import TECHNIQUES, Technique
from planner.simulation import run

EXACT_AT_MOST: Final = 5
"""Techniques up to which every subset is simulated."""

Cell = tuple[str, Quantity]
"""A factor and a quantity."""


@dataclass(frozen=True)
class Work:
    """A side with some of its techniques, to simulate; plain data for another process."""

    side: int
    """0 or 1."""
    on: Coalition
    loaded: LoadedScenario
    catalog: Catalog
    guess: Mapping[str, int] | None
    """Nodes by pool to start sizing from; None: the scenario's own fleet."""
    maximum_nodes: int


@dataclass(frozen=True)
class Fleet:
    """What a side costs and earns with some of its techniques."""

    side: int
    on: Coalition
    drivers: Drivers | None
    """None where there is no such fleet."""
    nodes: Mapping[str, int] | None = None
    cost_per_hour_usd: float | None = None
    obstacle: str = ""
    simulations: int = 0


def simulate(work: Work) -> Fleet:
    """Return the fleet of a side with some of its techniques: the smallest, or its own."""
    loaded = work.loaded
    try:
        if work.guess is None:
            result, simulations = run(loaded, catalog=work.catalog), 1
            nodes = {pool.name: pool.nodes for pool in loaded.scenario.pools}
        else:
            search = NearSearch(loaded, work.catalog, work.maximum_nodes, None, None)
            fleet = search.smallest(work.guess)
            result, simulations = search.results[fleet], len(search.log)
            nodes = dict(zip(search.names, fleet, strict=True))
    except SizingError as error:
        return Fleet(work.side, work.on, None, obstacle=str(error))
    except PlannerError as error:
        return Fleet(work.side, work.on, None, obstacle=f"it cannot be simulated: {error}")
    drivers = drivers_of(result, loaded.scenario.name)
    cost = None if result.finance is None else result.finance.cost_per_hour_usd
    return Fleet(work.side, work.on, drivers, nodes, cost, "", simulations)


@dataclass(frozen=True)
class Techniques:
    """Which technique did what in a bridge."""

    players: tuple[str, ...]
    """Techniques that the sides do not use alike."""
    shares: Mapping[str, Mapping[Cell, Share]]
    """By technique; none where its share is not known."""
    smallest: Mapping[Cell, float]
    """Behaviour between the smallest fleets with all the techniques: that of the own fleets has
    more or less by what these have beyond them."""
    fleets: tuple[Fleet, ...]
    meanings: Mapping[str, str] = field(default_factory=dict)
    """By technique: one sentence."""
    needed: tuple[str, ...] = ()
    """Techniques without which some fleet cannot be: they are on throughout."""
    held: Mapping[str, str] = field(default_factory=dict)
    """Techniques that differ but cannot be switched off → why."""
    orders: int | None = None
    """Orders that the shares are estimated from; None: all."""
    sized: bool = True


def differing(
    before: Scenario, after: Scenario, registry: Sequence[Technique] = TECHNIQUES
) -> list[Technique]:
    """Return the techniques that two scenarios do not use alike, in the registry's order.

    Alike is: off in both, or on with the same settings in the pools and classes that both have.
    """
    found = []
    for technique in registry:
        first, second = _settings(technique, before), _settings(technique, after)
        common = _places(before) & _places(after)
        known = [{k: v for k, v in each.items() if k[:2] in common} for each in (first, second)]
        if bool(first) != bool(second) or known[0] != known[1]:
            found.append(technique)
    return found


def _settings(technique: Technique, scenario: Scenario) -> dict[tuple[str, str, str], Any]:
    """Return what a technique sets: the fields that would be other values without it."""
    without = technique.without(scenario)
    found = {}
    for kind, own, other in (
        ("pool", scenario.pools, without.pools),
        ("class", scenario.workload.classes, without.workload.classes),
    ):
        bare = {each.name: each for each in other}
        for each in own:
            for name in type(each).model_fields:
                value = getattr(each, name)
                if name not in ("nodes", "schedule") and value != getattr(bare[each.name], name):
                    found[kind, each.name, name] = value
    return found


def _places(scenario: Scenario) -> set[tuple[str, str]]:
    classes = scenario.workload.classes
    return {("pool", pool.name) for pool in scenario.pools} | {("class", c.name) for c in classes}


@dataclass
class Game:
    """The techniques as players, and what is known of their coalitions."""

    loaded: tuple[LoadedScenario, LoadedScenario]
    catalog: Catalog
    sized: bool
    maximum_nodes: int
    pairs: int
    progress: Callable[[float, float], None] | None
    found: dict[tuple[int, Coalition], Fleet] = field(default_factory=dict)
    switches: tuple[tuple[Switch, ...], ...] = ()
    worth: dict[Coalition, Mapping[Cell, float]] = field(default_factory=dict)

    def play(self, techniques: Sequence[Technique], jobs: int) -> Techniques:
        """Return the share of each technique.

        Args:
            techniques: those that the sides do not use alike.
            jobs: processes at most.
        """
        held = self._switch(techniques)
        names = {each.technique.name for side in self.switches for each in side}
        players = [technique.name for technique in techniques if technique.name in names]
        if not players:
            return Techniques((), {}, {}, (), held=held, sized=self.sized)
        orders = None
        if len(players) > EXACT_AT_MOST:
            orders = antithetic_orders(players, self.pairs, self.loaded[1].scenario.seed)
        needed: Coalition | None = frozenset()
        with Crew(jobs, simulate) as crew:
            while True:
                wanted = self._coalitions(players, needed or frozenset(), orders)
                missing = self._missing(wanted)
                if not missing:
                    break
                self._simulate(missing, crew)
                failed = [each for each in self._every(players) if self._fails(each)]
                needed = indispensable(players, failed)
                if needed is None:
                    break
        shares: dict[str, dict[Cell, Share]] = {}
        everyone = frozenset(players)
        if needed is not None:
            free = [player for player in players if player not in needed]
            shares = self._shares(free, needed, orders)
        smallest = {} if needed is None else dict(self._worth(everyone))
        return Techniques(
            players=tuple(players),
            shares=shares,
            smallest=smallest,
            fleets=tuple(self.found.values()),
            meanings={technique.name: technique.meaning for technique in techniques},
            needed=tuple(player for player in players if player in (needed or ())),
            held=held,
            orders=None if orders is None else len(orders),
            sized=self.sized,
        )

    def _switch(self, techniques: Sequence[Technique]) -> dict[str, str]:
        """Find where each can be switched off; return those that cannot be anywhere."""
        kept: list[tuple[Switch, ...]] = []
        held: dict[str, str] = {}
        for loaded in self.loaded:
            own = [each for each in techniques if each.is_on(loaded.scenario)]
            found = switches(loaded.scenario, own, self.catalog, basis_of(loaded))
            free = tuple(each for each in found if each.off(loaded.scenario) != loaded.scenario)
            held |= {s.technique.name: next(iter(s.held.values())) for s in found if s not in free}
            kept.append(free)
        self.switches = tuple(kept)
        free_names = {each.technique.name for side in kept for each in side}
        return {name: why for name, why in held.items() if name not in free_names}

    def _own(self, side: int, on: Coalition) -> Coalition:
        """Return those of a coalition that a side can do with and without."""
        return on & {each.technique.name for each in self.switches[side]}

    @staticmethod
    def _coalitions(
        players: list[str], needed: Coalition, orders: list[Order] | None
    ) -> list[Coalition]:
        if orders is None:
            return [each for each in coalitions(players) if needed <= each]
        return [each | needed for each in beginnings(_without(needed, orders))]

    def _every(self, players: list[str]) -> list[Coalition]:
        """Return the coalitions of which something is known."""
        known = {on for _, on in self.found}
        return [
            each
            for each in coalitions(players)
            if self._own(0, each) in known or self._own(1, each) in known
        ]

    def _fails(self, on: Coalition) -> bool:
        fleets = [self.found.get((side, self._own(side, on))) for side in (0, 1)]
        return any(fleet is not None and fleet.drivers is None for fleet in fleets)

    def _missing(self, wanted: list[Coalition]) -> list[tuple[int, Coalition]]:
        keys = dict.fromkeys((side, self._own(side, each)) for each in wanted for side in (0, 1))
        return [key for key in keys if key not in self.found]

    def _simulate(self, missing: list[tuple[int, Coalition]], crew: Crew[Work, Fleet]) -> None:
        """Simulate subsets, the larger ones first: they tell where to start on the smaller ones."""
        total = len(self.found) + len(missing)
        for size in sorted({len(on) for _, on in missing}, reverse=True):
            level = [key for key in missing if len(key[1]) == size]
            done: dict[tuple[int, Coalition], Fleet] = {}
            work = [self._work(side, on) for side, on in level]
            for fleet in crew.measure(work, total - len(self.found)):
                done[fleet.side, fleet.on] = fleet
                if self.progress is not None:
                    self.progress(len(self.found) + len(done), total)
            # In the order of the question: processes answer in any.
            self.found |= {key: done[key] for key in level}

    def _work(self, side: int, on: Coalition) -> Work:
        loaded, own = self.loaded[side], self.switches[side]
        scenario = with_only(loaded.scenario, own, on)
        off = [each.technique.name for each in own if each.technique.name not in on]
        known = {found: fleet for (at, found), fleet in self.found.items() if at == side}
        start = guess(on, off, known) if self.sized else None
        changed = replace(loaded, scenario=scenario)
        return Work(side, on, changed, self.catalog, start, self.maximum_nodes)

    def _worth(self, on: Coalition) -> Mapping[Cell, float]:
        """Return the behaviour in the bridge between the sides with these techniques."""
        if on not in self.worth:
            before, after = (self.found[side, self._own(side, on)].drivers for side in (0, 1))
            assert before is not None
            assert after is not None
            self.worth[on] = {
                (factor, quantity): change.shares[factor]
                for quantity, change in attribute(before, after).items()
                for factor in BEHAVIOUR
            }
        return self.worth[on]

    def _shares(
        self, free: list[str], needed: Coalition, orders: list[Order] | None
    ) -> dict[str, dict[Cell, Share]]:
        wanted = self._coalitions([*free, *needed], needed, orders)
        cells = set.intersection(*(set(self._worth(each)) for each in wanted))
        found: dict[str, dict[Cell, Share]] = {player: {} for player in free}
        for cell in sorted(cells):

            def value(on: Coalition, cell: Cell = cell) -> float:
                return self._worth(on | needed)[cell]

            own = (
                exact_shares(free, value)
                if orders is None or not free
                else sampled_shares(_without(needed, orders), value)
            )
            for player, share in own.items():
                found[player][cell] = share
        return found


def _without(needed: Coalition, orders: list[Order]) -> list[Order]:
    return [tuple(player for player in order if player not in needed) for order in orders]
