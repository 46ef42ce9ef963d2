"""Capacity and cost planning for LLM inference: from traffic to accelerators, tail and margin.

>>> import planner
>>> scenario = planner.load_scenario("scenarios/quickstart.yaml")      # doctest: +SKIP
>>> planner.run(scenario).to_pandas("classes")                         # doctest: +SKIP

Names are imported on first use, so that `import planner` costs nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from planner.version import VERSION

if TYPE_CHECKING:
    from planner.catalog import load_catalog as load_catalog
    from planner.costing import cost as cost
    from planner.errors import PlannerError as PlannerError
    from planner.notebook.widget import whatif as whatif
    from planner.results.result import Result as Result
    from planner.search.breakeven import breakeven as breakeven
    from planner.search.bridge import bridge as bridge
    from planner.search.forecast import forecast as forecast
    from planner.search.mix import optimise as optimise
    from planner.search.self_host import self_host as self_host
    from planner.search.size import size as size
    from planner.search.uncertainty import risk as risk
    from planner.simulation import load_scenario as load_scenario
    from planner.simulation import run as run
    from planner.trace import open_trace as open_trace

__version__ = VERSION

_HOMES = {
    "PlannerError": "planner.errors",
    "bridge": "planner.search.bridge",
    "Result": "planner.results.result",
    "breakeven": "planner.search.breakeven",
    "cost": "planner.costing",
    "forecast": "planner.search.forecast",
    "load_catalog": "planner.catalog",
    "load_scenario": "planner.simulation",
    "open_trace": "planner.trace",
    "risk": "planner.search.uncertainty",
    "optimise": "planner.search.mix",
    "run": "planner.simulation",
    "self_host": "planner.search.self_host",
    "size": "planner.search.size",
    "whatif": "planner.notebook.widget",
}

__all__ = [
    "PlannerError",
    "Result",
    "__version__",
    "breakeven",
    "bridge",
    "cost",
    "forecast",
    "load_catalog",
    "load_scenario",
    "open_trace",
    "optimise",
    "risk",
    "run",
    "self_host",
    "size",
    "whatif",
]


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_HOMES[name]), name)
