"""What a forecast was made from, as hashes: which of it has changed is said beside the numbers."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any

from planner.results.result import Result
from planner.scenario import LoadedScenario
from planner.scenario.nodes import Location
from planner.version import VERSION

_PRICES = frozenset({"prices.yaml", "api.yaml"})
"""Files of the catalogue with prices, which a baseline keeps by themselves."""
_DATA = (".csv", ".json")


@dataclass(frozen=True)
class Identity:
    """Where the numbers come from. A hash that is unknown, as of a stored result, is empty."""

    planner: str
    """Version."""
    seed: int
    scenario: str = ""
    """Of the scenario as it is simulated, everything that it extends laid in."""
    catalog: str = ""
    """Of models, chips, nodes and grids."""
    curves: str = ""
    """Of the shipped curves and overheads, and of the scenario's own."""
    traces: tuple[tuple[str, str], ...] = ()
    """Place in the scenario and hash of every trace that it replays."""

    def to_json(self) -> dict[str, Any]:
        """Return what JSON can hold."""
        return asdict(self) | {"traces": dict(self.traces)}

    @classmethod
    def of_json(cls, content: dict[str, Any]) -> Identity:
        """Return what `to_json` wrote."""
        return cls(**content | {"traces": tuple(sorted(content["traces"].items()))})


def identity_of(loaded: LoadedScenario) -> Identity:
    """Return what a scenario stands on.

    Raises:
        OSError: a file cannot be read.
    """
    scenario = loaded.scenario
    # What is gated and written moves no number, and the seed is told apart. Defaults are left out:
    # a field that a later version knows beside them changes no scenario that does not use it.
    content = scenario.model_dump(
        mode="json",
        by_alias=True,
        exclude={"regress", "output", "description", "seed"},
        exclude_defaults=True,
    )
    canonical = json.dumps(content, sort_keys=True, ensure_ascii=False)
    package = resources.files("planner")
    catalog = _below(package.joinpath("catalog"), (".yaml",))
    curves = _below(package.joinpath("curves", "data"), _DATA)
    return Identity(
        planner=VERSION,
        seed=scenario.seed,
        scenario=hashlib.sha256(canonical.encode()).hexdigest(),
        catalog=_hash(file for file in catalog if file.name not in _PRICES),
        curves=_hash((*curves, *_calibration(loaded))),
        traces=tuple(sorted(_traces(loaded))),
    )


def identity_of_result(result: Result) -> Identity:
    """Return what a stored result says of its origin."""
    return Identity(result.version, result.seed)


def _traces(loaded: LoadedScenario) -> Iterator[tuple[str, str]]:
    workload = loaded.scenario.workload
    places: list[tuple[str, Location]] = []
    if workload.trace is not None:
        places.append(("workload.trace", ("workload", "trace", "file")))
    for index, klass in enumerate(workload.classes):
        if klass.trace is not None:
            where: Location = ("workload", "classes", index, "trace", "file")
            places.append((f"workload.classes.{klass.name}.trace", where))
    for name, location in places:
        path = loaded.file_path(location)
        yield name, _hash(_below(path, ()) if path.is_dir() else [path])


def _calibration(loaded: LoadedScenario) -> Iterator[Path]:
    for part in ("curves", "overheads"):
        for number in range(len(getattr(loaded.scenario.calibration, part))):
            yield loaded.file_path(("calibration", part, number))


def _below(folder: Traversable, endings: tuple[str, ...]) -> Iterator[Traversable]:
    """Yield the files in and below a folder, by name; with no endings, all of them."""
    for entry in sorted(folder.iterdir(), key=lambda each: each.name):
        if entry.is_dir():
            yield from _below(entry, endings)
        elif not endings or entry.name.endswith(endings):
            yield entry


def _hash(files: Iterable[Traversable]) -> str:
    """Return the SHA-256 over names and contents, read in blocks: a trace may exceed memory."""
    whole = hashlib.sha256()
    for file in files:
        with file.open("rb") as stream:
            own = hashlib.file_digest(stream, "sha256").hexdigest()  # type: ignore[arg-type]
        whole.update(f"{file.name}\n{own}\n".encode())
    return whole.hexdigest()
