"""Reads a catalogue file: strict YAML, and entries of which every field is accounted for.

A figure is written as its bare value where the source of the entry applies (`80 GB`), or as a
mapping that overrides what differs: `{value: 80 GB, source: key, date: 2026-08, tier: estimated,
note: why}`. Sources are keys of `sources.yaml`. A fault is a CatalogError with file and line.
"""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any, Final, TypeVar

import yaml

from planner.catalog.figures import TIERS, Figure, Source, Tier
from planner.errors import CatalogError, did_you_mean, shown
from planner.units import parse_quantity

_SafeLoader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_Value = TypeVar("_Value")
_Word = TypeVar("_Word", bound=str)

_BASE_UNITS: Final = {
    "bytes": "B", "bandwidth": "B/s", "flops": "FLOP/s", "power": "W", "money": "USD",
    "money_per_hour": "USD/h", "money_per_mtok": "USD/Mtok", "carbon_intensity": "g/kWh",
    "mass": "kg",
}  # fmt: skip
_KINDS: Final[dict[type, str]] = {
    int: "a whole number", str: "a text", bool: "true or false", list: "a list", dict: "a mapping",
    object: "a value",
}  # fmt: skip
_SCALARS: Final = (
    ("bool", re.compile(r"(true|false)\Z")),
    ("int", re.compile(r"[-+]?(0|[1-9][0-9_]*)\Z")),
    ("float", re.compile(r"[-+]?(0|[1-9][0-9]*)(\.[0-9]*)?([eE][-+]?[0-9]+)?\Z")),
    ("null", re.compile(r"(null|~|)\Z")),
)
"""What a plain scalar may be besides a text: the first that matches."""
_DATE: Final = re.compile(r"\d{4}(-(0[1-9]|1[0-2])(-(0[1-9]|[12]\d|3[01]))?)?\Z")


class _Loader(_SafeLoader):  # type: ignore[misc]
    """Safe YAML in which dates stay text, only true and false are booleans, and keys are unique."""

    def resolve(self, kind: type[yaml.Node], value: str, implicit: tuple[bool, bool]) -> str:
        if kind is not yaml.ScalarNode:
            return str(super().resolve(kind, value, implicit))
        plain = implicit[0]
        found = (tag for tag, pattern in _SCALARS if pattern.match(value)) if plain else iter(())
        return "tag:yaml.org,2002:" + next(found, "str")

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[str] = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode) and key.value in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"{key.value!r} is given twice", key.start_mark
                )
            seen.add(str(key.value))
        mapping: dict[Any, Any] = super().construct_mapping(node, deep)
        return mapping


def read_mapping(path: Path) -> dict[str, Any]:
    """Return the entries of a catalogue file by name.

    Raises:
        CatalogError: the file is missing, is not YAML, or is not a mapping.
    """
    try:
        data = yaml.load(path.read_text(encoding="utf-8"), Loader=_Loader)
    except (OSError, UnicodeDecodeError) as error:
        raise CatalogError(f"{path}: cannot be read: {error}") from error
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = f"{path}:{mark.line + 1}:{mark.column + 1}" if mark else str(path)
        raise CatalogError(f"{place}: {error.problem or 'not YAML'}") from error
    except yaml.YAMLError as error:
        raise CatalogError(f"{path}: not YAML: {error}") from error
    if not isinstance(data, dict):
        raise CatalogError(f"{path}: must be a mapping of names to entries, found {shown(data)}")
    return {str(name): entry for name, entry in data.items()}


def place_of(path: Path, keys: tuple[object, ...]) -> str:
    """Return `file:line` of the value under `keys`; reads the file again, so for faults only."""
    line = 0
    node = yaml.compose(path.read_text(encoding="utf-8"), Loader=yaml.SafeLoader)
    for wanted in keys:
        children: list[tuple[object, yaml.Node, yaml.Node]] = []
        if isinstance(node, yaml.MappingNode):
            children = [(key.value, key, value) for key, value in node.value]
        elif isinstance(node, yaml.SequenceNode):
            children = [(index, value, value) for index, value in enumerate(node.value)]
        found = next((child for child in children if str(child[0]) == str(wanted)), None)
        if found is None:
            break
        line, node = found[1].start_mark.line + 1, found[2]
    return f"{path}:{line}" if line else str(path)


class Fields:
    """The fields of one mapping in a file, each taken once; what is left over is an error."""

    def __init__(
        self,
        path: Path,
        keys: tuple[object, ...],
        data: object,
        sources: Mapping[str, Source],
        default_source: str | None = None,
    ) -> None:
        self._path, self._keys, self._sources = path, keys, sources
        if not isinstance(data, dict):
            raise self.fault(None, f"must be a mapping of fields, found {shown(data)}")
        self._left: dict[str, Any] = {str(key): value for key, value in data.items()}
        self._known: list[str] = []
        named = self.optional("source", str)
        if named is not None and named not in sources:
            advice = did_you_mean(named, sources, list_up_to=0) or "add it to sources.yaml"
            raise self.fault("source", f"unknown source {shown(named)}; {advice}")
        self._source_name = named or default_source

    def fault(self, key: object, message: str) -> CatalogError:
        """Return the error that `message` is about the field `key` (None: the mapping itself)."""
        keys = self._keys if key is None else (*self._keys, key)
        where = ".".join(str(part) for part in keys)
        return CatalogError(f"{place_of(self._path, keys)}: {where}: {message}")

    def source(self) -> Source:
        """Return the source of this mapping, its own or that of the mapping around it."""
        if self._source_name is None:
            raise self.fault(None, "no source; name one here or for the whole entry")
        return self._sources[self._source_name]

    def optional(self, key: str, kind: type[_Value]) -> _Value | None:
        """Take the field if it is there; it must be of `kind`."""
        self._known.append(key)
        if key not in self._left:
            return None
        value = self._left.pop(key)
        if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
            raise self.fault(key, f"must be {_KINDS[kind]}, found {shown(value)}")
        return value

    def required(self, key: str, kind: type[_Value]) -> _Value:
        """Take the field, which must be there and of `kind`."""
        value = self.optional(key, kind)
        if value is None:
            raise self._missing(f"field {key}", key)
        return value

    def count(self, key: str, default: int | None = None, minimum: int = 1) -> int:
        """Take a whole number of at least `minimum`; it is required where there is no default."""
        value = self.optional(key, int) if key in self._left or default is not None else None
        if value is None:
            return self.required(key, int) if default is None else default
        if value < minimum:
            raise self.fault(key, f"must be at least {minimum}, found {value}")
        return value

    def word(self, key: str, choices: Collection[_Word], default: _Word | None = None) -> _Word:
        """Take one of `choices`; it is required where there is no default."""
        value = self.required(key, str) if default is None else self.optional(key, str)
        if value is None and default is not None:
            return default
        for choice in choices:
            if choice == value:
                return choice
        raise self.fault(key, f"must be one of {', '.join(choices)}; found {shown(value)}")

    def texts(self, key: str) -> tuple[str, ...]:
        """Take a text, or a list of texts; empty where absent."""
        if isinstance(self._left.get(key), str):
            return (self.required(key, str),)
        return tuple(str(text) for text in self.optional(key, list) or ())

    def date(self, default: str | None = None) -> str:
        """Take the field `date`: YYYY, YYYY-MM or YYYY-MM-DD."""
        written = self.optional("date", object)
        date = default if written is None else str(written)
        if date is None or not _DATE.match(date):
            raise self.fault(None, f"date {shown(date)} is not YYYY, YYYY-MM or YYYY-MM-DD")
        return date

    def day(self, key: str) -> str:
        """Take a day, month or year if it is there; empty where absent."""
        written = self.optional(key, object)
        if written is not None and not _DATE.match(str(written)):
            raise self.fault(key, f"{shown(written)} is not YYYY, YYYY-MM or YYYY-MM-DD")
        return "" if written is None else str(written)

    def optional_part(self, key: str) -> Fields | None:
        """Take the mapping under `key` if it is there."""
        data = self.optional(key, dict)
        return None if data is None else self._nested(key, data)

    def part(self, key: str) -> Fields:
        """Take the mapping under `key`."""
        return self._nested(key, self.required(key, dict))

    def parts(self, key: str) -> list[Fields]:
        """Take the list of mappings under `key`."""
        inside = Fields(self._path, (*self._keys, key), {}, self._sources, self._source_name)
        return [inside._nested(i, data) for i, data in enumerate(self.required(key, list))]

    def figure(self, key: str, dimension: str | None, unit: str = "") -> Figure:
        """Take a figure of `dimension`, or a plain number counted in `unit`; it must be there."""
        figure = self.optional_figure(key, dimension, unit)
        if figure is None:
            raise self._missing(f"figure {key}", key)
        return figure

    def optional_figure(self, key: str, dimension: str | None, unit: str = "") -> Figure | None:
        """Take a figure if it is there."""
        written = self.optional(key, object)
        if written is None:
            return None
        own = self._nested(key, written if isinstance(written, dict) else {"value": written})
        value = own.required("value", object)
        source = own.source()
        figure = Figure(
            value=own._number(value, dimension),
            unit=unit if dimension is None else _BASE_UNITS[dimension],
            shown=_with_unit(value, unit) if dimension is None else str(value),
            source=source.citation,
            date=own.date(default=source.date),
            tier=own.word("tier", TIERS, default=source.tier),
            note=own.optional("note", str) or "",
        )
        own.done()
        return figure

    def figures(self, key: str, dimension: str, names: Collection[str]) -> dict[str, Figure]:
        """Take a mapping of some of `names` to figures, in the order of the file."""
        part = self.part(key)
        found = [name for name in part._left if name in names]
        figures = {name: part.figure(name, dimension) for name in found}
        part._known = list(names)
        part.done()
        return figures

    def done(self) -> None:
        """Raise CatalogError if a field is left that nobody asked for."""
        for key in self._left:
            advice = did_you_mean(key, self._known, list_up_to=20)
            raise self.fault(key, f"unknown field; {advice}")

    def _missing(self, what: str, key: str) -> CatalogError:
        similar = difflib.get_close_matches(key, self._left, n=1, cutoff=0.8)
        hint = f"; is {similar[0]} a misspelling of it?" if similar else ""
        return self.fault(None, f"{what} is missing{hint}")

    def _nested(self, key: object, data: object) -> Fields:
        return Fields(self._path, (*self._keys, key), data, self._sources, self._source_name)

    def _number(self, value: object, dimension: str | None) -> float:
        if dimension is not None:
            try:
                number = parse_quantity(value, dimension)
            except ValueError as error:
                raise self.fault(None, str(error)) from error
        elif isinstance(value, (int, float)) and math.isfinite(value):
            number = float(value)
        else:
            raise self.fault(None, f"must be a number, found {shown(value)}")
        if number < 0:
            raise self.fault(None, f"must not be negative, found {shown(value)}")
        return number


def read_entries(
    path: Path, sources: Mapping[str, Source], read: Callable[[str, Fields], _Value]
) -> dict[str, _Value]:
    """Return every entry of a file, read by `read(name, fields)`, by name in file order."""
    entries: dict[str, _Value] = {}
    for name, data in read_mapping(path).items():
        fields = Fields(path, (name,), data, sources)
        entries[name] = read(name, fields)
        fields.done()
    return entries


def read_section(
    path: Path,
    section: str,
    content: Mapping[str, Any],
    sources: Mapping[str, Source],
    read: Callable[[str, Fields], _Value],
) -> dict[str, _Value]:
    """Return the entries under a key of a file already read, by name in file order."""
    entries: dict[str, _Value] = {}
    found = content.get(section)
    if found is None:
        return entries
    if not isinstance(found, dict):
        message = f"must be a mapping of names to entries, found {shown(found)}"
        raise CatalogError(f"{place_of(path, (section,))}: {section}: {message}")
    for name, data in found.items():
        fields = Fields(path, (section, name), data, sources)
        entries[str(name)] = read(str(name), fields)
        fields.done()
    return entries


def read_source(_name: str, fields: Fields) -> Source:
    """Return one source of `sources.yaml`, or of a file with prices."""
    tier: Tier = fields.word("tier", TIERS)
    return Source(fields.required("citation", str), fields.date(), tier)


def read_sources(path: Path) -> dict[str, Source]:
    """Return the sources of `sources.yaml` by name."""
    return read_entries(path, {}, read_source)


def _with_unit(value: object, unit: str) -> str:
    """Return a plain count as people read it: `8.03 billion parameters`."""
    if isinstance(value, (int, float)) and value >= 1e9:
        return f"{value / 1e9:.10g} billion {unit}"
    return f"{value} {unit}"
