"""From files and folders to the scenarios that have a baseline each, and where that lies.

Baselines lie in one folder and mirror the paths of the scenarios: `scenarios/economics/day.yaml`
has `scenarios/baselines/economics/day.json`, its named scenario `night` `…/day@night.json`. Which
folder is the same for a folder and for a file in it: the nearest one called `baselines`, in the
folder named or above.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from planner.catalog import Catalog
from planner.errors import Fault, ScenarioError
from planner.regress.baseline import BaselineError
from planner.scenario import LoadedScenario, load_checked
from planner.scenario.source import is_scenario

FOLDER: Final = "baselines"
_ENDINGS: Final = (".yaml", ".yml")


@dataclass(frozen=True)
class Found:
    """A scenario file and the folder that its baseline mirrors."""

    path: Path
    root: Path
    """Folder that contains the baselines."""
    baselines: Path

    def baseline(self, named: str | None) -> Path:
        """Return where the baseline of the file, or of a named scenario of it, lies."""
        inside = Path(os.path.relpath(self.path, self.root))
        if ".." in inside.parts:
            raise BaselineError(
                f"{self.path}: is not below {self.root}, so its baseline has no place in "
                f"{self.baselines}; name the folder that holds both"
            )
        suffix = f"@{named}" if named else ""
        return self.baselines / inside.with_name(f"{inside.stem}{suffix}.json")


@dataclass(frozen=True)
class Case:
    """One forecast: a scenario as it is simulated for regression, and its baseline."""

    label: str
    """The file as it was named, with `@NAME`."""
    baseline: Path
    path: Path
    loaded: LoadedScenario | None = None
    faults: tuple[Fault, ...] = ()
    """What is wrong with the scenario; then there is no `loaded`."""


def find(named: Sequence[Path], baselines: Path | None = None) -> list[Found]:
    """Return the scenario files in files and folders.

    Args:
        named: what the user named; folders are searched for YAML that is a scenario.
        baselines: folder of the baselines, which mirrors the folders named; None: the nearest
            `baselines`, or, where there is none, one in the folder named.

    Raises:
        BaselineError: nothing is there.
    """
    found: dict[Path, Found] = {}
    for path in named:
        if not path.exists():
            raise BaselineError(f"{path}: no such file or folder; name a scenario or a folder")
        top = path if path.is_dir() else path.parent
        root, folder = _stated(top, baselines) if baselines else _nearest(top)
        files = list(_scenarios(path)) if path.is_dir() else [path]
        if not files:
            raise BaselineError(f"{path}: holds no scenario (YAML with schema: planner/v1)")
        for file in files:
            found.setdefault(file.resolve(), Found(file, root, folder))
    return list(found.values())


def _stated(top: Path, baselines: Path) -> tuple[Path, Path]:
    """Return what a stated folder mirrors: what it lies beside, if it is called as the usual one.

    One file and all of them then have the same baselines there.
    """
    beside = baselines.resolve().parent
    usual = baselines.name == FOLDER and top.resolve().is_relative_to(beside)
    return (Path(os.path.relpath(beside)) if usual else top), baselines


def _nearest(top: Path) -> tuple[Path, Path]:
    """Return the nearest folder with baselines, and these; up to the root of the repository."""
    resolved = top.resolve()
    for folder in (resolved, *resolved.parents):
        if (folder / FOLDER).is_dir():
            return Path(os.path.relpath(folder)), Path(os.path.relpath(folder / FOLDER))
        if (folder / ".git").exists():
            break
    return top, top / FOLDER


def passed_over(named: Sequence[Path], found: Sequence[Found]) -> list[Path]:
    """Return folders of baselines below those that were named, which are not used from there."""
    used = {each.baselines.resolve() for each in found}
    below = (inner for path in named if path.is_dir() for inner in sorted(path.rglob(FOLDER)))
    return [
        folder
        for folder in dict.fromkeys(below)
        if folder.is_dir() and not any(folder.resolve().is_relative_to(each) for each in used)
    ]


def _scenarios(folder: Path) -> Iterator[Path]:
    """Yield the scenarios in and below a folder, by name; other YAML and baselines are left out."""
    for entry in sorted(folder.iterdir()):
        if entry.name.startswith(".") or entry.name == FOLDER:
            continue
        if entry.is_dir():
            yield from _scenarios(entry)
        elif entry.suffix in _ENDINGS and is_scenario(entry):
            yield entry


def orphans(named: Sequence[Path], found: Sequence[Found], cases: Sequence[Case]) -> list[Path]:
    """Return the baselines below folders that were named that are of no scenario any more."""
    known = {case.baseline.resolve() for case in cases}
    folders = [path.resolve() for path in named if path.is_dir()]
    stray = []
    for root, baselines in dict.fromkeys((each.root, each.baselines) for each in found):
        for path in sorted(baselines.rglob("*.json")):
            mirrored = (root / path.relative_to(baselines)).resolve()
            if path.resolve() not in known and any(
                mirrored.is_relative_to(folder) for folder in folders
            ):
                stray.append(path)
    return stray


def open_cases(found: Sequence[Found], catalog: Catalog) -> list[Case]:
    """Return a case per file, and one per named scenario that its section `regress` lists.

    Raises:
        BaselineError: two of them would have the same baseline.
    """
    cases: dict[Path, Case] = {}
    for case in (case for each in found for case in _cases(each, catalog)):
        other = cases.setdefault(case.baseline.resolve(), case)
        if other is not case:
            raise BaselineError(
                f"{other.label} and {case.label} have the same baseline, {case.baseline}; rename "
                "one, or call planner for each by itself"
            )
    return list(cases.values())


def _cases(found: Found, catalog: Catalog) -> list[Case]:
    plain = _open(found, catalog)
    stated = plain.loaded and plain.loaded.scenario.regress
    if not stated:
        return [plain]
    if stated.overrides:
        plain = _open(found, catalog, stated.overrides)
    named = [_open(found, catalog, stated.overrides, name) for name in stated.scenarios]
    return [plain, *named]


def _open(
    found: Found, catalog: Catalog, overrides: Sequence[str] = (), named: str | None = None
) -> Case:
    label = f"{found.path}@{named}" if named else str(found.path)
    place = found.baseline(named)
    try:
        loaded = load_checked(found.path, catalog, overrides=overrides, scenario=named)
    except ScenarioError as error:
        return Case(label, place, found.path, faults=error.faults)
    return Case(label, place, found.path, loaded)
