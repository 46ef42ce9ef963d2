"""Serving a model oneself against buying its tokens, side by side at several loads.

At each load the smallest fleet that keeps the promises is found by simulation, spare nodes are
added, and this fleet is simulated: its bill stands beside what the plans charge for the tokens
that it served. Where the bills cross is found by bisection on the load. Nodes are whole, so the
own bill rises in steps; the answer is the load from which on it is lower at every load simulated.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Final

from planner.catalog import Catalog
from planner.errors import PlannerError
from planner.jsonable import json_text
from planner.pricing import Books, policy_of
from planner.provenance import price_assumptions
from planner.results.result import Assumption, Result
from planner.scenario import LoadedScenario
from planner.scenario.schema.workload import RequestClass
from planner.search.near import NearSearch
from planner.simulation import opened

SAME_LOAD: Final = 0.03
"""Relative: the bisection ends when the load is known so well."""


class SelfHostError(PlannerError):
    """The two cannot be compared."""


@dataclass(frozen=True)
class Side:
    """Both bills at one load."""

    load: float
    """In multiples of the scenario's rates."""
    requests_per_s: float
    """Served, in the mean."""
    nodes: int
    """Of all pools, spare ones included."""
    accelerators: int
    utilisation_rate: float
    own_usd_per_hour: float
    api_usd_per_hour: float
    mtok_per_hour: float
    """Million input (cached included) and output tokens served."""

    @property
    def own_usd_per_mtok(self) -> float:
        """Own bill over the tokens."""
        return self.own_usd_per_hour / self.mtok_per_hour

    @property
    def api_usd_per_mtok(self) -> float:
        """What the same tokens are sold for."""
        return self.api_usd_per_hour / self.mtok_per_hour

    @property
    def pays(self) -> bool:
        """Whether serving oneself is cheaper."""
        return self.own_usd_per_hour <= self.api_usd_per_hour

    def row(self) -> dict[str, Any]:
        """Return it as one row of a table."""
        return asdict(self) | {
            "own_usd_per_mtok": self.own_usd_per_mtok,
            "api_usd_per_mtok": self.api_usd_per_mtok,
        }


@dataclass(frozen=True)
class SelfHostCase:
    """The answer of `self_host`."""

    name: str
    description: str
    spare_nodes: int
    own: Side
    """At the scenario's own load."""
    sides: tuple[Side, ...]
    """All that were simulated, by load."""
    assumptions: tuple[Assumption, ...]
    """Prices with date and source."""
    date: str
    """Whose prices apply."""
    simulations: int
    seed: int

    @property
    def crossing(self) -> tuple[Side, Side] | None:
        """The last load at which buying is cheaper, and the next; None: there are not both."""
        bought = [number for number, side in enumerate(self.sides) if not side.pays]
        if not bought or bought[-1] + 1 == len(self.sides):
            return None
        return self.sides[bought[-1]], self.sides[bought[-1] + 1]

    @property
    def is_never(self) -> bool:
        """Whether buying is cheaper at the largest load."""
        return not self.sides[-1].pays

    def to_json(self) -> str:
        """Return everything as JSON: sorted keys, the same bytes for the same input."""
        crossing = self.crossing
        content = {
            "name": self.name,
            "seed": self.seed,
            "date": self.date,
            "spare_nodes": self.spare_nodes,
            "own_load": self.own.row(),
            "pays_from": None if crossing is None else crossing[1].row(),
            "pays_at_every_load": all(side.pays for side in self.sides),
            "loads": [side.row() for side in self.sides],
            "assumptions": [asdict(each) for each in self.assumptions],
            "simulations": self.simulations,
        }
        return json_text(content)


def self_host(
    scenario: str | os.PathLike[str] | LoadedScenario,
    *,
    sets: Sequence[str] = (),
    overrides: Sequence[str] = (),
    named: str | None = None,
    maximum_nodes: int = 4096,
    on_trial: Callable[[str], None] | None = None,
    catalog: Catalog | None = None,
) -> SelfHostCase:
    """Compare the cost of serving oneself with the price of an API, by load.

    Args:
        scenario: a file, or a scenario already loaded, with a section `self_host`.
        sets: values to change, as for `run`.
        overrides: named overrides, as for `run`.
        named: named scenario, as for `run`.
        maximum_nodes: most nodes of a pool that are tried.
        on_trial: called with a sentence after each load.
        catalog: by default the shipped one.

    Raises:
        ScenarioError: the scenario has faults.
        SelfHostError: it has no section `self_host`.
        SizingError: no fleet keeps the promises at one of the loads.
    """
    loaded, known = opened(scenario, catalog, sets, overrides, named)
    content = loaded.scenario
    terms = content.self_host
    if terms is None:
        raise SelfHostError(
            f"{content.name} has no section `self_host`; add one, as in "
            "scenarios/economics/self_host_or_api.yaml"
        )
    scale = _Scale(loaded, known, maximum_nodes, terms.spare_nodes, on_trial or (lambda _: None))
    own = scale.side(1.0)
    for load in sorted({*terms.loads}):
        scale.side(load)
    case = SelfHostCase(
        name=content.name,
        description=content.description,
        spare_nodes=terms.spare_nodes,
        own=own,
        sides=scale.sides,
        assumptions=tuple(dict.fromkeys(scale.prices())),
        date=content.prices.date,
        simulations=scale.simulations,
        seed=content.seed,
    )
    while (found := case.crossing) and found[1].load > found[0].load * (1 + SAME_LOAD):
        scale.side(math.sqrt(found[0].load * found[1].load))
        case = replace(case, sides=scale.sides, simulations=scale.simulations)
    return case


class _Scale:
    """Both bills by load, each found once."""

    def __init__(
        self,
        loaded: LoadedScenario,
        catalog: Catalog,
        maximum_nodes: int,
        spare_nodes: int,
        say: Callable[[str], None],
    ) -> None:
        self.loaded, self.catalog = loaded, catalog
        self.maximum_nodes, self.spare_nodes, self.say = maximum_nodes, spare_nodes, say
        self.simulations = 0
        self._found: dict[float, Side] = {}
        self._result: Result | None = None

    @property
    def sides(self) -> tuple[Side, ...]:
        """All that were found, by load."""
        return tuple(self._found[load] for load in sorted(self._found))

    def side(self, load: float) -> Side:
        """Return both bills at a load, in multiples of the scenario's."""
        if load not in self._found:
            result, nodes = self._simulate(load)
            self._found[load] = side = _side(load, result, nodes)
            verdict = "pays" if side.pays else "does not pay"
            self.say(
                f"{side.requests_per_s:.3g} requests/s on {nodes} nodes: "
                f"{side.own_usd_per_hour:,.2f} against {side.api_usd_per_hour:,.2f} USD/h, "
                f"self-hosting {verdict}"
            )
        return self._found[load]

    def _simulate(self, load: float) -> tuple[Result, int]:
        """Return the smallest fleet for a load with its spare nodes, simulated, and its nodes."""
        content = self.loaded.scenario
        classes = [_scaled(klass, load) for klass in content.workload.classes]
        workload = content.workload.model_copy(update={"classes": classes})
        scenario = content.model_copy(update={"workload": workload})
        search = NearSearch(
            replace(self.loaded, scenario=scenario), self.catalog, self.maximum_nodes, None, None
        )
        smallest = search.smallest({})
        used = zip(smallest, search.strides, strict=True)
        nodes = tuple(
            count + (-(-self.spare_nodes // stride) * stride if count else 0)
            for count, stride in used
        )
        search.simulate(nodes)
        self.simulations += len(search.log)
        self._result = search.results[nodes]
        return self._result, sum(nodes)

    def prices(self) -> Iterator[Assumption]:
        """Yield the prices behind the bills."""
        assert self._result is not None
        assert self._result.books is not None
        prices = self.loaded.scenario.prices
        statement = Books.of_json(self._result.books).statement(prices, self.catalog)
        yield from price_assumptions(statement, policy_of(prices), energy=False)


def _scaled(klass: RequestClass, load: float) -> RequestClass:
    """Return a class at another load, of as many more visitors."""
    assert klass.open is not None
    visitors = None if klass.visitors is None else max(round(klass.visitors * load), 1)
    arrivals = klass.open.model_copy(update={"rate": klass.open.rate * load})
    return klass.model_copy(update={"open": arrivals, "visitors": visitors})


def _side(load: float, result: Result, nodes: int) -> Side:
    finance = result.finance
    assert finance is not None
    classes, pools = finance.class_costs, finance.pool_costs
    tokens = float(classes[["input_tokens", "output_tokens"]].to_numpy().sum())
    held = float(pools["device_hours"].sum())
    return Side(
        load=load,
        requests_per_s=float(classes["requests"].sum()) / finance.hours / 3600.0,
        nodes=nodes,
        accelerators=int(result.frames.pools["accelerators_at_peak"].sum()),
        utilisation_rate=float(pools["busy_device_hours"].sum()) / held if held else 0.0,
        own_usd_per_hour=finance.cost_usd / finance.hours,
        api_usd_per_hour=finance.revenue_usd / finance.hours,
        mtok_per_hour=tokens / 1e6 / finance.hours,
    )
