"""The measurements that ship with the project, and the rule by which they were chosen.

`published.csv` makes `planner validate` work without any other data. Its rows come from public sets
whose licence permits it; each has its citation. The rule looks at loads and names, never at how
well anything predicts a row, and a test applies it again to the original sets.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from planner.files import write_whole
from planner.measurements.point import Point
from planner.measurements.protocol import ClosedLoop, Flood, Poisson, StaticBatch
from planner.measurements.reading import Measurements
from planner.measurements.record import read_points, write_points

TABLE: Final = Path(__file__).parent / "published.csv"
LENGTHS: Final = Path(__file__).parent / "published_lengths.csv"

LOADS_KEPT: Final = {
    "inferencex": 3,
    "nvidia-silicon": 3,
    "mlperf": 1,
    "trtllm-overview": 1,
    "llm-inference-bench": 1,
    "gpustack": 1,
}
"""Points kept of each class of equals: 3 are the lowest, the middle and the highest load."""
_ACROSS_MODELS: Final = ("trtllm-overview", "llm-inference-bench", "gpustack")
"""Sets of throughput by many models: one point of a chip and engine, whatever the model."""
_EXCLUDING: Final = (
    "multi-token prediction suspected",
    "repeats differ by over 20%",
    "repeats differ by over 5%",
    "numbers of workers unknown",
    "tile or whole card not stated",
    "speculative decoding",
    "power capped",
    "power limit raised",
    "virtual machine",
    "preview",
    "engine not modelled",
)
_ENGINES_LEFT_OUT: Final = ("Mango LLMBoost",)
"""A closed product."""


def published() -> Measurements:
    """Return the measurements that ship with the project."""
    return read_points(TABLE, LENGTHS)


def rewrite_published(points: Iterable[Point]) -> None:
    """Write the shipped table again, from the points of the original sets.

    With `points` from `read_collection(folder)`; needed when a reader learns something new.
    """
    for path, text in zip((TABLE, LENGTHS), write_points(select_published(points)), strict=True):
        write_whole(path, text)


def select_published(points: Iterable[Point]) -> tuple[Point, ...]:
    """Return the points that the rule ships, in the order of source, group and load.

    Points with a flag of doubt, replays and split layouts are left out. The others fall into
    classes of equals: source, group, format of the weights and protocol; for sets of throughput
    alone source, chip and engine. Of each class, ordered by load, the lowest, the middle and the
    highest are kept, or the middle alone, as LOADS_KEPT says.
    """
    classes: dict[tuple[str, ...], list[Point]] = defaultdict(list)
    for point in points:
        if point.source in LOADS_KEPT and _is_eligible(point):
            classes[_class(point)].append(point)
    kept: list[Point] = []
    for key in sorted(classes):
        ordered = sorted(classes[key], key=_load)
        middle, last = (len(ordered) - 1) // 2, len(ordered) - 1
        wanted = {0, middle, last} if LOADS_KEPT[key[0]] == 3 else {middle}
        kept += [ordered[index] for index in sorted(wanted)]
    return tuple(kept)


def _is_eligible(point: Point) -> bool:
    return not (
        set(point.flags) & set(_EXCLUDING)
        or point.paired
        or point.disaggregated
        or point.engine_version.startswith(_ENGINES_LEFT_OUT)
    )


def _class(point: Point) -> tuple[str, ...]:
    if point.source in _ACROSS_MODELS:
        return point.source, point.chip, point.engine
    return point.source, point.group, point.weight_dtype, type(point.protocol).__name__


def _load(point: Point) -> tuple[float, float, float, str]:
    """Return what orders the points of a class: load per system, then lengths, then the name."""
    match point.protocol:
        case ClosedLoop(concurrency):
            load = float(concurrency)
        case StaticBatch(batch):
            load = float(batch)
        case Poisson(rate_rps):
            load = rate_rps / (point.devices or 1)
        case Flood(requests):
            load = float(requests)
        case _:
            load = 0.0
    return load, point.prompt.mean_tokens, point.output.mean_tokens, point.id
