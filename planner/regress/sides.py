"""What `planner diff` compares: a scenario, a stored result, or a baseline file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from planner.catalog import Catalog
from planner.errors import PlannerError
from planner.regress.baseline import Baseline, read_baseline
from planner.regress.compare import AGAINST_BASELINE, BOTH_NAMED, Comparison, Rules, compare
from planner.regress.forecasting import Forecast, forecast_of, forecast_of_result
from planner.regress.runs import against
from planner.results.result import Result
from planner.scenario import LoadedScenario, load_checked
from planner.scenario.schema.regress import Gate
from planner.search.sides import open_source


@dataclass(frozen=True)
class Side:
    """One of two things to compare."""

    baseline: Baseline
    forecast: Forecast | None = None
    """None: a baseline, which cannot be priced or simulated again."""
    gates: tuple[Gate, ...] = ()

    @property
    def seed(self) -> int | None:
        """Of a scenario, for the other to be simulated with; None of what is stored."""
        simulated = self.forecast is not None and self.forecast.finished is not None
        return self.baseline.identity.seed if simulated else None


def side_of(
    named: str, catalog: Catalog, sets: Sequence[str] = (), seed: int | None = None
) -> Side:
    """Return what is named: a baseline file, the folder of a result, or a scenario, simulated.

    Args:
        named: `FILE.json`, `FOLDER`, `FILE.yaml`, or `FILE.yaml@NAME` for a named scenario.
        catalog: models, chips, nodes and prices.
        sets: values to change in a scenario.
        seed: of a scenario, in place of its own; None: its own.

    Raises:
        PlannerError: it cannot be read or simulated, or nothing can be set in it.
    """
    path = Path(named)
    if path.suffix == ".json" and path.name != "result.json":
        if sets:
            raise PlannerError(
                f"{named}: is a baseline, in which nothing can be set ({sets[0]}); name its "
                "scenario"
            )
        return Side(read_baseline(path))
    opened = open_source(named, catalog, sets)
    if isinstance(opened.content, Result):
        found = forecast_of_result(opened.content)
        return Side(found.baseline, found)
    return _simulated(opened.content, catalog, sets, seed)


def _simulated(
    loaded: LoadedScenario, catalog: Catalog, sets: Sequence[str], seed: int | None
) -> Side:
    """Return a scenario as `planner regress` simulates it."""
    stated = loaded.scenario.regress
    if stated is not None and stated.overrides:
        names = [each for each in loaded.applied if not each.startswith("--set ")]
        loaded = load_checked(
            loaded.path, catalog, overrides=[*names, *stated.overrides], sets=sets
        )
    if seed is not None:
        loaded = replace(loaded, scenario=loaded.scenario.model_copy(update={"seed": seed}))
    found = forecast_of(loaded, catalog=catalog)
    return Side(found.baseline, found, tuple(stated.gates) if stated else ())


def compare_sides(before: Side, after: Side) -> Comparison:
    """Compare two sides, by the gates of the second."""
    rules = Rules(after.gates)
    words = AGAINST_BASELINE if before.forecast is None else BOTH_NAMED
    if after.forecast is None:
        return compare(before.baseline, after.baseline, rules, words=words)
    return against(before.baseline, after.forecast, rules, words)
