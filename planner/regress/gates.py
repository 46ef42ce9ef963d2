"""How much worse a metric may get: the defaults, and what a file or a scenario states."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pydantic import ValidationError

from planner.errors import ScenarioError
from planner.scenario.check_regress import unusable
from planner.scenario.faults import place_fault, schema_faults
from planner.scenario.nodes import Node
from planner.scenario.schema.fields import Part
from planner.scenario.schema.regress import Acknowledged, Gate, Regress
from planner.scenario.source import read_document
from planner.scenario.watched import Better, Watched, absolute_of, matching


@dataclass(frozen=True)
class Limits:
    """What a metric is held to. A change counts where it exceeds both tolerances of its kind."""

    better: Better
    warn: float
    """Relative to the baseline."""
    fail: float
    warn_absolute: float = 0.0
    """In the unit of the metric."""
    fail_absolute: float = 0.0
    ignored: bool = False


TAIL: Final = "_p99_s"
_WHOLE: Final = (0.0, 0.05, 1.0, 1.0)
_USUAL: Final = (0.02, 0.05, 0.0, 0.0)
_DEFAULTS: Final[Mapping[str, tuple[float, float, float, float]]] = {
    TAIL: (0.05, 0.10, 1e-4, 1e-4),
    "gross_margin_rate": (0.02, 0.05, 0.002, 0.01),
    "s": (0.02, 0.05, 1e-4, 1e-4),
    "1": (0.0, 0.0, 0.002, 0.01),
    "nodes": _WHOLE,
    "devices": _WHOLE,
    "promises": (0.0, 0.0, 1.0, 1.0),
}
"""By tail, name or unit: `warn`, `fail`, `warn_absolute` and `fail_absolute`."""


def default_limits(metric: Watched) -> Limits:
    """Return what holds where nothing is stated: 5%, of tails 10%, whole nodes, every promise.

    Shares of requests are held to percentage points: 5% of an attainment of 99.9% would let the
    requests that miss their objectives grow fifty-fold.
    """
    kinds = (TAIL if metric.name.endswith(TAIL) else "", metric.name, metric.unit)
    stated = next((_DEFAULTS[kind] for kind in kinds if kind in _DEFAULTS), _USUAL)
    return Limits(metric.better, *stated, ignored=metric.better == "neither")


def limits_of(name: str, metric: Watched, gates: Iterable[Gate]) -> Limits:
    """Return what holds for a metric: the default, and over it every gate that means it.

    Args:
        name: the full name.
        metric: what it is.
        gates: later ones win.
    """
    limits = default_limits(metric)
    for gate in gates:
        if any(matching(gate.metric, [name])):
            limits = _under(limits, gate, metric.unit)
    return limits


def _under(limits: Limits, gate: Gate, unit: str) -> Limits:
    def absolute(stated: str | float | None, otherwise: float) -> float:
        return otherwise if stated is None else absolute_of(stated, unit)

    ignored = limits.ignored and gate.better is None
    return Limits(
        better=gate.better or limits.better,
        warn=limits.warn if gate.warn is None else gate.warn,
        fail=limits.fail if gate.fail is None else gate.fail,
        warn_absolute=absolute(gate.warn_absolute, limits.warn_absolute),
        fail_absolute=absolute(gate.fail_absolute, limits.fail_absolute),
        ignored=ignored if gate.ignore is None else gate.ignore,
    )


class _GatesFile(Part):
    """What stands in a gates file: the two lists of the section `regress`."""

    gates: list[Gate] = []  # noqa: RUF012 - pydantic copies defaults
    acknowledged: list[Acknowledged] = []  # noqa: RUF012


class _Document(Part):
    regress: _GatesFile


def read_gates(path: Path, names: Sequence[str]) -> Regress:
    """Return the gates and acknowledged changes of a file.

    Args:
        path: YAML with `gates` and `acknowledged`, as they stand under `regress` in a scenario.
        names: metrics of all scenarios that it is for; a gate that means none of them is a fault.

    Raises:
        ScenarioError: every fault, with its place.
    """
    document = read_document(str(path))
    tree = Node({"regress": document.root}, document.root.place)
    try:
        found = _Document.model_validate(tree.plain()).regress
    except ValidationError as error:
        raise ScenarioError([*document.faults, *schema_faults(error, tree)]) from None
    stated = Regress(gates=found.gates, acknowledged=found.acknowledged)
    faults = [
        place_fault(tree, ("regress", *location), message)
        for location, message in unusable(stated, list(names))
    ]
    if document.faults or faults:
        raise ScenarioError([*document.faults, *faults])
    return stated
