"""The scenario as it will be: upgrades and chip generations of a forecast, laid over it.

They are layers like any other: values keep the place where they were written, so that a fault of
the changed scenario names the line of the change.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from pydantic import ValidationError

from planner.errors import Fault, ScenarioError
from planner.scenario.faults import schema_faults
from planner.scenario.load import SECTIONS, LoadedScenario
from planner.scenario.merge import PathError, merge, overlay, parse_path
from planner.scenario.nodes import Location, Node
from planner.scenario.schema import Scenario
from planner.scenario.schema.forecast import Forecast

FIXED = (*SECTIONS, "forecast", "name", "schema", "seed", "uncertainty")
"""Top-level fields that a change over time cannot touch."""


def variant(
    loaded: LoadedScenario, upgrades: Sequence[int], generations: Mapping[str, int]
) -> LoadedScenario:
    """Return the scenario with some of its upgrades and one chip generation per pool.

    Args:
        loaded: a scenario with a forecast.
        upgrades: indices of the upgrades that hold, in the order in which they are laid on.
        generations: pool → index of its chip generation; pools that are not named keep their node.

    Raises:
        ScenarioError: the changed scenario is no scenario; each fault at the line of the change.
    """
    root = varied(loaded.root, loaded.scenario.forecast, upgrades, generations)
    try:
        scenario = Scenario.model_validate(root.plain())
    except ValidationError as error:
        raise ScenarioError(schema_faults(error, root)) from None
    return replace(loaded, root=root, scenario=scenario)


def varied(
    root: Node, forecast: Forecast | None, upgrades: Sequence[int], generations: Mapping[str, int]
) -> Node:
    """Return the tree that `variant` makes a scenario of; it may be none.

    Raises:
        ScenarioError: a path leads nowhere, or to what cannot change.
    """
    assert forecast is not None
    faults: list[Fault] = []
    result = root
    for where, prefix in _changes(forecast, upgrades, generations):
        node, _ = root.follow(where)
        assert isinstance(node.value, dict)
        for path, value in node.value.items():
            try:
                result = merge(result, overlay(_path(path, prefix), value))
            except PathError as error:
                faults.append(value.head.fault(str(error), ".".join(map(str, where))))
            except ScenarioError as error:
                faults += error.faults
    for pool, index in generations.items():
        at: Location = ("forecast", "chips", index)
        for field in ("node", "price"):
            node, taken = root.follow((*at, field))
            stated = node if taken == len(at) + 1 else replace(root.follow(at)[0], value=None)
            result = merge(result, overlay(("pools", pool, field), stated))
    if faults:
        raise ScenarioError(faults)
    return result


def upgrades_by(forecast: Forecast, quarter: str) -> tuple[int, ...]:
    """Return the upgrades that hold in a quarter, in order of their dates."""
    held = [index for index, each in enumerate(forecast.upgrades) if each.quarter <= quarter]
    return tuple(sorted(held, key=lambda index: (forecast.upgrades[index].quarter, index)))


def generations_by(forecast: Forecast, quarter: str) -> dict[str, int]:
    """Return pool → index of the generation that is delivered in a quarter."""
    order = sorted(range(len(forecast.chips)), key=lambda index: forecast.chips[index].quarter)
    return {
        forecast.chips[index].pool: index
        for index in order
        if forecast.chips[index].quarter <= quarter
    }


def _changes(
    forecast: Forecast, upgrades: Sequence[int], generations: Mapping[str, int]
) -> Iterator[tuple[Location, Location]]:
    """Yield where settings are written, and what their paths are relative to."""
    for index in upgrades:
        yield ("forecast", "upgrades", index, "set"), ()
    for pool, index in generations.items():
        if forecast.chips[index].set:
            yield ("forecast", "chips", index, "set"), ("pools", pool)


def _path(text: str, prefix: Location) -> Location:
    steps = parse_path(text)
    if not prefix and steps[0] in FIXED:
        raise PathError(f"{steps[0]} cannot change over time; change pools, workload or prices")
    return (*prefix, *steps)
