"""From files and folders to the scenarios that have a baseline each, and where that lies.

Baselines lie in one folder and mirror the paths of the scenarios: `scenarios/economics/day.yaml`
has `scenarios/baselines/economics/day.json`, its named scenario `night` `…/day@night.json`. Which
folder is the same for a folder and for a file in it: the nearest one called `baselines`, in the
folder named or above.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
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
        folder = baselines or _nearest(top) or top / FOLDER
        root = top if baselines is not None else folder.parent
        files = list(_scenarios(path)) if path.is_dir() else [path]
        if not files:
            raise BaselineError(f"{path}: holds no scenario (YAML with schema: planner/v1)")
        for file in files:
            found.setdefault(file.resolve(), Found(file, root, folder))
    return list(found.values())


def _nearest(top: Path) -> Path | None:
    """Return the nearest folder of baselines; from inside the working directory, none above it."""
    resolved = top.resolve()
    for folder in (resolved, *resolved.parents):
        if (folder / FOLDER).is_dir():
            return Path(os.path.relpath(folder / FOLDER))
        if folder == Path.cwd():
            return None
    return None


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
    """Return a case per file, and one per named scenario that its section `regress` lists."""
    cases = []
    for each in found:
        first = _open(each, None, _loading(each, catalog, (), None))
        cases.append(first)
        regress = first.loaded and first.loaded.scenario.regress
        if not regress:
            continue
        if regress.overrides:
            cases[-1] = _open(each, None, _loading(each, catalog, regress.overrides, None))
        cases += [
            _open(each, name, _loading(each, catalog, regress.overrides, name))
            for name in regress.scenarios
        ]
    return cases


def _loading(
    found: Found, catalog: Catalog, overrides: Sequence[str], named: str | None
) -> Callable[[], LoadedScenario]:
    return lambda: load_checked(found.path, catalog, overrides=overrides, scenario=named)


def _open(found: Found, named: str | None, load: Callable[[], LoadedScenario]) -> Case:
    label = f"{found.path}@{named}" if named else str(found.path)
    place = found.baseline(named)
    try:
        return Case(label, place, found.path, load())
    except ScenarioError as error:
        return Case(label, place, found.path, faults=error.faults)
