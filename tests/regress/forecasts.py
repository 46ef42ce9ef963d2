"""Baselines made by hand, for tests of what is said about them."""

from __future__ import annotations

from pathlib import Path

from planner.regress.baseline import Baseline, Metric
from planner.regress.cases import Case
from planner.regress.compare import Comparison, Rules, compare
from planner.regress.identity import Identity
from planner.regress.runs import Outcome
from planner.scenario.schema.regress import Acknowledged, Gate
from planner.scenario.watched import watched

COST = "cost_per_hour_usd"
TAIL = "classes.chat.ttft_p99_s"
NODES = "pools.chat.nodes_at_peak"
SLO = "slo_attainment_rate"
USUAL: dict[str, float | None] = {COST: 100.0, TAIL: 1.0, NODES: 14, SLO: 0.999}
TODAY = "2026-11-22"


def spread(value: float | None, sd: float) -> tuple[float | None, ...]:
    """Return five values of that standard deviation, the first and their mean as given."""
    return tuple(None if value is None else value + sd * sign for sign in (0, 1, -1, 1, -1))


def forecast(
    sd: float = 0.0,
    *,
    seed: int = 1,
    traces: tuple[tuple[str, str], ...] = (),
    scenario: str = "same",
    **changes: float | None,
) -> Baseline:
    """Return a baseline of five seeds; `changes` are metrics, `__` in their names for a dot."""
    values = USUAL | {name.replace("__", "."): value for name, value in changes.items()}
    metrics = {}
    for name, value in values.items():
        known = watched(name)
        assert known is not None
        metrics[name] = Metric(spread(value, sd), known.unit, known.better)
    identity = Identity("0.1.0", seed, scenario, "catalog", "curves", traces)
    return Baseline("small", identity, metrics, seeds=(1, 2, 3, 4, 5))


def compared(
    after: Baseline,
    before: Baseline | None = None,
    *,
    gates: tuple[Gate, ...] = (),
    acknowledged: tuple[Acknowledged, ...] = (),
    today: str = TODAY,
    at_old_prices: dict[str, float | None] | None = None,
) -> Comparison:
    """Compare as long as only the own seed of the new forecast is known, unless it has others."""
    rules = Rules(gates, acknowledged, today)
    return compare(before or forecast(), after, rules, [at_old_prices] if at_old_prices else [])


def outcome(comparison: Comparison | None, label: str = "scenarios/small.yaml") -> Outcome:
    case = Case(label, Path("scenarios/baselines/small.json"), Path(label))
    return Outcome(case, comparison, "" if comparison else "scenarios/small.yaml:3:1: broken")
