"""From a path to a scenario: `extends`, `overrides`, `scenarios` and `--set`, then the schema.

Layers, each over the one before: the files named by `extends`, the file itself, the overrides of
the chosen scenario, further overrides, `--set` options. Every value keeps the place of the layer
that gave it, so a fault names the right file and line. All faults are raised together.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from pydantic import ValidationError

from planner.errors import Fault, ScenarioError, did_you_mean, shown
from planner.scenario.faults import place_fault, schema_faults
from planner.scenario.merge import PathError, merge, overlay, parse_path
from planner.scenario.nodes import Location, Node, Place
from planner.scenario.schema import Scenario
from planner.scenario.source import parse_option, read_document

SECTIONS = ("extends", "overrides", "scenarios")
"""Top-level keys that say how to build the scenario and are not part of it."""
MAXIMUM_FILES = 64
_NAMED_LISTS: tuple[Location, ...] = (
    ("workload", "classes"), ("pools",), ("prices", "nodes"), ("prices", "plans"),
    ("uncertainty", "inputs"),
    ("forecast", "demand"), ("forecast", "shifts"), ("forecast", "upgrades"), ("forecast", "chips"),
    ("forecast", "machine_prices"), ("forecast", "plan_prices"), ("forecast", "learning"),
)  # fmt: skip


@dataclass(frozen=True)
class LoadedScenario:
    """A valid scenario and where each of its values was written."""

    scenario: Scenario
    path: str
    """The file, as it was named."""
    root: Node
    """The merged tree."""
    applied: tuple[str, ...] = ()
    """Overrides and options laid over the file, in order."""
    scenario_names: tuple[str, ...] = ()
    """Named scenarios that the file offers."""

    @property
    def data(self) -> dict[str, object]:
        """The merged document as plain data, quantities still as text."""
        data = self.root.plain()
        assert isinstance(data, dict)
        return data

    def locate(self, location: Location) -> Place:
        """Return where the value at `location` was written; of a default, what encloses it."""
        node, taken = self.root.follow(location)
        return node.place if taken == len(location) else node.head

    def fault(self, location: Location, message: str) -> Fault:
        """Return a fault on the value at `location`."""
        return place_fault(self.root, location, message)

    def file_path(self, location: Location) -> Path:
        """Return the path at `location`, taken relative to the file that states it.

        A path given by `--set` is relative to the working directory.
        """
        node, taken = self.root.follow(location)
        if taken != len(location) or not isinstance(node.value, str):
            raise KeyError(location)
        return Path(node.place.file).parent / node.value if node.place.line else Path(node.value)


@dataclass(frozen=True)
class Draft:
    """A scenario that may have faults; `scenario` is None if the schema found any."""

    path: str
    root: Node
    scenario: Scenario | None
    faults: list[Fault]
    applied: tuple[str, ...]
    scenario_names: tuple[str, ...]


def load_scenario(
    path: str | os.PathLike[str],
    *,
    overrides: Sequence[str] = (),
    sets: Sequence[str] = (),
    scenario: str | None = None,
) -> LoadedScenario:
    """Load a scenario file and everything it stands on.

    Args:
        path: the YAML file.
        overrides: names from its `overrides`, laid on in this order after those of `scenario`.
        sets: assignments such as `"pools.chat.nodes=3"`; the value is YAML 1.2.
        scenario: a name from its `scenarios`.

    Raises:
        ScenarioError: every fault found, each with its place.
    """
    draft = draft_scenario(path, overrides=overrides, sets=sets, scenario=scenario)
    if draft.scenario is None or draft.faults:
        raise ScenarioError(draft.faults)
    return LoadedScenario(
        draft.scenario, draft.path, draft.root, draft.applied, draft.scenario_names
    )


def draft_scenario(
    path: str | os.PathLike[str],
    *,
    overrides: Sequence[str] = (),
    sets: Sequence[str] = (),
    scenario: str | None = None,
) -> Draft:
    """Load as `load_scenario` does, but return faults beside what could be read.

    Raises:
        ScenarioError: a file cannot be read at all or is not YAML.
    """
    name = os.fspath(path)
    layer = _Reader().read(name, Place(name), ())
    chosen = [*_names_of_scenario(layer, scenario, name), *overrides]
    root = _with_overrides(layer, chosen, name)
    faults = [*layer.faults, *_unknown_variants(root, layer)]
    return _draft(name, root, sets, faults, chosen, tuple(layer.scenarios))


def redraft(loaded: LoadedScenario, sets: Sequence[str]) -> Draft:
    """Return a loaded scenario with `path=value` options laid over it; no file is read."""
    return _draft(loaded.path, loaded.root, sets, [], loaded.applied, loaded.scenario_names)


def _draft(
    path: str,
    root: Node,
    sets: Sequence[str],
    faults: Sequence[Fault],
    applied: Sequence[str],
    scenario_names: tuple[str, ...],
) -> Draft:
    root, mistaken = with_sets(root, sets)
    found = [*faults, *mistaken, *_repeated_names(root)]
    result = None
    try:
        result = Scenario.model_validate(root.plain())
    except ValidationError as error:
        found += schema_faults(error, root)
    laid = (*applied, *(f"--set {text}" for text in sets))
    return Draft(path, root, result, found, laid, scenario_names)


# --- files ---------------------------------------------------------------------------------------


@dataclass
class _Layer:
    """A file with what it extends, and the sections that say how to change it."""

    root: Node
    overrides: dict[str, Node] = field(default_factory=dict)
    scenarios: dict[str, tuple[Node, list[str]]] = field(default_factory=dict)
    faults: list[Fault] = field(default_factory=list)


class _Reader:
    """Reads a file and, below it, the files it extends."""

    def __init__(self) -> None:
        self._files = 0

    def read(self, path: str, asked_at: Place, chain: tuple[str, ...]) -> _Layer:
        """Return the merged layer of `path`; `chain` holds the files that led here."""
        self._files += 1
        if self._files > MAXIMUM_FILES:
            message = f"more than {MAXIMUM_FILES} files are extended in all; use fewer"
            raise ScenarioError([asked_at.fault(message, "extends")])
        document = read_document(path)
        root = document.root
        if not isinstance(root.value, dict):
            found = "is empty" if root.value is None else f"holds {shown(root.plain())}"
            message = f"{found}; a scenario is a mapping that starts with schema: planner/v1"
            raise ScenarioError([*document.faults, root.place.fault(message)])
        own = _Layer(
            replace(root, value={k: v for k, v in root.value.items() if k not in SECTIONS}),
            faults=list(document.faults),
        )
        _read_overrides(root.value.get("overrides"), own)
        layer = self._bases(root.value.get("extends"), path, chain, own)
        _read_scenarios(root.value.get("scenarios"), layer)
        return layer

    def _bases(
        self, extends: Node | None, path: str, chain: tuple[str, ...], own: _Layer
    ) -> _Layer:
        """Return `own` laid over the files that it extends."""
        if extends is None or extends.value is None:
            return own
        merged: _Layer | None = None
        items = extends.value if isinstance(extends.value, list) else [extends]
        for item in items:
            base = self._base(item, path, (*chain, os.path.realpath(path)), own.faults)
            if base is not None:
                merged = base if merged is None else _lay(merged, base)
        return own if merged is None else _lay(merged, own)

    def _base(
        self, item: Node, path: str, chain: tuple[str, ...], faults: list[Fault]
    ) -> _Layer | None:
        if not isinstance(item.value, str) or not item.value:
            message = f"must be the path of a scenario file; found {shown(item.plain())}"
            faults.append(item.place.fault(message, "extends"))
            return None
        target = os.path.normpath(Path(path).parent / item.value)
        if os.path.realpath(target) in chain:
            message = f"{target} extends itself, by way of {len(chain)} file(s); break the circle"
            faults.append(item.place.fault(message, "extends"))
            return None
        try:
            return self.read(target, item.place, chain)
        except ScenarioError as error:
            for fault in error.faults:  # a file that cannot be opened is the fault of its mention
                unplaced = fault.line == 0
                message = f"{fault.file} {fault.message}"
                faults.append(item.place.fault(message, "extends") if unplaced else fault)
            return None


def _lay(base: _Layer, over: _Layer) -> _Layer:
    faults = [*base.faults, *over.faults]
    root = _merged(base.root, over.root, faults)
    return _Layer(root, base.overrides | over.overrides, base.scenarios | over.scenarios, faults)


def _merged(base: Node, over: Node, faults: list[Fault]) -> Node:
    """Return `over` over `base`, or `base` and a new fault."""
    try:
        return merge(base, over)
    except ScenarioError as error:
        faults.extend(error.faults)
        return base


# --- overrides, scenarios, options ---------------------------------------------------------------


def _read_overrides(section: Node | None, layer: _Layer) -> None:
    """Turn `overrides: {name: {dotted.path: value}}` into trees."""
    if section is None or section.value is None:
        return
    if not isinstance(section.value, dict):
        message = "must map names to changes, as in `more-nodes: {pools.chat.nodes: 8}`"
        layer.faults.append(section.head.fault(message, "overrides"))
        return
    for name, changes in section.value.items():
        where = f"overrides.{name}"
        if not isinstance(changes.value, dict):
            message = "must map paths to values, as in `pools.chat.nodes: 8`"
            layer.faults.append(changes.head.fault(message, where))
            continue
        tree = replace(changes, value={})
        for path, value in changes.value.items():
            try:
                tree = merge(tree, overlay(_settable(path), value))
            except PathError as error:
                layer.faults.append(value.head.fault(str(error), where))
        layer.overrides[name] = tree


def _read_scenarios(section: Node | None, layer: _Layer) -> None:
    """Read `scenarios: {name: [override, …]}` and check that the overrides exist."""
    if section is None or section.value is None:
        return
    if not isinstance(section.value, dict):
        message = "must map names to lists of overrides, as in `peak: [more-nodes]`"
        layer.faults.append(section.head.fault(message, "scenarios"))
        return
    for name, node in section.value.items():
        names: list[str] = []
        for item in node.value if isinstance(node.value, list) else [node]:
            if isinstance(item.value, str) and item.value in layer.overrides:
                names.append(item.value)
            else:
                message = f"no override is called {shown(item.plain())}"
                advice = did_you_mean(str(item.plain()), layer.overrides)
                text = f"{message}; {advice or 'define it under overrides'}"
                layer.faults.append(item.place.fault(text, f"scenarios.{name}"))
        layer.scenarios[name] = (node, names)


def _names_of_scenario(layer: _Layer, scenario: str | None, path: str) -> list[str]:
    if scenario is None:
        return []
    if scenario in layer.scenarios:
        return layer.scenarios[scenario][1]
    none = "the file has no scenarios; write it under scenarios, or leave --scenario out"
    advice = did_you_mean(scenario, layer.scenarios) or none
    message = f"no scenario is called {shown(scenario)}; {advice}"
    layer.faults.append(Place(path).fault(message, "scenarios"))
    return []


def _with_overrides(layer: _Layer, names: Sequence[str], path: str) -> Node:
    root = layer.root
    for name in names:
        if name in layer.overrides:
            root = _merged(root, layer.overrides[name], layer.faults)
        else:
            none = "the file has no overrides; write it under overrides, or leave --override out"
            advice = did_you_mean(name, layer.overrides) or none
            message = f"no override is called {shown(name)}; {advice}"
            layer.faults.append(Place(path).fault(message, "overrides"))
    return root


def with_sets(root: Node, sets: Sequence[str]) -> tuple[Node, list[Fault]]:
    """Return `root` with `path=value` options laid over it, and a fault for each that is none."""
    faults: list[Fault] = []
    for text in sets:
        root = _with_set(root, text, faults)
    return root, faults


def _with_set(root: Node, text: str, faults: list[Fault]) -> Node:
    """Return `root` with one `--set path=value` laid over it, or `root` and new faults."""
    option = f"--set {text}"
    path, equals, value = text.partition("=")
    if not equals:
        message = "is not an assignment; write path=value, as in pools.chat.nodes=3"
        faults.append(Place(option).fault(message))
        return root
    try:
        return merge(root, overlay(_settable(path.strip()), parse_option(value, option)))
    except PathError as error:
        faults.append(Place(option).fault(str(error)))
    except ScenarioError as error:
        faults.extend(error.faults)
    return root


def _settable(path: str) -> Location:
    steps = parse_path(path)
    if steps[0] in SECTIONS:
        raise PathError(f"{steps[0]} cannot be changed by a layer; edit the file")
    return steps


def _unknown_variants(root: Node, layer: _Layer) -> Iterator[Fault]:
    """Yield a fault for every override or scenario that `regress` names and the file has not."""
    for section, names in (("overrides", layer.overrides), ("scenarios", layer.scenarios)):
        node, taken = root.follow(("regress", section))
        items = node.value if taken == 2 and isinstance(node.value, list) else []
        for index, item in enumerate(items):
            if isinstance(item.value, str) and item.value not in names:
                advice = did_you_mean(item.value, names) or f"the file has no {section}"
                message = f"no {section.removesuffix('s')} is called {shown(item.value)}; {advice}"
                yield place_fault(root, ("regress", section, index), message)


def _repeated_names(root: Node) -> list[Fault]:
    """Return a fault for every item of a named list whose name is taken."""
    faults = []
    for location in _NAMED_LISTS:
        node, taken = root.follow(location)
        if taken != len(location) or not isinstance(node.value, list):
            continue
        first: dict[object, int] = {}
        for index, item in enumerate(node.value):
            named, steps = item.follow(["name"])
            if not steps or not isinstance(named.value, str):
                continue
            where = (*location, index, "name")
            if named.value in first:
                message = f"{shown(named.value)} is the name of item [{first[named.value]}] already"
                faults.append(place_fault(root, where, f"{message}; names must differ"))
            first.setdefault(named.value, index)
    return faults
