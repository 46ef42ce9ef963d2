"""What stands behind the widgets: values of controls go in, a result or a sentence comes out."""

from __future__ import annotations

from collections.abc import Container, Mapping
from dataclasses import dataclass, replace
from os import PathLike
from time import perf_counter

import pandas as pd

from planner.catalog import Catalog, load_catalog
from planner.errors import PlannerError, ScenarioError, did_you_mean, shown
from planner.notebook.controls import Control, ControlError, Slider, Switch, Value, given
from planner.notebook.derive import controls_of
from planner.notebook.edits import options
from planner.notebook.own import Asked, own_controls
from planner.notebook.rerun import Rerun
from planner.results.result import Result
from planner.scenario import LoadedScenario, changed
from planner.scenario.check_pools import check_pool
from planner.scenario.price_tables import with_price_tables
from planner.search.techniques import Technique
from planner.simulation import resolve

_COMPARED = {
    "accelerators_at_peak": "accelerators_at_peak_devices",
    "p99_ttft_s": "p99_ttft_s",
    "slo_attainment_rate": "slo_attainment_rate",
    "goodput_rps": "goodput_rps",
    "cost_per_hour_usd": "cost_per_hour_usd",
    "cost_per_million_output_tokens_usd": "cost_per_million_output_tokens_usd",
    "gross_margin_rate": "gross_margin_rate",
}
"""Numbers of the headline that are set side by side, and the columns they go to."""


@dataclass(frozen=True)
class Answer:
    """What one setting of the controls came to."""

    values: Mapping[str, Value]
    """Of every control that is not where it starts beside the others."""
    result: Result | None
    """None: the combination cannot be simulated."""
    error: str
    """Why it cannot, one line per fault; empty if it can."""
    seconds: float
    """Wall time from the values to the result."""
    is_simulated: bool = False
    """Whether requests were simulated; False: only prices moved, or nothing could be."""


class WhatIf:
    """A scenario with controls, simulated again for every setting of them.

    >>> model = WhatIf("scenarios/quickstart.yaml")                      # doctest: +SKIP
    >>> model.answer({"pools.chat.nodes": 12}).result.headline           # doctest: +SKIP

    Args:
        scenario: a file, or a scenario already loaded.
        sets: further controls by path; see `planner.whatif`.
        catalog: models, chips, nodes and prices; by default the shipped one.

    Raises:
        PlannerError: the scenario has faults or cannot be simulated as it stands, or a control that
            was asked for cannot be made.
    """

    def __init__(
        self,
        scenario: str | PathLike[str] | LoadedScenario,
        *,
        sets: Asked | None = None,
        catalog: Catalog | None = None,
    ) -> None:
        self._catalog = catalog or load_catalog()
        self._loaded = resolve(scenario, self._catalog, (), (), None)
        priced, _ = with_price_tables(self._loaded.root, self._catalog)
        derived = controls_of(self._loaded, priced)
        own = own_controls(sets or {}, self._loaded)
        asked = {control.key for control in own}
        self.controls: tuple[Control, ...] = (
            *(_alone(control, asked) for control in derived if control.key not in asked),
            *own,
        )
        """In the order in which they are shown; what the caller asks for replaces what there is."""
        self.path = self._loaded.path
        """The file, as it was named."""
        self.applied = self._loaded.applied
        """Overrides and options laid over the file already."""
        self._rerun = Rerun(self._catalog)
        self.start: Result = self._rerun(self._loaded)
        """The scenario as it stands."""

    def control(self, key: str) -> Control:
        """Return a control by its key.

        Raises:
            ControlError: there is none.
        """
        known = {control.key: control for control in self.controls}
        if key not in known:
            advice = did_you_mean(key, known) or "see `.controls`"
            raise ControlError(f"there is no control {shown(key)}; {advice}")
        return known[key]

    def answer(self, values: Mapping[str, Value] | None = None) -> Answer:
        """Simulate the scenario with some controls moved, and the others where they started.

        What a combination makes impossible is an answer as well, and no exception.

        Args:
            values: by key of the control.

        Raises:
            ControlError: a control is unknown, or does not have that value.
        """
        started = perf_counter()
        moved = self._moved(values or {})
        result, error = None, ""
        try:
            result = self._rerun(self._changed(moved))
        except ScenarioError as refused:
            error = "\n".join(f"{fault.where}: {fault.message}" for fault in refused.faults)
        except PlannerError as refused:
            error = str(refused)
        seconds = perf_counter() - started
        return Answer(moved, result, error, seconds, not error and self._rerun.has_simulated)

    def options(self, values: Mapping[str, Value]) -> list[str]:
        """Return what `planner run FILE --set …` takes for the same; techniques have no option."""
        moved = self._moved(values)
        edits = [
            edit
            for control in self.controls
            if control.key in moved and not isinstance(control, Switch)
            for edit in given(control, moved).edits(moved[control.key])  # type: ignore[union-attr, arg-type]
        ]
        return options(edits)

    def compare(self, answers: Mapping[str, Answer]) -> pd.DataFrame:
        """Return the headline of the start and of answers, one row each.

        Args:
            answers: by the name of their rows.
        """
        results = {"start": self.start} | {name: each.result for name, each in answers.items()}
        rows = [
            {column: None if result is None else result.headline[key]
             for key, column in _COMPARED.items()}
            for result in results.values()
        ]  # fmt: skip
        return pd.DataFrame(rows, index=pd.Index(list(results), name="case"))

    def _moved(self, values: Mapping[str, Value]) -> dict[str, Value]:
        """Return the values, checked, of controls that are not where they started."""
        checked = {key: self.control(key).checked(value) for key, value in values.items()}
        return {
            control.key: checked[control.key]
            for control in self.controls
            if control.key in checked and checked[control.key] != given(control, checked).start
        }

    def _changed(self, moved: Mapping[str, Value]) -> LoadedScenario:
        loaded = changed(self._loaded, self._catalog, self.options(moved))
        for control in self.controls:
            if isinstance(control, Switch) and control.key in moved:
                loaded = self._without(control.technique, loaded)
        return loaded

    def _without(self, technique: Technique, loaded: LoadedScenario) -> LoadedScenario:
        scenario = technique.without(loaded.scenario)
        for pool in scenario.pools:
            for _, message in check_pool(pool, self._catalog):
                raise ControlError(
                    f"pool {pool.name} cannot do without {technique.name}: {message}"
                )
        return replace(loaded, scenario=scenario)


def _alone(control: Control, asked: Container[str]) -> Control:
    """Return a control that does not follow a menu which the caller replaced by one of his own."""
    if isinstance(control, Slider) and control.follows in asked:
        return replace(control, versions={})
    return control
