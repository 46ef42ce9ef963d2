"""What a serving engine adds to the time of the kernels it runs, by engine, version and chip.

::

    kernel                  traffic / bandwidth_rate, arithmetic / compute_rate, links / link_rate,
                            arithmetic of routed experts / (compute_rate · experts_rate)
    step seen by requests   + step_s + sequence_s · decoding sequences
    time to first token     + request_s + late_steps · step
    time to the last one    + request_s

The rates say which share of the speed of separately measured kernels is attained when an engine
runs them one after the other, with cold caches and gaps between them. All figures are fitted to
end-to-end measurements by `planner calibrate`; what ships is in `data/engines.json`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from importlib.resources import files
from pathlib import Path
from typing import Any, Final

from planner.curves.provenance import Provenance
from planner.errors import CatalogError, did_you_mean

SCALARS: Final = (
    "step_s",
    "sequence_s",
    "request_s",
    "late_steps",
    "compute_rate",
    "experts_rate",
    "bandwidth_rate",
    "link_rate",
)
"""The fitted numbers of an `EngineOverhead`."""
ENGINES: Final = ("vllm", "sglang", "tensorrt-llm", "generic")
TIERS: Final = ("measured", "fitted", "estimated")
RATE_BOUNDS: Final = (0.005, 5.0)
"""Shares of a kernel's speed that an engine can attain."""


@dataclass(frozen=True)
class EngineOverhead:
    """The overhead of one engine, as fitted on one chip or on several."""

    engine: str
    chip: str = ""
    """Name in the catalogue; empty: fitted over all chips."""
    version: str = ""
    date: str = ""
    """Of the measurements."""
    step_s: float = 1e-3
    """Host code per step that the device does not hide [s]."""
    sequence_s: float = 5e-6
    """Per decoding sequence and step: input preparation, stop checks, detokenisation [s]."""
    request_s: float = 5e-3
    """Per request, outside the steps: HTTP, tokenisation, the way of the first token back [s]."""
    late_steps: float = 1.0
    """Steps by which the first token is sent later than it was computed: overlapped scheduling
    looks at the results of a step while the next one runs. The last token is not: with it late as
    well, closed loops are fitted worse."""
    compute_rate: float = 1.0
    """Share of the kernels' measured arithmetic that is attained."""
    experts_rate: float = 1.0
    """Share of the arithmetic of separately measured routed experts that is attained, besides
    `compute_rate`: engines choose among several kernels, and real routing is uneven in its own
    way."""
    bandwidth_rate: float = 1.0
    """Share of the kernels' measured memory traffic that is attained."""
    link_rate: float = 1.0
    """Share of the collectives' measured speed that is attained."""
    errors: Mapping[str, float] = field(default_factory=dict, hash=False)
    """Standard errors of the fitted numbers, by name; absent: not fitted."""
    points: int = 0
    """Measurements that it was fitted to."""
    source: str = "estimate: no measurement of this engine"
    tier: str = "estimated"

    def __post_init__(self) -> None:
        for name in SCALARS:
            value = getattr(self, name)
            low, high = RATE_BOUNDS if name.endswith("_rate") else (0.0, 10.0)
            if name == "late_steps":
                high = 1000.0
            if not low <= value <= high:
                raise ValueError(f"{name} is {value:g}; that is no overhead of a serving engine")

    def notes(self) -> tuple[Provenance, ...]:
        """Return its numbers as assumptions."""
        label = f"engine.{self.engine}" + (f".{self.chip}" if self.chip else "")
        return tuple(
            Provenance(
                f"{label}.{name}",
                getattr(self, name),
                _unit(name),
                self.source + (f", version {self.version}" if self.version else ""),
                self.date,
                self.tier if name in self.errors or self.tier == "estimated" else "estimated",
            )
            for name in SCALARS
        )

    def as_dict(self) -> dict[str, Any]:
        """Return it as plain data, for a calibration file."""
        return asdict(self)


class EngineTable:
    """Overheads by engine and chip: those of a calibration file on top of those shipped."""

    def __init__(self, overheads: Mapping[tuple[str, str], EngineOverhead]) -> None:
        self._overheads = dict(overheads)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, EngineTable) and self._overheads == other._overheads

    __hash__ = None  # type: ignore[assignment]

    def find(self, engine: str, chip: str) -> EngineOverhead:
        """Return the overhead of `engine` on `chip`.

        What was fitted there, else what was fitted over all chips; an engine that nobody measured
        is estimated to be like vLLM on this chip, or over all.

        Raises:
            CatalogError: the engine is unknown.
        """
        if engine not in ENGINES:
            raise CatalogError(f"unknown engine {engine!r}; known are {', '.join(ENGINES)}")
        for key in ((engine, chip), (engine, ""), ("vllm", chip), ("vllm", "")):
            if (found := self._overheads.get(key)) is None:
                continue
            if found.engine == engine:
                return found
            source = f"{found.source}; of vLLM, as {engine} was not measured"
            return replace(found, engine=engine, errors={}, source=source, tier="estimated")
        return EngineOverhead(engine)

    def with_file(self, path: Path) -> EngineTable:
        """Return the table with the overheads of a calibration file on top.

        What the file says of an engine without naming a chip holds on all chips.
        """
        own = read_overheads(path)
        general = {engine for engine, chip in own if not chip}
        kept = {key: each for key, each in self._overheads.items() if key[0] not in general}
        return EngineTable({**kept, **own})

    def with_overheads(self, overheads: Mapping[tuple[str, str], EngineOverhead]) -> EngineTable:
        """Return the table with other overheads, by engine and chip."""
        return EngineTable({**self._overheads, **overheads})


def shipped_engines() -> EngineTable:
    """Return the overheads that come with the package."""
    return EngineTable(read_overheads(Path(str(files("planner.curves"))) / "data" / "engines.json"))


def read_overheads(path: Path) -> dict[tuple[str, str], EngineOverhead]:
    """Read a calibration file.

    Raises:
        CatalogError: the file is missing or malformed; the message names entry, field and remedy.
    """
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CatalogError(f"{path}: cannot be read as a calibration file: {error}") from error
    entries = document.get("engines") if isinstance(document, dict) else None
    if not isinstance(entries, list):
        raise CatalogError(f'{path}: has no list "engines"; `planner calibrate` writes such files')
    overheads: dict[tuple[str, str], EngineOverhead] = {}
    for number, entry in enumerate(entries):
        overhead = _overhead(path, number, entry)
        key = (overhead.engine, overhead.chip)
        if key in overheads:
            where = f"{overhead.engine} on {overhead.chip or 'all chips'}"
            raise CatalogError(f"{path}: engines[{number}]: {where} stands there twice; keep one")
        overheads[key] = overhead
    return overheads


def _overhead(path: Path, number: int, entry: Any) -> EngineOverhead:
    at = f"{path}: engines[{number}]"
    if not isinstance(entry, dict):
        raise CatalogError(f"{at}: must be an object, not {type(entry).__name__}")
    known = {item.name: item for item in fields(EngineOverhead)}
    for name, value in entry.items():
        if name not in known:
            raise CatalogError(f"{at}.{name}: unknown field; {did_you_mean(name, known)}")
        wanted: tuple[type, ...] = (str,)
        if name in SCALARS:
            wanted = (int, float)
        elif name in ("errors", "points"):
            wanted = (dict,) if name == "errors" else (int,)
        if isinstance(value, bool) or not isinstance(value, wanted):
            raise CatalogError(f"{at}.{name}: {value!r} is not a {wanted[-1].__name__}")
    for name, choices in (("engine", ENGINES), ("tier", TIERS)):
        if (value := entry.get(name, choices[0])) not in choices:
            advice = did_you_mean(value, choices)
            raise CatalogError(f"{at}.{name}: unknown {name} {value!r}; {advice}")
    if missing := [name for name in ("engine", *SCALARS) if name not in entry]:
        raise CatalogError(
            f"{at}: has no {', '.join(missing)}; `planner calibrate` writes all of them"
        )
    try:
        return EngineOverhead(**entry)
    except (TypeError, ValueError) as error:
        raise CatalogError(f"{at}: {error}") from error


def _unit(name: str) -> str:
    if name.endswith("_rate"):
        return "1"
    return "steps" if name == "late_steps" else "s"
