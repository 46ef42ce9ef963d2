"""Which serving technique is worth what: every subset of them measured, and the credit shared."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from planner.catalog import Catalog, load_catalog
from planner.errors import SimulationError
from planner.lowering.pools import basis_of
from planner.scenario import LoadedScenario
from planner.search.ablation import Ablation, Decomposition, Effect
from planner.search.ablation_notes import notes
from planner.search.crew import Crew, guess
from planner.search.peak import busiest_part
from planner.search.quantities import Quantity, quantities
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
from planner.search.subsets import Measured, Task, measure
from planner.search.switches import Switch, switches, with_only
from planner.search.techniques import TECHNIQUES, Technique, used_by
from planner.simulation import resolve

EXACT_AT_MOST: Final = 5
"""Techniques up to which every subset is measured: 32."""
USUAL_PAIRS: Final = 5
"""Pairs of orders that shares are estimated from beyond that."""


def ablate(
    scenario: str | os.PathLike[str] | LoadedScenario,
    *,
    sets: Sequence[str] = (),
    overrides: Sequence[str] = (),
    named: str | None = None,
    techniques: Iterable[str] = (),
    duration_s: float | None = None,
    sized: bool = True,
    maximum_nodes: int = 4096,
    pairs: int = USUAL_PAIRS,
    jobs: int = 1,
    progress: Callable[[float, float], None] | None = None,
    catalog: Catalog | None = None,
    registry: tuple[Technique, ...] = TECHNIQUES,
) -> Ablation:
    """Measure what each technique of a scenario is worth, alone, last and on average over orders.

    Every subset of the techniques that are on is simulated with the same requests and the same
    random numbers, and its smallest fleet is sought. Of many techniques, only the subsets that a
    sample of orders meets are.

    Args:
        scenario: a file, or a scenario already loaded.
        sets: values to change, as for `run`.
        overrides: named overrides, as for `run`.
        named: named scenario, as for `run`.
        techniques: only these; by default all that are on. The others stay as they are.
        duration_s: simulate only the busiest part of this length; None: the busiest hour.
        sized: find the smallest fleet of each subset, too.
        maximum_nodes: most nodes of a pool that are tried.
        pairs: of an order and its reverse, to sample where there are many techniques.
        jobs: most processes at a time; a script that asks for several has to be importable.
        progress: called with the subsets done and to do.
        catalog: by default the shipped one.
        registry: the techniques that are known.

    Raises:
        ScenarioError: the scenario has faults.
        TechniqueError: a technique is unknown or off.
        SimulationError: not even the scenario as it stands can be simulated.
    """
    known = catalog or load_catalog()
    loaded = resolve(scenario, known, sets, overrides, named)
    wanted = used_by(loaded.scenario, techniques, registry)
    part = busiest_part(loaded.scenario, duration_s)
    loaded = replace(loaded, scenario=part.scenario)
    found = switches(part.scenario, wanted, known, basis_of(loaded))
    kept = tuple(each for each in found if each.off(part.scenario) != part.scenario)
    fixed = {
        each.technique.name: next(iter(each.held.values())) for each in found if each not in kept
    }
    workload = part.scenario.workload
    names = [each.technique.name for each in kept]
    game = _Game(loaded, known, kept, names, sized, maximum_nodes, progress)
    orders: list[Order] | None = None
    if len(names) > EXACT_AT_MOST:
        orders = antithetic_orders(names, pairs, loaded.scenario.seed)
    listed = quantities(part.scenario, sized=sized) if kept else ()
    decompositions = game.play(listed, orders, jobs) if kept else ()
    subsets = sorted(
        game.measured.values(),
        key=lambda each: (-len(each.on), [name not in each.on for name in names]),
    )
    answer = Ablation(
        name=part.scenario.name,
        seed=part.scenario.seed,
        part=part.words,
        whole=part.whole,
        start=workload.start,
        weekday=workload.weekday,
        duration_s=workload.duration,
        switches=kept,
        fixed=fixed,
        decompositions=decompositions,
        subsets=tuple(subsets),
        orders=None if orders is None else len(orders),
        sized=sized,
    )
    return replace(answer, notes=tuple(notes(answer, part.scenario, known)))


@dataclass
class _Game:
    """The techniques as players, and what is known of their coalitions."""

    loaded: LoadedScenario
    catalog: Catalog
    switches: tuple[Switch, ...]
    players: list[str]
    sized: bool
    maximum_nodes: int
    progress: Callable[[float, float], None] | None
    measured: dict[Coalition, Measured] = field(default_factory=dict)

    def play(
        self, listed: tuple[Quantity, ...], orders: list[Order] | None, jobs: int
    ) -> tuple[Decomposition, ...]:
        """Return the decomposition of every quantity that the full stack has."""
        with Crew(jobs, measure) as crew:
            wanted = coalitions(self.players) if orders is None else self._of_interest(orders)
            while missing := [each for each in wanted if each not in self.measured]:
                self._measure(missing, crew)
                # A subset without an answer narrows the game, which may ask for others.
                wanted = [
                    each
                    for quantity in listed
                    if (needed := self._needed(quantity)) is not None
                    for each in self._coalitions(needed, orders)
                ]
        found = (self._decomposed(quantity, orders) for quantity in listed)
        return tuple(each for each in found if each is not None)

    def _of_interest(self, orders: list[Order]) -> list[Coalition]:
        everyone = frozenset(self.players)
        single = [frozenset({player}) for player in self.players]
        return [*beginnings(orders), *single, *(everyone - each for each in single)]

    def _coalitions(self, needed: Coalition, orders: list[Order] | None) -> list[Coalition]:
        """Return the subsets that shares stand on, where some players are always in."""
        if orders is None:
            return [each for each in coalitions(self.players) if needed <= each]
        return [each | needed for each in beginnings(self._without(needed, orders))]

    @staticmethod
    def _without(needed: Coalition, orders: list[Order]) -> list[Order]:
        return [tuple(player for player in order if player not in needed) for order in orders]

    def _measure(self, missing: Sequence[Coalition], crew: Crew[Task, Measured]) -> None:
        """Measure subsets, the larger ones first: they tell where to start on the smaller ones."""
        total = len(self.measured) + len(missing)
        for size in sorted({len(each) for each in missing}, reverse=True):
            level = [self._task(each) for each in missing if len(each) == size]
            for answer in crew.measure(level, total - len(self.measured)):
                self.measured[answer.on] = answer
                if size == len(self.players):
                    _require_some_number(answer)
                if self.progress is not None:
                    self.progress(len(self.measured), total)

    def _task(self, on: Coalition) -> Task:
        scenario = with_only(self.loaded.scenario, self.switches, on)
        off = [player for player in self.players if player not in on]
        start = guess(on, off, self.measured) if self.sized else None
        loaded = replace(self.loaded, scenario=scenario)
        return Task(on, loaded, self.catalog, start, self.maximum_nodes)

    def _value(self, quantity: Quantity, on: Coalition) -> float | None:
        measured = self.measured.get(on)
        key = (quantity.name, quantity.request_class)
        return None if measured is None else measured.values.get(key)

    def _needed(self, quantity: Quantity) -> Coalition | None:
        failed = [on for on in self.measured if self._value(quantity, on) is None]
        return indispensable(self.players, failed)

    def _decomposed(self, quantity: Quantity, orders: list[Order] | None) -> Decomposition | None:
        everyone = frozenset(self.players)
        full, needed = self._value(quantity, everyone), self._needed(quantity)
        if full is None or needed is None:
            return None
        free = [player for player in self.players if player not in needed]
        values = {
            on - needed: value
            for on in self._coalitions(needed, orders)
            if (value := self._value(quantity, on)) is not None
        }
        none = values[frozenset()]
        shares: dict[str, Share] = {}
        if orders is None:
            shares = exact_shares(free, values.__getitem__)
        elif free:
            shares = sampled_shares(self._without(needed, orders), values.__getitem__)
        effects = []
        for player in self.players:
            alone = self._value(quantity, needed | {player})
            without = self._value(quantity, everyone - {player})
            share = shares.get(player)
            effects.append(
                Effect(
                    technique=player,
                    alone=None if share is None or alone is None else alone - none,
                    removed=None if without is None else without - full,
                    share=None if share is None else share.value,
                    error=None if share is None else share.error,
                )
            )
        ordered = tuple(player for player in self.players if player in needed)
        return Decomposition(quantity, none, full, tuple(effects), ordered)


def _require_some_number(full: Measured) -> None:
    if all(value is None for value in full.values.values()):
        raise SimulationError(full.obstacle)
