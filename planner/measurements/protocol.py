"""How a benchmark sent its requests: what the kernel has to replay.

A mean TTFT depends on the protocol more than on the step times: a burst of 64 requests that starts
a closed loop waits for 64 prefills, the same 64 requests as a Poisson stream do not.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TypeAlias


@dataclass(frozen=True, slots=True)
class ClosedLoop:
    """At most `concurrency` requests at a time: the next is sent when one finishes."""

    concurrency: int
    requests: int
    """In all."""
    burst: bool = True
    """The first `concurrency` requests come at once; else evenly over the first request's life."""

    def problems(self) -> Iterator[str]:
        """Yield what is wrong with the values."""
        yield from _counts(concurrency=self.concurrency, requests=self.requests)


@dataclass(frozen=True, slots=True)
class Poisson:
    """Open loop: gaps between arrivals are drawn, whatever the system does.

    Give `requests` or `duration_s`.
    """

    rate_rps: float
    requests: int | None = None
    duration_s: float | None = None
    burstiness: float = 1.0
    """Shape of gamma-distributed gaps: 1 is Poisson, less is burstier."""
    maximum_concurrency: int | None = None
    """The client holds requests back above this, if it has a limit."""

    def problems(self) -> Iterator[str]:
        """Yield what is wrong with the values."""
        yield from _positive(rate_rps=self.rate_rps, burstiness=self.burstiness)
        if (self.requests is None) == (self.duration_s is None):
            yield "a Poisson stream needs either requests or duration_s"
        if self.requests is not None:
            yield from _counts(requests=self.requests)
        if self.duration_s is not None:
            yield from _positive(duration_s=self.duration_s)
        if self.maximum_concurrency is not None:
            yield from _counts(maximum_concurrency=self.maximum_concurrency)


@dataclass(frozen=True, slots=True)
class Flood:
    """All `requests` are sent at second 0: maximum throughput."""

    requests: int

    def problems(self) -> Iterator[str]:
        """Yield what is wrong with the values."""
        yield from _counts(requests=self.requests)


@dataclass(frozen=True, slots=True)
class StaticBatch:
    """One batch of equal requests, started together and run until all are done."""

    batch: int

    def problems(self) -> Iterator[str]:
        """Yield what is wrong with the values."""
        yield from _counts(batch=self.batch)


@dataclass(frozen=True, slots=True)
class Replay:
    """Recorded arrivals, in seconds from the first one; request i has length i of the point."""

    arrivals_s: tuple[float, ...] = field(repr=False)

    def problems(self) -> Iterator[str]:
        """Yield what is wrong with the values."""
        if not self.arrivals_s:
            yield "a replay needs at least one arrival"
        elif not all(map(math.isfinite, self.arrivals_s)) or min(self.arrivals_s) < 0:
            yield "arrivals must be finite seconds from 0 on"
        elif list(self.arrivals_s) != sorted(self.arrivals_s):
            yield "arrivals must be in order of time"


Protocol: TypeAlias = ClosedLoop | Poisson | Flood | StaticBatch | Replay


def protocol_name(protocol: Protocol) -> str:
    """Return the word for a kind of protocol in tables and files.

    >>> protocol_name(StaticBatch(8))
    'static_batch'
    """
    match protocol:
        case ClosedLoop():
            return "closed_loop"
        case Poisson():
            return "poisson"
        case Flood():
            return "flood"
        case StaticBatch():
            return "static_batch"
        case Replay():
            return "replay"


def _counts(**values: int) -> Iterator[str]:
    for name, value in values.items():
        if value < 1:
            yield f"{name} is {value}; it must be at least 1"


def _positive(**values: float) -> Iterator[str]:
    for name, value in values.items():
        if not (math.isfinite(value) and value > 0):
            yield f"{name} is {value:g}; it must be above 0 and finite"
