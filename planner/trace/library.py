"""Shipped shapes of the day and week, and shipped length distributions, each with its origin."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from typing import Any

import yaml

from planner.errors import TraceError, did_you_mean
from planner.trace.lengths import LengthDistribution

_SHAPES = "shapes.yaml"
_LENGTHS = "lengths.yaml"


@dataclass(frozen=True)
class Shape:
    """How the rate of arrivals varies over a day or a week.

    Args:
        name: as used in scenarios.
        title: what it describes.
        hourly: 24 multipliers from midnight, or 168 from Monday 00:00, of mean 1.
        time_zone: zone whose midnight the first hour is.
        origin, url, licence: where it was derived from.
        note: what to mind.
    """

    name: str
    title: str
    hourly: tuple[float, ...]
    time_zone: str
    origin: str
    url: str
    licence: str
    note: str

    @property
    def peak_to_mean(self) -> float:
        """Busiest hour over the mean."""
        return max(self.hourly) * len(self.hourly) / sum(self.hourly)


@dataclass(frozen=True)
class LengthPreset:
    """A length distribution derived from real traffic.

    Args:
        name: as used in scenarios.
        title: what it describes.
        requests: how many requests it was derived from.
        mean: mean of the source, in tokens (or turns), to check the distribution against.
        distribution: the quantiles, ready to draw from.
        origin, url, licence: where it was derived from.
        note: what to mind.
    """

    name: str
    title: str
    requests: int
    mean: float
    distribution: LengthDistribution
    origin: str
    url: str
    licence: str
    note: str


def shape_names() -> tuple[str, ...]:
    """Return the names of the shipped shapes."""
    return tuple(_load(_SHAPES)["shapes"])


def load_shape(name: str) -> Shape:
    """Return a shipped shape.

    Raises:
        TraceError: there is none of that name; names the nearest.
    """
    data = _load(_SHAPES, "shapes", name)
    entry = _entry(data["shapes"], name, "shape")
    source = data["sources"][entry.pop("source")]
    return Shape(name, hourly=tuple(entry.pop("hourly")), **{"note": "", **source, **entry})


def length_preset_names() -> tuple[str, ...]:
    """Return the names of the shipped length distributions."""
    return tuple(_load(_LENGTHS)["presets"])


def length_pairs() -> tuple[str, ...]:
    """Return the names that stand for a shipped pair of prompt and answer lengths.

    >>> "azure-2023-conversation" in length_pairs()
    True
    """
    names = length_preset_names()
    inputs = [name.removesuffix("-input") for name in names if name.endswith("-input")]
    return tuple(name for name in inputs if f"{name}-output" in names)


def load_length_preset(name: str) -> LengthPreset:
    """Return a shipped length distribution.

    Raises:
        TraceError: there is none of that name; names the nearest.
    """
    data = _load(_LENGTHS, "presets", name)
    entry = _entry(data["presets"], name, "length preset")
    source = data["sources"][entry.pop("source")]
    probabilities = entry.pop("probabilities", data["probabilities"])
    quantiles = tuple(float(tokens) for tokens in entry.pop("tokens"))
    distribution = LengthDistribution(tuple(float(p) for p in probabilities), quantiles)
    return LengthPreset(name, distribution=distribution, **{"note": "", **source, **entry})


def _entry(entries: Mapping[str, Any], name: str, kind: str) -> dict[str, Any]:
    if name not in entries:
        raise TraceError(f"unknown {kind} {name!r}; {did_you_mean(name, entries, list_up_to=40)}")
    return dict(entries[name])


def _load(file_name: str, section: str = "", name: str = "") -> dict[str, Any]:
    """Return a data file; of a section, only the entry `name` if it is there.

    A simulation asks for a dozen entries, and parsing all of them a dozen times would take as long
    as a short simulation itself.
    """
    text = resources.files("planner.trace").joinpath("data", file_name).read_text("utf-8")
    head, found, body = text.partition(f"\n{section}:\n")
    if found and (entry := re.search(rf"^  {re.escape(name)}:\n(    .*\n)+", body, re.MULTILINE)):
        text = head + found + entry.group()
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    data: dict[str, Any] = yaml.load(text, loader)
    return data
