"""When a changed forecast fails a pull request: gates, and changes that are known of."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from planner.scenario.schema.fields import Day, Name, Part
from planner.units import Change


def _stated_as_share(value: Any) -> Any:
    """Refuse 5 where 5% is meant: a gate of 500% would hold nothing."""
    number = value.strip() if isinstance(value, str) else value
    try:
        bare = float(number)
    except (TypeError, ValueError):
        return value
    if bare >= 1 and not isinstance(value, bool):
        raise ValueError(f"{bare:g} is {bare:.0%}; write {bare:g}% or {bare / 100:g}")
    return value


Tolerance = Annotated[Change, Field(ge=0), BeforeValidator(_stated_as_share)]
Pattern = Annotated[
    str,
    Field(
        min_length=1,
        max_length=200,
        examples=["cost_per_hour_usd", "pools.chat.nodes_at_peak", "classes.*.ttft_p99_s"],
    ),
]


class Gate(Part):
    """How much worse a metric may get; what is left out, an earlier gate or the default says.

    A change for the worse counts once it exceeds the relative and the absolute tolerance and the
    noise between seeds: the 95% band of two runs or, where that would hide it, of the differences
    by seed.
    """

    metric: Pattern
    """Metric of a baseline, such as `cost_per_hour_usd`, `pools.chat.nodes_at_peak` or
    `classes.chat.ttft_p99_s`; `*` stands for any text."""
    warn: Tolerance | None = None
    """Change, relative to the baseline, above which it is marked."""
    fail: Tolerance | None = None
    """Change, relative to the baseline, above which it fails."""
    warn_absolute: str | float | None = None
    """Smallest change that is marked, in the metric's unit: `20 ms`, `0.50 USD/h`, `1%` of a share
    as a percentage point, `1` of nodes."""
    fail_absolute: str | float | None = None
    """Smallest change that fails, likewise."""
    better: Literal["lower", "higher", "neither"] | None = None
    """Which way is better; with `neither` every change counts as one for the worse."""
    ignore: bool | None = None
    """true: changes are shown, but never marked, and never fail. So it is by default of what is
    neither better nor worse, until a gate says which way is `better`."""


class Acknowledged(Part):
    """A change for the worse that is known and accepted for a while."""

    metric: Pattern
    """As in a gate."""
    until: Day
    """Last day on which it is excused."""
    up_to: Tolerance | None = None
    """Largest change, relative to the baseline, that is excused; left out: any."""
    reason: Annotated[str, Field(min_length=1, max_length=500)]
    """Why; shown wherever the change is."""


class Regress(Part):
    """What `planner regress` simulates, and what fails it."""

    overrides: list[Name] = []
    """Overrides of the file that are laid on last, over those of a named scenario, to simulate less
    than the scenario as it stands: a shorter `workload.duration`, say."""
    scenarios: list[Name] = []
    """Named scenarios of the file that have a baseline each, beside the file as it stands."""
    gates: list[Gate] = []
    """Later ones win."""
    acknowledged: list[Acknowledged] = []
    """Changes that do not fail until their day."""
