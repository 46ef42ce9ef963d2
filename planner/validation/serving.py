"""Open loops: is an overload called one, and how much load is served within the objectives?"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Final

from planner.curves.engines import EngineOverhead
from planner.measurements import Point, Poisson, Replay
from planner.validation.deployment import Deployment
from planner.validation.replay import replay

OVERLOADED: Final = 0.95
"""A system that completes less than this share of the offered requests per second is overloaded:
the last requests of a run of minutes drain for less time than that."""
THROUGHPUT_LIMIT: Final = 0.05
"""Error of the throughput up to which an overload is predicted right."""
_WIDEST: Final = 64.0
"""The most that is served is looked for within this factor of the stated rate."""
_RESOLUTION: Final = 0.01
"""Of the rate that is found, relative."""


@dataclass(frozen=True)
class Regime:
    """Whether a system kept up with an open loop, as measured and as predicted."""

    point: Point
    offered_rps: float
    measured_rps: float
    predicted_rps: float
    measured_missed: bool | None
    """An objective was missed; None: there was none."""
    predicted_missed: bool | None

    @property
    def overloaded(self) -> bool:
        """Whether the measured system was."""
        return self.measured_rps < OVERLOADED * self.offered_rps

    @property
    def throughput_error(self) -> float:
        """Signed relative error of the completed requests per second."""
        return self.predicted_rps / self.measured_rps - 1.0

    @property
    def right(self) -> bool:
        """Whether the prediction tells the regime: see the target for overload.

        An overload needs its throughput within 5%, and missed objectives reported as missed. A
        system that kept up needs to be predicted to keep up.
        """
        if self.overloaded:
            missed = self.predicted_missed is not False or self.measured_missed is False
            return abs(self.throughput_error) <= THROUGHPUT_LIMIT and missed
        return self.predicted_rps >= OVERLOADED * self.offered_rps


@dataclass(frozen=True)
class Capacity:
    """The most that a system serves within its objectives, stated and predicted."""

    point: Point
    stated_rps: float
    predicted_rps: float
    """0: not even a hundredth of the stated rate; infinite: more than 64 times."""
    limit: str
    """The objective that is missed first."""
    trials: int

    @property
    def error(self) -> float:
        """Signed relative error."""
        return self.predicted_rps / self.stated_rps - 1.0


def missed(objectives: Mapping[str, float], metrics: Mapping[str, float]) -> list[str]:
    """Return the objectives that are missed, or of which nothing is known.

    >>> missed({"ttft_p99_s": 2.0, "tpot_p99_s": 0.2}, {"ttft_p99_s": 3.0, "tpot_p99_s": 0.1})
    ['ttft_p99_s']
    """
    return [name for name, most in objectives.items() if not metrics.get(name, math.inf) <= most]


def offered_rps(point: Point) -> float | None:
    """Return the requests per second that an open loop sends; None for other protocols."""
    protocol = point.protocol
    if isinstance(protocol, Poisson):
        return protocol.rate_rps
    if isinstance(protocol, Replay) and len(protocol.arrivals_s) > 1:
        span_s = protocol.arrivals_s[-1] - protocol.arrivals_s[0]
        return (len(protocol.arrivals_s) - 1) / span_s if span_s > 0 else None
    return None


def regime_of(point: Point, predicted: Mapping[str, float]) -> Regime | None:
    """Return the regime of an open loop; None for other protocols, or without a throughput."""
    offered = offered_rps(point)
    measured = point.metrics.get("request_rps")
    if measured is None and "output_tps" in point.metrics:
        measured = point.metrics["output_tps"] / point.output.mean_tokens
    if offered is None or measured is None or "request_rps" not in predicted:
        return None
    verdicts = [
        bool(missed(point.objectives, metrics)) if point.objectives else None
        for metrics in (point.metrics, predicted)
    ]
    return Regime(point, offered, measured, predicted["request_rps"], *verdicts)


def capacity(deployment: Deployment, host: EngineOverhead) -> Capacity | None:
    """Return the highest rate at which every objective is kept, by bisection.

    Args:
        deployment: of a Poisson stream with objectives.
        host: overhead of the engine.

    Returns:
        None for other protocols, or without objectives.
    """
    point = deployment.point
    protocol = point.protocol
    if not isinstance(protocol, Poisson) or not point.objectives:
        return None
    stated = protocol.rate_rps
    trials = 0
    limit = ""

    def kept(rate_rps: float) -> bool:
        nonlocal trials, limit
        trials += 1
        changed = replace(point, protocol=replace(protocol, rate_rps=rate_rps))
        replayed = replay(replace(deployment, point=changed), host)
        failed = missed(point.objectives, replayed.metrics)
        if failed or not replayed.complete:
            limit = failed[0] if failed else "memory"
        return not failed and replayed.complete

    low, high = _bracket(kept, stated)
    while low > 0 and math.isfinite(high) and high / low > 1 + _RESOLUTION:
        middle = math.sqrt(low * high)
        low, high = (middle, high) if kept(middle) else (low, middle)
    return Capacity(point, stated, low, limit, trials)


def _bracket(kept: Callable[[float], bool], stated: float) -> tuple[float, float]:
    """Return a rate that is served and one that is not; 0 or infinity if none was found."""
    step, rate = 1.25, stated
    upwards = kept(rate)
    while True:
        following = rate * step if upwards else rate / step
        if following > stated * _WIDEST:
            return math.inf, math.inf
        if following < stated / _WIDEST:
            return 0.0, following
        if kept(following) != upwards:
            return (rate, following) if upwards else (following, rate)
        rate, step = following, step * 1.25
