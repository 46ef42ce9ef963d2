"""The uncertain inputs of a scenario, resolved: which numbers each draws, and how."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from planner.errors import did_you_mean, shown
from planner.scenario.distributions import Distribution, distribution_of, z_of
from planner.scenario.merge import PathError
from planner.scenario.nodes import Location
from planner.scenario.schema import Scenario
from planner.scenario.schema.fields import Part
from planner.scenario.schema.pools import Pool
from planner.scenario.schema.uncertainty import UncertainInput
from planner.scenario.schema.workload import RequestClass
from planner.scenario.targets import Target, read_amount, targets_at
from planner.units import BASE_UNITS

MONEY: Final = ("machine_prices", "plans")
"""Sources that move money and no request."""
OPERATORS: Final = (
    "gemm", "prefill_attention", "decode_attention", "mla_prefill_attention",
    "mla_decode_attention", "linear_prefill", "linear_decode", "experts", "all_reduce",
    "all_gather", "reduce_scatter", "all_to_all", "send", "stream",
)  # fmt: skip
"""Of curves, as in the timing tables."""
_FRAME: Final = tuple(("workload", name) for name in ("duration", "warmup", "drain", "window"))
_COUNTED: Final = "above"
"""Threshold of long contexts: a simulation counts the tokens beyond it."""
Moved = tuple[tuple[Target, ...], tuple[str, ...]]
"""Numbers of the scenario that a source moves, and the names of what it concerns."""
_MONEY_UNITS: Final = frozenset(unit for unit in BASE_UNITS.values() if unit.startswith("USD"))


class InputError(ValueError):
    """An input cannot be drawn.

    Args:
        steps: the field at fault, below the input.
        message: what is wrong and what to do.
    """

    def __init__(self, steps: Location, message: str) -> None:
        super().__init__(message)
        self.steps = steps


@dataclass(frozen=True)
class ResolvedInput:
    """One uncertain input and what it moves."""

    name: str
    stated: UncertainInput
    targets: tuple[Target, ...]
    """Numbers of the scenario that it draws; some sources draw others."""
    distributions: tuple[Distribution, ...]
    """One per target; of a source without targets one in all; none where it knows its own error."""
    of: tuple[str, ...]
    """Names that a source concerns: pools, plans or operators."""

    @property
    def column(self) -> str:
        """Return what draws it: its group, or itself."""
        return self.stated.group or self.name

    @property
    def is_money(self) -> bool:
        """Return whether it moves no request."""
        if self.stated.source is not None:
            return self.stated.source in MONEY
        return all(
            target.location[0] == "prices" and target.location[-1] != _COUNTED
            for target in self.targets
        )

    def values(self, u: float) -> Iterator[tuple[Target, float]]:
        """Yield the numbers of the scenario at a quantile."""
        for target, distribution in zip(self.targets, self.distributions, strict=False):
            drawn = distribution(u)
            yield target, drawn if self.stated.value is not None else target.value * drawn

    def factor(self, u: float) -> float:
        """Return the factor of a source at a quantile."""
        return self.distributions[0](u)

    @property
    def drawn_as(self) -> str:
        """Return what `drawn` is: a factor, a value in base units, or standard deviations."""
        if not self.distributions:
            return "deviations"
        return "factor" if self.stated.factor is not None else "value"

    def drawn(self, u: float) -> float:
        """Return what is drawn at a quantile; of sources that know their error, deviations."""
        return self.distributions[0](u) if self.distributions else z_of(u)


def resolved(stated: UncertainInput, scenario: Scenario) -> ResolvedInput:
    """Return an input with what it moves.

    Raises:
        InputError: it moves nothing, or its distribution contradicts itself.
    """
    if stated.path is not None:
        targets, of = _at(scenario, stated.path), tuple[str, ...]()
    else:
        targets, of = _SOURCES[str(stated.source)](stated, scenario)
    distributions = _distributions(stated, targets)
    if stated.factor is not None and targets and not any(target.value for target in targets):
        raise InputError(("factor",), "what it multiplies is 0; state a value instead")
    if stated.source in ("step_times", "acceptance") and distributions[0](0.001) <= 0:
        raise InputError(("factor",), "draws can be zero or less; use a lognormal, or a minimum")
    return ResolvedInput(stated.name, stated, targets, distributions, of)


def columns_of(inputs: Sequence[ResolvedInput]) -> tuple[str, ...]:
    """Return what is drawn independently: groups, and inputs without one, in order."""
    return tuple(dict.fromkeys(each.column for each in inputs))


def _at(scenario: Scenario, path: str) -> tuple[Target, ...]:
    try:
        found = targets_at(scenario, path)
    except PathError as error:
        raise InputError(("path",), str(error)) from None
    if any(_is_frame(target.location) for target in found):
        raise InputError(("path",), "draw what the fleet serves, runs on or costs, not this")
    if any(target.location[-1] == "nodes" for target in found):
        raise InputError(("path",), "the number of nodes is the answer; draw what decides it")
    return found


def _is_frame(location: Location) -> bool:
    """Return whether a number says how to look, and not what at."""
    return location[0] not in ("workload", "pools", "prices") or location in _FRAME


def _distributions(stated: UncertainInput, targets: Sequence[Target]) -> tuple[Distribution, ...]:
    form = "factor" if stated.factor is not None else "value"
    distribution = stated.factor if stated.factor is not None else stated.value
    if distribution is None:
        return ()
    readers = [target.read for target in targets] if form == "value" else [read_amount]
    try:
        found = [distribution_of(distribution, read) for read in readers]
    except ValueError as error:
        raise InputError((form,), str(error)) from None
    return tuple(found if form == "value" else found * max(len(targets), 1))


# --- sources --------------------------------------------------------------------------------------


def _demand(stated: UncertainInput, scenario: Scenario) -> Moved:
    classes = scenario.workload.classes
    named = _chosen(stated, [klass.name for klass in classes], "class")
    paths: list[str] = []
    for index, klass in enumerate(classes):
        if klass.name not in named:
            continue
        own = _arrivals(klass)
        if own is not None:
            paths.append(f"workload.classes[{index}].{own}")
        elif stated.of:
            raise InputError(
                ("of",),
                f"the requests of {klass.name} come from workload.trace, which all its classes "
                "share; leave `of` out, and the whole trace is replayed faster or slower",
            )
        else:
            paths.append("workload.trace.rate_scale")
    found = [target for path in dict.fromkeys(paths) for target in targets_at(scenario, path)]
    return tuple(found), tuple(named)


def _arrivals(klass: RequestClass) -> str | None:
    forms = {"open": "open.rate", "closed": "closed.clients", "trace": "trace.rate_scale"}
    return next((path for form, path in forms.items() if getattr(klass, form) is not None), None)


def _plans(stated: UncertainInput, scenario: Scenario) -> Moved:
    plans = scenario.prices.plans
    named = _chosen(
        stated, [plan.name for plan in plans if plan.kind != "free"], "plan that is paid"
    )
    found = [
        target
        for index, plan in enumerate(plans)
        if plan.name in named
        for target in _prices_in(scenario, f"prices.plans[{index}]", plan)
    ]
    return tuple(found), tuple(named)


def _machine_prices(stated: UncertainInput, scenario: Scenario) -> Moved:
    named = _chosen(stated, [pool.name for pool in scenario.pools], "pool")
    used = {name for pool in scenario.pools if pool.name in named for name in prices_paid(pool)}
    found = [
        target
        for index, price in enumerate(scenario.prices.nodes)
        if price.name in used
        for target in _prices_in(scenario, f"prices.nodes[{index}]", price)
    ]
    return tuple(found), tuple(named)


def prices_paid(pool: Pool) -> frozenset[str]:
    """Return the names of the prices that a pool pays; none: those of its chip by default terms."""
    named = {pool.price} if pool.price is not None else set()
    return frozenset(named | {share.price for share in pool.price_mix})


def _prices_in(scenario: Scenario, path: str, part: Part) -> Iterator[Target]:
    """Yield the amounts of money in a part, and in those below it."""
    for name in type(part).model_fields:
        value = getattr(part, name)
        if isinstance(value, Part):
            yield from _prices_in(scenario, f"{path}.{name}", value)
        elif isinstance(value, float):
            target = targets_at(scenario, f"{path}.{name}")[0]
            if target.unit in _MONEY_UNITS:
                yield target


def _of_pools(stated: UncertainInput, scenario: Scenario) -> Moved:
    return (), tuple(_chosen(stated, [pool.name for pool in scenario.pools], "pool"))


def _acceptance(stated: UncertainInput, scenario: Scenario) -> Moved:
    drafting = [pool.name for pool in scenario.pools if pool.speculation is not None]
    return (), tuple(_chosen(stated, drafting, "pool with speculation"))


def _curves(stated: UncertainInput, _scenario: Scenario) -> Moved:
    return (), tuple(_chosen(stated, OPERATORS, "operator"))


def _chosen(stated: UncertainInput, names: Sequence[str], kind: str) -> list[str]:
    if not names:
        message = f"the scenario has no {kind}, so there is nothing to draw; delete this input"
        raise InputError(("source",), message)
    for index, name in enumerate(stated.of):
        if name not in names:
            advice = did_you_mean(name, names, list_up_to=20)
            raise InputError(("of", index), f"unknown {kind} {shown(name)}; {advice}")
    return [name for name in names if name in stated.of] if stated.of else list(names)


_SOURCES: Final[
    Mapping[
        str,
        Callable[[UncertainInput, Scenario], Moved],
    ]
] = {
    "demand": _demand,
    "curves": _curves,
    "overheads": _of_pools,
    "step_times": _of_pools,
    "acceptance": _acceptance,
    "machine_prices": _machine_prices,
    "plans": _plans,
}
