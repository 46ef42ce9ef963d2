"""A forecast of a scenario, over one seed or several: what a baseline is made of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from planner.catalog import Catalog, load_catalog
from planner.regress.baseline import Baseline, baseline_of
from planner.regress.identity import Identity, identity_of, identity_of_result
from planner.regress.metrics import values_of
from planner.regress.old_prices import kept_prices
from planner.results.result import Result
from planner.scenario import LoadedScenario
from planner.scenario.price_tables import with_price_tables
from planner.simulation import Finished, simulate

USUAL_SEEDS: Final = 5


@dataclass(frozen=True)
class Forecast:
    """What was simulated, as a baseline holds it, and the result behind it."""

    baseline: Baseline
    results: tuple[Result, ...]
    """By seed, the scenario's own first."""
    finished: Finished | None = None
    """Of the own seed; None: a stored result, which cannot be simulated again."""

    def over(self, seeds: Sequence[int]) -> Forecast:
        """Return the same forecast with more seeds, the scenario's own first."""
        assert self.finished is not None
        more = (_again(self.finished, seed) for seed in seeds[1:])
        results = (self.results[0], *more)
        return _forecast(results, self.baseline.identity, seeds, self.finished)


def forecast_of(loaded: LoadedScenario, seeds: int = 1, catalog: Catalog | None = None) -> Forecast:
    """Simulate a scenario.

    Args:
        loaded: the scenario.
        seeds: how many in all: the scenario's own, from which the values are, and those that follow
            it, for the spread.
        catalog: by default the shipped one.
    """
    known, _ = with_price_tables(loaded.root, catalog or load_catalog())
    own = loaded.scenario.seed
    finished = simulate(loaded, known)
    found = _forecast((finished.result(),), identity_of(loaded), [own], finished)
    return found.over(range(own, own + seeds)) if seeds > 1 else found


def forecast_of_result(result: Result) -> Forecast:
    """Return a stored result as a forecast; what it was made from is not known of it."""
    return _forecast((result,), identity_of_result(result), [result.seed], None)


def _again(finished: Finished, seed: int) -> Result:
    """Return the same scenario with other random numbers; step times are those computed before."""
    scenario = finished.loaded.scenario.model_copy(update={"seed": seed})
    loaded = replace(finished.loaded, scenario=scenario)
    return simulate(loaded, finished.catalog, pools=finished.lowered.pools).result()


def _forecast(
    results: tuple[Result, ...],
    identity: Identity,
    seeds: Sequence[int],
    finished: Finished | None,
) -> Forecast:
    own, runs = results[0], [values_of(result) for result in results]
    baseline = baseline_of(own.name, identity, runs, seeds, kept_prices(own))
    return Forecast(baseline, results, finished)
