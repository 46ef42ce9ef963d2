"""Points as rows of a CSV file: the format of the shipped table, and for exchange.

A length is written `fixed 1024`, `uniform 819 1024`, or `named NAME` for quantiles in a second file
of `name, quantiles`. A protocol is its name with its numbers in columns of their own. Lists of
objectives, flags and assumptions are separated by ` | `. Replays do not fit a row and are refused.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

from planner.curves.layout import Parallelism
from planner.errors import did_you_mean, shown
from planner.measurements.lengths import Empirical, Fixed, Lengths, Uniform
from planner.measurements.point import METRICS, MeasurementError, Point, Settings
from planner.measurements.protocol import (
    ClosedLoop,
    Flood,
    Poisson,
    Protocol,
    StaticBatch,
    protocol_name,
)
from planner.measurements.reading import Measurements, Reading, Row, csv_rows

_SEPARATOR: Final = " | "
_TEXTS: Final = (
    "id", "source", "citation", "licence", "date", "model", "chip", "engine", "engine_version",
    "weight_dtype", "activation_dtype", "kv_dtype",
)  # fmt: skip
_LAYOUT: Final = ("tensor", "pipeline", "expert", "data")
_COUNTS: Final = ("replicas", "devices_per_node")
_LOAD: Final = ("protocol", "concurrency", "requests", "rate_rps", "batch", "prompt", "output")
_SETTINGS: Final = tuple(Settings.__dataclass_fields__)
_OTHER_SETTINGS: Final = ("memory_fraction", "memory_fraction_of", "prefix_cache")
"""Settings that are no counts."""
_LISTS: Final = ("flags", "assumptions")
COLUMNS: Final = (
    *_TEXTS, *_LAYOUT, *_COUNTS, *_LOAD, *_SETTINGS, *METRICS, "objectives", *_LISTS,
)  # fmt: skip
REQUIRED: Final = ("id", "source", "model", "chip", "engine", *_LOAD)
_PROTOCOLS: Final = ("closed_loop", "poisson", "flood", "static_batch")
_YES_NO: Final = {"true": True, "false": False}


def point_row(point: Point) -> dict[str, str]:
    """Return a point as texts by column.

    Raises:
        ValueError: it is a replay, disaggregated or has paired lengths.
    """
    if point.paired or point.disaggregated:
        raise ValueError(f"{point.id}: paired lengths and split layouts do not fit a row")
    row = {name: getattr(point, name) or "" for name in _TEXTS}
    row |= {name: getattr(point.parallelism, name) for name in _LAYOUT}
    row |= {name: getattr(point, name) for name in _COUNTS}
    row |= _load_row(point.protocol)
    row |= {"prompt": _length_text(point.prompt), "output": _length_text(point.output)}
    row |= {name: getattr(point.settings, name) for name in _SETTINGS}
    row |= {name: f"{value:.6g}" for name, value in point.metrics.items()}
    row["objectives"] = _SEPARATOR.join(f"{k} {v:.6g}" for k, v in point.objectives.items())
    row |= {name: _SEPARATOR.join(getattr(point, name)) for name in _LISTS}
    return {name: _text(row.get(name)) for name in COLUMNS}


def write_points(points: Iterable[Point]) -> tuple[str, str]:
    """Return a CSV of points, and one of the named lengths that they use."""
    ordered = list(points)
    table = io.StringIO()
    writer = csv.DictWriter(table, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(point_row(point) for point in ordered)
    lengths = io.StringIO()
    names = csv.writer(lengths, lineterminator="\n")
    names.writerow(("name", "quantiles"))
    sides = [part for point in ordered for part in (point.prompt, point.output)]
    named = {part.name: part for part in sides if isinstance(part, Empirical)}
    for name in sorted(named):
        names.writerow((name, " ".join(map(str, named[name].values))))
    return table.getvalue(), lengths.getvalue()


def read_points(path: Path, lengths_path: Path | None = None) -> Measurements:
    """Read a CSV of points, as `write_points` writes it.

    Args:
        path: columns as in COLUMNS; those of settings and metrics may be missing.
        lengths_path: quantiles by name, for lengths written `named NAME`.

    Raises:
        MeasurementError: faults, each with its line.
    """
    named = _read_lengths(lengths_path) if lengths_path else {}
    reading = Reading(path)
    for row in csv_rows(reading, REQUIRED):
        unknown = [name for name in row.values if name not in COLUMNS]
        if unknown:
            advice = did_you_mean(unknown[0], COLUMNS, list_up_to=0)
            raise MeasurementError(f"{path}:1: unknown column {shown(unknown[0])}; {advice}")
        _read(row, named)
    return reading.done()


def _read_lengths(path: Path) -> dict[str, Empirical]:
    reading = Reading(path)
    found: dict[str, Empirical] = {}
    for row in csv_rows(reading, ("name", "quantiles")):
        texts = row.text("quantiles").split()
        if not texts or not all(text.isdecimal() for text in texts):
            row.fault("quantiles", "write whole numbers of tokens, separated by spaces")
        else:
            found[row.text("name")] = Empirical(row.text("name"), tuple(map(int, texts)))
    reading.check()
    return found


def _read(row: Row, named: Mapping[str, Empirical]) -> None:
    reading = row.reading
    faults = len(reading.faults)
    prompt, output = (_lengths(row, side, named) for side in ("prompt", "output"))
    protocol = _protocol(row)
    tensor, pipeline, expert, data = (row.count(name) or 1 for name in _LAYOUT)
    values: dict[str, Any] = {name: row.text(name) for name in _TEXTS if row.text(name)}
    values |= {name: count for name in _COUNTS if (count := row.count(name)) is not None}
    metrics = {name: value for name in METRICS if (value := row.number(name)) is not None}
    settings, objectives = _settings(row), _objectives(row)
    if len(reading.faults) > faults or prompt is None or output is None or protocol is None:
        return
    try:
        parallelism = Parallelism(tensor, pipeline, expert, data)
    except ValueError as error:
        row.fault("expert", str(error))
        return
    defaults = dict.fromkeys(("citation", "licence", "date"), "")
    reading.add(
        row.line,
        **defaults | values,
        parallelism=parallelism,
        protocol=protocol,
        prompt=prompt,
        output=output,
        settings=settings,
        metrics=metrics,
        objectives=objectives,
        **{name: tuple(filter(None, row.text(name).split(_SEPARATOR))) for name in _LISTS},
    )


def _settings(row: Row) -> Settings:
    values: dict[str, Any] = {
        name: row.count(name) for name in _SETTINGS if name not in _OTHER_SETTINGS
    }
    of = row.text("memory_fraction_of") or "device"
    if of not in ("device", "free"):
        row.fault("memory_fraction_of", f"{shown(of)} is neither `device` nor `free`")
    cache = row.text("prefix_cache").lower()
    if cache and cache not in _YES_NO:
        row.fault("prefix_cache", f"{shown(cache)} is neither true nor false")
    fraction = row.number("memory_fraction")
    values |= {"memory_fraction": fraction, "memory_fraction_of": of}
    return Settings(**values, prefix_cache=_YES_NO.get(cache))


def _objectives(row: Row) -> dict[str, float]:
    found: dict[str, float] = {}
    for part in filter(None, row.text("objectives").split(_SEPARATOR)):
        name, _, limit = part.strip().partition(" ")
        try:
            found[name] = float(limit)
        except ValueError:
            row.fault("objectives", f"{shown(part)} is not a metric and its limit")
    return found


def _protocol(row: Row) -> Protocol | None:
    kind = row.text("protocol")
    concurrency, requests = row.count("concurrency"), row.count("requests")
    batch, rate_rps = row.count("batch"), row.number("rate_rps")
    match kind:
        case "closed_loop" if concurrency and requests:
            return ClosedLoop(concurrency, requests)
        case "poisson" if rate_rps is not None and requests:
            return Poisson(rate_rps, requests, maximum_concurrency=concurrency)
        case "flood" if requests:
            return Flood(requests)
        case "static_batch" if batch:
            return StaticBatch(batch)
        case name if name in _PROTOCOLS:
            row.fault("protocol", f"{name} without its concurrency, requests, rate_rps or batch")
        case _:
            row.fault("protocol", f"unknown {shown(kind)}; {did_you_mean(kind, _PROTOCOLS)}")
    return None


def _lengths(row: Row, side: str, named: Mapping[str, Empirical]) -> Lengths | None:
    words = row.text(side).split()
    match words:
        case ["fixed", tokens] if tokens.isdecimal():
            return Fixed(int(tokens))
        case ["uniform", low, high] if low.isdecimal() and high.isdecimal():
            return Uniform(int(low), int(high))
        case ["named", name] if name in named:
            return named[name]
        case ["named", name]:
            row.fault(side, f"no lengths called {shown(name)}; {did_you_mean(name, named)}")
        case _:
            found = shown(row.text(side))
            row.fault(side, f"{found} is not `fixed N`, `uniform LOW HIGH` or `named NAME`")
    return None


def _length_text(lengths: Lengths) -> str:
    match lengths:
        case Fixed(tokens):
            return f"fixed {tokens}"
        case Uniform(low, high):
            return f"uniform {low} {high}"
        case Empirical(name):
            return f"named {name}"


def _load_row(protocol: Protocol) -> dict[str, Any]:
    names = ("concurrency", "requests", "rate_rps", "batch")
    found = {name: getattr(protocol, name, None) for name in names}
    if isinstance(protocol, Poisson):
        found["concurrency"] = protocol.maximum_concurrency
        if protocol.requests is None or protocol.burstiness != 1.0:
            raise ValueError("a row holds Poisson streams of a number of requests only")
    return found | {"protocol": protocol_name(protocol)}


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return "" if value is None else str(value)
