"""Whether the tasks of agents can be done, and promises on tasks be kept or broken."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from importlib import resources
from typing import Any

from planner.catalog import Catalog
from planner.scenario.capacity import longest_in, longest_served
from planner.scenario.nodes import Location
from planner.scenario.parts import Parts
from planner.scenario.routes import decoders_of
from planner.scenario.schema.workload import Agent, Lengths, RequestClass
from planner.scenario.source import parse_text

Finding = tuple[Location, str]


def check_agents(parts: Parts, catalog: Catalog) -> Iterator[Finding]:
    """Yield (location, message) for agents whose tasks cannot be, and for promises on no task."""
    decoders = decoders_of(parts.pools.values())
    longest = {pool.name: longest_in(pool, catalog) for pool in parts.pools.values()}
    for where, klass in parts.classes.items():
        if klass.agent is not None:
            served = longest_served(klass, longest, decoders)
            for field, message in _check_agent(klass, klass.agent, served):
                yield (*where, "agent", *field), message
        yield from _check_promises(where, klass, parts.duration_s)


def _check_agent(klass: RequestClass, agent: Agent, longest: int | None) -> Iterator[Finding]:
    most_calls = _bound(agent.calls)
    if most_calls is not None and most_calls < 1:
        yield ("calls",), "a task has at least one call; for single calls leave `agent` out"
        return
    limit = longest
    if agent.context_tokens is not None and longest is not None:
        if agent.context_tokens > longest:
            yield (
                ("context_tokens",),
                f"{agent.context_tokens:,} tokens are more than the {longest:,} that the pools of "
                "the class serve; lower it, or give a pool more engine.context_tokens or KV memory",
            )
        limit = min(agent.context_tokens, longest)
    if limit is None or klass.input is None or klass.output is None:
        return
    first, answer = _mean(klass.input), _mean(klass.output)
    reasoning = 0.0 if klass.reasoning is None else _mean(klass.reasoning)
    if agent.compact_to is not None:
        compacted = first + agent.compact_to + answer + reasoning
        if compacted > limit:
            yield (
                ("compact_to",),
                f"a compacted context has about {compacted:,.0f} tokens with its call, and "
                f"{limit:,} are possible; compact to less, or allow more context_tokens",
            )
        return
    said = answer + (reasoning if klass.reasoning_kept else 0.0)
    growth = said + _mean(agent.tool_tokens)
    calls = max(_mean(agent.calls), 1.0)
    needed = first + (calls - 1.0) * growth + answer + reasoning
    if needed > limit:
        possible = max(1 + math.floor((limit - first - answer - reasoning) / growth), 0)
        yield (
            ("calls",),
            f"a task of {calls:.0f} calls (the mean) ends with about {needed:,.0f} tokens of "
            f"context, and {limit:,} are possible: enough for {possible} calls; set compact_to, "
            "make fewer calls, or allow more context",
        )


def _check_promises(
    where: Location, klass: RequestClass, duration_s: float | None
) -> Iterator[Finding]:
    synthetic = klass.open is not None or klass.closed is not None
    has_tasks = klass.sessions is not None or klass.agent is not None or not synthetic
    for index, promise in enumerate(klass.objectives):
        if promise.metric != "task_latency":
            continue
        place = (*where, "objectives", index)
        if not has_tasks:
            yield (
                place,
                "promises a time per task, but requests of this class stand alone; give it an "
                "agent or sessions, or promise e2e",
            )
        elif duration_s is not None and promise.limit >= duration_s:
            yield (
                place,
                f"no task can last {promise.limit:g} s in a workload of {duration_s:g} s, so this "
                "promise would always seem kept; make workload.duration several times as long",
            )


def _bound(lengths: Lengths) -> float | None:
    """Return the greatest value of a distribution that states one."""
    if lengths.fixed is not None:
        return float(lengths.fixed)
    most = [float(lengths.maximum)] if lengths.maximum is not None else []
    if lengths.uniform is not None:
        most.append(float(lengths.uniform[1]))
    return min(most, default=None)


def _mean(lengths: Lengths) -> float:
    """Return about the mean of a distribution; its bounds bound the mean, too."""
    if lengths.fixed is not None:
        value = float(lengths.fixed)
    elif lengths.uniform is not None:
        value = sum(lengths.uniform) / 2.0
    elif lengths.quantiles is not None:
        value = _mean_between({float(name[1:]): each for name, each in lengths.quantiles.items()})
    elif lengths.preset is not None:
        value = _preset_mean(lengths.preset)
    else:
        parts = lengths.lognormal_mixture or []
        total = sum(part.weight * part.median * math.exp(part.sigma**2 / 2.0) for part in parts)
        value = total / sum(part.weight for part in parts)
    value = max(value, float(lengths.minimum))
    return value if lengths.maximum is None else min(value, float(lengths.maximum))


def _mean_between(quantiles: dict[float, float]) -> float:
    """Return the mean of a distribution that is log-linear between quantiles, and ends there."""
    total = 0.0
    ranks = sorted(quantiles)
    for below, above in itertools.pairwise(ranks):
        low, high = max(quantiles[below], 1.0), max(quantiles[above], 1.0)
        mean = low if high == low else (high - low) / math.log(high / low)
        total += (above - below) * mean
    return total / (ranks[-1] - ranks[0])


def _preset_mean(name: str) -> float:
    """Return the mean of a shipped distribution; 1 of an unknown one, which is a fault itself."""
    text = resources.files("planner").joinpath("trace", "data", "lengths.yaml").read_text("utf-8")
    content: Any = parse_text(text, "lengths.yaml").root.plain()
    return float(content["presets"].get(name, {"mean": 1.0})["mean"])
