"""What a class of requests asks for: plain descriptions to draw synthetic requests from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from planner.errors import TraceError
from planner.trace.lengths import LengthDistribution

Burstiness = Literal["poisson", "gamma", "weibull"]


@dataclass(frozen=True)
class Arrivals:
    """Open-loop arrivals: a renewal process on top of a rate that follows the time of the week.

    Args:
        rate_rps: mean rate over one period of the shape, in requests (with sessions: sessions) per
            second.
        shape: 24 or 168 hourly multipliers (the week starts on Monday 00:00), scaled to mean 1
            here; the rate is constant within an hour. None: constant.
        start_s_of_week: time of the week at which second 0 of the trace lies.
        burstiness: family of the gaps between arrivals.
        cv: coefficient of variation of the gaps; 1 for `poisson`.
    """

    rate_rps: float
    shape: tuple[float, ...] | None = None
    start_s_of_week: float = 0.0
    burstiness: Burstiness = "poisson"
    cv: float = 1.0

    def __post_init__(self) -> None:
        if not 0 < self.rate_rps < float("inf"):
            raise TraceError(
                f"rate must be above zero; found {self.rate_rps!r} requests per second"
            )
        if self.cv <= 0 or (self.burstiness == "poisson" and self.cv != 1):
            raise TraceError(
                f"{self.burstiness} gaps cannot have CV {self.cv:g}; use gamma or weibull, with a "
                f"CV above zero"
            )
        if self.shape is not None and (len(self.shape) not in (24, 168) or sum(self.shape) <= 0):
            raise TraceError(
                f"a shape has 24 or 168 hourly multipliers, not all zero; found {len(self.shape)}"
            )


@dataclass(frozen=True)
class ClassWorkload:
    """Requests of one class.

    Args:
        class_index: written to the rows; also names the random streams of the class.
        input: prompt tokens; with `turns`, the new tokens a turn adds to what was said before.
        output: output tokens, without `reasoning`.
        arrivals: open loop; None: closed loop, see `closed_rows`.
        reasoning: reasoning tokens, added to the output.
        follow_up: prompt tokens that a later turn adds; None: drawn like the first one's.
        turns: number of turns of a session; None: every request stands alone.
        think_median_s, think_sigma: lognormal pause between an answer and the next turn.
        visitors: requests (sessions) are spread evenly over visitors 0 … visitors − 1 of the class.
        maximum_context_tokens: a session ends before the turn whose prompt and output would
            exceed it.
        compact_to: instead, that turn's prompt is the first one of the session and so many tokens.
        pause_s: closed loop: pause of a client between the end of a request and its next.
        keeps_reasoning: the next turn's prompt holds the reasoning tokens of this one.
        system_tokens: with `turns`, tokens that come before the input of the first turn.
    """

    class_index: int
    input: LengthDistribution
    output: LengthDistribution
    arrivals: Arrivals | None = None
    reasoning: LengthDistribution | None = None
    turns: LengthDistribution | None = None
    think_median_s: float = 0.0
    think_sigma: float = 1.0
    visitors: int | None = None
    maximum_context_tokens: int | None = None
    pause_s: float = 0.0
    keeps_reasoning: bool = False
    system_tokens: int = 0
    follow_up: LengthDistribution | None = None
    compact_to: int | None = None
