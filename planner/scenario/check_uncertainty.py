"""Whether what is drawn exists, contradicts nothing, and suffices for the interval asked for."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from pathlib import Path

from pydantic import ValidationError

from planner.catalog import Catalog
from planner.errors import PlannerError
from planner.scenario.merge import format_location
from planner.scenario.nodes import Location
from planner.scenario.parts import Parts
from planner.scenario.schema import Scenario
from planner.scenario.targets import scenario_with
from planner.scenario.uncertain import InputError, ResolvedInput, resolved

Finding = tuple[Location, str]
TAIL = 0.001
"""Draws as rare as this must still make a scenario."""


def check_uncertainty(parts: Parts, catalog: Catalog) -> Iterator[Finding]:
    """Yield inputs that cannot be drawn, and intervals that so few samples cannot tell."""
    where: Location = ("uncertainty",)
    if parts.root.follow(where)[1] == 0:
        return
    try:
        scenario = Scenario.model_validate(parts.root.plain())
    except ValidationError:
        return  # its faults are told by others; inputs are looked at once these are mended
    if scenario.uncertainty is None:
        return
    uncertainty = scenario.uncertainty
    tail = uncertainty.samples * (1 - uncertainty.confidence) / 2
    if tail < 1 - 1e-9:
        least = 1 << math.ceil(math.log2(2 / (1 - uncertainty.confidence)) - 1e-9)
        yield (
            (*where, "samples"),
            f"{uncertainty.samples} samples put less than one beyond each end of an interval of "
            f"{uncertainty.confidence:.4g}; draw at least {least}, or lower the confidence",
        )
    found: list[ResolvedInput] = []
    for index, stated in enumerate(uncertainty.inputs):
        at = (*where, "inputs", index)
        try:
            each = resolved(stated, scenario)
        except InputError as error:
            yield (*at, *error.steps), str(error)
            continue
        for steps, message in (
            *_twice(each, found),
            *_impossible(each, parts),
            *_unfitted(each, scenario, parts, catalog),
        ):
            yield (*at, *steps), message
        found.append(each)


def _twice(each: ResolvedInput, before: Sequence[ResolvedInput]) -> Iterator[Finding]:
    """Yield numbers that another input draws as well; two factors multiply, a value does not."""
    for other in before:
        shared = {t.location for t in each.targets} & {t.location for t in other.targets}
        if shared and (each.stated.value or other.stated.value):
            place = format_location(min(shared, key=str))
            yield (), f"{place} is drawn by {other.name} already; keep one, or make both factors"


def _impossible(each: ResolvedInput, parts: Parts) -> Iterator[Finding]:
    """Yield rare draws that the scenario would not take."""
    form = "value" if each.stated.value is not None else "factor"
    for u in (TAIL, 1 - TAIL):
        try:
            scenario_with(parts.root, each.values(u))
        except ValueError as error:
            yield (form,), f"one draw in {round(1 / TAIL):,} makes {error}"
            return


def _unfitted(
    each: ResolvedInput, scenario: Scenario, parts: Parts, catalog: Catalog
) -> list[Finding]:
    try:
        return list(_without_errors(each, scenario, parts, catalog))
    except PlannerError:
        return []  # a calibration file cannot be read, which is told where it is named


def _without_errors(
    each: ResolvedInput, scenario: Scenario, parts: Parts, catalog: Catalog
) -> Iterator[Finding]:
    """Yield sources that are to draw from errors which nobody recorded."""
    advice = "use source: step_times with a factor of your own"
    if each.stated.source == "overheads":
        from planner.curves.engines import shipped_engines

        engines = shipped_engines()
        for path in _files(scenario.calibration.overheads, "overheads", parts):
            engines = engines.with_file(path)
        for pool in scenario.pools:
            if pool.name not in each.of or pool.node not in catalog.nodes:
                continue
            chip = catalog.node(pool.node).chip
            if not engines.find(pool.engine.name, chip).errors:
                yield (
                    ("source",),
                    f"overheads of {pool.engine.name} on {chip} (pool {pool.name}) have no errors, "
                    f"since they were not fitted; {advice}, or `planner calibrate`",
                )
    if each.stated.source == "curves":
        from planner.curves.device import curves_for

        files = _files(scenario.calibration.curves, "curves", parts)
        for pool in scenario.pools:
            if pool.node not in catalog.nodes:
                continue
            hardware = catalog.chip(catalog.node(pool.node).chip)
            sets = curves_for(hardware, files)
            if not any(curves.keys(operator) for curves in sets for operator in each.of):
                yield (
                    ("source",),
                    f"{hardware.name} (pool {pool.name}) has no fitted curve of {each.of[0]}"
                    f"{' or others' if each.of[1:] else ''}, so no covariance; "
                    f"{advice}, or fit timings and name the file under calibration.curves",
                )


def _files(names: Sequence[str], kind: str, parts: Parts) -> list[Path]:
    """Return the calibration files that exist; others are faults of their own."""
    found = []
    for number, name in enumerate(names):
        entry, _ = parts.root.follow(("calibration", kind, number))
        path = (Path(entry.place.file).parent if entry.place.line else Path()) / name
        found += [path] if path.is_file() else []
    return found
