"""Step-time curves and memory plans of a model on a chip.

`layout`, `operators` and `memory` are plain Python, since checking a scenario needs no array
library. The names below are imported on first use for the same reason.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from planner.curves.efficiency import DEFAULT as DEFAULT
    from planner.curves.efficiency import Efficiency as Efficiency
    from planner.curves.layout import Dtypes as Dtypes
    from planner.curves.layout import Parallelism as Parallelism
    from planner.curves.memory import MemoryPlan as MemoryPlan
    from planner.curves.memory import fitting_options as fitting_options
    from planner.curves.memory import memory_plan as memory_plan
    from planner.curves.memory import misfit_message as misfit_message
    from planner.curves.provenance import Provenance as Provenance
    from planner.curves.steptime import StepTime as StepTime
    from planner.curves.steptime import step_time as step_time

_HOMES = {
    "DEFAULT": "efficiency",
    "Dtypes": "layout",
    "Efficiency": "efficiency",
    "MemoryPlan": "memory",
    "Parallelism": "layout",
    "Provenance": "provenance",
    "StepTime": "steptime",
    "fitting_options": "memory",
    "memory_plan": "memory",
    "misfit_message": "memory",
    "step_time": "steptime",
}

__all__ = [
    "DEFAULT",
    "Dtypes",
    "Efficiency",
    "MemoryPlan",
    "Parallelism",
    "Provenance",
    "StepTime",
    "fitting_options",
    "memory_plan",
    "misfit_message",
    "step_time",
]


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
