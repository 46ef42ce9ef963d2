"""The two sides of a bridge: a scenario, which is simulated, or a result that is there already."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from planner.catalog import Catalog
from planner.economics.drivers import Drivers, read_drivers
from planner.economics.money import CURRENCY
from planner.errors import PlannerError
from planner.results.result import Result
from planner.results.storage import RESULT_FILE
from planner.scenario import LoadedScenario
from planner.simulation import resolve, run

Source = str | os.PathLike[str] | LoadedScenario | Result


class BridgeError(PlannerError):
    """Two things cannot be compared."""


@dataclass(frozen=True)
class Side:
    """One side of a bridge."""

    label: str
    result: Result
    drivers: Drivers
    loaded: LoadedScenario | None = None
    """None: a result, which cannot be simulated with anything changed."""
    catalog: Catalog | None = None


@dataclass(frozen=True)
class Opened:
    """What a side is made of, before anything is simulated."""

    content: LoadedScenario | Result
    label: str
    """Name of the named scenario, else of the scenario."""


def open_source(source: Source, catalog: Catalog, sets: Sequence[str] = ()) -> Opened:
    """Return what is named: a result if it is a folder, else a scenario, checked.

    Args:
        source: `FILE`, `FILE@NAME` for a named scenario of the file, or the folder of a result.
        catalog: to check scenarios against.
        sets: values to change in a scenario, as for `run`.

    Raises:
        ScenarioError: a scenario has faults.
        OutputError: a folder holds no result.
        BridgeError: values are to be changed in a result.
    """
    if isinstance(source, Result):
        return Opened(source, source.name)
    if isinstance(source, LoadedScenario):
        return Opened(source, source.scenario.name)
    path = Path(source)
    if path.is_dir() or path.name == RESULT_FILE:
        folder = path if path.is_dir() else path.parent
        if sets:
            raise BridgeError(
                f"{folder}: is a result, in which nothing can be set ({sets[0]}); name its scenario"
            )
        result = Result.read(folder)
        return Opened(result, result.name)
    text, at, name = os.fspath(source).rpartition("@")
    if at and not path.exists():
        return Opened(resolve(text, catalog, sets, (), name), name)
    loaded = resolve(source, catalog, sets, (), None)
    return Opened(loaded, loaded.scenario.name)


def side_of(opened: Opened, catalog: Catalog) -> Side:
    """Return a side, simulated if it is a scenario.

    Args:
        opened: what it is made of.
        catalog: models, chips, nodes and prices.

    Raises:
        BridgeError: it has no money.
    """
    if isinstance(opened.content, Result):
        return Side(opened.label, opened.content, drivers_of(opened.content, opened.label))
    result = run(opened.content, catalog=catalog)
    drivers = drivers_of(result, opened.label)
    return Side(opened.label, result, drivers, opened.content, catalog)


def drivers_of(result: Result, label: str) -> Drivers:
    """Return what the cost and revenue of a result are made of.

    Raises:
        BridgeError: it has no money, or covers no time.
    """
    finance = result.finance
    if finance is None:
        raise BridgeError(f"{label}: has no money in it; run it with prices")
    if finance.hours <= 0:
        raise BridgeError(f"{label}: covers no time, so there is no cost per hour")
    return read_drivers(
        hours=finance.hours,
        ledger=finance.ledger,
        class_costs=finance.class_costs,
        pool_costs=finance.pool_costs,
        class_pools=finance.class_pools,
        margins=finance.margins,
    )


def require_same_currency(before: Side, after: Side) -> None:
    """Raise unless both sides are in one currency.

    Raises:
        BridgeError: they are not.
    """
    first, second = (_currency(side.result) for side in (before, after))
    if first != second:
        raise BridgeError(
            f"{before.label} is in {first}, {after.label} in {second}; "
            "state the prices of both in one currency and run them again"
        )


def _currency(result: Result) -> str:
    assert result.finance is not None
    ledger = result.finance.ledger
    found = sorted(set(ledger["currency"])) if "currency" in ledger else []
    return " and ".join(found) or CURRENCY


# --- what step times stand on ---------------------------------------------------------------------


def same_figures(before: LoadedScenario, after: LoadedScenario) -> bool:
    """Tell whether two scenarios name the same calibration files."""
    return _calibration(before) == _calibration(after)


def _calibration(loaded: LoadedScenario) -> list[Path]:
    calibration = loaded.scenario.calibration
    return [
        loaded.file_path(("calibration", part, number)).resolve()
        for part in ("curves", "overheads")
        for number in range(len(getattr(calibration, part)))
    ]


def with_figures_of(loaded: LoadedScenario, other: LoadedScenario) -> LoadedScenario:
    """Return a scenario with the calibration of another."""
    content, theirs = loaded.root.value, other.root.value
    assert isinstance(content, dict)
    assert isinstance(theirs, dict)
    kept = {key: node for key, node in content.items() if key != "calibration"}
    taken = {key: node for key, node in theirs.items() if key == "calibration"}
    scenario = loaded.scenario.model_copy(update={"calibration": other.scenario.calibration})
    return replace(loaded, scenario=scenario, root=replace(loaded.root, value=kept | taken))
