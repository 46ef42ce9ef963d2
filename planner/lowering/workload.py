"""What the scenario says of its classes, as synthetic workloads to draw requests from."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

from planner.scenario.schema.workload import Lengths, RequestClass, Workload
from planner.trace import Arrivals, ClassWorkload, LengthDistribution
from planner.trace.library import load_shape

FEWEST_WINDOWS: Final = 10
WEEKDAY_NAMES: Final = {
    "mon": "Monday", "tue": "Tuesday", "wed": "Wednesday", "thu": "Thursday", "fri": "Friday",
    "sat": "Saturday", "sun": "Sunday",
}  # fmt: skip
WEEKDAYS: Final = tuple(WEEKDAY_NAMES)


def seconds_of_day(time_of_day: str) -> float:
    """Return a time of day in seconds.

    >>> seconds_of_day("19:30")
    70200.0
    """
    hours, minutes = time_of_day.split(":")
    return 3600.0 * int(hours) + 60.0 * int(minutes)


def start_s_of_week(workload: Workload) -> float:
    """Return the time of the week at which the workload starts, in seconds from Monday 00:00."""
    return WEEKDAYS.index(workload.weekday) * 86400.0 + seconds_of_day(workload.start)


def window_s_of(workload: Workload) -> float:
    """Return the width of the reporting windows [s]: at most as stated, an even part of `duration`.

    So the arrival period begins and ends at window edges, and holds enough windows to see a queue
    grow, whatever width is asked for.
    """
    return workload.duration / max(FEWEST_WINDOWS, math.ceil(workload.duration / workload.window))


def distribution(lengths: Lengths) -> LengthDistribution:
    """Return the distribution that a scenario describes."""
    if lengths.preset is not None:
        shape = LengthDistribution.from_preset(lengths.preset)
    elif lengths.fixed is not None:
        shape = LengthDistribution.fixed(lengths.fixed)
    elif lengths.uniform is not None:
        shape = LengthDistribution.uniform(*lengths.uniform)
    elif lengths.quantiles is not None:
        shape = LengthDistribution.from_quantiles(
            {float(name[1:]) / 100.0: tokens for name, tokens in lengths.quantiles.items()}
        )
    else:
        parts = lengths.lognormal_mixture or []
        shape = LengthDistribution.from_lognormal_mixture(
            [(part.weight, part.median, part.sigma) for part in parts]
        )
    minimum = lengths.minimum if lengths.fixed is None else min(lengths.minimum, lengths.fixed)
    return shape.scaled(lengths.scale).within(minimum, lengths.maximum)


def _hourly(shape: str | list[float] | None) -> tuple[float, ...] | None:
    if isinstance(shape, str):
        return load_shape(shape).hourly
    return None if shape is None else tuple(shape)


def class_workload(
    index: int, klass: RequestClass, workload: Workload, maximum_context_tokens: int | None
) -> ClassWorkload:
    """Return the synthetic workload of a class that has one."""
    assert klass.input is not None
    assert klass.output is not None
    arrivals = None
    if klass.open is not None:
        arrivals = Arrivals(
            rate_rps=klass.open.rate,
            shape=_hourly(klass.open.shape),
            start_s_of_week=start_s_of_week(workload),
            burstiness=klass.open.burstiness.kind,
            cv=klass.open.burstiness.cv,
        )
    pause_s, sigma = _pauses(klass)
    agent = klass.agent
    if agent is not None and agent.context_tokens is not None:
        longest = maximum_context_tokens or agent.context_tokens
        maximum_context_tokens = min(longest, agent.context_tokens)
    return ClassWorkload(
        class_index=index,
        input=distribution(klass.input),
        output=distribution(klass.output),
        arrivals=arrivals,
        reasoning=None if klass.reasoning is None else distribution(klass.reasoning),
        turns=None if (turns := turns_of(klass)) is None else distribution(turns),
        keeps_reasoning=klass.reasoning_kept,
        system_tokens=0 if klass.sessions is None else klass.system_prompt,
        think_median_s=pause_s,
        think_sigma=sigma,
        visitors=klass.visitors,
        maximum_context_tokens=maximum_context_tokens,
        pause_s=0.0 if klass.closed is None else klass.closed.think,
        follow_up=None if agent is None else distribution(agent.tool_tokens),
        compact_to=None if agent is None else agent.compact_to,
    )


def turns_of(klass: RequestClass) -> Lengths | None:
    """Return the number of turns of a session, a person's or an agent's; None without sessions."""
    if klass.agent is not None:
        return klass.agent.calls
    return None if klass.sessions is None else klass.sessions.turns


def _pauses(klass: RequestClass) -> tuple[float, float]:
    """Return median and spread of the pauses between turns."""
    if klass.agent is not None:
        return klass.agent.tool_time_median, klass.agent.tool_time_sigma
    if klass.sessions is not None:
        return klass.sessions.think_median, klass.sessions.think_sigma
    return 0.0, 1.0


def class_workloads(
    workload: Workload, contexts: Sequence[int | None] | None = None
) -> list[ClassWorkload]:
    """Return the open-loop synthetic workloads of a scenario.

    Args:
        workload: of the scenario.
        contexts: per class, the longest prompt and output that its pools serve.
    """
    limits = contexts or [None] * len(workload.classes)
    return [
        class_workload(index, klass, workload, limits[index])
        for index, klass in enumerate(workload.classes)
        if klass.open is not None
    ]
