"""A baseline: the metrics of a scenario in a file that people read in a diff."""

from __future__ import annotations

import json
import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from planner.errors import PlannerError
from planner.regress.identity import Identity
from planner.regress.metrics import Values, rounded
from planner.regress.old_prices import Kept
from planner.scenario.watched import watched

SCHEMA: Final = "planner-baseline/v1"
REMEDY: Final = "run planner baseline update on its scenario"
SAME: Final = 1e-5
"""Relative difference of numbers of six digits that is none: each is rounded by itself."""
_WIDTH: Final = 100


class BaselineError(PlannerError):
    """A baseline is missing, damaged, or not to be compared with."""


@dataclass(frozen=True)
class Metric:
    """One number of a baseline."""

    value: float | None
    """None: there was nothing to measure it by."""
    unit: str
    better: str
    """lower, higher or neither."""
    seed_sd: float | None = None
    """Sample standard deviation over the seeds of the baseline; None: unknown."""


@dataclass(frozen=True)
class Baseline:
    """The metrics of a scenario, where they come from, and the prices that they were made with."""

    name: str
    """Of the scenario."""
    identity: Identity
    metrics: Mapping[str, Metric]
    prices: Kept | None = None
    seeds: tuple[int, ...] = ()
    """Seeds behind `seed_sd`, the scenario's own first."""

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
                and _close(metric.value, theirs.value)
                and _close(metric.seed_sd, theirs.seed_sd)
                for metric, theirs in ((each, other.metrics[n]) for n, each in self.metrics.items())
            )
        )


def _close(first: float | None, second: float | None) -> bool:
    if first is None or second is None:
        return first is second
    return math.isclose(first, second, rel_tol=SAME)


def baseline_of(
    name: str, identity: Identity, runs: Sequence[Values], seeds: Sequence[int], prices: Kept | None
) -> Baseline:
    """Return a baseline: values of the first run, and the spread of all.

    Args:
        name: of the scenario.
        identity: what it stands on.
        runs: metrics by seed, the scenario's own first.
        seeds: the seeds.
        prices: what money was computed with.
    """
    metrics = {}
    for full, value in runs[0].items():
        known = watched(full)
        assert known is not None, full
        found = [each.get(full) for each in runs]
        numbers = [each for each in found if each is not None]
        sd = statistics.stdev(numbers) if len(numbers) == len(runs) > 1 else None
        metrics[full] = Metric(value, known.unit, known.better, rounded(sd))
    return Baseline(name, identity, metrics, prices, tuple(seeds))


def noise_of(metric: Metric, seeds: int) -> float:
    """Return how much two single runs differ by chance: the 95% band of their difference.

    With n seeds of standard deviation s, t(97.5%, n - 1) · √2 · s: two runs vary, and s itself is
    known from few of them. Runs that share their seed vary less, so the band is on the safe side.

    >>> round(noise_of(Metric(100.0, "s", "lower", 1.0), 5), 2)
    3.93
    """
    if not metric.seed_sd or seeds < 2:
        return 0.0
    from scipy.special import stdtrit  # Student's t, without what scipy.stats takes to import

    return float(stdtrit(seeds - 1, 0.975)) * math.sqrt(2.0) * metric.seed_sd


def read_baseline(path: Path) -> Baseline:
    """Return a baseline from its file.

    Raises:
        BaselineError: it cannot be read, is damaged, or of another schema.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise BaselineError(f"{path}: no such baseline; {REMEDY}") from None
    except (OSError, ValueError) as error:
        raise BaselineError(f"{path}: cannot be read: {error}; {REMEDY}") from None
    found = content.get("schema") if isinstance(content, dict) else None
    if found != SCHEMA:
        stated = f"schema {found}" if found else "no baseline"
        raise BaselineError(f"{path}: is of {stated}, not {SCHEMA}; {REMEDY}")
    try:
        return Baseline(
            name=content["name"],
            identity=Identity.of_json(content["from"]),
            metrics={name: Metric(**each) for name, each in content["metrics"].items()},
            prices=content["prices"],
            seeds=tuple(content["seeds"]),
        )
    except (KeyError, TypeError, AttributeError) as error:
        raise BaselineError(f"{path}: is damaged ({error!r}); {REMEDY}") from None


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
