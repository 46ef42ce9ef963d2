"""Whether gates and acknowledged changes name metrics that the scenario has."""

from __future__ import annotations

from collections.abc import Iterator

from planner.catalog import Catalog
from planner.errors import did_you_mean, shown
from planner.scenario.nodes import Location
from planner.scenario.parts import Parts
from planner.scenario.schema.regress import Gate, Regress
from planner.scenario.watched import absolute_of, matching, metric_names, watched

Finding = tuple[Location, str]


def check_regress(parts: Parts, _catalog: Catalog) -> Iterator[Finding]:
    """Yield (location, message) for gates that would never hold anything."""
    if parts.regress is not None:
        names = metric_names(parts.names("pools"), parts.names("workload", "classes"))
        for location, message in unusable(parts.regress, names):
            yield ("regress", *location), message


def unusable(stated: Regress, names: list[str]) -> Iterator[Finding]:
    """Yield the places, below the section, of patterns and tolerances that fit none of `names`."""
    for field in ("gates", "acknowledged"):
        for index, each in enumerate(getattr(stated, field)):
            found = list(matching(each.metric, names))
            if not found:
                advice = did_you_mean(each.metric, names) or "a baseline lists them all"
                message = f"no metric is called {shown(each.metric)}; {advice}"
                yield (field, index, "metric"), message
            if isinstance(each, Gate):
                for name, message in _misfits(each, found):
                    yield (field, index, name), message


def _misfits(gate: Gate, found: list[str]) -> Iterator[tuple[str, str]]:
    """Yield the absolute tolerances that are not in the unit of every metric meant."""
    for field in ("warn_absolute", "fail_absolute"):
        stated = getattr(gate, field)
        for name in found if stated is not None else ():
            metric = watched(name)
            assert metric is not None
            try:
                absolute_of(stated, metric.unit)
            except ValueError as error:
                yield field, f"of {name} ({metric.unit}): {error}"
                break
