"""How far a replay is from its measurement, and what that is over many points.

Errors are relative to what was measured, predicted / measured - 1: positive means too slow for a
latency, and too fast for a throughput. Medians are over points, so a few odd rows do not decide.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from planner.errors import PlannerError, did_you_mean, shown
from planner.measurements import METRICS, Point, protocol_name

THROUGHPUT: Final = "throughput"
"""Output tokens per second where measured, else all tokens per second, else what follows from the
latencies of a closed loop by Little's law, on both sides by the same formula."""
SCORED: Final = (*METRICS, THROUGHPUT)
HEADLINE: Final = ("ttft_mean_s", "tpot_mean_s", THROUGHPUT)
ASIDE: Final = (
    "multi-token prediction suspected",
    "numbers of workers unknown",
    "speculative decoding",
    "engine not modelled",
)
"""Flags of points that are scored on lines of their own: the replay leaves out what they name."""
BASES: Final = ("output tokens measured", "all tokens measured", "implied by the latencies")


class ValidationError(PlannerError):
    """A request for a validation that cannot be met."""


@dataclass(frozen=True, slots=True)
class Pair:
    """A measured value and its prediction, in s or per s."""

    measured: float
    predicted: float

    @property
    def error(self) -> float:
        """Return the signed relative error."""
        return self.predicted / self.measured - 1.0


@dataclass(frozen=True)
class Score:
    """One point beside its replay."""

    point: Point
    pairs: Mapping[str, Pair]
    """By names of SCORED."""
    basis: str = ""
    """Which of BASES the throughput is."""
    complete: bool = True
    """Whether the replay served every request."""
    host: str = ""
    """Where the overhead of the engine came from."""

    @property
    def aside(self) -> str:
        """The reason for which the point is no part of the headline; empty: it is."""
        return aside_of(self.point)

    def error(self, metric: str) -> float:
        """Return the signed relative error of a metric; NaN if it was not measured."""
        pair = self.pairs.get(metric)
        return math.nan if pair is None else pair.error


@dataclass(frozen=True)
class Statistics:
    """Relative errors of one metric over some points."""

    points: int
    bias: float
    """Median of the signed errors."""
    median: float
    """Of the absolute errors, like the next two."""
    mean: float
    p90: float


def score(
    point: Point, predicted: Mapping[str, float], *, complete: bool = True, host: str = ""
) -> Score:
    """Return a point beside what was predicted for it.

    Args:
        point: as it was measured.
        predicted: by names of METRICS.
        complete: whether every request was served.
        host: where the overhead of the engine came from.
    """
    pairs = {
        name: Pair(point.metrics[name], predicted[name])
        for name in METRICS
        if name in point.metrics and predicted.get(name, 0.0) > 0
    }
    throughput, basis = _throughput(point, pairs, predicted)
    if throughput is not None:
        pairs[THROUGHPUT] = throughput
    return Score(point, pairs, basis, complete, host)


def _throughput(
    point: Point, pairs: Mapping[str, Pair], predicted: Mapping[str, float]
) -> tuple[Pair | None, str]:
    for name, basis in (("output_tps", BASES[0]), ("total_tps", BASES[1])):
        if name in pairs:
            return pairs[name], basis
    measured = point.implied_output_tps
    if measured is None or "ttft_mean_s" not in predicted:
        return None, ""
    from dataclasses import replace

    implied = replace(point, metrics=dict(predicted)).implied_output_tps
    return (None, "") if implied is None else (Pair(measured, implied), BASES[2])


def aside_of(point: Point) -> str:
    """Return the flag for which a point is kept out of the headline; empty: none."""
    return next((flag for flag in ASIDE if flag in point.flags), "")


def statistics(errors: Iterable[float]) -> Statistics | None:
    """Return the statistics of relative errors without NaN; None if nothing is left.

    >>> statistics([0.1, -0.3, float("nan")])
    Statistics(points=2, bias=-0.1, median=0.2, mean=0.2, p90=0.28)
    """
    values = np.array([error for error in errors if not math.isnan(error)])
    if not len(values):
        return None
    sizes = np.abs(values)
    numbers = (np.median(values), np.median(sizes), sizes.mean(), np.quantile(sizes, 0.9))
    return Statistics(len(values), *(round(float(number), 9) for number in numbers))


def errors_of(scores: Iterable[Score], metric: str) -> Statistics | None:
    """Return the statistics of one metric; None if no point measured it."""
    return statistics(score.error(metric) for score in scores)


# --- groups ---------------------------------------------------------------------------------------


def _precision(point: Point) -> str:
    kv = "" if point.kv_dtype in (point.weight_dtype, "bf16") else f" kv {point.kv_dtype}"
    return f"{point.weight_dtype}{kv}"


def _engine(point: Point) -> str:
    return point.engine if point.engine != "other" else point.engine_version or "other"


def _layout(point: Point) -> str:
    layout = point.parallelism
    parts = (("tp", layout.tensor), ("pp", layout.pipeline), ("dp", layout.data))
    return " ".join(f"{name}{size}" for name, size in parts if size > 1) or "1 device"


KEYS: Final[Mapping[str, Callable[[Point], str]]] = {
    "set": lambda point: point.source,
    "model": lambda point: point.model,
    "chip": lambda point: point.chip,
    "engine": _engine,
    "precision": _precision,
    "version": lambda point: point.engine_version,
    "protocol": lambda point: protocol_name(point.protocol).replace("_", " "),
    "layout": _layout,
    "date": lambda point: point.date[:7],
}
"""What scores can be grouped by."""
DEFAULT_BY: Final = ("model", "chip", "engine", "precision")


def parse_by(text: str) -> tuple[str, ...]:
    """Return the names of a list such as "model,chip".

    Raises:
        ValidationError: a name is unknown, or there is none.

    >>> parse_by("chip, engine")
    ('chip', 'engine')
    """
    names = tuple(dict.fromkeys(name.strip() for name in text.split(",") if name.strip()))
    faults = [
        f"--by: unknown key {shown(name)}; {did_you_mean(name, KEYS)}"
        for name in names
        if name not in KEYS
    ]
    if not names:
        faults = [f"--by: names nothing to group by; choose of {', '.join(KEYS)}"]
    if faults:
        raise ValidationError("\n".join(faults))
    return names


def grouped(scores: Iterable[Score], by: Sequence[str]) -> dict[tuple[str, ...], list[Score]]:
    """Return the scores by the values of the keys `by`, sorted."""
    found: dict[tuple[str, ...], list[Score]] = {}
    for each in scores:
        found.setdefault(tuple(KEYS[name](each.point) for name in by), []).append(each)
    return dict(sorted(found.items()))


def headline(scores: Iterable[Score]) -> list[Score]:
    """Return the scores that no flag sets aside."""
    return [score for score in scores if not score.aside]
