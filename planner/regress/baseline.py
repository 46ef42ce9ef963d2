"""A baseline: the metrics of a scenario in a file that people read in a diff."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from planner.errors import PlannerError
from planner.regress.identity import Identity
from planner.regress.metrics import Values
from planner.regress.old_prices import Kept
from planner.regress.stored import SCHEMA, read_content
from planner.scenario.watched import watched

REMEDY: Final = "run planner baseline update on its scenario"
SAME: Final = 1e-5
"""Relative difference of numbers of six digits that is none: each is rounded by itself."""
_WIDTH: Final = 120


class BaselineError(PlannerError):
    """A baseline is missing, damaged, or not to be compared with."""


@dataclass(frozen=True)
class Metric:
    """One number of a baseline."""

    values: tuple[float | None, ...]
    """By seed, the scenario's own first. None: there was nothing to measure it by."""
    unit: str
    better: str
    """lower, higher or neither."""

    @property
    def value(self) -> float | None:
        """Of the scenario's own seed."""
        return self.values[0]


@dataclass(frozen=True)
class Baseline:
    """The metrics of a scenario, where they come from, and the prices that they were made with."""

    name: str
    """Of the scenario."""
    identity: Identity
    metrics: Mapping[str, Metric]
    prices: Kept | None = None
    seeds: tuple[int, ...] = ()
    """Of the values, the scenario's own first."""

    @property
    def values(self) -> Values:
        """The numbers alone."""
        return {name: metric.value for name, metric in self.metrics.items()}

    def to_json(self) -> str:
        """Return the text of the file: keys sorted, no date, a line per metric."""
        content = {
            "schema": SCHEMA,
            "name": self.name,
            "from": self.identity.to_json(),
            "metrics": {name: asdict(metric) for name, metric in self.metrics.items()},
            "prices": self.prices,
            "seeds": list(self.seeds),
        }
        return _laid_out(content, 0) + "\n"

    def agrees_with(self, other: Baseline) -> bool:
        """Tell whether another says the same, but for the last digit of its numbers."""
        same_origin = (self.name, self.identity, self.prices, self.seeds) == (
            other.name, other.identity, other.prices, other.seeds,
        )  # fmt: skip
        return (
            same_origin
            and self.metrics.keys() == other.metrics.keys()
            and all(
                (metric.unit, metric.better) == (theirs.unit, theirs.better)
                and all(map(same, metric.values, theirs.values))
                for metric, theirs in ((each, other.metrics[n]) for n, each in self.metrics.items())
            )
        )


def same(first: float | None, second: float | None) -> bool:
    """Tell whether two numbers differ by their rounding only, or neither is there."""
    if first is None or second is None:
        return first is second
    return math.isclose(first, second, rel_tol=SAME)


def baseline_of(
    name: str, identity: Identity, runs: Sequence[Values], seeds: Sequence[int], prices: Kept | None
) -> Baseline:
    """Return a baseline.

    Args:
        name: of the scenario.
        identity: what it stands on.
        runs: metrics by seed, the scenario's own first.
        seeds: the seeds.
        prices: what money was computed with.
    """
    metrics = {}
    for full in runs[0]:
        known = watched(full)
        assert known is not None, full
        values = tuple(each.get(full) for each in runs)
        metrics[full] = Metric(values, known.unit, known.better)
    return Baseline(name, identity, metrics, prices, tuple(seeds))


def read_baseline(path: Path) -> Baseline:
    """Return a baseline from its file.

    Raises:
        BaselineError: it cannot be read, is damaged, or of another schema.
    """
    try:
        content = read_content(path)
    except FileNotFoundError:
        raise BaselineError(f"{path}: no such baseline; {REMEDY}") from None
    except OSError as error:
        raise BaselineError(f"{path}: cannot be read: {error.strerror}; {REMEDY}") from None
    except ValueError as error:
        raise BaselineError(f"{path}: {error}; {REMEDY}") from None
    return Baseline(
        name=content["name"],
        identity=Identity.of_json(content["from"]),
        metrics={
            name: Metric(tuple(each["values"]), each["unit"], each["better"])
            for name, each in content["metrics"].items()
        },
        prices=content["prices"],
        seeds=tuple(content["seeds"]),
    )


def standing(new: Baseline, path: Path) -> str:
    """Return how a new baseline stands to the file there is: `new`, `updated` or `unchanged`.

    A file whose numbers differ by a rounding only says the same: another machine makes no diff.
    """
    if not path.exists():
        return "new"
    try:
        return "unchanged" if new.agrees_with(read_baseline(path)) else "updated"
    except BaselineError:
        return "updated"


def _laid_out(value: Any, depth: int) -> str:
    """Return JSON in which what fits on a line stands on one: a metric is a line of a diff."""
    flat = json.dumps(value, sort_keys=True, ensure_ascii=False)
    if not isinstance(value, (dict, list)) or (depth and len(flat) + 2 * depth <= _WIDTH):
        return flat
    inner = "\n" + " " * (depth + 1)
    if isinstance(value, list):
        items = [_laid_out(each, depth + 1) for each in value]
        opening, closing = "[]"
    else:
        items = [
            f"{json.dumps(key, ensure_ascii=False)}: {_laid_out(value[key], depth + 1)}"
            for key in sorted(value)
        ]
        opening, closing = "{}"
    return opening + inner + f",{inner}".join(items) + "\n" + " " * depth + closing
